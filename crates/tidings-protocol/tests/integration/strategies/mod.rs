//! Random values of every type on the wire.

use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_protocol::*;

pub(crate) fn task_id() -> impl Strategy<Value = TaskId> {
    "[A-Za-z0-9._:~-]{1,128}".prop_filter_map("a folder", |text| TaskId::new(text).ok())
}

fn printable() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,64}"
}

fn epoch() -> impl Strategy<Value = Epoch> {
    "[A-Za-z0-9._-]{1,32}".prop_map(|text| Epoch::new(text).unwrap())
}

pub(crate) fn offset() -> impl Strategy<Value = Offset> {
    (0..=Offset::MAX.get()).prop_map(|value| Offset::new(value).unwrap())
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

pub(crate) fn position() -> impl Strategy<Value = Position> {
    (epoch(), offset()).prop_map(|(epoch, offset)| Position { epoch, offset })
}

pub(crate) fn since() -> impl Strategy<Value = Since> {
    prop_oneof![Just(Since::Start), position().prop_map(Since::After)]
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(".*", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

pub(crate) fn data() -> impl Strategy<Value = Data> {
    (btree_map(".*", value(), 0..4), any::<bool>()).prop_map(|(map, pretty)| {
        let value: Value = map.into_iter().collect();
        let text = if pretty {
            format!("{value:#}")
        } else {
            value.to_string()
        };
        Data::parse(&text).unwrap()
    })
}

pub(crate) fn event_type() -> impl Strategy<Value = EventType> {
    prop_oneof![
        proptest::sample::select(EventType::STANDARD),
        "[a-z][a-z0-9_.]{0,63}".prop_filter_map("reserved", |name| EventType::new(name).ok()),
    ]
}

fn producer() -> impl Strategy<Value = ProducerStamp> {
    (printable(), any::<u64>(), any::<u64>())
        .prop_map(|(id, epoch, seq)| ProducerStamp::new(ProducerId::new(id).unwrap(), epoch, seq))
}

pub(crate) fn new_event() -> impl Strategy<Value = NewEvent> {
    let ids = (
        option::of(printable()),
        option::of(printable()),
        option::of(producer()),
        option::of(any::<u32>()),
    );
    (event_type(), data(), ids).prop_map(|(event_type, data, (event_id, source, producer, run))| {
        let mut event = NewEvent::new(event_type, data);
        event.event_id = event_id.map(|id| EventId::new(id).unwrap());
        event.source = source.map(|source| Source::new(source).unwrap());
        event.producer = producer;
        event.run = run;
        event
    })
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let places = (option::of(offset()), option::of(any::<u64>()));
    (new_event(), task_id(), offset(), timestamp(), places).prop_map(
        |(event, task_id, offset, timestamp, (from, at))| Event {
            event_type: event.event_type,
            task_id,
            offset,
            from,
            timestamp,
            event_id: event.event_id,
            source: event.source,
            at,
            data: event.data,
        },
    )
}

fn reference() -> impl Strategy<Value = Reference> {
    // `null` means the same as no reference.
    value().prop_filter_map("too long, or null", |value| {
        Reference::parse(&value.to_string())
            .ok()
            .filter(|_| !value.is_null())
    })
}

fn target() -> impl Strategy<Value = Target> {
    let pattern = "[A-Za-z0-9._:~-]{0,128}\\*".prop_map(|text| Pattern::new(text).unwrap());
    prop_oneof![
        task_id().prop_map(Target::Task),
        task_id().prop_map(Target::Tree),
        pattern.prop_map(Target::Pattern)
    ]
}

fn request() -> impl Strategy<Value = ClientRequest> {
    prop_oneof![
        Just(ClientRequest::Ping),
        (option::of(task_id()), new_event())
            .prop_map(|(task_id, event)| ClientRequest::Publish { task_id, event }),
        (
            option::of(target()),
            option::of(since()),
            option::of(any::<u32>())
        )
            .prop_map(|(target, since, history)| ClientRequest::Subscribe {
                target,
                since,
                history
            }),
        option::of(target()).prop_map(|target| ClientRequest::Unsubscribe { target }),
        (
            option::of(task_id()),
            printable(),
            option::of(data()),
            any::<bool>()
        )
            .prop_map(|(task_id, command, args, tree)| ClientRequest::Command {
                task_id,
                command,
                args,
                tree
            }),
        ".*".prop_map(|token| ClientRequest::Authenticate {
            token: token.into()
        }),
    ]
}

pub(crate) fn client_message() -> impl Strategy<Value = ClientMessage> {
    (option::of(reference()), request())
        .prop_map(|(reference, kind)| ClientMessage { reference, kind })
}

fn joined() -> impl Strategy<Value = Joined> {
    let permissions = option::of(prop::sample::subsequence(
        Permission::ALL.to_vec(),
        0..=Permission::ALL.len(),
    ));
    let parts = (task_id(), epoch(), offset(), any::<bool>(), permissions);
    parts.prop_map(|(task_id, epoch, offset, recovered, permissions)| {
        let snapshot = Arc::new(TaskSnapshot::new(task_id.clone(), epoch.clone()));
        Joined {
            task_id,
            epoch,
            offset,
            recovered,
            snapshot,
            permissions,
        }
    })
}

fn commanded() -> impl Strategy<Value = TaskCommanded> {
    let code = proptest::sample::select(ErrorCode::ALL);
    prop_oneof![
        (task_id(), position()).prop_map(|(task_id, Position { epoch, offset })| {
            TaskCommanded::Asked {
                task_id,
                command_id: CommandId::generate(),
                epoch,
                offset,
            }
        }),
        (task_id(), code, ".*").prop_map(|(task_id, code, message)| TaskCommanded::Refused {
            task_id,
            code,
            message,
        }),
    ]
}

fn gap() -> impl Strategy<Value = Gap> {
    (offset(), offset(), proptest::sample::select(GapReason::ALL))
        .prop_map(|(from, to, reason)| Gap { from, to, reason })
}

fn mark() -> impl Strategy<Value = Option<Reference>> {
    option::of(reference())
}

pub(crate) fn control_message() -> impl Strategy<Value = ControlMessage> {
    let client =
        "[A-Za-z0-9._:~-]{1,64}".prop_filter_map("a folder", |text| ClientId::new(text).ok());
    let snapshot = joined().prop_map(|joined| joined.snapshot);
    let after = option::of((0..=u64::MAX / 1_000).prop_map(std::time::Duration::from_millis));
    prop_oneof![
        (client, ".*", any::<u64>(), option::of(joined())).prop_map(
            |(client_id, token, interval, task)| {
                ControlMessage::connection_established(client_id, token, interval, task)
            }
        ),
        (mark(), target(), joined()).prop_map(|(reference, target, joined)| {
            let through = Some(target).filter(|target| target.task_id().is_none());
            ControlMessage::subscribed(reference, through, joined)
        }),
        (mark(), target()).prop_map(|(reference, target)| match target {
            Target::Task(task_id) => {
                ControlMessage::unsubscribed(reference, task_id, UnsubscribeReason::Removed)
            }
            many => ControlMessage::subscribed_to(reference, many),
        }),
        (task_id(), task_id())
            .prop_map(|(tree, task_id)| ControlMessage::subscribed_member(tree, task_id)),
        (mark(), task_id(), vec(commanded(), 0..3)).prop_map(|(reference, task_id, tasks)| {
            ControlMessage::commanded(reference, task_id, tasks)
        }),
        (
            offset(),
            joined(),
            proptest::sample::select(ResetReason::ALL)
        )
            .prop_map(|(offset, joined, reason)| {
                ControlMessage::reset(joined.task_id, reason, offset, joined.snapshot)
            }),
        (option::of(task_id()), gap(), option::of(snapshot))
            .prop_map(|(task_id, gap, snapshot)| ControlMessage::gap(task_id, gap, snapshot)),
        btree_map(task_id(), offset(), 0..4).prop_map(ControlMessage::heartbeat),
        (
            mark(),
            task_id(),
            position(),
            any::<bool>(),
            option::of(any::<u32>())
        )
            .prop_map(
                |(reference, task_id, Position { epoch, offset }, duplicate, run)| {
                    ControlMessage::ack(reference, task_id, epoch, offset, duplicate, run)
                }
            ),
        (mark(), proptest::sample::select(ErrorCode::ALL), ".*")
            .prop_map(|(reference, code, text)| ControlMessage::error(reference, code, text)),
        (offset(), event_type(), data()).prop_map(|(offset, event_type, data)| {
            ControlMessage::personal_message(offset, event_type, data)
        }),
        mark().prop_map(ControlMessage::pong),
        (".*", proptest::sample::select(Reconnect::ALL), after).prop_map(
            |(reason, reconnect, after)| ControlMessage::going_away(reason, reconnect, after)
        ),
    ]
}

/// Ids from a small set, so that several events concern the same thing.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..4_u8).prop_map(|n| format!("id-{n}")),
        "[^\\p{Cc}]{1,128}"
    ]
}

/// Mostly short texts, and sometimes one that reaches the limits.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "\\PC{0,32}",
        2 => ".{0,64}",
        1 => ("\\PC{1,4}|[\\x00-\\x1f\"]{1,4}", 1..10_000_usize).prop_map(|(text, n)| text.repeat(n)),
    ]
}

