//! A whole Tidings server as a library.
//!
//! [`Node::start`] connects the bus, its connections, storage, Redis, TLS and the HTTP service, and
//! listens. [`Node::run`] serves until a token is cancelled, then drains. [`NodeConfig`] is created
//! from a file, environment variables and values. The application handles signals, exit codes and
//! the command line. It also sets up logging, for which it may call [`logging::start`].
//!
//! ```no_run
//! use tidings_node::{Node, NodeConfig, Options};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = NodeConfig::load(Options::default())?;
//! let node = Node::start(config).await?;
//! println!("listening on http://{}", node.addr());
//! let stop = CancellationToken::new();
//! node.run(stop).await;
//! # Ok(())
//! # }
//! ```
//!
//! Its neighbours are `tidings-transport`, the HTTP service for your own accept loop, and
//! `tidings-server`, the program around a node.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "clap")]
mod args;
mod auth;
mod check;
mod config;
mod error;
mod exit_code;
#[cfg(feature = "clap")]
mod files;
mod limits;
pub mod listen;
pub mod logging;
mod node;
mod options;
mod pages;
mod reload;
mod schema_references;
mod schema_steps;
mod schemas;
mod storage;
mod tls;
mod value;

pub use config::NodeConfig;
pub use error::{NodeConfigError, StartError};
#[cfg(feature = "clap")]
pub use files::{FileCommand, FileError, Told, copy_data};
pub use listen::Server;
pub use node::{Node, StopReport};
pub use options::{OptionError, OptionInfo, Options};
pub use pages::dashboard;
pub use reload::{ReloadHandle, Reloaded};
pub use schemas::JsonSchemas;
pub use tidings_connections::chain;
pub use value::InvalidValue;
