//! The conformance suite for a store's trees.

use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::{NewEvent, Payload, TaskId, TaskSnapshot, Timestamp};

use super::{check, example};
use crate::store::{Append, Store};
use crate::tasks::trees::kin::{Kin, Related, Sums};

fn task(id: &str) -> TaskId {
    TaskId::new(id).expect("a literal of the id's alphabet")
}

/// Returns an append of one event, and the state after all of them.
fn reported(id: &str, events: &[NewEvent]) -> Append {
    let last = events.len() as u64;
    let mut append = example(id, "e1", last..=last);
    let mut snapshot = TaskSnapshot::new(append.task_id.clone(), append.epoch.clone());
    for event in events {
        let payload = Payload::parse(&event.event_type, &event.data).expect("a valid event");
        let offset = snapshot.offset.next();
        snapshot.apply(&payload, offset, Timestamp::from_millis(1_000));
    }
    append.snapshot = Arc::new(snapshot);
    append
}

fn child_of(parent: &str) -> NewEvent {
    NewEvent::subtask_started("work", &task(parent))
}

/// Runs the checks for a store that returns a parent's counts of its children. Each check uses
/// a new store from `make`.
///
/// # Panics
/// Panics if the store does not conform. The message names the check, and says what the store did.
pub async fn run_trees<S: Store>(make: impl Fn() -> Arc<S>) {
    let fresh = || make() as Arc<dyn Store>;
    check(
        "tells_the_kin_of_tasks_in_pages",
        tells_the_kin_of_tasks_in_pages(&fresh()),
    )
    .await;
}

/// Runs the checks for a store that nodes share and that has
/// [`families`](Store::families). Each check uses a new store from `make`.
///
/// # Panics
/// Panics if the store does not conform. The message names the check, and says what the store did.
pub async fn run_families<S: Store>(make: impl Fn() -> Arc<S>) {
    let fresh = || make() as Arc<dyn Store>;
    check("lists_children_in_pages", lists_children_in_pages(&fresh())).await;
    check("counts_children", counts_children(&fresh())).await;
    check("leaves_marks", leaves_marks(&fresh())).await;
    check("awaits_a_parent", awaits_a_parent(&fresh())).await;
}

async fn put(store: &Arc<dyn Store>, id: &str, events: &[NewEvent]) {
    let append = reported(id, events);
    store.append(append).await.expect("an event");
}

async fn tells_the_kin_of_tasks_in_pages(store: &Arc<dyn Store>) {
    put(store, "root", &[NewEvent::task_started("work")]).await;
    let half = NewEvent::progress(50.0, "half");
    for child in ["c", "a", "b"] {
        put(store, child, &[child_of("root")]).await;
        put(store, child, &[child_of("root"), half.clone()]).await;
    }
    put(
        store,
        "b",
        &[child_of("root"), half, NewEvent::task_completed(None)],
    )
    .await;
    store.remove(&task("c")).await.expect("a removal");
    let first = store.related(None, 1).await.expect("a page");
    let rest = store.related(Some(&task("a")), 8).await.expect("a page");
    let told: Vec<(TaskId, Related)> = [first, rest].concat();
    let kin = told
        .iter()
        .filter_map(|(id, related)| Some((id.clone(), related.kin.clone()?)));
    let told: Vec<(TaskId, Kin)> = kin.collect();
    let expected = ["a", "b"].map(|id| {
        let progress = if id == "a" { 5_000 } else { 10_000 };
        (task(id), progress)
    });
    let progress = told.iter().map(|(id, kin)| (id.clone(), kin.progress));
    assert_eq!(progress.collect::<Vec<_>>(), expected);
    assert!(told.iter().all(|(_, kin)| kin.parent == task("root")));
}

