//! Publishing: what comes back, at once or later.

use std::pin::Pin;
use std::task::{Context, Poll};

use tidings_protocol::{Epoch, Offset, TaskId};
use tokio::sync::oneshot;

use crate::error::{ReceiptError, Stopped};

/// A publish that the server has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledged {
    /// The task.
    pub task_id: TaskId,
    /// The numbering of `offset`.
    pub epoch: Epoch,
    /// The event's place in the task's log.
    pub offset: Offset,
    /// The server had it already: an earlier answer was lost on its way.
    pub duplicate: bool,
    /// The run that a `task_started` has opened: name it in the run's other events,
    /// so that they cannot touch another worker's run.
    pub run: Option<u32>,
}

/// The answer to a publish that is on its way: a future.
///
/// Dropping it takes nothing back: the event is published all the same.
#[derive(Debug)]
pub struct Receipt(pub(crate) oneshot::Receiver<Result<Acknowledged, ReceiptError>>);

impl Receipt {
    /// Returns the receipt of something that was refused at once.
    pub(crate) fn refused(error: ReceiptError) -> Self {
        let (answer, receipt) = oneshot::channel();
        // The receiver is there.
        let _ = answer.send(Err(error));
        Self(receipt)
    }
}

impl Future for Receipt {
    type Output = Result<Acknowledged, ReceiptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(ReceiptError::Stopped(Stopped::Closed))))
    }
}
