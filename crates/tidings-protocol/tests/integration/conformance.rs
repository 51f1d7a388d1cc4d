//! The vectors in `docs/conformance` are what this crate does. `tidings-client` runs them.
//!
//! They are for clients in any language: `reduce.json` (events → snapshot),
//! `fold.json` (received messages → state), `close.json` (how a connection ended →
//! what the client does next), and `script.json` (see `conformance_scripts.rs`).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidings_protocol::{
    CloseCode, ControlMessage, Epoch, Event, Gap, GapReason, Joined, Merger, NewEvent, Offset,
    Payload, Reconnect, ResetReason, TaskId, TaskSnapshot, Timestamp,
};

const RENEW: &str = "TIDINGS_BLESS=1 cargo test -p tidings-protocol --features schema conformance";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance")
}

/// Compares a file with what it is to be, or writes it.
pub(crate) fn is_fresh(name: &str, vectors: &Value) {
    let path = folder().join(name);
    if std::env::var_os("TIDINGS_BLESS").is_some() {
        fs::create_dir_all(folder()).unwrap();
        fs::write(&path, format!("{vectors:#}\n")).unwrap();
    }
    let file = fs::read_to_string(&path).unwrap_or_default();
    let file: Option<Value> = serde_json::from_str(&file).ok();
    assert!(
        file.as_ref() == Some(vectors),
        "docs/conformance/{name} is not fresh; renew it with\n  {RENEW}"
    );
}

pub(crate) fn fresh() -> TaskSnapshot {
    TaskSnapshot::new(TaskId::new("task").unwrap(), Epoch::new("e1").unwrap())
}

fn time(offset: Offset) -> Timestamp {
    Timestamp::from_millis(1_763_873_112_000 + offset.get() * 1_000)
}

/// A log, and the state after each of its events.
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    pub(crate) states: Vec<TaskSnapshot>,
}

pub(crate) fn publish(events: impl IntoIterator<Item = NewEvent>) -> Log {
    let mut state = fresh();
    let (mut log, mut states) = (Vec::new(), vec![state.clone()]);
    for new in events {
        state.check(&new.event_type).unwrap();
        let offset = state.offset.next();
        let mut event = Event {
            event_type: new.event_type,
            task_id: state.task_id.clone(),
            offset,
            from: None,
            timestamp: time(offset),
            event_id: None,
            source: None,
            at: None,
            data: new.data,
        };
        if let Ok(Payload::OutputDelta(delta)) = Payload::of(&event) {
            let mut outputs = state.outputs.iter();
            let known = outputs.find(|output| output.output_id == delta.output_id);
            event.at = Some(known.map_or(0, |output| output.length));
        }
        let payload = Payload::of(&event).unwrap();
        state.apply(&payload, offset, event.timestamp);
        log.push(event);
        states.push(state.clone());
    }
    Log {
        events: log,
        states,
    }
}

pub(crate) fn merged(events: &[Event]) -> Event {
    let mut merger = Merger::begin(&events[0]).unwrap();
    for event in &events[1..] {
        assert!(merger.push(event));
    }
    merger.finish()
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "callers write `json!({ … })`"
)]
fn own(event_type: &str, data: Value) -> NewEvent {
    serde_json::from_value(json!({ "event_type": event_type, "data": data })).unwrap()
}

fn children(running: u64, completed: u64, progress: &Value) -> NewEvent {
    own(
        "children_update",
        json!({ "pending": 0, "running": running, "completed": completed, "failed": 0,
            "cancelled": 0, "progress": progress }),
    )
}

