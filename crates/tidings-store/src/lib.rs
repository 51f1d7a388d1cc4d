//! The durable store of Tidings: what tasks, events and clients' positions
//! there are outlives the process, without a database beside it.
//!
//! [`DiskStore`] is a [`tidings_bus::Store`] on an embedded log-structured
//! engine (fjall). One directory belongs to one process; what an
//! acknowledgement means is said by [`Sync`]. Which epoch follows a stop, and
//! why, is in `docs/durability.md`.
//!
//! It is not the fan-out path: watchers at the head read the bus's memory.
//!
//! ```
//! use std::sync::Arc;
//! use tidings_bus::protocol::{NewEvent, TaskId};
//! use tidings_bus::{BusConfig, EventBus};
//! use tidings_store::{DiskStore, StoreConfig};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path().join("data");
//! let task: TaskId = "render-7".parse()?;
//! let (store, _) = DiskStore::open(&directory, StoreConfig::default()).await?;
//! let bus = EventBus::open(BusConfig::default(), Arc::new(store)).await?;
//! bus.publish(&task, NewEvent::task_started("Render")).await?;
//! bus.shutdown().await;
//! drop(bus);
//!
//! let (store, recovered) = DiskStore::open(&directory, StoreConfig::default()).await?;
//! assert_eq!(recovered.tasks, 1);
//! let bus = EventBus::open(BusConfig::default(), Arc::new(store)).await?;
//! assert_eq!(bus.snapshot(&task).and_then(|task| task.name.clone()).as_deref(), Some("Render"));
//! # bus.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod aside;
mod backup;
mod batch;
mod config;
pub mod defaults;
mod directory;
mod engine;
mod error;
mod housekeeping;
mod index;
mod inspect;
mod known;
mod outputs;
mod readers;
mod recovery;
mod rows;
mod store;
mod writer;

pub use backup::{BackupDirectory, Copied, CopyError, back_up};
pub use config::{InvalidSync, StoreConfig, Sync};
pub use error::{Damage, OpenError};
pub use inspect::{Inspected, InspectedTask, inspect};
pub use recovery::{Left, Recovered};
pub use store::DiskStore;
