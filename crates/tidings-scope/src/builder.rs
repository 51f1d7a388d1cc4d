//! How a task begins.

use std::time::Duration;

use tidings_protocol::{IdError, Source, TaskId, TaskStarted};

use crate::{Beginning, BeginsNow, Host, Reporter, Task};

/// How a [`Task`] begins.
#[derive(Debug)]
#[must_use = "a task begins when it is started"]
pub struct TaskBuilder<H: Host> {
    host: H,
    task_id: Result<TaskId, IdError>,
    started: TaskStarted,
    source: Option<Source>,
}

impl<H: Host> TaskBuilder<H> {
    /// Names the task. An id that is none is told when the task starts.
    pub fn new<I>(host: H, task_id: I) -> Self
    where
        I: TryInto<TaskId>,
        I::Error: Into<IdError>,
    {
        Self {
            host,
            task_id: task_id.try_into().map_err(Into::into),
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
    pub fn parent(mut self, parent: impl Into<TaskId>) -> Self {
        self.started.parent_task_id = Some(parent.into());
        self
    }

    /// Has the log notice if the work dies or hangs with its runtime: without a sign of
    /// life for so long the task stalls, after as long again it fails. 100 ms to 7 days.
    ///
    /// The task renews its lease while it lives, also when it reports nothing.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.started.lease_ms = Some(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Names the worker: goes with every event.
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    fn beginning(self) -> (H, Result<Beginning, IdError>) {
        let (started, source) = (self.started, self.source);
        let beginning = self.task_id.map(|task_id| Beginning {
            task_id,
            started,
            source,
        });
        (self.host, beginning)
    }

    /// Publishes `task_started` and waits until it is accepted.
    ///
    /// # Errors
    /// The id is none; the task is running already (`invalid_transition`); or the bus
    /// or the client has stopped.
    ///
    /// # Cancel safety
    /// A dropped future may have started the task, which is then reported as failed.
    pub async fn start(self) -> Result<Task<H>, H::Error> {
        let (host, beginning) = self.beginning();
        let beginning = beginning?;
        let task_id = beginning.task_id.clone();
        let job = host.start(beginning).await?;
        Ok(Task::new(Reporter::new(host, task_id, job)))
    }
}

impl<H: BeginsNow> TaskBuilder<H> {
    /// Publishes `task_started` without waiting: for work that begins whether or
    /// not the server is there. Reports are sent when the server has accepted the
    /// start. If it refuses the start, nothing is ever reported, and the task's end
    /// says why: see [`Task::complete`].
    pub fn start_now(self) -> Task<H> {
        let (host, beginning) = self.beginning();
        let task_id = match &beginning {
            Ok(beginning) => beginning.task_id.clone(),
            Err(_) => TaskId::new("-").expect("a short id"),
        };
        let job = host.begin_now(beginning);
        Task::new(Reporter::new(host, task_id, job))
    }
}
