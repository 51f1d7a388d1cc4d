//! All tasks that this program performs, and the messages about them to the server.

mod job;
mod report;
mod room;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;
use tidings_protocol::{ErrorCode, IdError, NewEvent, Target, TaskSnapshot};
use tokio::time::Instant;

use super::topics::{Topics, WatchId};
use super::{RequestId, State, Wire};
use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::error::{ReceiptError, Stopped};
use crate::publish::Acknowledged;
use crate::task::Losses;
use crate::update::{Start, Update};

pub(crate) use job::Beginning;
use job::{Job, Wants};
use room::Room;

/// The id of a task that this program performs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(u64);

#[derive(Debug)]
pub(super) struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    /// The job of each `ref` on this connection.
    sent: HashMap<u64, JobId>,
    /// Probes: watches that exist to tell a job its task's state once.
    probes: BTreeMap<WatchId, JobId>,
    room: Room,
    rng: Rng,
    last: u64,
}

impl Jobs {
    pub(super) fn new(config: &ClientConfig, rng: Rng) -> Self {
        Self {
            jobs: BTreeMap::new(),
            sent: HashMap::new(),
            probes: BTreeMap::new(),
            room: Room::new(config.max_pending, config.max_pending_bytes),
            rng,
            last: 0,
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.jobs.values().map(Job::pending).sum()
    }

    /// Returns the time of the next retry or renewal on an open connection.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.jobs.values().filter_map(Job::timeout).min()
    }

    /// Returns true if a job has sent a request with this number.
    pub(super) fn has_sent(&self, reference: u64) -> bool {
        self.sent.contains_key(&reference)
    }

    fn flush(&mut self, id: JobId, now: Instant, wire: &mut Wire) {
        if let Some(job) = self.jobs.get_mut(&id) {
            let sent = job.flush(now, &mut self.room, wire);
            self.sent
                .extend(sent.into_iter().map(|reference| (reference, id)));
            if job.is_done() {
                self.jobs.remove(&id);
            }
        }
    }

    /// Sends the reports of all jobs, as far as their windows allow.
    pub(super) fn flush_all(&mut self, now: Instant, wire: &mut Wire) {
        let ids: Vec<_> = self.jobs.keys().copied().collect();
        for id in ids {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.renew(now);
            }
            self.flush(id, now, wire);
        }
    }

    fn check(&mut self, id: JobId, topics: &mut Topics) {
        if let Some(job) = self.jobs.get(&id) {
            let target = Target::Task(job.task_id().clone());
            self.probes.insert(topics.add(&target, Start::Live), id);
        }
    }

    /// Handles the loss of the connection.
    pub(super) fn lost(&mut self, topics: &mut Topics, wire: &mut Wire) {
        self.sent.clear();
        let mut checks = Vec::new();
        for (id, job) in &mut self.jobs {
            if job.lost(&mut self.room, wire) == Wants::Check {
                checks.push(*id);
            }
        }
        self.jobs.retain(|_, job| !job.is_done());
        for id in checks {
            self.check(id, topics);
        }
    }

    pub(super) fn stop(&mut self, stopped: &Stopped, wire: &mut Wire) {
        for job in self.jobs.values_mut() {
            job.stop(stopped, &mut self.room, wire);
        }
        self.jobs.retain(|_, job| !job.is_done());
    }

    /// Takes the next update of any probe. Returns none if no probe has an update.
    fn probed(
        &mut self,
        topics: &mut Topics,
    ) -> Option<(WatchId, JobId, Option<std::sync::Arc<TaskSnapshot>>)> {
        for (watch, job) in &self.probes {
            loop {
                match topics.take_from(*watch) {
                    Some(Ok(Update::Snapshot(state))) => return Some((*watch, *job, Some(state))),
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return Some((*watch, *job, None)),
                    None => break,
                }
            }
        }
        None
    }
}

impl State {
    /// Begins a task. The request is answered when the server has accepted the start.
    pub(crate) fn begin(
        &mut self,
        beginning: Beginning,
        refused: Option<IdError>,
        now: Instant,
    ) -> (JobId, RequestId) {
        let start = RequestId(self.wire.reference());
        self.jobs.last += 1;
        let id = JobId(self.jobs.last);
        let backoff = Backoff::new(
            self.config.backoff_base,
            self.config.backoff_cap,
            self.jobs.rng.fork(),
        );
        let mut job = Job::new(beginning, start, backoff, now);
        let stopped = self.stopped().cloned().map(ReceiptError::Stopped);
        self.unsent += usize::from(stopped.is_some());
        if let Some(error) = refused.map(ReceiptError::InvalidTaskId).or(stopped) {
            job.give_up(&error, &mut self.jobs.room, &mut self.wire);
        }
        self.jobs.jobs.insert(id, job);
        self.flush_job(id, now);
        (id, start)
    }

    /// Reports without an answer. A lost report is only counted.
    pub(crate) fn report(&mut self, id: JobId, event: NewEvent, now: Instant) {
        let event_type = event.event_type.clone();
        let Some(job) = self.jobs.jobs.get_mut(&id) else {
            return;
        };
        match job.report(event, None, &mut self.jobs.room, &mut self.wire) {
            Ok(()) => self.flush_job(id, now),
            Err(error) if job.verdict().is_some() => self.count(&error),
            Err(error) => job.not_taken(event_type, error),
        }
    }

