//! Many watchers of one task, visited by several workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tidings_bus::watch::Task;
use tidings_bus::{
    Advance, BusConfig, Delivery, EventBus, Hold, Subscription, Topic, View, Watcher,
};

use crate::support::{id, step};

const WORKERS: usize = 4;
const WATCHERS: usize = 700;
const EVENTS: u64 = 200;

fn bus() -> EventBus {
    EventBus::new(BusConfig::default().fanout_workers(WORKERS)).unwrap()
}

/// Checks that one worker visits it at a time, and that no worker shows it an older log.
#[derive(Default)]
struct Strict {
    visited: AtomicBool,
    head: AtomicU64,
    wrong: AtomicBool,
}

impl Watcher for Strict {
    fn advance(&self, _: usize, _: &Arc<Topic>, view: &mut View) -> Advance {
        let twice = self.visited.swap(true, Ordering::SeqCst);
        let back = self.head.swap(view.head(), Ordering::SeqCst) > view.head();
        if twice || back {
            self.wrong.store(true, Ordering::SeqCst);
        }
        std::thread::yield_now();
        self.visited.store(false, Ordering::SeqCst);
        Advance::Done
    }
}

async fn receive_all(mut subscription: Subscription) {
    let mut last = 0;
    while last < EVENTS {
        match subscription.recv().await {
            Some(Delivery::Event(event)) => {
                assert_eq!(event.offset().get(), last + 1, "in order");
                last += 1;
            }
            other => panic!("{other:?} after {last}"),
        }
    }
}

fn attach(task: &Arc<Task>) -> Arc<Strict> {
    let watcher = Arc::new(Strict::default());
    let attached = task.topic().attach(watcher.clone(), 0, Hold::Follows);
    attached.expect("a task that is open");
    watcher
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_watcher_gets_every_event_in_order_while_others_come_and_go() {
    let bus = bus();
    let subscriptions: Vec<_> = (0..WATCHERS).map(|_| bus.subscribe(id("t"))).collect();
    let receivers: Vec<_> = subscriptions
        .into_iter()
        .map(|subscription| tokio::spawn(receive_all(subscription)))
        .collect();
    let account = bus.ledger().own().clone();
    let task = bus.task_for(&account, &id("t")).unwrap();
    let stay: Vec<_> = (0..WATCHERS).map(|_| attach(&task)).collect();
    for n in 1..=EVENTS {
        bus.publish(&id("t"), step(n)).await.unwrap();
        // Two come, and one of them goes.
        let (comes, goes) = (attach(&task), Arc::new(Strict::default()));
        let attached = task.topic().attach(goes.clone(), 0, Hold::Follows);
        task.topic().detach(attached.expect("a task that is open"));
        assert!(!comes.wrong.load(Ordering::SeqCst) && !goes.wrong.load(Ordering::SeqCst));
        if n % 8 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for receiver in receivers {
        receiver.await.expect("a receiver that got everything");
    }
    for watcher in stay {
        let seen = || watcher.head.load(Ordering::SeqCst);
        while seen() < EVENTS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(seen(), EVENTS);
        assert!(!watcher.wrong.load(Ordering::SeqCst));
    }
}
