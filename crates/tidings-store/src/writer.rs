//! The writer: the only thread that changes the engine.
//!
//! It commits all waiting changes together, syncs as configured, and then answers them. Publishers
//! at the same time therefore share one sync.
//!
//! An engine that fails, for example because the disk is full, accepts no further writes by design.
//! It is still read until the disk has room. Then the writer opens the engine again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{PersistMode, Snapshot};
use tidings_bus::protocol::{Offset, TaskId};
use tidings_bus::{Append, KeepChange, StoreError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::batch::Batch;
use crate::config::{StoreConfig, Sync};
use crate::defaults;
use crate::directory::Directory;
use crate::engine::Engine;
use crate::error::{Damage, Failure};
use crate::housekeeping::Housekeeping;
use crate::recovery;
use crate::rows::PROBE;
use crate::store::{Open, Shared};

/// A change of the store.
pub(crate) enum Change {
    /// Appends. Each of them is done completely or not at all.
    Append(Vec<Append>),
    Trim(TaskId, Offset),
    Remove(TaskId),
    Keep(Vec<KeepChange>),
}

impl Change {
    /// Returns the number of answers that the change needs.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Append(appends) => appends.len(),
            Self::Trim(..) | Self::Remove(_) | Self::Keep(_) => 1,
        }
    }

    /// Returns the approximate bytes that will be written.
    fn bytes(&self) -> usize {
        match self {
            Self::Append(appends) => {
                let events = appends.iter().flat_map(|append| &append.events);
                let outputs = appends.iter().filter_map(|append| append.outputs.as_ref());
                let changed = outputs.flat_map(|outputs| &outputs.changed);
                events.map(|event| event.json.len()).sum::<usize>()
                    + changed.map(|change| change.text.len()).sum::<usize>()
            }
            Self::Keep(changes) => {
                let values = changes.iter().filter_map(|(_, value)| value.as_ref());
                values.map(Vec::len).sum()
            }
            Self::Trim(..) | Self::Remove(_) => 0,
        }
    }
}

pub(crate) type Answer = Result<(), StoreError>;

/// A snapshot of an engine that accepts changes, or `None` if the engine accepts none.
pub(crate) type Taken = Option<(Arc<Open>, Snapshot)>;

/// A change, and the sender for its answers.
pub(crate) struct Command {
    pub(crate) change: Change,
    /// Sends one answer for each part of the change.
    pub(crate) reply: oneshot::Sender<Vec<Answer>>,
    /// The change's places among the waiting changes.
    pub(crate) _permit: OwnedSemaphorePermit,
}

pub(crate) enum Message {
    Change(Command),
    /// Take a snapshot between two commits. A snapshot during a commit could contain half of the
    /// commit, because the engine may finish a file meanwhile.
    Snapshot(oneshot::Sender<Taken>),
    /// Close in order.
    Close(oneshot::Sender<Answer>),
}

pub(crate) struct Writer {
    pub(crate) directory: Directory,
    pub(crate) config: StoreConfig,
    pub(crate) shared: Arc<Shared>,
    pub(crate) messages: Receiver<Message>,
    /// The time of the last check that the directory exists.
    looked: Instant,
    /// The number of changes in the last commit.
    siblings: usize,
    /// How long the last sync took.
    synced_in: Duration,
    /// The time of the oldest commit that is not synced.
    unsynced: Option<Instant>,
    retry_at: Option<Instant>,
    housekeeping: Housekeeping,
}

impl Writer {
    pub(crate) fn new(
        directory: Directory,
        config: StoreConfig,
        shared: Arc<Shared>,
        messages: Receiver<Message>,
    ) -> Self {
        Self {
            directory,
            config,
            shared,
            messages,
            looked: Instant::now(),
            siblings: 0,
            synced_in: Duration::ZERO,
            unsynced: None,
            retry_at: None,
            housekeeping: Housekeeping::default(),
        }
    }

