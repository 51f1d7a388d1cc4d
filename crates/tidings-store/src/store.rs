//! The handle.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Instant;

use async_trait::async_trait;
use tidings_bus::protocol::{ItemId, Offset, TaskId};
use tidings_bus::{
    Append, KeepChange, Keeper, KeptThing, Store, StoreError, StoredEvent, StoredTask, StoredText,
    Write,
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
use crate::recovery::{self, Left, Recovered, Standing};
use crate::rows::{ERA, Era, SYNC};
use crate::writer::{Answer, Change, Command, Message, Writer, refusals};

/// The engine while it is open, and the era that it is in.
pub(crate) struct Open {
    pub(crate) engine: Engine,
    pub(crate) era: Era,
}

/// What the writer and the readers share.
#[derive(Default)]
pub(crate) struct Shared {
    /// Written to only while `available`; one that failed is still read, until
    /// it makes way for the next.
    open: RwLock<Option<Arc<Open>>>,
    /// To find out when the last reader of an engine that failed is done.
    held: Mutex<std::sync::Weak<Open>>,
    index: Mutex<Index>,
    pub(crate) available: AtomicBool,
    /// A layer that fails: the disk takes nothing while this is set.
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
        // Closing takes a moment, and nobody is to wait for it.
        drop(before);
    }

    /// The engine, if it takes changes.
    pub(crate) fn writable(&self) -> Option<Arc<Open>> {
        self.available
            .load(Ordering::SeqCst)
            .then(|| self.open())
            .flatten()
    }

    /// Fails where the disk is to fail in a test.
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

    /// Whether an engine that was given up is still being read.
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

/// A store on disk; see the crate's documentation.
///
/// Must be closed in order, which [`EventBus::shutdown`](tidings_bus::EventBus::shutdown)
/// does: otherwise the next start is one after a crash.
pub struct DiskStore {
    pub(crate) shared: Arc<Shared>,
    /// None only while it is dropped.
    messages: Option<mpsc::Sender<Message>>,
    writer: Option<thread::JoinHandle<()>>,
    commands: Arc<Semaphore>,
    reads: Semaphore,
    backups: Arc<Semaphore>,
    sync: Sync,
    /// What was there, until the bus asks for it.
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
    /// Opens the store in a directory, or makes one where there is nothing.
    ///
    /// Takes time by the number of tasks, and not by their history.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed then.
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
        let engine = Engine::open(&directory.engine()).map_err(|error| match error {
            fjall::Error::Io(cause) if found == Found::New || is_of_the_system(&cause) => {
                directory.failed(cause)
            }
            error => directory.damaged(Damage::Engine(error)),
        })?;
        let mut era = recovery::era(&engine).map_err(damaged)?;
        let standing = Standing::read(&engine, clean).map_err(damaged)?;
        let unsure = found == Found::Store && !standing.epoch_goes_on();
        if unsure {
            era = recovery::next_era(&era);
        }
        let loaded = recovery::load(&engine, era, recovery::AT_ONCE).map_err(damaged)?;
        recovery::check(clean, &loaded.index).map_err(damaged)?;
        // On disk before anything can be published: in which way it will be
        // synced, in which era, and that the last stop is over.
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
            tasks: index.tasks.len() as u64,
            events: index.tasks.values().map(Entry::events).sum(),
            bytes: index.bytes,
            replayed: loaded.replayed,
            took: started.elapsed(),
        };
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
            reads: Semaphore::new(defaults::MAX_READS),
            backups: Arc::new(Semaphore::new(1)),
            sync,
            found: Mutex::new(Some(loaded.tasks)),
        };
        Ok((store, recovered))
    }

    /// Copies all that is kept to `into`, where nothing may be, while the store
    /// is in use: what was stored at one moment, tasks and clients alike. Under
    /// a [`Write::Behind`] that is some milliseconds behind what was published.
    ///
    /// A store opened from the copy begins a new epoch, see `docs/durability.md`.
    ///
    /// # Errors
    /// See [`CopyError`]; there is nothing at `into` then.
    ///
    /// # Cancel safety
    /// The copy is made to its end on its own; dropping this leaves open whether
    /// it was.
    pub async fn back_up(&self, into: impl AsRef<Path>) -> Result<Copied, CopyError> {
        let permit = Arc::clone(&self.backups).try_acquire_owned();
        let permit = permit.map_err(|_| CopyError::Busy)?;
        let shared = Arc::clone(&self.shared);
        let into = into.as_ref().to_owned();
        let copying = spawn_blocking(move || {
            let _permit = permit;
            let open = shared.writable().ok_or(CopyError::Interrupted)?;
            // A store that failed, or stops, waits for nobody who reads.
            let goes_on = || shared.available.load(Ordering::SeqCst);
            backup::copy(&open.engine, &into, &goes_on)
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
        // What was found at the start is not what is there any more.
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

    /// Runs on a thread that may wait for the disk.
    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared, &Open) -> Result<T, Damage> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _permit = self.reads.acquire().await.map_err(|_| Failure::Closed)?;
        let shared = Arc::clone(&self.shared);
        let read = spawn_blocking(move || -> Result<T, StoreError> {
            let open = shared.open().ok_or(Failure::Down)?;
            read(&shared, &open).map_err(|damage| StoreError::Unavailable(Box::new(damage)))
        });
        read.await.map_err(|_| Failure::Closed)?
    }
}

/// Waits until the directory is free, some milliseconds.
impl Drop for DiskStore {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Not what is in the directory, but whether it can be got at.
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
            let ids: Vec<TaskId> = shared.lock_index().tasks.keys().cloned().collect();
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
        Ok(self.shared.lock_index().list(prefix, after, limit))
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let task_id = task_id.clone();
        self.read_with(move |shared, open| {
            let (number, first, next) = match shared.lock_index().tasks.get(&task_id) {
                Some(entry) => (entry.number, entry.first, entry.next),
                None => return Ok(Vec::new()),
            };
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
            let number = match shared.lock_index().tasks.get(&task_id) {
                Some(entry) => entry.number,
                None => return Ok(None),
            };
            outputs::read_text(&open.engine, number, &output_id, &wanted)
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
        index.tasks.get(task_id).map(Entry::first_offset)
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

fn find(shared: &Shared, open: &Open, task_id: &TaskId) -> Result<Option<StoredTask>, Damage> {
    let known = {
        let index = shared.lock_index();
        let Some(entry) = index.tasks.get(task_id) else {
            return Ok(None);
        };
        let snapshot = entry.tail.as_ref().map(|tail| Arc::clone(&tail.snapshot));
        (entry.first_offset(), snapshot, entry.number)
    };
    let (first, snapshot, number) = known;
    let snapshot = match snapshot {
        Some(snapshot) => Some(snapshot),
        None => {
            recovery::read_row(&open.engine, &open.era, task_id)?.map(|row| Arc::new(row.snapshot))
        }
    };
    let rules = recovery::read_rules(&open.engine, task_id)?;
    let outputs = outputs::read(&open.engine, number)?;
    Ok(snapshot.map(|snapshot| StoredTask {
        snapshot,
        first,
        rules,
        outputs,
    }))
}
