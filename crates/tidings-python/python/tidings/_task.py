"""A task that this process does: what can be reported of it."""

from __future__ import annotations

import contextvars
import itertools
import json
import os
import threading
import traceback
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any

from . import _native
from ._core import Core, dumps, log, text_of
from ._errors import Cancelled, Refused, translate
from ._updates import Losses

#: Characters of a traceback that are reported; the end is what matters.
MAX_TRACEBACK = 8_000
#: Characters of an exception's text that are reported.
MAX_MESSAGE = 2_000

_current: contextvars.ContextVar[Reports | None] = contextvars.ContextVar("tidings", default=None)


def current() -> Reports | None:
    """Returns the task whose `with` block the program is in, if there is one."""
    return _current.get()


def error_of(error: BaseException) -> dict[str, Any]:
    """Describes an exception: the data of a `task_failed`."""
    name = type(error).__name__
    text = text_of(error)[:MAX_MESSAGE]
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return {
        "error": {"code": name[:64], "message": f"{name}: {text}" if text else name},
        "traceback": text_of("".join(lines))[-MAX_TRACEBACK:],
    }


def ending_of(error: BaseException | None, result: Any = None) -> tuple[str, dict[str, Any]]:
    """Returns the event that ends a task whose work has ended so."""
    if error is None:
        return "task_completed", {} if result is None else {"result": result}
    if isinstance(error, SystemExit):
        if not error.code:
            return ending_of(None, result)
        return "task_failed", {"error": {"code": "exit", "message": f"exit status {error.code}"}}
    if isinstance(error, Exception):
        if isinstance(error, Cancelled):
            return "task_cancelled", {"reason": text_of(error)[:MAX_MESSAGE]}
        return "task_failed", error_of(error)
    # KeyboardInterrupt, asyncio.CancelledError, GeneratorExit.
    return "task_cancelled", {"reason": type(error).__name__}


class Ending:
    """The end of a task on its way to the server.

    Nobody has to wait for it. To know that the server has the end, call `wait`, or
    ``await`` it in a coroutine.
    """

    def __init__(self, task_id: str, operation: _native.Operation | None) -> None:
        self._task_id = task_id
        self._operation = operation
        self._losses = Losses()
        self._error: Exception | None = None
        self._answered = threading.Event()
        self._waiting: list[Callable[[], object]] = []
        if operation is None:
            self._answered.set()
        else:
            operation.on_done(self._note)

    def _note(self) -> None:
        """Takes the answer, and logs what the program should know."""
        assert self._operation is not None
        try:
            self._losses = Losses(**json.loads(str(self._operation.take())))
            if self._losses:
                log.warning("not all of %s was reported: %s", self._task_id, self._losses)
        except _native.Failure as failure:
            self._error = translate(failure)
            if isinstance(self._error, Refused):
                log.warning("the server refused the end of %s: %s", self._task_id, self._error)
        except Exception as error:
            self._error = error
        self._answered.set()
        while self._waiting:
            self._waiting.pop()()

    def _on_done(self, callback: Callable[[], object]) -> None:
        self._waiting.append(callback)
        if self._answered.is_set():
            callback()

    def _result(self) -> Losses:
        if self._error is not None:
            raise self._error
        return self._losses

    def wait(self, timeout: float | None = None) -> Losses:
        """Waits until the server has the end. Returns which reports were lost.

        Raises `Refused` if the server refused the end or, earlier, the task's start;
        `TimeoutError` after `timeout` seconds.
        """
        if not self._answered.wait(timeout):
            raise TimeoutError(f"the end of {self._task_id} has no answer yet")
        return self._result()

    def __await__(self) -> Generator[Any, None, Losses]:
        from .aio import ready

        if not self._answered.is_set():
            yield from ready(self._on_done).__await__()
        return self._result()


