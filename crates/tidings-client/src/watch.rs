//! A watch: a stream of updates.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt as _;
use tidings_protocol::{States, TaskId, TaskSnapshot};
use tokio::time::Instant;

use crate::client::Handle;
use crate::error::WatchError;
use crate::state::WatchId;
use crate::update::Update;

/// The updates of a task, a pattern or a tree: a stream of [`Update`]s.
///
/// The stream ends only with an error. While the watch exists, the client stays
/// connected. Dropping the watch ends the subscription.
///
/// A program that does not take its updates delays no other program and uses bounded
/// memory. After [`WATCH_UPDATES`](crate::defaults::WATCH_UPDATES) waiting updates, the
/// watch pauses. It later continues from the server's log.
#[must_use = "dropping the watch ends the subscription"]
#[derive(Debug)]
pub struct Watch {
    handle: Arc<Handle>,
    id: WatchId,
    states: States,
}

impl Watch {
    pub(crate) fn new(handle: Arc<Handle>, id: WatchId) -> Self {
        Self {
            handle,
            id,
            states: States::default(),
        }
    }

    /// Returns the state of a task after the last update that the program has taken.
    /// Returns `None` if the watch has not reported the task yet.
    pub fn state(&self, task_id: &TaskId) -> Option<&Arc<TaskSnapshot>> {
        self.states.get(task_id)
    }

    /// Returns the next update, or `None` after the watch has ended.
    ///
    /// # Errors
    /// Returns an error if the server refuses the subscription or the client has
    /// stopped.
    ///
    /// # Cancel safety
    /// Dropping the future loses no update.
    pub async fn recv(&mut self) -> Result<Option<Update>, WatchError> {
        self.next().await.transpose()
    }
}

impl Stream for Watch {
    type Item = Result<Update, WatchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let id = self.id;
        let taken = self
            .handle
            .shared
            .with(|core| match core.state.take(id, Instant::now()) {
                Some(taken) => Poll::Ready(taken),
                None => {
                    core.wakers.insert(id, cx.waker().clone());
                    Poll::Pending
                }
            });
        if let Poll::Ready(Some(Ok(update))) = &taken {
            self.states.take(update);
        }
        taken
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let id = self.id;
        self.handle.shared.with(|core| {
            core.wakers.remove(&id);
            core.state.unwatch(id);
        });
    }
}
