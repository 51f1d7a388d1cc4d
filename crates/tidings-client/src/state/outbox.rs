//! What is published and commanded, until the server has answered.

use std::collections::VecDeque;

use tidings_protocol::{
    ClientMessage, ClientRequest, ErrorCode, EventClass, NewEvent, Reference, TaskId,
};

use super::{Output, State, Wire};
use crate::config::{ClientConfig, WhenFull};
use crate::defaults::{MAX_COMMANDS, MAX_IN_FLIGHT};
use crate::error::{CommandError, ReceiptError, Stopped};
use crate::publish::Acknowledged;

/// A publish or a command of this client's; on the wire its `ref`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RequestId(pub(super) u64);

#[derive(Debug)]
struct Publish {
    id: RequestId,
    /// The message, as it is sent and sent again.
    text: String,
    class: EventClass,
    /// It was sent once, perhaps on an earlier connection: the server may have it.
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
    /// In the order in which they were asked for; the first `in_flight` of them
    /// are sent on this connection.
    publishes: VecDeque<Publish>,
    in_flight: usize,
    bytes: usize,
    commands: VecDeque<Command>,
    max: usize,
    max_bytes: usize,
    when_full: WhenFull,
    /// Somebody was turned away and wants to know when there is room.
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
        // The first one fits whatever its size, or it never would.
        self.publishes.is_empty()
            || (self.publishes.len() < self.max && self.bytes + bytes <= self.max_bytes)
    }

    /// Drops old publishes that may be dropped until there is room.
    fn make_room(&mut self, bytes: usize, wire: &mut Wire) {
        let mut at = self.in_flight;
        while !self.has_room(bytes) && at < self.publishes.len() {
            let publish = &self.publishes[at];
            // What the server may have must be sent again, or its answer is never known.
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

    /// Sends what may be sent. What is larger than the server accepts is refused.
    pub(super) fn flush(&mut self, max: usize, wire: &mut Wire) {
        while self.in_flight < MAX_IN_FLIGHT {
            let Some(publish) = self.publishes.get_mut(self.in_flight) else {
                break;
            };
            if publish.text.len() > max {
                self.refuse(self.in_flight, max, wire);
                continue;
            }
            publish.sent = true;
            wire.output(Output::Send(publish.text.clone()));
            self.in_flight += 1;
        }
        self.commands.retain_mut(|command| {
            let bytes = command.text.len();
            if !command.sent && bytes > max {
                let error = CommandError::TooLarge { bytes, max };
                wire.output(Output::Commanded(command.id, Err(error)));
                return false;
            }
            if !std::mem::replace(&mut command.sent, true) {
                wire.output(Output::Send(command.text.clone()));
            }
            true
        });
    }

    /// Whether commands are on their way.
    pub(super) fn has_sent_commands(&self) -> bool {
        self.commands.iter().any(|command| command.sent)
    }

    /// The server has answered a request.
    pub(super) fn answered(
        &mut self,
        reference: u64,
        answer: Result<Acknowledged, (ErrorCode, String)>,
        wire: &mut Wire,
    ) {
        let id = RequestId(reference);
        // Answers come in order, so it is the first as a rule.
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

    /// Refuses a publish that is too large.
    fn refuse(&mut self, at: usize, max: usize, wire: &mut Wire) {
        if let Some(publish) = self.publishes.remove(at) {
            let bytes = publish.text.len();
            self.bytes -= bytes;
            let error = ReceiptError::TooLarge { bytes, max };
            wire.output(Output::Acknowledged(publish.id, Err(error)));
            self.tell_of_room(wire);
        }
    }

    /// Bytes of the largest publish that is on its way.
    pub(super) fn largest(&self) -> Option<usize> {
        let sent = self.publishes.iter().take(self.in_flight);
        sent.map(|publish| publish.text.len()).max()
    }

    /// Refuses the largest publish that is on its way.
    pub(super) fn refuse_largest(&mut self, wire: &mut Wire) {
        let sent = self.publishes.iter().take(self.in_flight);
        let largest = sent
            .enumerate()
            .max_by_key(|(_, publish)| publish.text.len());
        if let Some((at, publish)) = largest {
            let max = publish.text.len() - 1;
            self.refuse(at, max, wire);
            self.in_flight -= 1;
        }
    }

    fn tell_of_room(&mut self, wire: &mut Wire) {
        if self.wanted && self.publishes.len() < self.max && self.bytes < self.max_bytes {
            self.wanted = false;
            wire.output(Output::Room);
        }
    }

    /// The connection is gone: what was not answered is sent again on the next
    /// one, in the same order. Not commands, which have no id of their own.
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
    /// Publishes. The event has an id, so that it may be sent again. Room is kept for
    /// what is to be `kept`.
    ///
    /// # Errors
    /// There is no room for it, it is too large, or the client has stopped.
    pub(crate) fn publish(
        &mut self,
        task_id: TaskId,
        event: NewEvent,
        kept: bool,
    ) -> Result<RequestId, ReceiptError> {
        debug_assert!(event.event_id.is_some());
        if let Some(stopped) = self.stopped() {
            return Err(ReceiptError::Stopped(stopped.clone()));
        }
        let id = RequestId(self.wire.reference());
        let class = event.event_type.class();
        let request = ClientRequest::Publish {
            task_id: Some(task_id),
            event,
        };
        let text = message(id, request);
        let max = self.max_message();
        if self.is_too_large(text.len()) {
            let bytes = text.len();
            return Err(ReceiptError::TooLarge { bytes, max });
        }
        let publish = Publish {
            id,
            text,
            class,
            sent: false,
        };
        self.outbox.publish(publish, kept, &mut self.wire)?;
        if self.is_connected() {
            self.outbox.flush(max, &mut self.wire);
        }
        Ok(id)
    }

    /// Sends a command or an answer.
    ///
    /// # Errors
    /// Too many of them wait, or the client has stopped.
    pub(crate) fn ask(&mut self, request: ClientRequest) -> Result<RequestId, CommandError> {
        if let Some(stopped) = self.stopped() {
            return Err(CommandError::Stopped(stopped.clone()));
        }
        if self.outbox.commands.len() >= MAX_COMMANDS {
            return Err(CommandError::BufferFull);
        }
        let id = RequestId(self.wire.reference());
        let text = message(id, request);
        let max = self.max_message();
        if self.is_too_large(text.len()) {
            let bytes = text.len();
            return Err(CommandError::TooLarge { bytes, max });
        }
        self.outbox.commands.push_back(Command {
            id,
            text,
            sent: false,
        });
        if self.is_connected() {
            self.outbox.flush(max, &mut self.wire);
        }
        Ok(id)
    }

    /// Publishes and reports without an answer so far.
    pub(crate) fn pending(&self) -> usize {
        self.outbox.publishes.len() + self.jobs.pending()
    }
}

fn message(id: RequestId, request: ClientRequest) -> String {
    let reference = Reference::from(id.0);
    ClientMessage::new(request)
        .with_reference(reference)
        .encode()
}
