"""A task's state, and the data of the standard events.

Generated from the folder `docs/schema` by `generate.py`: do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, Union

_ABSENT: Any = object()


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not _ABSENT}


def _maybe(read: Any, value: Any) -> Any:
    return None if value is None else read(value)


@dataclass(frozen=True, slots=True)
class AgentState:
    """An agent and its last status."""

    agent_id: str
    """The agent."""
    message: str | None
    """More about that."""
    status: Literal["idle", "working", "waiting", "error", "offline"]
    """What it does."""
    updated_at: str
    """Since when."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> AgentState:
        """Reads what the server sends. Fields that are not known are ignored."""
        return AgentState(**_known({
            "agent_id": fields["agent_id"],
            "message": fields["message"],
            "status": fields["status"],
            "updated_at": fields["updated_at"],
        }))


@dataclass(frozen=True, slots=True)
class ArtifactState:
    """A thing that the task has made."""

    artifact_id: str
    """The artifact."""
    data: Any
    """The thing itself, if small."""
    media_type: str | None
    """What it is, such as `image/png`."""
    name: str | None
    """What it is called."""
    url: str | None
    """Where it is to be had."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> ArtifactState:
        """Reads what the server sends. Fields that are not known are ignored."""
        return ArtifactState(**_known({
            "artifact_id": fields["artifact_id"],
            "data": fields["data"],
            "media_type": fields["media_type"],
            "name": fields["name"],
            "url": fields["url"],
        }))


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task failed."""

    message: str
    code: str | None = None

    @staticmethod
    def _of(fields: dict[str, Any]) -> TaskError:
        """Reads what the server sends. Fields that are not known are ignored."""
        return TaskError(**_known({
            "message": fields["message"],
            "code": fields.get("code", _ABSENT),
        }))


@dataclass(frozen=True, slots=True)
class OutputState:
    """A text that the task has put out."""

    complete: bool
    """No more will come."""
    length: int
    """The length of the whole output, in UTF-8 bytes."""
    output_id: str
    """The output."""
    start: int
    """Where `text` begins in the whole output, in UTF-8 bytes: 0 while all of it is here. What comes before can be read at `/api/tasks/{id}/outputs/{output_id}`."""
    text: str
    """The output from `start` to its end."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> OutputState:
        """Reads what the server sends. Fields that are not known are ignored."""
        return OutputState(**_known({
            "complete": fields["complete"],
            "length": fields["length"],
            "output_id": fields["output_id"],
            "start": fields["start"],
            "text": fields["text"],
        }))


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """A request neither rejected nor completed."""

    accepted: bool
    """The task has said that it will."""
    args: Any
    """With what."""
    by: str
    """Who asks."""
    command: str
    """What to do."""
    command_id: str
    """The request."""
    requested_at: str
    """Since when it waits."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> PendingCommand:
        """Reads what the server sends. Fields that are not known are ignored."""
        return PendingCommand(**_known({
            "accepted": fields["accepted"],
            "args": fields["args"],
            "by": fields["by"],
            "command": fields["command"],
            "command_id": fields["command_id"],
            "requested_at": fields["requested_at"],
        }))


@dataclass(frozen=True, slots=True)
class PendingInput:
    """A question without an answer."""

    input_id: str
    """The question."""
    prompt: str
    """What to ask."""
    requested_at: str
    """Since when it waits."""
    schema: Any
    """What the answer is to look like, as JSON Schema."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> PendingInput:
        """Reads what the server sends. Fields that are not known are ignored."""
        return PendingInput(**_known({
            "input_id": fields["input_id"],
            "prompt": fields["prompt"],
            "requested_at": fields["requested_at"],
            "schema": fields["schema"],
        }))


@dataclass(frozen=True, slots=True)
class StepState:
    """A step and its state."""

    ended_at: str | None
    """When it ended."""
    name: str | None
    """What it is called."""
    parent_step_id: str | None
    """The step that it is a part of."""
    started_at: str
    """When it began."""
    state: Literal["running", "completed", "failed", "interrupted"]
    """Whether it is open, or how it ended."""
    step_id: str
    """The step."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> StepState:
        """Reads what the server sends. Fields that are not known are ignored."""
        return StepState(**_known({
            "ended_at": fields["ended_at"],
            "name": fields["name"],
            "parent_step_id": fields["parent_step_id"],
            "started_at": fields["started_at"],
            "state": fields["state"],
            "step_id": fields["step_id"],
        }))


