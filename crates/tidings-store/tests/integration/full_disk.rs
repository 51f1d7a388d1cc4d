//! A disk that is full: publishes are refused, watchers go on, and all is well
//! again by itself once there is room. On a real small file system.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "says what it ran on")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{self, MODES, id, open};
use tidings_bus::protocol::{ErrorCode, EventId, NewEvent, Since};
use tidings_bus::{Delivery, EventBus, Filter};
use tidings_testkit::{Checker, DEADLINE};

/// A file system of a few megabytes in memory; gone with this.
struct Small(PathBuf);

impl Small {
    /// None where mounting is not permitted.
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

    /// Takes what room there is.
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
        // Lazily: what a failed test left open is no reason to keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn keyed(n: u64) -> NewEvent {
    let data = format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(2_000));
    let kind = "custom.step".parse().unwrap();
    NewEvent::new(kind, tidings_bus::protocol::Data::parse(&data).unwrap())
        .with_event_id(EventId::new(format!("event-{n}")).unwrap())
}

/// Publishes the next events until one is refused; gives the next number.
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
    // Watchers go on: what was acknowledged is there to be seen.
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
    // The one that was refused may have got to the disk all the same.
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

/// What is on disk and not in memory can be read while the disk is full.
async fn is_read(sync: tidings_store::Sync) {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Small::mount(&directory.path().join("disk")) else {
        println!("mounting is not permitted");
        return;
    };
    let (bus, _) = open(&disk.0.join("data"), sync).await;
    let mut n = 1;
    // Four times what memory keeps of a task.
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