fn lives() -> Vec<(&'static str, Vec<NewEvent>)> {
    let started = || NewEvent::task_started("Build");
    let progress = |data: Value| own("progress_update", data);
    let delta = NewEvent::output_delta;
    vec![
        ("nothing has happened", vec![]),
        (
            "a life that ends well",
            vec![
                started(),
                NewEvent::progress(40.0, "linking"),
                NewEvent::progress(80.0, None),
                NewEvent::task_completed(json!({ "ok": true })),
            ],
        ),
        (
            "a failure told as text",
            vec![
                started(),
                own("task_failed", json!({ "error": "no space" })),
            ],
        ),
        (
            "a cancellation has a reason",
            vec![started(), NewEvent::task_cancelled("not needed")],
        ),
        (
            "per cent of a total",
            vec![
                own("task_started", json!({ "total": 40 })),
                progress(json!({ "current": 22 })),
            ],
        ),
        (
            "per cent of the update's own total",
            vec![
                started(),
                progress(json!({ "current": 1, "total": 3 })),
                progress(json!({ "current": 0.29, "total": 1 })),
            ],
        ),
        (
            "no total, no per cent",
            vec![started(), progress(json!({ "current": 7, "stage": "one" }))],
        ),
        (
            "more than the total is 100",
            vec![progress(json!({ "current": 9, "total": 3 }))],
        ),
        (
            "a total of nothing leaves the per cent",
            vec![
                progress(json!({ "progress": 30 })),
                progress(json!({ "current": 5, "total": 0 })),
            ],
        ),
        (
            "progress goes before current",
            vec![progress(json!({ "progress": 7, "current": 1, "total": 2 }))],
        ),
        (
            "a second run begins anew",
            vec![
                own(
                    "task_started",
                    json!({ "name": "Build", "total": 9, "parent_task_id": "all" }),
                ),
                delta("o", "text"),
                NewEvent::step_started("s", "Link"),
                NewEvent::task_failed("lost"),
                own("task_started", json!({})),
                NewEvent::progress(1.0, None),
            ],
        ),
        (
            "steps and their ends",
            vec![
                started(),
                NewEvent::step_started("a", "Compile"),
                own(
                    "step_started",
                    json!({ "step_id": "b", "parent_step_id": "a" }),
                ),
                NewEvent::step_completed("b", None),
                NewEvent::step_failed("a", "no"),
                NewEvent::step_completed("never begun", None),
                NewEvent::step_started("c", None),
            ],
        ),
        (
            "what is open is interrupted by the end",
            vec![
                started(),
                NewEvent::step_started("a", "Compile"),
                NewEvent::tool_call_started("t", "grep", json!({ "x": 1 })),
                NewEvent::input_required("i", "Sure?", None),
                NewEvent::task_completed(None),
            ],
        ),
        (
            "a step that begins again is the latest",
            vec![
                NewEvent::step_started("a", None),
                NewEvent::step_started("b", None),
                NewEvent::step_completed("a", None),
                NewEvent::step_started("a", None),
            ],
        ),
        (
            "of what ended, 32 stay",
            (0..40)
                .flat_map(|n| {
                    let id = format!("s{n}");
                    [
                        NewEvent::step_started(&*id, None),
                        NewEvent::step_completed(&*id, None),
                    ]
                })
                .collect(),
        ),
        (
            "tool calls",
            vec![
                NewEvent::tool_call_started("1", "grep", None),
                NewEvent::tool_call_started("2", "make", None),
                NewEvent::tool_call_failed("1", "no"),
                NewEvent::tool_call_completed("2", None, None),
            ],
        ),
        (
            "agents, each with its last status",
            vec![
                own(
                    "agent_status_change",
                    json!({ "agent_id": "a", "status": "idle" }),
                ),
                own(
                    "agent_status_change",
                    json!({ "agent_id": "b", "status": "working" }),
                ),
                own(
                    "agent_status_change",
                    json!({ "agent_id": "a", "status": "error", "message": "x" }),
                ),
            ],
        ),
        (
            "questions and answers",
            vec![
                NewEvent::input_required("i", "Sure?", json!({ "type": "boolean" })),
                NewEvent::input_required("j", "Which?", None),
                NewEvent::input_provided("i", &json!(true), "ann"),
            ],
        ),
        (
            "a question with choices that expires, and one that was asked anew",
            vec![
                own(
                    "input_required",
                    json!({ "input_id": "i", "prompt": "Which?", "choices": ["a", 2],
                        "expires_in_ms": 90_000 }),
                ),
                NewEvent::input_required("j", "Sure?", None),
                NewEvent::input_expired("i"),
                NewEvent::input_provided("j", &json!("yes"), "ann"),
                NewEvent::input_required("j", "Really?", None),
                NewEvent::input_provided("never asked", &json!(1), "bob"),
            ],
        ),
        (
            "a long answer is left to the log, and of questions that ended 16 stay",
            (0..20)
                .map(|n| {
                    let value = if n == 18 {
                        "x".repeat(3_000)
                    } else {
                        "y".to_owned()
                    };
                    NewEvent::input_provided(format!("q{n}"), &json!(value), "ann")
                })
                .collect(),
        ),
        (
            "commands",
            vec![
                started(),
                own(
                    "command_requested",
                    json!({ "command_id": "1", "command": "pause", "by": "ann" }),
                ),
                own(
                    "command_requested",
                    json!({ "command_id": "2", "command": "cancel", "by": "bob", "args": { "grace_ms": 5 } }),
                ),
                own(
                    "command_requested",
                    json!({ "command_id": "3", "command": "x", "by": "bob" }),
                ),
                NewEvent::command_accepted("1"),
                NewEvent::command_rejected("2", "no"),
                NewEvent::command_completed("3", None),
            ],
        ),
        (
            "a stall is over with the producer's next word",
            vec![started(), NewEvent::task_stalled(), NewEvent::log("back")],
        ),
        (
            "children show their progress until the task reports its own",
            vec![
                children(2, 0, &json!(12.5)),
                started(),
                children(1, 1, &json!(60)),
                NewEvent::task_stalled(),
                children(0, 2, &json!(100)),
                NewEvent::progress(40.0, None),
                children(1, 1, &json!(70)),
                NewEvent::task_completed(None),
                children(1, 0, &json!(80)),
            ],
        ),
        (
            "a task that failed shows the progress of the children that run on",
            vec![
                started(),
                children(2, 0, &json!(12.5)),
                NewEvent::task_failed("no"),
                children(1, 1, &json!(60)),
                children(0, 0, &json!(null)),
            ],
        ),
        (
            "children and weight outlive a run, and the last child leaves nothing",
            vec![
                own(
                    "task_started",
                    json!({ "name": "whole", "weight": 2.5, "parent_task_id": "root" }),
                ),
                NewEvent::progress(40.0, None),
                children(1, 1, &json!(70)),
                NewEvent::task_failed("no"),
                started(),
                children(0, 0, &json!(null)),
            ],
        ),
        (
            "a stall is not over with a watcher's",
            vec![
                started(),
                NewEvent::task_stalled(),
                own(
                    "command_requested",
                    json!({ "command_id": "1", "command": "x", "by": "ann" }),
                ),
            ],
        ),
        (
            "outputs count bytes of UTF-8",
            vec![
                delta("o", "wört"),
                delta("p", "other"),
                delta("o", "er 🎉"),
                NewEvent::output_completed("o", None),
            ],
        ),
        (
            "a completed output may say its text",
            vec![
                delta("o", "draft"),
                NewEvent::output_completed("o", "the whole text"),
                delta("o", " and on"),
                NewEvent::output_completed("new", "at once"),
            ],
        ),
        (
            "artifacts are replaced by their id",
            vec![
                own(
                    "artifact",
                    json!({ "artifact_id": "a", "name": "log", "url": "https://example.org/1" }),
                ),
                own("artifact", json!({ "artifact_id": "b", "data": [1, null] })),
                own(
                    "artifact",
                    json!({ "artifact_id": "a", "media_type": "text/plain" }),
                ),
            ],
        ),
        (
            "events of the application's own change nothing but the place",
            vec![
                started(),
                own("constructor", json!({})),
                own("my.own", json!({ "x": 1 })),
            ],
        ),
        (
            "after the end",
            vec![
                started(),
                NewEvent::task_completed(None),
                NewEvent::log("late"),
                own(
                    "agent_status_change",
                    json!({ "agent_id": "a", "status": "offline" }),
                ),
            ],
        ),
    ]
}

