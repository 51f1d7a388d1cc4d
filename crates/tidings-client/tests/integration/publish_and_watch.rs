//! Tests a client against a real server: publish, watch, command, report a task.

use std::time::Duration;

use futures_util::StreamExt;
use tidings_client::protocol::{
    AgentStatus, ErrorCode, EventType, NewEvent, Pattern, TaskId, TaskSnapshot, TaskStatus,
};
use tidings_client::{
    Client, CommandError, ReceiptError, Start, Status, Stopped, Update, Watch, WatchError,
};
use tidings_testkit::{DEADLINE, TestConfig, TestServer, eventually};

fn task(id: &str) -> TaskId {
    id.parse().unwrap()
}

async fn server() -> (TestServer, Client) {
    let server = TestServer::start(TestConfig::default()).await;
    let client = Client::connect(format!("http://{}", server.addr()))
        .await
        .unwrap();
    (server, client)
}

async fn next(watch: &mut Watch) -> Update {
    let next = tokio::time::timeout(DEADLINE, watch.next());
    next.await
        .expect("an update in time")
        .expect("no end")
        .unwrap()
}

/// Returns the task's state once the task has ended.
async fn end(server: &TestServer, id: &str) -> TaskSnapshot {
    let id = task(id);
    let state = || server.bus().snapshot(&id);
    eventually("the task has ended", || {
        state().is_some_and(|state| state.status.is_terminal())
    })
    .await;
    TaskSnapshot::clone(&state().unwrap())
}

#[tokio::test]
async fn a_watch_brings_the_state_and_then_every_event() {
    let (_server, client) = server().await;
    let id = task("build-1");
    client
        .publish(&id, NewEvent::task_started("Build"))
        .await
        .unwrap();
    let mut watch = client.watch(&id);
    let Update::Snapshot(state) = next(&mut watch).await else {
        panic!("the state comes first")
    };
    assert_eq!(
        (state.name.as_deref(), state.offset.get()),
        (Some("Build"), 1)
    );

    let published = client
        .publish(&id, NewEvent::progress(40.0, "linking"))
        .await
        .unwrap();
    assert_eq!((published.offset.get(), published.duplicate), (2, false));
    let Update::Event(event) = next(&mut watch).await else {
        panic!("then events")
    };
    assert_eq!(event.event_type, EventType::ProgressUpdate);
    assert_eq!(event.offset.get(), 2);
}

