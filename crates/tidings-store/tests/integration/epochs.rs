//! The rule for the epoch after a stop, for each mode and each kind of stop.

use crate::support::{self, MODES, copy, fresh, id, open, publish_to};
use tidings_store::Sync;

/// Publishes tasks with few and with many events. One of them ends.
async fn fill(bus: &tidings_bus::EventBus) {
    publish_to(bus, &id("few"), 3).await;
    publish_to(bus, &id("many"), 300).await;
    publish_to(bus, &id("done"), 5).await;
    bus.task_completed(&id("done"), None).await.unwrap();
}

const TASKS: [&str; 3] = ["few", "many", "done"];

fn states(bus: &tidings_bus::EventBus) -> Vec<tidings_bus::protocol::TaskSnapshot> {
    let state = |task| (*bus.snapshot(&id(task)).unwrap()).clone();
    TASKS.into_iter().map(state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_after_a_stop_in_order() {
    for sync in MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = fresh(&directory);
        let (bus, recovered) = open(&path, sync).await;
        assert!(recovered.created, "{sync}");
        fill(&bus).await;
        let before = states(&bus);
        assert!(bus.shutdown().await);
        drop(bus);

        let (bus, recovered) = open(&path, sync).await;
        assert_eq!(states(&bus), before, "{sync}: state, offset and epoch");
        assert!(recovered.clean && !recovered.epoch_changed && !recovered.created);
        assert_eq!((recovered.tasks, recovered.events), (3, 309), "{sync}");
        assert_eq!(recovered.replayed, 0, "{sync}: states were written");
        let next = bus.publish(&id("few"), support::step(1)).await.unwrap();
        assert_eq!(
            (next.offset.get(), next.epoch),
            (4, before[0].epoch.clone())
        );
        bus.shutdown().await;
    }
}

/// Returns the directory as a crash would leave it, and the states that were seen until then.
async fn crashed(sync: Sync) -> (tempfile::TempDir, Vec<tidings_bus::protocol::TaskSnapshot>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("running");
    let (bus, _) = open(&path, sync).await;
    fill(&bus).await;
    support::until(|| bus.stats().bytes_unsaved == 0).await;
    copy(&path, &fresh(&directory));
    let before = states(&bus);
    bus.shutdown().await;
    (directory, before)
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_after_a_crash_in_every_commit() {
    let (directory, before) = crashed(Sync::EveryCommit).await;
    let (bus, recovered) = open(&fresh(&directory), Sync::EveryCommit).await;
    assert!(!recovered.clean && !recovered.epoch_changed);
    assert_eq!(states(&bus), before, "state, offset and epoch");
    assert!(
        recovered.replayed > 0 && recovered.replayed < 100,
        "{recovered:?}: what the rows lack, and not the history"
    );
    bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_after_a_crash_in_the_other_modes_even_if_all_is_there() {
    for sync in [MODES[1], MODES[2]] {
        let (directory, before) = crashed(sync).await;
        let path = fresh(&directory);
        let (bus, recovered) = open(&path, sync).await;
        assert!(recovered.epoch_changed, "{sync}");
        let after = states(&bus);
        for (before, after) in before.iter().zip(&after) {
            assert_ne!(before.epoch, after.epoch, "{sync}");
            let mut renamed = after.clone();
            renamed.epoch = before.epoch.clone();
            assert_eq!(*before, renamed, "{sync}: and nothing else");
        }
        // The new epoch holds from here on, even for tasks that were not changed since.
        publish_to(&bus, &id("few"), 4).await;
        bus.shutdown().await;
        drop(bus);
        let (bus, recovered) = open(&path, sync).await;
        assert!(recovered.clean);
        let again = states(&bus);
        assert_eq!(again[0].offset.get(), 4);
        for (again, after) in again.iter().zip(&after) {
            assert_eq!(again.epoch, after.epoch, "{sync}");
        }
        bus.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_the_mode_of_the_process_that_crashed_and_not_the_next_ones() {
    for (crashed_in, changes) in [(MODES[0], false), (MODES[1], true), (MODES[2], true)] {
        for next in MODES {
            let (directory, _) = crashed(crashed_in).await;
            let (bus, recovered) = open(&fresh(&directory), next).await;
            assert_eq!(
                recovered.epoch_changed, changes,
                "{crashed_in}, then {next}"
            );
            bus.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_right_after_a_start_counts_too() {
    let (directory, _) = crashed(MODES[1]).await;
    let path = fresh(&directory);
    let mut epochs = std::collections::HashSet::new();
    for round in 0..3 {
        let (bus, recovered) = open(&path, MODES[1]).await;
        assert!(recovered.epoch_changed, "{round}");
        assert!(epochs.insert(bus.snapshot(&id("few")).unwrap().epoch.clone()));
        // The bus is dropped without an orderly stop.
        drop(bus);
    }
}
