//! Tests of the store and the broker with a real Redis.

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
    conformance::run_leases(make).await;
    conformance::run_outputs(make).await;
    conformance::run_families(make).await;
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
    // The server cuts all connections right after it has run the script.
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
    // The run is removed as a whole, together with the surplus events next to it.
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

/// Waits until the node takes events.
async fn available(bus: &EventBus) {
    let available = async {
        while !bus.is_available() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let available = tokio::time::timeout(DEADLINE, available).await;
    available.expect("the node takes events in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_run_has_the_whole_history_to_itself_once_the_last_one_has_expired() {
    let server = RedisServer::start();
    let limits = LogLimits {
        max_events: 1_000,
        max_bytes: 16 * 1024,
    };
    let bus = BusConfig::default().log_limits(limits);
    let config = RedisConfig::new(server.url().parse().unwrap()).retaining_as(&bus);
    let redis = Redis::start(config);
    assert!(redis.wait(DEADLINE).await);
    let config = bus.broker(Some(redis.broker()));
    let bus = EventBus::open(config, redis.store()).await.unwrap();
    available(&bus).await;
    let task = "t".parse().unwrap();
    let message = "x".repeat(1_000);
    for _ in 0..2 {
        bus.task_started(&task, "work").await.unwrap();
        for _ in 0..12 {
            bus.publish(&task, NewEvent::log(&*message)).await.unwrap();
        }
        bus.task_completed(&task, None).await.unwrap();
        // Its time is up.
        let keys = server.command("KEYS *:log:t").unwrap();
        let key = keys.split_whitespace().last().unwrap();
        let count = server.command(&format!("XLEN {key}")).unwrap();
        assert_eq!(count.trim(), ":14", "the events of this run");
        server.command(&format!("DEL {key}")).unwrap();
    }
    bus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_refuses_every_task_and_says_so() {
    let server = RedisServer::start();
    let redis = start(&server.url(), "t");
    assert!(redis.wait(DEADLINE).await);
    let store: Arc<dyn Store> = redis.store();
    let config = BusConfig::default().broker(Some(redis.broker()));
    let bus = EventBus::open(config, redis.store()).await.unwrap();
    available(&bus).await;
    let append =
        |id: &str, offset: u64| store.append(conformance::example(id, "e1", offset..=offset));
    append("old", 1).await.unwrap();
    server.command("CONFIG SET maxmemory 1").unwrap();
    append("old", 2).await.unwrap_err();
    append("new", 1).await.unwrap_err();
    assert!(store.find(&"new".parse().unwrap()).await.unwrap().is_none());
    let told = async {
        while bus.is_available() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(DEADLINE, told).await;
    told.expect("a balancer hears of it");
    server.command("CONFIG SET maxmemory 0").unwrap();
    available(&bus).await;
    append("old", 2).await.unwrap();
    append("new", 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_read_as_it_is_though_few_appends_carry_its_state() {
    let server = RedisServer::start();
    let limits = LogLimits {
        max_events: 300,
        max_bytes: 64 * 1024,
    };
    let bus = BusConfig::default().log_limits(limits);
    let config = RedisConfig::new(server.url().parse().unwrap()).retaining_as(&bus);
    let redis = Redis::start(config);
    assert!(redis.wait(DEADLINE).await);
    let config = bus.broker(Some(redis.broker()));
    let bus = EventBus::open(config, redis.store()).await.unwrap();
    available(&bus).await;
    let task = "t".parse().unwrap();
    let received = || {
        let stats = server.command("INFO stats").unwrap();
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_net_input_bytes:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    for run in 0..2 {
        bus.task_started(&task, "work").await.unwrap();
        for n in 0..8 {
            let text = "x".repeat(4_000);
            let delta = NewEvent::output_delta(format!("o{}", n % 2), &*text);
            bus.publish(&task, delta).await.unwrap();
        }
        let before = received();
        for n in 0..400 {
            let event = match n % 4 {
                0 => NewEvent::output_delta("o1", n.to_string()),
                1 => NewEvent::progress(f64::from(n) / 4.0, None),
                2 => NewEvent::log(n.to_string()),
                _ => NewEvent::step_started(format!("s{}", n % 7), None),
            };
            bus.publish(&task, event).await.unwrap();
            let stored = redis.store().find(&task).await.unwrap().unwrap();
            let here = bus.snapshot(&task).unwrap();
            assert_eq!(stored.snapshot, here, "event {n} of run {run}");
        }
        let bytes = received() - before;
        let whole = serde_json::to_string(&*bus.snapshot(&task).unwrap()).unwrap();
        let all = 400 * whole.len() as u64;
        assert!(
            whole.len() > 8_000 && bytes < all / 4,
            "{bytes} of {all} bytes"
        );
        bus.task_completed(&task, None).await.unwrap();
    }
    bus.shutdown().await;
}
