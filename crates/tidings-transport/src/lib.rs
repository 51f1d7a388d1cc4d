//! Tidings over HTTP: WebSocket, server-sent events and REST.
//!
//! [`TidingsService`] answers requests. It is a hyper service and a tower service. It can be
//! mounted in hyper, in axum and under any tower router, over any I/O that hyper supports. It does
//! not accept connections itself: hyper, axum or `tidings-node` does that. `tidings-connections`
//! implements connections, and `tidings-bus` implements logs. The application handles signals,
//! flags and logging.
//!
//! ```no_run
//! use hyper::server::conn::http1;
//! use hyper_util::rt::TokioIo;
//! use tidings_bus::{BusConfig, EventBus};
//! use tidings_connections::{ConnectionManager, ConnectionsConfig};
//! use tidings_transport::{TidingsService, TransportConfig};
//! use tokio::net::TcpListener;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = EventBus::new(BusConfig::default())?;
//! let manager = ConnectionManager::new(bus, ConnectionsConfig::default())?;
//! let service = TidingsService::new(manager, TransportConfig::default())?;
//! let listener = TcpListener::bind("127.0.0.1:8000").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     let connection = http1::Builder::new()
//!         .serve_connection(TokioIo::new(stream), service.clone())
//!         .with_upgrades();
//!     tokio::spawn(connection);
//! }
//! # }
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
#[cfg(feature = "axum")]
mod axum_listener;
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
mod query;
mod request_id;
mod routes;
mod service;
mod spans;
mod sse;
mod stream_position;
mod trace;
mod upgrade;
mod websocket;
mod write_deadline;

pub use access::{PeerCertificates, cookie};
#[cfg(feature = "axum")]
pub use axum_listener::AxumListener;
pub use body::Body;
pub use config::{TransportConfig, TransportConfigError};
pub use extra_route::{Asked, ExtraRoute};
/// The head of a request, as an authenticator sees it: `credentials.request::<RequestParts>()`.
pub use http::request::Parts as RequestParts;
pub use origin::{InvalidHost, Origins, host};
pub use pages::Pages;
pub use problem::Problem;
pub use service::{Drained, PeerAddr, ResponseFuture, TidingsService};
pub use spans::{RequestHead, RequestSpans};
pub use websocket::WEBSOCKET;
pub use write_deadline::{HandshakeHold, WriteDeadline};
