//! A task that this program does: begun, reported on, and ended whatever happens.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::Value;
use tidings_protocol::{
    AgentStatus, Epoch, EventId, NewEvent, Source, TaskError, TaskId, TaskStarted,
};

use crate::client::Client;
use crate::commands::Commands;
use crate::error::PublishError;
use crate::publish::{Published, Receipt};

/// How a [`Task`] begins.
#[derive(Debug)]
#[must_use = "a task begins when it is started"]
pub struct TaskBuilder {
    client: Client,
    task_id: TaskId,
    started: TaskStarted,
    source: Option<Source>,
}

impl TaskBuilder {
    pub(crate) fn new(client: Client, task_id: TaskId) -> Self {
        Self {
            client,
            task_id,
            started: TaskStarted::default(),
            source: None,
        }
    }

    /// What to call the task.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.started.name = Some(name.into());
        self
    }

    /// How much there is to do, in any unit; see [`Task::progress_of`].
    pub fn total(mut self, total: f64) -> Self {
        self.started.total = Some(total);
        self
    }

    /// The task that this one is a part of.
    pub fn parent(mut self, parent: TaskId) -> Self {
        self.started.parent_task_id = Some(parent);
        self
    }

    /// Silence for so long makes the task stall, for as long again fail: 100 ms
    /// to 7 days.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.started.lease_ms = Some(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Who does it: goes with every event.
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Publishes `task_started` and waits until the server has it.
    ///
    /// # Errors
    /// The server refused it: `invalid_transition` says that the task is running
    /// already. Or the client has stopped.
    ///
    /// # Cancel safety
    /// A dropped future may have started the task.
    pub async fn start(self) -> Result<Task, PublishError> {
        let event = NewEvent::task_started_with(&self.started);
        let event = with_source(event, self.source.as_ref());
        let published = self.client.publish(&self.task_id, event).await?;
        let task = self.begin();
        task.reports().epoch = Some(published.epoch);
        Ok(task)
    }

    /// Publishes `task_started` without waiting: for work that begins whether or
    /// not the server is there. A refusal comes with a later call.
    ///
    /// # Errors
    /// There is no room, or the client has stopped.
    pub fn start_now(self) -> Result<Task, PublishError> {
        let event = NewEvent::task_started_with(&self.started);
        let task = self.begin();
        task.send(event)?;
        Ok(task)
    }

    fn begin(self) -> Task {
        let event = NewEvent::task_started_with(&self.started);
        Task {
            beginning: Beginning {
                event: with_source(event, self.source.as_ref()),
                run: uuid::Uuid::new_v4().simple().to_string(),
            },
            client: self.client,
            task_id: self.task_id,
            source: self.source,
            reports: Mutex::default(),
            ended: false,
        }
    }
}

/// A running task, and the duty to say how it ended.
///
/// ```no_run
/// # async fn example(client: tidings_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let task = client.task("render-7".parse()?).name("Render").start().await?;
/// task.progress(40.0, "lighting").await?;
/// task.complete(None).await?;
/// # Ok(())
/// # }
/// ```
///
/// Reports are sent in order and without waiting for the server's answers:
/// work is not held up by a server that is away, until the client's buffer is
/// full. If the server refuses one, the next call says so.
///
/// Dropped without [`complete`](Self::complete), [`fail`](Self::fail) or
/// [`cancel`](Self::cancel), by an early return or a panic, the task is
/// reported as failed. The report is sent by the client's own task, so the
/// runtime must live a moment longer: [`Client::close`] waits for it.
///
/// Should the server lose its memory, the task is started anew there.
#[derive(Debug)]
pub struct Task {
    client: Client,
    task_id: TaskId,
    beginning: Beginning,
    source: Option<Source>,
    reports: Mutex<Reports>,
    ended: bool,
}

/// How a task began: said again to a server that has lost its memory.
#[derive(Debug, Clone)]
pub(crate) struct Beginning {
    event: NewEvent,
    run: String,
}

impl Beginning {
    /// The start in another numbering; whoever notices first says so, and the id
    /// keeps it from being said twice.
    pub(crate) fn again(&self, epoch: &Epoch) -> NewEvent {
        let event = self.event.clone();
        match EventId::new(format!("{}/{epoch}", self.run)) {
            Ok(id) => event.with_event_id(id),
            // An epoch is shorter than that, but this is no place to fail.
            Err(_) => event,
        }
    }
}

#[derive(Debug, Default)]
struct Reports {
    /// Answers still due; the client bounds how many.
    receipts: VecDeque<Receipt>,
    epoch: Option<Epoch>,
}

impl Task {
    /// Its id.
    pub fn id(&self) -> &TaskId {
        &self.task_id
    }

    /// The client that it reports through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What others ask of this task. Whoever listens also notices first when the
    /// server has lost its memory, and starts the task anew there.
    pub fn commands(&self) -> Commands {
        let commands = self.client.commands(&self.task_id);
        commands.beginning_with(self.beginning.clone())
    }

