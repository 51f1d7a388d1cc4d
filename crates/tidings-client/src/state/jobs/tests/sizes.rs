//! Tests that no message is larger than the server accepts, and that each one that is too
//! large is refused to its caller. (`Bench::drain` checks the size of every message.)

use super::*;
use crate::error::WatchError;
use tidings_protocol::Target;

/// Returns the loss of a connection that the server closes over a message that is too
/// large.
fn hung_up() -> Loss {
    Loss::Closed {
        code: Some(1009),
        reason: String::new(),
    }
}

/// Returns the types of a job's refused reports. All of them were too large.
fn too_large(bench: &Bench, job: JobId) -> Vec<EventType> {
    let losses = bench.state.losses(job);
    let refused = losses.refused.into_iter();
    refused
        .map(|refusal| {
            let error = refusal.error;
            assert!(matches!(error, ReceiptError::TooLarge { .. }), "{error:?}");
            refusal.event_type
        })
        .collect()
}

#[test]
fn a_start_that_is_too_large_is_refused_and_the_client_goes_on() {
    let mut bench = bench();
    let large = NewEvent::task_started("x".repeat(66_000));
    let (job, start) = bench.begin_with(large.clone(), None);
    assert_eq!(bench.types(), [""; 0]);
    let (id, answer) = bench.answers.pop().unwrap();
    assert_eq!(id, start);
    assert!(
        matches!(answer, Err(ReceiptError::TooLarge { max: 65_536, .. })),
        "{answer:?}"
    );
    // Reports of a task that has not begun go nowhere, and its end says why.
    bench.report(job, count(1));
    let end = bench
        .state
        .end(job, NewEvent::task_completed(None), bench.now);
    assert!(matches!(end, Err(ReceiptError::TooLarge { .. })));
    assert_eq!(too_large(&bench, job), [EventType::TaskStarted]);
    assert_eq!(bench.state.pending(), 0);
    assert_eq!(bench.state.stopped(), None);
    bench.begin(None);
    assert_eq!(bench.accept_all(), ["task_started"]);

    // The same before the limit is known.
    let mut bench = Bench::connecting(ClientConfig::default());
    let (job, _) = bench.begin_with(large, None);
    bench.report(job, count(1));
    bench.greet();
    assert_eq!(bench.types(), [""; 0]);
    assert_eq!(too_large(&bench, job), [EventType::TaskStarted]);
}

#[test]
fn a_task_that_cannot_be_started_again_is_refused_and_the_client_goes_on() {
    let mut bench = bench();
    let large = NewEvent::task_started("x".repeat(20_000));
    let (job, _) = bench.begin_with(large, None);
    bench.accept_all();
    bench.max_message_bytes = Some(8 * 1024);
    bench.epoch = "b".parse().unwrap();
    bench.offset = 0;
    bench.reconnect();
    let asked = bench.sent();
    let answer = bench.state.try_report(job, count(1), bench.now).unwrap();
    bench.tell_state(&asked[0], TaskStatus::Pending, 0);
    assert_eq!(bench.accept_all(), [""; 0]);
    assert_eq!(too_large(&bench, job), [EventType::TaskStarted]);
    let (id, answered) = bench.answers.pop().unwrap();
    assert_eq!(id, answer);
    assert!(matches!(answered, Err(ReceiptError::TooLarge { .. })));
    assert_eq!(bench.state.stopped(), None);
}

#[test]
fn a_start_that_the_server_hangs_up_over_is_refused_and_the_rest_goes_on() {
    let mut bench = bench();
    // This server accepts less than its greeting says.
    let (job, _) = bench.begin_with(NewEvent::task_started("x".repeat(60_000)), None);
    assert_eq!(bench.types(), ["task_started"]);
    bench.state.handle(Input::Lost(hung_up()), bench.now);
    assert_eq!(too_large(&bench, job), [EventType::TaskStarted]);
    assert_eq!(bench.state.stopped(), None);
    bench.begin(None);
    bench.reconnect();
    assert_eq!(bench.accept_all(), ["task_started"]);
}

#[test]
fn a_report_is_not_refused_for_a_command_that_the_server_hangs_up_over() {
    let mut bench = bench();
    let (job, _) = bench.begin(None);
    bench.accept_all();
    bench.report(job, count(1));
    bench.state.ask(go(60_000)).unwrap();
    bench.sent();
    bench.state.handle(Input::Lost(hung_up()), bench.now);
    assert_eq!(bench.state.stopped(), None);
    assert!(bench.state.losses(job).is_empty());
}

#[test]
fn a_refused_progress_is_no_sign_of_life() {
    let lease = Duration::from_secs(30);
    // The server refuses it.
    let mut bench = bench();
    let (job, _) = bench.begin(Some(lease));
    bench.accept_all();
    bench.report(job, NewEvent::progress(400.0, None));
    let sent = bench.sent();
    bench.refuse(&sent[0], ErrorCode::InvalidEvent);
    bench.wait(lease / 3);
    assert_eq!(bench.accept_all(), ["lease_renewed"]);

    // It is too large, which the client learns only after it has taken the report.
    let mut bench = Bench::connecting(ClientConfig::default());
    bench.max_message_bytes = Some(8 * 1024);
    let (job, _) = bench.begin(Some(lease));
    bench.report(job, NewEvent::progress(40.0, "x".repeat(10_000).as_str()));
    bench.greet();
    assert_eq!(bench.accept_all(), ["task_started"]);
    assert_eq!(too_large(&bench, job), [EventType::ProgressUpdate]);
    // Or before.
    bench.report(job, NewEvent::progress(40.0, "x".repeat(10_000).as_str()));
    for _ in 0..3 {
        bench.wait(lease / 3);
        assert_eq!(bench.accept_all(), ["lease_renewed"]);
    }
    assert_eq!(bench.state.losses(job).refused_count, 2);
}

