//! Reports about a running task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;
use tidings_protocol::{AgentStatus, NewEvent, TaskError, TaskId};

use crate::cancel::Ears;
use crate::gather::Gathered;
use crate::{BoxError, Commands, Host, Losses};

/// A handle that reports on a task. Clones are cheap.
///
/// Its reports never wait, fail or panic: see [`Task`](crate::Task). Reports after the
/// task's end are ignored.
#[derive(Debug, Clone)]
pub struct Reporter<H: Host> {
    host: H,
    own: Arc<Own<H>>,
}

/// The part that all handles of one task share.
#[derive(Debug)]
pub(crate) struct Own<H: Host> {
    task_id: TaskId,
    job: H::Job,
    steps: AtomicU64,
    ears: Ears<H>,
    /// True if the program takes the task's commands and answers `cancel`.
    answers: AtomicBool,
    /// Output that is not reported yet.
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

    /// Returns the bus or the client that sends the task's reports.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Reports the progress of the task, in per cent from 0 to 100.
    pub fn progress<'a>(&self, percent: f64, message: impl Into<Option<&'a str>>) {
        self.publish(NewEvent::progress(percent, message));
    }

    /// Reports the progress of the task as the current amount and the total, in any
    /// unit.
    pub fn progress_of<'a>(&self, current: f64, total: f64, message: impl Into<Option<&'a str>>) {
        self.publish(NewEvent::progress_of(current, total, message));
    }

    /// Reports one or more lines of a log. A text that is too large for an event is
    /// cut.
    pub fn log(&self, message: impl AsRef<str>) {
        self.publish(NewEvent::log(message));
    }

    /// Reports the present work of one of the task's agents.
    pub fn agent<'a>(
        &self,
        agent_id: impl AsRef<str>,
        status: AgentStatus,
        message: impl Into<Option<&'a str>>,
    ) {
        self.publish(NewEvent::agent_status(agent_id, status, message));
    }

    /// Reports the call of a tool.
    pub fn tool_started(
        &self,
        tool_call_id: impl AsRef<str>,
        tool: impl AsRef<str>,
        input: impl Into<Option<Value>>,
    ) {
        self.publish(NewEvent::tool_call_started(tool_call_id, tool, input));
    }

    /// Reports the output of a tool.
    pub fn tool_completed(&self, tool_call_id: impl AsRef<str>, output: impl Into<Option<Value>>) {
        self.publish(NewEvent::tool_call_completed(tool_call_id, output, None));
    }

    /// Reports the failure of a tool.
    pub fn tool_failed(&self, tool_call_id: impl AsRef<str>, error: impl Into<BoxError>) {
        let error = TaskError::of(error);
        self.publish(NewEvent::tool_call_failed(tool_call_id, error));
    }

    /// Reports any event.
    pub fn publish(&self, event: NewEvent) {
        self.tell_gathered();
        self.host.report(&self.own.job, event);
    }

    /// Reports any event, and returns the receipt of its answer. Dropping the receipt
    /// does not take the event back.
    pub fn try_publish(&self, event: NewEvent) -> H::Receipt {
        self.tell_gathered();
        self.host.try_report(&self.own.job, event)
    }

    /// Returns the commands given to the task. The program must then answer `cancel` as
    /// well.
    pub fn commands(&self) -> Commands<H> {
        self.own.answers.store(true, Ordering::Relaxed);
        self.ears().mind();
        Commands::of_task(self.clone())
    }

    /// Returns the reports that were lost so far.
    pub fn losses(&self) -> Losses<H::Error> {
        self.host.losses(&self.own.job)
    }

    /// Reports an event that must not be lost. It always has room.
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
