//! The promises under `# Cancel safety`: each future is dropped at each of its awaits.
//!
//! A line `Covers:` names the functions of this crate that a test covers. A test of the test kit
//! fails if a function with such a promise is in no such line.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_bus::protocol::{
    EventId, InputRequired, ItemId, Json, NewEvent, Offset, Pattern, Since, TaskStatus,
};
use tidings_bus::{
    AnswerError, Delivery, EventBus, Filter, PublishError, Published, SkipPolicy, Store as _,
};
use tidings_testkit::{drop_after, drop_at_each_await};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

use crate::support::slow::{EVERYWHERE, Given, Kept};
use crate::support::{id, offsets, quiet, retained, step};

/// Lets everything happen that is due, the writes of a store that is written behind included.
async fn rest() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn item(text: &str) -> ItemId {
    ItemId::new(text).unwrap()
}

fn keyed(key: &str) -> NewEvent {
    step(1).with_event_id(EventId::new(key).unwrap())
}

/// Fills a bus: the task `t` has an output and an open question, and is a child of `p`.
async fn fill(bus: &EventBus) {
    let started = NewEvent::subtask_started("part", &id("p"));
    bus.publish(&id("t"), started).await.unwrap();
    for event in [
        NewEvent::output_delta("o", "words"),
        NewEvent::asked(&InputRequired::new(item("q"), "Deploy?")),
        step(4),
    ] {
        bus.publish(&id("t"), event).await.unwrap();
    }
    bus.publish(&id("p"), NewEvent::task_started("whole"))
        .await
        .unwrap();
    // The sums of `p` are published, and everything is stored.
    tokio::time::sleep(Duration::from_secs(10)).await;
}

/// Drops a read at each of its awaits. The next read must have the same answer, and the tasks
/// must be as they were.
async fn changes_nothing<T: Debug>(read: impl AsyncFn(&EventBus) -> T) {
    for kept in EVERYWHERE {
        let given = Given::new(kept).await;
        fill(&given.bus).await;
        let look = async |bus: &EventBus| {
            // The read comes first, because it may fetch the task, and history needs it.
            let answer = format!("{:?}", read(bus).await);
            let history = bus.history(&id("t"), Some(Since::Start), 100).await;
            let state = bus.find(&id("t")).await;
            (answer, format!("{history:?} {state:?}"))
        };
        let expected = look(&given.restarted().await).await;
        drop_at_each_await(async |polls| {
            let bus = given.restarted().await;
            let done = drop_after(polls, read(&bus)).await.is_some();
            assert_eq!(look(&bus).await, expected, "{kept:?}, {polls} polls");
            done
        })
        .await;
    }
}

/// Covers: find, find_all
#[tokio::test(start_paused = true)]
async fn a_dropped_look_at_a_state_changes_nothing() {
    changes_nothing(async |bus| bus.find(&id("t")).await.unwrap()).await;
    changes_nothing(async |bus| bus.find_all("", None, None, 10).await.unwrap()).await;
}

/// Covers: history, history_within
#[tokio::test(start_paused = true)]
async fn a_dropped_read_of_history_changes_no_task() {
    changes_nothing(async |bus| bus.history(&id("t"), Some(Since::Start), 2).await).await;
    changes_nothing(async |bus| {
        let (since, limits) = (Some(Since::Start), (100, 1_000));
        bus.history_within(&id("t"), since, limits, SkipPolicy::NEVER)
            .await
    })
    .await;
}

/// Covers: output
#[tokio::test(start_paused = true)]
async fn a_dropped_read_of_an_output_changes_no_output() {
    changes_nothing(async |bus| {
        let text = bus.output(&id("t"), &item("o"), 0..u64::MAX).await.unwrap();
        text.map(|text| text.bytes)
    })
    .await;
}

/// Covers: question, find_asking
#[tokio::test(start_paused = true)]
async fn a_dropped_look_at_questions_changes_nothing() {
    changes_nothing(async |bus| bus.question(&id("t"), &item("q")).await.unwrap().input_id).await;
    changes_nothing(async |bus| bus.find_asking("", None, 10).await.unwrap().len()).await;
}

