//! Nodes that share a store, and hear of each other's events late or never. The store's answer
//! decides.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tidings_bus::protocol::{
    ErrorCode, EventId, InputOutcome, InputRequired, ItemId, Json, NewEvent, Offset, TaskId,
    TaskStatus,
};
use tidings_bus::{
    Append, BusConfig, Counted, EventBus, Families, Kin, MemoryStore, PublishError, Store,
    StoreError, StoredEvent, StoredTask, Sums,
};
use tidings_testkit::DEADLINE;
use tokio::sync::mpsc;

use crate::support::{Deaf, id};

async fn open(store: &Arc<dyn Store>, on_demand: bool) -> EventBus {
    let broker = match on_demand {
        true => Deaf::on_demand(),
        false => Deaf::eager(),
    };
    let config = BusConfig::default().broker(Some(broker));
    EventBus::open(config, Arc::clone(store)).await.unwrap()
}

/// Two nodes. The second one has a copy of the task `t`, which has one event, and hears of none
/// that the first one publishes.
async fn nodes(on_demand: bool) -> [EventBus; 2] {
    let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
    let first = open(&store, on_demand).await;
    first.task_started(&id("t"), "work").await.unwrap();
    let second = open(&store, on_demand).await;
    second.fetch(&id("t"), None).await.unwrap();
    assert_eq!(second.snapshot(&id("t")).unwrap().offset.get(), 1);
    [first, second]
}

fn input(text: &str) -> ItemId {
    ItemId::new(text).unwrap()
}

async fn ask(bus: &EventBus, name: &str) {
    let question = InputRequired::new(input(name), "Deploy?");
    bus.publish(&id("t"), NewEvent::asked(&question))
        .await
        .unwrap();
}

