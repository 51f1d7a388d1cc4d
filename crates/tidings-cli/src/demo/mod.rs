//! The simulated tasks of `tidings demo`, which give users something to watch.
//!
//! The tasks play on a [`Stage`], which the server in the same process provides. A
//! network connection would need a token and a certificate if the server requires them.

mod agent;
mod build;
mod classic;
mod commands;
mod play;
mod quick;
mod script;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use script::Scenario;
pub use stage::{Stage, StageError};

/// The length of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Every simulated task runs once.
    Once,
    /// The simulated tasks repeat until a signal arrives.
    Endless,
}

/// The time between the end of the last simulated task and the end of the server.
/// Watchers receive the task's end within this time.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the simulated tasks until they have ended or `stop` is cancelled. Then cancels
/// `stop`.
///
/// # Cancel safety
/// If the future is dropped, the simulated tasks run on until they have ended or `stop` is
/// cancelled.
pub async fn simulate(stage: Arc<dyn Stage>, length: Length, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    for scenario in Scenario::all() {
        let playing = play::play(Arc::clone(&stage), scenario, length);
        let stop = stop.clone();
        tasks.spawn(async move { stop.run_until_cancelled(playing).await });
    }
    tasks.close();
    tasks.wait().await;
    if stop
        .run_until_cancelled(tokio::time::sleep(GRACE))
        .await
        .is_some()
    {
        tracing::info!("every simulated task has run once");
        stop.cancel();
    }
}

#[cfg(test)]
mod tests;
