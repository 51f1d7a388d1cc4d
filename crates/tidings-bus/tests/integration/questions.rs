//! Questions: the first answer wins, no answer is lost, and every question expires.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{bus, event, id, quiet};
use serde_json::json;
use tidings_bus::protocol::{
    ErrorCode, EventType, InputOutcome, InputRequired, ItemId, Json, NewEvent, TaskStatus,
};
use tidings_bus::{
    AnswerError, BusConfig, Delivery, EventBus, LocalBroker, ManualClock, MemoryStore,
    PublishError, SchemaCheck, Store, Unfit, Write,
};

const MINUTE: u64 = 60_000;

fn input(text: &str) -> ItemId {
    ItemId::new(text).unwrap()
}

fn value(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn question(text: &str) -> InputRequired {
    InputRequired::new(input(text), "Deploy?")
}

fn expiring(text: &str, ms: u64) -> InputRequired {
    let mut question = question(text);
    question.expires_in_ms = Some(ms);
    question
}

async fn ask(bus: &EventBus, question: &InputRequired) {
    bus.publish(&id("t"), NewEvent::asked(question))
        .await
        .unwrap();
}

async fn answer(bus: &EventBus, text: &str, value: &str, by: &str) -> Result<u64, AnswerError> {
    let value = Json::parse(value).unwrap();
    let answered = bus.answer(&id("t"), &input(text), &value, by).await;
    answered.map(|published| published.offset.get())
}

fn code(answered: Result<u64, AnswerError>) -> (ErrorCode, String) {
    match answered {
        Err(AnswerError::Publish(error)) => (error.code(), error.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Every way to store a task.
async fn everywhere() -> Vec<(&'static str, EventBus)> {
    let mut all = vec![("memory", bus())];
    for write in [Write::Through, Write::Behind] {
        let store = Arc::new(MemoryStore::written(write)) as Arc<dyn Store>;
        let bus = EventBus::open(BusConfig::default(), store).await.unwrap();
        all.push(("a store", bus));
    }
    all
}

#[tokio::test]
async fn the_first_answer_wins_and_the_second_is_told_who_gave_it() {
    for (kept, bus) in everywhere().await {
        ask(&bus, &question("q")).await;
        assert_eq!(bus.find_asking("", None, 9).await.unwrap().len(), 1);
        assert_eq!(answer(&bus, "q", "true", "ada").await.unwrap(), 2, "{kept}");
        let (code, text) = code(answer(&bus, "q", "false", "bob").await);
        assert_eq!(code, ErrorCode::AlreadyAnswered);
        assert_eq!(text, "the question `q` was answered by ada");
        let state = bus.snapshot(&id("t")).unwrap();
        assert_eq!(state.offset.get(), 2);
        let Some(InputOutcome::Answered { value, by, .. }) = InputOutcome::of(&state, &input("q"))
        else {
            panic!("{state:?}");
        };
        assert_eq!((value, by.as_str()), (Some(self::value("true")), "ada"));
        assert!(bus.find_asking("", None, 9).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_answers_at_once_exactly_one_is_taken() {
    for (kept, bus) in everywhere().await {
        for round in 0..20 {
            let name = format!("q{round}");
            ask(&bus, &question(&name)).await;
            let answers = (0..8).map(|n| {
                let (bus, name) = (bus.clone(), name.clone());
                tokio::spawn(async move { answer(&bus, &name, "1", &format!("p{n}")).await })
            });
            let mut taken = 0;
            for answered in answers.collect::<Vec<_>>() {
                match answered.await.unwrap() {
                    Ok(_) => taken += 1,
                    refused => assert_eq!(code(refused).0, ErrorCode::AlreadyAnswered),
                }
            }
            assert_eq!(taken, 1, "{kept}, round {round}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_a_producer_publishes_counts_like_any_other() {
    let bus = bus();
    ask(&bus, &question("q")).await;
    let by_hand = || NewEvent::input_provided("q", &json!(1), "worker");
    bus.publish(&id("t"), by_hand()).await.unwrap();
    let refused = bus.publish(&id("t"), by_hand()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::AlreadyAnswered);
    assert_eq!(
        code(answer(&bus, "q", "2", "ada").await).0,
        ErrorCode::AlreadyAnswered
    );
    // The state has no room for the first question any more. Its second answer is refused still.
    for round in 0..20 {
        let name = format!("later-{round}");
        ask(&bus, &question(&name)).await;
        answer(&bus, &name, "1", "ada").await.unwrap();
    }
    for name in ["q", "never-asked"] {
        let provided = NewEvent::input_provided(name, &json!(1), "worker");
        let refused = bus.publish(&id("t"), provided).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InputNotOpen, "{name}: {refused}");
    }
}

#[tokio::test]
async fn an_answer_that_a_producer_publishes_must_fit_its_question() {
    let mut choices = question("c");
    choices.choices = Some(vec![value("\"yes\""), value("1.0")]);
    let mut schema = question("s");
    schema.schema = Some(value("{}"));
    let schemas: Arc<dyn SchemaCheck> = Arc::new(OnlyNumbers);
    let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
    let config = || BusConfig::default().schemas(Some(Arc::clone(&schemas)));
    for bus in [
        EventBus::new(config()).unwrap(),
        EventBus::open(config(), store).await.unwrap(),
    ] {
        ask(&bus, &choices).await;
        ask(&bus, &schema).await;
        ask(&bus, &question("any")).await;
        let publish = async |name: &str, value| {
            let provided = NewEvent::input_provided(name, &value, "worker");
            bus.publish(&id("t"), provided).await
        };
        for (name, wrong) in [
            ("c", json!("no")),
            ("c", json!(2)),
            ("s", json!("text")),
            ("any", json!(null)),
        ] {
            let refused = publish(name, wrong).await.unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidEvent, "{refused}");
        }
        assert_eq!(bus.snapshot(&id("t")).unwrap().pending_inputs.len(), 3);
        publish("c", json!(1)).await.unwrap();
        publish("s", json!(3)).await.unwrap();
        publish("any", json!([null])).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_open_cannot_be_answered() {
    let bus = bus();
    let no_task = answer(&bus, "q", "1", "ada").await;
    assert!(
        matches!(no_task, Err(AnswerError::NoTask(_))),
        "{no_task:?}"
    );
    ask(&bus, &question("q")).await;
    let other = answer(&bus, "other", "1", "ada").await;
    let no_question = matches!(
        other,
        Err(AnswerError::Publish(PublishError::NoQuestion { .. }))
    );
    assert!(no_question, "{other:?}");
    bus.task_completed(&id("t"), None).await.unwrap();
    let dropped = code(answer(&bus, "q", "1", "ada").await);
    let text = "the task has ended, and the question `q` with it";
    assert_eq!(dropped, (ErrorCode::InputNotOpen, text.to_owned()));
    let provided = NewEvent::input_provided("q", &json!(1), "worker");
    let refused = bus.publish(&id("t"), provided).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InputNotOpen);
    // The next run may ask under the same id.
    bus.task_started(&id("t"), "again").await.unwrap();
    ask(&bus, &question("q")).await;
    answer(&bus, "q", "1", "ada").await.unwrap();
}

#[derive(Debug)]
struct OnlyNumbers;

impl SchemaCheck for OnlyNumbers {
    fn check_schema(&self, schema: &Json, choices: &[Json]) -> Result<(), Unfit> {
        let checked = choices
            .iter()
            .try_for_each(|choice| self.check(schema, choice));
        match schema.as_str() {
            "{}" => checked,
            _ => Err(Unfit::new("not {}")),
        }
    }

    fn check(&self, _: &Json, value: &Json) -> Result<(), Unfit> {
        let number = value.to_value().is_number();
        number.then_some(()).ok_or_else(|| Unfit::new("no number"))
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_refused_and_the_question_stays_open() {
    let mut choices = question("c");
    choices.choices = Some(vec![
        value("\"yes\""),
        value("1.0"),
        value(r#"{"a":1,"b":2}"#),
    ]);
    let mut schema = question("s");
    schema.schema = Some(value("{}"));
    let schemas: Arc<dyn SchemaCheck> = Arc::new(OnlyNumbers);
    let config = BusConfig::default().schemas(Some(schemas));
    let bus = EventBus::new(config).unwrap();
    ask(&bus, &choices).await;
    ask(&bus, &schema).await;
    ask(&bus, &question("any")).await;
    for (name, wrong) in [
        ("c", "\"no\""),
        ("c", "2"),
        ("s", "\"text\""),
        ("any", "null"),
    ] {
        let refused = answer(&bus, name, wrong, "ada").await;
        assert_eq!(code(refused).0, ErrorCode::InvalidEvent, "{name} {wrong}");
    }
    let mut broken = question("broken");
    broken.schema = Some(value("7"));
    let refused = bus.publish(&id("t"), NewEvent::asked(&broken)).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::InvalidEvent);
    let mut both = question("both");
    both.schema = Some(value("{}"));
    both.choices = Some(vec![value("1"), value("\"text\"")]);
    let refused = bus.publish(&id("t"), NewEvent::asked(&both)).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::InvalidEvent);
    both.choices = Some(vec![value("1"), value("2")]);
    ask(&bus, &both).await;
    // The order of an object's fields has no meaning.
    answer(&bus, "c", r#"{"b":2, "a":1.0}"#, "ada")
        .await
        .unwrap();
    answer(&bus, "s", "3", "ada").await.unwrap();
}

/// Opens a bus over a store that nodes share.
async fn sharing(store: &Arc<dyn Store>, schemas: Option<Arc<dyn SchemaCheck>>) -> EventBus {
    let config = BusConfig::default()
        .broker(Some(Arc::new(LocalBroker::new())))
        .schemas(schemas);
    EventBus::open(config, Arc::clone(store)).await.unwrap()
}

#[tokio::test]
async fn a_bus_without_a_checker_takes_no_schema_and_says_what_is_missing() {
    let mut schema = question("s");
    schema.schema = Some(value("{}"));
    let missing = "this program has no checker of JSON Schemas: set `BusConfig::schemas`, or ask \
                   with `choices`";
    for (kept, bus) in everywhere().await {
        let refused = bus.publish(&id("t"), NewEvent::asked(&schema)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidEvent, "{kept}");
        let reason = std::error::Error::source(&refused).unwrap().to_string();
        assert_eq!(reason, missing);
        // Choices need no checker, whoever answers.
        let mut choices = question("c");
        choices.choices = Some(vec![value("1"), value("2")]);
        ask(&bus, &choices).await;
        let provided = |value| NewEvent::input_provided("c", &json!(value), "worker");
        let wrong = bus.publish(&id("t"), provided(3)).await.unwrap_err();
        assert_eq!(wrong.code(), ErrorCode::InvalidEvent);
        bus.publish(&id("t"), provided(2)).await.unwrap();
    }

    // Another node may have a checker, so this one takes the question, and leaves the answers.
    let store = Arc::new(MemoryStore::new()) as Arc<dyn Store>;
    let without = sharing(&store, None).await;
    ask(&without, &schema).await;
    let provided = || NewEvent::input_provided("s", &json!(3), "worker");
    let refused = without.publish(&id("t"), provided()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidEvent, "{refused}");
    let refused = answer(&without, "s", "3", "ada").await;
    let Err(AnswerError::Publish(PublishError::UnfitAnswer { reason, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(reason.to_string(), missing);
    let with = sharing(&store, Some(Arc::new(OnlyNumbers))).await;
    answer(&with, "s", "3", "ada").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_expires_and_answered_ones_do_not() {
    for (kept, bus) in everywhere().await {
        let mut watching = bus.subscribe(id("t"));
        ask(&bus, &expiring("late", 2 * MINUTE)).await;
        ask(&bus, &expiring("soon", MINUTE)).await;
        ask(&bus, &expiring("done", MINUTE)).await;
        answer(&bus, "done", "1", "ada").await.unwrap();
        for _ in 0..4 {
            event(&mut watching).await;
        }
        let waiting = tokio::time::Instant::now();
        for name in ["soon", "late"] {
            let next = tokio::time::timeout(Duration::from_secs(300), watching.recv());
            let next = next.await.expect("it expires");
            let Some(Delivery::Event(expired)) = next else {
                panic!("{next:?}");
            };
            assert_eq!(*expired.event_type(), EventType::InputExpired, "{kept}");
            assert_eq!(expired.data().get()["input_id"], name);
        }
        let waited = waiting.elapsed();
        assert!(waited >= Duration::from_secs(119), "{waited:?}");
        quiet(&mut watching).await;
        let state = bus.snapshot(&id("t")).unwrap();
        assert!(state.pending_inputs.is_empty());
        let outcome = InputOutcome::of(&state, &input("soon"));
        assert_eq!(outcome, Some(InputOutcome::Expired));
        let (code, text) = code(answer(&bus, "soon", "1", "ada").await);
        assert_eq!(code, ErrorCode::InputNotOpen);
        assert_eq!(text, "the question `soon` has expired");
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_expires_though_the_bus_was_away_when_its_time_was_up() {
    for write in [Write::Through, Write::Behind] {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let store = Arc::new(MemoryStore::written(write));
        let open = async || {
            let config = BusConfig::default().clock(Arc::clone(&clock) as Arc<_>);
            let store = Arc::clone(&store) as Arc<dyn Store>;
            EventBus::open(config, store).await.unwrap()
        };
        let bus = open().await;
        ask(&bus, &expiring("away", MINUTE)).await;
        ask(&bus, &expiring("later", 10 * MINUTE)).await;
        assert!(bus.shutdown().await);

        clock.set(1_000_000 + 5 * MINUTE);
        let bus = open().await;
        let (task, question) = (id("t"), input("away"));
        let away = bus.input_outcome(&task, &question);
        let away = tokio::time::timeout(Duration::from_secs(1), away).await;
        assert_eq!(
            away.expect("at once").unwrap(),
            InputOutcome::Expired,
            "{write:?}"
        );
        let later = tokio::time::Instant::now();
        let outcome = bus.input_outcome(&id("t"), &input("later")).await.unwrap();
        assert_eq!(outcome, InputOutcome::Expired);
        assert!(
            later.elapsed() >= Duration::from_millis(5 * MINUTE),
            "not before its time"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_an_answer_is_not_removed_as_idle() {
    let config = BusConfig::default().idle_ttl(Duration::from_secs(60));
    let bus = EventBus::new(config).unwrap();
    ask(&bus, &expiring("q", 10 * MINUTE)).await;
    bus.task_started(&id("idle"), "idle").await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(bus.snapshot(&id("idle")).is_none(), "its time is up");
    answer(&bus, "q", "1", "ada").await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(bus.snapshot(&id("t")).is_none(), "and so is this one's now");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_learns_the_outcome_also_after_the_answer() {
    let bus = bus();
    let (task, q) = (id("t"), input("q"));
    bus.task_started(&task, "work").await.unwrap();
    let waiting = {
        let (bus, task, q) = (bus.clone(), task.clone(), q.clone());
        tokio::spawn(async move { bus.input_outcome(&task, &q).await.unwrap() })
    };
    tokio::task::yield_now().await;
    ask(&bus, &question("q")).await;
    let long = format!("\"{}\"", "x".repeat(5_000));
    answer(&bus, "q", &long, "ada").await.unwrap();
    let InputOutcome::Answered { value, .. } = waiting.await.unwrap() else {
        panic!("it was answered");
    };
    assert_eq!(value.unwrap().as_str(), long);
    // The state has no room for such a long answer.
    let InputOutcome::Answered { value, by, .. } = bus.input_outcome(&task, &q).await.unwrap()
    else {
        panic!("it was answered");
    };
    assert_eq!((value, by.as_str()), (None, "ada"));

    ask(&bus, &question("open")).await;
    let waiting = {
        let bus = bus.clone();
        tokio::spawn(async move { bus.input_outcome(&task, &input("open")).await.unwrap() })
    };
    tokio::task::yield_now().await;
    bus.task_completed(&id("t"), None).await.unwrap();
    assert_eq!(waiting.await.unwrap(), InputOutcome::Dropped);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_question_is_no_sign_of_life() {
    let bus = bus();
    let data = json!({"name": "work", "lease_ms": 2 * MINUTE});
    let data = tidings_bus::protocol::Data::parse(&data.to_string()).unwrap();
    let started = NewEvent::new(EventType::TaskStarted, data);
    bus.publish(&id("t"), started).await.unwrap();
    ask(&bus, &expiring("q", MINUTE)).await;
    tokio::time::sleep(Duration::from_millis(4 * MINUTE + 1_000)).await;
    let state = bus.snapshot(&id("t")).unwrap();
    assert_eq!(
        state.status,
        TaskStatus::Failed,
        "nothing was heard of its producer"
    );
}
