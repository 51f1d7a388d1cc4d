//! The life of the connection: connecting, closing after silence, and stopping.

use std::time::Duration;

use fastrand::Rng;
use tidings_protocol::{ClientMessage, ClientRequest, CloseCode, ErrorCode, Reconnect, Secret};
use tokio::time::Instant;

use super::{Output, State};
use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::defaults::{BACKOFF_FLOOR, STABLE_AFTER};
use crate::error::{Loss, Stopped, TooLarge};

/// The state of the connection between a client and its server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// The client is connecting.
    Connecting,
    /// The client is connected, and the server has sent its greeting.
    Connected,
    /// The connection was lost. The client waits for its next attempt, or for a token.
    Waiting(Loss),
    /// The client has stopped and will not connect again.
    Stopped(Stopped),
}

#[derive(Debug)]
pub(super) enum Link {
    /// Waiting for the next attempt. Without a time, the client waits for a token.
    Waiting {
        until: Option<Instant>,
        because: Option<Loss>,
    },
    Connecting {
        since: Instant,
        /// The token that this attempt shows.
        shown: Option<Secret>,
    },
    Open(Open),
    Stopped(Stopped),
}

#[derive(Debug)]
pub(super) struct Open {
    since: Instant,
    /// The last token that the client has shown on this connection.
    shown: Option<Secret>,
    greeted: bool,
    /// The time of the last answer to a request of this client. An answer proves that
    /// both directions work.
    proven: Instant,
    pinged: bool,
    farewell: Option<Farewell>,
    /// The last error without a request. It may explain a close that follows.
    complaint: Option<ErrorCode>,
}

/// The server's last message before it closed the connection.
#[derive(Debug)]
struct Farewell {
    reason: String,
    reconnect: Reconnect,
    after: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Lifeline {
    pub(super) link: Link,
    backoff: Backoff,
    token: Option<Secret>,
    /// The token that the server has refused. The client does not show it again.
    refused: Option<(Option<Secret>, Stopped)>,
    has_source: bool,
    /// The time at which the token source was asked, while the client waits for its
    /// answer.
    asked: Option<Instant>,
}

impl Lifeline {
    pub(super) fn new(
        config: &ClientConfig,
        token: Option<Secret>,
        has_source: bool,
        rng: Rng,
    ) -> Self {
        Self {
            link: Link::Waiting {
                until: None,
                because: None,
            },
            backoff: Backoff::new(config.backoff_base, config.backoff_cap, rng),
            token,
            refused: None,
            has_source,
            asked: None,
        }
    }

    pub(super) fn timeout(&self, config: &ClientConfig) -> Option<Instant> {
        match &self.link {
            Link::Waiting { until, .. } => {
                let asked = self.asked.map(|asked| asked + config.token_timeout);
                until.or(asked)
            }
            Link::Connecting { since, .. } => Some(*since + config.connect_timeout),
            Link::Open(open) if !open.greeted => Some(open.since + config.connect_timeout),
            Link::Open(open) if !open.pinged => Some(open.proven + config.silence_timeout / 2),
            Link::Open(open) => Some(open.proven + config.silence_timeout),
            Link::Stopped(_) => None,
        }
    }

    /// Returns true if the client needs another token before it can connect.
    fn wants_token(&self) -> bool {
        self.refused.is_some() || (self.token.is_none() && self.has_source)
    }

    fn open(&mut self) -> Option<&mut Open> {
        match &mut self.link {
            Link::Open(open) => Some(open),
            _ => None,
        }
    }

    /// Records that the server has sent a message. With `answer`, the message answers a
    /// request.
    pub(super) fn proven(&mut self, answer: bool, now: Instant) {
        if let Some(open) = self.open().filter(|_| answer) {
            open.proven = now;
            open.pinged = false;
        }
    }

    pub(super) fn complained(&mut self, code: ErrorCode) {
        if let Some(open) = self.open() {
            open.complaint = Some(code);
        }
    }

