"""The public reducer: the same code that the server runs."""

from __future__ import annotations

import json
from typing import Any

from . import _native


def _text(value: dict[str, Any]) -> str:
    # Limits count the bytes of the JSON, so it is written as the server writes it.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Fold:
    """Folds what a subscriber receives of one task into the task's state.

    For programs that get messages by other ways than a `Watch`, such as SSE.
    """

    def __init__(self, snapshot: dict[str, Any] | None = None) -> None:
        self._native = _native.Fold()
        if snapshot is not None:
            self._native.snapshot(_text(snapshot))

    def message(self, message: dict[str, Any]) -> None:
        """Takes a message of the server. Raises `ValueError` if it is none."""
        self._native.message(_text(message))

    def event(self, event: dict[str, Any]) -> None:
        """Takes an event."""
        self._native.event(_text(event))

    @property
    def state(self) -> dict[str, Any] | None:
        """The state so far; None before the first snapshot."""
        text = self._native.state()
        return None if text is None else json.loads(text)


def reduce(snapshot: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """Returns a task's state after an event."""
    fold = Fold(snapshot)
    fold.event(event)
    state = fold.state
    assert state is not None
    return state