class Reports:
    """What can be reported of a task. Nothing here raises, waits or fails:

    - Reports go to the server in order, in the background.
    - While the server is away they wait in a bounded buffer. When it is full the
      oldest progress, log lines and output give way, which the log says.
    - In a forked child they go through the child's own connection. The task's end stays
      the parent's to report.
    """

    def __init__(self, core: Core, task_id: str, native: _native.Task | None) -> None:
        self._core = core
        self._native = native
        self._process = os.getpid()
        self._steps = itertools.count()
        self._ending: Ending | None = None
        self._token: contextvars.Token[Reports | None] | None = None
        #: The task's id.
        self.id = task_id
        #: What the task's `with` block reports as its result.
        self.result: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.id}>"

    def report(self, event_type: str, data: dict[str, Any] | None = None) -> None:
        """Reports any event: a standard one, or a type of your own such as ``"frame"``."""
        try:
            if self._native is not None:
                try:
                    return self._native.report(event_type, dumps(data or {}))
                except _native.Gone:
                    pass
            self._core.send(self.id, event_type, data or {})
        except Exception as error:
            log.warning("%s of %s was not reported: %s", event_type, self.id, error)

    def progress(
        self,
        percent: float | None = None,
        message: str | None = None,
        *,
        current: float | None = None,
        total: float | None = None,
        stage: str | None = None,
    ) -> None:
        """Reports how far the task is: in per cent, or as `current` of `total`."""
        data = {
            "progress": percent,
            "message": message,
            "current": current,
            "total": total,
            "stage": stage,
        }
        data = {name: value for name, value in data.items() if value is not None}
        self.report("progress_update", data)

    def log(self, message: str, level: str | None = None, stream: str | None = None) -> None:
        """Reports a line, or lines, of a log. A text that is too large is cut."""
        if level is None and stream is None and self._native is not None:
            try:
                return self._native.log(message)
            except Exception:
                message = text_of(message)
        data = {"message": message, "level": level, "stream": stream}
        self.report("log", {name: value for name, value in data.items() if value is not None})

    def step(self, name: str) -> Step:
        """Begins a step: ``with task.step("link"):``."""
        return Step(self, name, None)

    def output(self, output_id: str = "output") -> Output:
        """Begins a text that grows, such as an agent's answer. It has `write`, as a file."""
        return Output(self, output_id)

    def agent(self, agent_id: str, status: str, message: str | None = None) -> None:
        """Reports what one of the task's agents does.

        `status` is one of ``idle``, ``working``, ``waiting``, ``error``, ``offline``.
        """
        data = {"agent_id": agent_id, "status": status}
        self.report("agent_status_change", data | ({"message": message} if message else {}))

    def tool(self, tool: str, input: Any = None, tool_call_id: str | None = None) -> ToolCall:
        """Begins a tool call: ``with task.tool("search", {"q": "x"}) as call:``."""
        return ToolCall(self, tool, input, tool_call_id or f"{tool}-{next(self._steps)}")

    def artifact(
        self,
        artifact_id: str,
        *,
        name: str | None = None,
        media_type: str | None = None,
        url: str | None = None,
        data: Any = None,
    ) -> None:
        """Reports something that the task has made."""
        fields = {"name": name, "media_type": media_type, "url": url, "data": data}
        fields = {key: value for key, value in fields.items() if value is not None}
        self.report("artifact", {"artifact_id": artifact_id, **fields})

    @property
    def cancelled(self) -> bool:
        """Whether the task is to stop: by the command `cancel`, or as the client closes."""
        try:
            return self._native is not None and self._native.is_cancelled()
        except Exception:
            return False

    def raise_if_cancelled(self) -> None:
        """Raises `Cancelled` if the task is to stop."""
        if self.cancelled:
            raise Cancelled(f"{self.id} was cancelled")

    def complete(self, result: Any = None) -> Ending:
        """Ends the task well."""
        return self._end(*ending_of(None, result))

    def fail(self, error: BaseException | str) -> Ending:
        """Ends the task badly: with an exception and its traceback, or with a text."""
        if isinstance(error, BaseException):
            return self._end("task_failed", error_of(error))
        return self._end("task_failed", {"error": {"message": text_of(error)[:MAX_MESSAGE]}})

    def cancel(self, reason: str | None = None) -> Ending:
        """Ends the task early, on purpose. The command `cancel` is answered."""
        return self._end("task_cancelled", {} if reason is None else {"reason": reason})

    def _end(self, event_type: str, data: dict[str, Any]) -> Ending:
        if self._ending is None:
            self._ending = Ending(self.id, self._send_end(event_type, data))
        return self._ending

    def _send_end(self, event_type: str, data: dict[str, Any]) -> _native.Operation | None:
        # A forked child may report, but the task is its parent's to end.
        if self._process != os.getpid() or self._native is None:
            return None
        try:
            try:
                if event_type == "task_cancelled":
                    return self._native.cancel(text_of(data.get("reason", "cancelled")))
                return self._native.end(event_type, dumps(data))
            except ValueError:
                # A result that is no JSON, nested too deeply for one.
                return self._native.end(event_type, "{}")
            except _native.Gone:
                self._core.send(self.id, event_type, data)
        except Exception as error:
            log.warning("the end of %s was not reported: %s", self.id, error)
        return None

    def _enter(self) -> None:
        self._token = _current.set(self)

    def _leave(self, error: BaseException | None) -> None:
        if self._token is not None:
            try:
                _current.reset(self._token)
            except ValueError:
                # The block ends in another context than it began in.
                _current.set(None)
            self._token = None
        self._end(*ending_of(error, self.result))


