//! The logic of a client without I/O: no socket, no clock, no spawned task.
//!
//! [`State`] takes inputs with their time: each [`Input`] and the program's calls. It
//! returns each [`Output`] that the driver must carry out. The driver must come back no
//! later than [`poll_timeout`](State::poll_timeout). Reconnecting, resuming and sending
//! again are therefore tested without a network.

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
    ClientMessage, ControlMessage, ErrorCode, Reference, Secret, ServerMessage, TaskCommanded,
};
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::defaults::MAX_MESSAGE_BYTES;
use crate::error::{CommandError, Loss, ReceiptError, Stopped, TooLarge};
use crate::publish::Acknowledged;

use jobs::Jobs;
pub(crate) use jobs::{Beginning, JobId};
pub use link::Status;
use link::{Lifeline, Link};
use outbox::Outbox;
pub(crate) use outbox::RequestId;
use topics::Topics;
pub(crate) use topics::WatchId;

/// An event that the state machine handles.
#[derive(Debug)]
pub(crate) enum Input {
    /// The handshake is complete.
    Opened,
    /// A message from the server.
    Message(Box<ServerMessage>),
    /// The connection could not be made, or was lost.
    Lost(Loss),
    /// The answer of the token source. None if the source failed.
    Token(Option<Secret>),
    /// Time has passed.
    Tick,
}

/// An action for the driver.
#[derive(Debug)]
pub(crate) enum Output {
    /// Connect with this token.
    Connect(Option<Secret>),
    /// Send this text on the connection.
    Send(String),
    /// Drop the connection.
    Disconnect,
    /// Ask the token source for a token.
    RefreshToken,
    /// Wake a watch that has an update or has ended.
    Wake(WatchId),
    /// Pass on the answer to a publish.
    Acknowledged(RequestId, Result<Acknowledged, ReceiptError>),
    /// Note that reports of a task were answered.
    Reported,
    /// Pass on the answer to a command.
    Commanded(RequestId, Result<Acknowledged, CommandError>),
    /// Pass on the answers to a command for a tree.
    TreeCommanded(RequestId, Vec<TaskCommanded>),
    /// Note that there is room for publishes again.
    Room,
    /// Note that [`status`](State::status) has changed.
    Status,
}

/// The whole state of a client.
#[derive(Debug)]
pub(crate) struct State {
    config: ClientConfig,
    lifeline: Lifeline,
    outbox: Outbox,
    topics: Topics,
    jobs: Jobs,
    wire: Wire,
    /// The number of publishes and reports that were given up because the client has
    /// stopped.
    unsent: usize,
}

/// The outgoing messages, and the numbers that identify their answers.
#[derive(Debug, Default)]
pub(super) struct Wire {
    outputs: VecDeque<Output>,
    last_reference: u64,
    /// The largest message that the server accepts, in bytes. None before the first
    /// greeting.
    limit: Option<usize>,
}

impl Wire {
    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Returns a number that was never used before, even on earlier connections. An
    /// answer therefore never matches the wrong request.
    pub(super) fn reference(&mut self) -> u64 {
        self.last_reference += 1;
        self.last_reference
    }

    /// Returns the largest message that the server accepts, in bytes. The last greeting
    /// states the limit; before it, the default applies.
    pub(super) fn max_message(&self) -> usize {
        self.limit.unwrap_or(MAX_MESSAGE_BYTES)
    }

    /// Returns an error if a message is too large for the server. Before the first
    /// greeting, no message counts as too large. [`send`](Self::send) then refuses it
    /// later.
    pub(super) fn check(&self, text: &str) -> Result<(), TooLarge> {
        let bytes = text.len();
        match self.limit {
            Some(max) if bytes > max => Err(TooLarge { bytes, max }),
            _ => Ok(()),
        }
    }

    /// Sends a message. All messages to the server go through here, because a server
    /// closes the connection over a message that is too large.
    ///
    /// # Errors
    /// Returns an error if the message is too large. Nothing is sent then.
    pub(super) fn send(&mut self, text: impl AsRef<str> + Into<String>) -> Result<(), TooLarge> {
        self.check(text.as_ref())?;
        self.output(Output::Send(text.into()));
        Ok(())
    }

