//! A whole node on a free port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{Authenticator, ConnectionManager, ConnectionsConfig};
use tidings_node::{Node, NodeConfig, Options, ReloadHandle, StopReport};
use tidings_transport::{TransportConfig, WEBSOCKET};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The longest time that a test waits for anything. It is minutes, so that a machine that is busy
/// compiling does not make tests fail.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// A free port of the loopback interface.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The configuration of a test server.
#[derive(Debug, Clone)]
pub struct TestConfig {
    /// The settings of the bus. The server sets its framing.
    pub bus: BusConfig,
    /// The settings of the connections.
    pub connections: ConnectionsConfig,
    /// The settings of the transport.
    pub transport: TransportConfig,
}

impl Default for TestConfig {
    fn default() -> Self {
        Self {
            bus: BusConfig::default(),
            // A test client may not be reading when the server stops. Wait for it only briefly.
            connections: ConnectionsConfig::default().close_timeout(Duration::from_millis(200)),
            transport: TransportConfig::default(),
        }
    }
}

impl TestConfig {
    /// Returns the configuration of a node with these settings and without a dashboard.
    fn node(self) -> NodeConfig {
        let mut node = NodeConfig::default();
        node.bus = self.bus.framing(WEBSOCKET);
        node.connections = self.connections;
        node.transport = self.transport;
        node.dashboard = false;
        node
    }
}

/// A running node in this process, on a free port of the loopback interface.
#[derive(Debug)]
pub struct TestServer {
    addr: SocketAddr,
    bus: EventBus,
    manager: ConnectionManager,
    reload: ReloadHandle,
    drain: CancellationToken,
    running: JoinHandle<StopReport>,
}

impl TestServer {
    /// Starts a server.
    ///
    /// # Panics
    /// Panics if that fails.
    pub async fn start(config: TestConfig) -> Self {
        Self::start_at(config, LOCAL).await
    }

    /// Starts a server at an address that another server had.
    ///
    /// # Panics
    /// Panics if that fails.
    pub async fn start_at(config: TestConfig, addr: SocketAddr) -> Self {
        Self::start_node(config.node().listen(addr)).await
    }

    /// Starts a server that authenticates all clients.
    ///
    /// # Panics
    /// Panics if that fails.
    pub async fn start_asking(config: TestConfig, authenticator: impl Authenticator) -> Self {
        let config = config.node().listen(LOCAL);
        Self::start_node(config.authenticator(Arc::new(authenticator))).await
    }

    /// Starts a node with options, which have the names of the configuration file. Without
    /// `listen`, the node uses a free port.
    ///
    /// # Panics
    /// Panics if an option is wrong, or if the node does not start.
    pub async fn start_with(options: &[(&str, &str)]) -> Self {
        let mut set = Options::default();
        for (name, value) in [("listen", "127.0.0.1:0")].iter().chain(options) {
            set.set(name, value).expect("an option");
        }
        Self::start_node(NodeConfig::load(set).expect("a configuration")).await
    }

    /// Starts a node.
    ///
    /// # Panics
    /// Panics if that fails.
    pub async fn start_node(mut config: NodeConfig) -> Self {
        config.drain_window = Duration::from_secs(2);
        config.drain_deadline = DEADLINE;
        let node = Node::start(config).await.expect("the node starts");
        let drain = CancellationToken::new();
        Self {
            addr: node.addr(),
            bus: node.bus().clone(),
            manager: node.manager().clone(),
            reload: node.reload_handle(),
            running: tokio::spawn(node.run(drain.clone())),
            drain,
        }
    }

    /// Returns the address on which the node listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the bus.
    pub fn bus(&self) -> &EventBus {
        &self.bus
    }

    /// Returns the connection manager.
    pub fn manager(&self) -> &ConnectionManager {
        &self.manager
    }

    /// Returns the handle that reloads the node's configuration.
    pub fn reload_handle(&self) -> &ReloadHandle {
        &self.reload
    }

    /// Returns a WebSocket URL. `path` begins with a slash.
    pub fn ws(&self, path: &str) -> String {
        format!("ws://{}{path}", self.addr)
    }

    /// Drains and stops the server. Returns how many connections had to be aborted.
    ///
    /// # Panics
    /// Panics if the server panicked.
    pub async fn stop(self) -> usize {
        self.drain.cancel();
        let stopped = self.running.await.expect("the node does not panic");
        stopped.aborted
    }

    /// Stops the server at once, like a crash. Running work is not finished.
    pub async fn crash(self) {
        self.running.abort();
        // The port is free when the task has ended.
        let _ = self.running.await;
        // When a process dies, the system closes its sockets. Here they must be closed explicitly,
        // or they would keep answering for a bus that is gone.
        let closed = self.manager.drain(std::time::Duration::ZERO);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), closed).await;
        self.bus.shutdown().await;
    }
}

impl TestServer {
    /// Stops the server at once, like a crash. Then starts it at the same address with the same
    /// memory, like a server with a durable store.
    ///
    /// # Panics
    /// Panics if the server cannot be started again.
    pub async fn crash_and_return(self) -> Self {
        let connections = self.manager.config().clone();
        self.running.abort();
        // The port is free when the task has ended.
        let _ = self.running.await;
        let config = TestConfig {
            connections,
            ..TestConfig::default()
        };
        let config = config.node().listen(self.addr).over(self.bus);
        Self::start_node(config).await
    }
}

/// Waits until a condition holds.
///
/// # Panics
/// Panics if it does not hold within [`DEADLINE`].
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(DEADLINE, wait).await.is_ok(),
        "this did not come about: {what}"
    );
}
