//! Publishes and commands that wait for the server's answer.

use std::collections::VecDeque;

use tidings_protocol::{
    ClientMessage, ClientRequest, ErrorCode, EventClass, NewEvent, Reference, TaskCommanded, TaskId,
};

use super::{Output, State, Wire};
use crate::config::{ClientConfig, WhenFull};
use crate::defaults::{MAX_COMMANDS, MAX_IN_FLIGHT};
use crate::error::{CommandError, ReceiptError, Stopped};
use crate::publish::Acknowledged;

/// The id of a publish or a command. On the wire, it is the `ref`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RequestId(pub(super) u64);

#[derive(Debug)]
struct Publish {
    id: RequestId,
    /// The message text, the same each time it is sent.
    text: String,
    class: EventClass,
    /// True if the publish was sent once, perhaps on an earlier connection. The server
    /// may have it.
    sent: bool,
}

#[derive(Debug)]
struct Command {
    id: RequestId,
    text: String,
    sent: bool,
}

#[derive(Debug)]
pub(super) struct Outbox {
    /// Publishes in the order of the program's calls. The first `in_flight` of them are
    /// sent on this connection.
    publishes: VecDeque<Publish>,
    in_flight: usize,
    bytes: usize,
    commands: VecDeque<Command>,
    max: usize,
    max_bytes: usize,
    when_full: WhenFull,
    /// True if a publish was refused and its program waits for room.
    wanted: bool,
}

impl Outbox {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            publishes: VecDeque::new(),
            in_flight: 0,
            bytes: 0,
            commands: VecDeque::new(),
            max: config.max_pending,
            max_bytes: config.max_pending_bytes,
            when_full: config.when_full,
            wanted: false,
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        // The first publish fits at any size; otherwise it could never be sent.
        self.publishes.is_empty()
            || (self.publishes.len() < self.max && self.bytes + bytes <= self.max_bytes)
    }

    /// Drops old publishes, as far as they are droppable, until there is room.
    fn make_room(&mut self, bytes: usize, wire: &mut Wire) {
        let mut at = self.in_flight;
        while !self.has_room(bytes) && at < self.publishes.len() {
            let publish = &self.publishes[at];
            // The server may have a sent publish. It must be sent again, or its answer
            // stays unknown.
            if publish.class == EventClass::Essential || publish.sent {
                at += 1;
                continue;
            }
            if let Some(publish) = self.publishes.remove(at) {
                self.bytes -= publish.text.len();
                wire.output(Output::Acknowledged(publish.id, Err(ReceiptError::Dropped)));
            }
        }
    }

    fn publish(
        &mut self,
        publish: Publish,
        kept: bool,
        wire: &mut Wire,
    ) -> Result<(), ReceiptError> {
        let bytes = publish.text.len();
        if !kept && !self.has_room(bytes) && self.when_full == WhenFull::DropOldest {
            self.make_room(bytes, wire);
        }
        if !kept && !self.has_room(bytes) {
            self.wanted = true;
            let droppable = publish.class != EventClass::Essential;
            return Err(if self.when_full == WhenFull::DropOldest && droppable {
                ReceiptError::Dropped
            } else {
                ReceiptError::BufferFull
            });
        }
        self.bytes += bytes;
        self.publishes.push_back(publish);
        Ok(())
    }

    /// Sends publishes, as far as the window allows. Refuses messages that are larger
    /// than the server accepts.
    pub(super) fn flush(&mut self, wire: &mut Wire) {
        while self.in_flight < MAX_IN_FLIGHT {
            let Some(publish) = self.publishes.get_mut(self.in_flight) else {
                break;
            };
            if let Err(error) = wire.send(&publish.text) {
                self.refuse(self.in_flight, error.into(), wire);
                continue;
            }
            publish.sent = true;
            self.in_flight += 1;
        }
        self.commands.retain_mut(|command| {
            if command.sent {
                return true;
            }
            if let Err(error) = wire.send(&command.text) {
                wire.output(Output::Commanded(command.id, Err(error.into())));
                return false;
            }
            command.sent = true;
            true
        });
    }

    /// Returns the size of the largest command in flight, in bytes.
    pub(super) fn largest_command(&self) -> Option<usize> {
        let sent = self.commands.iter().filter(|command| command.sent);
        sent.map(|command| command.text.len()).max()
    }

    /// Handles the server's answer to a request.
    pub(super) fn answered(
        &mut self,
        reference: u64,
        answer: Result<Acknowledged, (ErrorCode, String)>,
        wire: &mut Wire,
    ) {
        let id = RequestId(reference);
        // Answers arrive in order, so the search usually ends at the first publish.
        let sent = self.publishes.iter().take(self.in_flight);
        if let Some(at) = sent.into_iter().position(|publish| publish.id == id) {
            if let Some(publish) = self.publishes.remove(at) {
                self.bytes -= publish.text.len();
            }
            self.in_flight -= 1;
            let answer = answer.map_err(|(code, message)| ReceiptError::Refused { code, message });
            wire.output(Output::Acknowledged(id, answer));
            self.tell_of_room(wire);
        } else if let Some(at) = self.commands.iter().position(|command| command.id == id) {
            self.commands.remove(at);
            let answer = answer.map_err(|(code, message)| CommandError::Refused { code, message });
            wire.output(Output::Commanded(id, answer));
        }
    }

    /// Handles the server's answers to a command for a tree.
    pub(super) fn commanded(&mut self, reference: u64, tasks: Vec<TaskCommanded>, wire: &mut Wire) {
        let id = RequestId(reference);
        if let Some(at) = self.commands.iter().position(|command| command.id == id) {
            self.commands.remove(at);
            wire.output(Output::TreeCommanded(id, tasks));
        }
    }

    /// Refuses a publish that is too large.
    fn refuse(&mut self, at: usize, error: ReceiptError, wire: &mut Wire) {
        if let Some(publish) = self.publishes.remove(at) {
            self.bytes -= publish.text.len();
            wire.output(Output::Acknowledged(publish.id, Err(error)));
            self.tell_of_room(wire);
        }
    }

    /// Returns the size of the largest publish in flight, in bytes.
    pub(super) fn largest(&self) -> Option<usize> {
        let sent = self.publishes.iter().take(self.in_flight);
        sent.map(|publish| publish.text.len()).max()
    }

    /// Refuses the largest publish in flight.
    pub(super) fn refuse_largest(&mut self, wire: &mut Wire) {
        let sent = self.publishes.iter().take(self.in_flight);
        let largest = sent
            .enumerate()
            .max_by_key(|(_, publish)| publish.text.len());
        if let Some((at, publish)) = largest {
            let (bytes, max) = (publish.text.len(), publish.text.len() - 1);
            self.refuse(at, ReceiptError::TooLarge { bytes, max }, wire);
            self.in_flight -= 1;
        }
    }

    fn tell_of_room(&mut self, wire: &mut Wire) {
        if self.wanted && self.publishes.len() < self.max && self.bytes < self.max_bytes {
            self.wanted = false;
            wire.output(Output::Room);
        }
    }

    /// Handles the loss of the connection. The next connection sends unanswered
    /// publishes again, in the same order. Commands are not sent again, because they
    /// have no id.
    pub(super) fn lost(&mut self, wire: &mut Wire) {
        self.in_flight = 0;
        self.commands.retain(|command| {
            if command.sent {
                let unconfirmed = Err(CommandError::Unconfirmed);
                wire.output(Output::Commanded(command.id, unconfirmed));
            }
            !command.sent
        });
    }

    pub(super) fn stop(&mut self, stopped: &Stopped, wire: &mut Wire) {
        for publish in self.publishes.drain(..) {
            let error = ReceiptError::Stopped(stopped.clone());
            wire.output(Output::Acknowledged(publish.id, Err(error)));
        }
        for command in self.commands.drain(..) {
            let error = CommandError::Stopped(stopped.clone());
            wire.output(Output::Commanded(command.id, Err(error)));
        }
        (self.in_flight, self.bytes) = (0, 0);
        self.wanted = false;
        wire.output(Output::Room);
    }
}

