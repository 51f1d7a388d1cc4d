//! What the server's answers, and the loss of a connection, change in a job.

use tidings_protocol::{ErrorCode, TaskSnapshot};
use tokio::time::Instant;

use super::super::super::{Output, Wire};
use super::super::report::{Report, Way};
use super::super::room::Room;
use super::{Job, Phase, Place, Wants, bare};
use crate::error::{ReceiptError, Stopped};
use crate::publish::Acknowledged;

impl Job {
    /// Takes the server's answer to something that was sent under this `ref`.
    pub(in super::super) fn answered(
        &mut self,
        reference: u64,
        answer: Result<Acknowledged, (ErrorCode, String)>,
        now: Instant,
        room: &mut Room,
        wire: &mut Wire,
    ) -> Wants {
        if self.phase == Phase::Starting(reference) {
            self.start_answered(answer, now, room, wire);
            return Wants::Nothing;
        }
        let sent = self.reports.iter().take(self.in_flight);
        let Some(at) = sent
            .into_iter()
            .position(|report| report.way == Way::Sent(reference))
        else {
            return Wants::Nothing;
        };
        let mut wants = Wants::Nothing;
        match answer {
            Ok(published) => {
                self.backoff.reset();
                let known = self.place.as_ref();
                // With the end in it the new log needs no start.
                let moved = known.is_some_and(|place| place.epoch != published.epoch)
                    && !self.reports[at].is_end;
                self.reports[at].way = Way::Accepted;
                if let Some(answer) = self.reports[at].answer {
                    wire.output(Output::Acknowledged(answer, Ok(published)));
                }
                if moved && self.phase == Phase::Started {
                    self.phase = Phase::Checking;
                    wants = Wants::Check;
                }
            }
            Err((ErrorCode::SequenceGap, _)) => {
                if at == 0 {
                    // Not an earlier report's refusal: the server has forgotten
                    // the producer. A new epoch of it may begin anywhere.
                    self.era += 1;
                    self.seq = 1;
                }
                self.reports[at].way = Way::Back;
            }
            Err((ErrorCode::WrongRun, _)) => {
                self.reports[at].way = Way::Back;
                if self.phase == Phase::Started {
                    self.phase = Phase::Checking;
                    wants = Wants::Check;
                }
            }
            Err((code, _)) if is_passing(code) => {
                if self.hold.is_none() {
                    self.hold = Some(now + self.backoff.pause());
                }
                self.reports[at].way = Way::Back;
            }
            Err((ErrorCode::InvalidEvent, message))
                if self.reports[at].is_end && !self.reports[at].event.data.is_empty() =>
            {
                // A result that is no good must not keep the task from ending.
                let event = &self.reports[at].event;
                let (event_type, bare) = (event.event_type.clone(), bare(event));
                let code = ErrorCode::InvalidEvent;
                self.refused(event_type, ReceiptError::Refused { code, message });
                self.reports[at].event = bare;
                self.reports[at].way = Way::Back;
            }
            Err((code, message)) => {
                self.remove(at, ReceiptError::Refused { code, message }, room, wire);
                self.in_flight -= 1;
            }
        }
        self.advance(room, wire);
        wants
    }

    /// Removes a report that was refused for good.
    pub(super) fn remove(
        &mut self,
        at: usize,
        error: ReceiptError,
        room: &mut Room,
        wire: &mut Wire,
    ) {
        let Some(report) = self.reports.remove(at) else {
            return;
        };
        room.give(report.bytes);
        if let Some(answer) = report.answer {
            wire.output(Output::Acknowledged(answer, Err(error.clone())));
        }
        if !report.is_end {
            self.refused(report.event.event_type, error);
        }
    }

    /// Bytes of the data of the largest report that is on its way.
    pub(in super::super) fn largest(&self) -> Option<usize> {
        let sent = self.reports.iter().take(self.in_flight);
        sent.map(|report| report.event.data.as_str().len()).max()
    }

    /// Refuses the largest report that is on its way: the server has closed the
    /// connection over one that was too large. An end is said without its result.
    pub(in super::super) fn refuse_largest(&mut self, room: &mut Room, wire: &mut Wire) {
        let Some(bytes) = self.largest() else { return };
        let large = |report: &Report| report.event.data.as_str().len() == bytes;
        let Some(at) = self.reports.iter().position(large) else {
            return;
        };
        let error = ReceiptError::TooLarge {
            bytes,
            max: bytes.saturating_sub(1),
        };
        if self.reports[at].is_end {
            let event = bare(&self.reports[at].event);
            self.refused(event.event_type.clone(), error);
            self.reports[at].event = event;
        } else {
            self.remove(at, error, room, wire);
            self.in_flight -= 1;
        }
    }

    /// Lets go of what was accepted, and goes back once nothing is on its way.
    fn advance(&mut self, room: &mut Room, wire: &mut Wire) {
        while self.in_flight > 0 && self.reports[0].way == Way::Accepted {
            if let Some(report) = self.reports.pop_front() {
                room.give(report.bytes);
            }
            self.in_flight -= 1;
            self.seq += 1;
        }
        let mut in_flight = self.reports.iter().take(self.in_flight);
        if !in_flight.any(|report| matches!(report.way, Way::Sent(_))) {
            self.go_back(room);
        }
        wire.output(Output::Reported);
    }

