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
    """An agent and its last status.

    Attributes:
        agent_id (str): The agent's id.
        message (str | None): A message for people about the status.
        status (Literal["idle", "working", "waiting", "error", "offline"]): The agent's status.
        updated_at (str): When the status was reported.
    """

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
    """An artifact that the task has made.

    Attributes:
        artifact_id (str): The artifact's id.
        data (Any): The artifact itself, if it is small.
        media_type (str | None): The media type, such as `image/png`.
        name (str | None): The artifact's name.
        url (str | None): Where to download the artifact.
    """

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
    """Why a task failed.

    Attributes:
        message (str)
        code (str | None)
    """

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
    """An output of the task: text that it streams.

    Attributes:
        complete (bool): Whether the output is complete.
        length (int): The length of the whole output, in UTF-8 bytes.
        output_id (str): The output's id.
        start (int): Where `text` begins in the whole output, in UTF-8 bytes. It is 0 unless the start was cut off; then `/api/tasks/{id}/outputs/{output_id}` returns the earlier text.
        text (str): The output from `start` to its end.
    """

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
    """A command that is neither rejected nor completed.

    Attributes:
        accepted (bool): Whether the task has accepted the command.
        args (Any): The command's arguments.
        by (str): The sender of the command.
        command (str): The name of the command.
        command_id (str): The id of the command.
        requested_at (str): When the command was sent.
    """

    accepted: bool
    """Whether the task has accepted the command."""
    args: Any
    """The command's arguments."""
    by: str
    """The sender of the command."""
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
    """A question that has no answer yet.

    Attributes:
        input_id (str): The id of the question.
        prompt (str): The question itself.
        requested_at (str): Since when it waits.
        schema (Any): The form of the answer, as JSON Schema.
        choices (list[Any] | None): The answers to choose from.
        expires_at (str | None): When it expires; left out if it does not.
    """

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
    """A step and its state.

    Attributes:
        ended_at (str | None): When the step ended.
        name (str | None): The step's name.
        parent_step_id (str | None): The step that contains this one.
        started_at (str): When the step began.
        state (Literal["running", "completed", "failed", "interrupted"]): Whether the step is running, or how it ended.
        step_id (str): The step's id.
    """

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
    """A tool call and its state.

    Attributes:
        ended_at (str | None): When the call ended.
        started_at (str): When the call began.
        state (Literal["running", "completed", "failed", "interrupted"]): Whether the call is running, or how it ended.
        tool (str): The tool's name.
        tool_call_id (str): The id of the tool call.
    """

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
class ChildrenState:
    """The state of all children of a task. A child is a task that names it as its `parent_task_id`. Children that the reader may not watch count, too.

    Attributes:
        cancelled (int): How many children were cancelled.
        completed (int): How many children have completed.
        failed (int): How many children have failed.
        pending (int): How many children are pending.
        progress (float | None): The progress of all children in per cent, each with its `weight`. Null if none has a weight.
        running (int): How many children are running.
        updated_at (str): When this was said last.
    """

    cancelled: int
    """How many children were cancelled."""
    completed: int
    """How many children have completed."""
    failed: int
    """How many children have failed."""
    pending: int
    """How many children are pending."""
    progress: float | None
    """The progress of all children in per cent, each with its `weight`. Null if none has a weight."""
    running: int
    """How many children are running."""
    updated_at: str
    """When this was said last."""

    @staticmethod
    def _of(fields: dict[str, Any]) -> ChildrenState:
        """Reads what the server sends. Fields that are not known are ignored."""
        return ChildrenState(**_known({
            "cancelled": fields["cancelled"],
            "completed": fields["completed"],
            "failed": fields["failed"],
            "pending": fields["pending"],
            "progress": fields["progress"],
            "running": fields["running"],
            "updated_at": fields["updated_at"],
        }))


