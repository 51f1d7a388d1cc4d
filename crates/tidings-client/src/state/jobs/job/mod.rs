//! One task that this program performs: its start, its reports and its end, in order.
//!
//! Every publish of a job carries a producer stamp, so the server accepts the publishes
//! in order or not at all. After a refusal, the job goes back to the refused report. It
//! sends this report and all later ones again.

mod answers;

use std::collections::VecDeque;
use std::time::Duration;

use tidings_protocol::{
    ClientMessage, ClientRequest, Data, Epoch, EventId, EventType, NewEvent, ProducerId,
    ProducerStamp, Reference, Source, TaskError, TaskId,
};
use tokio::time::Instant;

use super::super::{Output, RequestId, Wire};
use super::report::{Report, Way, fit};
use super::room::Room;
use crate::backoff::Backoff;
use crate::error::ReceiptError;
use crate::task::Losses;

/// The number of reports of one task that are sent and not answered. A server knows the
/// offsets of a producer's last 64 events.
const WINDOW: usize = 64;

/// The state of a job.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// The start has still to be sent.
    New,
    /// The start was sent on this connection under this `ref`.
    Starting(u64),
    /// The task is running, and the job sends reports.
    Started,
    /// The log may have changed. The job has asked the server for the task's state.
    Checking,
    /// The job sends nothing more.
    Over(ReceiptError),
}

/// The log and the run in which the task was started.
#[derive(Debug, Clone)]
struct Place {
    epoch: Epoch,
    run: Option<u32>,
}

/// The job's request after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Nothing,
    /// The job needs the task's state; see [`Job::checked`].
    Check,
}

/// The start of a task.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) task_id: TaskId,
    /// The event `task_started`.
    pub(crate) event: NewEvent,
    pub(crate) source: Option<Source>,
    pub(crate) lease: Option<Duration>,
    /// The job's unique name. No other job has the same mark.
    pub(crate) mark: String,
}

#[derive(Debug)]
pub(super) struct Job {
    beginning: Beginning,
    phase: Phase,
    place: Option<Place>,
    /// The number of logs in which the task was started.
    era: u64,
    /// The request that waits for the answer to the start.
    start: Option<RequestId>,
    reports: VecDeque<Report>,
    /// The number of reports at the front that were sent on this connection.
    in_flight: usize,
    /// The producer's `seq` of the first report.
    seq: u64,
    /// The job sends nothing before this time, after a temporary refusal.
    hold: Option<Instant>,
    backoff: Backoff,
    losses: Losses,
    /// The time of the last message to the server about this task.
    told: Instant,
    /// The last progress. The job repeats it to renew the lease.
    progress: Option<Data>,
    /// True if the end was reported. The end may have left the queue already.
    ended: bool,
    /// True after the program has dropped the task.
    pub(super) left: bool,
}

impl Job {
    pub(super) fn new(
        beginning: Beginning,
        start: RequestId,
        backoff: Backoff,
        now: Instant,
    ) -> Self {
        Self {
            beginning,
            phase: Phase::New,
            place: None,
            era: 0,
            start: Some(start),
            reports: VecDeque::new(),
            in_flight: 0,
            seq: 1,
            hold: None,
            backoff,
            losses: Losses::default(),
            told: now,
            progress: None,
            ended: false,
            left: false,
        }
    }

