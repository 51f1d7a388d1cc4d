//! A conformance suite for every [`Store`].
//!
//! ```no_run
//! # async fn test() {
//! use std::sync::Arc;
//! use tidings_bus::{MemoryStore, conformance};
//!
//! conformance::run(|| Arc::new(MemoryStore::new())).await;
//! # }
//! ```

mod outputs;
mod trees;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tidings_protocol::{Epoch, Offset, Position, TaskId, TaskSnapshot, TaskStatus};

pub use outputs::run_outputs;
pub use trees::{run_families, run_trees};

use super::{Append, Store, StoreError, StoredEvent, StoredRules};

fn task(id: &str) -> TaskId {
    TaskId::new(id).expect("a literal of the id's alphabet")
}

fn epoch(text: &str) -> Epoch {
    Epoch::new(text).expect("a literal of the epoch's alphabet")
}

fn offset(value: u64) -> Offset {
    Offset::new(value).expect("small offsets are valid")
}

/// Returns example events for tests of a store: one task, one epoch, these offsets.
///
/// # Panics
/// Panics if the texts are not a task id and an epoch.
pub fn example(id: &str, at: &str, offsets: std::ops::RangeInclusive<u64>) -> Append {
    append(id, at, offsets)
}

fn append(id: &str, at: &str, offsets: std::ops::RangeInclusive<u64>) -> Append {
    let task_id = task(id);
    let mut snapshot = TaskSnapshot::new(task_id.clone(), epoch(at));
    snapshot.offset = offset(*offsets.end());
    Append {
        epoch: epoch(at),
        events: offsets
            .map(|value| StoredEvent {
                offset: offset(value),
                json: format!("{{\"task\":\"{task_id}\",\"n\":{value}}}")
                    .into_bytes()
                    .into(),
            })
            .collect(),
        task_id,
        snapshot: Arc::new(snapshot),
        rules: None,
        outputs: None,
    }
}

async fn offsets(store: &Arc<dyn Store>, id: &str, from: u64, bytes: usize) -> Vec<u64> {
    let events = store
        .read(&task(id), offset(from), bytes)
        .await
        .expect("a store can be read");
    events.iter().map(|event| event.offset.get()).collect()
}

/// Runs one check. The message of a failure begins with the name of the check.
pub(super) async fn check(name: &str, check: impl Future<Output = ()>) {
    let Err(panic) = AssertUnwindSafe(check).catch_unwind().await else {
        return;
    };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    panic!(
        "the check `{name}` failed: {}",
        text.unwrap_or("a panic without a text")
    );
}

/// Runs every check, each on a new store from `make`.
///
/// # Panics
/// Panics if the store does not conform. The message names the check, and says what the store did.
pub async fn run<S: Store>(make: impl Fn() -> Arc<S>) {
    let fresh = || make() as Arc<dyn Store>;
    check("keeps_what_it_takes", keeps_what_it_takes(&fresh())).await;
    check(
        "refuses_a_hole_and_a_repeat",
        refuses_a_hole_and_a_repeat(&fresh()),
    )
    .await;
    check("reads_ranges", reads_ranges(&fresh())).await;
    check("trims_from_the_front", trims_from_the_front(&fresh())).await;
    check("refuses_another_epoch", refuses_another_epoch(&fresh())).await;
    check("finds_one", finds_one(&fresh())).await;
    check("keeps_rules", keeps_rules(&fresh())).await;
    check(
        "keeps_rules_as_long_as_the_task",
        keeps_rules_as_long_as_the_task(&fresh()),
    )
    .await;
    check("answers_each_of_several", answers_each_of_several(&fresh())).await;
    check(
        "keeps_the_rules_of_several",
        keeps_the_rules_of_several(&fresh()),
    )
    .await;
    check("lists_in_pages", lists_in_pages(&fresh())).await;
    check("removes", removes(&fresh())).await;
    check(
        "keeps_order_under_concurrency",
        keeps_order_under_concurrency(fresh()),
    )
    .await;
}

/// Runs the check for a store that implements [`first`](Store::first), on a new store from `make`.
///
/// # Panics
/// Panics if the store does not conform. The message names the check, and says what the store did.
pub async fn run_first<S: Store>(make: impl Fn() -> Arc<S>) {
    check(
        "says_what_is_first",
        says_what_is_first(&(make() as Arc<dyn Store>)),
    )
    .await;
}

/// Runs the check for a store that [keeps the time of leases](Store::keeps_leases), on a new store
/// from `make`.
///
/// # Panics
/// Panics if the store does not conform. The message names the check, and says what the store did.
pub async fn run_leases<S: Store>(make: impl Fn() -> Arc<S>) {
    let store = make() as Arc<dyn Store>;
    check(
        "says_which_leases_are_over",
        says_which_leases_are_over(&store),
    )
    .await;
}

