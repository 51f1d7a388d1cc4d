//! Snapshots: a task's state, kept current event by event.

mod apply;
mod bound;
mod children;
mod entries;
mod number;
mod weight;

use serde::{Deserialize, Serialize};

pub(crate) use bound::is_clipped;
pub use bound::{MAX_ENDED, MAX_ENDED_INPUTS, MAX_ENTRIES, MAX_SNAPSHOT_BYTES, MAX_TEXT_BYTES};
pub use children::ChildrenState;
pub use entries::{
    AgentState, ArtifactState, EndedInput, ItemState, OutputState, PendingCommand, PendingInput,
    StepState, ToolCallState, UnknownItemState,
};
use weight::Weight;

use crate::{
    Epoch, EventType, InvalidTransition, Json, Offset, TaskError, TaskId, TaskStatus, Timestamp,
};

/// A task's state: the result of applying its events up to [`offset`](Self::offset).
///
/// A snapshot never has more than [`MAX_SNAPSHOT_BYTES`] as JSON. If it would be larger, content is
/// left out in this order: the start of outputs' texts, inline data of artifacts, the result, then
/// the oldest entries. [`truncated`](Self::truncated) says so. The state depends only on the
/// events. It does not depend on when or where they were applied, or on whether adjacent events
/// were [merged](crate::Merger).
///
/// ```
/// use tidings_protocol::{Epoch, NewEvent, Offset, Payload, TaskId, TaskSnapshot, Timestamp};
///
/// let mut snapshot = TaskSnapshot::new(TaskId::new("build-7")?, Epoch::new("e1")?);
/// let mut offset = Offset::ZERO;
/// for event in [NewEvent::task_started("Build"), NewEvent::progress(40.0, "linking")] {
///     let payload = Payload::parse(&event.event_type, &event.data)?;
///     snapshot.check(&event.event_type)?;
///     offset = offset.next();
///     snapshot.apply(&payload, offset, Timestamp::from_millis(1_000));
/// }
/// assert_eq!(snapshot.progress, Some(40.0));
/// assert_eq!(snapshot.offset.get(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TaskSnapshot {
    /// The task's id.
    pub task_id: TaskId,
    /// The task's status.
    pub status: TaskStatus,
    /// How many times the task was started; 0 before the first time.
    pub run: u32,
    /// The task's name.
    #[serde(default)]
    pub name: Option<String>,
    /// The task that contains this one.
    #[serde(default)]
    pub parent_task_id: Option<TaskId>,
    /// How much the task weighs in its parent's progress; 1 if left out.
    #[serde(default, with = "number", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub weight: Option<f64>,
    /// The progress in per cent: as the task reports it, or of its children if it
    /// reports none.
    #[serde(default, with = "number")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub progress: Option<f64>,
    /// The whole amount of work, from `task_started` or the last update. Left out while unknown.
    #[serde(default, with = "number", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub total: Option<f64>,
    /// A text about the task's current work. After a cancellation, the reason for it.
    #[serde(default)]
    pub message: Option<String>,
    /// The stage of the work.
    #[serde(default)]
    pub stage: Option<String>,
    /// When the run began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the last event was accepted.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// When the last `progress_update` was accepted.
    #[serde(default)]
    pub progress_at: Option<Timestamp>,
    /// When the run ended.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// Whether the producer has been silent for longer than the lease.
    #[serde(default)]
    pub stalled: bool,
    /// The task's agents, each with its last status.
    #[serde(default)]
    pub agents: Vec<AgentState>,
    /// The open steps, and the steps that ended last.
    #[serde(default)]
    pub steps: Vec<StepState>,
    /// The open tool calls, and the tool calls that ended last.
    #[serde(default)]
    pub tool_calls: Vec<ToolCallState>,
    /// Questions without an answer.
    #[serde(default)]
    pub pending_inputs: Vec<PendingInput>,
    /// The latest questions that were answered or have expired; left out if there
    /// are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_inputs: Vec<EndedInput>,
    /// Requests neither rejected nor completed.
    #[serde(default)]
    pub pending_commands: Vec<PendingCommand>,
    /// The task's outputs.
    #[serde(default)]
    pub outputs: Vec<OutputState>,
    /// The task's artifacts.
    #[serde(default)]
    pub artifacts: Vec<ArtifactState>,
    /// The state of the task's children. Left out if no task names this one as its
    /// parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children: Option<ChildrenState>,
    /// The result of the task.
    #[serde(default)]
    pub result: Option<Json>,
    /// Why the task failed.
    #[serde(default)]
    pub error: Option<TaskError>,
    /// The epoch of `offset`.
    pub epoch: Epoch,
    /// The last event that the snapshot contains.
    pub offset: Offset,
    /// Whether something did not fit and was left out.
    #[serde(default)]
    pub truncated: bool,
    /// The number of bytes of the lists and the result as JSON.
    #[serde(skip)]
    bytes: Weight,
}

impl TaskSnapshot {
    /// Creates the state of a task without events.
    pub fn new(task_id: TaskId, epoch: Epoch) -> Self {
        Self {
            task_id,
            status: TaskStatus::Pending,
            run: 0,
            name: None,
            parent_task_id: None,
            weight: None,
            progress: None,
            total: None,
            message: None,
            stage: None,
            started_at: None,
            updated_at: None,
            progress_at: None,
            finished_at: None,
            stalled: false,
            agents: Vec::new(),
            steps: Vec::new(),
            tool_calls: Vec::new(),
            pending_inputs: Vec::new(),
            ended_inputs: Vec::new(),
            pending_commands: Vec::new(),
            outputs: Vec::new(),
            artifacts: Vec::new(),
            children: None,
            result: None,
            error: None,
            epoch,
            offset: Offset::ZERO,
            truncated: false,
            bytes: Weight::default(),
        }
    }

    /// Checks whether the task's status allows the event. Does not change the state.
    ///
    /// # Errors
    /// Returns an error if it does not: see [`TaskStatus::allows`].
    pub fn check(&self, event_type: &EventType) -> Result<(), InvalidTransition> {
        if self.status.allows(event_type) {
            Ok(())
        } else {
            Err(InvalidTransition {
                status: self.status,
                event_type: event_type.clone(),
            })
        }
    }
}
