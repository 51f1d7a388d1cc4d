//! Events that count as stored were synced. The tests make `fsync` itself fail, below the page
//! cache, in a process of their own.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "says what it ran on")]

use std::path::PathBuf;
use std::process::Command;

use crate::support::{MODES, fresh, id, open, step};
use tidings_bus::protocol::ErrorCode;
use tidings_testkit::DEADLINE;

/// A library that makes syncs of files below `SYNC_BELOW` fail once the file `SYNC_FAILS` exists.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
  char link[64], path[4096];
  const char *marker = getenv("SYNC_FAILS"), *below = getenv("SYNC_BELOW");
  if (!marker || !below || access(marker, F_OK) != 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strncmp(path, below, strlen(below)) == 0;
}

#define SYNC(name)                                                 \
  int name(int fd) {                                               \
    static int (*real)(int);                                       \
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, #name);       \
    if (fails(fd)) { errno = EIO; return -1; }                     \
    return real(fd);                                               \
  }
SYNC(fsync)
SYNC(fdatasync)
"#;

/// Runs the work in a process whose syncs fail on request: this test, started once more.
fn in_a_process_of_its_own(test: &str, work: impl AsyncFnOnce(PathBuf)) {
    if let Some(data) = std::env::var_os("SYNC_DATA") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(work(data.into()));
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name| directory.path().join(name);
    std::fs::write(at("shim.c"), SHIM).unwrap();
    // Rust needs a C compiler to link, so there is one where the tests are built.
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([at("shim.so"), at("shim.c")])
        .arg("-ldl")
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        println!("there is no C compiler here");
        return;
    }
    let data = fresh(&directory);
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("synced::{test}"), "--nocapture"])
        .env("LD_PRELOAD", at("shim.so"))
        .env("SYNC_BELOW", data.join("engine"))
        .env("SYNC_FAILS", at("fails"))
        .env("SYNC_DATA", &data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}{errors}"
    );
}

fn let_syncs_fail() {
    std::fs::write(std::env::var_os("SYNC_FAILS").unwrap(), "").unwrap();
}

#[test]
fn each_commit_is_synced_before_its_answer() {
    let name = "each_commit_is_synced_before_its_answer";
    in_a_process_of_its_own(name, async |data| {
        let (bus, _) = open(&data, MODES[0]).await;
        bus.publish(&id("t"), step(1)).await.unwrap();
        let_syncs_fail();
        let refused = bus.publish(&id("t"), step(2)).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable);
    });
}

#[test]
fn an_interval_is_synced_when_it_is_over() {
    let name = "an_interval_is_synced_when_it_is_over";
    in_a_process_of_its_own(name, async |data| {
        let (bus, _) = open(&data, MODES[1]).await;
        bus.publish(&id("t"), step(1)).await.unwrap();
        let_syncs_fail();
        let mut n = 1;
        let refused = async {
            loop {
                n += 1;
                match bus.publish(&id("t"), step(n)).await {
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) => return error,
                }
            }
        };
        let refused = tokio::time::timeout(DEADLINE, refused).await.unwrap();
        assert_eq!(refused.code(), ErrorCode::Unavailable);
    });
}

#[test]
fn everything_is_synced_before_a_stop_counts_as_orderly() {
    let name = "everything_is_synced_before_a_stop_counts_as_orderly";
    in_a_process_of_its_own(name, async |data| {
        let (bus, _) = open(&data, MODES[2]).await;
        bus.publish(&id("t"), step(1)).await.unwrap();
        let_syncs_fail();
        assert!(!bus.shutdown().await, "the stop counts as a crash");
    });
}