async fn says_which_leases_are_over(store: &Arc<dyn Store>) {
    assert!(
        store.keeps_leases(),
        "the store says that it keeps no leases"
    );
    let leased = |id: &str, lease_ms: u64| leased(id, 1..=1, lease_ms);
    const HOUR: u64 = 60 * 60 * 1_000;
    for first in [
        leased("long", HOUR),
        leased("removed", 1),
        leased("ended", 1),
    ] {
        store.append(first).await.expect("a task with a lease");
    }
    store.remove(&task("removed")).await.expect("a removal");
    let mut last = append("ended", "e1", 2..=2);
    Arc::make_mut(&mut last.snapshot).status = TaskStatus::Completed;
    store.append(last).await.expect("the end of a task");
    // The lease of this task is over after the others, so a store that lists those lists it first.
    store
        .append(leased("short", 1))
        .await
        .expect("a task with a lease");
    let mut over = Vec::new();
    while over.is_empty() {
        over = store.overdue(10).await.expect("ended leases");
    }
    let newest = Position {
        epoch: epoch("e1"),
        offset: Offset::FIRST,
    };
    assert_eq!(
        over,
        [(task("short"), newest)],
        "the only lease that is over"
    );
}

async fn keeps_rules(store: &Arc<dyn Store>) {
    let rules = |lease_ms| {
        Some(Arc::new(StoredRules {
            lease_ms: Some(lease_ms),
            ..StoredRules::default()
        }))
    };
    let kept = async || {
        let found = store.find(&task("a")).await.expect("a search");
        found.expect("a task that is there").rules.lease_ms
    };
    let mut first = append("a", "e1", 1..=1);
    first.rules = rules(7);
    store.append(first).await.expect("events with rules");
    assert_eq!(kept().await, Some(7));
    let open = store.open().await.expect("a store opens");
    assert_eq!(open[0].rules.lease_ms, Some(7), "a start finds them too");
    store
        .append(append("a", "e1", 2..=2))
        .await
        .expect("events without rules");
    assert_eq!(kept().await, Some(7), "unchanged where nothing was said");
    let mut refused = append("a", "e1", 9..=9);
    refused.rules = rules(8);
    store.append(refused).await.expect_err("a hole");
    assert_eq!(kept().await, Some(7), "a refusal changes nothing");
    let mut last = append("a", "e1", 3..=3);
    last.rules = Some(Arc::default());
    store.append(last).await.expect("events that end the rules");
    assert_eq!(kept().await, None);
}

fn leased(id: &str, offsets: std::ops::RangeInclusive<u64>, lease_ms: u64) -> Append {
    let rules = StoredRules {
        lease_ms: Some(lease_ms),
        ..StoredRules::default()
    };
    Append {
        rules: Some(Arc::new(rules)),
        ..append(id, "e1", offsets)
    }
}

async fn lease_of(store: &Arc<dyn Store>, id: &str) -> Option<u64> {
    let found = store.find(&task(id)).await.expect("a search");
    found.expect("a task that is there").rules.lease_ms
}

async fn keeps_rules_as_long_as_the_task(store: &Arc<dyn Store>) {
    store
        .append(leased("a", 1..=5, 7))
        .await
        .expect("events with rules");
    store
        .trim(&task("a"), offset(6))
        .await
        .expect("a trim of all");
    let found = store.find(&task("a")).await.expect("a search");
    let found = found.expect("a task without events is still there");
    assert_eq!(found.rules.lease_ms, Some(7), "a trim keeps the rules");
    assert_eq!(found.snapshot.offset, offset(5), "a trim keeps the state");
    store.remove(&task("a")).await.expect("a removal");
    store
        .append(append("a", "e2", 1..=1))
        .await
        .expect("a new life");
    assert_eq!(
        lease_of(store, "a").await,
        None,
        "a removal forgets the rules"
    );
}

async fn keeps_the_rules_of_several(store: &Arc<dyn Store>) {
    let several = vec![
        leased("a", 1..=1, 7),
        append("b", "e1", 1..=1),
        leased("c", 1..=1, 9),
    ];
    for answer in store.append_all(several).await {
        answer.expect("events of several tasks");
    }
    let mut leases = Vec::new();
    for id in ["a", "b", "c"] {
        leases.push(lease_of(store, id).await);
    }
    assert_eq!(leases, [Some(7), None, Some(9)]);
}

