//! Tests tasks as scopes, and waiting for them.

use std::time::Duration;

use tidings_bus::BusConfig;
use tidings_client::protocol::{EventType, NewEvent, TaskId, TaskStatus};
use tidings_client::{BoxError, Client, Outcome, RunError, Update};
use tidings_testkit::{DEADLINE, TestConfig, TestServer, eventually};

async fn server() -> (TestServer, Client) {
    let server = TestServer::start(TestConfig::default()).await;
    let client = Client::connect(format!("http://{}", server.addr()))
        .await
        .unwrap();
    (server, client)
}

fn task(id: &str) -> TaskId {
    id.parse().unwrap()
}

async fn outcome(client: &Client, id: &str) -> Outcome {
    let id = task(id);
    let outcome = tokio::time::timeout(DEADLINE, client.wait(&id));
    outcome.await.expect("an end in time").unwrap()
}

#[tokio::test]
async fn what_the_work_returns_is_how_the_task_ends() {
    let (_server, client) = server().await;
    let length = client
        .run("good", |_| async { Ok("four".len()) })
        .await
        .unwrap();
    assert_eq!(length, 4);
    let good = outcome(&client, "good").await;
    assert!(good.is_completed());
    assert_eq!(good.result.unwrap().as_str(), "4");

    let failed = client.run("bad", |_| async {
        let number: u8 = "x".parse()?;
        Ok(number)
    });
    assert!(matches!(failed.await, Err(RunError::Failed(_))));
    let bad = outcome(&client, "bad").await;
    assert_eq!(bad.error.unwrap().message, "invalid digit found in string");

    let other = client.clone();
    let panics = tokio::spawn(async move {
        let work = other.run("panics", |_| async {
            if true {
                panic!("as it may happen");
            }
            Ok(())
        });
        work.await
    });
    assert!(panics.await.unwrap_err().is_panic());
    let panicked = outcome(&client, "panics").await.error.unwrap();
    assert_eq!(
        (panicked.code.as_deref(), panicked.message.as_str()),
        (Some("panicked"), "as it may happen")
    );

    let busy = client.task("busy").start().await.unwrap();
    let refused = client.run("busy", |_| async { Ok(()) }).await;
    assert!(matches!(refused, Err(RunError::NotStarted(_))));
    assert_eq!(
        client.snapshot(busy.id()).await.unwrap().status,
        TaskStatus::Running
    );
}

async fn stops_by_itself(client: Client) -> Result<(), RunError> {
    client
        .run("cancelled", |task| async move {
            Err::<(), BoxError>(task.cancelled().await.into())
        })
        .await
}

async fn never_looks(client: Client) -> Result<(), RunError> {
    client
        .run("cancelled", |_| {
            std::future::pending::<Result<(), BoxError>>()
        })
        .await
}

#[tokio::test]
async fn the_command_cancel_ends_work_that_looks_for_it_and_work_that_does_not() {
    for looks in [true, false] {
        let (server, client) = server().await;
        let other = client.clone();
        let work = tokio::spawn(async move {
            match looks {
                true => stops_by_itself(other).await,
                false => never_looks(other).await,
            }
        });
        eventually("it runs", || {
            server.bus().snapshot(&task("cancelled")).is_some()
        })
        .await;
        client
            .command(&task("cancelled"), "cancel", None)
            .await
            .unwrap();
        let ended = outcome(&client, "cancelled").await;
        assert_eq!(ended.status, TaskStatus::Cancelled);
        assert!(ended.state.pending_commands.is_empty());
        assert!(matches!(work.await.unwrap(), Err(RunError::Cancelled(_))));
        let id = task("cancelled");
        let since = Some(tidings_client::protocol::Since::Start);
        let events = server.bus().history(&id, since, 100).await.unwrap().events;
        let types: Vec<_> = events
            .iter()
            .map(|event| event.event_type().to_string())
            .collect();
        let expected = [
            "task_started",
            "command_requested",
            "command_accepted",
            "command_completed",
            "task_cancelled",
        ];
        assert_eq!(types, expected);
    }
}

#[tokio::test]
async fn a_guard_that_is_cancelled_answers_the_command_that_asked_for_it() {
    let (server, client) = server().await;
    let guard = client.task("cancelled").start().await.unwrap();
    let id = task("cancelled");
    let (asked, _) = tokio::join!(client.command(&id, "cancel", None), guard.cancelled());
    asked.unwrap();
    guard.cancel("as asked").await.unwrap();
    let state = server.bus().snapshot(&id).unwrap();
    assert_eq!(state.status, TaskStatus::Cancelled);
    assert!(state.pending_commands.is_empty());
}

