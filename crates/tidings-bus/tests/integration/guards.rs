//! Tasks of this process: reports that harm nothing, scopes, commands, waiting.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_bus::guard::{AskError, BoxError, RunError};
use tidings_bus::{BusConfig, EventBus, PublishError, Write};
use tidings_protocol::{EventType, NewEvent, Since, TaskId, TaskStatus};
use tidings_testkit::{DEADLINE, eventually};

use crate::support::Gated;

fn bus() -> EventBus {
    EventBus::new(BusConfig::default()).unwrap()
}

fn task(id: &str) -> TaskId {
    id.parse().unwrap()
}

async fn types(bus: &EventBus, id: &str) -> Vec<String> {
    let page = bus
        .history(&task(id), Some(Since::Start), 1_000)
        .await
        .unwrap();
    page.events
        .iter()
        .map(|event| event.event_type().to_string())
        .collect()
}

#[tokio::test]
async fn a_report_is_in_the_log_when_it_returns_and_a_refused_one_is_told_at_the_end() {
    let bus = bus();
    let running = bus.begin("render-7").name("Render").start().await.unwrap();
    running.progress(40.0, "lighting");
    assert_eq!(bus.snapshot(running.id()).unwrap().progress, Some(40.0));
    running.progress(500.0, None);
    let ended = running.complete(None).await.unwrap();
    assert_eq!(ended.losses.refused_count, 1);
    assert_eq!(
        ended.losses.refused[0].event_type,
        EventType::ProgressUpdate
    );
    assert_eq!(
        types(&bus, "render-7").await,
        ["task_started", "progress_update", "task_completed"]
    );
}

#[tokio::test]
async fn a_refused_start_leaves_the_run_of_another_alone() {
    let bus = bus();
    let first = bus.begin("render-7").start().await.unwrap();
    let second = bus.begin("render-7").start().await;
    assert!(matches!(second, Err(PublishError::Transition(_))));
    assert_eq!(
        bus.snapshot(first.id()).unwrap().status,
        TaskStatus::Running
    );
    let wrong = bus.begin("no spaces").start().await;
    assert!(matches!(wrong, Err(PublishError::InvalidTaskId(_))));
}

#[tokio::test]
async fn a_worker_of_an_earlier_run_reports_nothing_into_the_next() {
    let bus = bus();
    let first = bus.begin("render-7").start().await.unwrap();
    bus.publish(first.id(), NewEvent::task_failed("given up on"))
        .await
        .unwrap();
    let second = bus.begin("render-7").start().await.unwrap();
    first.progress(90.0, None);
    drop(first);
    let state = bus.snapshot(second.id()).unwrap();
    assert_eq!((state.status, state.progress), (TaskStatus::Running, None));
}

#[tokio::test]
async fn while_the_store_is_away_reports_wait_and_then_come_in_order() {
    let store = Gated::new(Write::Through, 1_000);
    let kept: Arc<dyn tidings_bus::Store> = store.clone();
    let bus = EventBus::open(BusConfig::default(), kept).await.unwrap();
    let running = bus.begin("job").start().await.unwrap();
    store.unavailable.store(true, Ordering::SeqCst);
    running.progress(10.0, None);
    running.log("a line");
    let ending = running.complete(None);
    assert_eq!(types(&bus, "job").await, ["task_started"]);
    store.unavailable.store(false, Ordering::SeqCst);
    let ended = ending.await.unwrap();
    assert!(ended.losses.is_empty());
    let expected = ["task_started", "progress_update", "log", "task_completed"];
    assert_eq!(types(&bus, "job").await, expected);
}

#[tokio::test]
async fn a_task_that_is_dropped_has_failed() {
    let bus = bus();
    drop(bus.begin("dropped").start().await.unwrap());
    let outcome = bus.wait(&task("dropped")).await.unwrap();
    assert_eq!(outcome.error.unwrap().code.as_deref(), Some("dropped"));
}

#[tokio::test]
async fn what_the_work_returns_is_how_the_task_ends() {
    let bus = bus();
    let length = bus
        .run("good", |_| async { Ok("four".len()) })
        .await
        .unwrap();
    assert_eq!(length, 4);
    assert_eq!(
        bus.wait(&task("good"))
            .await
            .unwrap()
            .result
            .unwrap()
            .as_str(),
        "4"
    );

    let failed = bus.run("bad", |_| async {
        let number: u8 = "x".parse()?;
        Ok(number)
    });
    assert!(matches!(failed.await, Err(RunError::Failed(_))));
    let error = bus.wait(&task("bad")).await.unwrap().error.unwrap();
    assert_eq!(error.message, "invalid digit found in string");

    let other = bus.clone();
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
    let error = bus.wait(&task("panics")).await.unwrap().error.unwrap();
    assert_eq!(error.code.as_deref(), Some("panicked"));
}

