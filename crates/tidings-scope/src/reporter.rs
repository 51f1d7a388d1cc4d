//! Reports about a running task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;
use tidings_protocol::{AgentStatus, NewEvent, TaskError, TaskId};

use crate::cancel::Ears;
use crate::gather::Gathered;
use crate::{BoxError, Commands, Host, Losses};

/// A handle to report on a task with. Cheap to clone.
///
/// Nothing here waits, fails or panics: see [`Task`](crate::Task). After the task
/// has ended reports are ignored.
#[derive(Debug, Clone)]
pub struct Reporter<H: Host> {
    host: H,
    own: Arc<Own<H>>,
}

/// What the handles of one task share.
#[derive(Debug)]
pub(crate) struct Own<H: Host> {
    task_id: TaskId,
    job: H::Job,
    steps: AtomicU64,
    ears: Ears<H>,
    /// The program takes the task's commands, and answers `cancel` itself.
    answers: AtomicBool,
    /// Output that was not reported yet.
    gathered: Gathered,
}

impl<H: Host> Reporter<H> {
    pub(crate) fn new(host: H, task_id: TaskId, job: H::Job) -> Self {
        Self {
            host,
            own: Arc::new(Own {
                task_id,
                job,
                steps: AtomicU64::new(0),
                ears: Ears::default(),
                answers: AtomicBool::new(false),
                gathered: Gathered::default(),
            }),
        }
    }

    pub(crate) fn from_parts(host: H, own: Arc<Own<H>>) -> Self {
        Self { host, own }
    }

    pub(crate) fn own(&self) -> &Arc<Own<H>> {
        &self.own
    }

    /// Returns the task's id.
    pub fn id(&self) -> &TaskId {
        &self.own.task_id
    }

    /// Returns the bus or the client that the task is reported through.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Reports how far the task is, in per cent, 0–100.
    pub fn progress<'a>(&self, percent: f64, message: impl Into<Option<&'a str>>) {
        self.publish(NewEvent::progress(percent, message));
    }

    /// Reports how far the task is, as so much of so much.
    pub fn progress_of<'a>(&self, current: f64, total: f64, message: impl Into<Option<&'a str>>) {
        self.publish(NewEvent::progress_of(current, total, message));
    }

    /// Reports a line, or lines, of a log. A text that is too large for the way to the
    /// log is cut.
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
        self.tell_gathered();
        self.host.report(&self.own.job, event);
    }

    /// Reports any event, for a program that wants to know what becomes of it: the
    /// receipt is the answer. Dropping the receipt takes nothing back.
    pub fn try_publish(&self, event: NewEvent) -> H::Receipt {
        self.tell_gathered();
        self.host.try_report(&self.own.job, event)
    }

    /// Returns the commands that the task is given. The program then answers `cancel`
    /// itself, too.
    pub fn commands(&self) -> Commands<H> {
        self.own.answers.store(true, Ordering::Relaxed);
        self.ears().mind();
        Commands::of_task(self.clone())
    }

    /// Returns the reports that were lost so far.
    pub fn losses(&self) -> Losses<H::Error> {
        self.host.losses(&self.own.job)
    }

    /// Reports what must not be lost: room is kept for it.
    pub(crate) fn reply(&self, event: NewEvent) -> H::Receipt {
        self.tell_gathered();
        self.host.reply(&self.own.job, event)
    }

    pub(crate) fn end(&self, event: NewEvent) -> H::Receipt {
        self.tell_gathered();
        self.host.end(&self.own.job, event)
    }

    pub(crate) fn leave(&self, end: NewEvent) {
        self.tell_gathered();
        self.host.leave(&self.own.job, end);
    }

    pub(crate) fn report_delta(&self, event: NewEvent) {
        self.host.report(&self.own.job, event);
    }

    pub(crate) fn gathered(&self) -> &Gathered {
        &self.own.gathered
    }

    pub(crate) fn ears(&self) -> &Ears<H> {
        &self.own.ears
    }

    pub(crate) fn next_step(&self) -> u64 {
        self.own.steps.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn answers_itself(&self) -> bool {
        self.own.answers.load(Ordering::Relaxed)
    }
}
