//! Backups are complete even if the store is in use, and never give an offset a second meaning. An
//! inspection changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::support::{self, MODES, config, copy, fresh, id, open, publish_to};
use tidings_bus::protocol::{Event, Payload, Since, TaskSnapshot};
use tidings_bus::{Backups as _, BusConfig, EventBus, Store};
use tidings_store::{
    BackupDirectory, CopyError, DiskStore, Left, OpenError, Sync, back_up, inspect,
};

async fn running(path: &Path, sync: Sync) -> (EventBus, Arc<DiskStore>) {
    let (store, _) = DiskStore::open(path, config(sync)).await.unwrap();
    let store = Arc::new(store);
    let bus = EventBus::open(BusConfig::default(), Arc::clone(&store) as Arc<dyn Store>);
    (bus.await.unwrap(), store)
}

/// Returns every file with its size and the time of its last change.
fn files(path: &Path) -> BTreeMap<std::path::PathBuf, (u64, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        if about.is_dir() {
            files.extend(self::files(&entry.path()));
        }
        files.insert(entry.path(), (about.len(), about.modified().unwrap()));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn is_whole_and_its_states_are_their_events_while_publishers_go_on() {
    for sync in MODES {
        let directory = tempfile::tempdir().unwrap();
        let (bus, store) = running(&fresh(&directory), sync).await;
        for n in 0..4 {
            publish_to(&bus, &id(&format!("t{n}")), 150).await;
        }
        support::until(|| bus.stats().bytes_unsaved == 0).await;
        let over = Arc::new(AtomicBool::new(false));
        let publishers: Vec<_> = (0..4)
            .map(|n| {
                let (bus, over) = (bus.clone(), Arc::clone(&over));
                tokio::spawn(async move {
                    let task = id(&format!("t{n}"));
                    let mut head = 150;
                    while !over.load(Ordering::SeqCst) {
                        head += 40;
                        publish_to(&bus, &task, head).await;
                    }
                })
            })
            .collect();
        support::until(|| bus.stats().events_published > 900).await;
        let into = directory.path().join("copy");
        let copied = store.back_up(&into).await.unwrap();
        over.store(true, Ordering::SeqCst);
        for publisher in publishers {
            publisher.await.unwrap();
        }
        let epochs: HashSet<_> = (0..4)
            .map(|n| bus.snapshot(&id(&format!("t{n}"))).unwrap().epoch.clone())
            .collect();
        assert_eq!(copied.tasks, 4, "{sync}");
        assert!(copied.events >= 600, "{sync}: {copied:?}");
        assert!(bus.shutdown().await);

        let (bus, recovered) = open(&into, sync).await;
        assert!(recovered.backup && recovered.epoch_changed, "{recovered:?}");
        assert_eq!(
            (recovered.tasks, recovered.events),
            (4, copied.events),
            "{sync}: {copied:?} {recovered:?}"
        );
        for n in 0..4 {
            let task = id(&format!("t{n}"));
            let state = bus.snapshot(&task).unwrap();
            assert!(
                !epochs.contains(&state.epoch),
                "{sync}: an epoch of its own"
            );
            let page = bus.history(&task, Some(Since::Start), usize::MAX).await;
            let page = page.unwrap();
            assert_eq!(page.gap, None, "{sync}");
            let mut replay = TaskSnapshot::new(task, state.epoch.clone());
            for record in &page.events {
                let event: Event = record.decode().unwrap();
                assert_eq!(event.offset, replay.offset.next(), "{sync}: no hole");
                let payload = Payload::of(&event).unwrap();
                replay.apply(&payload, event.offset, event.timestamp);
            }
            assert_eq!(replay, *state, "{sync}");
        }
        bus.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn begins_another_epoch_each_time_it_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    let (bus, store) = running(&path, Sync::EveryCommit).await;
    publish_to(&bus, &id("t"), 20).await;
    let into = directory.path().join("copy");
    store.back_up(&into).await.unwrap();
    let mut epochs = HashSet::from([bus.snapshot(&id("t")).unwrap().epoch.clone()]);
    publish_to(&bus, &id("t"), 25).await;
    drop(store);
    assert!(bus.shutdown().await);
    drop(bus);
    // The same works for a directory that no process has open and that was left in order.
    let offline = directory.path().join("offline");
    back_up(&path, &offline).await.unwrap();
    for (source, head) in [(&into, 20), (&into, 20), (&offline, 25), (&offline, 25)] {
        let restored = directory.path().join(format!("restored-{}", epochs.len()));
        copy(source, &restored);
        let (bus, recovered) = open(&restored, Sync::EveryCommit).await;
        assert!(recovered.backup && recovered.epoch_changed);
        let state = bus.snapshot(&id("t")).unwrap();
        assert_eq!(state.offset.get(), head);
        assert!(epochs.insert(state.epoch.clone()), "used before");
        publish_to(&bus, &id("t"), 30).await;
        assert!(bus.shutdown().await);
        drop(bus);
        // From here on the copy is a directory like any other.
        let (bus, recovered) = open(&restored, Sync::EveryCommit).await;
        assert!(recovered.clean && !recovered.backup && !recovered.epoch_changed);
        bus.shutdown().await;
    }
    // The source of the copy continues as before.
    let (bus, recovered) = open(&path, Sync::EveryCommit).await;
    assert!(recovered.clean && !recovered.epoch_changed);
    bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_overwrites_nothing_and_leaves_nothing_half_made() {
    let directory = tempfile::tempdir().unwrap();
    let (bus, store) = running(&fresh(&directory), Sync::Os).await;
    publish_to(&bus, &id("t"), 5).await;
    let there = directory.path().join("there");
    std::fs::write(&there, "all of it").unwrap();
    for taken in [&there, &fresh(&directory)] {
        let refused = store.back_up(taken).await.unwrap_err();
        assert!(matches!(refused, CopyError::Exists { .. }), "{refused:?}");
    }
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "all of it");
    let nowhere = there.join("below-a-file");
    let refused = store.back_up(&nowhere).await.unwrap_err();
    assert!(matches!(refused, CopyError::Target { .. }), "{refused:?}");
    drop(bus);
    let names: HashSet<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        names,
        HashSet::from(["data".to_owned(), "there".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_tells_what_is_there_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(&directory);
    let (bus, store) = running(&path, Sync::EveryCommit).await;
    publish_to(&bus, &id("many"), 300).await;
    publish_to(&bus, &id("done"), 3).await;
    bus.task_completed(&id("done"), None).await.unwrap();
    let epoch = bus.snapshot(&id("many")).unwrap().epoch.clone();
    let refused = inspect(&path).await.unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    let refused = back_up(&path, directory.path().join("x"))
        .await
        .unwrap_err();
    let CopyError::Source(OpenError::InUse { .. }) = refused else {
        panic!("{refused:?}");
    };
    let crashed = directory.path().join("crashed");
    copy(&path, &crashed);
    drop(store);
    assert!(bus.shutdown().await);
    drop(bus);

    for (path, left) in [(&path, Left::Clean), (&crashed, Left::Unclean)] {
        let before = files(path);
        let found = inspect(path).await.unwrap();
        assert_eq!(files(path), before, "{left:?}");
        assert_eq!((found.left, found.epoch_goes_on), (left, true));
        assert_eq!(found.sync.as_deref(), Some("every-commit"));
        assert_eq!((found.events, found.clients), (304, 0));
        assert!(found.bytes_on_disk > 0);
        let tasks: Vec<_> = found
            .tasks
            .iter()
            .map(|task| (task.task_id.as_str(), task.first.get(), task.offset.get()))
            .collect();
        assert_eq!(tasks, [("done", 1, 4), ("many", 1, 300)]);
        assert_eq!(found.tasks[1].epoch, epoch);
        assert!(found.tasks[1].bytes > 300 * 100);
        let into = path.with_extension("copy");
        back_up(path, &into).await.unwrap();
        assert_eq!(files(path), before, "{left:?}: nor does a copy");
        let found = inspect(&into).await.unwrap();
        assert_eq!((found.left, found.epoch_goes_on), (Left::Backup, false));
        assert_eq!((found.events, found.tasks.len()), (304, 2));
    }
    let missing = inspect(directory.path().join("none")).await.unwrap_err();
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing:?}");
    let foreign = inspect(directory.path()).await.unwrap_err();
    assert!(matches!(foreign, OpenError::Foreign { .. }), "{foreign:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_backup_left_is_removed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (bus, store) = running(&fresh(&directory), MODES[0]).await;
    publish_to(&bus, &id("t"), 5).await;
    let backups = directory.path().join("backups");
    // The remains of a backup whose process was killed.
    let killed = backups.join("2026-01-01T00-00-00.000Z.partial");
    std::fs::create_dir_all(killed.join("engine")).unwrap();
    std::fs::write(killed.join("format"), "tidings store 1, new\n").unwrap();
    std::fs::write(killed.join("lock"), "").unwrap();
    std::fs::write(killed.join("engine").join("table"), "half").unwrap();
    // A backup that another process is still making.
    let making = backups.join("2026-01-02T00-00-00.000Z.partial");
    std::fs::create_dir_all(&making).unwrap();
    std::fs::write(making.join("format"), "tidings store 1, new\n").unwrap();
    let lock = std::fs::File::create(making.join("lock")).unwrap();
    lock.try_lock().unwrap();
    let foreign = backups.join("mine.partial");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("notes"), "do not touch").unwrap();
    let made = BackupDirectory::new(store, &backups).make().await.unwrap();
    assert!(!killed.exists());
    assert!(making.exists() && foreign.join("notes").exists());
    assert_eq!(made.events, 5);
    bus.shutdown().await;
}
