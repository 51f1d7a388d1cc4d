//! Control messages have the wire form of the specification.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_protocol::{
    ClientId, CommandId, ControlMessage, Data, Epoch, ErrorCode, EventType, Gap, GapReason, Joined,
    Offset, Pattern, Reconnect, ResetReason, Target, TaskCommanded, TaskId, TaskSnapshot,
    Timestamp, UnsubscribeReason,
};

fn task(id: &str) -> TaskId {
    TaskId::new(id).unwrap()
}

fn offset(value: u64) -> Offset {
    Offset::new(value).unwrap()
}

fn epoch() -> Epoch {
    Epoch::new("e1").unwrap()
}

fn joined() -> Joined {
    let mut snapshot = TaskSnapshot::new(task("a"), epoch());
    snapshot.offset = offset(4);
    Joined {
        task_id: task("a"),
        epoch: epoch(),
        offset: offset(4),
        recovered: true,
        snapshot: Arc::new(snapshot),
        permissions: None,
    }
}

fn snapshot() -> Value {
    serde_json::to_value(joined().snapshot).unwrap()
}

/// Returns the message without its `timestamp`, after checking that field.
fn wire(message: &ControlMessage) -> Value {
    let text = message.encode(Timestamp::from_millis(1_795_409_112_123));
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let timestamp = value.as_object_mut().unwrap().remove("timestamp");
    assert_eq!(timestamp, Some(json!("2026-11-23T04:45:12.123Z")));
    value
}

#[test]
fn connection_established_with_and_without_a_task() {
    let client = ClientId::new("c").unwrap();
    let message = ControlMessage::connection_established(client.clone(), "secret", 25_000, None);
    assert_eq!(
        wire(&message),
        json!({"event_type": "connection_established", "data": {
            "client_id": "c", "protocol": "tidings.v1", "resume_token": "secret",
            "heartbeat_interval_ms": 25_000,
        }})
    );
    let message = ControlMessage::connection_established(client, "secret", 25_000, Some(joined()));
    assert_eq!(
        wire(&message),
        json!({"event_type": "connection_established", "task_id": "a", "data": {
            "client_id": "c", "protocol": "tidings.v1", "resume_token": "secret",
            "heartbeat_interval_ms": 25_000,
            "epoch": "e1", "offset": 4, "recovered": true, "snapshot": snapshot(),
        }})
    );
}

#[test]
fn subscriptions_name_the_task_at_both_levels() {
    let everything = Pattern::everything();
    assert_eq!(
        wire(&ControlMessage::subscribed(Some(1.into()), None, joined())),
        json!({"event_type": "subscribed", "task_id": "a", "data": {
            "ref": 1, "task_id": "a",
            "epoch": "e1", "offset": 4, "recovered": true, "snapshot": snapshot(),
        }})
    );
    assert_eq!(
        wire(&ControlMessage::subscribed(
            None,
            Some(everything.clone().into()),
            joined()
        )),
        json!({"event_type": "subscribed", "task_id": "a", "data": {
            "task_id": "a", "pattern": "*",
            "epoch": "e1", "offset": 4, "recovered": true, "snapshot": snapshot(),
        }})
    );
    assert_eq!(
        wire(&ControlMessage::subscribed_to(
            Some(2.into()),
            everything.clone().into()
        )),
        json!({"event_type": "subscribed", "data": {"ref": 2, "pattern": "*"}})
    );
    assert_eq!(
        wire(&ControlMessage::unsubscribed(
            None,
            everything,
            UnsubscribeReason::Asked
        )),
        json!({"event_type": "unsubscribed", "data": {"pattern": "*", "reason": "asked"}})
    );
    assert_eq!(
        wire(&ControlMessage::unsubscribed(
            None,
            task("a"),
            UnsubscribeReason::Removed
        )),
        json!({"event_type": "unsubscribed", "task_id": "a", "data": {
            "task_id": "a", "reason": "removed",
        }})
    );
}

#[test]
fn a_tree_is_named_by_its_topmost_task() {
    let tree = Target::Tree(task("top"));
    assert_eq!(
        wire(&ControlMessage::subscribed_to(Some(2.into()), tree.clone())),
        json!({"event_type": "subscribed", "data": {"ref": 2, "tree": "top"}})
    );
    assert_eq!(
        wire(&ControlMessage::subscribed(
            None,
            Some(tree.clone()),
            joined()
        )),
        json!({"event_type": "subscribed", "task_id": "a", "data": {
            "task_id": "a", "tree": "top",
            "epoch": "e1", "offset": 4, "recovered": true, "snapshot": snapshot(),
        }})
    );
    assert_eq!(
        wire(&ControlMessage::subscribed_member(task("top"), task("a"))),
        json!({"event_type": "subscribed", "task_id": "a", "data": {
            "task_id": "a", "tree": "top",
        }})
    );
    assert_eq!(
        wire(&ControlMessage::unsubscribed(
            None,
            tree,
            UnsubscribeReason::Asked
        )),
        json!({"event_type": "unsubscribed", "data": {"tree": "top", "reason": "asked"}})
    );
}

