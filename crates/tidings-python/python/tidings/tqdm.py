"""A drop-in for tqdm: the same bars, which report as well.

::

    from tidings.tqdm import tqdm, trange

    for frame in tqdm(frames, desc="Render"):
        ...

- Inside of a task's block a bar reports the progress of that task. Elsewhere it is a
  task of its own, or a child of ``TIDINGS_TASK``, as `tidings run` sets it.
- A bar within a bar is a step of the outer one's task.
- Bars report when they are drawn, ten times a second at most, so a loop costs what it
  costs with tqdm.
- A bar with ``disable=None`` is not drawn outside of a terminal, and reports all the
  same. With ``disable=True`` it does neither.

The task's id is ``tqdm-`` and random letters; ``tqdm(..., task_id="render-7")`` names it.
"""

from __future__ import annotations

import contextvars
import os
import sys
import uuid
from typing import Any, Union

from tqdm.auto import tqdm as _tqdm  # type: ignore[import-untyped, unused-ignore]

from . import _default, _task
from ._core import log
from ._task import Reports, Step

__all__ = ["tqdm", "trange"]

_outer: contextvars.ContextVar[tuple[tqdm, ...]] = contextvars.ContextVar("tidings.tqdm", default=())


class _Nowhere:
    """A terminal that is none."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


class tqdm(_tqdm):  # type: ignore[type-arg, misc, unused-ignore]
    """A tqdm bar that reports. Its arguments are tqdm's, and `task_id`."""

    _reported: Union[Reports, Step, None] = None
    _ends_task = False
    _last: tuple[Any, ...] | None = None

    def __init__(self, *args: Any, task_id: str | None = None, **kwargs: Any) -> None:
        if "disable" in kwargs and kwargs["disable"] is None:
            file = kwargs.get("file") or sys.stderr
            kwargs["disable"] = False
            if not (hasattr(file, "isatty") and file.isatty()):
                kwargs["file"] = _Nowhere()
        super().__init__(*args, **kwargs)
        if self.disable:
            return
        try:
            self._begin(task_id)
        except Exception as error:
            log.warning("a bar is not reported: %s", error)
        self._report()

    def _begin(self, task_id: str | None) -> None:
        name = str(getattr(self, "desc", None) or "").rstrip(": ") or None
        bars = [bar for bar in _outer.get() if not bar._is_over()]
        outer = next((bar for bar in reversed(bars) if bar._reported is not None), None)
        current = _task.current()
        if outer is not None and task_id is None:
            assert outer._reported is not None
            self._reported = outer._reported.step(name or "…")
        elif current is not None and task_id is None:
            self._reported = current
        else:
            self._reported = _default.client().task(
                task_id or f"tqdm-{uuid.uuid4().hex[:12]}",
                name=name,
                total=self.total,
                parent=current or os.environ.get("TIDINGS_TASK"),
            )
            self._ends_task = True
        _outer.set((*bars, self))

    def _is_over(self) -> bool:
        return bool(self.disable) or self._reported is None

    def _report(self) -> None:
        """Reports how far the bar is, if that is another state than before."""
        task = self._reported
        if not isinstance(task, Reports):
            return
        state = (self.n, self.total, getattr(self, "desc", None), getattr(self, "postfix", None))
        if state == self._last:
            return
        self._last = state
        message = " ".join(str(part).rstrip(": ") for part in state[2:] if part) or None
        if self.total:
            task.progress(current=min(self.n, self.total), total=self.total, message=message)
        else:
            text = f"{self.n} {self.unit}"
            task.progress(current=self.n, message=f"{message}: {text}" if message else text)

    def display(self, *args: Any, **kwargs: Any) -> Any:
        """Draws the bar, and reports."""
        drawn = super().display(*args, **kwargs)
        if self._reported is not None:
            self._report()
        return drawn

    def close(self) -> None:
        """Ends the bar. Its task has completed, or, during an exception, failed."""
        already = bool(self.disable)
        super().close()
        task, self._reported = self._reported, None
        if already or task is None:
            return
        error = sys.exc_info()[1]
        # A generator that ends well raises to say so.
        error = None if isinstance(error, (StopIteration, StopAsyncIteration)) else error
        if isinstance(task, Step):
            task.complete() if error is None else task.fail(error)
            return
        self._reported = task
        self._report()
        self._reported = None
        if self._ends_task:
            task._end(*_task.ending_of(error))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        if error is not None and isinstance(self._reported, Step):
            self._reported.fail(error)
        elif error is not None and self._ends_task and isinstance(self._reported, Reports):
            self._reported._end(*_task.ending_of(error))
        return super().__exit__(kind, error, trace)


def trange(*args: Any, **kwargs: Any) -> tqdm:
    """Shortcut for ``tqdm(range(*args), **kwargs)``."""
    return tqdm(range(*args), **kwargs)
