//! `docs/conformance/script.json`: what the server says, and what a client says next.

use serde_json::{Value, json};
use tidings_protocol::{
    ControlMessage, ErrorCode, GapReason, Joined, NewEvent, Offset, Reconnect, ResetReason,
    ServerMessage, Target, TaskCommanded, TaskId, TaskSnapshot,
};

use crate::conformance::{Log, control, event, gap, is_fresh, merged, publish, reset};

/// Steps of one script.
type Steps = Vec<Value>;

fn watch(since: Option<&str>) -> Value {
    json!({ "watch": { "task_id": "task", "since": since } })
}

fn connects(after_ms: u64, token: Option<&str>) -> Value {
    json!({ "connects": { "after_ms": after_ms, "token": token } })
}

fn says(message: impl Into<Value>) -> Value {
    json!({ "server": message.into() })
}

/// The client connects, and the server greets it.
fn hello() -> Steps {
    greeted(0, None)
}

fn greeted(after_ms: u64, token: Option<&str>) -> Steps {
    let client = "client".parse().unwrap();
    let hello = ControlMessage::connection_established(client, "token", 25_000, None);
    vec![
        connects(after_ms, token),
        says(control(&hello, Offset::FIRST)),
    ]
}

/// The client subscribes, and the server answers with a state.
fn subscribes(since: Option<&str>, state: &TaskSnapshot, recovered: bool) -> Steps {
    vec![
        json!({ "sends": { "type": "subscribe", "task_id": "task", "since": since } }),
        says(subscribed(state, recovered, true)),
    ]
}

fn subscribed(state: &TaskSnapshot, recovered: bool, asked: bool) -> Value {
    let joined = Joined {
        task_id: state.task_id.clone(),
        epoch: state.epoch.clone(),
        offset: state.offset,
        recovered,
        snapshot: state.clone().into(),
        permissions: None,
    };
    let message = ControlMessage::subscribed(None, None, joined);
    let mut message = control(&message, state.offset);
    if asked {
        message["data"]["ref"] = json!("$ref");
    }
    message
}

fn closes(code: u16) -> Value {
    json!({ "closes": code })
}

fn going_away(reconnect: Reconnect, after_ms: Option<u64>) -> Value {
    let after = after_ms.map(std::time::Duration::from_millis);
    let message = ControlMessage::going_away("as told", reconnect, after);
    says(control(&message, Offset::FIRST))
}

fn stops() -> Value {
    json!({ "stops": true })
}

fn told(what: &[&str]) -> Value {
    json!({ "told": what })
}

/// A log of seven events, in the epoch `e1`, and one like it in another epoch.
fn log(epoch: &str) -> Log {
    let mut log = publish(
        [NewEvent::task_started("Build")]
            .into_iter()
            .chain((1..4).map(|n| NewEvent::output_delta("o", format!("wört {n} "))))
            .chain((4..7).map(|n| NewEvent::log(format!("line {n}")))),
    );
    for state in &mut log.states {
        state.epoch = epoch.parse().unwrap();
    }
    log
}

fn join(parts: impl IntoIterator<Item = Steps>) -> Steps {
    parts.into_iter().flatten().collect()
}

/// The client watches from the state after two events on, and has had the third.
fn watching(log: &Log) -> Steps {
    join([
        vec![watch(None)],
        hello(),
        subscribes(None, &log.states[2], true),
        vec![says(event(&log.events[2])), told(&["event 3"])],
    ])
}