fn reduce_vectors() -> Value {
    let vectors = lives().into_iter().map(|(name, events)| {
        let log = publish(events);
        json!({
            "name": name, "start": log.states[0], "events": log.events,
            "snapshot": log.states.last(),
        })
    });
    json!({
        "about": "Reducing `events`, one after the other, from `start` gives `snapshot`.",
        "vectors": vectors.collect::<Vec<_>>(),
    })
}

fn joined(state: &TaskSnapshot) -> Value {
    let message = ControlMessage::connection_established(
        "client".parse().unwrap(),
        "token",
        25_000,
        Some(Joined {
            task_id: state.task_id.clone(),
            epoch: state.epoch.clone(),
            offset: state.offset,
            recovered: true,
            snapshot: state.clone().into(),
            permissions: None,
        }),
    );
    control(&message, state.offset)
}

/// A task without events, in an epoch.
fn empty_of(epoch: &str) -> TaskSnapshot {
    TaskSnapshot::new(fresh().task_id, epoch.parse().unwrap())
}

/// Another node has begun the task.
fn begun(state: &TaskSnapshot) -> Value {
    let joined = Joined {
        task_id: state.task_id.clone(),
        epoch: state.epoch.clone(),
        offset: state.offset,
        recovered: true,
        snapshot: state.clone().into(),
        permissions: None,
    };
    control(
        &ControlMessage::subscribed(None, None, joined),
        state.offset,
    )
}

