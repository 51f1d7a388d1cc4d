//! Opens a directory for reading, without any change in it.
//!
//! The engine cannot open its files only for reading, because it repairs its journal first. It
//! therefore gets a temporary directory. This contains copies of the files that the engine may
//! write to: above all the journal, at most 64 MiB. It contains links to the engine's tables, which
//! never change after they are written.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::directory::Directory;
use crate::engine::Engine;
use crate::error::OpenError;

/// The name of the engine's directory of tables.
const TABLES: &str = "tables";

/// An engine on a copy of a directory.
pub(crate) struct Aside {
    // The fields are dropped in this order: the engine closes before its files are removed, and
    // before the directory is unlocked.
    pub(crate) engine: Engine,
    _files: TempDir,
    pub(crate) directory: Directory,
}

impl Aside {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let directory = Directory::look(path)?;
        let failed = |cause| directory.failed(cause);
        let files = tempfile::tempdir().map_err(failed)?;
        // The links are in another directory, so their targets must be absolute paths.
        let from = directory.engine().canonicalize().map_err(failed)?;
        mirror(&from, files.path(), false).map_err(failed)?;
        let engine = Engine::open(files.path()).map_err(|damage| directory.damaged(damage))?;
        Ok(Self {
            engine,
            _files: files,
            directory,
        })
    }
}

/// Fills `to` with the content of `from`: with links to the files of tables, and copies of other
/// files.
fn mirror(from: &Path, to: &Path, tables: bool) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            mirror(&source, &target, entry.file_name() == TABLES)?;
        } else if tables {
            link(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn link(source: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(source, target)
}

/// Copies the file, because links need a privilege on such systems.
#[cfg(not(unix))]
fn link(source: &Path, target: &Path) -> io::Result<()> {
    fs::copy(source, target).map(drop)
}
