//! Helpers that the tests of the store share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidings_bus::protocol::{NewEvent, TaskId};
use tidings_bus::{BusConfig, EventBus, Store};
use tidings_store::{DiskStore, OpenError, Recovered, StoreConfig, Sync};
use tidings_testkit::DEADLINE;

pub(crate) const MODES: [Sync; 3] = [
    Sync::EveryCommit,
    Sync::Interval(Duration::from_millis(5)),
    Sync::Os,
];

pub(crate) fn id(text: &str) -> TaskId {
    text.parse().unwrap()
}

pub(crate) fn config(sync: Sync) -> StoreConfig {
    StoreConfig::default().sync(sync)
}

/// Returns the path of a directory that does not exist yet.
pub(crate) fn fresh(within: &tempfile::TempDir) -> std::path::PathBuf {
    within.path().join("data")
}

pub(crate) async fn open(path: &Path, sync: Sync) -> (EventBus, Recovered) {
    open_with(path, config(sync)).await
}

pub(crate) async fn open_with(path: &Path, config: StoreConfig) -> (EventBus, Recovered) {
    open_bus(path, config, BusConfig::default()).await
}

pub(crate) async fn open_bus(
    path: &Path,
    config: StoreConfig,
    bus: BusConfig,
) -> (EventBus, Recovered) {
    let opening = async {
        loop {
            match DiskStore::open(path, config.clone()).await {
                // A bus that was dropped in this process unlocks the directory with some delay.
                Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
                opened => break opened.unwrap(),
            }
        }
    };
    let opened = tokio::time::timeout(DEADLINE, opening).await;
    let (store, recovered) = opened.expect("it opens in time");
    let store: Arc<dyn Store> = Arc::new(store);
    let bus = EventBus::open(bus, store).await.unwrap();
    (bus, recovered)
}

pub(crate) async fn refusal(path: &Path) -> OpenError {
    DiskStore::open(path, StoreConfig::default())
        .await
        .expect_err("a refusal")
}

pub(crate) fn step(n: u64) -> NewEvent {
    NewEvent::progress((n % 100) as f64, format!("step {n}").as_str())
}

/// Starts the task if it is new, and publishes until its head has this offset.
pub(crate) async fn publish_to(bus: &EventBus, task: &TaskId, head: u64) {
    let mut at = bus
        .snapshot(task)
        .map_or(0, |snapshot| snapshot.offset.get());
    while at < head {
        let event = if at == 0 {
            NewEvent::task_started("work")
        } else {
            step(at)
        };
        at = bus.publish(task, event).await.unwrap().offset.get();
    }
}

/// Waits until the condition holds.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("it is so in time");
}

/// Copies a directory as a crash at this moment would leave it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), &target) {
            // The engine has deleted the file since it was listed.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}
