//! How a task ends, and what of its reports was lost.

use std::pin::Pin;
use std::task::{Context, Poll};

use tidings_protocol::EventType;

use super::Owner;
use crate::error::ReceiptError;
use crate::publish::{Acknowledged, Receipt};

/// A report that the server, or the client, has refused for good.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The type of the event that was refused.
    pub event_type: EventType,
    /// The reason.
    pub error: ReceiptError,
}

/// Reports of a task that are not in its log.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Losses {
    /// The first reports that were refused for good, at most 16.
    pub refused: Vec<Refusal>,
    /// All reports that were refused for good.
    pub refused_count: u64,
    /// Reports that gave way to newer ones while the server was away.
    pub dropped: u64,
}

impl Losses {
    /// Whether every report is in the log.
    pub fn is_empty(&self) -> bool {
        self.refused_count == 0 && self.dropped == 0
    }
}

/// A task whose end the server has accepted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Ended {
    /// The place of the end in the task's log.
    pub published: Acknowledged,
    /// Reports before the end that are not in the log.
    pub losses: Losses,
}

/// The end of a task on its way: a future.
///
/// The end was given to the client when this was made. Dropping the future takes
/// nothing back.
#[derive(Debug)]
#[must_use = "await it to know that the server has the end, or drop it explicitly"]
pub struct Ending {
    pub(super) owner: Owner,
    pub(super) receipt: Result<Receipt, ReceiptError>,
}

impl Future for Ending {
    type Output = Result<Ended, ReceiptError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.receipt {
            Ok(receipt) => std::task::ready!(Pin::new(receipt).poll(cx)),
            Err(error) => Err(error.clone()),
        };
        Poll::Ready(answer.map(|published| Ended {
            published,
            losses: self.owner.losses(),
        }))
    }
}
