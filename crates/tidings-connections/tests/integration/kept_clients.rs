//! The keeper writes a few clients at a time, and only clients that have changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidings_bus::{BusConfig, EventBus, KeepChange, Keeper, KeptThing, StoreError};
use tidings_connections::{
    Access, ConnectRequest, ConnectionGuard, ConnectionManager, ConnectionsConfig,
};
use tidings_protocol::{ClientId, Data, TaskId};
use tidings_testkit::{LineWire, PipeSocket, connect};

const CLIENTS: usize = 1_000;
/// With a higher number, publishers and new clients would wait.
const AT_ONCE: usize = 256;

/// A keeper in memory that records its calls.
#[derive(Default)]
struct Watched {
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    calls: Mutex<Vec<usize>>,
    broken: Mutex<bool>,
}

#[async_trait]
impl Keeper for Watched {
    async fn kept(&self) -> Result<Vec<KeptThing>, StoreError> {
        Ok(self.kept.lock().unwrap().clone().into_iter().collect())
    }

    async fn keep(&self, changes: Vec<KeepChange>) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push(changes.len());
        if *self.broken.lock().unwrap() {
            return Err(StoreError::Unavailable("it is broken".into()));
        }
        let mut kept = self.kept.lock().unwrap();
        for (name, value) in changes {
            match value {
                Some(value) => kept.insert(name, value),
                None => kept.remove(&name),
            };
        }
        Ok(())
    }
}

struct World {
    bus: EventBus,
    manager: ConnectionManager,
    keeper: Arc<Watched>,
}

impl World {
    async fn new() -> Self {
        let bus = EventBus::new(BusConfig::default()).unwrap();
        let config = ConnectionsConfig::default().offline_ttl(Duration::from_secs(60));
        let manager = ConnectionManager::new(bus.clone(), config).unwrap();
        let keeper = Arc::new(Watched::default());
        let restored = manager.restore(keeper.clone()).await.unwrap();
        assert_eq!(restored, 0);
        Self {
            bus,
            manager,
            keeper,
        }
    }

    async fn come(&self, number: usize) -> ConnectionGuard {
        let mut request = ConnectRequest::to_task(task(number), Access::unrestricted());
        request.client_id = Some(client(number));
        let pipe = Box::new(PipeSocket::new(64 * 1024));
        let guard = connect(&self.manager, request, pipe, &LineWire).unwrap();
        drive(&guard).await;
        guard
    }

    /// Saves. Returns the number of clients in each call to the keeper.
    async fn save(&self) -> Vec<usize> {
        self.keeper.calls.lock().unwrap().clear();
        self.manager.save().await.unwrap();
        self.keeper.calls.lock().unwrap().clone()
    }

    fn kept(&self) -> usize {
        self.keeper.kept.lock().unwrap().len()
    }
}

async fn drive(guard: &ConnectionGuard) {
    std::future::poll_fn(|cx| {
        assert!(guard.connection().poll_drive(cx).is_pending(), "it lives");
        std::task::Poll::Ready(())
    })
    .await;
}

fn task(number: usize) -> TaskId {
    TaskId::new(format!("task-{number}")).unwrap()
}

fn client(number: usize) -> ClientId {
    ClientId::new(format!("client-{number}")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_few_at_a_time_and_only_what_is_new() {
    let world = World::new().await;
    let mut here = Vec::new();
    for number in 0..CLIENTS {
        here.push(world.come(number).await);
    }
    // All clients but the first ten disconnect again.
    here.truncate(10);
    let calls = world.save().await;
    assert_eq!(calls.iter().sum::<usize>(), CLIENTS);
    assert!(calls.iter().all(|count| *count <= AT_ONCE), "{calls:?}");
    assert_eq!(world.kept(), CLIENTS);
    assert!(world.save().await.is_empty(), "nothing is new");

    // An event moves the cursor of a connected client.
    let event = tidings_protocol::NewEvent::progress(10.0, "a start");
    world.bus.publish(&task(3), event).await.unwrap();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    // A message waits for a disconnected client.
    let kind = "note".parse().unwrap();
    let away = client(20);
    let sent = world.manager.send_personal(&away, kind, Data::empty());
    sent.await.unwrap();
    assert_eq!(world.save().await.iter().sum::<usize>(), 2);
    assert!(world.save().await.is_empty(), "nothing is new");

    // After a failed write, all clients are written again.
    *world.keeper.broken.lock().unwrap() = true;
    here.pop();
    assert!(world.manager.save().await.is_err());
    *world.keeper.broken.lock().unwrap() = false;
    assert_eq!(world.save().await.iter().sum::<usize>(), CLIENTS);

    // Expired clients are deleted here and in the store, even if the first attempt fails.
    *world.keeper.broken.lock().unwrap() = true;
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(world.manager.save().await.is_err());
    *world.keeper.broken.lock().unwrap() = false;
    world.manager.save().await.unwrap();
    assert_eq!(world.kept(), here.len());
}
