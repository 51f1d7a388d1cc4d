"""What a watch yields."""

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
    """

    event_type: str
    """The type, such as `progress_update`."""
    task_id: str
    """The task."""
    offset: int
    """The event's place in the task's log."""
    timestamp: str
    """When the server took it: RFC 3339, UTC."""
    data: dict[str, Any]
    """What the event says; see the classes whose names end in `Data`."""
    merged_from: int | None = None
    """The first offset that a merged event stands for; `offset` is the last."""
    event_id: str | None = None
    """The producer's idempotency key."""
    source: str | None = None
    """Who made the event."""
    at: int | None = None
    """Of an `output_delta`: bytes of the output before this text."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A task's state, as the watch begins to follow it.

    Events at or below `task.offset` may come next. They are history, and counted already.
    """

    task: TaskSnapshot


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that will not come."""

    task_id: str
    first: int
    """The first offset that is missing."""
    last: int
    """The last offset that is missing."""
    reason: str
    """`expired`, `overrun` or `conflated`."""
    task: TaskSnapshot | None = None
    """The task's state after the gap; none if all that is missing was superseded."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The task has started over. What was known of it is void."""

    task_id: str
    reason: str
    """`epoch_changed`, `removed` or `ahead`."""
    offset: int
    """What comes next comes after this offset."""
    task: TaskSnapshot
    """The task's state now."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A task that a pattern matched is gone, or may not be watched any more."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone. The client comes back by itself."""

    reason: str
    retry_in: float | None = None
    """Seconds until the next attempt."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection is there again."""


Update = Union[Snapshot, Event, Gap, Reset, Removed, Disconnected, Reconnected]


@dataclass(frozen=True, slots=True)
class Published:
    """The place of an event that the server has taken."""

    epoch: str
    offset: int
    duplicate: bool = False
    """The server had it already: an earlier answer was lost on its way."""
    run: int | None = None
    """The run that a `task_started` has opened."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Reports of a task that are not in its log."""

    refused: int = 0
    """Reports that the server refused for good."""
    dropped: int = 0
    """Reports that gave way to newer ones while the server was away."""
    first_refused: str | None = None
    """The first report that was refused, and why."""

    def __bool__(self) -> bool:
        return bool(self.refused or self.dropped)


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Some of the tasks."""

    tasks: list[TaskSnapshot]
    next: str | None = None
    """What to ask for the next page with, as `after`; none on the last page."""


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
    """Reads an update of the native half. None: a kind that is not known here."""
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