/// Covers: children, parent, ancestors, find_children
#[tokio::test(start_paused = true)]
async fn a_dropped_look_at_a_tree_changes_nothing() {
    changes_nothing(async |bus| bus.children(&id("p"), "", None, 10).await.unwrap()).await;
    changes_nothing(async |bus| bus.parent(&id("t")).await.unwrap()).await;
    changes_nothing(async |bus| bus.ancestors(&id("t")).await.unwrap()).await;
    changes_nothing(async |bus| {
        let running = Some(TaskStatus::Running);
        bus.find_children(&id("p"), "", running, None, 10)
            .await
            .unwrap()
    })
    .await;
}

/// Covers: fetch, fetch_matching
#[tokio::test(start_paused = true)]
async fn the_next_fetch_brings_what_a_dropped_one_did_not() {
    changes_nothing(async |bus| {
        let task = bus.fetch(&id("t"), None).await.unwrap();
        task.map(|task| task.snapshot().offset)
    })
    .await;
    let all: Pattern = "*".parse().unwrap();
    changes_nothing(async |bus| {
        bus.fetch_matching(&all).await.unwrap();
        let tasks = bus.tasks_matching(&all, None, 10);
        tasks
            .iter()
            .map(|task| task.id().to_string())
            .collect::<Vec<_>>()
    })
    .await;
}

/// Drops a publish of events with ids at each of its awaits. A retry must be harmless.
async fn is_harmless_to_retry(
    events: &[(&str, &str)],
    publish: impl AsyncFn(&EventBus) -> Vec<Result<Published, PublishError>>,
) {
    for kept in EVERYWHERE {
        drop_at_each_await(async |polls| {
            let given = Given::new(kept).await;
            let bus = &given.bus;
            let mut watching = bus.subscribe(Filter::everything());
            let done = drop_after(polls, publish(bus)).await.is_some();
            if kept == Kept::InMemory && polls > 0 {
                assert!(
                    bus.snapshot(&id(events[0].0)).is_some(),
                    "the first poll publishes"
                );
            }
            for published in publish(bus).await {
                let published = published.unwrap();
                assert!(published.duplicate || !done, "{kept:?}, {polls} polls");
                assert_eq!(published.offset.get(), 1, "{kept:?}, {polls} polls");
            }
            rest().await;
            for (task, _) in events {
                assert_eq!(
                    retained(bus, &id(task)).await,
                    [1],
                    "{kept:?}, {polls} polls"
                );
                if kept != Kept::InMemory {
                    let stored = given
                        .store
                        .inner
                        .read(&id(task), Offset::FIRST, 1_000)
                        .await;
                    assert_eq!(stored.unwrap().len(), 1, "{kept:?}, {polls} polls");
                }
            }
            assert_eq!(
                offsets(&mut watching, events.len()).await,
                vec![1; events.len()]
            );
            quiet(&mut watching).await;
            done
        })
        .await;
    }
}

/// Covers: publish, publish_for
#[tokio::test(start_paused = true)]
async fn a_dropped_publish_can_be_repeated() {
    let events = [("t", "a")];
    is_harmless_to_retry(&events, async |bus| {
        vec![bus.publish(&id("t"), keyed("a")).await]
    })
    .await;
    is_harmless_to_retry(&events, async |bus| {
        vec![
            bus.publish_for(bus.ledger().own(), &id("t"), keyed("a"))
                .await,
        ]
    })
    .await;
}

/// Covers: publish_batch, publish_batch_for
#[tokio::test(start_paused = true)]
async fn a_dropped_batch_can_be_repeated() {
    let events = [("t", "a"), ("u", "b")];
    let batch = || events.map(|(task, key)| (id(task), keyed(key))).to_vec();
    is_harmless_to_retry(&events, async |bus| bus.publish_batch(batch()).await).await;
    is_harmless_to_retry(&events, async |bus| {
        bus.publish_batch_for(bus.ledger().own(), batch()).await
    })
    .await;
}

