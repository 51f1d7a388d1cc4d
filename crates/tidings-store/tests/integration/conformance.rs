//! The store passes the conformance suite of stores in each of its modes.

use std::sync::{Arc, Mutex};

use crate::support::{MODES, config, fresh};
use tidings_bus::{Store, conformance};
use tidings_store::{DiskStore, Sync};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

async fn conforms(sync: Sync) {
    // The directories must outlive the stores in them.
    let directories = Mutex::new(Vec::new());
    let make = || {
        let directory = tempfile::tempdir().unwrap();
        let opening = DiskStore::open(fresh(&directory), config(sync));
        let (store, _) = block_in_place(|| Handle::current().block_on(opening)).unwrap();
        directories.lock().unwrap().push(directory);
        Arc::new(store)
    };
    conformance::run(make).await;
    conformance::run_first(make).await;
    conformance::run_outputs(make).await;
    conformance::run_trees(make).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_commit() {
    conforms(MODES[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interval() {
    conforms(MODES[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn os() {
    conforms(MODES[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_keeper() {
    for sync in MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = fresh(&directory);
        let (store, _) = DiskStore::open(&path, config(sync)).await.unwrap();
        conformance::run_keeper(&store).await;
        store.close().await.unwrap();
        drop(store);
        let (store, _) = DiskStore::open(&path, config(sync)).await.unwrap();
        let kept = tidings_bus::Keeper::kept(&store).await.unwrap();
        assert_eq!(kept, [("b".to_owned(), b"3".to_vec())], "{sync}");
    }
}
