//! The handle of the store.

use std::ops::{Bound, Range};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Instant;

use async_trait::async_trait;
use tidings_bus::protocol::{ItemId, Offset, TaskId};
use tidings_bus::{
    Account, Append, KeepChange, Keeper, KeptThing, Related, Store, StoreError, StoredEvent,
    StoredTask, StoredText, Write,
};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use crate::backup::{self, Copied, CopyError};
use crate::config::{StoreConfig, Sync};
use crate::defaults;
use crate::directory::{Directory, Found};
use crate::engine::{Engine, event_key, read_key};
use crate::error::{Damage, Failure, OpenError};
use crate::index::{Entry, Index};
use crate::outputs;
use crate::readers::Readers;
use crate::recovery::{self, Left, Recovered, Standing};
use crate::rows::{ERA, Era, SYNC};
use crate::writer::{Answer, Change, Command, Message, Writer, refusals};

/// The open engine, and its current era.
pub(crate) struct Open {
    pub(crate) engine: Engine,
    pub(crate) era: Era,
}

/// The state that the writer and the readers share.
#[derive(Default)]
pub(crate) struct Shared {
    /// The engine. It is written to only while `available`. A failed engine is still read until the
    /// next one replaces it.
    open: RwLock<Option<Arc<Open>>>,
    /// Shows whether readers still use a failed engine.
    held: Mutex<std::sync::Weak<Open>>,
    index: Mutex<Index>,
    pub(crate) available: AtomicBool,
    /// For tests: while this is set, the disk accepts nothing.
    #[cfg(test)]
    pub(crate) failing: AtomicBool,
}

impl Shared {
    pub(crate) fn open(&self) -> Option<Arc<Open>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_open(&self, open: Option<Open>) {
        let open = open.map(Arc::new);
        if let Some(open) = &open {
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(open);
        }
        let before = std::mem::replace(
            &mut *self.open.write().unwrap_or_else(PoisonError::into_inner),
            open,
        );
        // Drop outside the lock, because closing an engine takes a moment.
        drop(before);
    }

    /// Returns the engine, if it accepts changes.
    pub(crate) fn writable(&self) -> Option<Arc<Open>> {
        self.available
            .load(Ordering::SeqCst)
            .then(|| self.open())
            .flatten()
    }

    /// Returns an error if a test has made the disk fail.
    #[allow(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "it fails in tests alone"
    )]
    pub(crate) fn disk(&self) -> Result<(), Failure> {
        #[cfg(test)]
        if self.failing.load(Ordering::SeqCst) {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(Failure::Io(Arc::new(full)));
        }
        Ok(())
    }

    /// Returns whether readers still use an engine.
    pub(crate) fn is_held(&self) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.strong_count() > 0
    }

    #[cfg(test)]
    pub(crate) fn index_is_free(&self) -> bool {
        self.index.try_lock().is_ok()
    }

    pub(crate) fn lock_index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store on disk. The crate's documentation has an example.
///
/// Close it in order with [`EventBus::shutdown`](tidings_bus::EventBus::shutdown). Otherwise the
/// next start is treated as one after a crash.
pub struct DiskStore {
    pub(crate) shared: Arc<Shared>,
    /// `None` only while the store is dropped.
    messages: Option<mpsc::Sender<Message>>,
    writer: Option<thread::JoinHandle<()>>,
    commands: Arc<Semaphore>,
    readers: Readers,
    backups: Arc<Semaphore>,
    sync: Sync,
    /// The tasks that were found on disk, until the bus takes them.
    found: Mutex<Option<Vec<StoredTask>>>,
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore")
            .field("sync", &self.sync)
            .finish_non_exhaustive()
    }
}

impl DiskStore {
    /// Opens the store in a directory. Creates it if the directory is missing or empty. The time
    /// depends on the number of tasks, and not on the length of their history.
    ///
    /// # Errors
    /// Returns [`OpenError`] if the store cannot be opened. In this case nothing was changed.
    ///
    /// # Cancel safety
    /// Not cancel safe. If the future is dropped, the store is opened in the background and closed
    /// at once, but not in order. The next start is then treated as one after a crash.
    pub async fn open(
        path: impl AsRef<Path>,
        config: StoreConfig,
    ) -> Result<(Self, Recovered), OpenError> {
        let path = path.as_ref().to_owned();
        let opened = spawn_blocking({
            let path = path.clone();
            move || Self::open_blocking(&path, config)
        });
        opened.await.unwrap_or_else(|error| {
            Err(OpenError::Io {
                path,
                cause: std::io::Error::other(error),
            })
        })
    }

