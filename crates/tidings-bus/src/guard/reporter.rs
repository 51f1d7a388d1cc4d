//! Reports about a running task.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tidings_protocol::{AgentStatus, Data, EventType, NewEvent, Source, TaskError, TaskId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cancel::Ears;
use super::queue::{Asked, Queue, Report};
use super::{Answer, BoxError, Losses};
use crate::bus::EventBus;
use crate::publish::append::PublishError;

/// The pause after the store was unavailable.
const RETRY: Duration = Duration::from_millis(250);

/// A handle to report on a task with. Cheap to clone.
///
/// Nothing here waits, fails or panics. After the task has ended reports are ignored.
#[derive(Debug, Clone)]
pub struct Reporter {
    bus: EventBus,
    own: Arc<Own>,
}

/// What the handles of one task share.
#[derive(Debug)]
struct Own {
    task_id: TaskId,
    source: Option<Source>,
    run: Option<u32>,
    state: Mutex<State>,
    steps: AtomicU64,
    ears: Ears,
    answers: AtomicBool,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// A task of the bus is publishing what is in the queue.
    draining: bool,
    told: Instant,
    progress: Option<Data>,
}

impl Reporter {
    pub(super) fn new(
        bus: EventBus,
        task_id: TaskId,
        source: Option<Source>,
        run: Option<u32>,
    ) -> Self {
        let state = State {
            queue: Queue::default(),
            draining: false,
            told: Instant::now(),
            progress: None,
        };
        Self {
            bus,
            own: Arc::new(Own {
                task_id,
                source,
                run,
                state: Mutex::new(state),
                steps: AtomicU64::new(0),
                ears: Ears::default(),
                answers: AtomicBool::new(false),
            }),
        }
    }

    /// Returns the task's id.
    pub fn id(&self) -> &TaskId {
        &self.own.task_id
    }

    /// Returns the bus.
    pub fn bus(&self) -> &EventBus {
        &self.bus
    }

    pub(super) fn ears(&self) -> &Ears {
        &self.own.ears
    }

    pub(super) fn next_step(&self) -> u64 {
        self.own.steps.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn answers_itself(&self) -> bool {
        self.own.answers.load(Ordering::Relaxed)
    }

    pub(super) fn answer_itself(&self) {
        self.own.answers.store(true, Ordering::Relaxed);
        self.ears().mind();
    }

    /// Reports how far the task is, in per cent, 0–100.
    pub fn progress<'a>(&self, percent: f64, message: impl Into<Option<&'a str>>) {
        self.publish(NewEvent::progress(percent, message));
    }

    /// Reports how far the task is, as so much of so much.
    pub fn progress_of<'a>(&self, current: f64, total: f64, message: impl Into<Option<&'a str>>) {
        self.publish(NewEvent::progress_of(current, total, message));
    }

    /// Reports a line, or lines, of a log.
    pub fn log(&self, message: impl AsRef<str>) {
        self.publish(NewEvent::log(message));
    }

    /// Reports what one of the task's agents is doing.
    pub fn agent<'a>(
        &self,
        agent_id: impl AsRef<str>,
        status: AgentStatus,
        message: impl Into<Option<&'a str>>,
    ) {
        self.publish(NewEvent::agent_status(agent_id, status, message));
    }

    /// Reports that a tool is called.
    pub fn tool_started(
        &self,
        tool_call_id: impl AsRef<str>,
        tool: impl AsRef<str>,
        input: impl Into<Option<Value>>,
    ) {
        self.publish(NewEvent::tool_call_started(tool_call_id, tool, input));
    }

    /// Reports that a tool has answered.
    pub fn tool_completed(&self, tool_call_id: impl AsRef<str>, output: impl Into<Option<Value>>) {
        self.publish(NewEvent::tool_call_completed(tool_call_id, output, None));
    }

    /// Reports that a tool has failed.
    pub fn tool_failed(&self, tool_call_id: impl AsRef<str>, error: impl Into<BoxError>) {
        let error = TaskError::of(error);
        self.publish(NewEvent::tool_call_failed(tool_call_id, error));
    }

    /// Reports any event.
    pub fn publish(&self, event: NewEvent) {
        let mut state = self.lock();
        if !state.queue.ended {
            self.take(&mut state, event, None);
        }
    }

    /// Returns the reports that were lost so far.
    pub fn losses(&self) -> Losses {
        self.lock().queue.losses.clone()
    }

    /// Says what must not be lost. Room is kept for it, also after the end.
    pub(super) fn reply(&self, event: NewEvent) -> Answer {
        let (asked, answer) = oneshot::channel();
        self.take(&mut self.lock(), event, Some(asked));
        answer
    }

    /// Ends the task; a second end is refused.
    pub(super) fn end(&self, event: NewEvent) -> Answer {
        let (asked, answer) = oneshot::channel();
        let mut state = self.lock();
        if state.queue.ended {
            let _ = asked.send(Err(PublishError::Closed));
        } else {
            state.queue.ended = true;
            self.take(&mut state, event, Some(asked));
            drop(state);
            self.ears().close();
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.own
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, state: &mut State, event: NewEvent, asked: Option<Asked>) {
        let mut event = match &self.own.source {
            Some(source) if event.source.is_none() => event.with_source(source.clone()),
            _ => event,
        };
        if let Some(run) = self.own.run {
            event = event.with_run(run);
        }
        if event.event_type == EventType::ProgressUpdate {
            state.progress = Some(event.data.clone());
        }
        state.told = Instant::now();
        let report = Report { event, asked };
        if !self.bus.has_store() {
            let answer = self.bus.try_publish(self.id(), report.event.clone());
            return state.queue.told(report, answer);
        }
        state.queue.push(report);
        if !state.draining {
            state.draining = true;
            let reporter = self.clone();
            self.bus.shared.spawn(async move { reporter.drain().await });
        }
    }

    /// Publishes what is in the queue, in order.
    async fn drain(self) {
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
            let answer = self.bus.publish(self.id(), next).await;
            let waits = matches!(answer, Err(PublishError::Unavailable(_)));
            self.lock().queue.settle(answer);
            if waits {
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = self.bus.shared.stop.cancelled() => self.lock().queue.settle(Err(PublishError::Closed)),
                }
            }
        }
    }

    /// Renews the task's lease until the task has ended.
    pub(super) fn renew_every(&self, pause: Duration) {
        let (reporter, stop) = (self.clone(), self.bus.shared.stop.clone());
        self.bus.shared.spawn(async move {
            loop {
                let due = reporter.lock().told + pause;
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = stop.cancelled() => return,
                }
                let mut state = reporter.lock();
                if state.queue.ended {
                    return;
                }
                if state.told + pause <= Instant::now() {
                    let event = match &state.progress {
                        Some(data) => NewEvent::new(EventType::ProgressUpdate, data.clone()),
                        None => NewEvent::new(
                            "lease_renewed".parse().unwrap_or(EventType::Log),
                            Data::empty(),
                        ),
                    };
                    reporter.take(&mut state, event, None);
                }
            }
        });
    }
}
