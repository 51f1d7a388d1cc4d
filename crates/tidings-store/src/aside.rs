//! A look at a directory that changes nothing in it.
//!
//! The engine has no way to open its files for reading alone: it puts its
//! journal in order first. So it gets a directory of its own for the moment, with
//! copies of what it may write to (the journal above all, 64 MiB at most) and
//! links to its tables, which are written once and only read after that.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::directory::Directory;
use crate::engine::Engine;
use crate::error::{Damage, OpenError};

/// Where the engine has its tables.
const TABLES: &str = "tables";

/// An engine beside the directory that it is of.
pub(crate) struct Aside {
    // Closed before its files go, and before the directory may be taken.
    pub(crate) engine: Engine,
    _files: TempDir,
    pub(crate) directory: Directory,
}

impl Aside {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let directory = Directory::look(path)?;
        let failed = |cause| directory.failed(cause);
        let files = tempfile::tempdir().map_err(failed)?;
        // Links have to lead there from anywhere.
        let from = directory.engine().canonicalize().map_err(failed)?;
        mirror(&from, files.path(), false).map_err(failed)?;
        let engine =
            Engine::open(files.path()).map_err(|error| directory.damaged(Damage::Engine(error)))?;
        Ok(Self {
            engine,
            _files: files,
            directory,
        })
    }
}

/// Has `to` hold what `from` does: links to files within tables, copies of others.
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

/// Links need a privilege there.
#[cfg(not(unix))]
fn link(source: &Path, target: &Path) -> io::Result<()> {
    fs::copy(source, target).map(drop)
}
