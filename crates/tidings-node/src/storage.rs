//! A bus whose tasks are kept in a directory.

use std::path::Path;
use std::sync::Arc;

use tidings_bus::{BusConfig, BusOpenError, EventBus, Store};
use tidings_store::{DiskStore, StoreConfig};

use crate::error::{NodeConfigError, StartError};

/// Opens the directory, takes in what is there, and says what that was.
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
        // A stop in order: what is stored is as good as it was.
        let _ = store.close().await;
    }
    let bus = opened.map_err(|error| match error {
        BusOpenError::Store(error) => StartError::Recovery(error),
        error => NodeConfigError::setting(error).into(),
    })?;
    let shown = path.display();
    if found.created {
        tracing::info!(path = %shown, %sync, "made a data directory");
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
            (false, true) => "a stop in order",
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