async fn says_what_is_first(store: &Arc<dyn Store>) {
    assert_eq!(store.first(&task("a")), None, "no such task");
    store
        .append(append("a", "e1", 1..=5))
        .await
        .expect("events");
    assert_eq!(store.first(&task("a")), Some(offset(1)));
    store.trim(&task("a"), offset(4)).await.expect("a trim");
    assert_eq!(store.first(&task("a")), Some(offset(4)));
    store.remove(&task("a")).await.expect("a removal");
    assert_eq!(store.first(&task("a")), None);
    store
        .append(append("a", "e2", 1..=2))
        .await
        .expect("a new life");
    assert_eq!(store.first(&task("a")), Some(offset(1)));
}

async fn answers_each_of_several(store: &Arc<dyn Store>) {
    let several = vec![
        append("a", "e1", 1..=2),
        append("b", "e1", 2..=2),
        append("c", "e1", 1..=1),
    ];
    let answers = store.append_all(several).await;
    let [a, b, c] = answers.as_slice() else {
        panic!("{} answers to three", answers.len());
    };
    assert!(a.is_ok() && c.is_ok(), "{answers:?}");
    assert!(
        matches!(b, Err(StoreError::Conflict { expected, .. }) if *expected == Offset::FIRST),
        "a hole was answered with {b:?}"
    );
    assert_eq!(offsets(store, "a", 1, usize::MAX).await, [1, 2]);
    assert_eq!(offsets(store, "b", 1, usize::MAX).await, [0u64; 0]);
    assert_eq!(offsets(store, "c", 1, usize::MAX).await, [1]);
}

async fn keeps_what_it_takes(store: &Arc<dyn Store>) {
    assert!(store.open().await.expect("an empty store opens").is_empty());
    let first = append("a", "e1", 1..=3);
    store.append(first.clone()).await.expect("the first events");
    store
        .append(append("a", "e1", 4..=4))
        .await
        .expect("the next event");
    store
        .append(append("b", "e1", 1..=1))
        .await
        .expect("another task");
    let read = store
        .read(&task("a"), Offset::FIRST, usize::MAX)
        .await
        .expect("a read");
    assert_eq!(read[..3], first.events, "events come back as they were");
    let mut open = store.open().await.expect("a store opens");
    open.sort_by(|a, b| a.snapshot.task_id.cmp(&b.snapshot.task_id));
    let seen: Vec<_> = open
        .iter()
        .map(|task| {
            (
                task.snapshot.task_id.as_str(),
                task.first.get(),
                task.snapshot.offset.get(),
            )
        })
        .collect();
    assert_eq!(seen, [("a", 1, 4), ("b", 1, 1)]);
}

async fn refuses_a_hole_and_a_repeat(store: &Arc<dyn Store>) {
    store
        .append(append("a", "e1", 1..=2))
        .await
        .expect("the first events");
    for (range, what) in [(4..=4, "a hole"), (2..=3, "a repeat"), (1..=1, "a restart")] {
        let got = *range.start();
        match store.append(append("a", "e1", range)).await {
            Err(StoreError::Conflict {
                expected,
                got: seen,
            }) => {
                assert_eq!((expected.get(), seen.get()), (3, got), "{what}");
            }
            other => panic!("{what} was answered with {other:?}"),
        }
    }
    assert_eq!(
        offsets(store, "a", 1, usize::MAX).await,
        [1, 2],
        "a refusal changes nothing"
    );
}

async fn reads_ranges(store: &Arc<dyn Store>) {
    store
        .append(append("a", "e1", 1..=9))
        .await
        .expect("events");
    assert_eq!(offsets(store, "a", 7, usize::MAX).await, [7, 8, 9]);
    assert_eq!(offsets(store, "a", 10, usize::MAX).await, [0u64; 0]);
    assert_eq!(offsets(store, "nothing", 1, usize::MAX).await, [0u64; 0]);
    assert_eq!(
        offsets(store, "a", 3, 1).await,
        [3],
        "at least one, or a reader stands still"
    );
    let some = offsets(store, "a", 1, 60).await;
    assert!(
        some.len() > 1 && some.len() < 9,
        "about 60 bytes, not {some:?}"
    );
}

async fn trims_from_the_front(store: &Arc<dyn Store>) {
    store
        .append(append("a", "e1", 1..=5))
        .await
        .expect("events");
    store.trim(&task("a"), offset(4)).await.expect("a trim");
    assert_eq!(offsets(store, "a", 1, usize::MAX).await, [4, 5]);
    store
        .trim(&task("a"), offset(6))
        .await
        .expect("a trim of all");
    let open = store.open().await.expect("a store opens");
    assert_eq!(
        open[0].first.get(),
        6,
        "numbers go on although nothing is left"
    );
    store
        .append(append("a", "e1", 6..=6))
        .await
        .expect("the next event");
    store
        .trim(&task("nothing"), offset(3))
        .await
        .expect("an unknown task is no error");
}

