//! A task's state, kept current event by event.

mod apply;
mod bound;
mod entries;
mod number;
mod weight;

use serde::{Deserialize, Serialize};

pub(crate) use bound::is_clipped;
pub use bound::{MAX_ENDED, MAX_ENDED_INPUTS, MAX_ENTRIES, MAX_SNAPSHOT_BYTES, MAX_TEXT_BYTES};
pub use entries::{
    AgentState, ArtifactState, EndedInput, ItemState, OutputState, PendingCommand, PendingInput,
    StepState, ToolCallState, UnknownItemState,
};
use weight::Weight;

use crate::{
    Epoch, EventType, InvalidTransition, Json, Offset, TaskError, TaskId, TaskStatus, Timestamp,
};

/// A task's state: the reduction of its events up to [`offset`](Self::offset).
///
/// Never more than [`MAX_SNAPSHOT_BYTES`] as JSON. What does not fit goes:
/// text of outputs first, of which the end stays, then artifacts' inline data,
/// then the result, then the oldest entries; [`truncated`](Self::truncated)
/// says so. The state depends on the events alone, not on when or where they
/// were applied, nor on whether adjacent ones were [merged](crate::Merger).
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
    /// The task.
    pub task_id: TaskId,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// How often it was started: 0 before the first time.
    pub run: u32,
    /// What it is called.
    #[serde(default)]
    pub name: Option<String>,
    /// The task that it is a part of.
    #[serde(default)]
    pub parent_task_id: Option<TaskId>,
    /// How far it is, in per cent.
    #[serde(default, with = "number")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub progress: Option<f64>,
    /// How much there is to do, as `task_started` or the last update said; left
    /// out while unknown.
    #[serde(default, with = "number", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<f64>"))]
    pub total: Option<f64>,
    /// What it is doing; after a cancellation, the reason.
    #[serde(default)]
    pub message: Option<String>,
    /// The part of the work that it is in.
    #[serde(default)]
    pub stage: Option<String>,
    /// When the run began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the last event came.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// When the last `progress_update` came.
    #[serde(default)]
    pub progress_at: Option<Timestamp>,
    /// When the run ended.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// Nothing was heard from its producer within the lease.
    #[serde(default)]
    pub stalled: bool,
    /// Its agents, each with its last status.
    #[serde(default)]
    pub agents: Vec<AgentState>,
    /// Steps that are open, and the latest that ended.
    #[serde(default)]
    pub steps: Vec<StepState>,
    /// Tool calls that are open, and the latest that ended.
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
    /// Texts that it has put out.
    #[serde(default)]
    pub outputs: Vec<OutputState>,
    /// Things that it has made.
    #[serde(default)]
    pub artifacts: Vec<ArtifactState>,
    /// What came of it.
    #[serde(default)]
    pub result: Option<Json>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<TaskError>,
    /// The numbering of `offset`.
    pub epoch: Epoch,
    /// The last event that is counted in.
    pub offset: Offset,
    /// Something did not fit and was left out.
    #[serde(default)]
    pub truncated: bool,
    /// Bytes of what can grow, as JSON.
    #[serde(skip)]
    weight: Weight,
}

impl TaskSnapshot {
    /// A task of which nothing is known yet.
    pub fn new(task_id: TaskId, epoch: Epoch) -> Self {
        Self {
            task_id,
            status: TaskStatus::Pending,
            run: 0,
            name: None,
            parent_task_id: None,
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
            result: None,
            error: None,
            epoch,
            offset: Offset::ZERO,
            truncated: false,
            weight: Weight::default(),
        }
    }

    /// Whether the event makes sense in this state. Changes nothing.
    ///
    /// # Errors
    /// It does not: see [`TaskStatus::allows`].
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
