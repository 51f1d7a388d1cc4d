//! The tokio tasks of a manager. All of them are tracked and can be ended.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that can be ended together.
#[derive(Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    end: CancellationToken,
}

impl Tasks {
    /// Spawns a task. The task ends early when [`abort`](Self::abort) is called.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let end = self.end.clone();
        self.tracker.spawn(async move {
            end.run_until_cancelled(work).await;
        });
    }

    /// Ends all tasks, including tasks that are spawned later.
    pub(crate) fn abort(&self) {
        self.end.cancel();
    }

    /// Waits until no task is left. Other tasks may be spawned in the meantime.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Returns the token that ends the tasks.
    pub(crate) fn token(&self) -> CancellationToken {
        self.end.clone()
    }
}
