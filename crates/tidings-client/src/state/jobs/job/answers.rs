//! Changes a job after an answer of the server or the loss of a connection.

use tidings_protocol::{ErrorCode, EventType, TaskSnapshot};
use tokio::time::Instant;

use super::super::super::{Output, Wire};
use super::super::report::{Report, Way};
use super::super::room::Room;
use super::{Job, Phase, Place, Wants, bare};
use crate::error::{ReceiptError, Stopped};
use crate::publish::Acknowledged;

impl Job {
    /// Handles the server's answer to the report that was sent under this `ref`.
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
                // If the answered report is the end, the new log needs no start.
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
                    // No earlier report is missing, so the server has forgotten the
                    // producer. A new producer epoch may begin with any number.
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
                // The server refuses the end because of its result. Send the end
                // without the result.
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

    /// Removes a report that the server has refused for good.
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
        room.give(&report);
        if let Some(answer) = report.answer {
            wire.output(Output::Acknowledged(answer, Err(error.clone())));
        }
        if report.event.event_type == EventType::ProgressUpdate {
            // The job would repeat the refused progress as its sign of life.
            self.progress = None;
        }
        if !report.is_end {
            self.refused(report.event.event_type, error);
        }
    }

    /// Ends the job because its start is too large.
    pub(super) fn refuse_start(&mut self, error: ReceiptError, room: &mut Room, wire: &mut Wire) {
        self.give_up(&error, room, wire);
        self.refused(EventType::TaskStarted, error);
    }

    /// Returns the data size of the largest report in flight, in bytes. A start is alone
    /// in flight.
    pub(in super::super) fn largest(&self) -> Option<usize> {
        if let Phase::Starting(_) = self.phase {
            return Some(self.beginning.event.data.as_str().len());
        }
        let sent = self.reports.iter().take(self.in_flight);
        sent.map(|report| report.event.data.as_str().len()).max()
    }

    /// Refuses the largest report in flight, because the server closed the connection
    /// over a message that was too large. If that report is the end, the job sends the
    /// end without its result.
    pub(in super::super) fn refuse_largest(&mut self, room: &mut Room, wire: &mut Wire) {
        let Some(bytes) = self.largest() else { return };
        let error = ReceiptError::TooLarge {
            bytes,
            max: bytes.saturating_sub(1),
        };
        if let Phase::Starting(_) = self.phase {
            return self.refuse_start(error, room, wire);
        }
        let large = |report: &Report| report.event.data.as_str().len() == bytes;
        let Some(at) = self.reports.iter().position(large) else {
            return;
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

    /// Removes accepted reports from the front. When no report is in flight, the job
    /// goes back.
    fn advance(&mut self, room: &mut Room, wire: &mut Wire) {
        while self.in_flight > 0 && self.reports[0].way == Way::Accepted {
            if let Some(report) = self.reports.pop_front() {
                room.give(&report);
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

    /// Prepares to send all unaccepted reports again. No report is in flight.
    fn go_back(&mut self, room: &mut Room) {
        let before = self.reports.len();
        self.reports.retain(|report| {
            let accepted = report.way == Way::Accepted;
            if accepted {
                room.give(report);
            }
            !accepted
        });
        if self.reports.len() < before {
            // The server has accepted a later report without an earlier one, against
            // the protocol. The numbers now have a hole, so start a new producer epoch.
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

    /// Handles the loss of the connection. Sent reports will be sent again. On the next
    /// connection, the job first asks whether the log is still the same.
    pub(in super::super) fn lost(&mut self, room: &mut Room, wire: &mut Wire) -> Wants {
        self.hold = None;
        // Remove accepted reports first. They must not be sent again under another
        // `seq`.
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
        // The server accepts reports in order. An unanswered report before an accepted
        // one was therefore accepted too, and the server knows its `seq`. Sent again,
        // it is a duplicate.
        self.advance(room, wire);
        self.unsend();
    }

    /// Handles the task's state, which the server has sent.
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

    /// Handles the server's refusal to tell this client the task's state. The job
    /// continues as if the log were the same.
    pub(in super::super) fn unchecked(&mut self) {
        if self.phase == Phase::Checking {
            self.unsend();
            self.phase = Phase::Started;
        }
    }

    /// Starts the task anew, because its log has started over.
    fn restart(&mut self) {
        self.unsend();
        self.era += 1;
        self.place = None;
        self.phase = Phase::New;
    }

    /// Ends the job without sending its reports. Another worker has the task, or the
    /// client has stopped.
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
            room.give(&report);
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

/// Returns true if the refusal is temporary.
fn is_passing(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::RateLimited | ErrorCode::Unavailable)
}