#[tokio::test]
async fn watches_of_one_task_each_begin_where_they_want() {
    let (_server, client) = server().await;
    let id = task("build-1");
    for step in 0..5 {
        client
            .publish(&id, NewEvent::progress(f64::from(step), None))
            .await
            .unwrap();
    }
    let mut all = client.watch_from(id.clone(), Start::Retained);
    let mut some = client.watch_from(id.clone(), Start::History(2));
    let mut live = client.watch(&id);
    let mut pattern = client.watch("build-*".parse::<Pattern>().unwrap());
    for watch in [&mut all, &mut some, &mut live, &mut pattern] {
        assert!(matches!(next(watch).await, Update::Snapshot(state) if state.offset.get() == 5));
    }
    client.publish(&id, NewEvent::log("last")).await.unwrap();
    for (watch, first) in [
        (&mut all, 1),
        (&mut some, 4),
        (&mut live, 6),
        (&mut pattern, 6),
    ] {
        for offset in first..=6 {
            let update = next(watch).await;
            assert!(
                matches!(&update, Update::Event(event) if event.offset.get() == offset),
                "{offset} was due: {update:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_refused_publish_says_why_and_harms_nothing() {
    let (_server, client) = server().await;
    let id = task("build-1");
    client
        .publish(&id, NewEvent::task_completed(None))
        .await
        .unwrap();
    let error = client
        .publish(&id, NewEvent::progress(1.0, None))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ReceiptError::Refused {
                code: ErrorCode::InvalidTransition,
                ..
            }
        ),
        "{error}"
    );
    let large = NewEvent::log("x".repeat(70_000));
    let error = client.publish(&id, large).await.unwrap_err();
    assert!(matches!(error, ReceiptError::TooLarge { .. }), "{error}");
    client.publish(&id, NewEvent::log("late")).await.unwrap();
}

#[tokio::test]
async fn a_task_is_reported_from_start_to_end() {
    let (server, client) = server().await;
    let running = client.task(task("render-7")).name("Render").total(10.0);
    let running = running.start().await.unwrap();
    running.progress_of(5.0, 10.0, "halfway");
    running.agent("coder", AgentStatus::Working, None);
    running.tool_started("call-1", "grep", None);
    running.tool_completed("call-1", None);
    running.log("a line");
    let ended = running
        .complete(serde_json::json!({"frames": 10}))
        .await
        .unwrap();
    assert!(ended.losses.is_empty(), "{:?}", ended.losses);
    let state = end(&server, "render-7").await;
    assert_eq!(state.status, TaskStatus::Completed);
    assert_eq!(state.offset.get(), 7);
    assert_eq!(state.result.unwrap().as_str(), r#"{"frames":10}"#);
}

#[tokio::test]
async fn a_task_that_is_dropped_or_panics_is_reported_as_failed() {
    let (server, client) = server().await;
    drop(client.task(task("dropped")).start().await.unwrap());
    let error = end(&server, "dropped").await.error.unwrap();
    assert_eq!(error.code.as_deref(), Some("dropped"));

    let panics = client.task(task("panics")).start().await.unwrap();
    let work = tokio::spawn(async move {
        let _panics = panics;
        panic!("as it may happen");
    });
    assert!(work.await.unwrap_err().is_panic());
    let error = end(&server, "panics").await.error.unwrap();
    assert_eq!(error.code.as_deref(), Some("panicked"));
}

#[tokio::test]
async fn a_command_reaches_the_agent_and_its_answers_the_log() {
    let (server, client) = server().await;
    let id = task("agent-1");
    let nobody = client.command(&id, "cancel", None).await.unwrap_err();
    assert!(
        matches!(
            nobody,
            CommandError::Refused {
                code: ErrorCode::TaskNotFound,
                ..
            }
        ),
        "{nobody}"
    );
    client
        .publish(&id, NewEvent::task_started("Agent"))
        .await
        .unwrap();
    // Send one command before the agent looks, and one after.
    client.command(&id, "pause", None).await.unwrap();
    let agent = Client::connect(format!("http://{}", server.addr()))
        .await
        .unwrap();
    let mut commands = agent.commands(&id);
    let mut pause = commands.next().await.unwrap().unwrap();
    assert_eq!((pause.name(), pause.is_accepted()), ("pause", false));
    pause.accept().await.unwrap();
    let pending = server.bus().snapshot(&id).unwrap().pending_commands.clone();
    assert!(pending[0].accepted);
    pause.complete(None).await.unwrap();
    assert!(
        server
            .bus()
            .snapshot(&id)
            .unwrap()
            .pending_commands
            .is_empty()
    );

    client.command(&id, "dance", None).await.unwrap();
    let dance = commands.next().await.unwrap().unwrap();
    dance.reject("it cannot").await.unwrap();
}

#[tokio::test]
async fn a_closed_client_says_so_everywhere() {
    let (_server, client) = server().await;
    client.connected().await.unwrap();
    let other = client.clone();
    let mut watch = client.watch(task("build-1"));
    assert!(matches!(next(&mut watch).await, Update::Snapshot(_)));
    assert_eq!(client.close(Duration::from_secs(1)).await, 0);
    assert_eq!(other.status(), Status::Stopped(Stopped::Closed));
    let error = watch.next().await.unwrap().unwrap_err();
    assert!(
        matches!(error, WatchError::Stopped(Stopped::Closed)),
        "{error}"
    );
    assert!(watch.next().await.is_none());
    let error = other
        .publish(&task("build-1"), NewEvent::log("late"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ReceiptError::Stopped(Stopped::Closed)),
        "{error}"
    );
    assert!(other.watch(task("build-1")).next().await.unwrap().is_err());
}

#[tokio::test]
async fn what_was_sent_by_a_client_that_is_gone_arrives() {
    let (server, client) = server().await;
    let receipts: Vec<_> = (0..2_000)
        .map(|number| client.send(&task("build-1"), NewEvent::log(number.to_string())))
        .collect();
    drop((receipts, client));
    eventually("all of it is there", || {
        let state = server.bus().snapshot(&task("build-1"));
        state.is_some_and(|state| state.offset.get() == 2_000)
    })
    .await;
    eventually("the connection is closed", || {
        server.manager().connected() == 0
    })
    .await;
}