/// Covers: answer, answer_for
#[tokio::test(start_paused = true)]
async fn a_dropped_answer_counts_once_or_not_at_all() {
    let yes = Json::parse("\"yes\"").unwrap();
    for (kept, owned) in EVERYWHERE
        .into_iter()
        .flat_map(|kept| [(kept, false), (kept, true)])
    {
        drop_at_each_await(async |polls| {
            let given = Given::new(kept).await;
            let bus = &given.bus;
            fill(bus).await;
            let answer = async || match owned {
                false => bus.answer(&id("t"), &item("q"), &yes, "ada").await,
                true => {
                    let own = bus.ledger().own();
                    bus.answer_for(own, &id("t"), &item("q"), &yes, "ada").await
                }
            };
            let done = drop_after(polls, answer()).await.is_some();
            match answer().await {
                Ok(_) => assert!(!done, "{kept:?}: the first answer counts"),
                Err(AnswerError::Publish(PublishError::QuestionEnded { by, .. })) => {
                    assert_eq!(by.as_deref(), Some("ada"));
                }
                Err(error) => panic!("{kept:?}, {polls} polls: {error}"),
            }
            let head = bus.find(&id("t")).await.unwrap().unwrap().offset;
            assert_eq!(head.get(), 5, "{kept:?}, {polls} polls: one answer");
            done
        })
        .await;
    }
}

/// Covers: remove
#[tokio::test(start_paused = true)]
async fn a_removal_that_has_begun_goes_to_its_end() {
    for kept in EVERYWHERE {
        drop_at_each_await(async |polls| {
            let given = Given::new(kept).await;
            let bus = &given.bus;
            bus.publish(&id("t"), step(1)).await.unwrap();
            rest().await;
            let done = drop_after(polls, bus.remove(&id("t"))).await.is_some();
            rest().await;
            let stored = given.store.inner.find(&id("t")).await.unwrap().is_some();
            let known = bus.find(&id("t")).await.unwrap().is_some();
            if kept != Kept::InMemory {
                assert_eq!(
                    stored, known,
                    "{kept:?}, {polls} polls: memory and store agree"
                );
            }
            // A task of this process is looked up without waiting.
            let begun = polls > 0 && kept != Kept::Shared || done;
            assert!(!(begun && known), "{kept:?}, {polls} polls");
            assert!(polls > 0 || known, "nothing happens before the first poll");
            bus.remove(&id("t")).await.unwrap();
            assert!(bus.find(&id("t")).await.unwrap().is_none());
            done
        })
        .await;
    }
}

/// Covers: finish, shutdown
#[tokio::test(start_paused = true)]
async fn a_stop_that_was_dropped_is_completed_by_the_next() {
    for kept in EVERYWHERE {
        drop_at_each_await(async |polls| {
            let given = Given::new(kept).await;
            let bus = &given.bus;
            for n in 1..=3 {
                bus.publish(&id("t"), step(n)).await.unwrap();
            }
            let done = drop_after(polls, bus.shutdown()).await.is_some();
            assert!(bus.finish().await.is_complete(), "{kept:?}, {polls} polls");
            bus.publish(&id("t"), step(4)).await.unwrap_err();
            if kept != Kept::InMemory {
                let stored = given
                    .store
                    .inner
                    .read(&id("t"), Offset::FIRST, 10_000)
                    .await;
                assert_eq!(stored.unwrap().len(), 3, "{kept:?}, {polls} polls");
            }
            done
        })
        .await;
    }
}

/// Waits for something that does not happen yet, and gives up after some polls.
async fn give_up<F: Future>(polls: usize, future: F) {
    let hour = Duration::from_secs(60 * 60);
    let waited = tokio::time::timeout(hour, drop_after(polls, future)).await;
    assert!(!matches!(waited, Ok(Some(_))), "nothing was due");
}

