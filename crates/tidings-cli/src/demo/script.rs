//! The building blocks of a simulated task.

use std::sync::Arc;
use std::time::Duration;

use tidings_client::protocol::{NewEvent, TaskId};

use super::stage::{Stage, StageError};
use super::{agent, build, classic, quick};

/// A simulated task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    /// Five steps of 20 %.
    Classic,
    /// An agent that calls tools and writes an answer.
    Agent,
    /// A build that fails.
    Build,
    /// One of many short tasks, by its number.
    Quick(u8),
}

impl Scenario {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let quick = (1..=quick::COUNT).map(Self::Quick);
        [Self::Classic, Self::Agent, Self::Build]
            .into_iter()
            .chain(quick)
    }

    pub(super) fn task_id(self) -> TaskId {
        let id = match self {
            Self::Classic => TaskId::new("test_001"),
            Self::Agent => TaskId::new("agent_run"),
            Self::Build => TaskId::new("build_main"),
            Self::Quick(number) => TaskId::new(format!("quick_{number:02}")),
        };
        id.expect("the ids above are of a task id's alphabet")
    }

    /// Returns the pause between the end of one run and the start of the next.
    pub(super) fn pause(self) -> Duration {
        match self {
            Self::Classic | Self::Agent | Self::Build => Duration::from_secs(4),
            Self::Quick(_) => Duration::from_millis(fastrand::u64(1_000..6_000)),
        }
    }

    /// Plays one run, from `task_started` to the task's end.
    pub(super) async fn run(self, script: &Script) -> Result<(), StageError> {
        match self {
            Self::Classic => classic::run(script).await,
            Self::Agent => agent::run(script).await,
            Self::Build => build::run(script).await,
            Self::Quick(number) => quick::run(script, number).await,
        }
    }
}

/// A task of the demo, and the stage that receives its events.
pub(super) struct Script {
    pub(super) stage: Arc<dyn Stage>,
    pub(super) task_id: TaskId,
}

impl Script {
    /// Publishes an event of the task.
    pub(super) async fn say(&self, event: NewEvent) -> Result<(), StageError> {
        self.stage.publish(&self.task_id, event).await
    }

    /// Simulates work: waits, and then publishes an event.
    pub(super) async fn after(&self, ms: u64, event: NewEvent) -> Result<(), StageError> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.say(event).await
    }
}
