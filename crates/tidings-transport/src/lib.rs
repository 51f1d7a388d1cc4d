//! Tidings over HTTP: WebSocket, server-sent events and REST.
//!
//! [`TidingsService`] answers requests; it is a hyper and a tower service, so it
//! mounts in hyper, in axum and under any tower router, over any I/O that hyper
//! is given. [`Server`] is the accept loop around it for those who want none of
//! their own. Connections themselves are `tidings-connections`', logs
//! `tidings-bus`'s; signals, flags and logging are the application's.
//!
//! ```no_run
//! use std::time::Duration;
//! use tidings_bus::{BusConfig, EventBus};
//! use tidings_connections::{ConnectionManager, ConnectionsConfig};
//! use tidings_transport::{Server, TidingsService, TransportConfig, WEBSOCKET};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = EventBus::new(BusConfig::default().framing(WEBSOCKET))?;
//! let manager = ConnectionManager::new(bus, ConnectionsConfig::default())?;
//! let service = TidingsService::new(manager, TransportConfig::default())?;
//! let server = Server::bind(([127, 0, 0, 1], 8000).into(), service).await?;
//! let drain = CancellationToken::new();
//! server.run(drain, Duration::from_secs(5), Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```

mod acceptor;
mod access;
mod body;
mod cloudevents;
mod config;
mod extra_route;
mod forwarded;
mod hosts;
mod http_counts;
mod origin;
mod out_buffer;
mod pages;
mod problem;
mod proxy_protocol;
mod query;
mod request_id;
mod routes;
mod serve;
mod service;
mod spans;
mod sse;
mod trace;
mod upgrade;
mod websocket;
mod write_deadline;

pub use acceptor::{Accepted, Acceptor, BoxedStream, Stream};
pub use body::Body;
pub use config::{ConfigError, TransportConfig};
pub use extra_route::{Asked, ExtraRoute};
pub use origin::Origins;
pub use pages::Pages;
pub use serve::Server;
pub use service::{PeerAddr, ResponseFuture, TidingsService};
pub use spans::{RequestHead, RequestSpans};
pub use websocket::WEBSOCKET;