pub(crate) fn gap(from: u64, to: u64, reason: GapReason, state: Option<&TaskSnapshot>) -> Value {
    let gap = Gap {
        from: Offset::new(from).unwrap(),
        to: Offset::new(to).unwrap(),
        reason,
    };
    let snapshot = state.cloned().map(Into::into);
    let message = ControlMessage::gap(Some(fresh().task_id), gap, snapshot);
    control(&message, gap.to)
}

pub(crate) fn reset(reason: ResetReason, offset: u64, state: &TaskSnapshot) -> Value {
    let offset = Offset::new(offset).unwrap();
    let snapshot = state.clone().into();
    let message = ControlMessage::reset(state.task_id.clone(), reason, offset, snapshot);
    control(&message, offset)
}

pub(crate) fn control(message: &ControlMessage, offset: Offset) -> Value {
    serde_json::from_str(&message.encode(time(offset))).unwrap()
}

pub(crate) fn event(event: &Event) -> Value {
    serde_json::to_value(event).unwrap()
}

fn fold_vectors() -> Value {
    let log = publish(
        [NewEvent::task_started("Build")]
            .into_iter()
            .chain((1..5).map(|n| NewEvent::progress(f64::from(n), (n == 1).then_some("linking"))))
            .chain((0..5).map(|n| NewEvent::output_delta("o", format!("wört {n} "))))
            .chain([NewEvent::log("line"), NewEvent::task_completed(None)]),
    );
    let (events, states) = (&log.events, &log.states);
    let last = states.last().unwrap();
    let mut other = states[6].clone();
    other.epoch = Epoch::new("old").unwrap();
    let all = |from: usize| events[from..].iter().map(event).collect::<Vec<_>>();
    let after = |first: Vec<Value>, rest: Vec<Value>| [first, rest].concat();
    let cases = [
        (
            "live from a snapshot on",
            after(vec![joined(&states[4])], all(4)),
            last,
        ),
        (
            "history is counted already",
            after(vec![joined(&states[7])], all(2)),
            last,
        ),
        (
            "merged progress keeps a message that is not repeated",
            after(
                vec![joined(&states[1]), event(&merged(&events[1..5]))],
                all(5),
            ),
            last,
        ),
        (
            "merged text",
            after(
                vec![joined(&states[5]), event(&merged(&events[5..10]))],
                all(10),
            ),
            last,
        ),
        (
            "a merged event that begins before the snapshot",
            after(
                vec![joined(&states[7]), event(&merged(&events[5..10]))],
                all(10),
            ),
            last,
        ),
        (
            "a merged event that ends before the snapshot",
            after(
                vec![joined(&states[9]), event(&merged(&events[5..8]))],
                all(8),
            ),
            last,
        ),
        (
            "a gap with a snapshot, then what is retained",
            after(
                vec![
                    joined(&states[1]),
                    gap(2, 6, GapReason::Overrun, Some(&states[9])),
                ],
                all(6),
            ),
            last,
        ),
        (
            "a conflated gap changes nothing",
            vec![
                joined(&states[10]),
                gap(11, 11, GapReason::Conflated, None),
                event(&events[11]),
            ],
            last,
        ),
        (
            "a reset, then all of the new numbering",
            after(
                vec![
                    joined(&other),
                    reset(ResetReason::EpochChanged, 0, &states[3]),
                ],
                all(0),
            ),
            last,
        ),
        (
            "a reset of a claim that was ahead",
            after(
                vec![joined(&states[2]), reset(ResetReason::Ahead, 9, &states[9])],
                all(9),
            ),
            last,
        ),
        (
            "a task that is empty, and begins in another epoch",
            after(
                vec![joined(&empty_of("provisional")), begun(&states[0])],
                all(0),
            ),
            last,
        ),
        ("only a snapshot", vec![joined(last)], last),
    ];
    let vectors = cases.map(
        |(name, messages, state)| json!({ "name": name, "messages": messages, "state": state }),
    );
    json!({
        "about": "Folding `messages`, received in this order on one connection, gives `state`. \
            An output may be kept from further back than the server's `start`; then the texts \
            are equal where they overlap.",
        "vectors": vectors,
    })
}

