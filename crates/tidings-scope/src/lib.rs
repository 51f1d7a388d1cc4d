//! Tasks that a program performs: it begins them, reports on them, answers their
//! commands and ends them. The end is reported in every case.
//!
//! This crate contains the common part of `tidings-bus` and `tidings-client`. Code can
//! therefore move from a process with a bus to a process with a client, and back. The
//! two send the task's events in different ways: see [`Host`]. Use this crate through
//! `tidings_bus::guard` or `tidings_client`, which name its types for their host.
//!
//! This crate is neither a bus nor a connection. Its neighbours are `tidings-protocol`
//! below, and `tidings-bus` and `tidings-client` above.

mod ask;
mod builder;
mod cancel;
mod commands;
mod gather;
mod heard;
mod losses;
mod parts;
mod reporter;
mod scope;
mod task;

use std::fmt;

use futures_core::Stream;
use tidings_protocol::{IdError, NewEvent, Offset, Source, TaskId};
use tokio::task::AbortHandle;

pub use ask::{Answered, AskError};
pub use builder::TaskBuilder;
pub use commands::{Command, Commands};
pub use heard::Heard;
pub use losses::{Losses, Refusal};
pub use parts::{Output, TaskStep};
pub use reporter::Reporter;
pub use scope::RunError;
pub use task::{Ended, Ending, Task, given_up};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The start of a task.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Beginning {
    /// The task's id.
    pub task_id: TaskId,
    /// The fields of `task_started`.
    pub started: tidings_protocol::TaskStarted,
    /// The worker's name. Every event carries it.
    pub source: Option<Source>,
}

impl Beginning {
    /// Returns the event `task_started`.
    pub fn event(&self) -> NewEvent {
        NewEvent::task_started_with(&self.started)
    }
}

/// The way in which a task's events leave the program: a bus or a client.
pub trait Host: Clone + fmt::Debug + Send + Sync + Unpin + 'static {
    /// The host's handle of a begun task.
    type Job: fmt::Debug + Send + Sync + 'static;
    /// The reason why an event is not in the log.
    type Error: std::error::Error + Clone + From<IdError> + Send + Sync + 'static;
    /// An event's place in the log.
    type Place: fmt::Debug + Send;
    /// The future answer to an event.
    type Receipt: Future<Output = Result<Self::Place, Self::Error>> + fmt::Debug + Send + Unpin;
    /// The reason why a task cannot be followed any more.
    type Lost: std::error::Error + Send + Sync + 'static;
    /// The updates of a task: its state, and then its events.
    type Updates: Stream<Item = Result<Heard, Self::Lost>> + fmt::Debug + Send + Unpin;
    /// A guard that counts an open scope while it exists.
    type Open: Send;

    /// Publishes `task_started` and waits until the log has accepted it.
    fn start(
        &self,
        beginning: Beginning,
    ) -> impl Future<Output = Result<Self::Job, Self::Error>> + Send;

    /// Takes a report. Never waits, fails or panics. A lost report is counted.
    fn report(&self, job: &Self::Job, event: NewEvent);

    /// Takes a report, and returns the receipt of its answer.
    fn try_report(&self, job: &Self::Job, event: NewEvent) -> Self::Receipt;

    /// Takes an event that always has room, even after the task's end.
    fn reply(&self, job: &Self::Job, event: NewEvent) -> Self::Receipt;

    /// Takes the task's end. A second end is refused.
    fn end(&self, job: &Self::Job, event: NewEvent) -> Self::Receipt;

    /// Notes that the program has dropped the task. A task without an end then ends
    /// with this event.
    fn leave(&self, job: &Self::Job, end: NewEvent);

    /// Returns the reports that are not in the log.
    fn losses(&self, job: &Self::Job) -> Losses<Self::Error>;

    /// Answers a command of a task that another program performs.
    fn answer(&self, task_id: &TaskId, event: NewEvent) -> Self::Receipt;

    /// Returns the updates of a task, beginning with its state.
    fn follow(&self, task_id: &TaskId) -> Self::Updates;

    /// Returns the offset of a place.
    fn offset(place: &Self::Place) -> Offset;

    /// Spawns work beside the program's own work.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle;

    /// Counts an open scope. The program's shutdown waits for it.
    fn open_scope(&self) -> Self::Open;

    /// Returns true if the program is shutting down.
    fn is_closing(&self) -> bool;

    /// Waits until the program shuts down.
    fn closing(&self) -> impl Future<Output = ()> + Send + 'static;

    /// Waits until the log cannot be reached. A scope then stops waiting for the answer
    /// to its end.
    fn parted(&self) -> impl Future<Output = ()> + Send;
}

/// A host that can begin a task without waiting for the answer.
pub trait BeginsNow: Host {
    /// Begins a task without waiting. If the id is not valid or the start is refused,
    /// nothing is reported, and the task's end returns the reason.
    fn begin_now(&self, beginning: Result<Beginning, IdError>) -> Self::Job;
}