    /// Sends a message that no caller waits for. A message that is too large is only
    /// logged.
    pub(super) fn tell(&mut self, message: &ClientMessage) {
        if let Err(error) = self.send(message.encode()) {
            tracing::warn!(%error, "a message was not sent");
        }
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
            unsent: 0,
            outbox: Outbox::new(&config),
            topics: Topics::new(&config),
            wire: Wire::default(),
            config,
        }
    }

    /// Returns the next action for the driver.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.wire.outputs.pop_front()
    }

    /// Returns the latest time for the next [`Input::Tick`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let lifeline = self.lifeline.timeout(&self.config);
        let connected = self.is_connected();
        let retry = self.topics.retry_at().filter(|_| connected);
        let jobs = connected.then(|| self.jobs.timeout()).flatten();
        [lifeline, retry, jobs].into_iter().flatten().min()
    }

    /// Handles an input.
    pub(crate) fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Opened => self.opened(now),
            Input::Message(message) => self.message(*message, now),
            Input::Lost(loss) => self.lost(&loss, now),
            Input::Token(token) => self.refreshed(token, now),
            Input::Tick => {
                self.tick(now);
                if self.is_connected() {
                    self.jobs.flush_all(now, &mut self.wire);
                }
            }
        }
        self.serve_probes(now);
        if self.is_connected() {
            self.outbox.flush(&mut self.wire);
            self.topics.reconcile(&mut self.wire, now);
        }
    }

    fn message(&mut self, message: ServerMessage, now: Instant) {
        match message {
            ServerMessage::Event(event) => self.topics.event(event, &mut self.wire),
            ServerMessage::Control { message, .. } => self.control(message, now),
            // A newer protocol has sent this message. This client has not asked for it.
            _ => {}
        }
    }

    fn control(&mut self, message: ControlMessage, now: Instant) {
        match message {
            ControlMessage::ConnectionEstablished {
                max_message_bytes, ..
            } => {
                let bytes = max_message_bytes.map(usize::try_from);
                let limit = bytes.and_then(Result::ok).unwrap_or(MAX_MESSAGE_BYTES);
                self.wire.limit = Some(limit);
                self.established(now);
            }
            ControlMessage::Subscribed {
                reference,
                target,
                task,
                member,
            } => {
                self.lifeline.proven(reference.is_some(), now);
                let reference = reference.as_ref().and_then(number);
                let of_tree = task.as_ref().map(|joined| &joined.task_id);
                if let Some(task_id) = of_tree.or(member.as_ref())
                    && target.tree().is_some()
                {
                    self.topics.joins_tree(&target, task_id);
                }
                match task {
                    Some(joined) => self.topics.subscribed(reference, &joined, &mut self.wire),
                    None if member.is_some() => self.topics.reconcile(&mut self.wire, now),
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
            ControlMessage::Commanded {
                reference, tasks, ..
            } => {
                self.lifeline.proven(true, now);
                if let Some(reference) = reference.as_ref().and_then(number) {
                    self.outbox.commanded(reference, tasks, &mut self.wire);
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
            // This client does not use the inbox.
            _ => {}
        }
    }

    /// Handles the refusal of a request.
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

/// Returns the number in a reference of this client.
fn number(reference: &Reference) -> Option<u64> {
    reference.as_str().parse().ok()
}

/// Ends all waiting requests, and connects no more.
impl State {
    fn stop(&mut self, stopped: &Stopped) {
        if !matches!(self.lifeline.link, Link::Stopped(_)) {
            self.lifeline.link = Link::Stopped(stopped.clone());
            self.unsent += self.pending();
            self.outbox.stop(stopped, &mut self.wire);
            self.jobs.stop(stopped, &mut self.wire);
            self.topics.stop(stopped, &mut self.wire);
            self.wire.output(Output::Disconnect);
            self.wire.output(Output::Status);
        }
    }
}
