//! Producers' stamps and leases hold on every node, and outlive the node that took them.

use std::sync::Arc;
use std::time::Duration;

use tidings_bus::protocol::{
    Data, Epoch, EventType, FenceError, NewEvent, Offset, Position, ProducerId, ProducerStamp,
    TaskId, TaskStatus,
};
use tidings_bus::{BusConfig, Delivery, EventBus, PublishError, Published, Store, StoredRules};
use tidings_redis::{Redis, RedisConfig};
use tidings_testkit::{DEADLINE, RedisServer};

struct Node {
    bus: EventBus,
    _redis: Redis,
}

impl Node {
    async fn start(server: &RedisServer) -> Self {
        let redis = Redis::start(RedisConfig::new(server.url().parse().unwrap()));
        assert!(redis.wait(DEADLINE).await);
        let config = BusConfig::default().broker(Some(redis.broker()));
        let bus = EventBus::open(config, redis.store()).await.unwrap();
        Self { bus, _redis: redis }
    }

    async fn publish(&self, event: NewEvent) -> Result<Published, PublishError> {
        let publishing = async {
            loop {
                match self.bus.publish(&task(), event.clone()).await {
                    // On a busy machine, Redis may not answer in time.
                    Err(PublishError::Unavailable(_)) => {}
                    answer => return answer,
                }
            }
        };
        tokio::time::timeout(DEADLINE, publishing).await.unwrap()
    }
}

fn task() -> TaskId {
    "t".parse().unwrap()
}

fn stamped(epoch: u64, seq: u64) -> NewEvent {
    let id = ProducerId::new("worker").unwrap();
    NewEvent::log(format!("{epoch}.{seq}")).with_producer(ProducerStamp::new(id, epoch, seq))
}

fn leased(lease_ms: u64) -> NewEvent {
    let data = format!(r#"{{"name":"work","lease_ms":{lease_ms}}}"#);
    NewEvent::new(EventType::TaskStarted, Data::parse(&data).unwrap())
}

fn fenced(answer: &Result<Published, PublishError>) -> bool {
    matches!(answer, Err(PublishError::Fenced(FenceError::Fenced { .. })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_is_refused_on_a_node_that_has_not_seen_its_successor() {
    let server = RedisServer::start();
    let (a, b) = (Node::start(&server).await, Node::start(&server).await);
    // The first node knows the task from before, the second by the notices of its events.
    a.publish(stamped(1, 1)).await.unwrap();
    b.bus.fetch(&task(), None).await.unwrap();
    let mut watching = b.bus.subscribe(task());
    a.publish(stamped(2, 1)).await.unwrap();
    while !matches!(watching.recv().await, Some(Delivery::Event(event)) if event.offset().get() == 2)
    {
    }
    assert!(fenced(&b.publish(stamped(1, 2)).await));
    let c = Node::start(&server).await;
    assert!(
        fenced(&c.publish(stamped(1, 2)).await),
        "a node that comes later"
    );
    // A producer may change its node with each event, and retry on any.
    assert_eq!(b.publish(stamped(2, 2)).await.unwrap().offset.get(), 3);
    assert_eq!(c.publish(stamped(2, 3)).await.unwrap().offset.get(), 4);
    assert_eq!(a.publish(stamped(2, 4)).await.unwrap().offset.get(), 5);
    let again = b.publish(stamped(2, 4)).await.unwrap();
    assert_eq!((again.offset.get(), again.duplicate), (5, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_outlives_the_node_that_took_it() {
    let server = RedisServer::start();
    let (a, b) = (Node::start(&server).await, Node::start(&server).await);
    a.publish(leased(100)).await.unwrap();
    a.bus.shutdown().await;
    drop(a);
    let ended = async {
        loop {
            if let Some(state) = b.bus.find(&task()).await.unwrap()
                && state.status == TaskStatus::Failed
            {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let state = tokio::time::timeout(DEADLINE, ended).await.unwrap();
    let code = state.error.as_ref().and_then(|error| error.code.clone());
    assert_eq!(code.as_deref(), Some("lost"));
    let page = b.bus.history(&task(), None, 10).await.unwrap();
    let types = page.events.iter().map(|event| event.event_type().clone());
    assert_eq!(
        types.collect::<Vec<_>>(),
        [
            EventType::TaskStarted,
            EventType::TaskStalled,
            EventType::TaskFailed
        ]
    );
}

/// Returns the ends of leases by Redis's clock, in microseconds.
fn lease_ends(server: &RedisServer) -> Vec<f64> {
    let keys = server.command("KEYS *:leases").unwrap();
    let Some(key) = keys
        .split_whitespace()
        .last()
        .filter(|key| key.contains("lease"))
    else {
        return Vec::new();
    };
    let range = server
        .command(&format!("ZRANGE {key} 0 -1 WITHSCORES"))
        .unwrap();
    let words = range
        .split_whitespace()
        .filter_map(|word| word.parse().ok());
    words.filter(|score| *score > 1e12).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_fed_through_another_node_renews_its_lease() {
    let server = RedisServer::start();
    let (a, b) = (Node::start(&server).await, Node::start(&server).await);
    a.publish(leased(60 * 60 * 1_000)).await.unwrap();
    let [first] = lease_ends(&server)[..] else {
        panic!("one lease")
    };
    b.publish(NewEvent::progress(1.0, "on")).await.unwrap();
    let [second] = lease_ends(&server)[..] else {
        panic!("one lease")
    };
    assert!(second > first, "{second} after {first}");
    b.publish(NewEvent::task_completed(None)).await.unwrap();
    assert!(
        lease_ends(&server).is_empty(),
        "a task that has ended has none"
    );
    drop(a);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_lease_is_given_to_one_node_at_a_time() {
    let server = RedisServer::start();
    let redis = Redis::start(RedisConfig::new(server.url().parse().unwrap()));
    assert!(redis.wait(DEADLINE).await);
    let store = redis.store();
    let mut first = tidings_bus::conformance::example("t", "e1", 1..=1);
    first.rules = Some(Arc::new(StoredRules {
        lease_ms: Some(1),
        ..StoredRules::default()
    }));
    store.append(first).await.unwrap();
    let [ends] = lease_ends(&server)[..] else {
        panic!("one lease")
    };
    let newest = Position {
        epoch: Epoch::new("e1").unwrap(),
        offset: Offset::FIRST,
    };
    while store.overdue(10).await.unwrap() != [(task(), newest.clone())] {}
    let [again] = lease_ends(&server)[..] else {
        panic!("one lease")
    };
    assert!(again - ends >= 5e6, "{again} after {ends}");
}