    /// How far it is in per cent, 0–100.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn progress<'a>(
        &self,
        percent: f64,
        message: impl Into<Option<&'a str>>,
    ) -> Result<(), PublishError> {
        self.publish(NewEvent::progress(percent, message)).await
    }

    /// How far it is, as so much of so much.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn progress_of<'a>(
        &self,
        current: f64,
        total: f64,
        message: impl Into<Option<&'a str>>,
    ) -> Result<(), PublishError> {
        self.publish(NewEvent::progress_of(current, total, message))
            .await
    }

    /// A line, or lines, of a log.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn log(&self, message: impl AsRef<str>) -> Result<(), PublishError> {
        self.publish(NewEvent::log(message)).await
    }

    /// What one of its agents is doing.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn agent<'a>(
        &self,
        agent_id: impl AsRef<str>,
        status: AgentStatus,
        message: impl Into<Option<&'a str>>,
    ) -> Result<(), PublishError> {
        self.publish(NewEvent::agent_status(agent_id, status, message))
            .await
    }

    /// A tool is called.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn tool_started(
        &self,
        tool_call_id: impl AsRef<str>,
        tool: impl AsRef<str>,
        input: impl Into<Option<Value>>,
    ) -> Result<(), PublishError> {
        self.publish(NewEvent::tool_call_started(tool_call_id, tool, input))
            .await
    }

    /// A tool has answered.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn tool_completed(
        &self,
        tool_call_id: impl AsRef<str>,
        output: impl Into<Option<Value>>,
    ) -> Result<(), PublishError> {
        self.publish(NewEvent::tool_call_completed(tool_call_id, output, None))
            .await
    }

    /// A tool has failed.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn tool_failed(
        &self,
        tool_call_id: impl AsRef<str>,
        error: impl Into<TaskError>,
    ) -> Result<(), PublishError> {
        self.publish(NewEvent::tool_call_failed(tool_call_id, error))
            .await
    }

    /// Any event. Waits for room in the client's buffer, if that is its policy,
    /// and not for the answer.
    ///
    /// # Errors
    /// There is no room, the client has stopped, or the server refused this or
    /// an earlier report.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it has published nothing.
    pub async fn publish(&self, event: NewEvent) -> Result<(), PublishError> {
        self.review()?;
        let event = with_source(event, self.source.as_ref());
        let receipt = self.client.queue(&self.task_id, event).await?;
        self.reports().receipts.push_back(receipt);
        Ok(())
    }

    /// Any event, without waiting for anything.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn send(&self, event: NewEvent) -> Result<(), PublishError> {
        self.review()?;
        let event = with_source(event, self.source.as_ref());
        let receipt = self.client.send(&self.task_id, event)?;
        self.reports().receipts.push_back(receipt);
        Ok(())
    }

    fn reports(&self) -> std::sync::MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the answers that have come; the first refusal is an error.
    fn review(&self) -> Result<(), PublishError> {
        loop {
            let mut reports = self.reports();
            let Some(receipt) = reports.receipts.front_mut() else {
                return Ok(());
            };
            let Some(answer) = receipt.now_or_never() else {
                return Ok(());
            };
            reports.receipts.pop_front();
            drop(reports);
            self.answered(answer)?;
        }
    }

    fn answered(&self, answer: Result<Published, PublishError>) -> Result<(), PublishError> {
        match answer {
            Ok(published) => {
                let mut reports = self.reports();
                let known = reports.epoch.replace(published.epoch.clone());
                drop(reports);
                if known.is_some_and(|known| known != published.epoch) {
                    // The log has started over: the server knows no start of this
                    // task any more.
                    let event = self.beginning.again(&published.epoch);
                    drop(self.client.send(&self.task_id, event)?);
                }
                Ok(())
            }
            // Given up for newer reports, as the policy says.
            Err(PublishError::Dropped) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends it well. Waits until the server has this and every report before it.
    ///
    /// # Errors
    /// The server refused this or an earlier report, or the client has stopped.
    ///
    /// # Cancel safety
    /// A dropped future may have ended the task.
    pub async fn complete(self, result: impl Into<Option<Value>>) -> Result<(), PublishError> {
        self.end(NewEvent::task_completed(result)).await
    }

    /// Ends it badly. Waits as [`complete`](Self::complete) does.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn fail(self, error: impl Into<TaskError>) -> Result<(), PublishError> {
        self.end(NewEvent::task_failed(error)).await
    }

    /// Ends it early, on purpose. Waits as [`complete`](Self::complete) does.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn cancel<'a>(self, reason: impl Into<Option<&'a str>>) -> Result<(), PublishError> {
        self.end(NewEvent::task_cancelled(reason)).await
    }

    /// Ends it with this event, without waiting for anything: the client sends it
    /// when it can.
    ///
    /// # Errors
    /// There is no room, or the client has stopped. The task then counts as dropped.
    pub fn end_now(mut self, event: NewEvent) -> Result<Receipt, PublishError> {
        let event = with_source(event, self.source.as_ref());
        let receipt = self.client.send(&self.task_id, event)?;
        self.ended = true;
        Ok(receipt)
    }

    async fn end(mut self, event: NewEvent) -> Result<(), PublishError> {
        // The end is published whatever became of the reports before it.
        let reviewed = self.review();
        let event = with_source(event, self.source.as_ref());
        let receipt = self.client.queue(&self.task_id, event).await?;
        self.ended = true;
        let mut outcome = reviewed;
        let receipts = std::mem::take(&mut self.reports().receipts);
        for receipt in receipts {
            let answer = self.answered(receipt.await);
            outcome = outcome.and(answer);
        }
        let end = receipt.await.map(drop);
        outcome.and(end)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let error = if std::thread::panicking() {
            TaskError::new("the program that did this panicked").with_code("panicked")
        } else {
            TaskError::new("the program that did this gave up without a word").with_code("dropped")
        };
        let event = with_source(NewEvent::task_failed(error), self.source.as_ref());
        if let Err(error) = self.client.send(&self.task_id, event) {
            tracing::warn!(task = %self.task_id, %error, "the end of a task could not be reported");
        }
    }
}

fn with_source(event: NewEvent, source: Option<&Source>) -> NewEvent {
    match source {
        Some(source) if event.source.is_none() => event.with_source(source.clone()),
        _ => event,
    }
}
