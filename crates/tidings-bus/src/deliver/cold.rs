//! Pages for readers that are far behind.
//!
//! The bus reads history only on demand. A reader behind the oldest event in memory gets one
//! page at a time and holds only that page. Memory therefore does not grow with the reader's
//! lag.

use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::Offset;

use crate::deliver::cursor::Cursor;
use crate::log::{Log, View};
use crate::shared::Shared;
use crate::store::StoredEvent;
use crate::store::line::{decode, line_of};
use crate::tasks::task::Task;

/// Bytes of events in a page. A page is a few writes to a socket.
const PAGE_BYTES: usize = 64 * 1024;

/// The time between a failed read and the next try.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) async fn fetch_page(shared: Arc<Shared>, task: Arc<Task>, cursor: Cursor) -> View {
    let from = Offset::new(cursor.next_offset()).unwrap_or(Offset::MAX);
    let Some(store) = &shared.store else {
        return View::default();
    };
    loop {
        match store.read(task.id(), from, PAGE_BYTES).await {
            Ok(events) => return lay_out(&shared, &task, &cursor, &events),
            Err(error) => {
                tracing::warn!(task_id = %task.id(), %error, "a reader waits for the store");
            }
        }
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return View::default(),
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// Lays out events as in the task's log.
fn lay_out(shared: &Shared, task: &Task, cursor: &Cursor, events: &[StoredEvent]) -> View {
    let from = cursor.next_offset();
    let (mut part, head) = {
        let mut log = task.topic().lock();
        if log.generation() != cursor.generation() {
            return View::default();
        }
        let oldest = events
            .first()
            .map_or(log.first(), |event| event.offset.get());
        if oldest != from {
            // The store has trimmed these events.
            log.set_stored_first(oldest);
            return View::default();
        }
        (Log::part(&log, from), log.head())
    };
    for event in events {
        if event.offset.get() > head {
            // The store has an event before it counts as published. The event may not be
            // synced, and a subscriber must not see an event that a crash could still
            // remove.
            break;
        }
        match decode(event) {
            Ok((decoded, payload)) if decoded.offset.get() == part.head() + 1 => {
                line_of(decoded, &payload, Arc::clone(&event.json))
                    .lay_down(&mut part, shared.framing());
            }
            unreadable => {
                tracing::error!(
                    task_id = %task.id(), offset = %event.offset, ?unreadable,
                    "an event in the store cannot be read"
                );
                if part.head() < from {
                    // Mark the event as missing. Otherwise its readers would wait for ever.
                    task.topic().lock().set_stored_first(from + 1);
                    return View::default();
                }
                break;
            }
        }
    }
    part.seal();
    let mut view = View {
        first: from,
        hot: from,
        head: part.head(),
        ahead: head.saturating_sub(part.head()),
        generation: part.generation(),
        naming: part.naming(),
        reset: part.reset_reason(),
        chunks: Vec::new(),
    };
    part.collect(from, &mut view.chunks);
    view
}
