//! The client of a Tidings server: publish, watch, and be asked to do things,
//! over one WebSocket that comes back by itself.
//!
//! ```no_run
//! use futures_util::TryStreamExt;
//! use tidings_client::{Client, Update};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:8000").await?;
//!
//! // Do something, and say so …
//! let task = client.task("render-7").name("Render").start().await?;
//! task.progress(40.0, "lighting");
//! task.complete(None).await?;
//!
//! // … or watch others do it.
//! let mut watch = client.watch_pattern(&"render-*".parse()?);
//! while let Some(update) = watch.try_next().await? {
//!     match update {
//!         Update::Snapshot(state) => println!("{} is {}", state.task_id, state.status),
//!         Update::Event(event) => println!("{} {}", event.event_type, event.data),
//!         Update::Gap { gap, .. } => println!("{} to {} will not come", gap.from, gap.to),
//!         Update::Disconnected { loss, .. } => println!("{loss}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it takes care of:
//!
//! - It reconnects, with exponential backoff and full jitter, at the time that
//!   the server asks for if it does, and never with a token that was refused.
//! - A [`Watch`] goes on where it was: every offset comes, in order and once,
//!   or inside of a [`Gap`](Update::Gap).
//! - A publish that was not answered is sent again, under the same `event_id`,
//!   and so is in the log once. What waits meanwhile is bounded, and
//!   [`WhenFull`] says what happens then.
//! - A [`Task`] that is dropped, by an error or a panic, is reported as failed.
//! - [`Commands`] come once each, and their answers are in the log once.
//!
//! What it is not: a server, or a bus inside the process; those are
//! `tidings-server` and `tidings-bus`. Its one neighbour is [`protocol`].
//!
//! # Limits of "once"
//!
//! A server knows an `event_id` for 5 minutes or 1,024 of a task's events. A
//! publish that was taken, whose answer was lost, and that is sent again only
//! after that, is in the log twice; the client keeps fewer than that in flight,
//! so it takes an outage of more than 5 minutes of the network alone, not of
//! the server.

mod backoff;
#[cfg(feature = "list")]
mod backup;
mod client;
mod config;
mod connection;
#[cfg(feature = "list")]
mod connections;
pub mod defaults;
mod driver;
mod endpoint;
mod error;
#[cfg(feature = "list")]
mod history;
#[cfg(feature = "list")]
mod http;
#[cfg(feature = "indicatif")]
pub mod indicatif;
mod inputs;
#[cfg(feature = "list")]
mod list;
mod publish;
mod shared;
mod state;
mod stream;
mod task;
mod token;
mod trust;
mod update;
mod wait;
mod watch;

/// Ids, events and messages: `tidings-protocol`.
#[doc(inline)]
pub use tidings_protocol as protocol;

#[cfg(feature = "list")]
pub use backup::ServerBackup;
pub use client::{Client, ClientBuilder};
pub use config::{ClientConfig, WhenFull};
#[cfg(feature = "list")]
pub use connections::{ConnectedClient, WatchedTask};
pub use endpoint::Dialer;
pub use error::{CommandError, ConnectError, InvalidUrl, Loss, ReceiptError, Stopped, WatchError};
#[cfg(feature = "list")]
pub use history::{EventPage, EventQuery};
#[cfg(feature = "list")]
pub use http::ListError;
#[cfg(feature = "list")]
pub use list::{TaskPage, TaskQuery};
pub use publish::{Acknowledged, Receipt};
pub use state::Status;
pub use stream::ServerStream;
pub use task::{
    AskError, Command, Commands, Ended, Ending, Losses, Output, Refusal, Reporter, RunError, Task,
    TaskBuilder, TaskStep, Updates,
};
pub use tidings_protocol::{Cancelled, InputOutcome, Outcome};
pub use tidings_scope::{Answered, BoxError};
pub use update::{Start, Update};
pub use watch::Watch;
