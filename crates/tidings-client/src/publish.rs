//! Publishing: the server's answer, and the receipt that waits for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use tidings_protocol::{Epoch, Offset, TaskId};
use tokio::sync::oneshot;

use crate::error::{ReceiptError, Stopped};

/// The server's answer to an accepted publish.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledged {
    /// The task's id.
    pub task_id: TaskId,
    /// The epoch of `offset`.
    pub epoch: Epoch,
    /// The event's place in the task's log.
    pub offset: Offset,
    /// True if the server had the event already, because an earlier answer was lost.
    pub duplicate: bool,
    /// The run that a `task_started` has opened. Name the run in its other events, so
    /// that they cannot change another worker's run.
    pub run: Option<u32>,
}

/// The future answer to a publish.
///
/// Dropping the receipt does not take the event back.
#[derive(Debug)]
pub struct Receipt(pub(crate) oneshot::Receiver<Result<Acknowledged, ReceiptError>>);

impl Receipt {
    /// Returns the receipt of a publish that was refused at once.
    pub(crate) fn refused(error: ReceiptError) -> Self {
        let (answer, receipt) = oneshot::channel();
        // The receiver still exists, so the send succeeds.
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
