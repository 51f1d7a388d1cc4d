//! Reports about a running task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;
use tidings_protocol::{AgentStatus, NewEvent, TaskError, TaskId};
use tokio::time::Instant;

use super::Losses;
use super::cancel::Ears;
use crate::client::Client;
use crate::commands::Commands;
use crate::error::{BoxError, ReceiptError};
use crate::publish::Receipt;
use crate::state::JobId;

/// A handle to report on a task with. Cheap to clone.
///
/// Nothing here waits, fails or panics: see [`Task`](crate::Task). After the task
/// has ended reports are ignored.
#[derive(Debug, Clone)]
pub struct Reporter {
    client: Client,
    task_id: TaskId,
    job: JobId,
    own: Arc<Own>,
}

/// What the handles of one task share.
#[derive(Debug, Default)]
struct Own {
    steps: AtomicU64,
    ears: Ears,
    /// The program takes the task's commands, and answers `cancel` itself.
    answers: AtomicBool,
}

impl Reporter {
    pub(super) fn new(client: Client, task_id: TaskId, job: JobId) -> Self {
        Self {
            client,
            task_id,
            job,
            own: Arc::default(),
        }
    }

    /// Returns the task's id.
    pub fn id(&self) -> &TaskId {
        &self.task_id
    }

    /// Returns the client that the task is reported through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reports how far the task is, in per cent, 0–100.
    pub fn progress<'a>(&self, percent: f64, message: impl Into<Option<&'a str>>) {
        self.publish(NewEvent::progress(percent, message));
    }

    /// Reports how far the task is, as so much of so much.
    pub fn progress_of<'a>(&self, current: f64, total: f64, message: impl Into<Option<&'a str>>) {
        self.publish(NewEvent::progress_of(current, total, message));
    }

    /// Reports a line, or lines, of a log. A text that is too large is cut.
    pub fn log(&self, message: impl AsRef<str>) {
        self.publish(NewEvent::log(message));
    }

    /// Reports what one of the task's agents is doing.
    pub fn agent<'a>(
        &self,
        agent_id: impl AsRef<str>,
        status: AgentStatus,
        message: impl Into<Option<&'a str>>,
    ) {
        self.publish(NewEvent::agent_status(agent_id, status, message));
    }

    /// Reports that a tool is called.
    pub fn tool_started(
        &self,
        tool_call_id: impl AsRef<str>,
        tool: impl AsRef<str>,
        input: impl Into<Option<Value>>,
    ) {
        self.publish(NewEvent::tool_call_started(tool_call_id, tool, input));
    }

    /// Reports that a tool has answered.
    pub fn tool_completed(&self, tool_call_id: impl AsRef<str>, output: impl Into<Option<Value>>) {
        self.publish(NewEvent::tool_call_completed(tool_call_id, output, None));
    }

    /// Reports that a tool has failed.
    pub fn tool_failed(&self, tool_call_id: impl AsRef<str>, error: impl Into<BoxError>) {
        let error = TaskError::of(error);
        self.publish(NewEvent::tool_call_failed(tool_call_id, error));
    }

    /// Reports any event.
    pub fn publish(&self, event: NewEvent) {
        let now = Instant::now();
        self.client
            .shared()
            .with(|core| core.state.report(self.job, event, now));
    }

    /// Reports any event, for a program that wants to know what comes of it: the
    /// receipt is the server's answer.
    ///
    /// # Errors
    /// There is no room, the event is too large, the task has ended, its start was
    /// refused, or the client has stopped.
    pub fn try_publish(&self, event: NewEvent) -> Result<Receipt, ReceiptError> {
        let now = Instant::now();
        self.client
            .receipt(|core| core.state.try_report(self.job, event, now))
    }

    pub(super) fn ears(&self) -> &Ears {
        &self.own.ears
    }

    pub(super) fn next_step(&self) -> u64 {
        self.own.steps.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn answers_itself(&self) -> bool {
        self.own.answers.load(Ordering::Relaxed)
    }

    /// Returns the commands that the task is given: a stream. The program then answers
    /// `cancel` itself, too.
    pub fn commands(&self) -> Commands {
        self.own.answers.store(true, Ordering::Relaxed);
        self.ears().mind();
        Commands::of_task(self.clone())
    }

    /// Answers a command: room is kept for that.
    pub(crate) fn reply(&self, event: NewEvent) -> Result<Receipt, ReceiptError> {
        let now = Instant::now();
        self.client
            .receipt(|core| core.state.reply(self.job, event, now))
    }

    /// Returns the reports that were lost so far.
    pub fn losses(&self) -> Losses {
        self.client
            .shared()
            .with(|core| core.state.losses(self.job))
    }

    pub(super) fn end(&self, event: NewEvent) -> Result<Receipt, ReceiptError> {
        let now = Instant::now();
        self.client
            .receipt(|core| core.state.end(self.job, event, now))
    }

    pub(super) fn leave(&self, event: impl FnOnce() -> NewEvent) {
        let now = Instant::now();
        self.client
            .shared()
            .with(|core| core.state.leave(self.job, event, now));
    }
}