    fn open_blocking(path: &Path, config: StoreConfig) -> Result<(Self, Recovered), OpenError> {
        let started = Instant::now();
        let (directory, found) = Directory::take(path, true)?;
        let clean = directory.clean().map_err(|cause| directory.failed(cause))?;
        let damaged = |cause| directory.damaged(cause);
        let opened = Engine::open(&directory.engine());
        let engine = opened.map_err(|damage| match damage {
            Damage::Engine(fjall::Error::Io(cause))
                if found == Found::New || is_of_the_system(&cause) =>
            {
                directory.failed(cause)
            }
            damage => directory.damaged(damage),
        })?;
        let mut era = recovery::era(&engine).map_err(damaged)?;
        let standing = Standing::read(&engine, clean).map_err(damaged)?;
        let unsure = found == Found::Store && !standing.epoch_goes_on();
        if unsure {
            era = recovery::next_era(&era);
        }
        let loaded = recovery::load(&engine, era, recovery::AT_ONCE).map_err(damaged)?;
        recovery::check(clean, &loaded.index).map_err(damaged)?;
        // These facts must be on disk before anything can be published: the way of syncing, the
        // era, and that the last orderly stop no longer counts.
        let begin = || -> Result<(), fjall::Error> {
            let json = serde_json::to_vec(&loaded.era).unwrap_or_default();
            engine.meta.insert(ERA, json)?;
            engine
                .meta
                .insert(SYNC, format!("\"{}\"", config.sync).into_bytes())?;
            engine.db.persist(fjall::PersistMode::SyncAll)
        };
        begin().map_err(|error| match error {
            fjall::Error::Io(cause) => directory.failed(cause),
            error => directory.damaged(Damage::Engine(error)),
        })?;
        directory
            .finish()
            .and_then(|()| directory.unmark_clean())
            .map_err(|cause| directory.failed(cause))?;
        let index = loaded.index;
        let recovered = Recovered {
            created: found == Found::New,
            clean: standing.left == Left::Clean,
            backup: standing.left == Left::Backup,
            epoch_changed: unsure,
            tasks: index.len(),
            events: loaded.events,
            bytes: index.bytes,
            replayed: loaded.replayed,
            took: started.elapsed(),
        };
        let tasks = loaded.tasks.into_iter().map(|(task, _)| task).collect();
        let shared = Arc::new(Shared::default());
        *shared.lock_index() = index;
        shared.set_open(Some(Open {
            engine,
            era: loaded.era,
        }));
        shared.available.store(true, Ordering::SeqCst);
        let (messages, receiver) = mpsc::channel();
        let sync = config.sync;
        let failed_at = directory.path().to_owned();
        let writer = Writer::new(directory, config, Arc::clone(&shared), receiver);
        let readers = Readers::start().map_err(|cause| OpenError::Io {
            path: failed_at.clone(),
            cause,
        })?;
        let writer = thread::Builder::new()
            .name("tidings-store".to_owned())
            .spawn(move || writer.run())
            .map_err(|cause| OpenError::Io {
                path: failed_at,
                cause,
            })?;
        let store = Self {
            shared,
            messages: Some(messages),
            writer: Some(writer),
            commands: Arc::new(Semaphore::new(defaults::MAX_COMMANDS)),
            readers,
            backups: Arc::new(Semaphore::new(1)),
            sync,
            found: Mutex::new(Some(tasks)),
        };
        Ok((store, recovered))
    }

    /// Copies the store to the new directory `into`, while the store is in use. The copy holds the
    /// tasks and clients that were stored at one moment. Under a [`Write::Behind`], this is some
    /// milliseconds behind the published events.
    ///
    /// A store that is opened from the copy begins a new epoch, see `docs/durability.md`.
    ///
    /// # Errors
    /// Returns [`CopyError`] if the copy was not made. Nothing is left at `into`.
    ///
    /// # Cancel safety
    /// The copy is made to its end in the background. A dropped future leaves open whether it
    /// succeeds.
    pub async fn back_up(&self, into: impl AsRef<Path>) -> Result<Copied, CopyError> {
        let permit = Arc::clone(&self.backups).try_acquire_owned();
        let permit = permit.map_err(|_| CopyError::Busy)?;
        let shared = Arc::clone(&self.shared);
        let into = into.as_ref().to_owned();
        let (reply, taken) = oneshot::channel();
        self.send(Message::Snapshot(reply))
            .map_err(|_| CopyError::Interrupted)?;
        let copying = spawn_blocking(move || {
            let _permit = permit;
            // Waits here, because the caller may be dropped meanwhile.
            let taken = taken.blocking_recv().ok().flatten();
            let (open, snapshot) = taken.ok_or(CopyError::Interrupted)?;
            // A store that has failed or stops does not wait for the copy.
            let goes_on = || shared.available.load(Ordering::SeqCst);
            backup::copy(&open.engine, snapshot, &into, &goes_on)
        });
        copying.await.unwrap_or(Err(CopyError::Interrupted))
    }