    /// Nothing is on its way: what was not accepted is sent again.
    fn go_back(&mut self, room: &mut Room) {
        let before = self.reports.len();
        self.reports.retain(|report| {
            let accepted = report.way == Way::Accepted;
            if accepted {
                room.give(report.bytes);
            }
            !accepted
        });
        if self.reports.len() < before {
            // The server has taken a later one without an earlier one, against its
            // own rule. The numbers have a hole: begin to count anew.
            self.era += 1;
            self.seq = 1;
        }
        self.in_flight = self.in_flight.min(self.reports.len());
        self.unsend();
    }

    fn unsend(&mut self) {
        for report in self.reports.iter_mut().take(self.in_flight) {
            report.way = Way::Waits;
        }
        self.in_flight = 0;
    }

    fn start_answered(
        &mut self,
        answer: Result<Acknowledged, (ErrorCode, String)>,
        now: Instant,
        room: &mut Room,
        wire: &mut Wire,
    ) {
        match answer {
            Ok(published) => {
                self.backoff.reset();
                self.place = Some(Place {
                    epoch: published.epoch.clone(),
                    run: published.run,
                });
                self.seq = 1;
                self.phase = Phase::Started;
                if let Some(start) = self.start.take() {
                    wire.output(Output::Acknowledged(start, Ok(published)));
                }
            }
            Err((code, _)) if is_passing(code) => {
                self.hold = Some(now + self.backoff.pause());
                self.phase = Phase::New;
            }
            Err((code, message)) => {
                self.give_up(&ReceiptError::Refused { code, message }, room, wire);
            }
        }
        wire.output(Output::Reported);
    }

    /// The connection is gone. Whether the log is the same on the next one has to
    /// be asked; what was sent is sent again.
    pub(in super::super) fn lost(&mut self, room: &mut Room, wire: &mut Wire) -> Wants {
        self.hold = None;
        // What was accepted must not be sent again under another `seq`.
        self.unsend_unanswered(room, wire);
        match self.phase {
            Phase::Starting(_) => self.phase = Phase::New,
            Phase::Started => {
                self.phase = Phase::Checking;
                return Wants::Check;
            }
            Phase::New | Phase::Checking | Phase::Over(_) => {}
        }
        Wants::Nothing
    }

    fn unsend_unanswered(&mut self, room: &mut Room, wire: &mut Wire) {
        // An accepted report behind an unanswered one: that one was accepted, too,
        // and the server knows its `seq`. It is sent again and found a duplicate.
        self.advance(room, wire);
        self.unsend();
    }

    /// The server has told the task's state.
    pub(in super::super) fn checked(
        &mut self,
        state: &TaskSnapshot,
        room: &mut Room,
        wire: &mut Wire,
    ) {
        if self.phase != Phase::Checking {
            return;
        }
        let Some(place) = &self.place else { return };
        if place.epoch != state.epoch {
            self.restart();
        } else if place
            .run
            .is_some_and(|run| u64::from(run) < u64::from(state.run))
        {
            let (code, message) = (
                ErrorCode::WrongRun,
                "another worker has started the task again",
            );
            let message = message.to_owned();
            self.give_up(&ReceiptError::Refused { code, message }, room, wire);
        } else {
            self.unsend();
            self.phase = Phase::Started;
        }
    }

    /// The server does not tell the task's state to this client.
    pub(in super::super) fn unchecked(&mut self) {
        if self.phase == Phase::Checking {
            self.unsend();
            self.phase = Phase::Started;
        }
    }

    /// The log has started over: so does the task.
    fn restart(&mut self) {
        self.unsend();
        self.era += 1;
        self.place = None;
        self.phase = Phase::New;
    }

    /// Nothing is sent any more: the task is another worker's, or the client has stopped.
    pub(in super::super) fn give_up(
        &mut self,
        error: &ReceiptError,
        room: &mut Room,
        wire: &mut Wire,
    ) {
        self.phase = Phase::Over(error.clone());
        if let Some(start) = self.start.take() {
            wire.output(Output::Acknowledged(start, Err(error.clone())));
        }
        for report in std::mem::take(&mut self.reports) {
            room.give(report.bytes);
            if let Some(answer) = report.answer {
                wire.output(Output::Acknowledged(answer, Err(error.clone())));
            }
        }
        self.in_flight = 0;
        self.hold = None;
        wire.output(Output::Reported);
    }

    pub(in super::super) fn stop(&mut self, stopped: &Stopped, room: &mut Room, wire: &mut Wire) {
        if self.verdict().is_none() {
            self.give_up(&ReceiptError::Stopped(stopped.clone()), room, wire);
        }
    }
}

/// A refusal that passes.
fn is_passing(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::RateLimited | ErrorCode::Unavailable)
}
