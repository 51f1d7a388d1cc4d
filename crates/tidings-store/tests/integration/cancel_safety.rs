//! The promises under `# Cancel safety`: each future is dropped at each of its awaits.
//!
//! A line `Covers:` names the functions that a test covers.

use std::sync::Arc;

use crate::support::{config, fresh, id, open, publish_to, until};
use tidings_bus::{Backups as _, Store as _, conformance};
use tidings_store::{BackupDirectory, DiskStore, OpenError, Sync, back_up, inspect};
use tidings_testkit::{DEADLINE, drop_after, drop_at_each_await};

/// Makes a data directory with a task of five events, and stops in order.
async fn filled(path: &std::path::Path) {
    let (bus, _) = open(path, Sync::EveryCommit).await;
    publish_to(&bus, &id("t"), 5).await;
    assert!(bus.shutdown().await);
}

/// Looks at a directory as soon as nobody has it open. Returns its number of tasks.
async fn looked(path: &std::path::Path) -> usize {
    let looking = async {
        loop {
            match inspect(path).await {
                Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
                found => return found.unwrap().tasks.len(),
            }
        }
    };
    let looked = tokio::time::timeout(DEADLINE, looking).await;
    looked.expect("the directory is free in time")
}

/// Covers: open
#[tokio::test]
async fn a_dropped_start_is_like_a_crash_and_loses_nothing() {
    drop_at_each_await(async |polls| {
        let directory = tempfile::tempdir().unwrap();
        let path = fresh(&directory);
        filled(&path).await;
        let opening = DiskStore::open(&path, config(Sync::EveryCommit));
        let done = drop_after(polls, opening).await.is_some();
        let (bus, _) = open(&path, Sync::EveryCommit).await;
        assert_eq!(bus.find(&id("t")).await.unwrap().unwrap().offset.get(), 5);
        assert!(bus.shutdown().await);
        done
    })
    .await;
}

/// Covers: inspect
#[tokio::test]
async fn a_dropped_look_changes_nothing_and_frees_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    filled(&path).await;
    drop_at_each_await(async |polls| {
        let done = drop_after(polls, inspect(&path)).await.is_some();
        assert_eq!(looked(&path).await, 1, "{polls} polls");
        done
    })
    .await;
}

/// Covers: back_up
#[tokio::test]
async fn a_backup_that_has_begun_is_made_to_its_end() {
    // A copy of a directory that no process has open.
    drop_at_each_await(async |polls| {
        let directory = tempfile::tempdir().unwrap();
        let (path, into) = (fresh(&directory), directory.path().join("copy"));
        filled(&path).await;
        let done = drop_after(polls, back_up(&path, &into)).await.is_some();
        if polls > 0 {
            until(|| into.exists()).await;
            assert_eq!(looked(&into).await, 1, "{polls} polls");
        }
        assert_eq!(looked(&path).await, 1, "the source is as it was");
        done
    })
    .await;
    // Two ways to make a backup of a store that is in use.
    for by_directory in [false, true] {
        drop_at_each_await(async |polls| {
            let directory = tempfile::tempdir().unwrap();
            let (path, into) = (fresh(&directory), directory.path().join("backups"));
            std::fs::create_dir(&into).unwrap();
            let (store, _) = DiskStore::open(&path, config(Sync::Os)).await.unwrap();
            let events = conformance::example("t", "e1", 1..=5);
            store.append(events).await.unwrap();
            let store = Arc::new(store);
            let done = match by_directory {
                false => {
                    let backing_up = store.back_up(into.join("copy"));
                    drop_after(polls, backing_up).await.is_some()
                }
                true => {
                    let backups = BackupDirectory::new(Arc::clone(&store), &into);
                    drop_after(polls, backups.make()).await.is_some()
                }
            };
            let made = || {
                let mut entries = std::fs::read_dir(&into).unwrap();
                let entry = entries.next()?.unwrap().path();
                (entry
                    .extension()
                    .is_none_or(|extension| extension != "partial"))
                .then_some(entry)
            };
            if polls > 0 {
                until(|| made().is_some()).await;
                assert_eq!(looked(&made().unwrap()).await, 1, "{polls} polls");
            }
            store.close().await.unwrap();
            done
        })
        .await;
    }
}
