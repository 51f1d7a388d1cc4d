//! Handing over to a store that is written behind: the store is one more
//! cursor into each log.
//!
//! A publish appends to memory and puts its task into a list. The writer takes
//! the list every few milliseconds and hands over, of each task, all that its
//! log has past what was saved. So order is the log's own, nothing is queued
//! twice, and a burst becomes one commit. A log keeps what was not yet saved,
//! whatever its limits say; how much that may be is bounded here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use futures_util::future::join_all;
use tidings_protocol::{Epoch, Offset};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::log::View;
use crate::shared::Shared;
use crate::store::{Append, Store, StoreError, StoredEvent};
use crate::tasks::task::Task;

/// Bytes of events that may wait. Publishers wait for room past it: a disk that
/// takes 100 MB/s needs less than a second for it.
const MAX_UNSAVED: usize = 64 * 1024 * 1024;

/// Between two rounds: long enough to make one commit of many events, short
/// against any interval at which a disk is synced.
const PAUSE: Duration = Duration::from_millis(5);

/// Until a store that refused is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Tasks handed over at a time.
const TASKS_AT_ONCE: usize = 512;

/// How often the store's view of where a task stands is followed in one round.
const MAX_CONFLICTS: usize = 4;

/// What waits to be handed over.
#[derive(Default)]
pub(crate) struct Behind {
    tasks: Mutex<Vec<Arc<Task>>>,
    waiting: AtomicUsize,
    ready: Notify,
    room: Notify,
    /// Set once nothing is taken any more; read while an event is appended.
    closed: RwLock<bool>,
}

