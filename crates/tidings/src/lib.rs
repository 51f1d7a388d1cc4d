//! Tidings carries the progress of long-running work — builds, renders, agents, VMs — from the
//! processes that do it to the people who watch it, live and in order.
//!
//! Every task has a log, and every subscriber has a cursor in it. A subscriber receives every event
//! in order, exactly once. If it cannot receive some events, a gap says which ones and why.
//!
//! # Where to begin
//!
//! | your program | start with | a complete program |
//! |---|---|---|
//! | does work and shows it itself: a command-line tool, a desktop program | [`EventBus::run`], [`EventBus::watch`] | [`cli_tool`] |
//! | is a web service: people log in, begin jobs, watch and cancel them | [`TidingsService`], [`EventBus::run`] | [`axum_service`] |
//! | works for, or watches, a server elsewhere | [`Client::run`](client::Client::run), [`Client::watch`](client::Client::watch) | [`client`][client example] |
//! | *is* the server, with storage, TLS and tokens | [`Node`], or the binary `tidings` | [`embed_node`] |
//!
//! [`cli_tool`]: https://github.com/tidings-rs/tidings/blob/main/examples/cli_tool.rs
//! [`axum_service`]: https://github.com/tidings-rs/tidings/blob/main/examples/axum_service.rs
//! [client example]: https://github.com/tidings-rs/tidings/blob/main/examples/client.rs
//! [`embed_node`]: https://github.com/tidings-rs/tidings/blob/main/examples/embed_node.rs
//!
//! Work is a scope, both on the bus and on the client. The way in which the work returns decides
//! how its task ends: `Ok` completes it, and `Err` and a panic fail it. A `cancel` command or a
//! shutdown cancels it. Reports cannot harm the work:
//!
//! ```
//! use tidings::bus::guard::BoxError;
//! use tidings::{BusConfig, EventBus, Outcome, TaskId, Update};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let bus = EventBus::new(BusConfig::default())?;
//! let id: TaskId = "render-7".parse()?;
//! let mut watch = bus.watch(&id);
//!
//! let frames = bus.run(&id, |task| async move {
//!     task.progress(40.0, "lighting");
//!     Ok(250)
//! });
//! assert_eq!(frames.await?, 250);
//!
//! while let Some(update) = watch.recv().await {
//!     match update {
//!         Update::Snapshot(state) => println!("{} is {}", state.task_id, state.status),
//!         Update::Event(event) => println!("{} {}", event.event_type(), event.data()),
//!         Update::Gap { gap, .. } => println!("{} to {} will not come", gap.from, gap.to),
//!         _ => {}
//!     }
//!     if watch.state(&id).and_then(Outcome::of).is_some() {
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A client's watch yields the same [`Update`]s in the same order.
//!
//! # Where to find it
//!
//! | to | use |
//! |---|---|
//! | report progress, steps, text, a child task; obey commands; ask a person | [`Reporter`], which the scope gets: `progress`, `step`, `output`, `child`, `commands`, `cancelled`, `ask`. The client has [the same](client::Reporter). |
//! | wait for a task's end | [`EventBus::wait`], [`Client::wait`](client::Client::wait) |
//! | read a task's state once | [`EventBus::snapshot`], [`Client::snapshot`](client::Client::snapshot) |
//! | cancel a task, or answer its question | [`Client::command`](client::Client::command), [`Client::answer`](client::Client::answer), [`EventBus::answer`] |
//! | let people log in your own way | an [`Authenticator`](connections::Authenticator), or an [`Access`](connections::Access) that your middleware puts into the request |
//! | stop a server in order, also under axum | [`TidingsService::drain_on`], then [`EventBus::shutdown`] |
//! | keep tasks on disk; share them among nodes | [`DiskStore`](store::DiskStore); [`Redis`](redis::Redis) |
//! | draw a bar in the terminal and report it | [`client::indicatif::report`] |
//! | report `tracing` spans | [`TaskLayer`](tracing::TaskLayer), with a client |
//! | be monitored | [`metrics::answer`]; a [`Node`] serves `/metrics` itself |
//! | test your program | a bus of the test's own, as above, or a [`Node`] in process: [guide][testing] |
//! | know what a dropped future leaves behind | the section "Cancel safety" of each async function |
//!
//! [`Reporter`]: bus::guard::Reporter
//! [testing]: https://github.com/tidings-rs/tidings/blob/main/docs/guides/testing.md
//!
//! The guides are [embedding][], [delivery semantics][] and [clients][].
//!
//! [embedding]: https://github.com/tidings-rs/tidings/blob/main/docs/embedding.md
//! [delivery semantics]: https://github.com/tidings-rs/tidings/blob/main/docs/delivery-semantics.md
//! [clients]: https://github.com/tidings-rs/tidings/blob/main/docs/clients.md
//!
//! # Features
//!
//! No feature is on by default. Without features you get the bus and the protocol, with no socket
//! and no HTTP.
//!
//! * `connections`: sessions, subscriptions, heartbeats, resume and inboxes, for a transport of
//!   your own.
//! * `transport`: WebSocket, SSE and REST as a hyper and tower service. Implies `connections`.
//! * `axum`: reads axum's `ConnectInfo` and prefixes, and has `AxumListener`, with which WebSockets
//!   under `axum::serve` are as fast as under hyper itself. Implies `transport`.
//! * `metrics`: all counters as Prometheus text. Implies `connections`.
//! * `describe`: OpenAPI, AsyncAPI and JSON Schemas. Implies `transport`.
//! * `auth`: authentication with JSON Web Tokens and API keys. Implies `connections`.
//! * `store`: tasks and clients' positions outlive the process: a store on disk with an embedded
//!   engine. See [`store`].
//! * `redis`: several nodes over Redis. See [`redis`].
//! * `client`: a client for a remote server. `client-tls` adds TLS, `list` adds lists of tasks over
//!   HTTP, and `indicatif` reports progress bars.
//! * `tracing`: reports spans of `tracing` as tasks. Implies `client`.
//! * `tls`: TLS with certificates that can be replaced while connections stay open.
//! * `node`: a whole server as a library, with listener, storage, Redis, TLS and configuration.
//!   Implies every feature of a server.
//! * `full`: all of the above.
//!
//! Each crate is a module of this one under its own name. The types that most programs need are
//! exported at the top level. The server program is the binary of `tidings-server`.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// Ids, events, messages and the rules of the protocol: `tidings-protocol`.
#[doc(inline)]
pub use tidings_protocol as protocol;