    /// Reports, and lets the program wait for the answer.
    ///
    /// # Errors
    /// Returns an error if there is no room, the event is too large, or the job has
    /// ended.
    pub(crate) fn try_report(
        &mut self,
        id: JobId,
        event: NewEvent,
        now: Instant,
    ) -> Result<RequestId, ReceiptError> {
        let job = self.jobs.jobs.get_mut(&id).ok_or(ReceiptError::Ended)?;
        let answer = RequestId(self.wire.reference());
        let taken = job.report(event, Some(answer), &mut self.jobs.room, &mut self.wire);
        taken.inspect_err(|error| self.count(error))?;
        self.flush_job(id, now);
        Ok(answer)
    }

    /// Reports an answer to a command. It must not be lost, so it always has room.
    ///
    /// # Errors
    /// Returns an error if the job has ended.
    pub(crate) fn reply(
        &mut self,
        id: JobId,
        event: NewEvent,
        now: Instant,
    ) -> Result<RequestId, ReceiptError> {
        let job = self.jobs.jobs.get_mut(&id).ok_or(ReceiptError::Ended)?;
        let answer = RequestId(self.wire.reference());
        job.keep(event, answer)
            .inspect_err(|error| self.count(error))?;
        self.flush_job(id, now);
        Ok(answer)
    }

    /// Ends a task. The end always has room.
    ///
    /// # Errors
    /// Returns an error if the task has ended before, its start was refused, or the
    /// client has stopped.
    pub(crate) fn end(
        &mut self,
        id: JobId,
        event: NewEvent,
        now: Instant,
    ) -> Result<RequestId, ReceiptError> {
        let job = self.jobs.jobs.get_mut(&id).ok_or(ReceiptError::Ended)?;
        let answer = RequestId(self.wire.reference());
        job.end(event, answer, self.wire.max_message())
            .inspect_err(|error| self.count(error))?;
        self.flush_job(id, now);
        Ok(answer)
    }

    /// Counts a report that was not taken because the client has stopped.
    fn count(&mut self, error: &ReceiptError) {
        self.unsent += usize::from(matches!(error, ReceiptError::Stopped(_)));
    }

    /// Handles the drop of a task by the program. If the task has not ended, it ends
    /// with this event.
    pub(crate) fn leave(&mut self, id: JobId, event: NewEvent, now: Instant) {
        let Some(job) = self.jobs.jobs.get_mut(&id) else {
            return;
        };
        job.left = true;
        if !job.has_ended() {
            // The end is refused if the task never belonged to this program. Then no
            // end needs reporting.
            let _ = self.end(id, event, now);
        }
        self.flush_job(id, now);
        if self.jobs.jobs.get(&id).is_some_and(Job::is_done) {
            self.jobs.jobs.remove(&id);
        }
    }

    /// Returns the losses among a task's reports so far.
    pub(crate) fn losses(&self, id: JobId) -> Losses {
        let job = self.jobs.jobs.get(&id);
        job.map(|job| job.losses().clone()).unwrap_or_default()
    }

    fn flush_job(&mut self, id: JobId, now: Instant) {
        if self.is_connected() {
            self.jobs.flush(id, now, &mut self.wire);
        }
    }

    /// Handles the server's answer to a request of a job.
    pub(super) fn job_answered(
        &mut self,
        reference: u64,
        answer: Result<Acknowledged, (ErrorCode, String)>,
        now: Instant,
    ) {
        let Some(id) = self.jobs.sent.remove(&reference) else {
            return;
        };
        let Some(job) = self.jobs.jobs.get_mut(&id) else {
            return;
        };
        let wants = job.answered(reference, answer, now, &mut self.jobs.room, &mut self.wire);
        if wants == Wants::Check {
            self.jobs.check(id, &mut self.topics);
        }
        self.flush_job(id, now);
    }

    /// Passes the updates of the probes to their jobs.
    pub(super) fn serve_probes(&mut self, now: Instant) {
        while let Some((watch, id, state)) = self.jobs.probed(&mut self.topics) {
            self.jobs.probes.remove(&watch);
            self.unwatch(watch);
            if let Some(job) = self.jobs.jobs.get_mut(&id) {
                match state {
                    Some(state) => job.checked(&state, &mut self.jobs.room, &mut self.wire),
                    None => job.unchecked(),
                }
            }
            self.flush_job(id, now);
        }
    }
}

impl Jobs {
    /// Returns the size of the largest report in flight, in bytes.
    pub(super) fn largest(&self) -> Option<usize> {
        self.jobs.values().filter_map(Job::largest).max()
    }

    /// Refuses the largest report in flight.
    pub(super) fn refuse_largest(&mut self, wire: &mut Wire) {
        if let Some(job) = self.jobs.values_mut().max_by_key(|job| job.largest()) {
            job.refuse_largest(&mut self.room, wire);
        }
    }
}
