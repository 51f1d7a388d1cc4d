//! What a task is asked to do, and its answers.

use std::collections::{HashSet, VecDeque};

use serde_json::Value;
use tidings_protocol::{
    CommandRequested, EventId, EventType, ItemId, Json, NewEvent, PendingCommand, TaskSnapshot,
};

use super::Reporter;
use crate::deliver::subscription::{Delivery, Filter, Subscription};

/// The commands given to a task, each of them once; those that wait come first.
#[derive(Debug)]
pub struct Commands {
    reporter: Reporter,
    deliveries: Subscription,
    ready: VecDeque<Request>,
    seen: HashSet<ItemId>,
}

#[derive(Debug, Clone)]
struct Request {
    id: ItemId,
    command: String,
    args: Option<Json>,
    by: String,
    accepted: bool,
}

impl Reporter {
    /// Returns the commands that the task is given. The program then answers `cancel`
    /// itself, too.
    pub fn commands(&self) -> Commands {
        self.answer_itself();
        Commands::new(self.clone())
    }
}

impl Commands {
    pub(super) fn new(reporter: Reporter) -> Self {
        // Subscribed first: a command that comes in between is in both, and given once.
        let deliveries = reporter
            .bus()
            .subscribe(Filter::task(reporter.id().clone()));
        let state = reporter.bus().snapshot(reporter.id());
        let mut commands = Self {
            reporter,
            deliveries,
            ready: VecDeque::new(),
            seen: HashSet::new(),
        };
        if let Some(state) = state {
            commands.take_pending(&state);
        }
        commands
    }

    /// Waits for the next command; none after the bus has been shut down.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn recv(&mut self) -> Option<Command> {
        loop {
            if let Some(request) = self.ready.pop_front() {
                return Some(Command {
                    reporter: self.reporter.clone(),
                    request,
                });
            }
            match self.deliveries.recv().await? {
                Delivery::Event(event) if *event.event_type() == EventType::CommandRequested => {
                    // The bus has checked that the data fits the type.
                    if let Ok(request) = event.data().deserialize::<CommandRequested>() {
                        self.add(Request {
                            id: request.command_id,
                            command: request.command,
                            args: request.args,
                            by: request.by,
                            accepted: false,
                        });
                    }
                }
                Delivery::Gap {
                    snapshot: Some(state),
                    ..
                } => self.take_pending(&state),
                _ => {}
            }
        }
    }

    fn take_pending(&mut self, state: &TaskSnapshot) {
        for pending in state.pending_commands.iter().cloned() {
            let PendingCommand {
                command_id,
                command,
                args,
                by,
                accepted,
                ..
            } = pending;
            self.add(Request {
                id: command_id,
                command,
                args,
                by,
                accepted,
            });
        }
        // Others are answered, and are not given again.
        let pending = |id: &ItemId| {
            state
                .pending_commands
                .iter()
                .any(|known| known.command_id == *id)
        };
        self.seen.retain(pending);
    }

    fn add(&mut self, request: Request) {
        if self.seen.insert(request.id.clone()) {
            self.ready.push_back(request);
        }
    }
}

/// A command, to be answered: perhaps [accepted](Self::accept), then
/// [completed](Self::complete) or [rejected](Self::reject).
#[derive(Debug)]
#[must_use = "a command that is dropped stays unanswered, for the task's next worker"]
pub struct Command {
    reporter: Reporter,
    request: Request,
}

impl Command {
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
    pub fn accept(&mut self) {
        self.request.accepted = true;
        self.answer(NewEvent::command_accepted(&self.request.id), "accepted");
    }

    /// Says that it is done.
    pub fn complete(self, result: impl Into<Option<Value>>) {
        self.answer(
            NewEvent::command_completed(&self.request.id, result),
            "answer",
        );
    }

    /// Says that it will not be done, and why.
    pub fn reject(self, reason: impl AsRef<str>) {
        self.answer(
            NewEvent::command_rejected(&self.request.id, reason),
            "answer",
        );
    }

    fn answer(&self, event: NewEvent, what: &str) {
        // One id for each answer: even two workers answer once.
        let event = match EventId::new(format!("{}/{what}", self.request.id)) {
            Ok(id) => event.with_event_id(id),
            Err(_) => event,
        };
        drop(self.reporter.reply(event));
    }
}
