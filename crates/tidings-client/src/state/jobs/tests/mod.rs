//! Tests tasks of this program against a scripted server.

mod sizes;

use std::time::Duration;

use serde_json::{Value, json};
use tidings_protocol::{
    ClientId, ClientRequest, ControlMessage, Data, Epoch, ErrorCode, EventType, Joined, NewEvent,
    Offset, Reference, ServerMessage, TaskId, TaskSnapshot, TaskStarted, TaskStatus, Timestamp,
};
use tokio::time::Instant;

use super::{Beginning, JobId};
use crate::config::ClientConfig;
use crate::defaults::MAX_MESSAGE_BYTES;
use crate::error::{CommandError, Loss, ReceiptError};
use crate::publish::Acknowledged;
use crate::state::{Input, Output, RequestId, State};

/// A client and the outputs of its state machine.
struct Bench {
    state: State,
    now: Instant,
    offset: u64,
    epoch: Epoch,
    answers: Vec<(RequestId, Result<Acknowledged, ReceiptError>)>,
    sent: Vec<Value>,
    /// The message limit in the server's greeting.
    max_message_bytes: Option<usize>,
}

impl Bench {
    /// Returns a client that has received the server's greeting.
    fn new(config: ClientConfig) -> Self {
        let mut bench = Self::connecting(config);
        bench.greet();
        bench
    }

    fn connecting(config: ClientConfig) -> Self {
        let now = Instant::now();
        let mut state = State::new(config.seed(1), None, false);
        state.start(now);
        Self {
            state,
            now,
            offset: 0,
            epoch: "a".parse().unwrap(),
            answers: Vec::new(),
            sent: Vec::new(),
            max_message_bytes: None,
        }
    }

    fn greet(&mut self) {
        self.state.handle(Input::Opened, self.now);
        let hello = ControlMessage::connection_established(ClientId::generate(), "", 25_000, None);
        self.said(match self.max_message_bytes {
            Some(bytes) => hello.with_max_message_bytes(bytes),
            None => hello,
        });
    }

