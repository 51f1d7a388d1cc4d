//! What a directory holds, said without changing anything in it.

use std::path::Path;

use serde::Serialize;
use tidings_bus::protocol::{Epoch, Offset, TaskId, TaskStatus, Timestamp};
use tokio::task::spawn_blocking;

use crate::aside::Aside;
use crate::error::{Damage, OpenError};
use crate::recovery::{self, Left, Standing};

/// What a data directory holds.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Inspected {
    /// How it was left.
    pub left: Left,
    /// How the last process that had it synced; none in a backup.
    pub sync: Option<String>,
    /// Whether tasks go on in their epochs at the next start.
    pub epoch_goes_on: bool,
    /// Events that can be read, over all tasks.
    pub events: u64,
    /// Bytes of these, near enough: what was trimmed counts with the average.
    pub bytes: u64,
    /// Bytes that the engine's files take.
    pub bytes_on_disk: u64,
    /// Clients that may come back to where they were, at most: some may have run
    /// out of time since.
    pub clients: u64,
    /// In the order of their ids.
    pub tasks: Vec<InspectedTask>,
}

/// A task in a data directory.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct InspectedTask {
    /// Its id.
    pub task_id: TaskId,
    /// Its state at its newest event.
    pub status: TaskStatus,
    /// The epoch that its offsets count in, until the next start.
    pub epoch: Epoch,
    /// The oldest offset that can be read; one past the newest when none can.
    pub first: Offset,
    /// The newest.
    pub offset: Offset,
    /// Bytes of its events.
    pub bytes: u64,
    /// When the newest came.
    pub updated_at: Option<Timestamp>,
}

/// Says what the directory holds. Nothing in it is changed; no process can take
/// it meanwhile, and none may have it.
///
/// # Errors
/// See [`OpenError`].
pub async fn inspect(path: impl AsRef<Path>) -> Result<Inspected, OpenError> {
    let path = path.as_ref().to_owned();
    let looking = spawn_blocking({
        let path = path.clone();
        move || look(&path)
    });
    looking.await.unwrap_or_else(|error| {
        Err(OpenError::Io {
            path,
            cause: std::io::Error::other(error),
        })
    })
}

fn look(path: &Path) -> Result<Inspected, OpenError> {
    let Aside {
        engine, directory, ..
    } = &Aside::open(path)?;
    let clean = directory.clean().map_err(|cause| directory.failed(cause))?;
    let read = || -> Result<Inspected, Damage> {
        let standing = Standing::read(engine, clean)?;
        let loaded = recovery::load(engine, recovery::era(engine)?, usize::MAX)?;
        recovery::check(clean, &loaded.index)?;
        let index = &loaded.index;
        let mut tasks: Vec<_> = loaded
            .tasks
            .into_iter()
            .map(|task| InspectedTask {
                bytes: index
                    .tasks
                    .get(&task.snapshot.task_id)
                    .map_or(0, |entry| entry.bytes),
                task_id: task.snapshot.task_id.clone(),
                status: task.snapshot.status,
                epoch: task.snapshot.epoch.clone(),
                first: task.first,
                offset: task.snapshot.offset,
                updated_at: task.snapshot.updated_at,
            })
            .collect();
        tasks.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        Ok(Inspected {
            left: standing.left,
            sync: standing.sync.map(|sync| sync.to_string()),
            epoch_goes_on: standing.epoch_goes_on(),
            events: index.tasks.values().map(crate::index::Entry::events).sum(),
            bytes: index.bytes,
            bytes_on_disk: engine.db.disk_space()?,
            clients: engine.kept.len()? as u64,
            tasks,
        })
    };
    read().map_err(|damage| directory.damaged(damage))
}