#[test]
fn a_token_that_is_too_large_is_refused_and_the_old_one_stays() {
    let mut bench = bench();
    let large = "x".repeat(70_000);
    let set = bench.state.set_token(large.into(), bench.now);
    assert!(set.is_err());
    assert_eq!(bench.types(), [""; 0]);
    assert!(bench.state.token().is_none());
    bench.state.set_token("small".into(), bench.now).unwrap();
    assert_eq!(bench.types(), ["authenticate"]);
}

#[test]
fn a_subscription_that_is_too_large_ends_its_watch_only() {
    let mut bench = Bench::connecting(ClientConfig::default());
    bench.max_message_bytes = Some(150);
    let long = "x".repeat(120);
    let task: Target = long.parse().unwrap();
    let pattern: Target = format!("{long}*").parse().unwrap();
    let start = || crate::update::Start::Live;
    let mut watches = Vec::new();
    watches.push(bench.state.watch(&task, start(), bench.now));
    bench.greet();
    watches.push(bench.state.watch(&pattern, start(), bench.now));
    assert_eq!(bench.types(), [""; 0]);
    for watch in watches {
        let taken = bench.state.take(watch, bench.now);
        let Some(Some(Err(WatchError::Refused { code, .. }))) = taken else {
            panic!("{taken:?}")
        };
        assert_eq!(code, ErrorCode::TooLarge);
    }
    let short: Target = "t".parse().unwrap();
    bench.state.watch(&short, start(), bench.now);
    assert_eq!(bench.types(), ["subscribe"]);
}

#[test]
fn a_message_that_the_server_hangs_up_over_is_refused_and_the_rest_goes_on() {
    let mut bench = bench();
    let (job, _) = bench.begin(None);
    bench.accept_all();
    bench.report(job, count(1));
    bench.report(job, artifact(3_000));
    bench.sent();
    bench.state.handle(Input::Lost(hung_up()), bench.now);
    assert!(bench.state.stopped().is_none());
    let losses = bench.state.losses(job);
    assert!(
        matches!(losses.refused[0].error, ReceiptError::TooLarge { .. }),
        "{losses:?}"
    );
    let due = bench.state.poll_timeout().unwrap();
    bench.now = due;
    bench.state.handle(Input::Tick, bench.now);
    bench.greet();
    let asked = bench.sent();
    bench.tell_state(&asked[0], TaskStatus::Running, 1);
    assert_eq!(bench.accept_all(), ["count"]);
}

#[test]
fn the_greeting_says_how_large_a_message_may_be() {
    let mut bench = Bench::connecting(ClientConfig::default());
    bench.max_message_bytes = Some(8 * 1024);
    // These reports were taken before the limit was known. Each is cut or refused on its own.
    let (job, _) = bench.begin(None);
    bench.report(job, NewEvent::log("x".repeat(20_000)));
    bench.report(job, NewEvent::output_delta("o", "y".repeat(20_000)));
    bench.report(job, artifact(20_000));
    let end = NewEvent::task_completed(Value::String("z".repeat(20_000)));
    bench.state.end(job, end, bench.now).unwrap();
    bench.greet();
    let types = bench.accept_all();
    let delta = "output_delta";
    assert_eq!(
        types,
        ["task_started", "log", delta, delta, delta, "task_completed"]
    );
    let losses = bench.state.losses(job);
    let refused = losses.refused.iter().map(|refusal| &refusal.event_type);
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused, [&EventType::Artifact, &EventType::TaskCompleted]);

    // The client uses a larger limit.
    bench.max_message_bytes = Some(1024 * 1024);
    bench.reconnect();
    let (job, _) = bench.begin(None);
    bench.report(job, artifact(200_000));
    assert_eq!(bench.accept_all(), ["task_started", "artifact"]);
    assert!(bench.state.losses(job).is_empty());
}

#[test]
fn a_command_that_is_too_large_is_refused_and_never_ends_the_client() {
    let mut bench = Bench::connecting(ClientConfig::default());
    // The limit is not known yet, so the client refuses this request only when it sends it.
    let early = bench.state.ask(go(70_000));
    assert!(early.is_ok());
    bench.greet();
    assert!(!bench.types().contains(&"command".to_owned()));
    let late = bench.state.ask(go(70_000));
    assert!(matches!(late, Err(CommandError::TooLarge { .. })));
    // This server accepts less than its greeting says.
    bench.state.ask(go(60_000)).unwrap();
    bench.drain();
    bench.state.handle(Input::Lost(hung_up()), bench.now);
    assert_eq!(bench.state.stopped(), None);
}

fn go(bytes: usize) -> ClientRequest {
    ClientRequest::Command {
        task_id: "t".parse().ok(),
        command: "go".into(),
        args: Data::from_value(json!({ "x": "y".repeat(bytes) })).ok(),
        tree: false,
    }
}
