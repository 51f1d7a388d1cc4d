//! A bus whose tasks are stored in a directory.

use std::path::Path;
use std::sync::Arc;

use tidings_bus::{BusConfig, BusOpenError, EventBus, Store};
use tidings_store::{DiskStore, StoreConfig};

use crate::error::{NodeConfigError, StartError};

/// Opens the directory, loads its content, and logs what it found.
pub(crate) async fn open(
    path: &Path,
    config: StoreConfig,
    bus: BusConfig,
) -> Result<(EventBus, Arc<DiskStore>), StartError> {
    let sync = config.sync;
    let (store, found) = DiskStore::open(path, config)
        .await
        .map_err(StartError::Store)?;
    let store = Arc::new(store);
    let opened = EventBus::open(bus, Arc::clone(&store) as Arc<dyn Store>).await;
    if opened.is_err() {
        // Close the store in order, so that the stored data stays as good as it was.
        let _ = store.close().await;
    }
    let bus = opened.map_err(|error| match error {
        BusOpenError::Store(error) => StartError::Recovery(error),
        error => NodeConfigError::setting(error).into(),
    })?;
    let shown = path.display();
    if found.created {
        tracing::info!(path = %shown, %sync, "created a data directory");
        return Ok((bus, store));
    }
    tracing::info!(
        path = %shown, %sync,
        tasks = found.tasks,
        events = found.events,
        bytes = found.bytes,
        replayed = found.replayed,
        took_ms = found.took.as_millis(),
        after = match (found.backup, found.clean) {
            (true, _) => "a backup",
            (false, true) => "an orderly stop",
            (false, false) => "a crash",
        },
        "recovered"
    );
    if found.backup {
        tracing::warn!(
            "this is a backup: every task has a new epoch, and watchers are told so, for what was \
             published after it was made is not in it"
        );
    } else if found.epoch_changed {
        tracing::warn!(
            "events may have been seen that are not on disk: every task has a new epoch, and \
             watchers are told so; with --sync every-commit that does not happen"
        );
    }
    Ok((bus, store))
}
