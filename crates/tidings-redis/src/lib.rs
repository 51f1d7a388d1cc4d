//! Several Tidings nodes as one, over Redis or Valkey: alone, with Sentinel, or
//! a cluster.
//!
//! Offsets, history, snapshots and event ids live in Redis; [`RedisStore`]
//! appends with one atomic script, and [`RedisBroker`] carries what was
//! appended to the nodes that watch it. Each node keeps its own logs in step
//! with Redis's, so fan-out costs what it costs on one node.
//!
//! What this is not: a queue, or a client for other uses of Redis. Neighbours
//! are `tidings-bus`, whose [`Store`](tidings_bus::Store) and
//! [`Broker`](tidings_bus::Broker) it implements, and the server, which has it
//! behind `--redis`.
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
mod watched;

pub use broker::RedisBroker;
pub use clients::RedisClients;
pub use config::{AddressError, Deployment, RedisConfig};
pub use neighbours::RedisNeighbours;
pub use node::Redis;
pub use store::RedisStore;
