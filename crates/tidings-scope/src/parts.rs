//! Parts of a task: steps, outputs and child tasks.

use std::fmt;

use tidings_protocol::{Data, EventType, IdError, NewEvent, TaskError, TaskId};

use crate::task::dropped;
use crate::{BoxError, Host, Reporter, TaskBuilder};

impl<H: Host> Reporter<H> {
    /// Begins a step. If the step is dropped without an end, it fails.
    pub fn step(&self, name: impl AsRef<str>) -> TaskStep<H> {
        TaskStep::begin(self, None, name.as_ref())
    }

    /// Begins an output: a text that grows, such as an agent's answer. The output is
    /// complete when it is dropped. Text that is added within 50 ms becomes one event.
    pub fn output(&self, output_id: impl Into<String>) -> Output<H> {
        Output {
            reporter: self.clone(),
            id: output_id.into(),
        }
    }

    /// Prepares a child of this task.
    pub fn child<I>(&self, task_id: I) -> TaskBuilder<H>
    where
        I: TryInto<TaskId>,
        I::Error: Into<IdError>,
    {
        TaskBuilder::new(self.host().clone(), task_id).parent(self.id().clone())
    }
}

/// A step of a task, whose owner must report its end.
#[derive(Debug)]
#[must_use = "dropped, the step has failed: end it with complete()"]
pub struct TaskStep<H: Host> {
    reporter: Reporter<H>,
    id: String,
    ended: bool,
}

impl<H: Host> TaskStep<H> {
    fn begin(reporter: &Reporter<H>, parent: Option<&str>, name: &str) -> Self {
        let id = format!("step-{}", reporter.next_step());
        let mut fields = vec![("step_id", id.as_str()), ("name", name)];
        fields.extend(parent.map(|parent| ("parent_step_id", parent)));
        let fields: std::collections::BTreeMap<_, _> = fields.into_iter().collect();
        let data = Data::from_serialize(&fields).unwrap_or_default();
        reporter.publish(NewEvent::new(EventType::StepStarted, data));
        Self {
            reporter: reporter.clone(),
            id,
            ended: false,
        }
    }

    /// Begins a child of this step.
    pub fn step(&self, name: impl AsRef<str>) -> Self {
        Self::begin(&self.reporter, Some(&self.id), name.as_ref())
    }

    /// Ends the step as completed.
    pub fn complete(self) {
        let completed = NewEvent::step_completed(&self.id, None);
        self.end(completed);
    }

    /// Ends the step as failed.
    pub fn fail(self, error: impl Into<BoxError>) {
        let failed = NewEvent::step_failed(&self.id, TaskError::of(error));
        self.end(failed);
    }

    fn end(mut self, event: NewEvent) {
        self.ended = true;
        self.reporter.publish(event);
    }
}

impl<H: Host> Drop for TaskStep<H> {
    fn drop(&mut self) {
        if !self.ended {
            let error = dropped("the step was given up");
            self.reporter
                .publish(NewEvent::step_failed(&self.id, error));
        }
    }
}

/// A text of a task that grows. Dropping it completes it.
#[must_use = "dropping the output completes it"]
#[derive(Debug)]
pub struct Output<H: Host> {
    reporter: Reporter<H>,
    id: String,
}

impl<H: Host> Output<H> {
    /// Adds text.
    pub fn push(&self, text: impl AsRef<str>) {
        self.reporter.gather(&self.id, text.as_ref());
    }
}

impl<H: Host> fmt::Write for Output<H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

impl<H: Host> Drop for Output<H> {
    fn drop(&mut self) {
        self.reporter
            .publish(NewEvent::output_completed(&self.id, None));
    }
}
