//! The worker's side of commands: what a task is asked to do, and its answers.

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

/// Commands that are remembered as having been given. More than a snapshot
/// lists, so one that is listed again is known.
const MAX_SEEN: usize = 4_096;

/// The commands given to a task: a stream, each of them once.
///
/// Those that were given before and not answered come first, also ones that an
/// earlier worker had accepted and never finished.
#[derive(Debug)]
pub struct Commands<H: Host> {
    desk: Desk<H>,
    updates: H::Updates,
    queue: Queue,
}

/// Where answers go.
#[derive(Debug, Clone)]
enum Desk<H: Host> {
    /// A task that this program does: answers are reports of it.
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
    /// Returns the commands of a task that this program does not do.
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

    /// Waits for the next command; none after the bus has been shut down.
    ///
    /// # Errors
    /// The task may not be followed, or the client has stopped.
    ///
    /// # Cancel safety
    /// Nothing is lost.
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

/// The requests that were heard of and not taken yet. Pure: no task, no clock.
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
            // Somebody else has answered before it was even taken.
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

/// A command, to be answered: perhaps [accepted](Self::accept), then
/// [completed](Self::complete) or [rejected](Self::reject).
///
/// Room for an answer is always kept, and the answers have ids made of the command's
/// own, so they are in the log once, even if two workers answer. A command that is
/// dropped without an answer stays in the task's `pending_commands`, for its next
/// worker. The receipt of an answer may be waited for, or dropped.
#[derive(Debug)]
#[must_use = "a command that is dropped stays unanswered, for the task's next worker"]
pub struct Command<H: Host> {
    desk: Desk<H>,
    request: Request,
}

impl<H: Host> Command<H> {
    /// Returns its id.
    pub fn id(&self) -> &ItemId {
        &self.request.id
    }

    /// Returns what to do.
    pub fn name(&self) -> &str {
        &self.request.command
    }

    /// Returns with what to do it.
    pub fn args(&self) -> Option<&Json> {
        self.request.args.as_ref()
    }

    /// Returns who asks.
    pub fn by(&self) -> &str {
        &self.request.by
    }

    /// Returns whether it was accepted before, perhaps by an earlier worker.
    pub fn is_accepted(&self) -> bool {
        self.request.accepted
    }

    /// Says that it will be done.
    pub fn accept(&mut self) -> H::Receipt {
        self.request.accepted = true;
        self.answer(NewEvent::command_accepted(&self.request.id), "accepted")
    }

    /// Says that it is done.
    pub fn complete(self, result: impl Into<Option<Value>>) -> H::Receipt {
        let event = NewEvent::command_completed(&self.request.id, result);
        self.answer(event, "answer")
    }

    /// Says that it will not be done, and why.
    pub fn reject(self, reason: impl AsRef<str>) -> H::Receipt {
        let event = NewEvent::command_rejected(&self.request.id, reason);
        self.answer(event, "answer")
    }

    fn answer(&self, event: NewEvent, what: &str) -> H::Receipt {
        // A command's id that is too long has no such answer: then two workers may
        // both answer.
        let event = match EventId::new(format!("{}/{what}", self.request.id)) {
            Ok(id) => event.with_event_id(id),
            Err(_) => event,
        };
        self.desk.answer(event)
    }
}
