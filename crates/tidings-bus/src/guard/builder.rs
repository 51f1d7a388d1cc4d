//! How a task begins.

use std::time::Duration;

use tidings_protocol::{IdError, NewEvent, Source, TaskId, TaskStarted};

use super::{Owner, Reporter, Task};
use crate::bus::EventBus;
use crate::publish::append::PublishError;

/// How a [`Task`] begins.
#[derive(Debug)]
#[must_use = "a task begins when it is started"]
pub struct TaskBuilder {
    bus: EventBus,
    task_id: Result<TaskId, IdError>,
    started: TaskStarted,
    source: Option<Source>,
}

impl EventBus {
    /// Begins a task that this process does.
    pub fn begin<I>(&self, task_id: I) -> TaskBuilder
    where
        I: TryInto<TaskId>,
        I::Error: Into<IdError>,
    {
        TaskBuilder {
            bus: self.clone(),
            task_id: task_id.try_into().map_err(Into::into),
            started: TaskStarted::default(),
            source: None,
        }
    }
}

impl TaskBuilder {
    /// Sets what to call the task.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.started.name = Some(name.into());
        self
    }

    /// Sets how much there is to do, in any unit.
    pub fn total(mut self, total: f64) -> Self {
        self.started.total = Some(total);
        self
    }

    /// Names the task that this one is a part of.
    pub fn parent(mut self, parent: TaskId) -> Self {
        self.started.parent_task_id = Some(parent);
        self
    }

    /// Has the bus notice if the work hangs with its runtime: see `lease_ms` of the
    /// protocol. The task renews its lease while it lives.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.started.lease_ms = Some(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Names who does the task: goes with every event.
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Publishes `task_started`.
    ///
    /// # Errors
    /// The id is none, the task is running already, the store is unavailable, or the
    /// bus has been shut down.
    ///
    /// # Cancel safety
    /// As [`EventBus::publish`].
    pub async fn start(self) -> Result<Task, PublishError> {
        let task_id = self.task_id.map_err(PublishError::InvalidTaskId)?;
        let mut event = NewEvent::task_started_with(&self.started);
        if let Some(source) = &self.source {
            event = event.with_source(source.clone());
        }
        let started = self.bus.publish(&task_id, event).await?;
        let lease = self.started.lease_ms.map(Duration::from_millis);
        let reporter = Reporter::new(self.bus, task_id, self.source, started.run);
        if let Some(lease) = lease {
            reporter.renew_every(lease / 3);
        }
        Ok(Task {
            _owner: Owner(reporter.clone()),
            reporter,
        })
    }
}