impl Behind {
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, bool> {
        self.closed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes nothing from here on; whoever was inside has finished.
    pub(crate) fn close(&self) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Notes that so many bytes were appended to `task`.
    pub(crate) fn note(&self, task: &Arc<Task>, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.queue(task);
    }

    /// Notes that so many bytes need not wait any more.
    pub(crate) fn settle(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Notes how many bytes of a task waited before, and how many do now.
    fn changed(&self, before: usize, after: usize) {
        match before.checked_sub(after) {
            Some(less) => self.settle(less),
            None => _ = self.waiting.fetch_add(after - before, Ordering::Relaxed),
        }
    }

    fn queue(&self, task: &Arc<Task>) {
        if !task.unsaved.swap(true, Ordering::SeqCst) {
            self.lock().push(Arc::clone(task));
            self.ready.notify_one();
        }
    }

    /// Waits until there is room for another event; false if the store takes
    /// nothing meanwhile, so that there will be none for nobody knows how long.
    pub(crate) async fn room(&self, store: &dyn Store) -> bool {
        while self.waiting() > MAX_UNSAVED {
            let room = self.room.notified();
            if !store.is_available() {
                return false;
            }
            if self.waiting() > MAX_UNSAVED {
                room.await;
            }
        }
        true
    }

    fn take(&self) -> Vec<Arc<Task>> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Task>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer.
pub(crate) async fn run(shared: Arc<Shared>, store: Arc<dyn Store>, stop: CancellationToken) {
    let Some(behind) = &shared.behind else { return };
    loop {
        tokio::select! {
            () = behind.ready.notified() => {}
            () = stop.cancelled() => return,
        }
        let pause = match save_all(&shared, &store).await {
            Ok(()) => PAUSE,
            Err(error) => {
                tracing::warn!(%error, "events wait for the store");
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Hands over what waits now; what is refused waits on.
async fn save_all(shared: &Arc<Shared>, store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let Some(behind) = &shared.behind else {
        return Ok(());
    };
    let tasks = behind.take();
    let mut result = Ok(());
    for some in tasks.chunks(TASKS_AT_ONCE) {
        let saved = join_all(some.iter().map(|task| save(shared, store, task))).await;
        for (task, saved) in some.iter().zip(saved) {
            if let Err(error) = saved {
                behind.queue(task);
                result = Err(error);
            }
        }
    }
    shared.keep_to_limit();
    if result.is_err() {
        // Whoever waits for room is to see whether there will be any.
        behind.room.notify_waiters();
    }
    result
}

/// Hands over the last of it, and closes the store.
pub(crate) async fn finish(shared: &Arc<Shared>, store: &Arc<dyn Store>) -> Result<(), StoreError> {
    if let Some(behind) = &shared.behind {
        behind.close();
        save_all(shared, store).await?;
    }
    store.close().await
}

/// Hands over all that the store does not have of one task.
async fn save(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task: &Arc<Task>,
) -> Result<(), StoreError> {
    // So that the task is not removed from the store, or forgotten, in between.
    let _turn = task.commit.lock().await;
    for _ in 0..MAX_CONFLICTS {
        // Whatever is appended from here on is noted anew.
        task.unsaved.store(false, Ordering::SeqCst);
        let Some((append, changes)) = collect(task) else {
            return Ok(());
        };
        let epoch = append.epoch.clone();
        let last = append.snapshot.offset;
        let answer = store.append(append).await;
        task.topic().lock().outputs.end_save(answer.is_ok());
        if let Err(StoreError::Conflict { .. }) = &answer
            && let Some(stored) = store.find(task.id()).await?
            && stored.snapshot.epoch != epoch
        {
            // A removal that failed left the task's former life there. The store is
            // this bus's alone, so nobody else goes on with it.
            store.remove(task.id()).await?;
            continue;
        }
        match shared.saved(task, &epoch, last, answer)? {
            Outcome::Done => {
                {
                    let mut rules = task.lock_rules();
                    rules.saved = rules.saved.max(changes);
                }
                // It may have been asked for memory while it could not give any.
                shared.place_again(task);
                return Ok(());
            }
            // The rules that went with what it has lost are to go again.
            Outcome::Again => task.lock_rules().changes += 1,
            Outcome::Lost => {
                store.remove(task.id()).await?;
                shared.discard(task);
                return Ok(());
            }
        }
    }
    Err(StoreError::Unavailable(
        "it says another offset each time".into(),
    ))
}

/// What a try to save a task came to.
enum Outcome {
    Done,
    Again,
    /// The store lacks events that memory has no more.
    Lost,
}

impl Shared {
    fn saved(
        &self,
        task: &Arc<Task>,
        epoch: &Epoch,
        last: Offset,
        answer: Result<(), StoreError>,
    ) -> Result<Outcome, StoreError> {
        let mut log = task.topic().lock();
        if log.epoch() != epoch {
            // Removed meanwhile; what was written goes with it.
            return Ok(Outcome::Done);
        }
        let expected = match answer {
            Ok(()) => {
                self.note_first(&mut log, task.id());
                let before = self.edit(&mut log, |log| log.set_saved(last.get()));
                log.recount();
                self.note_waiting(before, log.waiting());
                return Ok(Outcome::Done);
            }
            Err(StoreError::Conflict { expected, .. }) => expected,
            Err(error) => return Err(error),
        };
        if (log.first()..=log.head() + 1).contains(&expected.get()) {
            // It kept more of an earlier try than it said, or lost what it had
            // not synced when it failed. The log still has it.
            tracing::warn!(task_id = %task.id(), %expected, "the store stands elsewhere");
            let before = log.set_saved(expected.get() - 1);
            self.note_waiting(before, log.waiting());
            return Ok(Outcome::Again);
        }
        tracing::error!(
            task_id = %task.id(), %expected,
            "the store has lost events that memory no longer has: the task starts over"
        );
        Ok(Outcome::Lost)
    }

    fn note_waiting(&self, before: usize, after: usize) {
        if let Some(behind) = &self.behind {
            behind.changed(before, after);
        }
    }
}

/// What the log has past what was saved, and how often the rules had changed by
/// then; none if nothing.
fn collect(task: &Arc<Task>) -> Option<(Append, u64)> {
    let mut view = View::default();
    // Held along, so that they are the rules after the newest of the events.
    let rules = task.lock_rules();
    let (epoch, snapshot, saved, outputs) = {
        let mut log = task.topic().lock();
        if log.saved() >= log.head() {
            return None;
        }
        log.seal();
        log.collect(log.saved() + 1, &mut view.chunks);
        view.head = log.head();
        let snapshot = log.snapshot.clone()?;
        let outputs = log.outputs.begin_save();
        (log.epoch().clone(), snapshot, log.saved(), outputs)
    };
    let changes = rules.changes;
    let stored = (changes != rules.saved).then(|| Arc::new(rules.stored()));
    drop(rules);
    let events = (saved + 1..=view.head)
        .filter_map(|offset| view.record(offset))
        .map(|record| StoredEvent {
            offset: record.offset(),
            json: record.json().as_bytes().into(),
        })
        .collect();
    let append = Append {
        task_id: task.id().clone(),
        epoch,
        events,
        snapshot,
        rules: stored,
        outputs: outputs.map(Arc::new),
    };
    Some((append, changes))
}
