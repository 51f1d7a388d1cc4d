//! The agent's side of commands: what a task is asked to do, and its answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt as _;
use serde_json::Value;
use tidings_protocol::{
    CommandRequested, EventId, EventType, ItemId, Json, NewEvent, PendingCommand, TaskId,
    TaskSnapshot,
};

use crate::client::Client;
use crate::error::{ReceiptError, WatchError};
use crate::publish::Receipt;
use crate::task::Reporter;
use crate::update::Update;
use crate::watch::Watch;

/// Commands that are remembered as having been yielded. More than a snapshot
/// lists, so one that is listed again is known.
const MAX_SEEN: usize = 4_096;

/// The commands given to a task: a stream, each of them once.
///
/// Those that were given before and not answered come first, also ones that an
/// earlier agent had accepted and never finished.
#[derive(Debug)]
pub struct Commands {
    client: Client,
    task_id: TaskId,
    watch: Watch,
    reporter: Option<Reporter>,
    ready: VecDeque<Command>,
    seen: VecDeque<ItemId>,
}

impl Commands {
    pub(crate) fn new(client: Client, task_id: TaskId) -> Self {
        let watch = client.watch(&task_id);
        Self {
            client,
            task_id,
            watch,
            reporter: None,
            ready: VecDeque::new(),
            seen: VecDeque::new(),
        }
    }

    /// The commands of a task that this program does: answers are reports of it.
    pub(crate) fn of_task(reporter: Reporter) -> Self {
        let commands = Self::new(reporter.client().clone(), reporter.id().clone());
        Self {
            reporter: Some(reporter),
            ..commands
        }
    }

    /// The next command; none after the watch beneath has ended.
    ///
    /// # Errors
    /// The server refused the subscription, or the client has stopped.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn recv(&mut self) -> Result<Option<Command>, WatchError> {
        self.next().await.transpose()
    }

    fn note(&mut self, update: &Update) {
        if let Some(snapshot) = update.snapshot() {
            self.take_pending(snapshot);
        }
        let Update::Event(event) = update else {
            return;
        };
        match event.event_type {
            EventType::CommandRequested => {
                // The server has checked that the data fits the type.
                if let Ok(request) = event.data.deserialize::<CommandRequested>() {
                    self.add(Request::from(request));
                }
            }
            // Somebody else has answered before it was even taken.
            EventType::CommandRejected | EventType::CommandCompleted => {
                if let Some(id) = event.data.get().get("command_id").and_then(Value::as_str) {
                    self.ready
                        .retain(|command| command.request.id.as_str() != id);
                }
            }
            _ => {}
        }
    }

    fn take_pending(&mut self, snapshot: &TaskSnapshot) {
        for pending in &snapshot.pending_commands {
            self.add(Request::from(pending.clone()));
        }
    }

    fn add(&mut self, request: Request) {
        if self.seen.contains(&request.id) {
            return;
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(request.id.clone());
        self.ready.push_back(Command {
            client: self.client.clone(),
            task_id: self.task_id.clone(),
            reporter: self.reporter.clone(),
            request,
        });
    }
}

impl Stream for Commands {
    type Item = Result<Command, WatchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(command) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(command)));
            }
            match std::task::ready!(self.watch.poll_next_unpin(cx)) {
                Some(Ok(update)) => self.note(&update),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Request {
    id: ItemId,
    command: String,
    args: Option<Json>,
    by: String,
    accepted: bool,
}

impl From<CommandRequested> for Request {
    fn from(request: CommandRequested) -> Self {
        Self {
            id: request.command_id,
            command: request.command,
            args: request.args,
            by: request.by,
            accepted: false,
        }
    }
}

impl From<PendingCommand> for Request {
    fn from(pending: PendingCommand) -> Self {
        Self {
            id: pending.command_id,
            command: pending.command,
            args: pending.args,
            by: pending.by,
            accepted: pending.accepted,
        }
    }
}

/// A command, to be answered: perhaps [accepted](Self::accept), then
/// [completed](Self::complete) or [rejected](Self::reject).
///
/// The answers have ids made of the command's own, so that they are in the log
/// once, however often the connection breaks, and even if two agents answer.
/// One that is dropped without an answer stays in the task's
/// `pending_commands`, for its next agent.
#[derive(Debug)]
pub struct Command {
    client: Client,
    task_id: TaskId,
    reporter: Option<Reporter>,
    request: Request,
}

impl Command {
    /// Its id.
    pub fn id(&self) -> &ItemId {
        &self.request.id
    }

    /// What to do.
    pub fn name(&self) -> &str {
        &self.request.command
    }

    /// With what.
    pub fn args(&self) -> Option<&Json> {
        self.request.args.as_ref()
    }

    /// Who asks.
    pub fn by(&self) -> &str {
        &self.request.by
    }

    /// It was accepted before, perhaps by an earlier agent.
    pub fn is_accepted(&self) -> bool {
        self.request.accepted
    }

    /// Says that it will be done. The receipt may be waited for, or dropped.
    ///
    /// # Errors
    /// The task has ended in this program, or the client has stopped. Room for the
    /// answer is always kept.
    pub fn accept(&mut self) -> Result<Receipt, ReceiptError> {
        let event = NewEvent::command_accepted(&self.request.id);
        let receipt = self.answer(event, "accepted")?;
        self.request.accepted = true;
        Ok(receipt)
    }

    /// Says that it is done.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn complete(self, result: impl Into<Option<Value>>) -> Result<Receipt, ReceiptError> {
        self.answer(
            NewEvent::command_completed(&self.request.id, result),
            "answer",
        )
    }

    /// Says that it will not be done, and why.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn reject(self, reason: impl AsRef<str>) -> Result<Receipt, ReceiptError> {
        self.answer(
            NewEvent::command_rejected(&self.request.id, reason),
            "answer",
        )
    }

    fn answer(&self, event: NewEvent, what: &str) -> Result<Receipt, ReceiptError> {
        let id = EventId::new(format!("{}/{what}", self.request.id));
        let event = match id {
            Ok(id) => event.with_event_id(id),
            // Too long a command's id: the client's own then serves for sending
            // again, if not against a second agent.
            Err(_) => event,
        };
        match &self.reporter {
            Some(reporter) => reporter.reply(event),
            None => self.client.send_as(&self.task_id, event, true),
        }
    }
}
