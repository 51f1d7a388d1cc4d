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
    """The agent's id."""
    message: str | None
    """A message for people about the status."""
    status: Literal["idle", "working", "waiting", "error", "offline"]
    """The agent's status."""
    updated_at: str
    """When the status was reported."""

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
    """An artifact that the task has made."""

    artifact_id: str
    """The artifact's id."""
    data: Any
    """The artifact itself, if it is small."""
    media_type: str | None
    """The media type, such as `image/png`."""
    name: str | None
    """The artifact's name."""
    url: str | None
    """Where to download the artifact."""

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
    """An output of the task: text that it streams."""

    complete: bool
    """Whether the output is complete."""
    length: int
    """The length of the whole output, in UTF-8 bytes."""
    output_id: str
    """The output's id."""
    start: int
    """Where `text` begins in the whole output, in UTF-8 bytes. It is 0 unless the start was cut off; then `/api/tasks/{id}/outputs/{output_id}` returns the earlier text."""
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
    """A command that is neither rejected nor completed."""

    accepted: bool
    """Whether the task has accepted the command."""
    args: Any
    """The command's arguments."""
    by: str
    """Who sent the command."""
    command: str
    """The name of the command."""
    command_id: str
    """The id of the command."""
    requested_at: str
    """When the command was sent."""

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
    """A question that has no answer yet."""

    input_id: str
    """The id of the question."""
    prompt: str
    """The question itself."""
    requested_at: str
    """Since when it waits."""
    schema: Any
    """The form of the answer, as JSON Schema."""
    choices: list[Any] | None = field(default_factory=list)
    """The answers to choose from."""
    expires_at: str | None = None
    """When it expires; left out if it does not."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> PendingInput:
        """Reads what the server sends. Fields that are not known are ignored."""
        return PendingInput(**_known({
            "input_id": fields["input_id"],
            "prompt": fields["prompt"],
            "requested_at": fields["requested_at"],
            "schema": fields["schema"],
            "choices": fields.get("choices", _ABSENT),
            "expires_at": fields.get("expires_at", _ABSENT),
        }))


@dataclass(frozen=True, slots=True)
class StepState:
    """A step and its state."""

    ended_at: str | None
    """When the step ended."""
    name: str | None
    """The step's name."""
    parent_step_id: str | None
    """The step that contains this one."""
    started_at: str
    """When the step began."""
    state: Literal["running", "completed", "failed", "interrupted"]
    """Whether the step is running, or how it ended."""
    step_id: str
    """The step's id."""

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
    """When the call ended."""
    started_at: str
    """When the call began."""
    state: Literal["running", "completed", "failed", "interrupted"]
    """Whether the call is running, or how it ended."""
    tool: str
    """The tool's name."""
    tool_call_id: str
    """The id of the tool call."""

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
class EndedInput:
    """A question that has an answer, or has expired."""

    ended_at: str
    """Since when."""
    input_id: str
    """The question."""
    by: str | None = None
    """Who has answered it; left out if it expired."""
    value: Any = None
    """The answer; left out if it expired, and if the answer has more than 2 KiB: then the log has it."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> EndedInput:
        """Reads what the server sends. Fields that are not known are ignored."""
        return EndedInput(**_known({
            "ended_at": fields["ended_at"],
            "input_id": fields["input_id"],
            "by": fields.get("by", _ABSENT),
            "value": fields.get("value", _ABSENT),
        }))


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """A task's state: the result of applying its events up to `offset`."""

    agents: list[AgentState]
    """The task's agents, each with its last status."""
    artifacts: list[ArtifactState]
    """The task's artifacts."""
    epoch: str
    """The epoch of `offset`."""
    error: TaskError | None
    """Why the task failed."""
    finished_at: str | None
    """When the run ended."""
    message: str | None
    """What the task is doing. After a cancellation, the reason for it."""
    name: str | None
    """The task's name."""
    offset: int
    """The last event that the snapshot contains."""
    outputs: list[OutputState]
    """The task's outputs."""
    parent_task_id: str | None
    """The task that contains this one."""
    pending_commands: list[PendingCommand]
    """Requests neither rejected nor completed."""
    pending_inputs: list[PendingInput]
    """Questions without an answer."""
    progress: float | None
    """The progress in per cent."""
    progress_at: str | None
    """When the last `progress_update` was accepted."""
    result: Any
    """The result of the task."""
    run: int
    """How many times the task was started; 0 before the first time."""
    stage: str | None
    """The stage of the work."""
    stalled: bool
    """Whether the producer has been silent for longer than the lease."""
    started_at: str | None
    """When the run began."""
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    """The task's status."""
    steps: list[StepState]
    """The open steps, and the steps that ended last."""
    task_id: str
    """The task's id."""
    tool_calls: list[ToolCallState]
    """The open tool calls, and the tool calls that ended last."""
    truncated: bool
    """Whether something did not fit and was left out."""
    updated_at: str | None
    """When the last event was accepted."""
    ended_inputs: list[EndedInput] = field(default_factory=list)
    """The latest questions that were answered or have expired; left out if there are none."""
    total: float | None = None
    """The whole amount of work, from `task_started` or the last update. Left out while unknown."""

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
            "ended_inputs": [EndedInput._of(each) for each in fields.get("ended_inputs") or ()],
            "total": fields.get("total", _ABSENT),
        }))


