//! Runs several Tidings nodes as one, over Redis or Valkey: one server, Sentinel, or a cluster.
//!
//! Offsets, history, snapshots and event ids are in Redis. [`RedisStore`] appends events with
//! one atomic script, and [`RedisBroker`] carries them to the nodes that watch the task. Each
//! node keeps its own copy of the logs, so the fan-out costs the same as on one node.
//!
//! This crate is not a queue, and not a client for other uses of Redis. It implements
//! [`Store`](tidings_bus::Store) and [`Broker`](tidings_bus::Broker) of `tidings-bus`. The
//! server uses it for `--redis`.
//!
//! ```no_run
//! use tidings_bus::{BusConfig, EventBus};
//! use tidings_redis::{Redis, RedisConfig};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = BusConfig::default();
//! let deployment = "redis://127.0.0.1:6379".parse()?;
//! let redis = Redis::start(RedisConfig::new(deployment).retaining_as(&config));
//! let bus = EventBus::open(config.broker(Some(redis.broker())), redis.store()).await?;
//! # Ok(())
//! # }
//! ```

mod broker;
mod clients;
mod config;
pub mod defaults;
mod keys;
mod link;
mod neighbours;
mod node;
mod script;
mod sentinel;
mod store;
mod trees;
mod watched;

pub use broker::RedisBroker;
pub use clients::RedisClients;
pub use config::{AddressError, Deployment, RedisConfig};
pub use neighbours::RedisNeighbours;
pub use node::Redis;
pub use store::RedisStore;
