//! The behaviour of the Python event bus from which this project grew, under the old names.

use std::sync::{Arc, Mutex};

use crate::support::{self, bus, event, id, settle};
use async_trait::async_trait;
use serde_json::{Value, json};
use tidings_bus::protocol::{AgentStatus, EventType, NewEvent, Since, TaskError};
use tidings_bus::{Delivery, EventBus, EventHandler, Filter, HandlerError};

/// Records the deliveries that it was called with.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, u64, String)>>>);

#[async_trait]
impl EventHandler for Seen {
    async fn handle(&self, delivery: Delivery) -> Result<(), HandlerError> {
        let Delivery::Event(event) = delivery else {
            return Err("a gap came".into());
        };
        let task = event
            .task_id()
            .ok_or("an event without a task")?
            .to_string();
        let seen = (task, event.offset().get(), event.event_type().to_string());
        self.0.lock().unwrap().push(seen);
        Ok(())
    }
}

impl Seen {
    /// Returns the deliveries so far, as `task:offset:type`, once no work is left.
    async fn so_far(&self) -> Vec<String> {
        settle().await;
        let seen = self.0.lock().unwrap();
        seen.iter()
            .map(|(task, offset, kind)| format!("{task}:{offset}:{kind}"))
            .collect()
    }
}

async fn data_of_last(bus: &EventBus, task: &str) -> (String, Value) {
    let page = bus.history(&id(task), None, 1).await.unwrap();
    let event = page.events[0].decode().unwrap();
    let data = serde_json::from_str(event.data.as_str()).unwrap();
    (event.event_type.to_string(), data)
}

#[tokio::test(start_paused = true)]
async fn subscribe_and_emit_global_handler() {
    let bus = bus();
    let seen = Seen::default();
    let _guard = bus.subscribe_handler(Filter::everything(), seen.clone());
    bus.publish(&id("a"), NewEvent::task_started("A"))
        .await
        .unwrap();
    settle().await;
    bus.publish(&id("b"), NewEvent::log("hello")).await.unwrap();
    settle().await;
    bus.publish(&id("a"), NewEvent::progress(50.0, "half"))
        .await
        .unwrap();
    assert_eq!(
        seen.so_far().await,
        ["a:1:task_started", "b:1:log", "a:2:progress_update"]
    );
}

#[tokio::test(start_paused = true)]
async fn subscribe_task_specific_handler() {
    let bus = bus();
    let (a, b) = (Seen::default(), Seen::default());
    let _a = bus.subscribe_handler(id("a"), a.clone());
    let _b = bus.subscribe_handler(id("b"), b.clone());
    for task in ["a", "b", "c", "a"] {
        bus.publish(&id(task), NewEvent::log("line")).await.unwrap();
    }
    assert_eq!(a.so_far().await, ["a:1:log", "a:2:log"]);
    assert_eq!(b.so_far().await, ["b:1:log"]);
}

