//! A task of this process, with the reports that its log does not have yet.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidings_protocol::{Data, EventType, NewEvent, Source, TaskId};
use tidings_scope::Losses;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::queue::{Asked, Queue, Report};
use crate::bus::EventBus;
use crate::lock::{Guard, Lock, place};
use crate::publish::error::{PublishError, Published};

/// The pause after the store was unavailable.
const RETRY: Duration = Duration::from_millis(250);

/// The answer to an event, when it comes. Dropping the receipt does not take the event back.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Published, PublishError>>);

impl Receipt {
    pub(super) fn new() -> (Asked, Self) {
        let (asked, answer) = oneshot::channel();
        (asked, Self(answer))
    }
}

impl Future for Receipt {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(answer.unwrap_or(Err(PublishError::Closed)))
    }
}

/// A task of this process, as the bus knows it.
#[derive(Debug, Clone)]
pub struct Job(Arc<Own>);

#[derive(Debug)]
struct Own {
    task_id: TaskId,
    source: Option<Source>,
    run: Option<u32>,
    state: Lock<State, place::Job>,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// True while a tokio task of the bus publishes the reports of the queue.
    draining: bool,
    told: Instant,
    progress: Option<Data>,
}

impl Job {
    pub(super) fn new(task_id: TaskId, source: Option<Source>, run: Option<u32>) -> Self {
        let state = State {
            queue: Queue::default(),
            draining: false,
            told: Instant::now(),
            progress: None,
        };
        Self(Arc::new(Own {
            task_id,
            source,
            run,
            state: Lock::new(state),
        }))
    }

    fn lock(&self) -> Guard<'_, State, place::Job> {
        self.0.state.lock()
    }

    pub(super) fn losses(&self) -> Losses<PublishError> {
        self.lock().queue.losses.clone()
    }

    pub(super) fn report(&self, bus: &EventBus, event: NewEvent) {
        let mut state = self.lock();
        if !state.queue.ended {
            self.take(bus, &mut state, Report::plain(event));
        }
    }

    pub(super) fn try_report(&self, bus: &EventBus, event: NewEvent, asked: Asked) {
        let mut state = self.lock();
        if state.queue.ended {
            let _ = asked.send(Err(PublishError::Ended));
        } else {
            self.take(bus, &mut state, Report::asked(event, asked, false));
        }
    }

    pub(super) fn reply(&self, bus: &EventBus, event: NewEvent, asked: Asked) {
        self.take(bus, &mut self.lock(), Report::asked(event, asked, true));
    }

    pub(super) fn end(&self, bus: &EventBus, event: NewEvent, asked: Asked) {
        let mut state = self.lock();
        if state.queue.ended {
            let _ = asked.send(Err(PublishError::Ended));
        } else {
            state.queue.ended = true;
            self.take(bus, &mut state, Report::asked(event, asked, true));
        }
    }

    fn take(&self, bus: &EventBus, state: &mut State, mut report: Report) {
        let event = &mut report.event;
        if event.source.is_none() {
            event.source.clone_from(&self.0.source);
        }
        event.run = self.0.run.or(event.run);
        if event.event_type == EventType::ProgressUpdate {
            state.progress = Some(event.data.clone());
        }
        state.told = Instant::now();
        if !bus.has_store() {
            let answer = bus.try_publish(&self.0.task_id, report.event.clone());
            return state.queue.told(report, answer);
        }
        state.queue.push(report);
        if !state.draining {
            state.draining = true;
            let (job, bus) = (self.clone(), bus.clone());
            bus.clone()
                .shared
                .spawn(async move { job.drain(bus).await });
        }
    }

    /// Publishes the reports of the queue, in order.
    async fn drain(self, bus: EventBus) {
        loop {
            let next = {
                let mut state = self.lock();
                match state.queue.next() {
                    Some(event) => event.clone(),
                    None => {
                        state.draining = false;
                        return;
                    }
                }
            };
            let answer = bus.publish(&self.0.task_id, next).await;
            let waits = matches!(answer, Err(PublishError::Unavailable(_)));
            self.lock().queue.settle(answer);
            if waits {
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = bus.shared.stop.cancelled() => {
                        self.lock().queue.settle(Err(PublishError::Closed));
                    }
                }
            }
        }
    }

    /// Renews the task's lease until the task has ended.
    pub(super) fn renew_every(&self, bus: &EventBus, pause: Duration) {
        let (job, bus) = (self.clone(), bus.clone());
        bus.clone().shared.spawn(async move {
            loop {
                let due = job.lock().told + pause;
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = bus.shared.stop.cancelled() => return,
                }
                let mut state = job.lock();
                if state.queue.ended {
                    return;
                }
                if state.told + pause <= Instant::now() {
                    let event = renewal(state.progress.as_ref());
                    job.take(&bus, &mut state, Report::plain(event));
                }
            }
        });
    }
}

/// Returns a sign of life: the last progress, if there was any.
fn renewal(progress: Option<&Data>) -> NewEvent {
    match progress {
        Some(data) => NewEvent::new(EventType::ProgressUpdate, data.clone()),
        None => NewEvent::new(
            "lease_renewed".parse().unwrap_or(EventType::Log),
            Data::empty(),
        ),
    }
}
