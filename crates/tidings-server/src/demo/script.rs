//! What a simulated task is written with.

use std::time::Duration;

use tidings_bus::{EventBus, PublishError};
use tidings_protocol::{NewEvent, TaskId};

use super::{agent, build, classic, quick};

/// What is simulated.
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

    /// Between the end of one run and the start of the next.
    pub(super) fn pause(self) -> Duration {
        match self {
            Self::Classic | Self::Agent | Self::Build => Duration::from_secs(4),
            Self::Quick(_) => Duration::from_millis(fastrand::u64(1_000..6_000)),
        }
    }

    /// One run, from `task_started` to the task's end.
    pub(super) async fn run(self, script: &Script) -> Result<(), PublishError> {
        match self {
            Self::Classic => classic::run(script).await,
            Self::Agent => agent::run(script).await,
            Self::Build => build::run(script).await,
            Self::Quick(number) => quick::run(script, number).await,
        }
    }
}

/// A task of the demo, and the bus to publish its events to.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) bus: EventBus,
    pub(super) task_id: TaskId,
}

impl Script {
    /// Publishes an event of the task.
    pub(super) async fn say(&self, event: NewEvent) -> Result<(), PublishError> {
        self.bus.publish(&self.task_id, event).await.map(drop)
    }

    /// Works: lets time go by, then publishes.
    pub(super) async fn after(&self, ms: u64, event: NewEvent) -> Result<(), PublishError> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.say(event).await
    }
}