/// Logs, cursors, handlers and stores: `tidings-bus`.
#[doc(inline)]
pub use tidings_bus as bus;

/// Sessions, subscriptions, resume and inboxes: `tidings-connections`.
#[cfg(feature = "connections")]
#[doc(inline)]
pub use tidings_connections as connections;

/// Metrics as Prometheus and OpenMetrics text: `tidings-metrics`.
#[cfg(feature = "metrics")]
#[doc(inline)]
pub use tidings_metrics as metrics;

/// OpenAPI, AsyncAPI and JSON Schemas: `tidings-describe`.
#[cfg(feature = "describe")]
#[doc(inline)]
pub use tidings_describe as describe;

/// Several nodes over Redis: `tidings-redis`.
#[cfg(feature = "redis")]
#[doc(inline)]
pub use tidings_redis as redis;

/// Spans of `tracing` as tasks: `tidings-tracing`.
#[cfg(feature = "tracing")]
#[doc(inline)]
pub use tidings_tracing as tracing;

/// TLS: `tidings-tls`.
#[cfg(feature = "tls")]
#[doc(inline)]
pub use tidings_tls as tls;

/// JSON Web Tokens and API keys: `tidings-auth`.
#[cfg(feature = "auth")]
#[doc(inline)]
pub use tidings_auth as auth;

/// Storage of tasks on disk: `tidings-store`.
///
/// ```
/// use std::sync::Arc;
/// use tidings::store::{DiskStore, StoreConfig, Sync};
/// use tidings::{BusConfig, EventBus, NewEvent, TaskId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path().join("data");
/// // An event is on disk before anybody sees it or its publisher is answered.
/// let config = StoreConfig::default().sync(Sync::EveryCommit);
/// let (store, recovered) = DiskStore::open(&directory, config).await?;
/// println!("{} tasks were there", recovered.tasks);
/// let bus = EventBus::open(BusConfig::default(), Arc::new(store)).await?;
///
/// let task: TaskId = "render-7".parse()?;
/// bus.publish(&task, NewEvent::task_started("Render")).await?;
///
/// // A stop in order: otherwise the next start is one after a crash.
/// assert!(bus.shutdown().await);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "store")]
#[doc(inline)]
pub use tidings_store as store;

/// The client for a remote server: `tidings-client`.
#[cfg(feature = "client")]
#[doc(inline)]
pub use tidings_client as client;

/// A whole server as a library: `tidings-node`.
#[cfg(feature = "node")]
#[doc(inline)]
pub use tidings_node as node;

/// WebSocket, SSE and REST: `tidings-transport`.
#[cfg(feature = "transport")]
#[doc(inline)]
pub use tidings_transport as transport;

pub use tidings_bus::{
    BusConfig, Delivery, EventBus, EventHandler, EventRecord, Filter, HandlerError, PublishError,
    Published, Store, Subscription,
};
pub use tidings_protocol::{
    Cancelled, Data, Event, EventId, EventType, Gap, GapReason, NewEvent, Offset, Outcome, Pattern,
    Position, Since, TaskId, TaskSnapshot, TaskStatus, Update,
};

#[cfg(feature = "connections")]
pub use tidings_connections::{ConnectionManager, ConnectionsConfig};

#[cfg(feature = "client")]
pub use tidings_client::{Client, ClientConfig, Task, Watch};

#[cfg(feature = "transport")]
pub use tidings_transport::{TidingsService, TransportConfig, WEBSOCKET};

#[cfg(feature = "node")]
pub use tidings_node::{Node, NodeConfig, Server};

/// Compiles and runs the code in the README and in `docs/` with the tests.
#[cfg(all(doctest, feature = "full"))]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/embedding.md")]
    struct Embedding;
    #[doc = include_str!("../../../docs/delivery-semantics.md")]
    struct DeliverySemantics;
    #[doc = include_str!("../../../docs/clients.md")]
    struct Clients;
}
