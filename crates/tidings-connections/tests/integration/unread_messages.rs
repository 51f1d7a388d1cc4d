//! Messages wait for their client, even if it disconnected before it was told about any of them.

use serde_json::Value;
use tidings_bus::{BusConfig, EventBus};
use tidings_connections::{
    Access, ConnectRequest, ConnectionGuard, ConnectionManager, ConnectionsConfig,
};
use tidings_protocol::{ClientId, Data, Secret};
use tidings_testkit::{LineReader, LineWire, PipeSocket, connect};

struct World {
    manager: ConnectionManager,
    token: Option<Secret>,
}

impl World {
    /// Connects the client over a pipe with this capacity in bytes.
    fn connect(&self, capacity: usize) -> (ConnectionGuard, PipeSocket) {
        let pipe = PipeSocket::new(capacity);
        let mut request = ConnectRequest::new(Access::unrestricted());
        request.client_id = Some(ClientId::new("laptop").unwrap());
        request.resume_token = self.token.clone();
        let socket = Box::new(pipe.clone());
        let guard = connect(&self.manager, request, socket, &LineWire).unwrap();
        (guard, pipe)
    }

    async fn send(&self, number: u64) {
        let kind = "note".parse().unwrap();
        let data = Data::from_value(serde_json::json!({ "number": number })).unwrap();
        let client = ClientId::new("laptop").unwrap();
        self.manager
            .send_personal(&client, kind, data)
            .await
            .unwrap();
    }
}

/// Polls the connection's task until it waits, and reads what it wrote.
async fn read(guard: &ConnectionGuard, pipe: &PipeSocket) -> Vec<Value> {
    std::future::poll_fn(|cx| {
        assert!(guard.connection().poll_drive(cx).is_pending(), "it lives");
        std::task::Poll::Ready(())
    })
    .await;
    let lines = LineReader::default().take(&pipe.take(usize::MAX));
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_before_its_inbox_was_opened_gets_all_of_it_later() {
    let bus = EventBus::new(BusConfig::default()).unwrap();
    let manager = ConnectionManager::new(bus, ConnectionsConfig::default()).unwrap();
    let mut world = World {
        manager,
        token: None,
    };
    let (first, pipe) = world.connect(64 * 1024);
    let hello = &read(&first, &pipe).await[0];
    let token = hello["data"]["resume_token"].as_str().unwrap();
    world.token = Some(Secret::from(token.to_owned()));
    drop(first);
    for number in 1..=3 {
        world.send(number).await;
    }

    // The socket accepts one byte of the greeting, and then breaks.
    let (second, pipe) = world.connect(1);
    pipe.break_off();
    drop(second);

    let (third, pipe) = world.connect(64 * 1024);
    let numbers: Vec<_> = read(&third, &pipe)
        .await
        .iter()
        .filter(|message| message["event_type"] == "personal_message")
        .map(|message| message["data"]["data"]["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
}