@dataclass(frozen=True, slots=True)
class ToolCallState:
    """A tool call and its state."""

    ended_at: str | None
    """When it ended."""
    started_at: str
    """When it began."""
    state: Literal["running", "completed", "failed", "interrupted"]
    """Whether it is open, or how it ended."""
    tool: str
    """The tool's name."""
    tool_call_id: str
    """The call."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> ToolCallState:
        """Reads what the server sends. Fields that are not known are ignored."""
        return ToolCallState(**_known({
            "ended_at": fields["ended_at"],
            "started_at": fields["started_at"],
            "state": fields["state"],
            "tool": fields["tool"],
            "tool_call_id": fields["tool_call_id"],
        }))


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """A task's state: the reduction of its events up to `offset`."""

    agents: list[AgentState]
    """Its agents, each with its last status."""
    artifacts: list[ArtifactState]
    """Things that it has made."""
    epoch: str
    """The numbering of `offset`."""
    error: TaskError | None
    """Why it failed."""
    finished_at: str | None
    """When the run ended."""
    message: str | None
    """What it is doing; after a cancellation, the reason."""
    name: str | None
    """What it is called."""
    offset: int
    """The last event that is counted in."""
    outputs: list[OutputState]
    """Texts that it has put out."""
    parent_task_id: str | None
    """The task that it is a part of."""
    pending_commands: list[PendingCommand]
    """Requests neither rejected nor completed."""
    pending_inputs: list[PendingInput]
    """Questions without an answer."""
    progress: float | None
    """How far it is, in per cent."""
    progress_at: str | None
    """When the last `progress_update` came."""
    result: Any
    """What came of it."""
    run: int
    """How often it was started: 0 before the first time."""
    stage: str | None
    """The part of the work that it is in."""
    stalled: bool
    """Nothing was heard from its producer within the lease."""
    started_at: str | None
    """When the run began."""
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    """Where it is in its life."""
    steps: list[StepState]
    """Steps that are open, and the latest that ended."""
    task_id: str
    """The task."""
    tool_calls: list[ToolCallState]
    """Tool calls that are open, and the latest that ended."""
    truncated: bool
    """Something did not fit and was left out."""
    updated_at: str | None
    """When the last event came."""
    total: float | None = None
    """How much there is to do, as `task_started` or the last update said; left out while unknown."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> TaskSnapshot:
        """Reads what the server sends. Fields that are not known are ignored."""
        return TaskSnapshot(**_known({
            "agents": [AgentState._of(each) for each in fields.get("agents") or ()],
            "artifacts": [ArtifactState._of(each) for each in fields.get("artifacts") or ()],
            "epoch": fields["epoch"],
            "error": _maybe(TaskError._of, fields.get("error")),
            "finished_at": fields["finished_at"],
            "message": fields["message"],
            "name": fields["name"],
            "offset": fields["offset"],
            "outputs": [OutputState._of(each) for each in fields.get("outputs") or ()],
            "parent_task_id": fields["parent_task_id"],
            "pending_commands": [PendingCommand._of(each) for each in fields.get("pending_commands") or ()],
            "pending_inputs": [PendingInput._of(each) for each in fields.get("pending_inputs") or ()],
            "progress": fields["progress"],
            "progress_at": fields["progress_at"],
            "result": fields["result"],
            "run": fields["run"],
            "stage": fields["stage"],
            "stalled": fields["stalled"],
            "started_at": fields["started_at"],
            "status": fields["status"],
            "steps": [StepState._of(each) for each in fields.get("steps") or ()],
            "task_id": fields["task_id"],
            "tool_calls": [ToolCallState._of(each) for each in fields.get("tool_calls") or ()],
            "truncated": fields["truncated"],
            "updated_at": fields["updated_at"],
            "total": fields.get("total", _ABSENT),
        }))


class TaskStartedData(TypedDict, total=False):
    """Data of `task_started`."""

    lease_ms: int | None
    """Silence for so many milliseconds makes the task stall; for as long again, fail."""
    name: str | None
    """What to call the task."""
    parent_task_id: str | None
    """The task that this one is a part of."""
    total: float | None
    """How much there is to do, in any unit; `current` in later updates counts in it."""


class ProgressUpdateData(TypedDict, total=False):
    """Data of `progress_update`: `progress` or `current`, or both."""

    current: float | None
    """How much is done, in the unit of `total`."""
    message: str | None
    """What is being done, for people."""
    progress: float | None
    """Per cent, 0–100."""
    stage: str | None
    """The part of the work that it is in."""
    total: float | None
    """How much there is to do; else as `task_started` said."""


class _StepStartedDataRequired(TypedDict):
    """Data of `step_started`."""

    step_id: str
    """The step."""


class StepStartedData(_StepStartedDataRequired, total=False):
    """Data of `step_started`."""

    name: str | None
    """What to call it."""
    parent_step_id: str | None
    """The step that this one is a part of."""


class _StepCompletedDataRequired(TypedDict):
    """Data of `step_completed`."""

    step_id: str
    """The step."""


class StepCompletedData(_StepCompletedDataRequired, total=False):
    """Data of `step_completed`."""

    result: Any
    """What came of it."""


class StepFailedData(TypedDict):
    """Data of `step_failed`."""

    error: str | dict[str, Any]
    """Why."""
    step_id: str
    """The step."""


class TaskCompletedData(TypedDict, total=False):
    """Data of `task_completed`."""

    result: Any
    """What came of it."""


class TaskFailedData(TypedDict):
    """Data of `task_failed`."""

    error: str | dict[str, Any]
    """Why."""


class TaskCancelledData(TypedDict, total=False):
    """Data of `task_cancelled`."""

    reason: str | None
    """Why."""


class _AgentStatusChangeDataRequired(TypedDict):
    """Data of `agent_status_change`."""

    agent_id: str
    """The agent."""
    status: Literal["idle", "working", "waiting", "error", "offline"]
    """What it does now."""


class AgentStatusChangeData(_AgentStatusChangeDataRequired, total=False):
    """Data of `agent_status_change`."""

    message: str | None
    """More about that, for people."""


class _ToolCallStartedDataRequired(TypedDict):
    """Data of `tool_call_started`."""

    tool: str
    """The tool's name."""
    tool_call_id: str
    """The call."""


