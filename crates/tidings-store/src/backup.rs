//! Backups: copies of everything that a store keeps.
//!
//! A backup is read from a snapshot of the engine and written by another engine. It is a data
//! directory, so it needs no format of its own. Until it is complete and on disk, its name ends
//! with `.partial`.
//!
//! A backup records that it is a copy. Each time a backup is restored, its first start begins a new
//! epoch. Events published after the backup was made had offsets that the restored store would give
//! to other events.

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

/// The number of entries that are copied in one commit, and between two checks whether to continue.
const STEP: usize = 1_024;

/// The content of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The number of tasks.
    pub tasks: u64,
    /// The number of events.
    pub events: u64,
    /// The size of the events in bytes.
    pub bytes: u64,
    /// How long the copying took.
    pub took: Duration,
}

/// The reason why a copy was not made. In this case nothing is left at the target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The target exists. A copy never overwrites anything.
    #[error("there is something at {} already; name a place where there is nothing", .path.display())]
    Exists {
        /// The path of the target.
        path: PathBuf,
    },
    /// Another copy is being made. Try again when it is finished.
    #[error("another backup is being made; wait for it")]
    Busy,
    /// The store was closed, or its disk failed.
    #[error("the store stopped, or its disk failed, before the backup was whole")]
    Interrupted,
    /// The directory to copy cannot be opened.
    #[error("there is nothing to be copied")]
    Source(#[source] OpenError),
    /// The content of the directory cannot be read.
    #[error("what is to be copied is damaged")]
    Damaged(#[from] Damage),
    /// The copy cannot be written.
    #[error("the backup cannot be written to {}", .path.display())]
    Target {
        /// The path of the target.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Copies the data directory `from` to the new directory `into`. No process may have `from` open.
/// Nothing in `from` is changed.
///
/// # Errors
/// Returns [`CopyError`] if the copy was not made. Nothing is left at `into`.
///
/// # Cancel safety
/// The copy is made to its end in the background. A dropped future leaves open whether it succeeds.
pub async fn back_up(from: impl AsRef<Path>, into: impl AsRef<Path>) -> Result<Copied, CopyError> {
    let (from, into) = (from.as_ref().to_owned(), into.as_ref().to_owned());
    let copying = spawn_blocking(move || {
        let aside = Aside::open(&from).map_err(CopyError::Source)?;
        // No other process has the directory open.
        let snapshot = aside.engine.db.snapshot();
        copy(&aside.engine, snapshot, &into, &|| true)
    });
    copying.await.unwrap_or(Err(CopyError::Interrupted))
}

/// Copies a snapshot of the engine, as long as `goes_on` returns `true`.
pub(crate) fn copy(
    source: &Engine,
    snapshot: Snapshot,
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
            snapshot,
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
        // If this fails, the name of the remains still shows that they are incomplete.
        let _ = fs::remove_dir_all(&aside);
    }
    made
}

/// Removes the unfinished backups of killed processes from a directory. A backup that is being made
/// is locked, and stays. Anything that is no backup stays too.
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
        // Taking the directory fails if it is no backup, or if another process is writing it.
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
        // A table must be written in the order of its keys.
        tasks.sort_unstable();
        let (events, bytes) = self.events(&tasks)?;
        // Events that are to be deleted are not copied, so the list of them is not needed.
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

    /// Copies a keyspace, and passes each entry to `look`.
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

    /// Copies the readable events of tasks. Each task is given by its number and its first offset.
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

/// The directory for backups of a running store. The name of each backup is the time at which it
/// was begun. Old backups are never deleted, because the operator decides which to keep.
pub struct BackupDirectory {
    store: Arc<DiskStore>,
    path: PathBuf,
}

impl BackupDirectory {
    /// Puts the backups of `store` into the directory `path`. The first backup creates the
    /// directory. Removes the unfinished backups of killed processes there.
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
        // Some systems allow no colon in the name of a file.
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