    pub(super) fn farewell(&mut self, reason: String, reconnect: Reconnect, after: Option<u64>) {
        if let Some(open) = self.open() {
            open.farewell = Some(Farewell {
                reason,
                reconnect,
                after: after.map(Duration::from_millis),
            });
        }
    }
}

/// The next step after a loss.
enum Next {
    /// Try again, after this pause at the earliest.
    Retry(Duration),
    /// Get another token first.
    Token(Stopped),
    /// Try again without the message that was too large.
    TooLarge(Stopped),
    Stop(Stopped),
}

impl State {
    /// Returns true if the server has sent its greeting.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(&self.lifeline.link, Link::Open(open) if open.greeted)
    }

    pub(crate) fn stopped(&self) -> Option<&Stopped> {
        match &self.lifeline.link {
            Link::Stopped(stopped) => Some(stopped),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> Status {
        match &self.lifeline.link {
            Link::Open(open) if open.greeted => Status::Connected,
            Link::Waiting {
                because: Some(loss),
                ..
            } => Status::Waiting(loss.clone()),
            Link::Waiting { .. } | Link::Connecting { .. } | Link::Open(_) => Status::Connecting,
            Link::Stopped(stopped) => Status::Stopped(stopped.clone()),
        }
    }

    /// Returns the token to show.
    pub(crate) fn token(&self) -> Option<&Secret> {
        self.lifeline.token.as_ref()
    }

    /// Starts the client: makes the first attempt, or asks for the first token.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.lifeline.wants_token() {
            self.ask_for_token(now);
        } else {
            self.attempt(now);
        }
    }

    fn ask_for_token(&mut self, now: Instant) {
        self.lifeline.asked = Some(now);
        if let Link::Waiting { until, .. } = &mut self.lifeline.link {
            *until = None;
        }
        self.wire.output(Output::RefreshToken);
    }

    fn attempt(&mut self, now: Instant) {
        let shown = self.lifeline.token.clone();
        self.lifeline.asked = None;
        self.lifeline.link = Link::Connecting {
            since: now,
            shown: shown.clone(),
        };
        self.wire.output(Output::Connect(shown));
        self.wire.output(Output::Status);
    }

    /// Stops the client at the program's request.
    pub(crate) fn close(&mut self) {
        self.stop(&Stopped::Closed);
    }

    /// Replaces the token. If an attempt with the old token is under way, the client
    /// sends the new token after the greeting.
    ///
    /// # Errors
    /// Returns an error if the token is too large for a message. The old token then stays.
    pub(crate) fn set_token(&mut self, token: Secret, now: Instant) -> Result<(), TooLarge> {
        self.wire.check(&authenticate(token.clone()).encode())?;
        let waited =
            matches!(self.lifeline.link, Link::Waiting { .. }) && self.lifeline.wants_token();
        self.lifeline.token = Some(token);
        if self.is_connected() {
            self.authenticate();
        } else if waited {
            self.lifeline.refused = None;
            self.attempt(now);
        }
        Ok(())
    }

    /// Sends the token to the server, unless the server has it already.
    fn authenticate(&mut self) {
        let token = self.lifeline.token.clone();
        let Some(open) = self.lifeline.open().filter(|open| open.shown != token) else {
            return;
        };
        open.shown.clone_from(&token);
        if let Some(token) = token {
            self.wire.tell(&authenticate(token));
        }
    }

    pub(super) fn opened(&mut self, now: Instant) {
        let shown = match &mut self.lifeline.link {
            Link::Connecting { shown, .. } => shown.take(),
            _ => None,
        };
        self.lifeline.link = Link::Open(Open {
            since: now,
            shown,
            greeted: false,
            proven: now,
            pinged: false,
            farewell: None,
            complaint: None,
        });
    }