fn reconnecting() -> Vec<(&'static str, Steps)> {
    let one = log("e1");
    let some = |from: usize, to: usize| -> Steps {
        one.events[from..to]
            .iter()
            .map(|e| says(event(e)))
            .collect()
    };
    vec![
        ("live events come in their order", watching(&one)),
        (
            "after a break it goes on after the last event",
            join([
                watching(&one),
                vec![closes(1006)],
                hello(),
                subscribes(Some("e1:3"), &one.states[5], true),
                some(3, 6),
                vec![told(&["event 4", "event 5", "event 6"])],
            ]),
        ),
        (
            "what came before the break is not told twice",
            join([
                watching(&one),
                some(2, 4),
                vec![told(&["event 4"]), closes(1001)],
                hello(),
                subscribes(Some("e1:4"), &one.states[4], true),
                some(4, 5),
                vec![told(&["event 5"])],
            ]),
        ),
        (
            "it begins where the program says",
            join([
                vec![watch(Some("e1:3"))],
                hello(),
                subscribes(Some("e1:3"), &one.states[5], true),
                some(3, 6),
                vec![told(&["event 4", "event 5", "event 6"])],
            ]),
        ),
        (
            "it begins with all that is retained, and goes on after a break",
            join([
                vec![watch(Some("0"))],
                hello(),
                subscribes(Some("0"), &one.states[3], true),
                some(0, 2),
                vec![told(&["event 1", "event 2"]), closes(1012)],
                hello(),
                subscribes(Some("e1:2"), &one.states[3], true),
                some(2, 3),
                vec![told(&["event 3"])],
            ]),
        ),
        (
            "a merged event stands for all offsets from its first on",
            join([
                vec![watch(None)],
                hello(),
                subscribes(None, &one.states[1], true),
                vec![
                    says(event(&merged(&one.events[1..4]))),
                    told(&["event 2-4"]),
                    closes(1006),
                ],
                hello(),
                subscribes(Some("e1:4"), &one.states[4], true),
            ]),
        ),
        (
            "an event too early is asked for again with those before it",
            join([
                watching(&one),
                some(4, 5),
                vec![told(&[])],
                subscribes(Some("e1:3"), &one.states[5], true),
                some(3, 5),
                vec![told(&["event 4", "event 5"])],
            ]),
        ),
        (
            "events and messages of a newer protocol are no reason to break",
            join([
                watching(&one),
                vec![
                    says(json!({
                        "event_type": "not_known_yet", "timestamp": "2026-11-23T08:59:27.601Z",
                        "data": { "x": 1 }, "y": 2,
                    })),
                    says(json!({
                        "event_type": "my.own", "task_id": "task", "offset": 4, "new": true,
                        "timestamp": "2026-11-23T08:59:27.601Z", "data": { "z": [1] },
                    })),
                    told(&["event 4"]),
                    closes(1006),
                ],
                hello(),
                subscribes(Some("e1:4"), &one.states[4], true),
            ]),
        ),
        (
            "a publish that was not answered is sent again under its id",
            {
                let event = json!({
                    "task_id": "task", "event_type": "log", "event_id": "one",
                    "data": { "message": "hello" },
                });
                let mut sends = event.clone();
                sends["type"] = json!("publish");
                let ack = json!({
                    "event_type": "ack", "task_id": "task",
                    "timestamp": "2026-11-23T08:59:27.601Z",
                    "data": { "ref": "$ref", "epoch": "e1", "offset": 4, "duplicate": true },
                });
                join([
                    vec![json!({ "publish": event })],
                    hello(),
                    vec![json!({ "sends": sends }), closes(1006)],
                    hello(),
                    vec![
                        json!({ "sends": sends }),
                        says(ack),
                        json!({ "published": 4 }),
                    ],
                ])
            },
        ),
    ]
}

fn moved(from: u64, to: u64, reason: GapReason, state: Option<&TaskSnapshot>) -> Value {
    says(gap(from, to, reason, state))
}

fn positions() -> Vec<(&'static str, Steps)> {
    let (one, two) = (log("e1"), log("e2"));
    let some = |from: usize, to: usize| -> Steps {
        one.events[from..to]
            .iter()
            .map(|e| says(event(e)))
            .collect()
    };
    vec![
        (
            "a gap is told, and it goes on after it",
            join([
                watching(&one),
                vec![
                    moved(4, 5, GapReason::Overrun, Some(&one.states[6])),
                    told(&["gap 4-5 overrun"]),
                ],
                some(5, 6),
                vec![told(&["event 6"]), closes(1006)],
                hello(),
                subscribes(Some("e1:6"), &one.states[6], true),
            ]),
        ),
        (
            "a conflated gap is a gap",
            join([
                watching(&one),
                vec![
                    moved(4, 6, GapReason::Conflated, None),
                    told(&["gap 4-6 conflated"]),
                    closes(1006),
                ],
                hello(),
                subscribes(Some("e1:6"), &one.states[6], true),
            ]),
        ),
        (
            "what has expired meanwhile is told as a gap",
            join([
                watching(&one),
                vec![closes(1006)],
                hello(),
                subscribes(Some("e1:3"), &one.states[6], false),
                vec![
                    moved(4, 5, GapReason::Expired, Some(&one.states[6])),
                    says(event(&one.events[5])),
                    told(&["gap 4-5 expired", "event 6"]),
                ],
            ]),
        ),
        (
            "a reset voids the position, and it goes on in the other epoch",
            join([
                watching(&one),
                vec![closes(1006)],
                hello(),
                subscribes(Some("e1:3"), &two.states[2], false),
                vec![
                    says(reset(ResetReason::EpochChanged, 0, &two.states[2])),
                    says(event(&two.events[0])),
                    says(event(&two.events[1])),
                    told(&["reset e2:0 epoch_changed", "event 1", "event 2"]),
                    closes(1006),
                ],
                hello(),
                subscribes(Some("e2:2"), &two.states[2], true),
            ]),
        ),
        (
            "a reset while it is connected",
            join([
                watching(&one),
                vec![
                    says(reset(ResetReason::Removed, 0, &two.states[0])),
                    says(event(&two.events[0])),
                    told(&["reset e2:0 removed", "event 1"]),
                    closes(1006),
                ],
                hello(),
                subscribes(Some("e2:1"), &two.states[1], true),
            ]),
        ),
        (
            "a position that is ahead of the log is reset",
            join([
                vec![watch(Some("e1:6"))],
                hello(),
                subscribes(Some("e1:6"), &one.states[2], false),
                vec![
                    says(reset(ResetReason::Ahead, 2, &one.states[2])),
                    says(event(&one.events[2])),
                    told(&["reset e1:2 ahead", "event 3"]),
                ],
            ]),
        ),
        (
            "a task without events is watched, and resumed before the first",
            join([
                vec![watch(None)],
                hello(),
                subscribes(None, &one.states[0], true),
                vec![closes(1006)],
                hello(),
                subscribes(Some("e1:0"), &two.states[1], true),
                vec![
                    says(event(&two.events[0])),
                    told(&["event 1"]),
                    closes(1006),
                ],
                hello(),
                subscribes(Some("e2:1"), &two.states[1], true),
            ]),
        ),
        (
            "the epoch in which another node has begun a task is taken over",
            join([
                vec![watch(None)],
                hello(),
                subscribes(None, &one.states[0], true),
                vec![
                    says(subscribed(&two.states[0], true, false)),
                    says(event(&two.events[0])),
                    told(&["event 1"]),
                    closes(1006),
                ],
                hello(),
                subscribes(Some("e2:1"), &two.states[1], true),
            ]),
        ),
    ]
}

