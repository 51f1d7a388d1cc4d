//! The client of a Tidings server. A program uses it to publish events, watch tasks and receive
//! commands. All of this shares one WebSocket, which reconnects after a loss.
//!
//! ```no_run
//! use futures_util::TryStreamExt;
//! use tidings_client::protocol::Target;
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
//! let mut watch = client.watch("render-*".parse::<Target>()?);
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
//! The client guarantees:
//!
//! - After a loss, the client reconnects with exponential backoff and full jitter, or at the time
//!   that the server asks for. The client never shows a refused token again.
//! - A [`Watch`] continues at its cursors after a reconnect. Every offset arrives once and in
//!   order, as an event or inside a [`Gap`](Update::Gap).
//! - The client sends an unanswered publish again under the same `event_id`, so the log contains
//!   the event once. The buffer of unanswered publishes is bounded. [`WhenFull`] decides about
//!   publishes beyond the bound.
//! - A [`Task`] that is dropped, by an error or a panic, is reported as failed.
//! - Each of the [`Commands`] arrives once, and its answer is in the log once.
//!
//! This crate is neither a server nor a bus inside the process. Those are `tidings-server` and
//! `tidings-bus`. Its one neighbour is [`protocol`].
//!
//! # Limits of "once"
//!
//! A server remembers an `event_id` for 5 minutes, or for 1,024 events of a task. Suppose the
//! server accepts a publish, and its answer is lost. If the client sends the publish again after
//! that time, the log contains the event twice. The client keeps fewer than 1,024 publishes in
//! flight. A duplicate therefore needs a network outage of more than 5 minutes during which the
//! server keeps running.

#![cfg_attr(docsrs, feature(doc_cfg))]

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

/// Ids, events and messages, from `tidings-protocol`.
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