impl State {
    /// Publishes an event. The event must have an id, so that it can be sent again.
    /// With `kept`, the event is accepted even when the buffer is full.
    ///
    /// # Errors
    /// Returns an error if there is no room, the event is too large, or the client has
    /// stopped.
    pub(crate) fn publish(
        &mut self,
        task_id: TaskId,
        event: NewEvent,
        kept: bool,
    ) -> Result<RequestId, ReceiptError> {
        debug_assert!(event.event_id.is_some());
        if let Some(stopped) = self.stopped().cloned() {
            self.unsent += 1;
            return Err(ReceiptError::Stopped(stopped));
        }
        let id = RequestId(self.wire.reference());
        let class = event.event_type.class();
        let request = ClientRequest::Publish {
            task_id: Some(task_id),
            event,
        };
        let text = message(id, request);
        self.wire.check(&text)?;
        let publish = Publish {
            id,
            text,
            class,
            sent: false,
        };
        self.outbox.publish(publish, kept, &mut self.wire)?;
        if self.is_connected() {
            self.outbox.flush(&mut self.wire);
        }
        Ok(id)
    }

    /// Sends a command or an answer.
    ///
    /// # Errors
    /// Returns an error if too many of them wait, or the client has stopped.
    pub(crate) fn ask(&mut self, request: ClientRequest) -> Result<RequestId, CommandError> {
        if let Some(stopped) = self.stopped() {
            return Err(CommandError::Stopped(stopped.clone()));
        }
        if self.outbox.commands.len() >= MAX_COMMANDS {
            return Err(CommandError::BufferFull);
        }
        let id = RequestId(self.wire.reference());
        let text = message(id, request);
        self.wire.check(&text)?;
        self.outbox.commands.push_back(Command {
            id,
            text,
            sent: false,
        });
        if self.is_connected() {
            self.outbox.flush(&mut self.wire);
        }
        Ok(id)
    }

    /// Returns the number of unanswered publishes and reports.
    pub(crate) fn pending(&self) -> usize {
        self.outbox.publishes.len() + self.jobs.pending()
    }

    /// Returns the number of publishes and reports without an answer, including the ones
    /// that the client gave up when it stopped.
    pub(crate) fn unanswered(&self) -> usize {
        self.pending() + self.unsent
    }
}

fn message(id: RequestId, request: ClientRequest) -> String {
    let reference = Reference::from(id.0);
    ClientMessage::new(request)
        .with_reference(reference)
        .encode()
}
