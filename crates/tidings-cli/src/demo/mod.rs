//! The simulated tasks of `tidings demo`, for something to watch.
//!
//! They play on a [`Stage`], which the server in the same process provides. A
//! connection to it would need a token and a certificate where it asks for them.

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

/// For how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Every simulated task runs once.
    Once,
    /// Until a signal.
    Endless,
}

/// Between the last simulated task's end and the server's: watchers see the end.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the simulated tasks until they are over or `stop` is cancelled; in the
/// end cancels it.
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
