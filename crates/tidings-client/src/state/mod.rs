//! What a client does, without doing it: no socket, no clock, no task.
//!
//! [`State`] takes what happens ([`Input`], and what the program asks for) with
//! the time at which it happens, and gives what is to be done ([`Output`]).
//! Whoever drives it carries that out and comes back no later than
//! [`poll_timeout`](State::poll_timeout) says. So all of reconnecting, resuming
//! and sending again is tested without a network.

#[cfg(test)]
mod conformance;
mod jobs;
mod link;
mod outbox;
mod queue;
#[cfg(test)]
mod simulation;
mod topic;
mod topics;

use std::collections::VecDeque;

use tidings_protocol::{
    ClientMessage, ControlMessage, ErrorCode, Reference, Secret, ServerMessage,
};
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::defaults::MAX_MESSAGE_BYTES;
use crate::error::{CommandError, Loss, ReceiptError, Stopped};
use crate::publish::Acknowledged;

use jobs::Jobs;
pub(crate) use jobs::{Beginning, JobId};
pub use link::Status;
use link::{Lifeline, Link};
use outbox::Outbox;
pub(crate) use outbox::RequestId;
use topics::Topics;
pub(crate) use topics::WatchId;

/// What happens.
#[derive(Debug)]
pub(crate) enum Input {
    /// The handshake is done.
    Opened,
    /// The server says something.
    Message(Box<ServerMessage>),
    /// The connection could not be made, or is gone.
    Lost(Loss),
    /// The token source has answered; none: it could not.
    Token(Option<Secret>),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Output {
    /// Connect, with this token.
    Connect(Option<Secret>),
    /// Send this text on the connection.
    Send(String),
    /// Let the connection go.
    Disconnect,
    /// Ask the token source for a token.
    RefreshToken,
    /// A watch has something to take, or has ended.
    Wake(WatchId),
    /// A publish has its answer.
    Acknowledged(RequestId, Result<Acknowledged, ReceiptError>),
    /// Reports of a task were answered.
    Reported,
    /// A command has its answer.
    Commanded(RequestId, Result<Acknowledged, CommandError>),
    /// There is room for publishes again.
    Room,
    /// [`status`](State::status) is another one.
    Status,
}

/// Everything that a client knows.
#[derive(Debug)]
pub(crate) struct State {
    config: ClientConfig,
    lifeline: Lifeline,
    outbox: Outbox,
    topics: Topics,
    jobs: Jobs,
    wire: Wire,
    /// Bytes of a message that the server accepts, from its greeting.
    max_message: Option<usize>,
}

/// What goes out, and the numbers under which answers come back.
#[derive(Debug, Default)]
pub(super) struct Wire {
    outputs: VecDeque<Output>,
    last_reference: u64,
}

impl Wire {
    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// A number that was not used before, also not on earlier connections: an
    /// answer is never taken for another's.
    pub(super) fn reference(&mut self) -> u64 {
        self.last_reference += 1;
        self.last_reference
    }

    pub(super) fn send(&mut self, message: &ClientMessage) {
        self.output(Output::Send(message.encode()));
    }
}

impl State {
    pub(crate) fn new(config: ClientConfig, token: Option<Secret>, has_source: bool) -> Self {
        let seed = config.seed.unwrap_or_else(|| fastrand::u64(..));
        let mut rng = fastrand::Rng::with_seed(seed);
        let jobs = Jobs::new(&config, rng.fork());
        Self {
            lifeline: Lifeline::new(&config, token, has_source, rng),
            jobs,
            max_message: None,
            outbox: Outbox::new(&config),
            topics: Topics::new(&config),
            wire: Wire::default(),
            config,
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.wire.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let lifeline = self.lifeline.timeout(&self.config);
        let connected = self.is_connected();
        let retry = self.topics.retry_at().filter(|_| connected);
        let jobs = connected.then(|| self.jobs.timeout()).flatten();
        [lifeline, retry, jobs].into_iter().flatten().min()
    }

    /// Takes what happened.
    pub(crate) fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Opened => self.opened(now),
            Input::Message(message) => self.message(*message, now),
            Input::Lost(loss) => self.lost(&loss, now),
            Input::Token(token) => self.refreshed(token, now),
            Input::Tick => {
                self.tick(now);
                if self.is_connected() {
                    let max_message = self.max_message();
                    self.jobs.flush_all(max_message, now, &mut self.wire);
                }
            }
        }
        self.serve_probes(now);
        if self.is_connected() {
            self.outbox.flush(self.max_message(), &mut self.wire);
            self.topics.reconcile(&mut self.wire, now);
        }
    }