@dataclass(frozen=True, slots=True)
class EndedInput:
    """A question that has an answer, or has expired.

    Attributes:
        ended_at (str): Since when.
        input_id (str): The question.
        by (str | None): The person or program that answered; left out if the question expired.
        value (Any): The answer. Left out if the question expired, or if the answer has more than 2 KiB. The log has an answer of any size.
    """

    ended_at: str
    """Since when."""
    input_id: str
    """The question."""
    by: str | None = None
    """The person or program that answered; left out if the question expired."""
    value: Any = None
    """The answer. Left out if the question expired, or if the answer has more than 2 KiB. The log has an answer of any size."""

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
    """A task's state: the result of applying its events up to `offset`.

    Attributes:
        agents (list[AgentState]): The task's agents, each with its last status.
        artifacts (list[ArtifactState]): The task's artifacts.
        epoch (str): The epoch of `offset`.
        error (TaskError | None): Why the task failed.
        finished_at (str | None): When the run ended.
        message (str | None): A text about the task's current work. After a cancellation, the reason for it.
        name (str | None): The task's name.
        offset (int): The last event that the snapshot contains.
        outputs (list[OutputState]): The task's outputs.
        parent_task_id (str | None): The task that contains this one.
        pending_commands (list[PendingCommand]): Requests neither rejected nor completed.
        pending_inputs (list[PendingInput]): Questions without an answer.
        progress (float | None): The progress in per cent: as the task reports it, or of its children if it reports none.
        progress_at (str | None): When the last `progress_update` was accepted.
        result (Any): The result of the task.
        run (int): How many times the task was started; 0 before the first time.
        stage (str | None): The stage of the work.
        stalled (bool): Whether the producer has been silent for longer than the lease.
        started_at (str | None): When the run began.
        status (Literal["pending", "running", "completed", "failed", "cancelled"]): The task's status.
        steps (list[StepState]): The open steps, and the steps that ended last.
        task_id (str): The task's id.
        tool_calls (list[ToolCallState]): The open tool calls, and the tool calls that ended last.
        truncated (bool): Whether something did not fit and was left out.
        updated_at (str | None): When the last event was accepted.
        children (ChildrenState | None): The state of the task's children. Left out if no task names this one as its parent.
        ended_inputs (list[EndedInput]): The latest questions that were answered or have expired; left out if there are none.
        total (float | None): The whole amount of work, from `task_started` or the last update. Left out while unknown.
        weight (float | None): How much the task weighs in its parent's progress; 1 if left out.
    """

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
    """A text about the task's current work. After a cancellation, the reason for it."""
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
    """The progress in per cent: as the task reports it, or of its children if it reports none."""
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
    children: ChildrenState | None = None
    """The state of the task's children. Left out if no task names this one as its parent."""
    ended_inputs: list[EndedInput] = field(default_factory=list)
    """The latest questions that were answered or have expired; left out if there are none."""
    total: float | None = None
    """The whole amount of work, from `task_started` or the last update. Left out while unknown."""
    weight: float | None = None
    """How much the task weighs in its parent's progress; 1 if left out."""

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
            "children": _maybe(ChildrenState._of, fields.get("children")),
            "ended_inputs": [EndedInput._of(each) for each in fields.get("ended_inputs") or ()],
            "total": fields.get("total", _ABSENT),
            "weight": fields.get("weight", _ABSENT),
        }))


class TaskStartedData(TypedDict, total=False):
    """Data of `task_started`.

    Attributes:
        lease_ms (int | None): The lease in milliseconds. After one lease of silence the task stalls; after a second one it fails.
        name (str | None): A name for people.
        parent_task_id (str | None): The task that contains this one.
        total (float | None): The whole amount of work, in any unit. `current` in later updates uses the same unit.
        weight (float | None): How much the task weighs in its parent's progress; 1 if left out. Allowed are 0, and 0.001 to 1,000,000. Weights are rounded to thousandths.
    """

    lease_ms: int | None
    """The lease in milliseconds. After one lease of silence the task stalls; after a second one it fails."""
    name: str | None
    """A name for people."""
    parent_task_id: str | None
    """The task that contains this one."""
    total: float | None
    """The whole amount of work, in any unit. `current` in later updates uses the same unit."""
    weight: float | None
    """How much the task weighs in its parent's progress; 1 if left out. Allowed are 0, and 0.001 to 1,000,000. Weights are rounded to thousandths."""


class ProgressUpdateData(TypedDict, total=False):
    """Data of `progress_update`. It has `progress`, `current`, or both.

    Attributes:
        current (float | None): The amount of work done, in the unit of `total`.
        message (str | None): A text for people about the task's current work.
        progress (float | None): The progress in per cent, 0–100.
        stage (str | None): The stage of the work.
        total (float | None): The whole amount of work. If left out, the amount from `task_started` holds.
    """

    current: float | None
    """The amount of work done, in the unit of `total`."""
    message: str | None
    """A text for people about the task's current work."""
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
    """Data of `step_started`.

    Attributes:
        step_id (str): The step's id.
        name (str | None): A name for people.
        parent_step_id (str | None): The step that contains this one.
    """

    name: str | None
    """A name for people."""
    parent_step_id: str | None
    """The step that contains this one."""


class _StepCompletedDataRequired(TypedDict):
    """Data of `step_completed`."""

    step_id: str
    """The step's id."""


class StepCompletedData(_StepCompletedDataRequired, total=False):
    """Data of `step_completed`.

    Attributes:
        step_id (str): The step's id.
        result (Any): The result of the step.
    """

    result: Any
    """The result of the step."""


