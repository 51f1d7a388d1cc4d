//! Updates the states of parents after changes of their children.
//!
//! The driver compares a parent's state with the sums over its children, and publishes the
//! difference. `due.rs` says when.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tidings_protocol::{NewEvent, TaskId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::update::{PAUSE, shows, update_of};
use crate::publish::drive;
use crate::publish::error::PublishError;
use crate::publish::prepared::Prepared;
use crate::shared::Shared;
use crate::store::StoreError;
use crate::store::families::{Counted, Families};
use crate::tasks::shelf;

/// The pause after an update that could not be published.
const RETRY: Duration = Duration::from_secs(1);

/// How often the bus asks a shared store for parents that no node looks at. The node that
/// changed a child may have stopped.
const POLL: Duration = Duration::from_secs(5);

/// The number of parents that are looked at together.
const AT_A_TIME: usize = 64;

/// The next step after a look at a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing. The parent's state matches its children.
    Rest,
    /// Look at the parent again after this pause.
    Again(Duration),
}

async fn look(shared: &Arc<Shared>, parent: &TaskId) -> Next {
    match try_look(shared, parent).await {
        Ok(next) => next,
        Err(error) => {
            tracing::debug!(%parent, %error, "the children of a task cannot be counted yet");
            Next::Again(RETRY)
        }
    }
}

async fn try_look(shared: &Arc<Shared>, parent: &TaskId) -> Result<Next, StoreError> {
    let families = shared.families();
    let counted = match families {
        Some(families) => families.counted(parent).await?,
        None => Counted::own(shared.trees.sums(parent)),
    };
    let state = match (&shared.store, families) {
        (Some(store), Some(_)) => store.find(parent).await?.map(|stored| stored.snapshot),
        _ => shelf::find_own(shared, parent).await?,
    };
    let update = update_of(&counted.sums);
    let Some(state) = state else {
        return rest_or_again(families, parent, &counted, false).await;
    };
    if shows(&state, &update) {
        return rest_or_again(families, parent, &counted, true).await;
    }
    let left = shared.update_pause(&state);
    if !left.is_zero() {
        return Ok(Next::Again(left));
    }
    // The bus's own events are small and well-formed.
    let Ok(prepared) = Prepared::new(NewEvent::children_update(&update), usize::MAX) else {
        return Ok(Next::Rest);
    };
    Ok(
        match drive::publish_prepared(shared, parent, prepared).await {
            // Another node may have counted earlier and published later.
            Ok(_) if shared.config.broker.is_some() => Next::Again(PAUSE),
            Ok(_) | Err(PublishError::Closed) => Next::Rest,
            Err(PublishError::Unavailable(_)) => Next::Again(RETRY),
            // Another event, or another node's update, has come in between.
            Err(_) => Next::Again(PAUSE),
        },
    )
}

/// Ends a look that publishes nothing.
async fn rest_or_again(
    families: Option<&dyn Families>,
    parent: &TaskId,
    counted: &Counted,
    there: bool,
) -> Result<Next, StoreError> {
    let Some(families) = families else {
        // A parent that does not exist is looked at when it appears.
        return Ok(Next::Rest);
    };
    if !there && families.awaits(parent, counted).await? {
        return Ok(Next::Again(PAUSE));
    }
    families.shown(parent, counted).await?;
    Ok(Next::Rest)
}

/// Looks at parents whose children have changed.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let due = &shared.trees.due;
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let next = due.lock().next();
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            parent = arrived(&shared) => due.mark(&parent),
            _ = poll.tick(), if shared.interest.is_some() => mark_stirred(&shared).await,
            () = due.changed() => {}
            () = timer => {}
        }
        let parents = due.lock().due(Instant::now());
        futures_util::stream::iter(parents)
            .for_each_concurrent(AT_A_TIME, |parent| {
                let shared = &shared;
                async move {
                    let (again, pause) = match look(shared, &parent).await {
                        Next::Rest => (false, PAUSE),
                        Next::Again(pause) => (true, pause),
                    };
                    let mut schedule = shared.trees.due.lock();
                    schedule.done(&parent, again, pause, Instant::now());
                }
            })
            .await;
    }
}

/// Waits for a task that this node has created in a shared store after the task's children.
async fn arrived(shared: &Shared) -> TaskId {
    match shared.families() {
        Some(families) => families.arrived().await,
        None => std::future::pending().await,
    }
}

/// Marks the parents of a shared store that no node looks at.
async fn mark_stirred(shared: &Arc<Shared>) {
    let Some(families) = shared.families() else {
        return;
    };
    // The store reports its own failure.
    let stirred = families.stirred(Duration::ZERO, AT_A_TIME).await;
    for parent in stirred.unwrap_or_default() {
        shared.trees.due.mark(&parent);
    }
}
