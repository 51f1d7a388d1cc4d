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
- An exception that leaves the loop fails the bar's task or step, and `KeyboardInterrupt` cancels
  the task. A loop that is left by `break` or `return` has completed. Before Python 3.12 a loop does
  not say which exception has left it: the task has failed, without the exception's text. With
  ``with tqdm(...) as bar`` around the loop, it has the exception.
- A bar that was not closed, and that nobody refers to any more, is cancelled before its total.
- A bar with ``disable=None`` is not drawn outside of a terminal, and reports all the
  same. With ``disable=True`` it does neither.

The task's id is ``tqdm-`` and random letters; ``tqdm(..., task_id="render-7")`` names it.
"""

from __future__ import annotations

import contextvars
import dis
import gc
import os
import sys
import uuid
import weakref
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Union

from tqdm.auto import tqdm as _tqdm  # type: ignore[import-untyped, unused-ignore]

from . import _default, _task
from ._core import log, text_of
from ._errors import Cancelled
from ._task import Reports, Step

__all__ = ["tqdm", "trange"]

#: The open bars. As with plain tqdm, a bar that nobody refers to any more closes itself.
_outer: contextvars.ContextVar[tuple[weakref.ref[tqdm], ...]] = contextvars.ContextVar(
    "tidings.tqdm", default=()
)

#: The instructions that throw a loop's iterator away, in `break` and `return`.
_LEAVES = frozenset(["POP_TOP", "POP_ITER"])


def _what_leaves(frame: FrameType) -> BaseException | str | None:
    """Returns the exception that leaves the loop of a frame, or None after `break` or `return`.

    The iterator of the loop is told neither. But the frame is at the instruction that has thrown
    the iterator away, or at the one that has raised the exception.
    """
    if dis.opname[frame.f_code.co_code[frame.f_lasti]] in _LEAVES:
        return None
    # Since Python 3.12 the exception on its way has its traceback already.
    for trace in gc.get_referrers(frame):
        if isinstance(trace, TracebackType) and trace.tb_lasti == frame.f_lasti:
            for error in gc.get_referrers(trace):
                if isinstance(error, BaseException) and error.__traceback__ is trace:
                    return error
    return "an exception has left the loop"


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
    #: The task whose block the bar is in.
    _within: Reports | None = None
    #: The exception that is handled where the bar is used: it is not the bar's.
    _handled: BaseException | None = None
    #: The frame of the loop: its id and its code. A bar does not keep a frame alive.
    _loop: tuple[int, Any] | None = None
    _process = 0
    _is_block = False

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
        name = text_of(getattr(self, "desc", None) or "").rstrip(": ") or None
        self._process = os.getpid()
        self._handled = sys.exc_info()[1]
        self._within = current = _task.current()
        known = [(kept, kept()) for kept in _outer.get()]
        bars = [(kept, bar) for kept, bar in known if bar is not None and not bar._is_over()]
        # A task that was entered inside of a bar's loop has a bar of its own.
        outer = next((bar for _, bar in reversed(bars) if bar._within is current), None)
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
        _outer.set((*(kept for kept, _ in bars), weakref.ref(self)))

    def __iter__(self) -> Iterator[Any]:
        if self._reported is not None:
            self._handled = sys.exc_info()[1]
            frame = sys._getframe(1)
            self._loop = id(frame), frame.f_code
        return super().__iter__()  # type: ignore[no-any-return, unused-ignore]

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
        message = " ".join(text_of(part).rstrip(": ") for part in state[2:] if part) or None
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
        task = self._reported
        if already or task is None:
            return
        # The loop of a `with` block was left. The end of the block says why.
        if self._is_block and isinstance(sys.exc_info()[1], GeneratorExit):
            return
        self._finish(self._error())

    def _error(self) -> BaseException | str | None:
        """Returns the exception that ends the bar."""
        error = sys.exc_info()[1]
        # A generator that ends well raises to say so.
        if error is self._handled or isinstance(error, (StopIteration, StopAsyncIteration)):
            return None
        if isinstance(error, GeneratorExit) and self._loop is not None:
            frame: FrameType | None = sys._getframe(1)
            while frame is not None:
                if (id(frame), frame.f_code) == self._loop:
                    return _what_leaves(frame)
                frame = frame.f_back
        return error

    def _finish(self, error: BaseException | str | None) -> None:
        task = self._reported
        try:
            # A forked child closes its copy of a bar, too.
            if task is not None and self._process == os.getpid():
                self._end(task, error)
        except Exception as wrong:
            log.warning("the end of a bar is not reported: %s", text_of(wrong))
        self._reported = self._within = self._handled = None

    def _end(self, task: Reports | Step, error: BaseException | str | None) -> None:
        if isinstance(task, Step):
            # An iterator that was thrown away is no failure.
            if error is None or isinstance(error, GeneratorExit):
                task.complete()
            else:
                task.fail(error)
            return
        self._report()
        if self._ends_task:
            if isinstance(error, str):
                task.fail(error)
            else:
                task._end(*_task.ending_of(error))

    def __enter__(self) -> Any:
        self._is_block = True
        return super().__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        if self._reported is not None and (error is not None or self.disable):
            self._finish(error)
        return super().__exit__(kind, error, trace)

    def __del__(self) -> None:
        # The exception that is handled somewhere else now has nothing to do with the bar.
        if self._reported is not None:
            self._handled = sys.exc_info()[1]
            if not self.disable and self.total and self.n < self.total:
                self._finish(Cancelled(f"given up at {self.n} of {self.total}"))
        super().__del__()


def trange(*args: Any, **kwargs: Any) -> tqdm:
    """Shortcut for ``tqdm(range(*args), **kwargs)``."""
    return tqdm(range(*args), **kwargs)
