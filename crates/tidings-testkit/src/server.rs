//! A whole node on port 0.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{Authenticator, ConnectionManager, ConnectionsConfig};
use tidings_node::{Node, NodeConfig, Options, ReloadHandle, StopReport};
use tidings_transport::{TransportConfig, WEBSOCKET};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything that a test waits for may take. Minutes, so that a machine that
/// compiles something else meanwhile makes no test fail.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// A free port of the loopback interface.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a test server is made with.
#[derive(Debug, Clone)]
pub struct TestConfig {
    /// The bus; its framing is set by the server.
    pub bus: BusConfig,
    /// The connections.
    pub connections: ConnectionsConfig,
    /// The transport.
    pub transport: TransportConfig,
}

impl Default for TestConfig {
    fn default() -> Self {
        Self {
            bus: BusConfig::default(),
            // Test clients that are not reading when a server stops are not
            // waited for as long as people's.
            connections: ConnectionsConfig::default().close_timeout(Duration::from_millis(200)),
            transport: TransportConfig::default(),
        }
    }
}

impl TestConfig {
    /// Returns the configuration of a node with these settings, without a dashboard.
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
    /// When that fails.
    pub async fn start(config: TestConfig) -> Self {
        Self::start_at(config, LOCAL).await
    }

    /// Starts a server at an address: where another one was.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start_at(config: TestConfig, addr: SocketAddr) -> Self {
        Self::start_node(config.node().listen(addr)).await
    }

    /// Starts a server that asks everybody who they are.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start_asking(config: TestConfig, authenticator: impl Authenticator) -> Self {
        let config = config.node().listen(LOCAL);
        Self::start_node(config.authenticator(Arc::new(authenticator))).await
    }

    /// Starts a node with options, by their names in a file. Without `listen` it
    /// takes a free port.
    ///
    /// # Panics
    /// When an option is wrong, or the node does not start.
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
    /// When that fails.
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

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The bus.
    pub fn bus(&self) -> &EventBus {
        &self.bus
    }

    /// The connections.
    pub fn manager(&self) -> &ConnectionManager {
        &self.manager
    }

    /// What has the node read its configuration again.
    pub fn reload_handle(&self) -> &ReloadHandle {
        &self.reload
    }

    /// A WebSocket URL: `path` begins with a slash.
    pub fn ws(&self, path: &str) -> String {
        format!("ws://{}{path}", self.addr)
    }

    /// Drains and stops; gives how many connections had to be aborted.
    ///
    /// # Panics
    /// When the server panicked.
    pub async fn stop(self) -> usize {
        self.drain.cancel();
        let stopped = self.running.await.expect("the node does not panic");
        stopped.aborted
    }

    /// Stops at once, as a crash would: nothing that is under way is finished.
    pub async fn crash(self) {
        self.running.abort();
        // The task's end is what frees the port.
        let _ = self.running.await;
        // A process takes its sockets along when it dies; here they must be closed,
        // or they would go on answering for a bus that is gone.
        let closed = self.manager.drain(std::time::Duration::ZERO);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), closed).await;
        self.bus.shutdown().await;
    }
}

impl TestServer {
    /// Stops at once, as a crash would, and starts where it was with the memory
    /// that it had: as a server whose store is durable.
    ///
    /// # Panics
    /// When it cannot be started again.
    pub async fn crash_and_return(self) -> Self {
        let connections = self.manager.config().clone();
        self.running.abort();
        // The task's end is what frees the port.
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
/// When it does not within [`DEADLINE`].
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
