//! A reader that stalls has the task's complete state when it continues.

use serde_json::{Value, json};
use tidings_bus::LogLimits;
use tidings_protocol::{NewEvent, TaskId, TaskSnapshot};
use tidings_testkit::{RawClient, RawFrame, TestConfig, TestServer, WireChecker};

fn task() -> TaskId {
    TaskId::new("t").unwrap()
}

/// Reads everything up to `head`, and compares the folded state with the server's.
async fn read_on(server: &TestServer, mut reader: RawClient) -> WireChecker {
    let state = server.bus().snapshot(&task()).unwrap();
    let due = Some(state.offset.get() + 1);
    let mut checker = WireChecker::default();
    while checker.task("t").and_then(|task| task.checker.expected()) != due {
        if let RawFrame::Text(message) = reader.next().await.unwrap() {
            checker.message(&message.to_string()).unwrap();
        }
    }
    checker.task("t").unwrap().state.compare(&state).unwrap();
    checker
}

fn output<'a>(state: &'a TaskSnapshot, id: &str) -> &'a tidings_protocol::OutputState {
    let mut outputs = state.outputs.iter();
    outputs
        .find(|known| known.output_id.as_str() == id)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_is_whole_or_its_missing_beginning_is_named() {
    let server = TestServer::start(TestConfig::default()).await;
    let reader = RawClient::connect_narrow(server.addr(), "/ws/tasks/t?client_id=slow").await;
    let mut whole = String::new();
    for n in 0..9_000 {
        let text = format!("{n:05} ").repeat(100);
        whole.push_str(&text);
        let event = NewEvent::output_delta("answer", text);
        server.bus().publish(&task(), event).await.unwrap();
    }
    let end = NewEvent::task_completed(None);
    server.bus().publish(&task(), end).await.unwrap();

    let checker = read_on(&server, reader).await;
    let seen = checker.task("t").unwrap();
    let state = seen.state.state().unwrap();
    assert_eq!(state.status.as_str(), "completed");
    let answer = output(state, "answer");
    assert_eq!(answer.length, 5_400_000);
    let start = usize::try_from(answer.start).unwrap();
    assert_eq!(answer.text, whole[start..], "every word from `start` on");

    // Text that does not fit into the snapshot is read from the output's route.
    let path = "/api/tasks/t/outputs/answer";
    let from = start - 100_000;
    let range = format!("bytes={from}-{}", start - 1);
    let part = server.http("GET", path, &[("Range", &range)], "").await;
    assert_eq!(part.status, 206, "{}", part.text());
    let said = format!("bytes {from}-{}/5400000", start - 1);
    assert_eq!(part.header("content-range"), Some(&*said));
    assert_eq!(part.text(), &whole[from..start]);
    // The start of an output beyond 1 MiB is not kept, and the answer says so.
    let all = server.http("GET", path, &[], "").await;
    assert_eq!(all.status, 206);
    let kept = all.text();
    assert!(kept.len() <= 1024 * 1024 && whole.ends_with(kept));
    let said = format!("bytes {}-5399999/5400000", whole.len() - kept.len());
    assert_eq!(all.header("content-range"), Some(&*said));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_outputs_at_once_are_whole() {
    let server = TestServer::start(TestConfig::default()).await;
    let reader = RawClient::connect_narrow(server.addr(), "/ws/tasks/t?client_id=slow").await;
    let mut whole = vec![String::new(); 40];
    for n in 0..9_000 {
        let text = format!("{n:05} ").repeat(100);
        whole[n % 40].push_str(&text);
        let event = NewEvent::output_delta((n % 40).to_string(), text);
        server.bus().publish(&task(), event).await.unwrap();
    }
    let checker = read_on(&server, reader).await;
    let state = checker.task("t").unwrap().state.state().unwrap();
    for (n, whole) in whole.iter().enumerate() {
        let known = output(state, &n.to_string());
        assert_eq!(known.length, whole.len() as u64, "output {n}");
        let start = usize::try_from(known.start).unwrap();
        assert_eq!(known.text, whole[start..], "output {n}");
        let path = format!("/api/tasks/t/outputs/{n}");
        let range = format!("bytes=-{}", 50_000);
        let part = server.http("GET", &path, &[("Range", &range)], "").await;
        assert_eq!(part.text(), &whole[whole.len() - 50_000..], "output {n}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_later_updates_do_not_repeat_is_not_lost() {
    let mut config = TestConfig::default();
    config.bus = config.bus.log_limits(LogLimits {
        max_events: 100_000,
        max_bytes: 64 * 1024 * 1024,
    });
    let server = TestServer::start(config).await;
    let reader = RawClient::connect_narrow(server.addr(), "/ws/tasks/t?client_id=slow").await;
    let publish = async |event: NewEvent| {
        server.bus().publish(&task(), event).await.unwrap();
    };
    for _ in 0..6_000 {
        let event = json!({ "event_type": "own", "data": { "x": "x".repeat(1_000) } });
        publish(serde_json::from_value(event).unwrap()).await;
    }
    let progress = |data: Value| {
        let event = json!({ "event_type": "progress_update", "data": data });
        serde_json::from_value::<NewEvent>(event).unwrap()
    };
    for n in 0..5 {
        publish(progress(
            json!({ "progress": n, "message": "linking", "stage": "last" }),
        ))
        .await;
    }
    for n in 0..700 {
        publish(progress(json!({ "progress": f64::from(n) / 10.0 }))).await;
    }
    publish(NewEvent::task_completed(None)).await;

    let checker = read_on(&server, reader).await;
    let seen = checker.task("t").unwrap();
    let state = seen.state.state().unwrap();
    assert_eq!(state.message.as_deref(), Some("linking"));
    assert_eq!(state.stage.as_deref(), Some("last"));
    assert!(seen.checker.gaps().is_empty(), "nothing is missing");
    assert!(seen.checker.delivered() < 6_700, "some were merged");
    server.stop().await;
}
