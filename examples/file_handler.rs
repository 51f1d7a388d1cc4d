//! An event handler that writes every event of every task to a file, one per line.
//!
//! A handler has its own cursor. A slow handler lags, and the errors of a broken one are counted.
//! Neither affects publishers or watchers. The program ends by itself.
//!
//! ```text
//! cargo run --example file_handler
//! cargo run --example file_handler events.ndjson
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tidings::{
    BusConfig, Delivery, EventBus, EventHandler, Filter, HandlerError, NewEvent, TaskId, Update,
};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

/// Appends to a file in NDJSON format: one JSON object per line.
struct FileHandler {
    file: Mutex<File>,
}

impl FileHandler {
    async fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .await?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }
}

#[async_trait]
impl EventHandler for FileHandler {
    async fn handle(&self, update: Delivery) -> Result<(), HandlerError> {
        let line = match update {
            // The log stores an event as one line of JSON.
            Update::Event(event) => format!("{}\n", event.json()),
            // A file with missing events must say so.
            Update::Gap { task_id, gap, .. } => {
                let gap = serde_json::json!({ "task_id": task_id, "gap": gap });
                format!("{gap}\n")
            }
            Update::Reset {
                task_id, reason, ..
            } => {
                let reset = serde_json::json!({ "task_id": task_id, "reset": reason });
                format!("{reset}\n")
            }
            Update::Removed { task_id } => {
                let removed = serde_json::json!({ "removed": task_id });
                format!("{removed}\n")
            }
            _ => return Ok(()),
        };
        let mut file = self.file.lock().await;
        file.write_all(line.as_bytes()).await?;
        file.flush().await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map_or_else(
        || std::env::temp_dir().join(format!("tidings-{}.ndjson", std::process::id())),
        PathBuf::from,
    );
    let bus = EventBus::new(BusConfig::default())?;
    // If the guard were dropped, the handler would be unsubscribed.
    let guard = bus.subscribe_handler(Filter::everything(), FileHandler::open(&path).await?);

    for name in ["build-1", "build-2"] {
        let task: TaskId = name.parse()?;
        bus.publish(&task, NewEvent::task_started(name)).await?;
        bus.publish(&task, NewEvent::progress(50.0, "compiling"))
            .await?;
        bus.publish(&task, NewEvent::task_completed(None)).await?;
    }

    // Publishing does not wait for handlers, but this program does.
    while bus.handlers().iter().any(|handler| handler.handled < 6) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for handler in bus.handlers() {
        println!(
            "{}: {} handled, {} errors",
            handler.id, handler.handled, handler.errors
        );
    }
    drop(guard);
    bus.shutdown().await;
    print!(
        "{}:\n{}",
        path.display(),
        tokio::fs::read_to_string(&path).await?
    );
    Ok(())
}