    fn message(&mut self, message: ServerMessage, now: Instant) {
        match message {
            ServerMessage::Event(event) => self.topics.event(event, &mut self.wire),
            ServerMessage::Control { message, .. } => self.control(message, now),
            // Of a newer protocol: nothing that this client has asked for.
            _ => {}
        }
    }

    fn control(&mut self, message: ControlMessage, now: Instant) {
        match message {
            ControlMessage::ConnectionEstablished {
                max_message_bytes, ..
            } => {
                let bytes = max_message_bytes.map(usize::try_from);
                self.max_message = bytes.and_then(Result::ok);
                self.established(now);
            }
            ControlMessage::Subscribed {
                reference,
                target,
                task,
            } => {
                self.lifeline.proven(reference.is_some(), now);
                let reference = reference.as_ref().and_then(number);
                match task {
                    Some(joined) => self.topics.subscribed(reference, &joined, &mut self.wire),
                    None => self.topics.confirmed(&target),
                }
            }
            ControlMessage::Gap {
                task_id: Some(task_id),
                gap,
                snapshot,
            } => self
                .topics
                .gap(&task_id, gap, snapshot.as_ref(), &mut self.wire),
            ControlMessage::Reset {
                task_id,
                reason,
                offset,
                snapshot,
            } => self
                .topics
                .reset(&task_id, reason, offset, &snapshot, &mut self.wire),
            ControlMessage::Heartbeat { heads } => self.topics.heads(&heads),
            ControlMessage::Ack {
                reference,
                task_id,
                epoch,
                offset,
                duplicate,
                run,
            } => {
                self.lifeline.proven(true, now);
                let published = Acknowledged {
                    task_id,
                    epoch,
                    offset,
                    duplicate,
                    run,
                };
                match reference.as_ref().and_then(number) {
                    Some(reference) if self.jobs.has_sent(reference) => {
                        self.job_answered(reference, Ok(published), now);
                    }
                    Some(reference) => {
                        self.outbox
                            .answered(reference, Ok(published), &mut self.wire);
                    }
                    None => {}
                }
            }
            ControlMessage::Error {
                reference,
                code,
                message,
            } => match reference.as_ref().and_then(number) {
                Some(reference) => {
                    self.lifeline.proven(true, now);
                    self.refused(reference, code, message, now);
                }
                None => self.lifeline.complained(code),
            },
            ControlMessage::Pong { reference } => {
                self.lifeline.proven(true, now);
                if let Some(reference) = reference.as_ref().and_then(number) {
                    self.topics.pong(reference, &mut self.wire);
                }
            }
            ControlMessage::GoingAway {
                reason,
                reconnect,
                reconnect_after_ms,
            } => self
                .lifeline
                .farewell(reason.into_owned(), reconnect, reconnect_after_ms),
            ControlMessage::Unsubscribed { target, reason, .. } => {
                self.topics.unsubscribed(&target, reason, &mut self.wire);
            }
            // The inbox is not this client's.
            _ => {}
        }
    }

    /// Bytes of a message that the server accepts: as its last greeting said, or as
    /// servers accept them by default.
    pub(super) fn max_message(&self) -> usize {
        self.max_message.unwrap_or(MAX_MESSAGE_BYTES)
    }

    /// Whether a message is too large for the server. Before its first greeting
    /// nothing is: what is too large then is refused when it is to be sent.
    pub(super) fn is_too_large(&self, bytes: usize) -> bool {
        let greeted = self.max_message.is_some() || self.is_connected();
        greeted && bytes > self.max_message()
    }

    /// A request of ours was refused.
    fn refused(&mut self, reference: u64, code: ErrorCode, message: String, now: Instant) {
        if self.jobs.has_sent(reference) {
            self.job_answered(reference, Err((code, message)), now);
        } else if self.topics.has_asked(reference) {
            self.topics
                .refused(reference, code, &message, &mut self.wire, now);
        } else {
            let refused = Err((code, message));
            self.outbox.answered(reference, refused, &mut self.wire);
        }
    }
}

/// The number that a reference of ours is.
fn number(reference: &Reference) -> Option<u64> {
    reference.as_str().parse().ok()
}

/// Ends everything that waits, and connects no more.
impl State {
    fn stop(&mut self, stopped: &Stopped) {
        if !matches!(self.lifeline.link, Link::Stopped(_)) {
            self.lifeline.link = Link::Stopped(stopped.clone());
            self.outbox.stop(stopped, &mut self.wire);
            self.jobs.stop(stopped, &mut self.wire);
            self.topics.stop(stopped, &mut self.wire);
            self.wire.output(Output::Disconnect);
            self.wire.output(Output::Status);
        }
    }
}
