//! Inspects a directory without any change in it.

use std::path::Path;

use serde::Serialize;
use tidings_bus::protocol::{Epoch, Offset, TaskId, TaskStatus, Timestamp};
use tokio::task::spawn_blocking;

use crate::aside::Aside;
use crate::error::{Damage, OpenError};
use crate::recovery::{self, Left, Standing};

/// The content of a data directory.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Inspected {
    /// How the last process left the directory.
    pub left: Left,
    /// How the last process synced. `None` for a backup.
    pub sync: Option<String>,
    /// `true` if tasks keep their epochs at the next start.
    pub epoch_goes_on: bool,
    /// The number of readable events, over all tasks.
    pub events: u64,
    /// The approximate size of these events in bytes. Trimmed events are subtracted by the average
    /// size.
    pub bytes: u64,
    /// The size of the engine's files in bytes.
    pub bytes_on_disk: u64,
    /// The number of stored clients. Some of them may have expired since.
    pub clients: u64,
    /// The tasks in the order of their ids.
    pub tasks: Vec<InspectedTask>,
}

/// A task in a data directory.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct InspectedTask {
    /// The id of the task.
    pub task_id: TaskId,
    /// The status after the newest event.
    pub status: TaskStatus,
    /// The epoch of the task's offsets, until the next start.
    pub epoch: Epoch,
    /// The oldest readable offset. If no event is readable, it is one more than the newest offset.
    pub first: Offset,
    /// The newest offset.
    pub offset: Offset,
    /// The bytes of the task's events.
    pub bytes: u64,
    /// The time of the newest event.
    pub updated_at: Option<Timestamp>,
}

/// Returns the content of a data directory. Nothing in it is changed. No other process may have the
/// directory open, and none can open it meanwhile.
///
/// # Errors
/// Returns [`OpenError`] if the directory cannot be read.
///
/// # Cancel safety
/// Cancel safe. The inspection ends in the background, and the directory stays locked until then.
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
            .map(|(task, bytes)| InspectedTask {
                bytes,
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
            events: loaded.events,
            bytes: index.bytes,
            bytes_on_disk: engine.db.disk_space()?,
            clients: engine.kept.len()? as u64,
            tasks,
        })
    };
    read().map_err(|damage| directory.damaged(damage))
}
