//! Heartbeats: pings, and the heads of quiet tasks.

use tidings_protocol::{ControlMessage, Offset, TaskId};

use crate::close::CloseReason;
use crate::connection::Connection;
use crate::defaults::{MAX_HEADS, UNANSWERED_HEARTBEATS};
use crate::subscription::Mark;
use crate::subscriptions::Subscriptions;

/// Sends a ping and a heartbeat in one write. If earlier ones were not answered, closes the
/// connection instead.
///
/// Only pings that are sent are counted, and only while the transport reads. While a message is
/// being processed, the transport does not read, so an answer would go unnoticed.
pub(super) fn beat(connection: &Connection) {
    let heard = !connection.is_receiving() && !connection.is_backed_up();
    let mut out = connection.lock();
    // A full socket has its own deadline, and heartbeats must not pile up behind it.
    if out.writer.blocked || !out.is_open() {
        return;
    }
    let counts = heard && connection.wire().answers_pings();
    if counts && connection.count_heartbeat() >= UNANSWERED_HEARTBEATS {
        drop(out);
        connection.close(CloseReason::HeartbeatTimeout);
        return;
    }
    let heads = quiet_heads(&mut out.subs);
    let mut bytes = Vec::new();
    connection.wire().ping(&mut bytes);
    connection.encode(&ControlMessage::heartbeat(heads), &mut bytes);
    connection.write_control(&mut out, &bytes);
}

/// Returns the heads of cursors that have not moved since the last heartbeat. If one heartbeat has
/// no room for all heads, successive heartbeats take turns.
fn quiet_heads(subs: &mut Subscriptions) -> Vec<(TaskId, Offset)> {
    let from = subs.heads_from();
    let (mut heads, mut earlier) = (Vec::new(), Vec::new());
    for (key, sub) in subs.iter_mut() {
        let at = Mark::from(*sub.reader.cursor());
        let quiet = std::mem::replace(&mut sub.last_heartbeat, at) == at;
        let heads = if key >= from {
            &mut heads
        } else {
            &mut earlier
        };
        if quiet
            && heads.len() < MAX_HEADS
            && let Some(task_id) = sub.source.task_id()
        {
            let head = Offset::new(sub.source.topic().head()).unwrap_or(Offset::MAX);
            heads.push((key, task_id.clone(), head));
        }
    }
    heads.append(&mut earlier);
    heads.truncate(MAX_HEADS);
    subs.set_heads_from(heads.last().map_or(0, |(key, ..)| key + 1));
    let heads = heads.into_iter();
    heads.map(|(_, task_id, head)| (task_id, head)).collect()
}