    fn take_found(&self) -> Option<Vec<StoredTask>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.take()
    }

    fn send(&self, message: Message) -> Result<(), Failure> {
        let messages = self.messages.as_ref().ok_or(Failure::Closed)?;
        messages.send(message).map_err(|_| Failure::Closed)
    }

    async fn change(&self, change: Change) -> Result<Vec<Answer>, Failure> {
        // The tasks that were found at the start are outdated.
        drop(self.take_found());
        let places = change.count().min(defaults::MAX_COMMANDS);
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.commands).acquire_many_owned(places).await;
        let permit = permit.map_err(|_| Failure::Closed)?;
        let (reply, answer) = oneshot::channel();
        let command = Command {
            change,
            reply,
            _permit: permit,
        };
        self.send(Message::Change(command))?;
        answer.await.map_err(|_| Failure::Closed)
    }

    async fn change_one(&self, change: Change) -> Result<(), StoreError> {
        let answers = self.change(change).await?;
        answers.into_iter().collect()
    }

    /// Reads on a thread that may block on the disk.
    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared, &Open) -> Result<T, Damage> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let read = move || -> Result<T, StoreError> {
            let open = shared.open().ok_or(Failure::Down)?;
            read(&shared, &open).map_err(|damage| StoreError::Unavailable(Box::new(damage)))
        };
        self.readers.run(read).await.ok_or(Failure::Closed)?
    }
}

/// Waits until the directory is unlocked, which takes some milliseconds.
impl Drop for DiskStore {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Returns whether an error is about access to the files, and not about their content.
fn is_of_the_system(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(
        error.kind(),
        PermissionDenied | ReadOnlyFilesystem | StorageFull
    )
}

#[async_trait]
impl Store for DiskStore {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        if let Some(found) = self.take_found() {
            return Ok(found);
        }
        self.read_with(|shared, open| {
            let ids = list(open, "", None, usize::MAX)?;
            let tasks = ids.iter().map(|task_id| find(shared, open, task_id));
            Ok(tasks
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .flatten()
                .collect())
        })
        .await
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.change_one(Change::Append(vec![append])).await
    }

    async fn append_all(&self, appends: Vec<Append>) -> Vec<Result<(), StoreError>> {
        let count = appends.len();
        let answers = self.change(Change::Append(appends)).await;
        answers.unwrap_or_else(|failure| refusals(count, &failure))
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        let task_id = task_id.clone();
        self.read_with(move |shared, open| find(shared, open, &task_id))
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.read_with(move |_, open| list(open, &prefix, after.as_ref(), limit))
            .await
    }

    async fn related(
        &self,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<(TaskId, Related)>, StoreError> {
        let after = after.cloned();
        self.read_with(move |shared, open| related(shared, open, after.as_ref(), limit))
            .await
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let task_id = task_id.clone();
        self.read_with(move |shared, open| {
            let Some(entry) = entry(shared, open, &task_id)? else {
                return Ok(Vec::new());
            };
            let (number, first, next) = (entry.number, entry.first, entry.next);
            let mut events = Vec::new();
            let mut bytes = 0;
            let range = event_key(number, from.get().max(first))..event_key(number, next);
            for found in open.engine.events.range(range) {
                let (key, json) = found.into_inner()?;
                bytes += json.len();
                if bytes > max_bytes && !events.is_empty() {
                    break;
                }
                let offset = read_key(&key).map_or(0, |(_, offset)| offset);
                events.push(StoredEvent {
                    offset: Offset::new(offset).unwrap_or(Offset::MAX),
                    json: json[..].into(),
                });
            }
            Ok(events)
        })
        .await
    }

    async fn read_output(
        &self,
        task_id: &TaskId,
        output_id: &ItemId,
        wanted: Range<u64>,
    ) -> Result<Option<StoredText>, StoreError> {
        let (task_id, output_id) = (task_id.clone(), output_id.clone());
        self.read_with(move |shared, open| {
            let Some(entry) = entry(shared, open, &task_id)? else {
                return Ok(None);
            };
            outputs::read_text(&open.engine, entry.number, &output_id, &wanted)
        })
        .await
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        self.change_one(Change::Trim(task_id.clone(), first)).await
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        self.change_one(Change::Remove(task_id.clone())).await
    }

    fn first(&self, task_id: &TaskId) -> Option<Offset> {
        let index = self.shared.lock_index();
        index.get(task_id).map(Entry::first_offset)
    }

    fn has(&self, task_id: &TaskId) -> bool {
        self.shared.lock_index().has(task_id)
    }

    fn write(&self) -> Write {
        match self.sync {
            Sync::EveryCommit => Write::Through,
            Sync::Interval(_) | Sync::Os => Write::Behind,
        }
    }

    fn is_available(&self) -> bool {
        self.shared.available.load(Ordering::SeqCst)
    }

    fn charge_to(&self, account: &Account) {
        self.shared.lock_index().charge_to(account);
    }

    async fn close(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Close(reply))?;
        answer.await.map_err(|_| Failure::Closed)?
    }
}