#[test]
fn a_command_for_a_tree_is_answered_for_each_task() {
    let tasks = vec![
        TaskCommanded::Asked {
            task_id: task("b"),
            command_id: CommandId::new("c1").unwrap(),
            epoch: epoch(),
            offset: offset(4),
        },
        TaskCommanded::Refused {
            task_id: task("a"),
            code: ErrorCode::Forbidden,
            message: "no".to_owned(),
        },
    ];
    assert_eq!(
        wire(&ControlMessage::commanded(Some(1.into()), task("a"), tasks)),
        json!({"event_type": "commanded", "task_id": "a", "data": {"ref": 1, "tasks": [
            {"task_id": "b", "command_id": "c1", "epoch": "e1", "offset": 4},
            {"task_id": "a", "code": "forbidden", "message": "no"},
        ]}})
    );
}

#[test]
fn a_reset_says_where_the_task_goes_on() {
    let reset = ControlMessage::reset(
        task("a"),
        ResetReason::Removed,
        Offset::ZERO,
        joined().snapshot,
    );
    assert_eq!(
        wire(&reset),
        json!({"event_type": "reset", "task_id": "a", "data": {
            "reason": "removed", "epoch": joined().snapshot.epoch, "offset": 0,
            "snapshot": snapshot(),
        }})
    );
}

#[test]
fn a_gap_is_the_tasks_or_the_inboxs() {
    let gap = Gap {
        from: offset(2),
        to: offset(9),
        reason: GapReason::Overrun,
    };
    assert_eq!(
        wire(&ControlMessage::gap(
            Some(task("a")),
            gap,
            Some(joined().snapshot)
        )),
        json!({"event_type": "gap", "task_id": "a", "data": {
            "from": 2, "to": 9, "reason": "overrun", "snapshot": snapshot(),
        }})
    );
    assert_eq!(
        wire(&ControlMessage::gap(None, gap, None)),
        json!({"event_type": "gap", "data": {
            "from": 2, "to": 9, "reason": "overrun", "inbox": true,
        }})
    );
}

#[test]
fn the_small_ones() {
    let cases = [
        (
            ControlMessage::heartbeat([(task("a"), offset(7))]),
            json!({"event_type": "heartbeat", "data": {"heads": {"a": 7}}}),
        ),
        (
            ControlMessage::ack(Some(1.into()), task("a"), epoch(), offset(7), false, None),
            json!({"event_type": "ack", "task_id": "a", "data": {
                "ref": 1, "epoch": "e1", "offset": 7, "duplicate": false,
            }}),
        ),
        (
            ControlMessage::error(None, ErrorCode::Fenced, "too late"),
            json!({"event_type": "error", "data": {"code": "fenced", "message": "too late"}}),
        ),
        (
            ControlMessage::personal_message(
                offset(3),
                EventType::new("hi").unwrap(),
                Data::empty(),
            ),
            json!({"event_type": "personal_message", "data": {
                "offset": 3, "event_type": "hi", "data": {},
            }}),
        ),
        (
            ControlMessage::pong(None),
            json!({"event_type": "pong", "data": {}}),
        ),
        (
            ControlMessage::going_away("bye", Reconnect::After, Some(Duration::from_millis(250))),
            json!({"event_type": "going_away", "data": {
                "reason": "bye", "reconnect": "after", "reconnect_after_ms": 250,
            }}),
        ),
        (
            ControlMessage::going_away("bye", Reconnect::Never, None),
            json!({"event_type": "going_away", "data": {"reason": "bye", "reconnect": "never"}}),
        ),
    ];
    for (message, expected) in cases {
        assert_eq!(wire(&message), expected);
    }
}

#[test]
fn a_snapshot_always_has_all_its_keys() {
    let expected = json!({
        "task_id": "a", "status": "pending", "run": 0, "name": null, "parent_task_id": null,
        "progress": null, "message": null, "stage": null, "started_at": null,
        "updated_at": null, "progress_at": null, "finished_at": null, "stalled": false, "agents": [],
        "steps": [], "tool_calls": [], "pending_inputs": [],
        "pending_commands": [], "outputs": [], "artifacts": [], "result": null,
        "error": null, "epoch": "e1", "offset": 4, "truncated": false,
    });
    assert_eq!(snapshot(), expected);
}
