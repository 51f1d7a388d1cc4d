//! The settings of a new task.

use std::time::Duration;

use tidings_protocol::{IdError, Source, TaskId, TaskStarted};

use crate::{Beginning, BeginsNow, Host, Reporter, Task};

/// Builds and starts a [`Task`].
#[derive(Debug)]
#[must_use = "a task begins when it is started"]
pub struct TaskBuilder<H: Host> {
    host: H,
    task_id: Result<TaskId, IdError>,
    started: TaskStarted,
    source: Option<Source>,
}

impl<H: Host> TaskBuilder<H> {
    /// Returns a builder for the task with this id. If the id is not valid, the start
    /// of the task returns the error.
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

    /// Sets the display name of the task.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.started.name = Some(name.into());
        self
    }

    /// Sets the total amount of work, in any unit; see [`Reporter::progress_of`].
    pub fn total(mut self, total: f64) -> Self {
        self.started.total = Some(total);
        self
    }

    /// Sets the parent task.
    pub fn parent(mut self, parent: impl Into<TaskId>) -> Self {
        self.started.parent_task_id = Some(parent.into());
        self
    }

    /// Sets the weight of the task in its parent's progress. The default is 1.
    pub fn weight(mut self, weight: f64) -> Self {
        self.started.weight = Some(weight);
        self
    }

    /// Sets the lease: the longest silence of the task, from 100 ms to 7 days. The log
    /// then notices that the work hangs or dies with its runtime. Without a sign of
    /// life, the task stalls after one lease and fails after two.
    ///
    /// The task renews its lease while it exists, even if it reports nothing.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.started.lease_ms = Some(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sets the worker's name. Every event carries it.
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

    /// Publishes `task_started` and waits until the log has accepted it.
    ///
    /// # Errors
    /// Returns an error if the id is not valid or the task is already running
    /// (`invalid_transition`). Also returns an error if the bus or the client has
    /// stopped.
    ///
    /// # Cancel safety
    /// If the future is dropped, the task may have started. It is then reported as
    /// failed.
    pub async fn start(self) -> Result<Task<H>, H::Error> {
        let (host, beginning) = self.beginning();
        let beginning = beginning?;
        let task_id = beginning.task_id.clone();
        let job = host.start(beginning).await?;
        Ok(Task::new(Reporter::new(host, task_id, job)))
    }
}

impl<H: BeginsNow> TaskBuilder<H> {
    /// Publishes `task_started` without waiting. Use this for work that begins even if
    /// the server is away. Reports are sent after the server has accepted the start. If
    /// the server refuses the start, nothing is reported, and the task's end returns
    /// the reason: see [`Task::complete`].
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