    pub(super) fn established(&mut self, now: Instant) {
        let Some(open) = self.lifeline.open() else {
            return;
        };
        open.greeted = true;
        open.proven = now;
        self.lifeline.refused = None;
        self.authenticate();
        self.topics.established(&mut self.wire);
        self.jobs.flush_all(now, &mut self.wire);
        self.wire.output(Output::Status);
    }

    pub(super) fn tick(&mut self, now: Instant) {
        if self
            .lifeline
            .timeout(&self.config)
            .is_none_or(|due| now < due)
        {
            return;
        }
        let wants_token = self.lifeline.wants_token();
        match &mut self.lifeline.link {
            // The source has not answered, or it is time to ask again.
            Link::Waiting { until: None, .. } => self.refreshed(None, now),
            Link::Waiting { .. } if wants_token => self.ask_for_token(now),
            Link::Waiting { .. } => self.attempt(now),
            Link::Connecting { .. } => self.give_up(&Loss::Timeout, now),
            Link::Open(open) if !open.greeted => self.give_up(&Loss::Timeout, now),
            Link::Open(open) if !open.pinged => {
                open.pinged = true;
                self.wire.tell(&ClientMessage::new(ClientRequest::Ping));
            }
            Link::Open(_) => self.give_up(&Loss::Silent, now),
            Link::Stopped(_) => {}
        }
    }

    fn give_up(&mut self, loss: &Loss, now: Instant) {
        self.wire.output(Output::Disconnect);
        self.lost(loss, now);
    }

    pub(super) fn lost(&mut self, loss: &Loss, now: Instant) {
        let waiting = Link::Waiting {
            until: None,
            because: Some(loss.clone()),
        };
        let (open, shown) = match std::mem::replace(&mut self.lifeline.link, waiting) {
            Link::Stopped(stopped) => {
                self.lifeline.link = Link::Stopped(stopped);
                return;
            }
            Link::Open(mut open) => {
                let shown = open.shown.take();
                (Some(open), shown)
            }
            Link::Connecting { shown, .. } => (None, shown),
            Link::Waiting { .. } => (None, None),
        };
        let stable = open
            .as_ref()
            .is_some_and(|open| open.greeted && now >= open.since + STABLE_AFTER);
        if stable {
            self.lifeline.backoff.reset();
        }
        let next = next(loss, open.as_ref());
        if let Next::TooLarge(stopped) = &next
            && !self.refuse_largest()
        {
            return self.stop(stopped);
        }
        self.outbox.lost(&mut self.wire);
        self.topics.lost();
        self.jobs.lost(&mut self.topics, &mut self.wire);
        match next {
            Next::Stop(stopped) => self.stop(&stopped),
            // The refused token is not the token that the program has set meanwhile.
            Next::Token(_) if self.lifeline.token.is_some() && self.lifeline.token != shown => {
                let pause = self.lifeline.backoff.pause();
                self.wait(pause, loss, now);
            }
            Next::Token(stopped) if !self.lifeline.has_source => self.stop(&stopped),
            Next::Token(stopped) => {
                self.lifeline.refused = Some((shown, stopped));
                self.topics.disconnected(loss, None, &mut self.wire);
                self.ask_for_token(now);
                self.wire.output(Output::Status);
            }
            Next::TooLarge(_) => {
                let pause = self.lifeline.backoff.pause();
                self.wait(pause, loss, now);
            }
            Next::Retry(least) => {
                // Wait at least as long as the server asks. A connection that never
                // lasts must not shorten the pause.
                let pause = if least == Duration::ZERO || !stable {
                    self.lifeline.backoff.pause().max(least)
                } else {
                    least
                };
                self.wait(pause, loss, now);
            }
        }
    }

    /// Refuses the largest publish in flight, because the server closed the connection
    /// over a message that was too large. A command in flight is never sent again, so
    /// nothing is refused if a command is the largest message. Returns false if nothing is
    /// in flight.
    fn refuse_largest(&mut self) -> bool {
        let (publish, report) = (self.outbox.largest(), self.jobs.largest());
        let command = self.outbox.largest_command();
        if command >= publish.max(report) {
            return command.is_some();
        }
        if publish >= report {
            self.outbox.refuse_largest(&mut self.wire);
        } else {
            self.jobs.refuse_largest(&mut self.wire);
        }
        true
    }

