"""Questions of a task, and how long a program waits."""

from __future__ import annotations

import math
import time
import uuid
from typing import Any

from . import _native
from ._core import dumps, text_of
from ._errors import Expired
from ._schema import TaskSnapshot
from ._task import Reports
from ._updates import Event, Gap, Reset, Snapshot, Update


class Question:
    """A question of a task, and its answer."""

    def __init__(
        self,
        task: Reports,
        prompt: str,
        schema: dict[str, Any] | None,
        choices: list[Any] | None,
        input_id: str | None,
    ) -> None:
        self._task = task
        self.id = text_of(input_id or f"input-{uuid.uuid4().hex[:12]}")
        self.data: dict[str, Any] = {"input_id": self.id, "prompt": text_of(prompt)}
        self.data |= {} if schema is None else {"schema": schema}
        self.data |= {} if choices is None else {"choices": choices}
        self.answer: Any = None
        #: The server may have forgotten the question.
        self.is_doubtful = False
        self._is_followed = False

    def ask(self) -> _native.Operation:
        """Asks. The operation has the server's answer to that."""
        task, data = self._task, dumps(self.data)
        if task._native is not None:
            try:
                return task._native.confirm("input_required", data)
            except _native.Gone:
                pass  # Another process has begun the task.
        native = task._core.native()
        return native.publish(
            task.id, "input_required", data, event_id=None, source=None, run=None
        )

    def is_forgotten(self, state: TaskSnapshot) -> bool:
        """Takes the task's state now, after a doubt."""
        self.is_doubtful = False
        known = {question.input_id for question in state.pending_inputs}
        return self.id not in known | {question.input_id for question in state.ended_inputs}

    def is_answered(self, update: Update) -> bool:
        """Takes an update; raises `Expired` if it ends the question without an answer."""
        match update:
            case Event("input_provided", data=data) if data.get("input_id") == self.id:
                self.answer = data.get("value")
                return True
            case Event("input_expired", data=data) if data.get("input_id") == self.id:
                raise Expired(f"{self.data['prompt']!r} has expired without an answer")
            case Snapshot():
                # The first one is from before the question.
                self.is_doubtful |= self._is_followed
                self._is_followed = True
            case Reset() | Gap():
                self.is_doubtful = True
        return False


class Deadline:
    """A moment in the future, or never for None."""

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout in (None, math.inf) else time.monotonic() + timeout

    def left(self) -> float:
        """The remaining seconds."""
        return float("inf") if self._end is None else max(0.0, self._end - time.monotonic())

    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end