class ToolCallStartedData(_ToolCallStartedDataRequired, total=False):
    """Data of `tool_call_started`."""

    input: Any
    """What it was given."""


class _ToolCallCompletedDataRequired(TypedDict):
    """Data of `tool_call_completed`."""

    tool_call_id: str
    """The call."""


class ToolCallCompletedData(_ToolCallCompletedDataRequired, total=False):
    """Data of `tool_call_completed`."""

    duration_ms: float | None
    """How long it took, in milliseconds."""
    output: Any
    """What the tool answered."""


class ToolCallFailedData(TypedDict):
    """Data of `tool_call_failed`."""

    error: str | dict[str, Any]
    """Why."""
    tool_call_id: str
    """The call."""


class OutputDeltaData(TypedDict):
    """Data of `output_delta`."""

    output_id: str
    """The output that the text belongs to."""
    text: str
    """What comes after the text so far."""


class _OutputCompletedDataRequired(TypedDict):
    """Data of `output_completed`."""

    output_id: str
    """The output."""


class OutputCompletedData(_OutputCompletedDataRequired, total=False):
    """Data of `output_completed`."""

    text: str | None
    """Its whole text; else it is what the deltas made."""


class _ArtifactDataRequired(TypedDict):
    """Data of `artifact`."""

    artifact_id: str
    """The artifact; a later event with the same id replaces it."""


class ArtifactData(_ArtifactDataRequired, total=False):
    """Data of `artifact`."""

    data: Any
    """The thing itself, if small."""
    media_type: str | None
    """What it is, such as `image/png`."""
    name: str | None
    """What to call it."""
    url: str | None
    """Where it is to be had."""


class _InputRequiredDataRequired(TypedDict):
    """Data of `input_required`."""

    input_id: str
    """The question."""
    prompt: str
    """What to ask."""


class InputRequiredData(_InputRequiredDataRequired, total=False):
    """Data of `input_required`."""

    schema: Any
    """What the answer is to look like, as JSON Schema."""


class InputProvidedData(TypedDict):
    """Data of `input_provided`."""

    by: str
    """Who gave it."""
    input_id: str
    """The question."""
    value: Any
    """The answer."""


class _LogDataRequired(TypedDict):
    """Data of `log`."""

    message: str
    """The line, or lines."""


class LogData(_LogDataRequired, total=False):
    """Data of `log`."""

    level: str | None
    """How grave it is, in the application's words."""
    stream: Literal["stdout", "stderr"] | None
    """Where it was written."""


class _CommandRequestedDataRequired(TypedDict):
    """Data of `command_requested`."""

    by: str
    """Who asks."""
    command: str
    """What to do: `cancel`, `pause`, `resume`, or anything the task's agent understands."""
    command_id: str
    """The request."""


class CommandRequestedData(_CommandRequestedDataRequired, total=False):
    """Data of `command_requested`."""

    args: Any
    """With what."""


class CommandAcceptedData(TypedDict):
    """Data of `command_accepted`."""

    command_id: str
    """The request."""


class CommandRejectedData(TypedDict):
    """Data of `command_rejected`."""

    command_id: str
    """The request."""
    reason: str
    """Why not."""


class _CommandCompletedDataRequired(TypedDict):
    """Data of `command_completed`."""

    command_id: str
    """The request."""


class CommandCompletedData(_CommandCompletedDataRequired, total=False):
    """Data of `command_completed`."""

    result: Any
    """What came of it."""


#: The data of a standard event.
EventData = Union[
    TaskStartedData,
    ProgressUpdateData,
    StepStartedData,
    StepCompletedData,
    StepFailedData,
    TaskCompletedData,
    TaskFailedData,
    TaskCancelledData,
    AgentStatusChangeData,
    ToolCallStartedData,
    ToolCallCompletedData,
    ToolCallFailedData,
    OutputDeltaData,
    OutputCompletedData,
    ArtifactData,
    InputRequiredData,
    InputProvidedData,
    LogData,
    CommandRequestedData,
    CommandAcceptedData,
    CommandRejectedData,
    CommandCompletedData,
]