    /// Runs until the store is closed, or until its last handle is dropped.
    pub(crate) fn run(mut self) {
        loop {
            let due = self.due();
            match self.messages.recv_timeout(due) {
                Ok(Message::Change(first)) => {
                    if let Some(asked) = self.take(first) {
                        return self.end(asked);
                    }
                }
                Ok(Message::Snapshot(asked)) => self.snapshot(asked),
                Ok(Message::Close(asked)) => return self.end(asked),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    // This is no orderly stop, because events may be on their way from the bus.
                    self.shared.available.store(false, Ordering::SeqCst);
                    self.shared.set_open(None);
                    return;
                }
            }
            if self
                .unsynced
                .is_some_and(|since| since.elapsed() >= self.interval())
            {
                self.sync();
            }
            // Check this after each message. Under steady traffic there is never a pause, and the
            // disk would fill.
            if self.housekeeping.is_due() {
                self.tidy();
            }
            self.look_at_directory();
            if self.retry_at.is_some_and(|at| Instant::now() >= at) {
                self.reopen();
            }
        }
    }

    /// Answers with a snapshot, if the engine accepts changes. Must be called between commits.
    fn snapshot(&self, asked: oneshot::Sender<Taken>) {
        let open = self.shared.writable();
        let taken = open.map(|open| {
            let snapshot = open.engine.db.snapshot();
            (open, snapshot)
        });
        // An error means only that the receiver no longer waits.
        let _ = asked.send(taken);
    }

    /// Closes in order and unlocks the directory. Answers only after that.
    fn end(mut self, asked: oneshot::Sender<Answer>) {
        let closed = self.close();
        // Also after a failure: once the directory is unlocked, another process may have it, so it
        // must not be read.
        self.shared.set_open(None);
        drop(self);
        let _ = asked.send(closed);
    }

    fn interval(&self) -> Duration {
        match self.config.sync {
            Sync::Interval(interval) => interval,
            Sync::EveryCommit | Sync::Os => Duration::MAX,
        }
    }

    /// Returns the time until the writer has work even without a message.
    fn due(&self) -> Duration {
        let sync = self
            .unsynced
            .map(|since| self.interval().saturating_sub(since.elapsed()));
        let retry = self
            .retry_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        let idle = self.housekeeping.due_in();
        [sync, retry]
            .into_iter()
            .flatten()
            .fold(idle, Duration::min)
    }

    /// Commits this change together with all waiting ones. Returns the sender of a request to
    /// close, if there was one.
    fn take(&mut self, first: Command) -> Option<oneshot::Sender<Answer>> {
        let (commands, close) = self.gather(first);
        let Some(open) = self.shared.writable() else {
            for command in commands {
                let _ = command
                    .reply
                    .send(refusals(command.change.count(), &Failure::Down));
            }
            return close;
        };
        let mut answers = Vec::with_capacity(commands.len());
        let mut batch = Batch::new(&open, &self.config, &self.shared);
        for command in commands {
            let applied = apply(&mut batch, command.change);
            answers.push((command.reply, applied));
        }
        let kept_pace = self.housekeeping.keep_pace(&mut batch);
        let committed = kept_pace
            .and_then(|()| batch.commit())
            .and_then(|()| self.shared.disk());
        let committed = committed.and_then(|()| match self.config.sync {
            Sync::EveryCommit => {
                let began = Instant::now();
                open.engine.db.persist(PersistMode::SyncData)?;
                self.synced_in = began.elapsed();
                Ok(())
            }
            Sync::Interval(_) => {
                self.unsynced.get_or_insert_with(Instant::now);
                Ok(())
            }
            Sync::Os => Ok(()),
        });
        drop(open);
        if let Err(failure) = &committed {
            self.fail(failure);
        }
        for (reply, applied) in answers {
            // An error means only that the receiver no longer waits.
            let _ = reply.send(match &committed {
                Ok(()) => applied,
                Err(failure) => refusals(applied.len(), failure),
            });
        }
        close
    }

    /// Returns the changes to commit together with `first`, and a request to close after them.
    ///
    /// If each commit is synced, the publishers of the last sync are about to publish again. A sync
    /// for the first of them alone would delay the others. So the writer waits until as many
    /// changes have come as last time. It stops waiting when no more come, or after the time of one
    /// sync. PostgreSQL's `commit_delay` and `commit_siblings` make the same trade.
    ///
    /// Without the wait, 256 publishers with one task each shared a sync in groups of about 45. The
    /// processors were then idle for a third of the time.
    fn gather(&mut self, first: Command) -> (Vec<Command>, Option<oneshot::Sender<Answer>>) {
        let mut bytes = first.change.bytes();
        let mut come = first.change.count();
        let mut commands = vec![first];
        let patience = match self.config.sync {
            Sync::EveryCommit => self.synced_in.min(defaults::MAX_GATHER),
            Sync::Interval(_) | Sync::Os => Duration::ZERO,
        };
        let began = Instant::now();
        let mut before = 0;
        loop {
            while bytes < defaults::MAX_BATCH_BYTES {
                match self.messages.try_recv() {
                    Ok(Message::Change(command)) => {
                        bytes += command.change.bytes();
                        come += command.change.count();
                        commands.push(command);
                    }
                    Ok(Message::Snapshot(asked)) => self.snapshot(asked),
                    Ok(Message::Close(asked)) => return (commands, Some(asked)),
                    Err(_) => break,
                }
            }
            let enough = come >= self.siblings || bytes >= defaults::MAX_BATCH_BYTES;
            if enough || come == before || began.elapsed() >= patience {
                break;
            }
            before = come;
            // Sleep instead of waiting for messages. Otherwise each message would wake the thread
            // by a system call.
            thread::sleep(defaults::GATHER_STEP);
        }
        self.siblings = come;
        (commands, None)
    }

    /// Checks that the directory still exists. Data written to deleted files would be lost with the
    /// process, and no other error would show it.
    fn look_at_directory(&mut self) {
        if self.looked.elapsed() < defaults::LOOK {
            return;
        }
        self.looked = Instant::now();
        if self.shared.available.load(Ordering::SeqCst)
            && let Err(error) = self.directory.is_there()
        {
            self.fail(&Failure::Io(Arc::new(error)));
        }
    }

    fn sync(&mut self) {
        self.unsynced = None;
        let Some(open) = self.shared.writable() else {
            return;
        };
        let synced = open.engine.db.persist(PersistMode::SyncData);
        drop(open);
        if let Err(error) = synced {
            self.fail(&error.into());
        }
    }

    fn tidy(&mut self) {
        let Some(open) = self.shared.writable() else {
            return;
        };
        let mut batch = Batch::new(&open, &self.config, &self.shared);
        let turned = self.housekeeping.turn(&mut batch);
        let tidied = turned.and_then(|()| batch.commit());
        drop(open);
        match tidied {
            Ok(()) if matches!(self.config.sync, Sync::Interval(_)) => {
                self.unsynced.get_or_insert_with(Instant::now);
            }
            Ok(()) => {}
            Err(failure) => self.fail(&failure),
        }
    }

    /// Refuses further changes until the engine is opened again. Until the disk has room, this
    /// engine is still read, so watchers that are far behind continue.
    fn fail(&mut self, failure: &Failure) {
        if self.shared.available.swap(false, Ordering::SeqCst) {
            tracing::error!(
                error = failure as &dyn std::error::Error,
                path = %self.directory.path().display(),
                "the disk refuses; publishes are refused until it takes them again"
            );
        }
        self.unsynced = None;
        // Otherwise housekeeping would be due again at once, and the writer would run without a
        // pause.
        self.housekeeping.rest();
        self.retry_at = Some(Instant::now() + defaults::RETRY);
    }

    fn reopen(&mut self) {
        self.retry_at = Some(Instant::now() + defaults::RETRY);
        if let Err(error) = self.probe() {
            tracing::debug!(%error, "still refused");
            return;
        }
        self.shared.set_open(None);
        if self.shared.is_held() {
            // A reader still uses the engine, so it cannot be opened again yet.
            return;
        }
        match self.try_reopen() {
            Ok(()) => {
                self.retry_at = None;
                tracing::info!("the disk takes events again");
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "still refused");
            }
        }
    }

    /// Checks that the disk would accept the bytes that opening the engine writes.
    fn probe(&self) -> std::io::Result<()> {
        self.shared
            .disk()
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::StorageFull))?;
        self.directory.is_there()?;
        self.directory.probe(defaults::PROBE_BYTES)
    }

    fn try_reopen(&mut self) -> Result<(), Damage> {
        let engine = Engine::open(&self.directory.engine())?;
        // Write and sync something before the engine counts as available.
        engine.meta.insert(PROBE, "")?;
        engine.db.persist(PersistMode::SyncAll)?;
        let era = recovery::era(&engine)?;
        let loaded = recovery::load(&engine, era, 0)?;
        self.shared.lock_index().replace(loaded.index);
        self.shared.set_open(Some(Open {
            engine,
            era: loaded.era,
        }));
        self.shared.available.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Writes everything to disk, including states, and then records the orderly stop.
    fn close(&mut self) -> Result<(), StoreError> {
        let open = self.shared.writable();
        self.shared.available.store(false, Ordering::SeqCst);
        let open = open.ok_or(Failure::Down)?;
        let tails = self.shared.lock_index().tails(usize::MAX);
        let mut batch = Batch::new(&open, &self.config, &self.shared);
        for task_id in &tails {
            batch.write_state(task_id)?;
        }
        batch.commit()?;
        let changes = self.shared.lock_index().changes;
        let synced = open.engine.db.persist(PersistMode::SyncAll);
        drop(open);
        self.shared.set_open(None);
        synced.map_err(Failure::from)?;
        self.directory
            .mark_clean(changes)
            .map_err(|error| Failure::Io(Arc::new(error)))?;
        Ok(())
    }
}