class StepFailedData(TypedDict):
    """Data of `step_failed`.

    Attributes:
        error (str | dict[str, Any]): Why the step failed.
        step_id (str): The step's id.
    """

    error: str | dict[str, Any]
    """Why the step failed."""
    step_id: str
    """The step's id."""


class TaskCompletedData(TypedDict, total=False):
    """Data of `task_completed`.

    Attributes:
        result (Any): The result of the task.
    """

    result: Any
    """The result of the task."""


class TaskFailedData(TypedDict):
    """Data of `task_failed`.

    Attributes:
        error (str | dict[str, Any]): Why the task failed.
    """

    error: str | dict[str, Any]
    """Why the task failed."""


class TaskCancelledData(TypedDict, total=False):
    """Data of `task_cancelled`.

    Attributes:
        reason (str | None): Why the task was cancelled.
    """

    reason: str | None
    """Why the task was cancelled."""


class _AgentStatusChangeDataRequired(TypedDict):
    """Data of `agent_status_change`."""

    agent_id: str
    """The agent's id."""
    status: Literal["idle", "working", "waiting", "error", "offline"]
    """The agent's new status."""


class AgentStatusChangeData(_AgentStatusChangeDataRequired, total=False):
    """Data of `agent_status_change`.

    Attributes:
        agent_id (str): The agent's id.
        status (Literal["idle", "working", "waiting", "error", "offline"]): The agent's new status.
        message (str | None): A message for people about the status.
    """

    message: str | None
    """A message for people about the status."""


class _ToolCallStartedDataRequired(TypedDict):
    """Data of `tool_call_started`."""

    tool: str
    """The tool's name."""
    tool_call_id: str
    """The id of the tool call."""


class ToolCallStartedData(_ToolCallStartedDataRequired, total=False):
    """Data of `tool_call_started`.

    Attributes:
        tool (str): The tool's name.
        tool_call_id (str): The id of the tool call.
        input (Any): The tool's input.
    """

    input: Any
    """The tool's input."""


class _ToolCallCompletedDataRequired(TypedDict):
    """Data of `tool_call_completed`."""

    tool_call_id: str
    """The id of the tool call."""


class ToolCallCompletedData(_ToolCallCompletedDataRequired, total=False):
    """Data of `tool_call_completed`.

    Attributes:
        tool_call_id (str): The id of the tool call.
        duration_ms (float | None): The duration of the call in milliseconds.
        output (Any): The tool's output.
    """

    duration_ms: float | None
    """The duration of the call in milliseconds."""
    output: Any
    """The tool's output."""


class ToolCallFailedData(TypedDict):
    """Data of `tool_call_failed`.

    Attributes:
        error (str | dict[str, Any]): Why the call failed.
        tool_call_id (str): The id of the tool call.
    """

    error: str | dict[str, Any]
    """Why the call failed."""
    tool_call_id: str
    """The id of the tool call."""


class OutputDeltaData(TypedDict):
    """Data of `output_delta`.

    Attributes:
        output_id (str): The output that the text belongs to.
        text (str): The text to append to the output.
    """

    output_id: str
    """The output that the text belongs to."""
    text: str
    """The text to append to the output."""


class _OutputCompletedDataRequired(TypedDict):
    """Data of `output_completed`."""

    output_id: str
    """The output's id."""


class OutputCompletedData(_OutputCompletedDataRequired, total=False):
    """Data of `output_completed`.

    Attributes:
        output_id (str): The output's id.
        text (str | None): The whole text of the output. If left out, the text is that of the deltas.
    """

    text: str | None
    """The whole text of the output. If left out, the text is that of the deltas."""


class _ArtifactDataRequired(TypedDict):
    """Data of `artifact`."""

    artifact_id: str
    """The artifact's id. A later event with the same id replaces the artifact."""


class ArtifactData(_ArtifactDataRequired, total=False):
    """Data of `artifact`.

    Attributes:
        artifact_id (str): The artifact's id. A later event with the same id replaces the artifact.
        data (Any): The artifact itself, if it is small.
        media_type (str | None): The media type, such as `image/png`.
        name (str | None): A name for people.
        url (str | None): Where to download the artifact.
    """

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
    """Data of `input_required`.

    Attributes:
        input_id (str): The id of the question.
        prompt (str): The question itself.
        choices (list[Any] | None): The answers to choose from: 1 to 64 values, none of them null, 16 KiB together.
        expires_in_ms (int | None): Without an answer for so many milliseconds the question expires.
        schema (Any): A JSON Schema that the answer must fit; at most 16 KiB.
    """

    choices: list[Any] | None
    """The answers to choose from: 1 to 64 values, none of them null, 16 KiB together."""
    expires_in_ms: int | None
    """Without an answer for so many milliseconds the question expires."""
    schema: Any
    """A JSON Schema that the answer must fit; at most 16 KiB."""


