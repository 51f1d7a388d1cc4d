//! Reads a task's outputs from memory, and the rest from the store.

use std::ops::Range;
use std::sync::Arc;

use tidings_protocol::{ItemId, TaskId};

use crate::bus::EventBus;
use crate::cluster::fetch;
use crate::log::OutputText;
use crate::shared::Shared;
use crate::store::StoreError;
use crate::tasks::task::Task;

/// How often a read starts again after the output was cut or replaced.
const TRIES: usize = 4;

impl EventBus {
    /// Reads a part of a task's output, as far as the output is kept. Positions count bytes of
    /// the whole output. Returns `None` if the task or the output is not known.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future changes no output.
    pub async fn output(
        &self,
        task_id: &TaskId,
        output_id: &ItemId,
        range: Range<u64>,
    ) -> Result<Option<OutputText>, StoreError> {
        match fetch::fetch(&self.shared, task_id, None).await? {
            Some(task) => read_output(&self.shared, &task, output_id, range).await,
            None => Ok(None),
        }
    }
}

async fn read_output(
    shared: &Shared,
    task: &Arc<Task>,
    output_id: &ItemId,
    wanted: Range<u64>,
) -> Result<Option<OutputText>, StoreError> {
    for _ in 0..TRIES {
        let part = {
            let log = task.topic().lock();
            log.outputs.read(output_id, wanted.clone())
        };
        let Some(part) = part else { return Ok(None) };
        let mut text = part.text;
        let (Some(missing), Some(store)) = (part.missing, &shared.store) else {
            if shared.store.is_none() {
                text.start = text.start.max(part.here);
            }
            return Ok(Some(text.begin_whole()));
        };
        let stored = store
            .read_output(task.id(), output_id, missing.clone())
            .await?;
        let Some(stored) = stored else {
            // The store keeps no outputs, so the rest is lost.
            text.start = part.here;
            return Ok(Some(text.begin_whole()));
        };
        if stored.from + stored.bytes.len() as u64 == missing.end {
            text.put_before(stored.from, stored.bytes);
            return Ok(Some(text.begin_whole()));
        }
    }
    let cause = format!("output {output_id} of {} changes all the time", task.id());
    Err(StoreError::Unavailable(cause.into()))
}