async fn refuses_another_epoch(store: &Arc<dyn Store>) {
    let first = append("a", "e1", 1..=5);
    store.append(first).await.expect("events");
    for range in [1..=1, 6..=6] {
        let answer = store.append(append("a", "e2", range)).await;
        assert!(
            matches!(answer, Err(StoreError::Conflict { expected, .. }) if expected == offset(6)),
            "another epoch was answered with {answer:?}"
        );
    }
    let open = store.open().await.expect("a store opens");
    assert_eq!(open[0].snapshot.epoch, epoch("e1"));
    assert_eq!(offsets(store, "a", 1, usize::MAX).await, [1, 2, 3, 4, 5]);
    store.remove(&task("a")).await.expect("a removal");
    let again = append("a", "e2", 1..=2);
    store.append(again).await.expect("events of a new epoch");
    assert_eq!(offsets(store, "a", 1, usize::MAX).await, [1, 2]);
}

async fn finds_one(store: &Arc<dyn Store>) {
    let none = store.find(&task("a")).await.expect("a search");
    assert!(none.is_none(), "{none:?}");
    let events = append("a", "e1", 1..=5);
    store.append(events).await.expect("events");
    store.trim(&task("a"), offset(3)).await.expect("a trim");
    let found = store.find(&task("a")).await.expect("a search");
    let found = found.expect("a task that is there");
    assert_eq!(found.first, offset(3));
    assert_eq!(found.snapshot.epoch, epoch("e1"));
    assert_eq!(found.snapshot.offset, offset(5));
}

async fn lists_in_pages(store: &Arc<dyn Store>) {
    for id in ["b-2", "a-1", "b-1", "c", "b-3"] {
        store.append(append(id, "e1", 1..=1)).await.expect("events");
    }
    let list = async |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(task);
        let ids = store.list(prefix, after.as_ref(), limit).await;
        let ids = ids.expect("a list");
        ids.iter().map(ToString::to_string).collect()
    };
    assert_eq!(list("", None, 10).await, ["a-1", "b-1", "b-2", "b-3", "c"]);
    assert_eq!(list("b-", None, 2).await, ["b-1", "b-2"]);
    assert_eq!(
        list("b-", Some("b-2"), 2).await,
        ["b-3"],
        "after, and no more than these"
    );
    assert_eq!(list("", Some("c"), 2).await, [""; 0]);
    store.remove(&task("b-1")).await.expect("a removal");
    assert_eq!(list("b-", None, 2).await, ["b-2", "b-3"]);
}

async fn removes(store: &Arc<dyn Store>) {
    store
        .append(append("a", "e1", 1..=5))
        .await
        .expect("events");
    store.remove(&task("a")).await.expect("a removal");
    store
        .remove(&task("a"))
        .await
        .expect("a second removal is no error");
    assert!(store.open().await.expect("a store opens").is_empty());
    store
        .append(append("a", "e1", 1..=1))
        .await
        .expect("it may come back");
}

async fn keeps_order_under_concurrency(store: Arc<dyn Store>) {
    const WRITERS: u64 = 8;
    const EACH: u64 = 25;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut next = 1;
                for _ in 0..EACH {
                    // Act like several nodes: take the offset that seems to be free.
                    while let Err(error) = store.append(append("a", "e1", next..=next)).await {
                        let StoreError::Conflict { expected, .. } = error else {
                            panic!("a writer got {error:?}");
                        };
                        next = expected.get();
                    }
                    next += 1;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("writers do not panic");
    }
    let mut read = Vec::new();
    loop {
        let page = offsets(&store, "a", read.len() as u64 + 1, 512).await;
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert_eq!(
        read,
        (1..=WRITERS * EACH).collect::<Vec<_>>(),
        "each number once, no hole"
    );
}

/// Runs every check of a [`Keeper`](super::Keeper), which must be new.
///
/// # Panics
/// Panics if the keeper does not conform. The message says what it did.
pub async fn run_keeper(keeper: &dyn super::Keeper) {
    let kept = async || {
        let mut kept = keeper.kept().await.expect("what is kept can be read");
        kept.sort();
        kept
    };
    let thing = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let change = |name: &str, value: Option<&str>| {
        (
            name.to_owned(),
            value.map(|value| value.as_bytes().to_vec()),
        )
    };
    assert!(kept().await.is_empty());
    let changes = vec![change("a", Some("1")), change("b", Some("2"))];
    keeper.keep(changes).await.expect("two things");
    assert_eq!(kept().await, [thing("a", "1"), thing("b", "2")]);
    let changes = vec![change("a", None), change("b", Some("3")), change("c", None)];
    keeper.keep(changes).await.expect("changes");
    assert_eq!(kept().await, [thing("b", "3")]);
    keeper.keep(Vec::new()).await.expect("nothing to do");
}