class InputProvidedData(TypedDict):
    """Data of `input_provided`.

    Attributes:
        by (str): The person or program that answered. A server that checks tokens writes the token's subject here.
        input_id (str): The id of the question.
        value (Any): The answer: any value but null, which fits the question.
    """

    by: str
    """The person or program that answered. A server that checks tokens writes the token's subject here."""
    input_id: str
    """The id of the question."""
    value: Any
    """The answer: any value but null, which fits the question."""


class InputExpiredData(TypedDict):
    """Data of `input_expired`, which the bus makes: the question's time is up, and nobody has answered it.

    Attributes:
        input_id (str): The question.
    """

    input_id: str
    """The question."""


class _ChildrenUpdateDataRequired(TypedDict):
    """Data of `children_update`, which the bus makes: what the children of the task are doing. All of its fields replace those of the last one."""

    cancelled: int
    """How many children were cancelled."""
    completed: int
    """How many children have completed."""
    failed: int
    """How many children have failed."""
    pending: int
    """How many children are pending."""
    running: int
    """How many children are running."""


class ChildrenUpdateData(_ChildrenUpdateDataRequired, total=False):
    """Data of `children_update`, which the bus makes: what the children of the task are doing. All of its fields replace those of the last one.

    Attributes:
        cancelled (int): How many children were cancelled.
        completed (int): How many children have completed.
        failed (int): How many children have failed.
        pending (int): How many children are pending.
        running (int): How many children are running.
        progress (float | None): The progress of all children in per cent, each with its `weight`. Null if there are none, or if none has a weight.
    """

    progress: float | None
    """The progress of all children in per cent, each with its `weight`. Null if there are none, or if none has a weight."""


class _LogDataRequired(TypedDict):
    """Data of `log`."""

    message: str
    """One log line, or several."""


class LogData(_LogDataRequired, total=False):
    """Data of `log`.

    Attributes:
        message (str): One log line, or several.
        level (str | None): The severity, in the application's own words.
        stream (Literal["stdout", "stderr"] | None): The stream on which the line was written.
    """

    level: str | None
    """The severity, in the application's own words."""
    stream: Literal["stdout", "stderr"] | None
    """The stream on which the line was written."""


class _CommandRequestedDataRequired(TypedDict):
    """Data of `command_requested`."""

    by: str
    """The sender of the command."""
    command: str
    """The name of the command: `cancel`, `pause`, `resume`, or any other that the task's agent understands."""
    command_id: str
    """The id of the command."""


class CommandRequestedData(_CommandRequestedDataRequired, total=False):
    """Data of `command_requested`.

    Attributes:
        by (str): The sender of the command.
        command (str): The name of the command: `cancel`, `pause`, `resume`, or any other that the task's agent understands.
        command_id (str): The id of the command.
        args (Any): The command's arguments.
    """

    args: Any
    """The command's arguments."""


class CommandAcceptedData(TypedDict):
    """Data of `command_accepted`.

    Attributes:
        command_id (str): The id of the command.
    """

    command_id: str
    """The id of the command."""


class CommandRejectedData(TypedDict):
    """Data of `command_rejected`.

    Attributes:
        command_id (str): The id of the command.
        reason (str): Why the task will not do it.
    """

    command_id: str
    """The id of the command."""
    reason: str
    """Why the task will not do it."""


class _CommandCompletedDataRequired(TypedDict):
    """Data of `command_completed`."""

    command_id: str
    """The id of the command."""


class CommandCompletedData(_CommandCompletedDataRequired, total=False):
    """Data of `command_completed`.

    Attributes:
        command_id (str): The id of the command.
        result (Any): The result of the command.
    """

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
    ChildrenUpdateData,
    LogData,
    CommandRequestedData,
    CommandAcceptedData,
    CommandRejectedData,
    CommandCompletedData,
]

__all__ = [
    "EventData",
    "AgentState",
    "AgentStatusChangeData",
    "ArtifactData",
    "ArtifactState",
    "ChildrenState",
    "ChildrenUpdateData",
    "CommandAcceptedData",
    "CommandCompletedData",
    "CommandRejectedData",
    "CommandRequestedData",
    "EndedInput",
    "InputExpiredData",
    "InputProvidedData",
    "InputRequiredData",
    "LogData",
    "OutputCompletedData",
    "OutputDeltaData",
    "OutputState",
    "PendingCommand",
    "PendingInput",
    "ProgressUpdateData",
    "StepCompletedData",
    "StepFailedData",
    "StepStartedData",
    "StepState",
    "TaskCancelledData",
    "TaskCompletedData",
    "TaskError",
    "TaskFailedData",
    "TaskSnapshot",
    "TaskStartedData",
    "ToolCallCompletedData",
    "ToolCallFailedData",
    "ToolCallStartedData",
    "ToolCallState",
]