fn result() -> impl Strategy<Value = Option<Value>> {
    option::of(prop_oneof![4 => value(), 1 => text().prop_map(Value::from)])
}

/// Returns standard events that are valid on their own, in random order.
pub(crate) fn reported() -> impl Strategy<Value = NewEvent> {
    prop_oneof![
        2 => text().prop_map(NewEvent::task_started),
        4 => (0.0..=100.0_f64, option::of(text()))
            .prop_map(|(percent, text)| NewEvent::progress(percent, text.as_deref())),
        2 => (0.0..1e6_f64, 0.0..1e6_f64, text())
            .prop_map(|(current, total, text)| NewEvent::progress_of(current, total, &*text)),
        1 => result().prop_map(NewEvent::task_completed),
        1 => text().prop_map(NewEvent::task_failed),
        1 => text().prop_map(|text| NewEvent::task_cancelled(&*text)),
        1 => Just(NewEvent::task_stalled()),
        4 => (0..3_u64, 0..3_u64, option::of(0.0..=100.0_f64)).prop_map(|(running, failed, progress)| {
            let mut update = ChildrenUpdate::default();
            (update.running, update.failed) = (running, failed);
            update.progress = progress.filter(|_| update.total() > 0);
            NewEvent::children_update(&update)
        }),
        3 => (id(), text()).prop_map(|(id, text)| NewEvent::step_started(id, &*text)),
        2 => (id(), result()).prop_map(|(id, value)| NewEvent::step_completed(id, value)),
        1 => (id(), text()).prop_map(|(id, text)| NewEvent::step_failed(id, text)),
        3 => (id(), proptest::sample::select(AgentStatus::ALL), text())
            .prop_map(|(id, status, text)| NewEvent::agent_status(id, status, &*text)),
        3 => (id(), text(), result())
            .prop_map(|(id, tool, input)| NewEvent::tool_call_started(id, tool, input)),
        2 => id().prop_map(|id| NewEvent::tool_call_completed(id, None, None)),
        1 => id().prop_map(|id| NewEvent::tool_call_failed(id, "no")),
        6 => (id(), text()).prop_map(|(id, text)| NewEvent::output_delta(id, text)),
        2 => (id(), option::of(text()))
            .prop_map(|(id, text)| NewEvent::output_completed(id, text.as_deref())),
        4 => (id(), text(), result()).prop_map(|(id, text, data)| {
            let artifact = json!({
                "artifact_id": id, "name": text, "media_type": text, "url": text, "data": data,
            });
            NewEvent::artifact(&serde_json::from_value(artifact).unwrap())
        }),
        3 => (id(), text(), result()).prop_map(|(id, text, schema)| {
            // A larger one is refused.
            let fits = |schema: &Value| schema.to_string().len() <= MAX_SCHEMA_BYTES;
            NewEvent::input_required(id, text, schema.filter(fits))
        }),
        2 => (id(), result(), text()).prop_map(|(id, value, by)| {
            NewEvent::input_provided(id, &value.unwrap_or(json!(true)), by)
        }),
        1 => id().prop_map(NewEvent::input_expired),
        3 => (id(), option::of(data()), text())
            .prop_map(|(id, args, by)| NewEvent::command_requested(id, "pause", args.as_ref(), by)),
        1 => id().prop_map(NewEvent::command_accepted),
        1 => id().prop_map(|id| NewEvent::command_rejected(id, "no")),
        1 => id().prop_map(|id| NewEvent::command_completed(id, None)),
        1 => text().prop_map(NewEvent::log),
        1 => data().prop_map(|data| NewEvent::new(EventType::new("app.own").unwrap(), data)),
    ]
}