async fn lists_children_in_pages(store: &Arc<dyn Store>) {
    for child in ["b-1", "a", "b-2", "c"] {
        put(store, child, &[child_of("root")]).await;
    }
    // The id of another parent begins in the same way.
    put(store, "d", &[child_of("root-2")]).await;
    let families = store.families().expect("a store that nodes share");
    let page = async |prefix: &str, after: Option<&str>, limit| {
        let (root, after) = (task("root"), after.map(task));
        let found = families.children(&root, prefix, after.as_ref(), limit);
        let found = found.await.expect("a list");
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(page("", None, 9).await, ["a", "b-1", "b-2", "c"]);
    assert_eq!(page("", Some("a"), 2).await, ["b-1", "b-2"]);
    assert_eq!(page("b-", None, 9).await, ["b-1", "b-2"]);
    assert_eq!(page("b-", Some("b-1"), 9).await, ["b-2"]);
    store.remove(&task("b-1")).await.expect("a removal");
    assert_eq!(page("b-", None, 9).await, ["b-2"]);
    // A new run may name another parent.
    let moved = [
        child_of("root"),
        NewEvent::task_completed(None),
        child_of("root-2"),
    ];
    put(store, "a", &moved[..2]).await;
    put(store, "a", &moved).await;
    assert_eq!(page("", None, 9).await, ["b-2", "c"]);
}

async fn counts_children(store: &Arc<dyn Store>) {
    let families = store.families().expect("a store that nodes share");
    let counted = async || families.counted(&task("root")).await.expect("sums").sums;
    assert_eq!(counted().await, Sums::default());
    let mut expected = Sums::default();
    for n in 0..40 {
        let id = format!("child-{n}");
        let half = NewEvent::progress(f64::from(n), "on its way");
        put(store, &id, &[child_of("root")]).await;
        put(store, &id, &[child_of("root"), half.clone()]).await;
        let events = [child_of("root"), half, NewEvent::task_completed(None)];
        let last = reported(&id, &events);
        if n % 3 == 0 {
            expected.add(&Kin::of(&last.snapshot).expect("a parent"));
            store.append(last).await.expect("an event");
        } else if n % 3 == 1 {
            store.remove(&task(&id)).await.expect("a removal");
        } else {
            let before = reported(&id, &events[..2]);
            expected.add(&Kin::of(&before.snapshot).expect("a parent"));
        }
    }
    assert_eq!(counted().await, expected);
    // A refused append counts nothing.
    let refused = reported("child-0", &[child_of("root")]);
    store.append(refused).await.expect_err("a repeat");
    assert_eq!(counted().await, expected);
}

/// The longest time that a notice may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A time after each mark that a change leaves, and before children expire.
const LATER: Duration = Duration::from_secs(60);

async fn leaves_marks(store: &Arc<dyn Store>) {
    let families = store.families().expect("a store that nodes share");
    let root = task("root");
    put(store, "root", &[NewEvent::task_started("work")]).await;
    put(store, "a", &[child_of("root")]).await;
    assert_eq!(
        families.stirred(LATER, 8).await.expect("marks"),
        std::slice::from_ref(&root)
    );
    let before = families.counted(&root).await.expect("sums");
    put(store, "a", &[child_of("root"), NewEvent::progress(1.0, "")]).await;
    families.shown(&root, &before).await.expect("a note");
    let stirred = families.stirred(LATER, 8).await.expect("marks");
    assert_eq!(
        stirred,
        std::slice::from_ref(&root),
        "a change since then is not forgotten"
    );
    let now = families.counted(&root).await.expect("sums");
    families.shown(&root, &now).await.expect("a note");
    assert_eq!(families.stirred(LATER, 8).await.expect("marks"), []);
    store.remove(&task("a")).await.expect("a removal");
    assert_eq!(families.stirred(LATER, 8).await.expect("marks"), [root]);
}

async fn awaits_a_parent(store: &Arc<dyn Store>) {
    let families = store.families().expect("a store that nodes share");
    let root = task("root");
    put(store, "a", &[child_of("root")]).await;
    let counted = families.counted(&root).await.expect("sums");
    assert!(!families.awaits(&root, &counted).await.expect("an answer"));
    families.shown(&root, &counted).await.expect("a note");
    assert_eq!(families.stirred(LATER, 8).await.expect("marks"), []);
    put(store, "root", &[NewEvent::task_started("work")]).await;
    let arrived = tokio::time::timeout(DEADLINE, families.arrived()).await;
    assert_eq!(arrived.expect("the node is told of it"), root);
    let stirred = families.stirred(LATER, 8).await.expect("marks");
    assert_eq!(stirred, std::slice::from_ref(&root), "it has come");
    assert!(families.awaits(&root, &counted).await.expect("an answer"));
}
