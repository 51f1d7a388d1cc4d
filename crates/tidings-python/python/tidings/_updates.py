"""The updates that a watch yields."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Union

from ._schema import TaskSnapshot


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a task.

    Use ``match``::

        match update:
            case Event("progress_update", data={"progress": progress}):
                print(progress)

    Attributes:
        event_type (str): The type, such as ``progress_update``.
        task_id (str): The task.
        offset (int): The event's place in the task's log.
        timestamp (str): The time at which the server accepted it: RFC 3339, UTC.
        data (dict[str, Any]): The event's data; see `tidings.types`.
        merged_from (int | None): The first offset that a merged event stands for; `offset` is
            the last.
        event_id (str | None): The producer's idempotency key.
        source (str | None): The producer's name.
        at (int | None): For an ``output_delta``, the bytes of the output before this text.
    """

    event_type: str
    task_id: str
    offset: int
    timestamp: str
    data: dict[str, Any]
    merged_from: int | None = None
    event_id: str | None = None
    source: str | None = None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A task's state when the watch begins to follow it.

    Events at or below `task.offset` may come next. They are history, and the state already
    includes them.

    Attributes:
        task (TaskSnapshot): The state.
    """

    task: TaskSnapshot


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing events: the watch will not yield them.

    Attributes:
        task_id (str): The task.
        first (int): The first offset that is missing.
        last (int): The last offset that is missing.
        reason (str): ``expired``, ``overrun`` or ``conflated``.
        task (TaskSnapshot | None): The task's state after the gap; None if newer events
            have superseded all missing ones.
    """

    task_id: str
    first: int
    last: int
    reason: str
    task: TaskSnapshot | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """The task's log has started over. Discard the state of the task.

    Attributes:
        task_id (str): The task.
        reason (str): ``epoch_changed``, ``removed`` or ``ahead``.
        offset (int): The next events come after this offset.
        task (TaskSnapshot): The task's state now.
    """

    task_id: str
    reason: str
    offset: int
    task: TaskSnapshot


@dataclass(frozen=True, slots=True)
class Removed:
    """A task of a pattern was removed, or the token no longer allows to watch it.

    Attributes:
        task_id (str): The task.
    """

    task_id: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is lost. The client reconnects without help.

    Attributes:
        reason (str): The reason, as a text for people.
        retry_in (float | None): Seconds until the next attempt.
    """

    reason: str
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The client has reconnected."""


#: The updates that a watch yields.
Update = Union[Snapshot, Event, Gap, Reset, Removed, Disconnected, Reconnected]


@dataclass(frozen=True, slots=True)
class Published:
    """The place of an event that the server has accepted.

    Attributes:
        epoch (str): The epoch of the task's log. Its offsets count in this epoch only.
        offset (int): The event's place in the log.
        duplicate (bool): True if the server had the event already, because an earlier answer
            was lost.
        run (int | None): The run that a ``task_started`` has opened.
    """

    epoch: str
    offset: int
    duplicate: bool = False
    run: int | None = None


@dataclass(frozen=True, slots=True)
class TaskCommanded:
    """The result of a command to a tree, for one of its tasks.

    Attributes:
        task_id (str): The task.
        published (Published | None): The place of the request in the task's log; None if the task
            was not asked.
        command_id (str | None): The id of the command, which the task's answers name.
        code (str | None): The reason if the task was not asked, such as ``forbidden``.
        message (str | None): The same reason, as a text for people.
    """

    task_id: str
    published: Published | None = None
    command_id: str | None = None
    code: str | None = None
    message: str | None = None


def commanded(text: str) -> list[TaskCommanded]:
    """Reads the answers to a command for a tree."""
    return [
        TaskCommanded(
            task["task_id"],
            None if "code" in task else Published(task["epoch"], task["offset"]),
            task.get("command_id"),
            task.get("code"),
            task.get("message"),
        )
        for task in json.loads(text)
    ]


@dataclass(frozen=True, slots=True)
class Losses:
    """The reports of a task that are missing from its log. False if none is missing.

    Attributes:
        refused (int): Reports that the server refused for good.
        dropped (int): Reports that the client dropped for newer ones while the server was away.
        first_refused (str | None): The first refused report, and the reason.
    """

    refused: int = 0
    dropped: int = 0
    first_refused: str | None = None

    def __bool__(self) -> bool:
        return bool(self.refused or self.dropped)


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of a list of tasks.

    Attributes:
        tasks (list[TaskSnapshot]): Their states.
        next (str | None): The value of `after` for the next page; None on the last page.
    """

    tasks: list[TaskSnapshot]
    next: str | None = None


def event(fields: dict[str, Any]) -> Event:
    """Reads an event as the server sends it."""
    return Event(
        fields["event_type"],
        fields["task_id"],
        fields["offset"],
        fields["timestamp"],
        fields["data"],
        fields.get("from"),
        fields.get("event_id"),
        fields.get("source"),
        fields.get("at"),
    )


def task(fields: dict[str, Any] | None) -> TaskSnapshot | None:
    """Reads a snapshot, if there is one."""
    return None if fields is None else TaskSnapshot._of(fields)


def read(text: str) -> Update | None:
    """Reads an update of the native half. Returns None for an unknown kind."""
    told = json.loads(text)
    match told["kind"]:
        case "event":
            return event(told["event"])
        case "snapshot":
            return Snapshot(TaskSnapshot._of(told["snapshot"]))
        case "gap":
            gap = told["gap"]
            state = task(told["snapshot"])
            return Gap(told["task_id"], gap["from"], gap["to"], gap["reason"], state)
        case "reset":
            state = TaskSnapshot._of(told["snapshot"])
            return Reset(told["task_id"], told["reason"], told["offset"], state)
        case "removed":
            return Removed(told["task_id"])
        case "disconnected":
            return Disconnected(told["reason"], told["retry_in"])
        case "reconnected":
            return Reconnected()
    return None
