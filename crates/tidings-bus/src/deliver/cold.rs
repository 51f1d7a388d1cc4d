//! Reads tasks and events that are in the store and not in memory.
//!
//! These are tasks at a start, pages for readers that are far behind, and event ids.
//!
//! The bus reads history only on demand. A reader behind the oldest event in memory gets one
//! page at a time and holds only that page. Memory therefore does not grow with the reader's
//! lag.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_protocol::{Lease, Offset, ResetReason, TaskId, TaskSnapshot, Timestamp};
use tokio::time::Instant;

use crate::bus::EventBus;
use crate::cluster::catch_up::{decode, line_of};
use crate::deliver::cursor::Cursor;
use crate::log::{Log, View};
use crate::shared::Shared;
use crate::store::{Store, StoreError, StoredEvent, StoredTask};
use crate::tasks::eviction::Lane;
use crate::tasks::listing::Listed;
use crate::tasks::task::Task;

/// Bytes of events in a page. A page is a few writes to a socket.
const PAGE_BYTES: usize = 64 * 1024;

/// Bytes that are read from a store at a time while looking for ids.
const READ_BYTES: usize = 256 * 1024;

/// The time between a failed read and the next try.
const RETRY: Duration = Duration::from_millis(500);

impl EventBus {
    /// Reads a page of events from the store, for a cursor that is [`Cold`](crate::Step::Cold).
    /// The page is empty if the events are gone. The cursor's next step on the topic then
    /// reports this.
    ///
    /// Waits while the store cannot be read.
    pub fn fetch_page(
        &self,
        task: &Arc<Task>,
        cursor: &Cursor,
    ) -> impl Future<Output = View> + Send + use<> {
        Arc::clone(&self.shared).fetch_page(Arc::clone(task), *cursor)
    }
}

impl Shared {
    pub(crate) async fn fetch_page(self: Arc<Self>, task: Arc<Task>, cursor: Cursor) -> View {
        let from = Offset::new(cursor.next_offset()).unwrap_or(Offset::MAX);
        let Some(store) = &self.store else {
            return View::default();
        };
        loop {
            match store.read(task.id(), from, PAGE_BYTES).await {
                Ok(events) => return self.lay_out(&task, &cursor, &events),
                Err(error) => {
                    tracing::warn!(task_id = %task.id(), %error, "a reader waits for the store");
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return View::default(),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Lays out events as in the task's log.
    fn lay_out(&self, task: &Task, cursor: &Cursor, events: &[StoredEvent]) -> View {
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
                        .lay_down(&mut part, self.framing());
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

    /// Continues a task where the store is. The whole log becomes visible at once, so that a new
    /// subscriber gets a snapshot that matches the head.
    pub(crate) fn adopt_cold(self: &Arc<Self>, task: &Arc<Task>, stored: StoredTask) {
        let mut rules = task.lock_rules();
        let mut log = task.topic().lock();
        if log.closed {
            return;
        }
        if *log.epoch() == stored.snapshot.epoch {
            log.trim_all();
        } else {
            rules.reset(Instant::now());
            log.reset(stored.snapshot.epoch.clone(), ResetReason::EpochChanged);
        }
        let mut stored = stored;
        Arc::make_mut(&mut stored.snapshot).count_bytes();
        let last = stored.snapshot.updated_at.unwrap_or_default();
        log.outputs.seed(stored.outputs, &stored.snapshot);
        let (stalled, listed) = (stored.snapshot.stalled, Listed::of(&stored.snapshot));
        log.resume_cold(stored.snapshot, stored.first);
        task.cold.store(true, Ordering::SeqCst);
        task.absent.store(false, Ordering::SeqCst);
        rules.touched = self.instant_of(last);
        rules.finished = finished(&log, rules.touched);
        rules.producers = stored.rules.producers;
        rules.starts = stored.rules.starts;
        rules.lease = stored.rules.lease_ms.map(|lease_ms| {
            let now = Instant::now().duration_since(self.started);
            Lease::resume(Duration::from_millis(lease_ms), now, stalled)
        });
        self.schedule_lease(task, &mut rules);
        task.topic().mirror(&mut log);
        drop(log);
        rules.recount();
        let lane = Lane::of(rules.finished.is_some(), false);
        self.relist(task, &mut rules, Some(listed));
        self.place(task, &mut rules, lane);
        drop(rules);
        task.topic().announce();
    }

    /// Reads the ids of a task's newest events, unless they have been read. The caller holds the
    /// task's turn.
    pub(crate) async fn read_ids(
        &self,
        store: &Arc<dyn Store>,
        task: &Arc<Task>,
    ) -> Result<(), StoreError> {
        if !task.cold.load(Ordering::SeqCst) {
            return Ok(());
        }
        let (mut from, head) = {
            let log = task.topic().lock();
            let ids = self.config.idempotency_ids as u64;
            let from = (log.head() + 1).saturating_sub(ids).max(log.oldest());
            (Offset::new(from).unwrap_or(Offset::MAX), log.head_offset())
        };
        while from <= head {
            let page = store.read(task.id(), from, READ_BYTES).await?;
            let Some(last) = page.last() else { break };
            from = last.offset.next();
            let mut rules = task.lock_rules();
            for stored in &page {
                let (event, _) = decode(stored)?;
                let at = self.instant_of(event.timestamp);
                let too_old = at.elapsed() >= self.config.idempotency_ttl;
                if let Some(id) = event.event_id.filter(|_| !too_old) {
                    let max = self.config.idempotency_ids;
                    rules.ids.remember(id, event.offset, at, max);
                }
            }
            rules.recount();
        }
        task.cold.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Notes the oldest event in the store, if the store knows it.
    pub(crate) fn note_first(&self, log: &mut Log, task_id: &TaskId) {
        let first = self.store.as_ref().and_then(|store| store.first(task_id));
        if let Some(first) = first {
            log.set_stored_first(first.get());
        }
    }

    /// Converts a past time of day to an instant. Returns the earliest possible instant if the
    /// time is too long ago.
    ///
    /// The result is limited by twice the time since the bus began. A clock that jumps forward
    /// must not make every task look old.
    pub(crate) fn instant_of(&self, at: Timestamp) -> Instant {
        let passed = 2 * self.started.elapsed().as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let most = self.started_at.as_millis().saturating_add(passed);
        let now = self.config.clock.now().as_millis().min(most);
        let age = Duration::from_millis(now.saturating_sub(at.as_millis()));
        let now = Instant::now();
        now.checked_sub(age).unwrap_or(now)
    }
}

/// Returns the instant at which a task that was read from the store counts as ended.
pub(crate) fn finished(log: &Log, touched: Instant) -> Option<Instant> {
    let ended = |snapshot: &Arc<TaskSnapshot>| snapshot.status.is_terminal();
    log.snapshot.as_ref().is_some_and(ended).then_some(touched)
}