    fn said(&mut self, message: ControlMessage) {
        let timestamp = Timestamp::MIN;
        let message = ServerMessage::Control { timestamp, message };
        self.state
            .handle(Input::Message(Box::new(message)), self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.state.poll_output() {
            match output {
                Output::Send(text) => {
                    let max = self.max_message_bytes.unwrap_or(MAX_MESSAGE_BYTES);
                    assert!(text.len() <= max, "the server hangs up over {text:.200}");
                    self.sent.push(serde_json::from_str(&text).unwrap());
                }
                Output::Acknowledged(id, answer) => self.answers.push((id, answer)),
                _ => {}
            }
        }
    }

    /// Returns the messages since the last call: publishes by type and number, other messages by
    /// type.
    fn sent(&mut self) -> Vec<Value> {
        self.drain();
        std::mem::take(&mut self.sent)
    }

    fn types(&mut self) -> Vec<String> {
        let sent = self.sent();
        let name = |sent: &Value| match sent["event_type"].as_str() {
            Some(event_type) => event_type.to_owned(),
            None => sent["type"].as_str().unwrap().to_owned(),
        };
        sent.iter().map(name).collect()
    }

    fn begin(&mut self, lease: Option<Duration>) -> (JobId, RequestId) {
        self.begin_with(NewEvent::task_started_with(&TaskStarted::default()), lease)
    }

    fn begin_with(&mut self, event: NewEvent, lease: Option<Duration>) -> (JobId, RequestId) {
        let beginning = Beginning {
            task_id: "t".parse().unwrap(),
            event,
            source: None,
            lease,
            mark: "mark".to_owned(),
        };
        let begun = self.state.begin(beginning, None, self.now);
        self.drain();
        begun
    }

    fn report(&mut self, job: JobId, event: NewEvent) {
        self.state.report(job, event, self.now);
        self.drain();
    }

    fn accept(&mut self, sent: &Value) {
        self.offset += 1;
        let ack = ControlMessage::ack(
            Some(reference(sent)),
            "t".parse().unwrap(),
            self.epoch.clone(),
            Offset::new(self.offset).unwrap(),
            false,
            (sent["event_type"] == "task_started").then_some(1),
        );
        self.said(ack);
    }

    fn refuse(&mut self, sent: &Value, code: ErrorCode) {
        self.said(ControlMessage::error(Some(reference(sent)), code, "no"));
    }

    /// Accepts all sent reports until the client sends no more. Returns their types.
    fn accept_all(&mut self) -> Vec<String> {
        let mut types = Vec::new();
        loop {
            let sent = self.sent();
            if sent.is_empty() {
                return types;
            }
            for message in sent {
                if message["type"] == "publish" {
                    types.push(message["event_type"].as_str().unwrap().to_owned());
                    self.accept(&message);
                }
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.state.handle(Input::Tick, self.now);
        self.drain();
    }

    /// Breaks the connection and opens the next one.
    fn reconnect(&mut self) {
        let loss = Loss::Closed {
            code: None,
            reason: String::new(),
        };
        self.state.handle(Input::Lost(loss), self.now);
        let due = self.state.poll_timeout().unwrap();
        self.now = due;
        self.state.handle(Input::Tick, self.now);
        self.drain();
        self.greet();
    }

    /// Answers the request for the task's state.
    fn tell_state(&mut self, asked: &Value, status: TaskStatus, run: u32) {
        let task_id: TaskId = "t".parse().unwrap();
        let mut snapshot = TaskSnapshot::new(task_id.clone(), self.epoch.clone());
        snapshot.status = status;
        snapshot.run = run;
        snapshot.offset = Offset::new(self.offset).unwrap_or(Offset::ZERO);
        let joined = Joined {
            task_id,
            epoch: self.epoch.clone(),
            offset: snapshot.offset,
            recovered: false,
            snapshot: std::sync::Arc::new(snapshot),
            permissions: None,
        };
        self.said(ControlMessage::subscribed(
            Some(reference(asked)),
            None,
            joined,
        ));
    }
}

fn reference(sent: &Value) -> Reference {
    Reference::from(sent["ref"].as_u64().unwrap())
}

fn artifact(bytes: usize) -> NewEvent {
    let data = json!({ "artifact_id": "a", "data": "x".repeat(bytes) });
    let data = tidings_protocol::Data::from_value(data).unwrap();
    NewEvent::new(EventType::Artifact, data)
}

fn bench() -> Bench {
    Bench::new(ClientConfig::default())
}

fn count(number: usize) -> NewEvent {
    let event_type: EventType = "count".parse().unwrap();
    let data = Data::from_value(json!({ "n": number })).unwrap();
    NewEvent::new(event_type, data)
}

#[test]
fn nothing_is_reported_of_a_task_whose_start_was_refused() {
    let mut bench = bench();
    let (job, start) = bench.begin(None);
    bench.report(job, NewEvent::progress(10.0, None));
    let sent = bench.sent();
    assert_eq!(
        sent.len(),
        1,
        "nothing before the start is answered: {sent:?}"
    );
    bench.refuse(&sent[0], ErrorCode::InvalidTransition);
    let refused = &bench.answers[0];
    assert_eq!(refused.0, start);
    assert!(matches!(
        refused.1,
        Err(ReceiptError::Refused {
            code: ErrorCode::InvalidTransition,
            ..
        })
    ));
    bench.report(job, NewEvent::progress(20.0, None));
    bench
        .state
        .leave(job, NewEvent::task_failed("dropped"), bench.now);
    assert_eq!(bench.types(), [""; 0]);
    assert_eq!(bench.state.pending(), 0);
}

#[test]
fn a_task_that_is_dropped_before_its_start_is_answered_ends_only_if_it_was_its_own() {
    for (accepted, expected) in [(true, vec!["task_failed"]), (false, vec![])] {
        let mut bench = bench();
        let (job, _) = bench.begin(None);
        bench
            .state
            .leave(job, NewEvent::task_failed("dropped"), bench.now);
        let sent = bench.sent();
        match accepted {
            true => bench.accept(&sent[0]),
            false => bench.refuse(&sent[0], ErrorCode::InvalidTransition),
        }
        assert_eq!(bench.accept_all(), expected);
        assert_eq!(bench.state.pending(), 0);
    }
}

#[test]
fn a_server_that_has_lost_its_memory_is_told_of_the_start_before_the_rest() {
    let mut bench = bench();
    let (job, _) = bench.begin(None);
    assert_eq!(bench.accept_all(), ["task_started"]);
    bench.report(job, NewEvent::progress(10.0, None));
    let end = bench
        .state
        .end(job, NewEvent::task_completed(None), bench.now)
        .unwrap();
    assert_eq!(bench.types(), ["progress_update", "task_completed"]);

    bench.epoch = "b".parse().unwrap();
    bench.offset = 0;
    bench.reconnect();
    let asked = bench.sent();
    assert_eq!(asked.len(), 1, "nothing before the log is known: {asked:?}");
    assert_eq!(asked[0]["type"], "subscribe");
    bench.tell_state(&asked[0], TaskStatus::Pending, 0);
    let types = bench.accept_all();
    assert_eq!(types, ["task_started", "progress_update", "task_completed"]);
    let ended = bench.answers.iter().find(|(id, _)| *id == end).unwrap();
    assert_eq!(ended.1.as_ref().unwrap().offset.get(), 3);
    assert_eq!(bench.state.pending(), 0);
}

#[test]
fn the_same_log_is_told_again_only_what_it_may_not_have() {
    let mut bench = bench();
    let (job, _) = bench.begin(None);
    bench.accept_all();
    bench.report(job, count(1));
    bench.report(job, count(2));
    let before = bench.sent();
    bench.accept(&before[0]);
    bench.reconnect();
    let asked = bench.sent();
    bench.tell_state(&asked[0], TaskStatus::Running, 1);
    let again: Vec<_> = bench
        .sent()
        .into_iter()
        .filter(|sent| sent["type"] == "publish")
        .collect();
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0]["data"], before[1]["data"]);
    assert_eq!(
        again[0]["producer"], before[1]["producer"],
        "the server must know it again"
    );
}

#[test]
fn what_is_refused_for_a_while_is_tried_again_in_its_place() {
    let mut bench = bench();
    let (job, _) = bench.begin(None);
    bench.accept_all();
    for number in 1..=3 {
        bench.report(job, count(number));
    }
    let sent = bench.sent();
    bench.accept(&sent[0]);
    bench.refuse(&sent[1], ErrorCode::Unavailable);
    bench.report(job, count(4));
    assert!(bench.sent().is_empty(), "not before the pause");
    bench.refuse(&sent[2], ErrorCode::SequenceGap);
    let due = bench.state.poll_timeout().unwrap();
    bench.wait(due - bench.now);
    let again = bench.sent();
    let numbers: Vec<_> = again
        .iter()
        .map(|sent| sent["data"]["n"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [2, 3, 4]);
    let seqs: Vec<_> = again
        .iter()
        .map(|sent| sent["producer"]["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, [2, 3, 4]);
    assert!(bench.state.losses(job).is_empty());
}

#[test]
fn what_is_refused_for_good_is_told_and_stops_nothing() {
    let mut bench = bench();
    let (job, _) = bench.begin(None);
    bench.accept_all();
    for number in 1..=3 {
        bench.report(job, count(number));
    }
    let sent = bench.sent();
    bench.refuse(&sent[0], ErrorCode::InvalidEvent);
    bench.refuse(&sent[1], ErrorCode::SequenceGap);
    bench.refuse(&sent[2], ErrorCode::SequenceGap);
    let again = bench.sent();
    let seqs: Vec<_> = again
        .iter()
        .map(|sent| (&sent["data"]["n"], &sent["producer"]["seq"]))
        .collect();
    assert_eq!(seqs, [(&json!(2), &json!(1)), (&json!(3), &json!(2))]);
    for sent in &again {
        bench.accept(sent);
    }
    bench
        .state
        .end(job, NewEvent::task_completed(None), bench.now)
        .unwrap();
    assert_eq!(bench.accept_all(), ["task_completed"]);
    let losses = bench.state.losses(job);
    assert_eq!((losses.refused_count, losses.dropped), (1, 0));
    assert_eq!(losses.refused[0].event_type.as_str(), "count");
}

#[test]
fn room_is_kept_for_answers_and_for_the_end() {
    let mut bench = Bench::new(ClientConfig::default().pending(4, 1 << 20));
    let (job, _) = bench.begin(None);
    for number in 0..50 {
        bench.report(job, NewEvent::log(format!("line {number}")));
    }
    let id: tidings_protocol::ItemId = "command".parse().unwrap();
    bench
        .state
        .reply(job, NewEvent::command_accepted(&id), bench.now)
        .unwrap();
    bench
        .state
        .end(job, NewEvent::task_completed(None), bench.now)
        .unwrap();
    let types = bench.accept_all();
    let expected = [
        "task_started",
        "log",
        "log",
        "log",
        "log",
        "command_accepted",
        "task_completed",
    ];
    assert_eq!(types, expected);
    assert_eq!(bench.state.losses(job).dropped, 46);
    assert_eq!(bench.state.pending(), 0);
}

#[test]
fn a_result_that_the_server_does_not_take_does_not_keep_the_task_from_ending() {
    let mut bench = bench();
    let (job, _) = bench.begin(None);
    bench.accept_all();
    let large = Value::String("x".repeat(70_000));
    bench
        .state
        .end(job, NewEvent::task_completed(large), bench.now)
        .unwrap();
    let sent = bench.sent();
    assert!(sent[0]["data"]["result"].is_null());
    bench.accept(&sent[0]);
    let losses = bench.state.losses(job);
    assert!(matches!(
        losses.refused[0].error,
        ReceiptError::TooLarge { .. }
    ));

    let (job, _) = bench.begin(None);
    bench.accept_all();
    bench
        .state
        .end(job, NewEvent::task_completed(json!("odd")), bench.now)
        .unwrap();
    let sent = bench.sent();
    bench.refuse(&sent[0], ErrorCode::InvalidEvent);
    let again = bench.sent();
    assert_eq!(again[0]["event_type"], "task_completed");
    assert!(again[0]["data"]["result"].is_null());
}

#[test]
fn a_lease_is_renewed_while_nothing_is_reported() {
    let lease = Duration::from_secs(30);
    let mut bench = bench();
    let (job, _) = bench.begin(Some(lease));
    bench.accept_all();
    for _ in 0..5 {
        bench.wait(lease / 3);
        assert_eq!(bench.accept_all(), ["lease_renewed"]);
    }
    bench.report(job, NewEvent::progress(40.0, None));
    assert_eq!(bench.accept_all(), ["progress_update"]);
    bench.wait(lease / 3 - Duration::from_millis(1));
    assert_eq!(bench.accept_all(), [""; 0], "a report renews as well");
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.accept_all(), ["progress_update"]);
    bench
        .state
        .leave(job, NewEvent::task_failed("dropped"), bench.now);
    assert_eq!(bench.accept_all(), ["task_failed"]);
    bench.wait(lease);
    assert_eq!(bench.accept_all(), ["ping"; 0]);
}

#[test]
fn what_a_stop_leaves_unsent_is_counted() {
    let mut bench = bench();
    let (job, _) = bench.begin(None);
    bench.accept_all();
    assert_eq!(bench.state.unanswered(), 0);
    bench.report(job, count(1));
    bench.report(job, count(2));
    let event = count(3).with_event_id("e".parse().unwrap());
    bench
        .state
        .publish("u".parse().unwrap(), event, false)
        .unwrap();
    assert_eq!(bench.state.unanswered(), 3);
    let (code, reason) = (Some(1008), String::new());
    let loss = Loss::Closed { code, reason };
    bench.state.handle(Input::Lost(loss), bench.now);
    assert!(bench.state.stopped().is_some());
    assert_eq!((bench.state.pending(), bench.state.unanswered()), (0, 3));
    // Nothing that comes later reaches the server either.
    bench.report(job, count(4));
    assert_eq!(bench.state.unanswered(), 4);
    let end = NewEvent::task_completed(None);
    bench.state.end(job, end.clone(), bench.now).unwrap_err();
    bench.state.leave(job, end, bench.now);
    assert_eq!(bench.state.unanswered(), 5);
    bench.begin(None);
    assert_eq!(bench.state.unanswered(), 6);
}