/// Returns this number of answers, all with the failure.
pub(crate) fn refusals(count: usize, failure: &Failure) -> Vec<Answer> {
    (0..count).map(|_| Err(failure.clone().into())).collect()
}

fn apply(batch: &mut Batch<'_>, change: Change) -> Vec<Answer> {
    let answer = match change {
        Change::Append(appends) => {
            return appends.iter().map(|append| batch.append(append)).collect();
        }
        Change::Trim(task_id, first) => batch.trim_to(&task_id, first.get()),
        Change::Keep(changes) => {
            for (name, value) in changes {
                batch.keep(&name, value);
            }
            Ok(())
        }
        Change::Remove(task_id) => batch.remove(&task_id),
    };
    vec![answer]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use tidings_bus::protocol::{EventId, NewEvent, TaskId};
    use tidings_bus::{BusConfig, EventBus, PublishError, Store};

    use crate::{DiskStore, StoreConfig, Sync};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_that_fails_is_answered_and_the_engine_is_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let config = StoreConfig::default().sync(Sync::EveryCommit);
        let path = directory.path().join("data");
        let (store, _) = DiskStore::open(&path, config.clone()).await.unwrap();
        let store = Arc::new(store);
        let shared = Arc::clone(&store.shared);
        let bus = EventBus::open(BusConfig::default(), store as Arc<dyn Store>)
            .await
            .unwrap();
        let task: TaskId = "t".parse().unwrap();
        let event = |n: u64| {
            NewEvent::progress(1.0, "on").with_event_id(EventId::new(n.to_string()).unwrap())
        };
        bus.publish(&task, event(1)).await.unwrap();
        for round in 2..5 {
            shared.failing.store(true, Ordering::SeqCst);
            // The refused event reached the journal, but its sync failed. So it may or may not be
            // stored.
            let refused = bus.publish(&task, event(round)).await.unwrap_err();
            assert!(matches!(refused, PublishError::Unavailable(_)));
            assert!(!bus.is_available());
            assert_eq!(bus.snapshot(&task).unwrap().offset.get(), round - 1);
            shared.failing.store(false, Ordering::SeqCst);
            let healed = tokio::time::timeout(Duration::from_secs(20), async {
                while !bus.is_available() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            healed.await.expect("it heals by itself");
            let published = bus.publish(&task, event(round)).await.unwrap();
            assert_eq!(published.offset.get(), round, "once, whatever the disk had");
        }
        assert!(bus.shutdown().await);
        drop(bus);
        drop(shared);
        let (_, recovered) = DiskStore::open(&path, config).await.unwrap();
        assert_eq!((recovered.events, recovered.clean), (4, true));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_trimmed_is_deleted_though_publishers_never_pause() {
        for sync in [Sync::EveryCommit, Sync::Os] {
            let directory = tempfile::tempdir().unwrap();
            let config = StoreConfig::default().sync(sync).max_task_bytes(20_000);
            let path = directory.path().join("data");
            let (store, _) = DiskStore::open(&path, config).await.unwrap();
            let store = Arc::new(store);
            let shared = Arc::clone(&store.shared);
            let bus = EventBus::open(BusConfig::default(), store as Arc<dyn Store>)
                .await
                .unwrap();
            let publishing = {
                let (bus, task) = (bus.clone(), "t".parse::<TaskId>().unwrap());
                tokio::spawn(async move {
                    loop {
                        bus.publish(&task, NewEvent::progress(1.0, "on"))
                            .await
                            .unwrap();
                    }
                })
            };
            let deleted = async {
                loop {
                    let open = shared.open().unwrap();
                    let stored = open.engine.events.len().unwrap() as u64;
                    let published = bus.stats().events_published;
                    if published > 1_000 && stored < published / 2 {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let deleted = tokio::time::timeout(tidings_testkit::DEADLINE, deleted).await;
            deleted.expect("the writer tidies up meanwhile");
            assert!(!publishing.is_finished());
            publishing.abort();
            bus.shutdown().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_index_is_free_while_the_disk_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let (store, _) = DiskStore::open(&path, StoreConfig::default())
            .await
            .unwrap();
        let bus = {
            let store = Arc::new(store);
            let shared = Arc::clone(&store.shared);
            let bus = EventBus::open(BusConfig::default(), store as Arc<dyn Store>);
            (bus.await.unwrap(), shared)
        };
        let (bus, shared) = bus;
        let task: TaskId = "t".parse().unwrap();
        bus.publish(&task, NewEvent::progress(1.0, "on"))
            .await
            .unwrap();
        let open = shared.open().unwrap();
        let config = StoreConfig::default();
        let mut batch = crate::batch::Batch::new(&open, &config, &shared);
        // No operation of a batch holds a lock between its steps.
        batch.write_state(&task).unwrap();
        assert!(shared.index_is_free());
        batch.trim_to(&task, 2).unwrap();
        assert!(shared.index_is_free());
        batch.commit().unwrap();
        bus.shutdown().await;
    }
}
