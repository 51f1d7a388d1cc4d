//! Copies of all that a store keeps.
//!
//! Read from a snapshot of the engine and written through an engine, so there is
//! no format of its own: a backup is a data directory. It lies under another name
//! until it is whole and on disk. It says of itself that it is a copy, so that
//! whoever starts it begins a new epoch, each time it is restored anew: what was
//! published after it was made had offsets that it would give out again.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fjall::{Keyspace, PersistMode, Readable as _, Snapshot};
use serde::de::IgnoredAny;
use tidings_bus::{BackupError, BackupMade, Backups, Clock as _, SystemClock};
use tokio::task::spawn_blocking;

use crate::aside::Aside;
use crate::directory::{Directory, Found, sync_directory};
use crate::engine::{Engine, event_key};
use crate::error::{Damage, OpenError};
use crate::recovery;
use crate::rows::{BACKUP, SYNC, TaskRow};
use crate::store::DiskStore;

/// Things written to a copy in one commit, and between two looks at whether it
/// is still to be made.
const STEP: usize = 1_024;

/// What a copy holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Tasks in it.
    pub tasks: u64,
    /// Their events.
    pub events: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// Why a copy was not made. There is nothing where it was to be then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Nothing is overwritten.
    #[error("there is something at {} already; name a place where there is nothing", .path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// One is made at a time.
    #[error("another backup is being made; wait for it")]
    Busy,
    /// The store was closed, or its disk failed.
    #[error("the store stopped, or its disk failed, before the backup was whole")]
    Interrupted,
    /// The directory to copy cannot be opened.
    #[error("there is nothing to be copied")]
    Source(#[source] OpenError),
    /// What is in it cannot be read.
    #[error("what is to be copied is damaged")]
    Damaged(#[from] Damage),
    /// The copy cannot be written.
    #[error("the backup cannot be written to {}", .path.display())]
    Target {
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Copies the directory `from`, which no process has open and which is left as
/// it is, to `into`, where nothing may be.
///
/// # Errors
/// See [`CopyError`].
pub async fn back_up(from: impl AsRef<Path>, into: impl AsRef<Path>) -> Result<Copied, CopyError> {
    let (from, into) = (from.as_ref().to_owned(), into.as_ref().to_owned());
    let copying = spawn_blocking(move || {
        let aside = Aside::open(&from).map_err(CopyError::Source)?;
        copy(&aside.engine, &into, &|| true)
    });
    copying.await.unwrap_or(Err(CopyError::Interrupted))
}

/// Copies what the engine holds at this moment, for as long as `goes_on`.
pub(crate) fn copy(
    source: &Engine,
    into: &Path,
    goes_on: &dyn Fn() -> bool,
) -> Result<Copied, CopyError> {
    let started = Instant::now();
    let exists = |path: &Path| CopyError::Exists {
        path: path.to_owned(),
    };
    if into.symlink_metadata().is_ok() {
        return Err(exists(into));
    }
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| CopyError::Target {
        path: into.to_owned(),
        cause,
    };
    let mut aside = into.file_name().map_or_else(OsString::new, OsString::from);
    aside.push(".partial");
    let aside = into.with_file_name(aside);
    let (directory, found) = Directory::take(&aside, true).map_err(|error| failed(error.into()))?;
    if found == Found::Store {
        return Err(exists(&aside));
    }
    let made = (|| {
        let target = Engine::open(&directory.engine()).map_err(|error| failed(error.into()))?;
        let copying = Copying {
            source,
            snapshot: source.db.snapshot(),
            target: &target,
            failed: &failed,
            goes_on,
        };
        let copied = copying.run()?;
        drop(target);
        directory.finish().map_err(|error| failed(error.into()))?;
        Ok(copied)
    })();
    drop(directory);
    let made = made.and_then(|copied| {
        let parent = into
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        fs::rename(&aside, into)
            .and_then(|()| sync_directory(parent.unwrap_or(Path::new("."))))
            .map_err(|error| failed(error.into()))?;
        Ok(Copied {
            took: started.elapsed(),
            ..copied
        })
    });
    if made.is_err() {
        // What is left of it says by its name that it is not whole.
        let _ = fs::remove_dir_all(&aside);
    }
    made
}

/// Removes what killed processes left of backups in a directory. A backup that is
/// being made is locked, and stays. So does everything that is no backup.
fn remove_partial(path: &Path) {
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path
            .extension()
            .is_none_or(|extension| extension != "partial")
        {
            continue;
        }
        // Taking it finds out whether it is one, and whether somebody has it.
        let Ok((directory, Found::New)) = Directory::take(&path, true) else {
            continue;
        };
        match fs::remove_dir_all(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "removed an unfinished backup"),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an unfinished backup stays");
            }
        }
        drop(directory);
    }
}

type Boxed = Box<dyn std::error::Error + Send + Sync>;

