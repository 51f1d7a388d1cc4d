//! Three nodes over a real Redis, with all kinds of faults.
//!
//! Publishers publish with ids and try again until they get an answer. Watchers go from node to
//! node with the position of their last event. At the end, every watcher has received every
//! acknowledged event, or a gap names the event. No position came twice, and no offset of an
//! epoch stands for two events. `TIDINGS_SEED` repeats a run, as far as timing allows.
#![cfg(unix)]

use std::time::Duration;

use crate::support::deployment::{Cluster, Lone, Replicated};
use crate::support::world::{Fault, World};

/// How long one run makes faults.
const FAULTS: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_that_keeps_what_it_has() {
    let redis = Lone::durable();
    let world = World::start(redis, 3).await;
    let faults = [
        Fault::KillNode,
        Fault::RollNodes,
        Fault::Restart,
        Fault::Pause,
        Fault::CutConnections,
        Fault::DropMessages,
    ];
    let report = world
        .run("a server that keeps what it has", &faults, FAULTS)
        .await;
    assert_eq!(
        report.epochs, report.tasks,
        "nothing was lost, so no epoch changed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_that_forgets() {
    let redis = Lone::forgetful();
    let world = World::start(redis, 3).await;
    let faults = [
        Fault::Restart,
        Fault::Flush,
        Fault::KillNode,
        Fault::CutConnections,
        Fault::DropMessages,
    ];
    let report = world.run("a server that forgets", &faults, FAULTS).await;
    assert!(
        report.epochs > report.tasks,
        "what was lost is known by its epoch"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_by_sentinel() {
    let redis = Replicated::start();
    let world = World::start(redis, 3).await;
    let faults = [Fault::FailOver, Fault::KillNode, Fault::DropMessages];
    let report = world.run("Sentinel", &faults, FAULTS).await;
    assert!(
        report.epochs > report.tasks,
        "another reign is another epoch"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_replicas_take_over() {
    let redis = Cluster::start();
    let world = World::start(redis, 3).await;
    let faults = [
        Fault::FailOver,
        Fault::KillNode,
        Fault::CutConnections,
        Fault::DropMessages,
    ];
    world.run("a cluster", &faults, FAULTS).await;
}