/// Covers: closed, wait, caught_up, input_outcome
#[tokio::test(start_paused = true)]
async fn a_dropped_wait_changes_nothing() {
    for (kept, polls) in EVERYWHERE
        .into_iter()
        .flat_map(|kept| (0..4).map(move |n| (kept, n)))
    {
        let given = Given::new(kept).await;
        let bus = &given.bus;
        fill(bus).await;
        let permits = Arc::new(Semaphore::new(0));
        let handled = Arc::new(AtomicUsize::new(0));
        let (gate, count) = (Arc::clone(&permits), Arc::clone(&handled));
        let guard = bus.subscribe_handler(id("t"), move |_: Delivery| {
            let (gate, count) = (Arc::clone(&gate), Arc::clone(&count));
            async move {
                gate.acquire().await?.forget();
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        });
        bus.publish(&id("t"), step(5)).await.unwrap();
        rest().await;
        let watchers = bus.task(&id("t")).unwrap().topic().watcher_count();
        give_up(polls, guard.caught_up()).await;
        give_up(polls, bus.input_outcome(&id("t"), &item("q"))).await;
        give_up(polls, bus.wait(&id("t"))).await;
        give_up(polls, bus.closed()).await;
        let left = bus.task(&id("t")).unwrap().topic().watcher_count();
        assert_eq!(
            left, watchers,
            "{kept:?}, {polls} polls: no watcher is left behind"
        );

        permits.add_permits(1);
        assert!(guard.caught_up().await);
        assert_eq!(handled.load(Ordering::SeqCst), 1);
        permits.add_permits(100);
        let yes = Json::parse("\"yes\"").unwrap();
        bus.answer(&id("t"), &item("q"), &yes, "ada").await.unwrap();
        bus.input_outcome(&id("t"), &item("q")).await.unwrap();
        bus.task_completed(&id("t"), None).await.unwrap();
        assert!(
            bus.wait(&id("t")).await.is_some(),
            "{kept:?}, {polls} polls"
        );
        let _ = bus.finish().await;
        bus.closed().await;
    }
}

/// Covers: recv
#[tokio::test(start_paused = true)]
async fn a_dropped_recv_loses_no_delivery() {
    const HEAD: u64 = 20;
    for kept in EVERYWHERE {
        let given = Given::new(kept).await;
        for n in 1..=HEAD {
            given.bus.publish(&id("t"), step(n)).await.unwrap();
        }
        rest().await;
        let bus = given.restarted().await;
        bus.fetch(&id("t"), None).await.unwrap();
        let mut watching = bus.subscribe(Filter::task(id("t")).since(Since::Start));
        let (mut seen, mut polls) = (Vec::new(), 0);
        while seen.last() != Some(&HEAD) {
            polls += 1;
            let received = drop_after(polls % 4, watching.recv()).await;
            match received {
                None => yield_now().await,
                Some(Some(Delivery::Event(event))) => seen.push(event.offset().get()),
                Some(other) => panic!("{kept:?}: {other:?} after {seen:?}"),
            }
        }
        assert_eq!(seen, (1..=HEAD).collect::<Vec<_>>(), "{kept:?}");
    }
}

/// Covers: run
#[tokio::test(start_paused = true)]
async fn work_that_is_dropped_has_failed() {
    for kept in EVERYWHERE {
        drop_at_each_await(async |polls| {
            let given = Given::new(kept).await;
            let bus = &given.bus;
            let working = AtomicUsize::new(0);
            let work = bus.run("t", |task| {
                let working = &working;
                async move {
                    for step in 1..=3 {
                        working.store(step, Ordering::SeqCst);
                        task.progress(10.0, None);
                        yield_now().await;
                    }
                    Ok(())
                }
            });
            let done = drop_after(polls, work).await.is_some();
            tokio::time::sleep(Duration::from_secs(10)).await;
            let state = bus.find(&id("t")).await.unwrap();
            let status = state.as_ref().map(|state| state.status);
            match (done, working.load(Ordering::SeqCst)) {
                (true, _) => assert_eq!(status, Some(TaskStatus::Completed), "{kept:?}"),
                (false, 0) => assert!(
                    matches!(status, None | Some(TaskStatus::Failed)),
                    "{kept:?}, {polls} polls: {status:?}"
                ),
                (false, _) => assert!(
                    matches!(status, Some(TaskStatus::Failed | TaskStatus::Completed)),
                    "{kept:?}, {polls} polls: {status:?}"
                ),
            }
            done
        })
        .await;
    }
}