struct Copying<'a> {
    source: &'a Engine,
    snapshot: Snapshot,
    target: &'a Engine,
    failed: &'a dyn Fn(Boxed) -> CopyError,
    goes_on: &'a dyn Fn() -> bool,
}

impl Copying<'_> {
    fn run(&self) -> Result<Copied, CopyError> {
        let mut tasks = Vec::new();
        self.each(&self.source.tasks, &self.target.tasks, |key, value| {
            let name = String::from_utf8_lossy(key);
            let row: TaskRow<IgnoredAny> = recovery::row(&name, value)?;
            tasks.push((row.number, row.first));
            Ok(())
        })?;
        // In the order of their keys, as a table wants them.
        tasks.sort_unstable();
        let (events, bytes) = self.events(&tasks)?;
        // What is to be deleted is not copied in the first place.
        for (source, target) in [
            (&self.source.tails, &self.target.tails),
            (&self.source.rules, &self.target.rules),
            (&self.source.outputs, &self.target.outputs),
            (&self.source.texts, &self.target.texts),
            (&self.source.kept, &self.target.kept),
            (&self.source.meta, &self.target.meta),
        ] {
            self.each(source, target, |_, _| Ok(()))?;
        }
        let synced = || {
            self.target.meta.insert(SYNC, format!("\"{BACKUP}\""))?;
            self.target.db.persist(PersistMode::SyncAll)
        };
        synced().map_err(|error| (self.failed)(error.into()))?;
        Ok(Copied {
            tasks: tasks.len() as u64,
            events,
            bytes,
            took: Duration::ZERO,
        })
    }

    /// Copies a keyspace, with a look at each thing in it.
    fn each(
        &self,
        source: &Keyspace,
        target: &Keyspace,
        mut look: impl FnMut(&[u8], &[u8]) -> Result<(), Damage>,
    ) -> Result<(), CopyError> {
        let mut batch = self.target.db.batch();
        for (n, found) in (1..).zip(self.snapshot.iter(source)) {
            let (key, value) = found.into_inner().map_err(Damage::from)?;
            look(&key, &value)?;
            batch.insert(target, key, value);
            if n % STEP == 0 {
                self.check()?;
                let full = std::mem::replace(&mut batch, self.target.db.batch());
                full.commit().map_err(|error| (self.failed)(error.into()))?;
            }
        }
        batch.commit().map_err(|error| (self.failed)(error.into()))
    }

    /// Copies what can be read of the tasks with these numbers, from these offsets on.
    fn events(&self, tasks: &[(u64, u64)]) -> Result<(u64, u64), CopyError> {
        let failed = |error: fjall::Error| (self.failed)(error.into());
        let mut copy = None;
        let (mut events, mut bytes) = (0, 0);
        for (number, first) in tasks {
            let range = event_key(*number, *first)..event_key(number + 1, 0);
            for found in self.snapshot.range(&self.source.events, range) {
                let (key, value) = found.into_inner().map_err(Damage::from)?;
                events += 1;
                bytes += value.len() as u64;
                let mut writing = match copy.take() {
                    Some(writing) => writing,
                    None => self.target.events.start_ingestion().map_err(failed)?,
                };
                writing.write(key, value).map_err(failed)?;
                copy = Some(writing);
                if events % STEP as u64 == 0 {
                    self.check()?;
                }
            }
        }
        if let Some(writing) = copy {
            writing.finish().map_err(failed)?;
        }
        Ok((events, bytes))
    }

    fn check(&self) -> Result<(), CopyError> {
        if (self.goes_on)() {
            Ok(())
        } else {
            Err(CopyError::Interrupted)
        }
    }
}

/// Where copies of a running store are put, each under the time of day at which
/// it was begun. Which of them to keep is for whoever runs it to decide.
pub struct BackupDirectory {
    store: Arc<DiskStore>,
    path: PathBuf,
}

impl BackupDirectory {
    /// Backups of `store` in the directory `path`, which is made when the first is.
    /// Removes what a killed process left of a backup there.
    pub fn new(store: Arc<DiskStore>, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        remove_partial(&path);
        Self { store, path }
    }
}

impl fmt::Debug for BackupDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupDirectory")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Backups for BackupDirectory {
    async fn make(&self) -> Result<BackupMade, BackupError> {
        fs::create_dir_all(&self.path).map_err(|error| BackupError::Failed(error.into()))?;
        // A colon is no part of a file's name everywhere.
        let name = SystemClock.now().to_string().replace(':', "-");
        let path = self.path.join(name);
        match self.store.back_up(&path).await {
            Ok(copied) => {
                tracing::info!(path = %path.display(), ?copied, "made a backup");
                Ok(BackupMade {
                    directory: path.display().to_string(),
                    tasks: copied.tasks,
                    events: copied.events,
                    bytes: copied.bytes,
                })
            }
            Err(CopyError::Busy) => Err(BackupError::Busy),
            Err(error) => Err(BackupError::Failed(error.into())),
        }
    }
}