#[async_trait]
impl Keeper for DiskStore {
    async fn kept(&self) -> Result<Vec<KeptThing>, StoreError> {
        self.read_with(|_, open| {
            let mut kept = Vec::new();
            for found in open.engine.kept.iter() {
                let (name, value) = found.into_inner()?;
                kept.push((String::from_utf8_lossy(&name).into_owned(), value.to_vec()));
            }
            Ok(kept)
        })
        .await
    }

    async fn keep(&self, changes: Vec<KeepChange>) -> Result<(), StoreError> {
        self.change_one(Change::Keep(changes)).await
    }
}

/// Returns ids in the order of their rows, which is the order of ids.
fn list(
    open: &Open,
    prefix: &str,
    after: Option<&TaskId>,
    limit: usize,
) -> Result<Vec<TaskId>, Damage> {
    let start = match after {
        Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
        _ => Bound::Included(prefix),
    };
    let mut ids = Vec::new();
    let rows = open
        .engine
        .tasks
        .range::<&str, _>((start, Bound::Unbounded));
    for found in rows.take(limit) {
        let key = found.key()?;
        if !key.starts_with(prefix.as_bytes()) {
            break;
        }
        // Every key in this keyspace is an id.
        ids.extend(String::from_utf8_lossy(&key).parse::<TaskId>());
    }
    Ok(ids)
}

/// Returns up to `limit` tasks that belong to a tree. Reads the rows of all tasks in between.
fn related(
    shared: &Shared,
    open: &Open,
    after: Option<&TaskId>,
    limit: usize,
) -> Result<Vec<(TaskId, Related)>, Damage> {
    let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_str()));
    let mut all = Vec::new();
    for found in open
        .engine
        .tasks
        .range::<&str, _>((start, Bound::Unbounded))
    {
        if all.len() >= limit {
            break;
        }
        let (key, value) = found.into_inner()?;
        let name = String::from_utf8_lossy(&key);
        let Ok(task_id) = name.parse::<TaskId>() else {
            continue;
        };
        let newer = {
            let index = shared.lock_index();
            index.get(&task_id).and_then(Entry::snapshot).cloned()
        };
        let related = match newer {
            Some(snapshot) => Related::of(&snapshot),
            None => recovery::related_in(&name, &value)?,
        };
        all.extend(related.map(|related| (task_id, related)));
    }
    Ok(all)
}

/// Returns the entry of a task, from the index or from its row.
fn entry(shared: &Shared, open: &Open, task_id: &TaskId) -> Result<Option<Entry>, Damage> {
    {
        let index = shared.lock_index();
        if let Some(entry) = index.get(task_id) {
            return Ok(Some(entry.clone()));
        }
        if !index.has(task_id) {
            return Ok(None);
        }
    }
    recovery::read_entry(&open.engine, &open.era, task_id)
}

/// Returns a task, from the index or from its row. The row is read at most once, because most tasks
/// that the bus asks for have left memory.
fn find(shared: &Shared, open: &Open, task_id: &TaskId) -> Result<Option<StoredTask>, Damage> {
    let known = {
        let index = shared.lock_index();
        if !index.has(task_id) {
            return Ok(None);
        }
        index.get(task_id).cloned()
    };
    let state = known.as_ref().and_then(Entry::snapshot).cloned();
    let (number, first, snapshot) = match (known, state) {
        (Some(entry), Some(state)) => (entry.number, entry.first_offset(), state),
        (known, _) => {
            let Some(row) = recovery::read_row(&open.engine, &open.era, task_id)? else {
                return Ok(None);
            };
            let first = known.map_or(row.first, |entry| entry.first);
            let first = Offset::new(first).unwrap_or(Offset::MAX);
            (row.number, first, Arc::new(row.snapshot))
        }
    };
    let rules = recovery::read_rules(&open.engine, task_id)?;
    let outputs = outputs::read(&open.engine, number)?;
    Ok(Some(StoredTask {
        snapshot,
        first,
        rules,
        outputs,
    }))
}
