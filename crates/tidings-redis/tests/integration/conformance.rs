//! The store's and the broker's promises, against a real Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_bus::protocol::{NewEvent, Offset};
use tidings_bus::{
    BusConfig, Claim, Claimed, ClientDirectory, EventBus, LogLimits, Place, Store,
    broker_conformance, conformance,
};
use tidings_redis::{Redis, RedisConfig};
use tidings_testkit::{DEADLINE, RedisServer};

fn start(url: &str, prefix: &str) -> Redis {
    Redis::start(RedisConfig::new(url.parse().unwrap()).prefix(prefix))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_does_what_every_store_does() {
    let server = RedisServer::start();
    let made = AtomicUsize::new(0);
    let nodes = std::sync::Mutex::new(Vec::new());
    let make = || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        let redis = start(&server.url(), &format!("t{number}"));
        let store = redis.store();
        nodes.lock().unwrap().push(redis);
        store
    };
    conformance::run(make).await;
    conformance::run_outputs(make).await;
    assert!(made.load(Ordering::Relaxed) > 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_does_what_every_broker_does() {
    let server = RedisServer::start();
    let made = AtomicUsize::new(0);
    broker_conformance::run(|| {
        let prefix = format!("t{}", made.fetch_add(1, Ordering::Relaxed));
        let nodes = [start(&server.url(), &prefix), start(&server.url(), &prefix)];
        nodes.map(|redis| broker_conformance::Node {
            store: redis.store(),
            broker: redis.broker(),
            keep: Box::new(redis),
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_answer_was_lost_is_no_conflict_and_no_second_event() {
    let server = RedisServer::start();
    let redis = start(&server.url(), "t");
    let store: Arc<dyn tidings_bus::Store> = redis.store();
    // The server hangs up on everybody right after it has run the script.
    let append = |offset: u64| conformance::example("a", "e1", offset..=offset);
    store.append(append(1)).await.unwrap();
    for offset in 2..30 {
        let (appended, _) = tokio::join!(store.append(append(offset)), async {
            server.command("CLIENT KILL TYPE normal").unwrap()
        });
        appended.unwrap();
    }
    let events = store
        .read(
            &"a".parse().unwrap(),
            tidings_bus::protocol::Offset::FIRST,
            usize::MAX,
        )
        .await
        .unwrap();
    assert_eq!(events.len(), 29);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_claims_a_client_hears_whether_another_had_it_meanwhile() {
    let server = RedisServer::start();
    let redis = start(&server.url(), "t");
    assert!(redis.wait(DEADLINE).await);
    let directory: Arc<dyn ClientDirectory> = redis.clients();
    let claim = |node: &str, mark: &str, fresh: &str, force: bool| Claim {
        client_id: "laptop".parse().unwrap(),
        place: Place {
            node: node.to_owned(),
            mark: mark.to_owned(),
        },
        proof: Some("secret".to_owned()),
        subject: None,
        fresh: fresh.to_owned(),
        force,
        ttl: Duration::from_secs(60),
    };
    for (node, subject, proof, expected) in [
        ("a", Some("ada"), "secret", None),
        ("b", Some("bo"), "secret", Some(Claimed::Others)),
        ("b", None, "secret", Some(Claimed::Others)),
        ("b", Some("ada"), "wrong", Some(Claimed::Refused)),
    ] {
        let claim = Claim {
            client_id: "desktop".parse().unwrap(),
            subject: subject.map(str::to_owned),
            proof: Some(proof.to_owned()),
            ..claim(node, "1", "secret", false)
        };
        let claimed = directory.claim(&claim).await.unwrap();
        match expected {
            None => assert_eq!(claimed, Claimed::Fresh { stale: false }),
            Some(expected) => assert_eq!(claimed, expected, "{subject:?} with {proof}"),
        }
    }
    let stale = |claimed: Claimed| match claimed {
        Claimed::Fresh { stale } | Claimed::Resumed { stale, .. } => stale,
        other => panic!("{other:?}"),
    };
    let ask = async |claim: Claim| stale(directory.claim(&claim).await.unwrap());
    assert!(!ask(claim("a", "1", "secret", false)).await, "its first");
    let again = claim("a", "1", "other", false);
    assert!(!ask(again).await, "it was there all the time");
    assert!(ask(claim("b", "2", "x", true)).await, "by force");
    let back = claim("a", "1", "y", true);
    assert!(ask(back.clone()).await, "b had it since");
    assert!(ask(back).await, "the same, when its answer was lost");
    assert!(
        !ask(claim("a", "1", "z", false)).await,
        "and nobody since then"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_deltas_counts_once_against_the_limit() {
    let server = RedisServer::start();
    let limits = LogLimits {
        max_events: 10,
        max_bytes: 1 << 20,
    };
    let bus = BusConfig::default().log_limits(limits);
    let config = RedisConfig::new(server.url().parse().unwrap()).retaining_as(&bus);
    let redis = Redis::start(config);
    let config = bus.broker(Some(redis.broker()));
    let bus = EventBus::open(config, redis.store()).await.unwrap();
    let task = "t".parse().unwrap();
    while redis.store().find(&task).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let publish = async |event: NewEvent| {
        bus.publish(&task, event).await.unwrap();
    };
    let first = async || {
        let events = redis.store().read(&task, Offset::FIRST, 1).await.unwrap();
        events[0].offset.get()
    };
    // Events are dropped in steps of 64.
    for n in 0..200 {
        publish(NewEvent::output_delta("o", n.to_string())).await;
    }
    assert_eq!(first().await, 1, "one run of deltas");
    for n in 0..60 {
        publish(NewEvent::log(n.to_string())).await;
    }
    assert_eq!(first().await, 1, "a run, and 60 events");
    for n in 0..20 {
        publish(NewEvent::log(n.to_string())).await;
    }
    // The run goes as a whole, and with it what is too much beside it.
    assert!(first().await > 250, "{}", first().await);
    for n in 0..200 {
        publish(NewEvent::output_delta(["o", "p"][n % 2], "x")).await;
    }
    assert!(
        first().await > 280 + 200 - 80,
        "each is an event of its own"
    );
    bus.shutdown().await;
}