    pub(super) fn task_id(&self) -> &TaskId {
        &self.beginning.task_id
    }

    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the reason why the job has ended, if it has.
    pub(super) fn verdict(&self) -> Option<&ReceiptError> {
        match &self.phase {
            Phase::Over(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the number of unanswered publishes, including the start.
    pub(super) fn pending(&self) -> usize {
        let starting = matches!(self.phase, Phase::New | Phase::Starting(_));
        self.reports.len() + usize::from(starting)
    }

    /// Returns true if the job has no work left.
    pub(super) fn is_done(&self) -> bool {
        self.left && self.pending() == 0
    }

    /// Takes a report. If there is no room, the oldest droppable report is dropped, or
    /// else the new one.
    ///
    /// # Errors
    /// Returns an error if the report was not taken.
    pub(super) fn report(
        &mut self,
        event: NewEvent,
        answer: Option<RequestId>,
        room: &mut Room,
        wire: &mut Wire,
    ) -> Result<(), ReceiptError> {
        if let Phase::Over(error) = &self.phase {
            return Err(error.clone());
        }
        if self.ended {
            return Err(ReceiptError::Ended);
        }
        let event = self.sign(event);
        let max_message = wire.max_message();
        let progress = (event.event_type == EventType::ProgressUpdate).then(|| event.data.clone());
        let more = event.data.as_str().len();
        if answer.is_none()
            && room.fits(more)
            && let Some(last) = self.reports.back_mut()
            && let Some(grown) = last.absorb(&event, max_message)
        {
            room.grow(grown);
            self.progress = progress.or(self.progress.take());
            return Ok(());
        }
        let mut parts = match answer {
            None => fit(event, max_message),
            Some(_) => vec![event],
        };
        // The waiter receives the answer to the last part.
        let last = parts.pop();
        for part in parts {
            self.take(part, None, room, wire)?;
        }
        if let Some(part) = last {
            self.take(part, answer, room, wire)?;
        }
        self.progress = progress.or(self.progress.take());
        Ok(())
    }

    fn take(
        &mut self,
        event: NewEvent,
        answer: Option<RequestId>,
        room: &mut Room,
        wire: &mut Wire,
    ) -> Result<(), ReceiptError> {
        let bytes = event.data.as_str().len();
        let max = wire.max_message();
        if bytes > max {
            return Err(ReceiptError::TooLarge { bytes, max });
        }
        while !room.fits(bytes) {
            // A search through thousands of reports takes time, so search only if it can succeed.
            let droppable = room.has_droppable().then(|| {
                let mut waiting = self.reports.range(self.in_flight..);
                waiting.position(Report::may_be_dropped)
            });
            let Some(at) = droppable.flatten().map(|at| self.in_flight + at) else {
                return Err(ReceiptError::BufferFull);
            };
            if let Some(report) = self.reports.remove(at) {
                room.give(&report);
                self.losses.dropped += 1;
                if let Some(answer) = report.answer {
                    wire.output(Output::Acknowledged(answer, Err(ReceiptError::Dropped)));
                }
            }
        }
        let report = Report::new(event, Some(bytes), answer);
        room.take(&report);
        self.reports.push_back(report);
        Ok(())
    }

    /// Takes an event that always has room: an answer to a command, or the end.
    pub(super) fn keep(&mut self, event: NewEvent, answer: RequestId) -> Result<(), ReceiptError> {
        if let Phase::Over(error) = &self.phase {
            return Err(error.clone());
        }
        let event = self.sign(event);
        let at = match self.ended {
            // An answer to a command goes before the end, if the end was not sent yet.
            true => match self.reports.back() {
                Some(end) if end.way == Way::Waits => self.reports.len() - 1,
                _ => self.reports.len(),
            },
            false => self.reports.len(),
        };
        self.reports
            .insert(at, Report::new(event, None, Some(answer)));
        Ok(())
    }

    /// Takes the end. A second end is refused.
    pub(super) fn end(
        &mut self,
        event: NewEvent,
        answer: RequestId,
        max_message: usize,
    ) -> Result<(), ReceiptError> {
        if self.ended {
            return Err(ReceiptError::Ended);
        }
        let bytes = event.data.as_str().len();
        let event = if bytes + super::report::ENVELOPE > max_message {
            let max = max_message;
            self.refused(
                event.event_type.clone(),
                ReceiptError::TooLarge { bytes, max },
            );
            bare(&event)
        } else {
            event
        };
        let kept = self.keep(event, answer);
        self.ended = true;
        if kept.is_ok()
            && let Some(end) = self.reports.back_mut()
        {
            end.is_end = true;
        }
        kept
    }

    fn sign(&self, event: NewEvent) -> NewEvent {
        match &self.beginning.source {
            Some(source) if event.source.is_none() => event.with_source(source.clone()),
            _ => event,
        }
    }

    /// Counts a report that the server has refused for good.
    pub(super) fn refused(&mut self, event_type: EventType, error: ReceiptError) {
        self.losses.refuse(event_type, error);
    }

    /// Counts a report that could not be taken.
    pub(super) fn not_taken(&mut self, event_type: EventType, error: ReceiptError) {
        match error {
            ReceiptError::BufferFull | ReceiptError::Dropped => self.losses.dropped += 1,
            other => self.refused(event_type, other),
        }
    }

    /// Sends reports, as far as the window allows. The server has sent its greeting.
    pub(super) fn flush(&mut self, now: Instant, room: &mut Room, wire: &mut Wire) -> Vec<u64> {
        let mut sent = Vec::new();
        if self.hold.is_some_and(|until| now < until) {
            return sent;
        }
        self.hold = None;
        if self.phase == Phase::New {
            let event = self.beginning.event.clone();
            let event = self.sign(event).with_event_id(self.start_id());
            let event = self.stamped(event, 0);
            let reference = wire.reference();
            match wire.send(message(reference, &self.beginning.task_id, event)) {
                Ok(()) => {
                    self.phase = Phase::Starting(reference);
                    self.told = now;
                    sent.push(reference);
                }
                Err(error) => self.refuse_start(error.into(), room, wire),
            }
        }
        let has_work = self.in_flight < WINDOW.min(self.reports.len());
        if self.phase != Phase::Started || !has_work {
            return sent;
        }
        let goes_back = self
            .reports
            .iter()
            .take(self.in_flight)
            .any(|report| report.way == Way::Back);
        while !goes_back && self.in_flight < WINDOW && self.in_flight < self.reports.len() {
            let at = self.in_flight;
            let seq = self.seq + at as u64;
            let mut event = self.reports[at].event.clone();
            if let Some(run) = self.place.as_ref().and_then(|place| place.run) {
                event = event.with_run(run);
            }
            let own = event.producer.is_some();
            let event = if own { event } else { self.stamped(event, seq) };
            let reference = wire.reference();
            if let Err(error) = wire.send(message(reference, &self.beginning.task_id, event)) {
                // The limit of the server may have changed since the report was taken,
                // or was not known then.
                if !self.refit(at, error.max, room) {
                    self.remove(at, error.into(), room, wire);
                }
                continue;
            }
            self.reports[at].way = Way::Sent(reference);
            self.in_flight += 1;
            self.told = now;
            sent.push(reference);
        }
        sent
    }

    /// Makes an unsent report fit into a smaller message. Returns false if that is
    /// impossible.
    fn refit(&mut self, at: usize, max_message: usize, room: &mut Room) -> bool {
        let report = &self.reports[at];
        let before = report.event.data.as_str().len();
        let smaller = |part: &NewEvent| part.data.as_str().len() < before;
        if report.is_end {
            let (event_type, bare) = (report.event.event_type.clone(), bare(&report.event));
            let fits = smaller(&bare);
            if fits {
                let (bytes, max) = (before, max_message);
                self.refused(event_type, ReceiptError::TooLarge { bytes, max });
                self.reports[at].event = bare;
            }
            return fits;
        }
        let parts = fit(report.event.clone(), max_message);
        if report.bytes.is_none() || !parts.iter().all(smaller) {
            return false;
        }
        let Some(report) = self.reports.remove(at) else {
            return false;
        };
        room.give(&report);
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            let bytes = part.data.as_str().len();
            // The waiter receives the answer to the last part.
            let answer = report.answer.filter(|_| index == last);
            let part = Report::new(part, Some(bytes), answer);
            room.take(&part);
            self.reports.insert(at + index, part);
        }
        true
    }

    fn stamped(&self, event: NewEvent, seq: u64) -> NewEvent {
        match ProducerId::new(self.beginning.mark.clone()) {
            Ok(id) => event.with_producer(ProducerStamp::new(id, self.era, seq)),
            // A mark has a few dozen hexadecimal digits, so this does not occur. Do not
            // panic here.
            Err(_) => event,
        }
    }

    /// Returns the event id of the start. Each log has a different one.
    fn start_id(&self) -> EventId {
        let id = format!("{}/{}", self.beginning.mark, self.era);
        EventId::new(id).unwrap_or_else(|_| EventId::new("start").expect("a short id"))
    }

    /// Returns the time of the next retry or lease renewal.
    pub(super) fn timeout(&self) -> Option<Instant> {
        [self.hold, self.renewal()].into_iter().flatten().min()
    }

    fn renewal(&self) -> Option<Instant> {
        let lease = self.beginning.lease?;
        let runs = self.phase == Phase::Started && !self.ended && self.reports.is_empty();
        runs.then(|| self.told + lease / 3)
    }

    /// Renews the lease if the renewal is due.
    pub(super) fn renew(&mut self, now: Instant) {
        if self.renewal().is_some_and(|due| due <= now) {
            let event = match &self.progress {
                Some(data) => NewEvent::new(EventType::ProgressUpdate, data.clone()),
                None => renewal(),
            };
            let event = self.sign(event);
            self.reports.push_back(Report::new(event, None, None));
        }
    }
}

/// Returns a sign of life for a task without any reported progress.
fn renewal() -> NewEvent {
    let event_type = "lease_renewed".parse().unwrap_or(EventType::Log);
    NewEvent::new(event_type, Data::empty())
}

/// Returns an end that the server certainly accepts: without a result, and with a short
/// error.
fn bare(event: &NewEvent) -> NewEvent {
    let bare = match event.event_type {
        EventType::TaskCompleted => NewEvent::task_completed(None),
        EventType::TaskCancelled => NewEvent::task_cancelled(None),
        _ => NewEvent::task_failed(TaskError::new("the error is too large to be reported")),
    };
    let mut event = event.clone();
    event.data = bare.data;
    event
}

fn message(reference: u64, task_id: &TaskId, event: NewEvent) -> String {
    let request = ClientRequest::Publish {
        task_id: Some(task_id.clone()),
        event,
    };
    ClientMessage::new(request)
        .with_reference(Reference::from(reference))
        .encode()
}