class Step:
    """A part of a task. It ends with its `with` block, or by `complete` or `fail`."""

    def __init__(self, task: Reports, name: str, parent: str | None) -> None:
        self._task = task
        self._ended = False
        #: The step's id.
        self.id = f"step-{os.getpid():x}-{next(task._steps)}"
        data = {"step_id": self.id, "name": name}
        task.report("step_started", data | ({"parent_step_id": parent} if parent else {}))
        #: What the step's `with` block reports as its result.
        self.result: Any = None

    def step(self, name: str) -> Step:
        """Begins a step below this one."""
        return Step(self._task, name, self.id)

    def complete(self, result: Any = None) -> None:
        """Ends the step well."""
        self._end("step_completed", {} if result is None else {"result": result})

    def fail(self, error: BaseException | str) -> None:
        """Ends the step badly."""
        if isinstance(error, BaseException):
            self._end("step_failed", {"error": error_of(error)["error"]})
        else:
            self._end("step_failed", {"error": {"message": text_of(error)[:MAX_MESSAGE]}})

    def _end(self, event_type: str, data: dict[str, Any]) -> None:
        if not self._ended:
            self._ended = True
            self._task.report(event_type, {"step_id": self.id, **data})

    def __enter__(self) -> Step:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.complete(self.result)
        else:
            self.fail(error)


class Output:
    """A text that grows. Parts that come soon after one another go as one event."""

    def __init__(self, task: Reports, output_id: str) -> None:
        self._task = task
        self._open = True
        #: The output's id.
        self.id = output_id

    def write(self, text: str) -> int:
        """Adds text. Returns its length, as a file does."""
        native = self._task._native
        try:
            if native is not None:
                native.output(self.id, text)
                return len(text)
        except Exception:
            text = text_of(text)
        if text:
            self._task.report("output_delta", {"output_id": self.id, "text": text})
        return len(text)

    def flush(self) -> None:
        """Does nothing: for programs that take this for a file."""

    def complete(self) -> None:
        """Says that no more will come."""
        if self._open:
            self._open = False
            self._task.report("output_completed", {"output_id": self.id})

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        self.complete()


class ToolCall:
    """A tool that is called. Set `output` in the `with` block."""

    def __init__(self, task: Reports, tool: str, input: Any, tool_call_id: str) -> None:
        self._task = task
        self._ended = False
        #: The call's id.
        self.id = tool_call_id
        #: What the tool gave.
        self.output: Any = None
        data = {"tool_call_id": tool_call_id, "tool": tool}
        task.report("tool_call_started", data | ({} if input is None else {"input": input}))

    def complete(self, output: Any = None) -> None:
        """Says what the tool gave."""
        self._end("tool_call_completed", {} if output is None else {"output": output})

    def fail(self, error: BaseException | str) -> None:
        """Says how the tool failed."""
        if isinstance(error, BaseException):
            self._end("tool_call_failed", {"error": error_of(error)["error"]})
        else:
            self._end("tool_call_failed", {"error": {"message": text_of(error)[:MAX_MESSAGE]}})

    def _end(self, event_type: str, data: dict[str, Any]) -> None:
        if not self._ended:
            self._ended = True
            self._task.report(event_type, {"tool_call_id": self.id, **data})

    def __enter__(self) -> ToolCall:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.complete(self.output)
        else:
            self.fail(error)
