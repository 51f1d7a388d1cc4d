//! How a task begins.

use std::time::Duration;

use tidings_protocol::{IdError, NewEvent, Source, TaskId, TaskStarted};

use super::{Owner, Reporter, Task};
use crate::client::Client;
use crate::error::ReceiptError;
use crate::publish::Receipt;
use crate::state::Beginning;

/// How a [`Task`] begins.
#[derive(Debug)]
#[must_use = "a task begins when it is started"]
pub struct TaskBuilder {
    client: Client,
    task_id: Result<TaskId, IdError>,
    started: TaskStarted,
    source: Option<Source>,
}

impl TaskBuilder {
    pub(crate) fn new(client: Client, task_id: Result<TaskId, IdError>) -> Self {
        Self {
            client,
            task_id,
            started: TaskStarted::default(),
            source: None,
        }
    }

    /// Sets what to call the task.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.started.name = Some(name.into());
        self
    }

    /// Sets how much there is to do, in any unit; see [`Reporter::progress_of`].
    pub fn total(mut self, total: f64) -> Self {
        self.started.total = Some(total);
        self
    }

    /// Names the task that this one is a part of.
    pub fn parent(mut self, parent: TaskId) -> Self {
        self.started.parent_task_id = Some(parent);
        self
    }

    /// Has the server notice if this program dies: without a sign of life for so
    /// long the task stalls, after as long again it fails. 100 ms to 7 days.
    ///
    /// The task renews its lease while it lives, also when it reports nothing.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.started.lease_ms = Some(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Names who does the task: goes with every event.
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Publishes `task_started` and waits until the server has accepted it.
    ///
    /// # Errors
    /// The id is none, or the server refused the start: `invalid_transition` says
    /// that the task is running already. Or the client has stopped.
    ///
    /// # Cancel safety
    /// A dropped future may have started the task, which then is reported as failed.
    pub async fn start(self) -> Result<Task, ReceiptError> {
        let (task, start) = self.begin();
        start?.await?;
        Ok(task)
    }

    /// Publishes `task_started` without waiting: for work that begins whether or
    /// not the server is there. Reports are sent when the server has accepted the
    /// start. If it refuses the start, nothing is ever reported, and the task's end
    /// says why: see [`Task::complete`].
    pub fn start_now(self) -> Task {
        self.begin().0
    }

    fn begin(self) -> (Task, Result<Receipt, ReceiptError>) {
        let lease = self.started.lease_ms.map(Duration::from_millis);
        let (task_id, refused) = match self.task_id {
            Ok(task_id) => (task_id, None),
            Err(error) => (TaskId::new("-").expect("a short id"), Some(error)),
        };
        let beginning = Beginning {
            task_id: task_id.clone(),
            event: NewEvent::task_started_with(&self.started),
            source: self.source,
            lease,
            mark: uuid::Uuid::new_v4().simple().to_string(),
        };
        let (job, start) = self.client.begin(beginning, refused.clone());
        let reporter = Reporter::new(self.client, task_id, job);
        let task = Task {
            reporter: reporter.clone(),
            owner: Owner { reporter },
        };
        match refused {
            Some(error) => (task, Err(ReceiptError::InvalidTaskId(error))),
            None => (task, Ok(start)),
        }
    }
}
