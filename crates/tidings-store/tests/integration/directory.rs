//! A directory that is foreign, damaged or in use is left unchanged.

use std::fs;
use std::path::Path;

use crate::support::{self, MODES, copy, fresh, id, open, publish_to, refusal};
use tidings_bus::protocol::{ErrorCode, NewEvent};
use tidings_store::{OpenError, StoreConfig};

/// Returns the names and contents of all files.
fn all(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            all.extend(
                self::all(&entry.path())
                    .into_iter()
                    .map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            );
        } else {
            all.push((name, fs::read(entry.path()).unwrap()));
        }
    }
    all.sort();
    all
}

/// Creates a store and closes it in order.
async fn closed(path: &Path) {
    let (bus, _) = open(path, MODES[0]).await;
    publish_to(&bus, &id("t"), 200).await;
    assert!(bus.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_may_not_have_it_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    let (bus, _) = open(&path, MODES[0]).await;
    let refused = refusal(&path).await;
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    assert!(refused.to_string().contains("another process"), "{refused}");
    publish_to(&bus, &id("t"), 3).await;
    bus.shutdown().await;
    open(&path, MODES[0]).await.0.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_with_other_things_in_it_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "all of it").unwrap();
    let before = all(directory.path());
    let refused = refusal(directory.path()).await;
    assert!(matches!(refused, OpenError::Foreign { .. }), "{refused:?}");
    assert!(refused.to_string().contains("name an empty"), "{refused}");
    assert_eq!(all(directory.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    closed(&path).await;
    fs::write(path.join("format"), "tidings store 2\n").unwrap();
    let before = all(&path);
    let refused = refusal(&path).await;
    assert!(matches!(refused, OpenError::Version { .. }), "{refused:?}");
    assert_eq!(all(&path), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_engine_is_gone_is_damaged_and_not_empty() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    closed(&path).await;
    fs::remove_dir_all(path.join("engine")).unwrap();
    let refused = refusal(&path).await;
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    assert!(
        refused.to_string().contains("restore a backup"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_less_than_when_it_was_closed_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    closed(&path).await;
    // Flip bits in several places of the journal. The engine notices some of them by an error, and
    // panics at others.
    let journal = fs::read_dir(path.join("engine"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .unwrap();
    let whole = fs::read(&journal).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for shift in 0..32 {
        let mut bytes = whole.clone();
        let start = end / 2 + 7 * shift;
        for byte in &mut bytes[start..start + 64] {
            *byte = !*byte;
        }
        fs::write(&journal, bytes).unwrap();
        let refused = refusal(&path).await;
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_got_no_further_is_no_store_yet() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    closed(&path).await;
    // This is the state after a crash before the creation of the engine was recorded.
    fs::write(path.join("format"), "tidings store 1, new\n").unwrap();
    let (bus, recovered) = open(&path, MODES[0]).await;
    assert!(recovered.created);
    assert_eq!(bus.stats().tasks, 0);
    bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_was_torn_off_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let running = directory.path().join("running");
    let (bus, _) = open(&running, MODES[0]).await;
    publish_to(&bus, &id("t"), 40).await;
    let path = fresh(&directory);
    copy(&running, &path);
    bus.shutdown().await;
    let journal = path.join("engine/0.jnl");
    let bytes = fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for cut in [1, 7, 40, 100, 400] {
        let torn = directory.path().join(format!("torn-{cut}"));
        copy(&path, &torn);
        fs::write(torn.join("engine/0.jnl"), &bytes[..end - cut]).unwrap();
        let (bus, _) = open(&torn, MODES[0]).await;
        let head = bus.snapshot(&id("t")).unwrap().offset.get();
        assert!((35..40).contains(&head), "{cut} bytes off: {head}");
        publish_to(&bus, &id("t"), 50).await;
        bus.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_made_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = tidings_store::DiskStore::open(file.join("below"), StoreConfig::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_deleted_while_it_is_open_takes_nothing_any_more() {
    for sync in MODES {
        for again in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let path = fresh(&directory);
            let (bus, _) = open(&path, sync).await;
            publish_to(&bus, &id("t"), 3).await;
            std::fs::remove_dir_all(&path).unwrap();
            if again {
                // Another store in its place is not this one.
                open(&path, sync).await.0.shutdown().await;
            }
            support::until(|| !bus.is_available()).await;
            let refused = bus.publish(&id("t"), NewEvent::log("line")).await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), ErrorCode::Unavailable, "{sync}");
            assert!(!bus.shutdown().await, "{sync}: not everything is kept");
        }
    }
}
