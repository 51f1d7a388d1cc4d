//! The worker's side of commands: the requests to a task, and its answers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt as _;
use serde_json::Value;
use tidings_protocol::{
    CommandRequested, Data, EventId, EventType, ItemId, Json, NewEvent, PendingCommand, TaskId,
    TaskSnapshot,
};

use crate::{Heard, Host, Reporter};

/// The number of remembered commands. A snapshot lists fewer, so each listed command
/// that was seen before is recognised.
const MAX_SEEN: usize = 4_096;

/// The commands given to a task, as a stream. Each command arrives once.
///
/// The stream begins with earlier commands that have no answer. These include commands
/// that an earlier worker has accepted but never finished.
#[must_use = "read the commands, because the task must now answer `cancel`"]
#[derive(Debug)]
pub struct Commands<H: Host> {
    desk: Desk<H>,
    updates: H::Updates,
    queue: Queue,
}

/// The place that receives answers.
#[derive(Debug, Clone)]
enum Desk<H: Host> {
    /// A task that this program performs. Answers are reports of the task.
    Own(Reporter<H>),
    Other(H, TaskId),
}

impl<H: Host> Desk<H> {
    fn answer(&self, event: NewEvent) -> H::Receipt {
        match self {
            Self::Own(reporter) => reporter.reply(event),
            Self::Other(host, task_id) => host.answer(task_id, event),
        }
    }
}

impl<H: Host> Commands<H> {
    /// Returns the commands of a task that another program performs.
    pub fn of_other(host: H, task_id: TaskId) -> Self {
        let updates = host.follow(&task_id);
        Self::new(Desk::Other(host, task_id), updates)
    }

    pub(crate) fn of_task(reporter: Reporter<H>) -> Self {
        let updates = reporter.host().follow(reporter.id());
        Self::new(Desk::Own(reporter), updates)
    }

    fn new(desk: Desk<H>, updates: H::Updates) -> Self {
        Self {
            desk,
            updates,
            queue: Queue::default(),
        }
    }

    /// Waits for the next command. Returns `None` after the bus has been shut down.
    ///
    /// # Errors
    /// Returns an error if the program may not follow the task, or the client has
    /// stopped.
    ///
    /// # Cancel safety
    /// Dropping the future loses no command.
    pub async fn recv(&mut self) -> Result<Option<Command<H>>, H::Lost> {
        self.next().await.transpose()
    }
}

impl<H: Host> Stream for Commands<H> {
    type Item = Result<Command<H>, H::Lost>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(request) = self.queue.ready.pop_front() {
                let desk = self.desk.clone();
                return Poll::Ready(Some(Ok(Command { desk, request })));
            }
            match std::task::ready!(self.updates.poll_next_unpin(cx)) {
                Some(Ok(heard)) => self.queue.note(&heard),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// The requests that have arrived and were not taken yet. The queue is a pure state
/// machine, without tasks or clocks.
#[derive(Debug, Default)]
struct Queue {
    ready: VecDeque<Request>,
    seen: VecDeque<ItemId>,
}

impl Queue {
    fn note(&mut self, heard: &Heard) {
        match heard {
            Heard::State(state) => self.take_pending(state),
            Heard::Event(EventType::CommandRequested, data) => {
                // The log has checked that the data fits the type.
                if let Ok(request) = data.deserialize::<CommandRequested>() {
                    self.add(request.into());
                }
            }
            // Another program has answered the command before this program took it.
            Heard::Event(EventType::CommandRejected | EventType::CommandCompleted, data) => {
                let id = field(data, "command_id");
                self.ready
                    .retain(|request| Some(request.id.as_str()) != id.as_deref());
            }
            Heard::Event(..) => {}
        }
    }

    fn take_pending(&mut self, state: &TaskSnapshot) {
        for pending in &state.pending_commands {
            self.add(pending.clone().into());
        }
        self.ready.retain(|request| {
            let mut pending = state.pending_commands.iter();
            pending.any(|known| known.command_id == request.id)
        });
    }

    fn add(&mut self, request: Request) {
        if self.seen.contains(&request.id) {
            return;
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(request.id.clone());
        self.ready.push_back(request);
    }
}

pub(crate) fn field(data: &Data, name: &str) -> Option<String> {
    let value = data.get().remove(name)?;
    value.as_str().map(str::to_owned)
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

/// A command that needs an answer. A worker may first [accept](Self::accept) it, and
/// then [completes](Self::complete) or [rejects](Self::reject) it.
///
/// An answer always has room. Its event id is derived from the command's id, so the log
/// has each answer once, even if two workers answer. A command that is dropped without
/// an answer stays in the task's `pending_commands` for the next worker. The receipt of
/// an answer may be dropped.
#[derive(Debug)]
#[must_use = "a command that is dropped stays unanswered, for the task's next worker"]
pub struct Command<H: Host> {
    desk: Desk<H>,
    request: Request,
}

impl<H: Host> Command<H> {
    /// Returns the command's id.
    pub fn id(&self) -> &ItemId {
        &self.request.id
    }

    /// Returns the command's name.
    pub fn name(&self) -> &str {
        &self.request.command
    }

    /// Returns the command's arguments.
    pub fn args(&self) -> Option<&Json> {
        self.request.args.as_ref()
    }

    /// Returns the name of the requester.
    pub fn by(&self) -> &str {
        &self.request.by
    }

    /// Returns true if the command was already accepted, perhaps by an earlier worker.
    pub fn is_accepted(&self) -> bool {
        self.request.accepted
    }

    /// Answers that the work on the command has begun.
    pub fn accept(&mut self) -> H::Receipt {
        self.request.accepted = true;
        self.answer(NewEvent::command_accepted(&self.request.id), "accepted")
    }

    /// Answers that the command is complete.
    pub fn complete(self, result: impl Into<Option<Value>>) -> H::Receipt {
        let event = NewEvent::command_completed(&self.request.id, result);
        self.answer(event, "answer")
    }

    /// Answers that the command is refused, with the reason.
    pub fn reject(self, reason: impl AsRef<str>) -> H::Receipt {
        let event = NewEvent::command_rejected(&self.request.id, reason);
        self.answer(event, "answer")
    }

    fn answer(&self, event: NewEvent, what: &str) -> H::Receipt {
        // If the command's id is too long, the answer has no such id. Two workers may
        // then both answer.
        let event = match EventId::new(format!("{}/{what}", self.request.id)) {
            Ok(id) => event.with_event_id(id),
            Err(_) => event,
        };
        self.desk.answer(event)
    }
}