    fn wait(&mut self, pause: Duration, loss: &Loss, now: Instant) {
        self.lifeline.link = Link::Waiting {
            until: Some(now + pause),
            because: Some(loss.clone()),
        };
        self.topics.disconnected(loss, Some(pause), &mut self.wire);
        self.wire.output(Output::Status);
    }

    /// Handles the token source's answer. Without a token, the client asks again later.
    pub(super) fn refreshed(&mut self, token: Option<Secret>, now: Instant) {
        let waits = matches!(self.lifeline.link, Link::Waiting { .. });
        if !waits || !self.lifeline.wants_token() {
            return;
        }
        self.lifeline.asked = None;
        let Some(token) = token else {
            let pause = self.lifeline.backoff.pause();
            if let Link::Waiting { until, because } = &mut self.lifeline.link {
                *until = Some(now + pause);
                because.get_or_insert(Loss::NoToken);
            }
            self.wire.output(Output::Status);
            return;
        };
        match self.lifeline.refused.take() {
            // The server would refuse the same token again.
            Some((Some(refused), stopped)) if refused == token => self.stop(&stopped),
            _ => {
                self.lifeline.token = Some(token);
                self.attempt(now);
            }
        }
    }
}

fn authenticate(token: Secret) -> ClientMessage {
    ClientMessage::new(ClientRequest::Authenticate { token })
}

fn next(loss: &Loss, open: Option<&Open>) -> Next {
    let complaint = open.and_then(|open| open.complaint);
    let farewell = open.and_then(|open| open.farewell.as_ref());
    let code = match loss {
        Loss::Refused { status: 401 } => return Next::Token(Stopped::Unauthenticated),
        Loss::Refused { status: 403 } => return Next::Token(Stopped::Forbidden),
        Loss::Closed { code, .. } => code.and_then(CloseCode::from_code),
        _ => None,
    };
    match code {
        Some(CloseCode::Forbidden) => return Next::Token(Stopped::Forbidden),
        Some(code) if code.is_about_token() => return Next::Token(Stopped::Unauthenticated),
        _ => {}
    }
    if code == Some(CloseCode::TooLarge) || complaint == Some(ErrorCode::TooLarge) {
        let reason = match (farewell, loss) {
            (Some(farewell), _) => farewell.reason.clone(),
            (None, Loss::Closed { reason, .. }) => reason.clone(),
            (None, _) => String::new(),
        };
        return Next::TooLarge(Stopped::Dismissed { reason });
    }
    if let Some(farewell) = farewell {
        return match farewell.reconnect {
            Reconnect::Never => match complaint {
                // A proxy has removed the close code.
                Some(ErrorCode::Unauthenticated) => Next::Token(Stopped::Unauthenticated),
                Some(ErrorCode::Forbidden) => Next::Token(Stopped::Forbidden),
                _ => Next::Stop(Stopped::Dismissed {
                    reason: farewell.reason.clone(),
                }),
            },
            Reconnect::Now => Next::Retry(BACKOFF_FLOOR),
            Reconnect::After => {
                let after = farewell.after.unwrap_or_default();
                Next::Retry(after.max(BACKOFF_FLOOR))
            }
            Reconnect::Backoff => Next::Retry(Duration::ZERO),
        };
    }
    match (code, loss) {
        (None, _) => Next::Retry(Duration::ZERO),
        (Some(code), Loss::Closed { reason, .. }) if code.reconnect() == Reconnect::Never => {
            Next::Stop(Stopped::Dismissed {
                reason: reason.clone(),
            })
        }
        (Some(code), _) if code.reconnect() == Reconnect::Now => Next::Retry(BACKOFF_FLOOR),
        _ => Next::Retry(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests;
