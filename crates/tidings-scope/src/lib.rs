//! A task that a program does: begun, reported on, asked to stop, and ended whatever
//! happens.
//!
//! This crate holds what `tidings-bus` and `tidings-client` share, so code can move
//! from a process with a bus to a process with a client and back. The two differ in
//! the way in which events leave the program: see [`Host`]. Use this crate through
//! `tidings_bus::guard` or `tidings_client`, which name its types for their host.
//!
//! What it is not: a bus, or a connection. Its neighbours are `tidings-protocol` below
//! and those two above.

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

/// How a task begins.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Beginning {
    /// The task.
    pub task_id: TaskId,
    /// The fields of `task_started`.
    pub started: tidings_protocol::TaskStarted,
    /// The worker; goes with every event.
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
    /// A task that was begun, as the host knows it.
    type Job: fmt::Debug + Send + Sync + 'static;
    /// Why an event is not in the log.
    type Error: std::error::Error + Clone + From<IdError> + Send + Sync + 'static;
    /// An event's place in the log.
    type Place: fmt::Debug + Send;
    /// The answer to an event, later.
    type Receipt: Future<Output = Result<Self::Place, Self::Error>> + fmt::Debug + Send + Unpin;
    /// Why a task cannot be followed any more.
    type Lost: std::error::Error + Send + Sync + 'static;
    /// What happens to a task: its state, then its events.
    type Updates: Stream<Item = Result<Heard, Self::Lost>> + fmt::Debug + Send + Unpin;
    /// Counts a scope while it lives.
    type Open: Send;

    /// Publishes `task_started`, and waits until it is accepted.
    fn start(
        &self,
        beginning: Beginning,
    ) -> impl Future<Output = Result<Self::Job, Self::Error>> + Send;

    /// Takes a report. Never waits, fails or panics; what is lost is counted.
    fn report(&self, job: &Self::Job, event: NewEvent);

    /// Takes a report whose answer somebody wants to know.
    fn try_report(&self, job: &Self::Job, event: NewEvent) -> Self::Receipt;

    /// Takes an event for which room is kept, also after the task's end.
    fn reply(&self, job: &Self::Job, event: NewEvent) -> Self::Receipt;

    /// Takes the task's end. A second end is refused.
    fn end(&self, job: &Self::Job, event: NewEvent) -> Self::Receipt;

    /// Notes that nobody holds the task any more. A task without an end ends with
    /// this event.
    fn leave(&self, job: &Self::Job, end: NewEvent);

    /// Returns the reports that are not in the log.
    fn losses(&self, job: &Self::Job) -> Losses<Self::Error>;

    /// Answers a command of a task that this program does not do.
    fn answer(&self, task_id: &TaskId, event: NewEvent) -> Self::Receipt;

    /// Follows a task from its state on.
    fn follow(&self, task_id: &TaskId) -> Self::Updates;

    /// Returns the offset of a place.
    fn offset(place: &Self::Place) -> Offset;

    /// Runs something beside the program's own work.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle;

    /// Counts a scope that the program's shutdown waits for.
    fn open_scope(&self) -> Self::Open;

    /// Returns whether the program is shutting down.
    fn is_closing(&self) -> bool;

    /// Waits until the program shuts down.
    fn closing(&self) -> impl Future<Output = ()> + Send + 'static;

    /// Waits until the log cannot be reached, so that a scope waits no longer for the
    /// answer to its end.
    fn parted(&self) -> impl Future<Output = ()> + Send;
}

/// A host that can begin a task without waiting for the answer.
pub trait BeginsNow: Host {
    /// Begins a task. If the id is none, or the start is refused, nothing is reported,
    /// and the task's end says why.
    fn begin_now(&self, beginning: Result<Beginning, IdError>) -> Self::Job;
}