fn yes() -> Json {
    Json::parse("\"yes\"").unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_decided_by_the_store_and_not_by_an_old_copy() {
    for on_demand in [false, true] {
        let [first, second] = nodes(on_demand).await;
        for name in ["q", "r"] {
            ask(&first, name).await;
        }
        let task = id("t");
        let answered = second.answer(&task, &input("q"), &yes(), "ada").await;
        assert_eq!(answered.unwrap().offset.get(), 4, "on demand: {on_demand}");
        // The first node hears nothing either.
        let late = first.answer(&task, &input("q"), &yes(), "bob").await;
        let late = late.unwrap_err().to_string();
        assert_eq!(late, "the question `q` was answered by ada");
        first
            .answer(&task, &input("r"), &yes(), "bob")
            .await
            .unwrap();
        let provided = NewEvent::input_provided("r", &json!("yes"), "worker");
        let late = second.publish(&task, provided).await.unwrap_err();
        assert_eq!(late.code(), ErrorCode::AlreadyAnswered, "{late}");
        let state = second.find(&task).await.unwrap().unwrap();
        let outcome = InputOutcome::of(&state, &input("r"));
        assert!(
            matches!(&outcome, Some(InputOutcome::Answered { by, .. }) if by == "bob"),
            "{outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_and_reports_are_decided_by_the_store_and_not_by_an_old_copy() {
    for on_demand in [false, true] {
        let [first, second] = nodes(on_demand).await;
        let task = id("t");
        first.task_completed(&task, None).await.unwrap();
        // The second node still believes that the first run has not ended.
        let started = second.task_started(&task, "again").await.unwrap();
        assert_eq!(started.run, Some(2), "on demand: {on_demand}");
        second.task_completed(&task, None).await.unwrap();
        // The first node believes that its run was the last one, and has ended.
        first.task_started(&task, "a third time").await.unwrap();
        second.progress(&task, 10.0, "").await.unwrap();
        let of_the_run = NewEvent::progress(20.0, "").with_run(3);
        second.publish(&task, of_the_run).await.unwrap();
        // The store refuses what the log does not allow.
        let refused = first.task_started(&task, "too much").await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidTransition);
        let stale = NewEvent::progress(30.0, "").with_run(2);
        let refused = first.publish(&task, stale).await.unwrap_err();
        assert!(
            matches!(refused, PublishError::WrongRun { current: 3, .. }),
            "{refused}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_no_repeat_of_one_in_a_log_that_another_node_has_removed() {
    for on_demand in [false, true] {
        let [first, second] = nodes(on_demand).await;
        let task = id("t");
        let key = || EventId::new("k").unwrap();
        let event = || NewEvent::log("once").with_event_id(key());
        second.publish(&task, event()).await.unwrap();
        assert!(first.remove(&task).await.unwrap());
        let again = second.publish(&task, event()).await.unwrap();
        assert!(!again.duplicate, "on demand: {on_demand}");
        assert_eq!(again.offset.get(), 1);
    }
}

/// A store in memory whose trees are known to the test.
struct Counting {
    inner: MemoryStore,
    arrived: tokio::sync::Mutex<mpsc::UnboundedReceiver<TaskId>>,
}

#[async_trait]
impl Store for Counting {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        self.inner.open().await
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.inner.append(append).await
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.inner.read(task_id, from, max_bytes).await
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        self.inner.find(task_id).await
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        self.inner.trim(task_id, first).await
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        self.inner.remove(task_id).await
    }

    fn families(&self) -> Option<&dyn Families> {
        Some(self)
    }
}

#[async_trait]
impl Families for Counting {
    async fn children(
        &self,
        _: &TaskId,
        _: &str,
        _: Option<&TaskId>,
        _: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        Ok(Vec::new())
    }

    async fn counted(&self, _: &TaskId) -> Result<Counted, StoreError> {
        let child = self.inner.find(&id("child")).await?.unwrap();
        let mut sums = Sums::default();
        sums.add(&Kin::of(&child.snapshot).unwrap());
        let marks = Vec::new();
        Ok(Counted { sums, marks })
    }

    async fn shown(&self, _: &TaskId, _: &Counted) -> Result<(), StoreError> {
        Ok(())
    }

    async fn awaits(&self, _: &TaskId, _: &Counted) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn arrived(&self) -> TaskId {
        self.arrived.lock().await.recv().await.unwrap()
    }

    async fn stirred(&self, _: Duration, _: usize) -> Result<Vec<TaskId>, StoreError> {
        Ok(Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_comes_after_its_children_is_looked_at_when_the_store_says_so() {
    let (arrives, arrived) = mpsc::unbounded_channel();
    let store = Arc::new(Counting {
        inner: MemoryStore::new(),
        arrived: tokio::sync::Mutex::new(arrived),
    });
    let child = NewEvent::subtask_started("part", &id("p"));
    let store = store as Arc<dyn Store>;
    // Another node has published the child.
    let other = open(&store, true).await;
    other.publish(&id("child"), child).await.unwrap();
    other.shutdown().await;
    let bus = open(&store, true).await;
    bus.task_started(&id("p"), "whole").await.unwrap();
    arrives.send(id("p")).unwrap();
    let shows = async {
        loop {
            let state = bus.find(&id("p")).await.unwrap().unwrap();
            if let Some(children) = &state.children {
                return children.running;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // No other notice leads to a look in this test.
    let shown = tokio::time::timeout(DEADLINE, shows).await;
    assert_eq!(shown.expect("the parent shows its child"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_circle_that_two_nodes_have_accepted_ends_every_walk() {
    let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
    let under = |parent: &str| NewEvent::subtask_started("part", &id(parent));
    // Each node misses what the other one accepts at the same moment.
    let [first, second] = [open(&store, false).await, open(&store, false).await];
    first.publish(&id("a"), under("b")).await.unwrap();
    second.publish(&id("b"), under("a")).await.unwrap();
    for bus in [first, second] {
        bus.shutdown().await;
    }
    let bus = EventBus::open(BusConfig::default(), store).await.unwrap();
    let ancestors = bus.ancestors(&id("a")).await.unwrap();
    assert_eq!(ancestors[..2], [id("b"), id("a")]);
    assert_eq!(ancestors.len(), tidings_bus::MAX_TREE_DEPTH);
    // A task below the circle, and changes of both halves, end as well.
    bus.publish(&id("c"), under("a")).await.unwrap();
    bus.progress(&id("c"), 50.0, "").await.unwrap();
    for task in ["a", "b", "c"] {
        bus.task_completed(&id(task), None).await.unwrap();
    }
    for (parent, completed) in [("a", 2), ("b", 1)] {
        let shows = async {
            loop {
                let state = bus.snapshot(&id(parent)).unwrap();
                let children = state.children.as_ref();
                if children.is_some_and(|children| children.completed == completed) {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let state = tokio::time::timeout(DEADLINE, shows)
            .await
            .expect("at rest");
        assert_eq!(state.status, TaskStatus::Completed);
    }
    // At rest, the two halves do not wake each other.
    let before = ["a", "b"].map(|task| bus.snapshot(&id(task)).unwrap().offset);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let after = ["a", "b"].map(|task| bus.snapshot(&id(task)).unwrap().offset);
    assert_eq!(before, after);
    // The circle opens when one half goes.
    assert!(bus.remove(&id("b")).await.unwrap());
    assert_eq!(bus.ancestors(&id("a")).await.unwrap(), [id("b")]);
    assert!(bus.shutdown().await);
}
