//! Lets a task of this process publish its events through the bus.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use serde::Serialize;
use tidings_protocol::{IdError, NewEvent, Offset, Outcome, Source, TaskId, Update};
use tidings_scope::{Beginning, BoxError, Heard, Host, Losses, RunError, given_up};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::job::{Job, Receipt};
use super::{Commands, Reporter, TaskBuilder};
use crate::bus::EventBus;
use crate::deliver::subscription::Subscription;
use crate::publish::error::{PublishError, Published};

/// The updates of a task of the bus, for the worker of the task.
#[derive(Debug)]
pub struct Updates(Subscription);

impl Stream for Updates {
    type Item = Result<Heard, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Some(update) = std::task::ready!(Pin::new(&mut self.0).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            if let Some(state) = update.snapshot() {
                return Poll::Ready(Some(Ok(Heard::State(Arc::clone(state)))));
            }
            if let Update::Event(event) = update
                && Heard::concerns(event.event_type())
            {
                let heard = Heard::Event(event.event_type().clone(), event.data());
                return Poll::Ready(Some(Ok(heard)));
            }
        }
    }
}

impl Host for EventBus {
    type Job = Job;
    type Error = PublishError;
    type Place = Published;
    type Receipt = Receipt;
    type Lost = Infallible;
    type Updates = Updates;
    type Open = TaskTrackerToken;

    async fn start(&self, beginning: Beginning) -> Result<Job, PublishError> {
        let mut event = beginning.event();
        event.source.clone_from(&beginning.source);
        let job = self.begin_job(beginning.task_id, beginning.source, event);
        let job = job.await?;
        if let Some(lease) = beginning.started.lease_ms {
            job.renew_every(self, Duration::from_millis(lease) / 3);
        }
        Ok(job)
    }

    fn report(&self, job: &Job, event: NewEvent) {
        job.report(self, event);
    }

    fn try_report(&self, job: &Job, event: NewEvent) -> Receipt {
        let (asked, receipt) = Receipt::new();
        job.try_report(self, event, asked);
        receipt
    }

    fn reply(&self, job: &Job, event: NewEvent) -> Receipt {
        let (asked, receipt) = Receipt::new();
        job.reply(self, event, asked);
        receipt
    }

    fn end(&self, job: &Job, event: NewEvent) -> Receipt {
        let (asked, receipt) = Receipt::new();
        job.end(self, event, asked);
        receipt
    }

    fn leave(&self, job: &Job, end: NewEvent) {
        // The bus refuses this if the task has ended already.
        drop(self.end(job, end));
    }

    fn losses(&self, job: &Job) -> Losses<PublishError> {
        job.losses()
    }

    fn answer(&self, task_id: &TaskId, event: NewEvent) -> Receipt {
        let (asked, receipt) = Receipt::new();
        let (bus, task_id) = (self.clone(), task_id.clone());
        self.shared.spawn(async move {
            // The answer is dropped if the caller does not wait for it.
            let _ = asked.send(bus.publish(&task_id, event).await);
        });
        receipt
    }

    fn follow(&self, task_id: &TaskId) -> Updates {
        Updates(self.watch(task_id))
    }

    fn offset(place: &Published) -> Offset {
        place.offset
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.shared.runtime().spawn(work).abort_handle()
    }

    fn open_scope(&self) -> TaskTrackerToken {
        self.shared.scopes.token()
    }

    fn is_closing(&self) -> bool {
        self.shared.closing.is_cancelled()
    }

    fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        self.shared.closing.clone().cancelled_owned()
    }

    fn parted(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// A job that has begun and that nobody has yet. Dropping it ends its task.
struct Begun {
    bus: EventBus,
    job: Option<Job>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.bus.leave(&job, given_up());
        }
    }
}

impl EventBus {
    /// Publishes the start of a task. If the future is dropped after the bus has taken the start,
    /// the task is reported as failed.
    async fn begin_job(
        &self,
        task_id: TaskId,
        source: Option<Source>,
        event: NewEvent,
    ) -> Result<Job, PublishError> {
        let begun = |bus: Self, task_id, started: Published| Begun {
            bus,
            job: Some(Job::new(task_id, source, started.run)),
        };
        let mut begun = if self.has_store() {
            // A task of the bus waits for the store, because the caller may be dropped meanwhile.
            let (asked, answer) = oneshot::channel();
            let bus = self.clone();
            self.shared.spawn(async move {
                let started = bus.publish(&task_id, event).await;
                // What nobody takes is dropped, and ends its task.
                let _ = asked.send(started.map(|started| begun(bus, task_id, started)));
            });
            answer.await.unwrap_or(Err(PublishError::Closed))?
        } else {
            let started = self.try_publish(&task_id, event)?;
            begun(self.clone(), task_id, started)
        };
        // A loop of starts must let other tasks of the runtime run.
        tokio::task::coop::consume_budget().await;
        begun.job.take().ok_or(PublishError::Closed)
    }

    /// Begins a task of this process. See [`Task`](super::Task).
    pub fn begin<I>(&self, task_id: I) -> TaskBuilder
    where
        I: TryInto<TaskId>,
        I::Error: Into<IdError>,
    {
        TaskBuilder::new(self.clone(), task_id)
    }

    /// Runs work as a task. See [`TaskBuilder::run`](tidings_scope::TaskBuilder::run).
    ///
    /// ```no_run
    /// # async fn example(bus: tidings_bus::EventBus) -> Result<(), tidings_bus::guard::RunError> {
    /// let bytes = bus
    ///     .run("copy-1", |task| async move {
    ///         task.progress(50.0, "half of it");
    ///         Ok(std::fs::copy("a", "b")?)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails if the task was not started, failed, or was cancelled.
    ///
    /// # Cancel safety
    /// If the future is dropped, the work is dropped and the task is reported as failed.
    pub async fn run<I, F, W, T>(&self, task_id: I, work: F) -> Result<T, RunError<PublishError>>
    where
        I: TryInto<TaskId>,
        I::Error: Into<IdError>,
        F: FnOnce(Reporter) -> W,
        W: Future<Output = Result<T, BoxError>>,
        T: Serialize,
    {
        self.begin(task_id).run(work).await
    }

    /// Returns the commands for a task that does not run as a [`Task`](super::Task) of this
    /// process.
    pub fn commands(&self, task_id: &TaskId) -> Commands {
        Commands::of_other(self.clone(), task_id.clone())
    }

    pub(super) fn has_store(&self) -> bool {
        self.shared.store.is_some()
    }

    /// Waits until a task has ended. Returns at once if the task has ended already. Waits for a
    /// task that is not known yet. Returns `None` if the bus is shut down before.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn wait(&self, task_id: &TaskId) -> Option<Outcome> {
        let mut watch = self.watch(task_id);
        while watch.recv().await.is_some() {
            if let Some(outcome) = watch.state(task_id).and_then(Outcome::of) {
                return Some(outcome);
            }
        }
        // The last state of a bus that is shut down.
        self.snapshot(task_id).as_ref().and_then(Outcome::of)
    }
}