#[tokio::test]
async fn closing_the_client_cancels_its_work_and_reports_that() {
    let (server, client) = server().await;
    let work = tokio::spawn(never_looks(client.clone()));
    eventually("it runs", || {
        server.bus().snapshot(&task("cancelled")).is_some()
    })
    .await;
    assert_eq!(client.close(DEADLINE).await, 0);
    assert!(matches!(work.await.unwrap(), Err(RunError::Cancelled(_))));
    let state = server.bus().snapshot(&task("cancelled")).unwrap();
    assert_eq!(state.status, TaskStatus::Cancelled);
}

#[tokio::test]
async fn steps_outputs_and_children_are_parts_of_the_task() {
    let (server, client) = server().await;
    let work = client.run("whole", |task| async move {
        let step = task.step("lighting");
        step.step("lamp").complete();
        step.fail("no lamps");
        let output = task.output("answer");
        for _ in 0..100 {
            output.push("word ");
        }
        drop(output);
        let child = task.child("part").start().await?;
        child.complete(None).await?;
        Ok(())
    });
    work.await.unwrap();
    let state = server.bus().snapshot(&task("whole")).unwrap();
    assert_eq!(state.outputs[0].text, "word ".repeat(100));
    let part = server.bus().snapshot(&task("part")).unwrap();
    assert_eq!(part.parent_task_id, Some(task("whole")));
    let since = Some(tidings_client::protocol::Since::Start);
    let events = server
        .bus()
        .history(&task("whole"), since, 1_000)
        .await
        .unwrap()
        .events;
    let deltas = events
        .iter()
        .filter(|event| *event.event_type() == EventType::OutputDelta);
    assert!(deltas.count() < 50, "output is gathered");
}

#[tokio::test]
async fn a_watch_has_the_state_after_each_update() {
    let (server, client) = server().await;
    let id = task("build-1");
    let mut watch = client.watch(&id);
    assert!(watch.state(&id).is_none());
    assert!(matches!(
        watch.recv().await.unwrap(),
        Some(Update::Snapshot(_))
    ));
    for percent in [10.0, 20.0, 30.0] {
        client
            .publish(&id, NewEvent::progress(percent, None))
            .await
            .unwrap();
        watch.recv().await.unwrap();
        assert_eq!(watch.state(&id).unwrap().progress, Some(percent));
    }
    let truth = server.bus().snapshot(&id).unwrap();
    assert_eq!(watch.state(&id), Some(&truth));
}

#[tokio::test]
async fn reports_may_come_from_any_thread() {
    let server = TestServer::start(TestConfig {
        bus: BusConfig::default(),
        ..TestConfig::default()
    })
    .await;
    let client = Client::connect(format!("http://{}", server.addr()))
        .await
        .unwrap();
    let running = client.task("threads").start().await.unwrap();
    let reporter = running.reporter();
    std::thread::spawn(move || {
        reporter.progress(50.0, None);
        assert!(!reporter.is_cancelled());
    })
    .join()
    .unwrap();
    let ended = running.complete(None).await.unwrap();
    assert!(ended.losses.is_empty());
    client.close(Duration::from_secs(1)).await;
}

/// Reports everything that a program may report, with values that no log accepts.
fn report_everything(task: &tidings_client::Reporter) {
    for number in [f64::NAN, f64::INFINITY, -1.0, 1e308] {
        task.progress(number, "\u{0}");
        task.progress_of(number, 0.0, None);
    }
    task.log("x".repeat(1_000_000));
    task.agent("", tidings_client::protocol::AgentStatus::Working, None);
    task.tool_started("", "", None);
    task.tool_completed("", None);
    task.tool_failed("", "broken");
    let step = task.step("");
    step.step("below").fail("broken");
    let output = task.output("");
    output.push("y".repeat(1_000_000));
    drop(output);
    drop(step);
    drop(task.try_publish(NewEvent::task_stalled()));
    task.publish(NewEvent::task_completed(None));
    let _ = (task.is_cancelled(), task.losses());
}

#[test]
fn nothing_that_reports_panics_or_waits_even_after_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // There is no server. Each report is kept, or counted as lost.
    let (client, first, second) = runtime.block_on(async {
        let client = Client::new("http://127.0.0.1:1").unwrap();
        let first = client.task("first").start_now();
        let second = client.task("second").start_now();
        report_everything(&first);
        (client, first, second)
    });
    let reporter = second.reporter();
    std::thread::spawn(move || report_everything(&reporter))
        .join()
        .unwrap();
    drop(runtime);
    report_everything(&second);
    drop(first.fail("broken"));
    drop(second);
    drop(client);
}
