//! A task that this program performs. Its end is reported in every case.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt as _;
use tidings_protocol::{IdError, NewEvent, Offset, TaskId};
use tidings_scope::{BeginsNow, Heard, Host, given_up};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::client::{Client, OpenScope};
use crate::error::{ReceiptError, WatchError};
use crate::publish::{Acknowledged, Receipt};
use crate::state::{self, JobId, Status};
use crate::update::Update;
use crate::watch::Watch;

/// A running task, whose owner must report its end: see [`tidings_scope::Task`].
///
/// ```no_run
/// # async fn example(client: tidings_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let task = client.task("render-7").name("Render").start().await?;
/// task.progress(40.0, "lighting");
/// let ended = task.complete(None).await?;
/// if !ended.losses.is_empty() {
///     eprintln!("not everything was reported: {:?}", ended.losses);
/// }
/// # Ok(())
/// # }
/// ```
///
/// The client's own tokio task sends the end, so the runtime must live a moment longer.
/// [`Client::close`] waits for it. If the server has lost its memory, the client first starts the
/// task there again.
pub type Task = tidings_scope::Task<Client>;
/// Builds and starts a [`Task`].
pub type TaskBuilder = tidings_scope::TaskBuilder<Client>;
/// A handle that reports on a task.
pub type Reporter = tidings_scope::Reporter<Client>;
/// A step of a task, whose owner must report its end.
pub type TaskStep = tidings_scope::TaskStep<Client>;
/// A text of a task that grows.
pub type Output = tidings_scope::Output<Client>;
/// The commands given to a task.
pub type Commands = tidings_scope::Commands<Client>;
/// A command that the program must answer.
pub type Command = tidings_scope::Command<Client>;
/// A future that completes when the end of a task is in the log.
pub type Ending = tidings_scope::Ending<Client>;
/// A task whose end is in its log.
pub type Ended = tidings_scope::Ended<Acknowledged, ReceiptError>;
/// Reports of a task that are not in its log.
pub type Losses = tidings_scope::Losses<ReceiptError>;
/// A report that the server has refused for good.
pub type Refusal = tidings_scope::Refusal<ReceiptError>;
/// The reason why the work of a task failed.
pub type RunError = tidings_scope::RunError<ReceiptError>;
/// The reason why a question has no answer.
pub type AskError = tidings_scope::AskError<ReceiptError>;

/// The updates of a task, for its worker.
#[derive(Debug)]
pub struct Updates(Watch);

impl Stream for Updates {
    type Item = Result<Heard, WatchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let update = match std::task::ready!(self.0.poll_next_unpin(cx)) {
                Some(Ok(update)) => update,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            };
            if let Some(state) = update.snapshot() {
                return Poll::Ready(Some(Ok(Heard::State(state.clone()))));
            }
            if let Update::Event(event) = update
                && Heard::concerns(&event.event_type)
            {
                let heard = Heard::Event(event.event_type.clone(), event.data.clone());
                return Poll::Ready(Some(Ok(heard)));
            }
        }
    }
}

/// Drops a begun task, unless the server has accepted its start.
struct Starting<'a> {
    client: &'a Client,
    job: Option<JobId>,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            self.client.leave(&job, given_up());
        }
    }
}

impl Client {
    /// Returns the receipt of a request, or of its immediate refusal.
    fn asked(
        &self,
        ask: impl FnOnce(&mut state::State, Instant) -> Result<state::RequestId, ReceiptError>,
    ) -> Receipt {
        let now = Instant::now();
        let asked = self.receipt(|core| ask(&mut core.state, now));
        asked.unwrap_or_else(Receipt::refused)
    }

    fn begin_job(&self, beginning: tidings_scope::Beginning) -> (JobId, Receipt) {
        self.begin(job_of(beginning), None)
    }
}

fn job_of(beginning: tidings_scope::Beginning) -> state::Beginning {
    state::Beginning {
        event: beginning.event(),
        task_id: beginning.task_id,
        source: beginning.source,
        lease: beginning
            .started
            .lease_ms
            .map(std::time::Duration::from_millis),
        mark: uuid::Uuid::new_v4().simple().to_string(),
    }
}

impl Host for Client {
    type Job = JobId;
    type Error = ReceiptError;
    type Place = Acknowledged;
    type Receipt = Receipt;
    type Lost = WatchError;
    type Updates = Updates;
    type Open = OpenScope;

    async fn start(&self, beginning: tidings_scope::Beginning) -> Result<JobId, ReceiptError> {
        let (job, start) = self.begin_job(beginning);
        let mut starting = Starting {
            client: self,
            job: Some(job),
        };
        start.await?;
        starting.job = None;
        Ok(job)
    }

    fn report(&self, job: &JobId, event: NewEvent) {
        let now = Instant::now();
        self.shared()
            .with(|core| core.state.report(*job, event, now));
    }

    fn try_report(&self, job: &JobId, event: NewEvent) -> Receipt {
        self.asked(|state, now| state.try_report(*job, event, now))
    }

    fn reply(&self, job: &JobId, event: NewEvent) -> Receipt {
        self.asked(|state, now| state.reply(*job, event, now))
    }

    fn end(&self, job: &JobId, event: NewEvent) -> Receipt {
        self.asked(|state, now| state.end(*job, event, now))
    }

    fn leave(&self, job: &JobId, end: NewEvent) {
        let now = Instant::now();
        self.shared().with(|core| core.state.leave(*job, end, now));
    }

    fn losses(&self, job: &JobId) -> Losses {
        self.shared().with(|core| core.state.losses(*job))
    }

    fn answer(&self, task_id: &TaskId, event: NewEvent) -> Receipt {
        let sent = self.send_as(task_id, event, true);
        sent.unwrap_or_else(Receipt::refused)
    }

    fn follow(&self, task_id: &TaskId) -> Updates {
        Updates(self.watch(task_id))
    }

    fn offset(place: &Acknowledged) -> Offset {
        place.offset
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.runtime().spawn(work).abort_handle()
    }

    fn open_scope(&self) -> OpenScope {
        OpenScope::new(self.clone())
    }

    fn is_closing(&self) -> bool {
        *self.shared().closing.borrow()
    }

    fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.shared().closing.subscribe();
        async move {
            if closing.wait_for(|closing| *closing).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn parted(&self) {
        let mut status = self.watch_status();
        drop(status.wait_for(|status| *status != Status::Connected).await);
    }
}

impl BeginsNow for Client {
    fn begin_now(&self, beginning: Result<tidings_scope::Beginning, IdError>) -> JobId {
        match beginning {
            Ok(beginning) => self.begin_job(beginning).0,
            Err(error) => {
                let placeholder = state::Beginning {
                    task_id: TaskId::new("-").expect("a short id"),
                    event: NewEvent::task_started(""),
                    source: None,
                    lease: None,
                    mark: String::new(),
                };
                self.begin(placeholder, Some(error)).0
            }
        }
    }
}
