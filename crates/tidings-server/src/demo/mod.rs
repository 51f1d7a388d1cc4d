//! `tidings demo`: the server, with simulated tasks to watch.
//!
//! They publish through the bus, as an embedding application would.

mod agent;
mod build;
mod classic;
mod commands;
mod play;
mod quick;
mod script;

use std::time::Duration;

use tidings_bus::EventBus;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::failure::Failure;
use crate::serve::{self, Instance};

use script::Scenario;

/// For how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Every simulated task runs once.
    Once,
    /// Until a signal.
    Endless,
}

/// Between the last simulated task's end and the server's: watchers see the end.
const GRACE: Duration = Duration::from_secs(2);

/// Serves until a signal, or until all tasks have run once.
pub(crate) fn run(settings: Settings, length: Length) -> Result<(), Failure> {
    serve::block_on(async {
        let instance = Instance::start(settings).await?;
        let simulation = simulate(instance.bus.clone(), length, instance.drain.clone());
        let (served, ()) = tokio::join!(instance.run(), simulation);
        served
    })
}

/// Runs the simulated tasks until they are over or `stop` is cancelled; in the
/// end cancels it.
async fn simulate(bus: EventBus, length: Length, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    for scenario in Scenario::all() {
        let playing = play::play(bus.clone(), scenario, length);
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