fn closing() -> Vec<(&'static str, Steps)> {
    let one = log("e1");
    let again = || join([hello(), subscribes(Some("e1:3"), &one.states[3], true)]);
    let mut scripts = vec![
        (
            "told to come back later, it waits that long",
            join([
                watching(&one),
                vec![going_away(Reconnect::After, Some(1_500)), closes(1012)],
                greeted(1_500, None),
                subscribes(Some("e1:3"), &one.states[3], true),
            ]),
        ),
        (
            "told to come back at once, it does, whatever the code",
            join([
                watching(&one),
                vec![going_away(Reconnect::Now, None), closes(1008)],
                again(),
            ]),
        ),
        (
            "told to stay away, it does, though a proxy has swallowed the code",
            join([
                watching(&one),
                vec![going_away(Reconnect::Never, None), closes(1006), stops()],
            ]),
        ),
    ];
    for (name, code) in [
        ("a restart of the server", 1012),
        ("a server that is full", 1013),
        ("a rate that was too high", 4429),
        ("silence", 4408),
        ("a code that is not in the table", 4999),
    ] {
        scripts.push((name, join([watching(&one), vec![closes(code)], again()])));
    }
    for (name, code) in [
        ("a connection of the same client took its place", 4409),
        ("it may not be here", 4403),
        ("its messages are not understood", 1007),
    ] {
        scripts.push((name, join([watching(&one), vec![closes(code), stops()]])));
    }
    scripts
}

/// With the tokens that the client's source has, in their order.
fn tokens() -> Vec<(&'static str, Vec<&'static str>, Steps)> {
    let one = log("e1");
    let begin = |token| {
        join([
            vec![watch(None)],
            greeted(0, Some(token)),
            subscribes(None, &one.states[3], true),
        ])
    };
    vec![
        (
            "a token that has expired is followed by another",
            vec!["one", "two"],
            join([
                begin("one"),
                vec![closes(4401)],
                greeted(0, Some("two")),
                subscribes(Some("e1:3"), &one.states[3], true),
            ]),
        ),
        (
            "without another token it stops",
            vec!["one"],
            join([begin("one"), vec![closes(4401), stops()]]),
        ),
        (
            "a newer token is shown on the connection that there is",
            vec!["one"],
            join([
                begin("one"),
                vec![
                    json!({ "renews": "two" }),
                    json!({ "sends": { "type": "authenticate", "token": "two" } }),
                    says(event(&one.events[3])),
                    told(&["event 4"]),
                ],
            ]),
        ),
    ]
}

/// A log of a task of the tree `top`.
fn log_of(task: &str) -> Log {
    let task: TaskId = task.parse().unwrap();
    let mut log = log("e1");
    log.states
        .iter_mut()
        .for_each(|state| state.task_id = task.clone());
    log.events
        .iter_mut()
        .for_each(|event| event.task_id = task.clone());
    log
}

