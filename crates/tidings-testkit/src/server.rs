//! A whole server on port 0.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{Authenticator, ConnectionManager, ConnectionsConfig};
use tidings_metrics::Served;
use tidings_node::Server;
use tidings_transport::{ExtraRoute, TidingsService, TransportConfig, WEBSOCKET};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything that a test waits for may take. Minutes, so that a machine that
/// compiles something else meanwhile makes no test fail.
pub const DEADLINE: Duration = Duration::from_secs(300);

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
            transport: transport(),
        }
    }
}

/// Creates the settings of a transport with the routes that the server has.
fn transport() -> TransportConfig {
    let metrics = ExtraRoute::admin("/metrics", |asked| {
        let served = Served::new(asked.uptime(), asked.is_ready(), asked.requests());
        tidings_metrics::answer(asked.headers(), asked.manager(), served)
    });
    let mut config = TransportConfig::default().route(metrics);
    config.routes.extend(tidings_describe::routes());
    config
}

/// A running server, on a free port of the loopback interface.
#[derive(Debug)]
pub struct TestServer {
    addr: SocketAddr,
    bus: EventBus,
    manager: ConnectionManager,
    drain: CancellationToken,
    running: JoinHandle<usize>,
}

impl TestServer {
    /// Starts a server.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start(config: TestConfig) -> Self {
        Self::start_at(config, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts a server at an address: where another one was.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start_at(config: TestConfig, addr: SocketAddr) -> Self {
        let bus = EventBus::new(config.bus.framing(WEBSOCKET)).expect("a bus");
        let manager =
            ConnectionManager::new(bus.clone(), config.connections).expect("a connection manager");
        Self::run(bus, manager, config.transport, addr).await
    }

    /// Starts a server that asks everybody who they are.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start_asking(config: TestConfig, authenticator: impl Authenticator) -> Self {
        let bus = EventBus::new(config.bus.framing(WEBSOCKET)).expect("a bus");
        let manager = ConnectionManager::with_authenticator(
            bus.clone(),
            config.connections,
            Arc::new(authenticator),
        );
        let manager = manager.expect("a connection manager");
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::run(bus, manager, config.transport, addr).await
    }

    async fn run(
        bus: EventBus,
        manager: ConnectionManager,
        transport: TransportConfig,
        addr: SocketAddr,
    ) -> Self {
        let service = TidingsService::new(manager.clone(), transport).expect("a service");
        let server = Server::bind(addr, service).await.expect("a free port");
        let addr = server.local_addr();
        let drain = CancellationToken::new();
        let running = tokio::spawn(server.run(drain.clone(), Duration::from_secs(2), DEADLINE));
        Self {
            addr,
            bus,
            manager,
            drain,
            running,
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
        let aborted = self.running.await.expect("the server does not panic");
        self.bus.shutdown().await;
        aborted
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
        let manager = ConnectionManager::new(self.bus.clone(), connections);
        let manager = manager.expect("a connection manager");
        Self::run(self.bus, manager, transport(), self.addr).await
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
