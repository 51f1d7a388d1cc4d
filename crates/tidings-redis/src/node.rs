//! One node's connections to Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::broker::RedisBroker;
use crate::clients::RedisClients;
use crate::config::RedisConfig;
use crate::link::Link;
use crate::neighbours::RedisNeighbours;
use crate::store::RedisStore;

/// A node's connections to Redis, and the services that use them.
///
/// The connections are made in the background, and made again whenever they break. They are
/// closed when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Redis {
    store: Arc<RedisStore>,
    broker: Arc<RedisBroker>,
    clients: Arc<RedisClients>,
    neighbours: Arc<RedisNeighbours>,
    _alive: Arc<DropGuard>,
}

impl Redis {
    /// Starts to connect. Call it inside a tokio runtime.
    pub fn start(config: RedisConfig) -> Self {
        let stop = CancellationToken::new();
        let link = Link::start(config, stop.clone());
        let store = Arc::new(RedisStore::new(link.clone()));
        let neighbours = RedisNeighbours::start(link.clone(), store.publish, stop.clone());
        let broker = RedisBroker::new(Arc::clone(&store), Arc::clone(&neighbours), stop.clone());
        Self {
            store,
            broker: Arc::new(broker),
            clients: Arc::new(RedisClients::new(link)),
            neighbours,
            _alive: Arc::new(stop.drop_guard()),
        }
    }

    /// Returns the store, for [`EventBus::open`](tidings_bus::EventBus::open).
    pub fn store(&self) -> Arc<RedisStore> {
        Arc::clone(&self.store)
    }

    /// Returns the broker, for [`BusConfig::broker`](tidings_bus::BusConfig::broker).
    pub fn broker(&self) -> Arc<RedisBroker> {
        Arc::clone(&self.broker)
    }

    /// Returns the directory of clients, for a connection manager.
    pub fn clients(&self) -> Arc<RedisClients> {
        Arc::clone(&self.clients)
    }

    /// Returns the other nodes, for a connection manager.
    pub fn neighbours(&self) -> Arc<RedisNeighbours> {
        Arc::clone(&self.neighbours)
    }

    /// Returns whether Redis answers and messages come through. Send no new clients to a node
    /// that returns false.
    pub fn is_ready(&self) -> bool {
        self.store.link.is_available()
    }

    /// Waits until Redis answers. Returns false if Redis does not answer within `limit`.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn wait(&self, limit: Duration) -> bool {
        let mut changes = self.store.link.changes();
        let up = changes.wait_for(Option::is_some);
        matches!(tokio::time::timeout(limit, up).await, Ok(Ok(_)))
    }
}
