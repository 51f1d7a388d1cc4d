//! Clients that send malformed input. Each gets an error that says what is wrong, and no other
//! client is affected.

mod admission;
mod frames;
mod messages;
mod requests;

use tidings_protocol::{Data, NewEvent, TaskId};
use tidings_testkit::{TestClient, TestConfig, TestServer};

/// The largest message of these servers, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;

async fn server() -> TestServer {
    let mut config = TestConfig::default();
    config.connections = config
        .connections
        .max_message_bytes(MAX_MESSAGE)
        .max_subscriptions(2);
    config.bus = config.bus.max_event_bytes(1024);
    TestServer::start(config).await
}

/// A client that watches its own task while other clients make errors.
struct Bystander {
    client: TestClient,
    events: u64,
}

impl Bystander {
    async fn join(server: &TestServer) -> Self {
        let mut client = TestClient::connect(server.ws("/ws/tasks/bystander")).await;
        client.until("connection_established").await;
        Self { client, events: 0 }
    }

    /// Checks that the bystander receives exactly one more event.
    async fn is_undisturbed(&mut self, server: &TestServer, after: &str) {
        let event = NewEvent::new("step".parse().unwrap(), Data::empty());
        let task = TaskId::new("bystander").unwrap();
        server.bus().publish(&task, event).await.unwrap();
        self.events += 1;
        let message = self.client.next().await;
        let offset = message.expect(after)["offset"].as_u64();
        assert_eq!(offset, Some(self.events), "{after}");
    }
}