async fn command(bus: &EventBus, id: &str, command: &str) {
    let data = format!(r#"{{"command_id":"{command}-1","command":"{command}","by":"ada"}}"#);
    let data = tidings_protocol::Data::parse(&data).unwrap();
    let event = NewEvent::new(EventType::CommandRequested, data);
    bus.publish(&task(id), event).await.unwrap();
}

#[tokio::test]
async fn the_command_cancel_ends_work_that_looks_for_it_and_work_that_does_not() {
    for looks in [true, false] {
        let bus = bus();
        let other = bus.clone();
        let work = tokio::spawn(async move {
            let work = other.run("job", |task| async move {
                match looks {
                    true => Err::<(), BoxError>(task.cancelled().await.into()),
                    false => std::future::pending().await,
                }
            });
            work.await
        });
        eventually("it runs", || bus.snapshot(&task("job")).is_some()).await;
        command(&bus, "job", "cancel").await;
        let id = task("job");
        let outcome = tokio::time::timeout(DEADLINE, bus.wait(&id)).await;
        let outcome = outcome.expect("an end in time").unwrap();
        assert_eq!(outcome.status, TaskStatus::Cancelled);
        assert!(matches!(work.await.unwrap(), Err(RunError::Cancelled(_))));
        let expected = [
            "task_started",
            "command_requested",
            "command_accepted",
            "command_completed",
            "task_cancelled",
        ];
        assert_eq!(types(&bus, "job").await, expected);
    }
}

#[tokio::test]
async fn a_shutdown_cancels_the_work_before_the_bus_is_closed() {
    let bus = bus();
    let other = bus.clone();
    let work = tokio::spawn(async move {
        other
            .run("job", |_| std::future::pending::<Result<(), BoxError>>())
            .await
    });
    eventually("it runs", || bus.snapshot(&task("job")).is_some()).await;
    bus.shutdown().await;
    assert!(matches!(work.await.unwrap(), Err(RunError::Cancelled(_))));
    assert_eq!(
        bus.snapshot(&task("job")).unwrap().status,
        TaskStatus::Cancelled
    );
}

#[tokio::test]
async fn commands_that_wait_come_first_and_are_answered_once() {
    let bus = bus();
    let running = bus.begin("agent").start().await.unwrap();
    command(&bus, "agent", "pause").await;
    let mut commands = running.commands();
    command(&bus, "agent", "dance").await;
    let mut pause = commands.recv().await.unwrap().unwrap();
    assert_eq!((pause.name(), pause.by()), ("pause", "ada"));
    pause.accept().await.unwrap();
    pause.complete(None).await.unwrap();
    let dance = commands.recv().await.unwrap().unwrap();
    dance.reject("it cannot").await.unwrap();
    assert!(
        bus.snapshot(running.id())
            .unwrap()
            .pending_commands
            .is_empty()
    );
    let again = running.commands();
    drop(again);
    running.complete(None).await.unwrap();
}

#[tokio::test]
async fn steps_outputs_and_children_are_parts_of_the_task() {
    let bus = bus();
    let work = bus.run("whole", |task| async move {
        let step = task.step("lighting");
        step.step("lamp").complete();
        step.fail("no lamps");
        let output = task.output("answer");
        for _ in 0..100 {
            output.push("word ");
        }
        drop(output);
        task.child("part").start().await?.complete(None).await?;
        Ok(())
    });
    work.await.unwrap();
    let state = bus.snapshot(&task("whole")).unwrap();
    assert_eq!(state.outputs[0].text, "word ".repeat(100));
    let part = bus.snapshot(&task("part")).unwrap();
    assert_eq!(part.parent_task_id, Some(task("whole")));
    let deltas = types(&bus, "whole").await;
    let deltas = deltas.iter().filter(|name| *name == "output_delta").count();
    assert!(deltas < 50, "output is gathered: {deltas}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_the_task_lives() {
    let bus = bus();
    let lease = Duration::from_secs(30);
    let running = bus.begin("quiet").lease(lease).start().await.unwrap();
    tokio::time::sleep(lease * 10).await;
    let state = bus.snapshot(running.id()).unwrap();
    assert_eq!((state.status, state.stalled), (TaskStatus::Running, false));
}

#[tokio::test]
async fn an_event_may_be_published_from_any_thread() {
    let bus = bus();
    let running = bus.begin("threads").start().await.unwrap();
    let (reporter, other) = (running.reporter(), bus.clone());
    std::thread::spawn(move || {
        reporter.progress(50.0, None);
        other
            .try_publish(reporter.id(), NewEvent::log("a line"))
            .unwrap();
        assert!(!reporter.is_cancelled());
    })
    .join()
    .unwrap();
    assert_eq!(bus.snapshot(running.id()).unwrap().offset.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn output_comes_before_what_is_reported_after_it_and_before_the_end() {
    let bus = bus();
    let running = bus.begin("agent").start().await.unwrap();
    let output = running.output("answer");
    output.push("one ");
    output.push("two ");
    running.log("a line");
    output.push("three");
    let ended = running.complete(None).await.unwrap();
    drop(output);
    assert!(ended.losses.is_empty());
    let expected = [
        "task_started",
        "output_delta",
        "output_delta",
        "log",
        "output_delta",
        "task_completed",
    ];
    assert_eq!(types(&bus, "agent").await, expected);
    let state = bus.snapshot(&task("agent")).unwrap();
    assert_eq!(state.outputs[0].text, "one two three");
}

#[tokio::test(start_paused = true)]
async fn words_that_follow_fast_are_few_events_and_come_by_themselves() {
    let bus = bus();
    let running = bus.begin("agent").start().await.unwrap();
    let output = running.output("answer");
    for word in 0..100 {
        output.push(format!("{word} "));
    }
    let text = |text: &str| text.split_whitespace().count();
    let written = || text(&bus.snapshot(&task("agent")).unwrap().outputs[0].text);
    assert_eq!(written(), 1);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(written(), 100);
    let deltas = types(&bus, "agent").await;
    let deltas = deltas.iter().filter(|name| *name == "output_delta");
    assert_eq!(deltas.count(), 2);
}

#[tokio::test]
async fn a_question_waits_for_a_person() {
    let bus = bus();
    let running = bus.begin("deploy").start().await.unwrap();
    let reporter = running.reporter();
    // This bus cannot check an answer by a schema. The program learns it at once.
    let schema = serde_json::json!({ "type": "boolean" });
    let refused = reporter.ask("Deploy?", schema);
    let refused = tokio::time::timeout(DEADLINE, refused)
        .await
        .expect("in time");
    assert!(matches!(refused, Err(AskError::Refused(_))), "{refused:?}");
    let asking = tokio::spawn(async move { reporter.ask("Deploy?", None).await });
    let open = || {
        bus.snapshot(&task("deploy"))
            .unwrap()
            .pending_inputs
            .clone()
    };
    eventually("it asks", || !open().is_empty()).await;
    let id = open()[0].input_id.to_string();
    let answer = NewEvent::input_provided(&id, &true.into(), "ada");
    bus.publish(&task("deploy"), answer).await.unwrap();
    let answered = asking.await.unwrap().unwrap();
    assert_eq!((answered.value, answered.by.as_str()), (true.into(), "ada"));

    let reporter = running.reporter();
    let asking = tokio::spawn(async move { reporter.ask("Again?", None).await });
    eventually("it asks again", || !open().is_empty()).await;
    running.complete(None).await.unwrap();
    assert!(matches!(asking.await.unwrap(), Err(AskError::Over)));
}

/// Everything that a program may report, with values that no log accepts.
fn report_everything(task: &tidings_bus::guard::Reporter) {
    use std::fmt::Write as _;

    for number in [f64::NAN, f64::INFINITY, -1.0, 1e308] {
        task.progress(number, "\u{0}");
        task.progress_of(number, 0.0, None);
    }
    task.log("x".repeat(1_000_000));
    task.agent("", tidings_protocol::AgentStatus::Working, None);
    task.tool_started("", "", None);
    task.tool_completed("", None);
    task.tool_failed("", "broken");
    let step = task.step("");
    step.step("below").fail("broken");
    let mut output = task.output("");
    write!(output, "{}", "y".repeat(1_000_000)).unwrap();
    drop(output);
    drop(step);
    drop(task.try_publish(NewEvent::task_stalled()));
    task.publish(NewEvent::task_completed(None));
    let _ = (task.is_cancelled(), task.losses());
}

#[test]
fn nothing_that_reports_panics_or_waits_even_after_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (bus, first, second) = runtime.block_on(async {
        let bus = bus();
        let first = bus.begin("first").start().await.unwrap();
        let second = bus.begin("second").start().await.unwrap();
        report_everything(&first);
        (bus, first, second)
    });
    // First on a thread without a runtime, then without any runtime.
    let reporter = second.reporter();
    std::thread::spawn(move || report_everything(&reporter))
        .join()
        .unwrap();
    drop(runtime);
    report_everything(&second);
    drop(first.fail("broken"));
    drop(second);
    drop(bus);
}

#[tokio::test]
async fn a_report_outlives_a_bus_that_is_shut_down() {
    let bus = bus();
    let running = bus.begin("job").start().await.unwrap();
    bus.shutdown().await;
    report_everything(&running);
    assert!(running.complete(None).await.is_err());
}