fn close_vectors() -> Value {
    let mut vectors = Vec::new();
    let other = [1005, 1006, 1010, 1015, 3000, 4000, 4999];
    let codes = CloseCode::ALL
        .iter()
        .map(|code| (code.code(), code.reconnect()));
    for (code, then) in codes.chain(other.map(|code| (code, Reconnect::Backoff))) {
        vectors.push(json!({
            "name": format!("{code} without a goodbye"),
            "going_away": null, "code": code, "then": then, "after_ms": 0,
        }));
    }
    for (reconnect, after) in [
        (Reconnect::Never, None),
        (Reconnect::Now, None),
        (Reconnect::After, Some(1_250)),
        (Reconnect::After, Some(0)),
        (Reconnect::Backoff, None),
    ] {
        for code in [1000, 1006, 1008, 1012, 4408] {
            let after_time = after.map(std::time::Duration::from_millis);
            let goodbye = ControlMessage::going_away("as told", reconnect, after_time);
            vectors.push(json!({
                "name": format!("told {reconnect}, closed with {code}"),
                "going_away": control(&goodbye, Offset::FIRST)["data"],
                "code": code, "then": reconnect, "after_ms": after.unwrap_or(0),
            }));
        }
    }
    json!({
        "about": "A connection that was established ends: the server's `going_away`, if it came, \
            then the close code. `then` is what a client does next, `after_ms` how long it waits \
            first, beside its own floor. A client that can get another token may do so before it \
            gives up after 4401 and 4403.",
        "vectors": vectors,
    })
}

#[test]
fn the_files_are_what_this_crate_does() {
    is_fresh("reduce.json", &reduce_vectors());
    is_fresh("fold.json", &fold_vectors());
    is_fresh("close.json", &close_vectors());
}