class TaskStartedData(TypedDict, total=False):
    """Data of `task_started`."""

    lease_ms: int | None
    """The lease in milliseconds. After one lease of silence the task stalls; after a second one it fails."""
    name: str | None
    """A name for people."""
    parent_task_id: str | None
    """The task that contains this one."""
    total: float | None
    """The whole amount of work, in any unit. `current` in later updates uses the same unit."""


class ProgressUpdateData(TypedDict, total=False):
    """Data of `progress_update`. It has `progress`, `current`, or both."""

    current: float | None
    """The amount of work done, in the unit of `total`."""
    message: str | None
    """What the task is doing, for people."""
    progress: float | None
    """The progress in per cent, 0–100."""
    stage: str | None
    """The stage of the work."""
    total: float | None
    """The whole amount of work. If left out, the amount from `task_started` holds."""


class _StepStartedDataRequired(TypedDict):
    """Data of `step_started`."""

    step_id: str
    """The step's id."""


class StepStartedData(_StepStartedDataRequired, total=False):
    """Data of `step_started`."""

    name: str | None
    """A name for people."""
    parent_step_id: str | None
    """The step that contains this one."""


class _StepCompletedDataRequired(TypedDict):
    """Data of `step_completed`."""

    step_id: str
    """The step's id."""


class StepCompletedData(_StepCompletedDataRequired, total=False):
    """Data of `step_completed`."""

    result: Any
    """The result of the step."""


class StepFailedData(TypedDict):
    """Data of `step_failed`."""

    error: str | dict[str, Any]
    """Why the step failed."""
    step_id: str
    """The step's id."""


class TaskCompletedData(TypedDict, total=False):
    """Data of `task_completed`."""

    result: Any
    """The result of the task."""


class TaskFailedData(TypedDict):
    """Data of `task_failed`."""

    error: str | dict[str, Any]
    """Why the task failed."""


class TaskCancelledData(TypedDict, total=False):
    """Data of `task_cancelled`."""

    reason: str | None
    """Why the task was cancelled."""


class _AgentStatusChangeDataRequired(TypedDict):
    """Data of `agent_status_change`."""

    agent_id: str
    """The agent's id."""
    status: Literal["idle", "working", "waiting", "error", "offline"]
    """The agent's new status."""


class AgentStatusChangeData(_AgentStatusChangeDataRequired, total=False):
    """Data of `agent_status_change`."""

    message: str | None
    """A message for people about the status."""


class _ToolCallStartedDataRequired(TypedDict):
    """Data of `tool_call_started`."""

    tool: str
    """The tool's name."""
    tool_call_id: str
    """The id of the tool call."""


class ToolCallStartedData(_ToolCallStartedDataRequired, total=False):
    """Data of `tool_call_started`."""

    input: Any
    """The tool's input."""


