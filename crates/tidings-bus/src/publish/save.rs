//! The writer of a write-behind store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tidings_protocol::{Epoch, Offset};
use tokio_util::sync::CancellationToken;

use crate::log::View;
use crate::publish::behind::Saved;
use crate::shared::Shared;
use crate::store::{Append, Store, StoreError, StoredEvent};
use crate::tasks::task::Task;
use crate::tasks::{evict, life};

/// The pause between two rounds. It is long enough to put many events into one commit, and short
/// compared to any interval at which a disk is synced.
const PAUSE: Duration = Duration::from_millis(5);

/// The pause after a store that failed.
const RETRY: Duration = Duration::from_millis(250);

/// The number of tasks that are written at a time.
const TASKS_AT_ONCE: usize = 512;

/// How many times in one round the writer continues from the offset that the store reports.
const MAX_CONFLICTS: usize = 4;

/// Runs the writer until it is stopped.
pub(crate) async fn run(shared: Arc<Shared>, store: Arc<dyn Store>, stop: CancellationToken) {
    let Some(behind) = &shared.behind else { return };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = behind.filled() => {}
        }
        let pause = match save_all(&shared, &store).await {
            Ok(()) => PAUSE,
            Err(error) => {
                tracing::warn!(%error, "events wait for the store");
                RETRY
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Writes everything that is unsaved now. Events that the store refuses stay unsaved.
async fn save_all(shared: &Arc<Shared>, store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let Some(behind) = &shared.behind else {
        return Ok(());
    };
    let mut round = behind.take();
    let mut result = Ok(());
    loop {
        let some = round.next(TASKS_AT_ONCE);
        if some.is_empty() {
            break;
        }
        let saved = join_all(some.iter().map(|task| save(shared, store, task))).await;
        for (task, saved) in some.iter().zip(saved) {
            if let Err(error) = saved {
                behind.queue(task);
                result = Err(error);
            }
        }
        round.end(some.len());
    }
    evict::keep_to_limit(shared);
    if result.is_err() {
        // Wake the publishers that wait for room, so that they check whether the store is
        // available.
        behind.wake();
    }
    result
}

/// Writes the remaining events, and closes the store.
pub(crate) async fn finish(shared: &Arc<Shared>, store: &Arc<dyn Store>) -> Result<(), StoreError> {
    if let Some(behind) = &shared.behind {
        behind.close();
        save_all(shared, store).await?;
    }
    store.close().await
}

/// A write whose answer is awaited. If it is dropped before, the task's outputs are unsaved again.
struct Saving<'a> {
    task: &'a Task,
    saved: bool,
}

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        self.task.topic().lock().outputs.end_save(self.saved);
    }
}

/// Writes all unsaved events of one task.
async fn save(
    shared: &Arc<Shared>,
    store: &Arc<dyn Store>,
    task: &Arc<Task>,
) -> Result<(), StoreError> {
    // Holding this lock prevents that the task is removed or forgotten in the meantime.
    let _turn = task.commit.lock().await;
    for _ in 0..MAX_CONFLICTS {
        // An append from here on adds the task to the list again.
        task.unsaved.store(false, Ordering::SeqCst);
        let Some((append, changes)) = collect(task) else {
            return Ok(());
        };
        let epoch = append.epoch.clone();
        let last = append.snapshot.offset;
        let mut saving = Saving { task, saved: false };
        let answer = store.append(append).await;
        saving.saved = answer.is_ok();
        drop(saving);
        if let Err(StoreError::Conflict { .. }) = &answer
            && let Some(stored) = store.find(task.id()).await?
            && stored.snapshot.epoch != epoch
        {
            // A removal failed, so the store still has an earlier task with this id. The store
            // belongs to this bus alone, so no other node uses that data.
            store.remove(task.id()).await?;
            continue;
        }
        match note_saved(shared, task, &epoch, last, answer)? {
            None | Some(Saved::UpTo(_)) => {
                {
                    let mut rules = task.lock_rules();
                    rules.saved = rules.saved.max(changes);
                }
                // The task may have been asked to free memory while it had unsaved events. Ask
                // again.
                shared.room.place_again(task);
                return Ok(());
            }
            // After a failed write, send the task's rules again with the next write.
            Some(Saved::Again(_)) => task.lock_rules().changes += 1,
            Some(Saved::Lost) => {
                store.remove(task.id()).await?;
                life::discard(shared, task);
                return Ok(());
            }
        }
    }
    Err(StoreError::Unavailable(
        "the store reports another offset at each attempt".into(),
    ))
}

/// Records the store's answer in the log. Returns `None` if the task was removed in the meantime.
/// Its written events are removed with it.
fn note_saved(
    shared: &Shared,
    task: &Task,
    epoch: &Epoch,
    last: Offset,
    answer: Result<(), StoreError>,
) -> Result<Option<Saved>, StoreError> {
    let mut log = task.topic().lock();
    if log.epoch() != epoch {
        return Ok(None);
    }
    let saved = Saved::of(answer, last, (log.first(), log.head()))?;
    let upto = match saved {
        Saved::UpTo(offset) => {
            shared.note_first(&mut log, task.id());
            offset
        }
        Saved::Again(offset) => {
            tracing::warn!(task_id = %task.id(), offset, "the store reports another offset than expected");
            offset
        }
        Saved::Lost => {
            tracing::error!(
                task_id = %task.id(),
                "the store has lost events that memory no longer has: the task starts over"
            );
            return Ok(Some(saved));
        }
    };
    let before = log.set_saved(upto);
    shared.trim(&mut log);
    log.recount();
    if let Some(behind) = &shared.behind {
        behind.changed(before, log.waiting());
    }
    Ok(Some(saved))
}

/// Returns the unsaved part of the log, and the number of changes of the rules so far. Returns
/// `None` if nothing is unsaved.
fn collect(task: &Arc<Task>) -> Option<(Append, u64)> {
    let mut view = View::default();
    // Hold this lock as well, so that the rules are those after the newest of the events.
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
