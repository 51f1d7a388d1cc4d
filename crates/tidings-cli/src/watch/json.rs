//! Prints updates as JSON: one message per line, in the format of the protocol.

use std::time::SystemTime;

use serde_json::json;
use tidings_client::Update;
use tidings_client::protocol::{ControlMessage, Joined, Timestamp, UnsubscribeReason};

use super::View;
use super::states::States;
use crate::{Failure, print_json};

pub(super) struct Json;

impl View for Json {
    fn show(&mut self, update: &Update, _: &States) -> Result<(), Failure> {
        let now = Timestamp::from(SystemTime::now());
        print_json(&line(update, now))
    }
}

/// Returns an update as JSON. Events and gaps are the server's messages, and a snapshot
/// is a `subscribed` message. Changes of the connection have names of their own.
fn line(update: &Update, now: Timestamp) -> String {
    match update {
        Update::Event(event) => serde_json::to_string(event).unwrap_or_default(),
        Update::Snapshot(snapshot) => {
            let joined = Joined {
                task_id: snapshot.task_id.clone(),
                epoch: snapshot.epoch.clone(),
                offset: snapshot.offset,
                recovered: true,
                snapshot: snapshot.clone(),
                permissions: None,
            };
            ControlMessage::subscribed(None, None, joined).encode(now)
        }
        Update::Gap {
            task_id,
            gap,
            snapshot,
        } => ControlMessage::gap(Some(task_id.clone()), *gap, snapshot.clone()).encode(now),
        Update::Reset {
            task_id,
            reason,
            offset,
            snapshot,
        } => ControlMessage::reset(task_id.clone(), *reason, *offset, snapshot.clone()).encode(now),
        Update::Removed { task_id } => {
            let reason = UnsubscribeReason::Removed;
            ControlMessage::unsubscribed(None, task_id.clone(), reason).encode(now)
        }
        Update::Disconnected { loss, retry_in } => json!({
            "event_type": "disconnected",
            "timestamp": now.to_string(),
            "data": {
                "reason": crate::chain(loss),
                "retry_in_ms": retry_in.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
            },
        })
        .to_string(),
        _ => json!({
            "event_type": "reconnected",
            "timestamp": now.to_string(),
            "data": {},
        })
        .to_string(),
    }
}
