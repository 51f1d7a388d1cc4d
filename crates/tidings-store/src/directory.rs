//! The data directory: its lock, its format, and the record of an orderly stop.
//!
//! ```text
//! DIR/format    the format of the store; "new" until the engine is complete
//! DIR/lock      locked by the process that has the directory open
//! DIR/clean     exists after an orderly stop: the number of changes until then
//! DIR/engine/   the engine's files
//! DIR/probe     exists for a moment, to test whether a full disk has room again
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Damage, OpenError};

/// The format that this version reads and writes.
const FORMAT: &str = "tidings store 1";

/// The content of `format` while a directory is being created.
const NEW: &str = "tidings store 1, new";

/// A directory that is locked for this process.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The lock. It is held as long as the file is open.
    _lock: Option<File>,
}

/// The content of a directory that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The directory is empty, or its creation did not finish.
    New,
    /// The directory contains a store.
    Store,
}

impl Directory {
    /// Locks the directory. Creates it if `create` is set and it does not exist.
    pub(crate) fn take(path: &Path, create: bool) -> Result<(Self, Found), OpenError> {
        let failed = |cause| OpenError::Io {
            path: path.to_owned(),
            cause,
        };
        let missing = || OpenError::Missing {
            path: path.to_owned(),
        };
        if !path.exists() {
            if !create {
                return Err(missing());
            }
            fs::create_dir_all(path).map_err(failed)?;
        }
        let found = match format(path)? {
            Some(found) => found,
            // A directory with only these files is from a start that did not finish.
            None if fs::read_dir(path).map_err(failed)?.all(|entry| {
                entry.is_ok_and(|entry| {
                    matches!(entry.file_name().to_str(), Some("lock" | "format.tmp"))
                })
            }) =>
            {
                Found::New
            }
            None => {
                return Err(OpenError::Foreign {
                    path: path.to_owned(),
                });
            }
        };
        if found == Found::New && !create {
            return Err(missing());
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        let directory = Self {
            path: path.to_owned(),
            _lock: Some(lock),
        };
        match found {
            Found::New => {
                // Nothing in it was ever acknowledged.
                write_synced(&directory.path.join("format"), NEW).map_err(failed)?;
                directory.unmark_clean().map_err(failed)?;
                if directory.engine().exists() {
                    fs::remove_dir_all(directory.engine()).map_err(failed)?;
                }
            }
            Found::Store if !directory.engine().join("version").exists() => {
                return Err(directory.damaged(Damage::EngineMissing));
            }
            Found::Store => {}
        }
        Ok((directory, found))
    }

    /// Opens a directory for reading. Nothing in it is changed, and no process can lock it
    /// meanwhile.
    pub(crate) fn look(path: &Path) -> Result<Self, OpenError> {
        match format(path)? {
            Some(Found::Store) => {}
            None if path.exists()
                && fs::read_dir(path).is_ok_and(|mut all| all.next().is_some()) =>
            {
                return Err(OpenError::Foreign {
                    path: path.to_owned(),
                });
            }
            Some(Found::New) | None => {
                return Err(OpenError::Missing {
                    path: path.to_owned(),
                });
            }
        }
        let failed = |cause| OpenError::Io {
            path: path.to_owned(),
            cause,
        };
        let lock = match File::open(path.join("lock")) {
            Ok(lock) => Some(lock),
            // The copy has no lock file, so no process can have it open.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => return Err(failed(cause)),
        };
        match lock.as_ref().map(File::try_lock_shared) {
            None | Some(Ok(())) => {}
            Some(Err(TryLockError::WouldBlock)) => {
                return Err(OpenError::InUse {
                    path: path.to_owned(),
                });
            }
            Some(Err(TryLockError::Error(cause))) => return Err(failed(cause)),
        }
        let directory = Self {
            path: path.to_owned(),
            _lock: lock,
        };
        if directory.engine().join("version").exists() {
            Ok(directory)
        } else {
            Err(directory.damaged(Damage::EngineMissing))
        }
    }

    /// Records that the engine is complete. From here on, the content of the directory counts.
    pub(crate) fn finish(&self) -> io::Result<()> {
        write_synced(&self.path.join("format"), FORMAT)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.path.join("engine")
    }

    pub(crate) fn damaged(&self, cause: Damage) -> OpenError {
        OpenError::Damaged {
            path: self.path.clone(),
            cause,
        }
    }

    pub(crate) fn failed(&self, cause: io::Error) -> OpenError {
        OpenError::Io {
            path: self.path.clone(),
            cause,
        }
    }

    /// Returns the number of changes at the last stop, if the last stop was orderly.
    pub(crate) fn clean(&self) -> io::Result<Option<u64>> {
        match fs::read_to_string(self.path.join("clean")) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Records an orderly stop. This must be the last change in a directory.
    pub(crate) fn mark_clean(&self, changes: u64) -> io::Result<()> {
        write_synced(&self.path.join("clean"), &changes.to_string())
    }

    /// Checks that the directory still exists and is the same one. A process whose files were
    /// deleted could otherwise go on writing to them unnoticed.
    ///
    /// # Errors
    /// Returns an error if the directory is gone or was replaced.
    pub(crate) fn is_there(&self) -> io::Result<()> {
        let gone = |what: &str| {
            let text = format!("{what} was deleted while the store was open; restart the server");
            io::Error::new(io::ErrorKind::NotFound, text)
        };
        if !self.path.join("format").exists() {
            return Err(gone("the data directory"));
        }
        if !self.engine().join("version").exists() {
            return Err(gone("the directory of the engine"));
        }
        match &self._lock {
            Some(lock) if !is_same_file(lock, &self.path.join("lock"))? => {
                Err(gone("the lock of the data directory"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the disk accepts this number of bytes.
    pub(crate) fn probe(&self, bytes: usize) -> io::Result<()> {
        let path = self.path.join("probe");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![1; bytes])?;
            file.sync_data()
        });
        let removed = fs::remove_file(&path);
        written.and(removed)
    }

    /// Removes the record of an orderly stop. It must be gone from the disk before anything is
    /// changed.
    pub(crate) fn unmark_clean(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join("clean")) {
            Ok(()) => sync_directory(&self.path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Returns the content of a directory according to its `format` file. Returns `None` without such a
/// file.
fn format(path: &Path) -> Result<Option<Found>, OpenError> {
    let said = match fs::read_to_string(path.join("format")) {
        Ok(said) => said,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => {
            return Err(OpenError::Io {
                path: path.to_owned(),
                cause,
            });
        }
    };
    match said.trim() {
        FORMAT => Ok(Some(Found::Store)),
        NEW => Ok(Some(Found::New)),
        other => Err(OpenError::Version {
            path: path.to_owned(),
            found: other.chars().take(64).collect(),
            expected: FORMAT,
        }),
    }
}

/// Writes a small file. After a crash there is either the old file or the new one.
fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension("tmp");
    let mut file = File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

#[cfg(unix)]
fn is_same_file(open: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let open = open.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_same_file(_: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

/// Syncs a directory. The name of a new file is on disk only after its directory is synced.
#[cfg(unix)]
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
