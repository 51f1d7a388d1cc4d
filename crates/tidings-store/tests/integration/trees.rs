//! Trees of tasks on disk: at rest, a parent's counts match its children, even after crashes.

use std::time::Duration;

use fastrand::Rng;
use tidings_bus::protocol::{NewEvent, TaskId};
use tidings_bus::{BusConfig, EventBus, Kin, Sums};
use tidings_testkit::DEADLINE;

use crate::support::{MODES, config, fresh, id, open, open_bus};

const TASKS: u32 = 12;

fn some(random: &mut Rng) -> TaskId {
    id(&format!("t{}", random.u32(0..TASKS)))
}

async fn live(bus: &EventBus, random: &mut Rng) {
    for _ in 0..60 {
        let task = some(random);
        // An event that the rules refuse changes nothing. The check at rest would notice a change.
        match random.u32(0..9) {
            0..4 => {
                let started = NewEvent::subtask_started("part", &some(random));
                _ = bus.publish(&task, started).await;
            }
            4 => _ = bus.task_completed(&task, None).await,
            5 => _ = bus.remove(&task).await.unwrap(),
            _ => {
                let progress = f64::from(random.u32(0..=10_000)) / 100.0;
                _ = bus.progress(&task, progress, "").await;
            }
        }
    }
}

/// Returns a parent whose counts do not match its children, if there is one.
async fn differs(bus: &EventBus) -> Option<String> {
    let all = bus.find_all("", None, None, usize::MAX).await.unwrap();
    all.iter().find_map(|parent| {
        let mut sums = Sums::default();
        let kin = all.iter().filter_map(|child| Kin::of(child));
        kin.filter(|kin| kin.parent == parent.task_id)
            .for_each(|kin| sums.add(&kin));
        let said = parent.children.as_ref().map(|said| {
            let ended = [said.completed, said.failed, said.cancelled];
            let [completed, failed, cancelled] = ended;
            let counts = [said.pending, said.running, completed, failed, cancelled];
            (counts, said.progress)
        });
        let are = (sums.total() > 0).then(|| (sums.counts, sums.progress()));
        (said != are).then(|| format!("{} says {said:?}, not {are:?}", parent.task_id))
    })
}

async fn at_rest(bus: &EventBus) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while let Some(differs) = differs(bus).await {
        assert!(std::time::Instant::now() < deadline, "{differs}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_is_right_after_a_crash_before_it_could_say_so() {
    let mut seen = 0;
    for sync in MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = fresh(&directory);
        let mut random = Rng::with_seed(7);
        for life in 0..6 {
            let (bus, _) = open(&path, sync).await;
            if life > 0 {
                at_rest(&bus).await;
                let all = bus.find_all("", None, None, usize::MAX).await.unwrap();
                seen += all.iter().filter(|task| task.children.is_some()).count();
            }
            live(&bus, &mut random).await;
            // The bus is dropped without an orderly stop, so events on their way to a parent are
            // lost.
            drop(bus);
        }
        let (bus, _) = open(&path, sync).await;
        at_rest(&bus).await;
        assert!(bus.shutdown().await);
    }
    // Without a sync at each commit, a crash may lose everything.
    assert!(seen > 0, "there were trees");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_is_right_though_there_is_room_for_few_tasks_and_the_bus_restarts() {
    let (mut shelved, mut seen) = (0, 0);
    for sync in MODES {
        let directory = tempfile::tempdir().unwrap();
        let path = fresh(&directory);
        let mut random = Rng::with_seed(3);
        for life in 0..6 {
            // There is room for about thirty tasks, so the trees leave memory for others.
            let room = BusConfig::default()
                .total_bytes(64 * 1024)
                .clients_bytes(Some(0));
            let (bus, _) = open_bus(&path, config(sync), room).await;
            if life > 0 {
                at_rest(&bus).await;
            }
            live(&bus, &mut random).await;
            for n in 0..60 {
                let other = id(&format!("other-{n}"));
                bus.task_started(&other, "other").await.ok();
            }
            live(&bus, &mut random).await;
            shelved += bus.stats().tasks_shelved;
            if life % 2 == 0 {
                at_rest(&bus).await;
                let all = bus.find_all("", None, None, usize::MAX).await.unwrap();
                seen += all.iter().filter(|task| task.children.is_some()).count();
                assert!(bus.shutdown().await);
            }
            drop(bus);
        }
    }
    assert!(shelved > 100, "{shelved} tasks have left memory");
    assert!(seen > 0, "there were trees");
}