/// Returns the announcement of a task that belongs to the tree.
fn announced(state: &TaskSnapshot) -> Value {
    let mut message = subscribed(state, true, false);
    message["data"]["tree"] = json!("top");
    says(message)
}

/// The client asks for the tree, and the server confirms it and announces its tasks.
fn tree_of(states: &[&TaskSnapshot]) -> Steps {
    let target = Target::Tree("top".parse().unwrap());
    let confirmation = ControlMessage::subscribed_to(None, target);
    let mut confirmation = control(&confirmation, Offset::FIRST);
    confirmation["data"]["ref"] = json!("$ref");
    let mut steps = vec![
        json!({ "sends": { "type": "subscribe", "tree": "top", "since": null } }),
        says(confirmation),
    ];
    steps.extend(states.iter().map(|state| announced(state)));
    steps
}

fn trees() -> Vec<(&'static str, Steps)> {
    let (top, part) = (log_of("top"), log_of("part"));
    let of = |log: &Log, offset: usize| says(event(&log.events[offset - 1]));
    let watching = || {
        join([
            vec![json!({ "watch": { "tree": "top", "since": null } })],
            hello(),
            tree_of(&[&top.states[2], &part.states[2]]),
            vec![
                of(&part, 3),
                of(&top, 3),
                told(&["part event 3", "top event 3"]),
            ],
        ])
    };
    let command = json!({ "task_id": "top", "command": "cancel", "args": null });
    let sends = json!({ "sends": {
        "type": "command", "task_id": "top", "command": "cancel", "tree": true,
    } });
    let commanding = || {
        join([
            vec![json!({ "command": command })],
            hello(),
            vec![sends.clone()],
        ])
    };
    let asked = TaskCommanded::Asked {
        task_id: "part".parse().unwrap(),
        command_id: "c1".parse().unwrap(),
        epoch: "e1".parse().unwrap(),
        offset: Offset::FIRST,
    };
    let refused = TaskCommanded::Refused {
        task_id: "top".parse().unwrap(),
        code: ErrorCode::Forbidden,
        message: "as told".into(),
    };
    let answer = ControlMessage::commanded(None, "top".parse().unwrap(), vec![asked, refused]);
    let mut answer = control(&answer, Offset::FIRST);
    answer["data"]["ref"] = json!("$ref");
    vec![
        (
            "a tree brings the task and all below it, and those to come",
            join([
                watching(),
                vec![
                    announced(&log_of("late").states[1]),
                    of(&log_of("late"), 2),
                    of(&part, 4),
                    told(&["late event 2", "part event 4"]),
                ],
            ]),
        ),
        (
            "a tree is asked for again, and what came before the break is not told twice",
            join([
                watching(),
                vec![closes(1006)],
                hello(),
                tree_of(&[&top.states[3], &part.states[3]]),
                vec![of(&top, 4), told(&["top event 4"])],
            ]),
        ),
        (
            "a command for a tree is answered for each task",
            join([
                commanding(),
                vec![
                    says(answer),
                    json!({ "commanded": ["part asked", "top forbidden"] }),
                ],
            ]),
        ),
        (
            "a command for a tree that was not answered fails, and is not sent again",
            join([
                commanding(),
                vec![closes(1006), json!({ "commanded": null })],
            ]),
        ),
    ]
}

fn script_vectors() -> Value {
    let plain = [reconnecting(), positions(), closing(), trees()]
        .into_iter()
        .flatten();
    let plain = plain.map(|(name, steps)| (name, Vec::new(), steps));
    let vectors = plain
        .chain(tokens())
        .map(|(name, tokens, steps)| json!({ "name": name, "tokens": tokens, "steps": steps }));
    json!({
        "about": "Each script is one client. `watch`, `publish`, `command` and `renews` are what \
            the program asks for; `server` is what the server says, with `$ref` for the `ref` of \
            the request that was last in `sends`; `closes` ends the connection. The client must \
            do the rest: `connects` (not earlier than `after_ms` after the close, with \
            `token`), `sends` (a message with these fields; `null` means without), `told` (what \
            the program was told since the last `told`, snapshots aside), `published`, \
            `commanded`, `stops`. \
            `tokens` are what its source has, in their order.",
        "vectors": vectors.collect::<Vec<_>>(),
    })
}

#[test]
fn the_scripts_are_fresh() {
    is_fresh("script.json", &script_vectors());
}

/// A script that contradicts the protocol would have clients learn it.
#[test]
fn every_message_of_a_script_can_be_decoded() {
    let vectors = script_vectors();
    for vector in vectors["vectors"].as_array().unwrap() {
        for step in vector["steps"].as_array().unwrap() {
            if let Some(message) = step.get("server") {
                ServerMessage::decode(&message.to_string()).unwrap();
            }
        }
    }
}
