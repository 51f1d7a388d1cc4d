//! A node asks its broker for new tasks while it has a pattern, and no longer.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidings_bus::protocol::TaskId;
use tidings_bus::{
    Announcement, Broker, BrokerError, BusConfig, EventBus, Filter, Interest, MemoryStore, Notice,
    Subscription,
};
use tokio::sync::mpsc;

/// A broker that notes whether the node wants to hear of new tasks.
#[derive(Default)]
struct Noted {
    wanted: Mutex<Vec<bool>>,
    notices: Mutex<Vec<mpsc::Sender<Notice>>>,
}

impl Noted {
    fn wants(&self) -> Option<bool> {
        self.wanted.lock().unwrap().last().copied()
    }
}

struct Noting(Arc<Noted>);

#[async_trait]
impl Broker for Noting {
    async fn announce(&self, _: Announcement) -> Result<(), BrokerError> {
        Ok(())
    }

    fn notices(&self) -> mpsc::Receiver<Notice> {
        let (to, notices) = mpsc::channel(1);
        self.0.notices.lock().unwrap().push(to);
        notices
    }

    fn interest(&self) -> Option<Arc<dyn Interest>> {
        Some(self.0.clone())
    }
}

#[async_trait]
impl Interest for Noted {
    fn watch(&self, _: &TaskId) {}

    fn unwatch(&self, _: &TaskId) {}

    fn is_watching(&self, _: &TaskId) -> bool {
        true
    }

    fn watch_new(&self, wanted: bool) {
        self.wanted.lock().unwrap().push(wanted);
    }

    async fn list(
        &self,
        _: &str,
        _: Option<&TaskId>,
        _: usize,
    ) -> Result<Vec<TaskId>, BrokerError> {
        Ok(Vec::new())
    }
}

async fn node() -> (EventBus, Arc<Noted>) {
    let noted = Arc::new(Noted::default());
    let broker = Arc::new(Noting(Arc::clone(&noted)));
    let config = BusConfig::default().broker(Some(broker));
    let bus = EventBus::open(config, Arc::new(MemoryStore::new())).await;
    (bus.unwrap(), noted)
}

fn pattern(bus: &EventBus) -> Subscription {
    bus.subscribe(Filter::pattern("build-*".parse().unwrap()))
}

#[tokio::test]
async fn a_node_hears_of_new_tasks_while_it_has_a_pattern() {
    let (bus, noted) = node().await;
    let first = pattern(&bus);
    let second = pattern(&bus);
    drop(first);
    assert_eq!(noted.wants(), Some(true), "one is left");
    drop(second);
    assert_eq!(noted.wants(), Some(false));
    let _third = pattern(&bus);
    assert_eq!(noted.wants(), Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_that_comes_as_another_goes_hears_of_new_tasks() {
    let (bus, noted) = node().await;
    for round in 0..2_000 {
        let goes = pattern(&bus);
        let dropping = tokio::task::spawn_blocking(move || drop(goes));
        let comes = pattern(&bus);
        dropping.await.unwrap();
        assert_eq!(noted.wants(), Some(true), "round {round}");
        drop(comes);
    }
}