class _ToolCallCompletedDataRequired(TypedDict):
    """Data of `tool_call_completed`."""

    tool_call_id: str
    """The id of the tool call."""


class ToolCallCompletedData(_ToolCallCompletedDataRequired, total=False):
    """Data of `tool_call_completed`."""

    duration_ms: float | None
    """The duration of the call in milliseconds."""
    output: Any
    """The tool's output."""


class ToolCallFailedData(TypedDict):
    """Data of `tool_call_failed`."""

    error: str | dict[str, Any]
    """Why the call failed."""
    tool_call_id: str
    """The id of the tool call."""


class OutputDeltaData(TypedDict):
    """Data of `output_delta`."""

    output_id: str
    """The output that the text belongs to."""
    text: str
    """The text to append to the output."""


class _OutputCompletedDataRequired(TypedDict):
    """Data of `output_completed`."""

    output_id: str
    """The output's id."""


class OutputCompletedData(_OutputCompletedDataRequired, total=False):
    """Data of `output_completed`."""

    text: str | None
    """The whole text of the output. If left out, the text is that of the deltas."""


class _ArtifactDataRequired(TypedDict):
    """Data of `artifact`."""

    artifact_id: str
    """The artifact's id. A later event with the same id replaces the artifact."""


class ArtifactData(_ArtifactDataRequired, total=False):
    """Data of `artifact`."""

    data: Any
    """The artifact itself, if it is small."""
    media_type: str | None
    """The media type, such as `image/png`."""
    name: str | None
    """A name for people."""
    url: str | None
    """Where to download the artifact."""


class _InputRequiredDataRequired(TypedDict):
    """Data of `input_required`."""

    input_id: str
    """The id of the question."""
    prompt: str
    """The question itself."""


class InputRequiredData(_InputRequiredDataRequired, total=False):
    """Data of `input_required`."""

    choices: list[Any] | None
    """The answers to choose from: 1 to 64 values, 16 KiB together."""
    expires_in_ms: int | None
    """Without an answer for so many milliseconds the question expires."""
    schema: Any
    """What the answer is to look like, as JSON Schema; at most 16 KiB."""


class InputProvidedData(TypedDict):
    """Data of `input_provided`."""

    by: str
    """Who gave the answer."""
    input_id: str
    """The id of the question."""
    value: Any
    """The answer."""


class InputExpiredData(TypedDict):
    """Data of `input_expired`, which the bus makes: the question's time is up, and nobody has answered it."""

    input_id: str
    """The question."""


class _LogDataRequired(TypedDict):
    """Data of `log`."""

    message: str
    """One log line, or several."""


class LogData(_LogDataRequired, total=False):
    """Data of `log`."""

    level: str | None
    """The severity, in the application's own words."""
    stream: Literal["stdout", "stderr"] | None
    """The stream on which the line was written."""


class _CommandRequestedDataRequired(TypedDict):
    """Data of `command_requested`."""

    by: str
    """Who sent the command."""
    command: str
    """The name of the command: `cancel`, `pause`, `resume`, or any other that the task's agent understands."""
    command_id: str
    """The id of the command."""


class CommandRequestedData(_CommandRequestedDataRequired, total=False):
    """Data of `command_requested`."""

    args: Any
    """The command's arguments."""


class CommandAcceptedData(TypedDict):
    """Data of `command_accepted`."""

    command_id: str
    """The id of the command."""


class CommandRejectedData(TypedDict):
    """Data of `command_rejected`."""

    command_id: str
    """The id of the command."""
    reason: str
    """Why the task will not do it."""


class _CommandCompletedDataRequired(TypedDict):
    """Data of `command_completed`."""

    command_id: str
    """The id of the command."""


class CommandCompletedData(_CommandCompletedDataRequired, total=False):
    """Data of `command_completed`."""

    result: Any
    """The result of the command."""


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
    InputExpiredData,
    LogData,
    CommandRequestedData,
    CommandAcceptedData,
    CommandRejectedData,
    CommandCompletedData,
]
