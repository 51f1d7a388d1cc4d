//! A full disk: publishes are refused and watchers continue. Once there is room, publishing resumes
//! without help. The tests use a real small file system.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "says what it ran on")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{self, MODES, id, open};
use tidings_bus::protocol::{ErrorCode, EventId, NewEvent, Since};
use tidings_bus::{Delivery, EventBus, Filter};
use tidings_testkit::{Checker, DEADLINE};

/// A file system of a few megabytes in memory. Dropping this unmounts it.
struct Small(PathBuf);

impl Small {
    /// Mounts the file system. Returns `None` if mounting is not permitted.
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
            .arg(path)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(path.to_owned()))
    }

    /// Fills the file system.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).unwrap();
        let block = vec![1; 64 * 1024];
        while std::io::Write::write_all(&mut filler, &block).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Unmount lazily, so that files left open by a failed test do not keep the file system.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn keyed(n: u64) -> NewEvent {
    let data = format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(2_000));
    let kind = "custom.step".parse().unwrap();
    NewEvent::new(kind, tidings_bus::protocol::Data::parse(&data).unwrap())
        .with_event_id(EventId::new(format!("event-{n}")).unwrap())
}

/// Publishes events until one is refused. Returns the next number.
async fn publish_until_refused(bus: &EventBus, mut n: u64) -> u64 {
    let publishing = async {
        loop {
            match bus.publish(&id("t"), keyed(n)).await {
                Ok(_) => n += 1,
                Err(error) => {
                    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
                    return n;
                }
            }
        }
    };
    let published = tokio::time::timeout(DEADLINE, publishing);
    published.await.expect("the disk is full at some point")
}

async fn survives(sync: tidings_store::Sync) {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Small::mount(&directory.path().join("disk")) else {
        println!(
            "mounting is not permitted; the failing layer in the crate's unit tests stands in"
        );
        return;
    };
    let path = disk.0.join("data");
    let (bus, _) = open(&path, sync).await;
    let mut watching = bus.subscribe(Filter::task(id("t")).since(Since::Start));
    bus.publish(&id("t"), keyed(1)).await.unwrap();
    disk.fill();
    let refused = publish_until_refused(&bus, 2).await;
    assert!(!bus.is_available(), "{sync}");
    let again = bus.publish(&id("t"), keyed(refused)).await.unwrap_err();
    assert_eq!(again.code(), ErrorCode::Unavailable);
    // Watchers continue, because all acknowledged events can be read.
    let mut checker = Checker::from(1);
    while checker.expected().is_none_or(|next| next < refused) {
        let next = tokio::time::timeout(DEADLINE, watching.recv()).await;
        match next.expect("an event in time") {
            Some(Delivery::Event(event)) => checker.event(event.offset().get()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    disk.make_room();
    support::until(|| bus.is_available()).await;
    // The refused event may have reached the disk nevertheless.
    for n in refused..refused + 20 {
        let published = bus.publish(&id("t"), keyed(n)).await.unwrap();
        assert_eq!(published.offset.get(), n, "{sync}: no hole, no double");
    }
    assert!(bus.shutdown().await, "{sync}");
    drop(bus);
    let (bus, recovered) = open(&path, sync).await;
    assert!(recovered.clean);
    let page = bus.history(&id("t"), Some(Since::Start), usize::MAX).await;
    let page = page.unwrap();
    assert_eq!((page.gap, page.events.len() as u64), (None, refused + 19));
    for (at, event) in (1..).zip(&page.events) {
        let id = event.decode().unwrap().event_id.unwrap();
        assert_eq!(id.as_str(), format!("event-{at}"), "{sync}");
    }
    bus.shutdown().await;
}

/// Events that are on disk and not in memory can be read while the disk is full.
async fn is_read(sync: tidings_store::Sync) {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Small::mount(&directory.path().join("disk")) else {
        println!("mounting is not permitted");
        return;
    };
    let (bus, _) = open(&disk.0.join("data"), sync).await;
    let mut n = 1;
    // Publish four times as much as memory keeps of a task.
    while n <= 500 {
        bus.publish(&id("t"), keyed(n)).await.unwrap();
        n += 1;
    }
    support::until(|| bus.stats().bytes_unsaved == 0).await;
    disk.fill();
    let refused = publish_until_refused(&bus, n).await;
    let mut watching = bus.subscribe(Filter::task(id("t")).since(Since::Start));
    let mut checker = Checker::from(1);
    while checker.expected().is_none_or(|next| next < refused) {
        let next = tokio::time::timeout(DEADLINE, watching.recv()).await;
        match next.expect("an event in time") {
            Some(Delivery::Event(event)) => checker.event(event.offset().get()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        !bus.is_available(),
        "{sync}: the disk is full all the while"
    );
    disk.make_room();
    support::until(|| bus.is_available()).await;
    assert!(bus.shutdown().await, "{sync}");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_far_behind_are_served_from_it() {
    for sync in MODES {
        is_read(sync).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_commit() {
    survives(MODES[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_interval() {
    survives(MODES[1]).await;
}