#[tokio::test(start_paused = true)]
async fn emit_task_event_convenience_method() {
    let bus = bus();
    let task = id("render");
    let mut watching = bus.subscribe(&task);
    assert_eq!(
        bus.task_started(&task, "Render")
            .await
            .unwrap()
            .offset
            .get(),
        1
    );
    assert_eq!(
        bus.progress(&task, 40.0, "lighting")
            .await
            .unwrap()
            .offset
            .get(),
        2
    );
    assert_eq!(
        bus.task_completed(&task, Some(json!({"frames": 7})))
            .await
            .unwrap()
            .offset
            .get(),
        3
    );

    let started = event(&mut watching).await.decode().unwrap();
    assert_eq!(started.event_type, EventType::TaskStarted);
    assert_eq!(started.data.as_str(), r#"{"name":"Render"}"#);
    let progress = event(&mut watching).await.decode().unwrap();
    assert_eq!(
        progress.data.as_str(),
        r#"{"progress":40,"message":"lighting"}"#
    );
    let completed = event(&mut watching).await.decode().unwrap();
    assert_eq!(completed.data.as_str(), r#"{"result":{"frames":7}}"#);

    let failed = id("failed");
    bus.task_started(&failed, "Failed").await.unwrap();
    bus.task_failed(&failed, TaskError::new("disk full").with_code("io"))
        .await
        .unwrap();
    let error = bus.snapshot(&failed).unwrap().error.clone().unwrap();
    assert_eq!(
        (error.code.as_deref(), error.message.as_str()),
        (Some("io"), "disk full")
    );
}

#[tokio::test(start_paused = true)]
async fn emit_agent_status_change() {
    let bus = bus();
    bus.agent_status(&id("t"), "agent-1", AgentStatus::Working, Some("reading"))
        .await
        .unwrap();
    let (kind, data) = data_of_last(&bus, "t").await;
    assert_eq!(kind, "agent_status_change");
    assert_eq!(
        data,
        json!({"agent_id": "agent-1", "status": "working", "message": "reading"})
    );
    bus.agent_status(&id("t"), "agent-1", AgentStatus::Idle, None)
        .await
        .unwrap();
    let snapshot = bus.snapshot(&id("t")).unwrap();
    assert_eq!(snapshot.agents.len(), 1, "one agent, its last status");
    assert_eq!(snapshot.agents[0].status, AgentStatus::Idle);
}

#[tokio::test(start_paused = true)]
async fn emit_tool_call_events() {
    let bus = bus();
    let task = id("t");
    bus.tool_call_started(&task, "call-1", "grep", Some(json!({"for": "x"})))
        .await
        .unwrap();
    let (kind, data) = data_of_last(&bus, "t").await;
    assert_eq!(kind, "tool_call_started");
    assert_eq!(
        data,
        json!({"tool_call_id": "call-1", "tool": "grep", "input": {"for": "x"}})
    );
    bus.tool_call_started(&task, "call-2", "sed", None)
        .await
        .unwrap();
    assert_eq!(bus.snapshot(&task).unwrap().tool_calls.len(), 2);

    bus.tool_call_completed(&task, "call-1", Some(json!(["x.rs"])), Some(12))
        .await
        .unwrap();
    let (kind, data) = data_of_last(&bus, "t").await;
    assert_eq!(kind, "tool_call_completed");
    assert_eq!(
        data,
        json!({"tool_call_id": "call-1", "output": ["x.rs"], "duration_ms": 12})
    );

    bus.tool_call_failed(&task, "call-2", TaskError::new("no"))
        .await
        .unwrap();
    let (kind, data) = data_of_last(&bus, "t").await;
    assert_eq!(kind, "tool_call_failed");
    assert_eq!(
        data,
        json!({"tool_call_id": "call-2", "error": {"message": "no"}})
    );
    let calls = bus.snapshot(&task).unwrap().tool_calls.clone();
    assert!(calls.iter().all(|call| call.ended_at.is_some()));
}

#[tokio::test(start_paused = true)]
async fn unsubscribe_handler() {
    let bus = bus();
    let (by_id, by_drop, stays) = (Seen::default(), Seen::default(), Seen::default());
    let first = bus
        .subscribe_handler(Filter::everything(), by_id.clone())
        .detach();
    let second = bus.subscribe_handler(Filter::everything(), by_drop.clone());
    let _third = bus.subscribe_handler(Filter::everything(), stays.clone());
    bus.publish(&id("t"), NewEvent::log("1")).await.unwrap();
    assert_eq!(
        by_id.so_far().await.len(),
        1,
        "a detached handler is subscribed"
    );

    assert!(bus.unsubscribe(first), "by id");
    assert!(!bus.unsubscribe(first), "only once");
    drop(second);
    assert_eq!(bus.handlers().len(), 1);
    bus.publish(&id("t"), NewEvent::log("2")).await.unwrap();
    assert_eq!(stays.so_far().await, ["t:1:log", "t:2:log"]);
    assert_eq!(by_id.so_far().await, ["t:1:log"]);
    assert_eq!(by_drop.so_far().await, ["t:1:log"]);
    assert_eq!(
        bus.task(&id("t")).unwrap().topic().watcher_count(),
        1,
        "cursors are gone too"
    );
}

#[tokio::test(start_paused = true)]
async fn event_history_tracking() {
    let bus = support::keeping(5);
    let task = id("t");
    assert!(
        bus.history(&task, None, 10).await.is_none(),
        "nothing is known of the task"
    );
    support::publish_to(&bus, &task, 8).await;
    let numbers = |page: &tidings_bus::HistoryPage| -> Vec<u64> {
        page.events
            .iter()
            .map(|event| event.offset().get())
            .collect()
    };
    let newest = bus.history(&task, None, 2).await.unwrap();
    assert_eq!(numbers(&newest), [7, 8]);
    assert_eq!(newest.gap, None);

    let first = bus.history(&task, Some(Since::Start), 3).await.unwrap();
    assert_eq!(numbers(&first), [4, 5, 6], "the oldest that are retained");
    let gap = first.gap.unwrap();
    assert_eq!(
        (gap.from.get(), gap.to.get()),
        (1, 3),
        "and what is missing before them"
    );
    let rest = bus
        .history(&task, Some(Since::After(first.next)), 3)
        .await
        .unwrap();
    assert_eq!((numbers(&rest), rest.gap), (vec![7, 8], None), "pages join");
    assert_eq!(rest.next.offset.get(), 8);
}

#[tokio::test(start_paused = true)]
async fn get_stats() {
    let bus = bus();
    let seen = Seen::default();
    let _guard = bus.subscribe_handler(Filter::everything(), seen.clone());
    for task in ["a", "b", "c", "d"] {
        bus.task_started(&id(task), task).await.unwrap();
    }
    bus.task_completed(&id("b"), None).await.unwrap();
    bus.task_failed(&id("c"), TaskError::new("no"))
        .await
        .unwrap();
    bus.publish(&id("d"), NewEvent::task_cancelled(None))
        .await
        .unwrap();
    bus.progress(&id("a"), 101.0, "too far").await.unwrap_err();
    bus.progress(&id("b"), 50.0, "too late").await.unwrap_err();
    bus.publish(&id("e"), NewEvent::log("line")).await.unwrap();
    settle().await;

    let stats = bus.stats();
    assert_eq!(stats.events_published, 8);
    assert_eq!(stats.refused, 2);
    assert_eq!(stats.deliveries, 8);
    assert_eq!((stats.tasks, stats.handlers), (5, 1));
    let by_status = stats.tasks_by_status;
    assert_eq!((by_status.pending, by_status.running), (1, 1));
    assert_eq!(
        (by_status.completed, by_status.failed, by_status.cancelled),
        (1, 1, 1)
    );
    assert!(stats.bytes > 0);
}
