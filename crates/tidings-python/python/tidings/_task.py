"""The reports of a task that runs in this process."""

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
from ._core import Core, dumps, log, plain_dumps, seconds, text_of, texts
from ._errors import Cancelled, Stopped, translate
from ._updates import Losses

#: The most characters of a traceback in a report. The end of a longer one is kept.
MAX_TRACEBACK = 8_000
#: The most characters of an exception's text in a report.
MAX_MESSAGE = 2_000

_current: contextvars.ContextVar[Reports | None] = contextvars.ContextVar("tidings", default=None)


def current() -> Reports | None:
    """Returns the task of the innermost `with` block, or None outside such a block."""
    return _current.get()


def error_of(error: BaseException) -> dict[str, Any]:
    """Describes an exception: the data of a `task_failed`."""
    name = text_of(type(error).__name__)
    text = text_of(error)[:MAX_MESSAGE]
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
    except Exception:
        # Such as an attribute of the exception that raises.
        lines = traceback.format_tb(error.__traceback__)
    return {
        "error": {"code": name[:64], "message": f"{name}: {text}" if text else name},
        "traceback": text_of("".join(lines))[-MAX_TRACEBACK:],
    }


def ending_of(error: BaseException | None, result: Any = None) -> tuple[str, dict[str, Any]]:
    """Returns the event that ends a task after this outcome of its work."""
    if error is None:
        return "task_completed", {} if result is None else {"result": result}
    if isinstance(error, SystemExit):
        status = error.code
        if status is None or (isinstance(status, int) and status == 0):
            return ending_of(None, result)
        message = f"exit status {text_of(status)}"[:MAX_MESSAGE]
        return "task_failed", {"error": {"code": "exit", "message": message}}
    if isinstance(error, Exception):
        if isinstance(error, Cancelled):
            return "task_cancelled", {"reason": text_of(error)[:MAX_MESSAGE]}
        return "task_failed", error_of(error)
    # KeyboardInterrupt, asyncio.CancelledError, GeneratorExit.
    return "task_cancelled", {"reason": type(error).__name__}


def beginning(
    name: str | None,
    total: float | None,
    parent: str | Reports | None,
    weight: float | None,
    lease: float | None,
    source: str | None,
) -> dict[str, Any]:
    """Returns the arguments that begin a task, for the native half."""
    named = texts(name=name, source=source)
    parent = parent.id if isinstance(parent, Reports) else parent
    return {
        "name": named.get("name"),
        "total": total,
        "parent": None if parent is None else text_of(parent),
        "weight": weight,
        "lease": lease,
        "source": named.get("source"),
    }


class Ending:
    """The end of a task on its way to the server.

    A program need not wait for it. To know that the server has the end, call `wait`, or
    ``await`` it in a coroutine.
    """

    def __init__(self, task_id: str, operation: _native.Operation | None) -> None:
        """Use `complete`, `fail` or `cancel` of a task."""
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
        """Takes the server's answer. This runs on the client's own thread."""
        try:
            self._take()
        finally:
            self._answered.set()
            while self._waiting:
                self._waiting.pop()()

    def _take(self) -> None:
        """Takes the server's answer, and logs a refused or incomplete end."""
        assert self._operation is not None
        try:
            self._losses = Losses(**json.loads(str(self._operation.take())))
            if self._losses:
                log.warning("not all of %s was reported: %s", self._task_id, self._losses)
        except _native.Failure as failure:
            self._error = translate(failure)
            if not isinstance(self._error, Stopped):
                log.warning("the end of %s was not reported: %s", self._task_id, self._error)
        except Exception as error:
            self._error = error

    def _on_done(self, callback: Callable[[], object]) -> None:
        self._waiting.append(callback)
        if self._answered.is_set():
            callback()

    def _result(self) -> Losses:
        if self._error is not None:
            raise self._error
        return self._losses

    def wait(self, timeout: float | None = None) -> Losses:
        """Waits until the server has the end. Returns the lost reports.

        Raises `Refused` if the server refused the end or, earlier, the task's start,
        `ValueError` if the start was too large, and `TimeoutError` after `timeout` seconds.
        """
        if self._operation is not None and not self._answered.is_set():
            try:
                done = self._operation.wait(seconds(timeout))
            except _native.Gone:
                raise Stopped("the end belongs to the process that has reported it") from None
            if not done:
                raise TimeoutError(f"the end of {self._task_id} has no answer yet")
            # The client's thread is taking the answer.
            self._answered.wait()
        return self._result()

    def __await__(self) -> Generator[Any, None, Losses]:
        from .aio import ready

        if not self._answered.is_set():
            yield from ready(self._on_done).__await__()
        return self._result()


class _Ids:
    """Ids for the parts of a task. No copy of the task in another process has the same ones."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._copy = os.urandom(6).hex()
        self._numbers = itertools.count()

    def next(self, kind: str) -> str:
        if self._process != os.getpid():
            self.__init__()  # type: ignore[misc]
        return f"{kind}-{self._copy}-{next(self._numbers)}"


class Reports:
    """The reports of a task. These methods never raise and never wait:

    - The client sends reports in order, in the background.
    - While the server is away, they wait in a bounded buffer. If it is full, the client
      drops the oldest progress, log lines and output. The task's log says so.
    - A forked child sends its reports through its own connection. Only the parent
      reports the task's end.

    Attributes:
        id (str): The task's id.
        result (Any): The result that the task's `with` block reports. Set it in the block.
    """

    id: str
    result: Any

    def __init__(self, core: Core, task_id: str, native: _native.Task | None) -> None:
        """Use `Client.task`."""
        self._core = core
        self._native = native
        self._process = os.getpid()
        self._ids = _Ids()
        self._ending: Ending | None = None
        self._token: contextvars.Token[Reports | None] | None = None
        self.id = task_id
        self.result = None

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.id}>"

    def report(self, event_type: str, data: dict[str, Any] | None = None) -> None:
        """Reports any event: a standard one, or a type of your own such as ``"frame"``."""
        try:
            if self._native is not None:
                try:
                    return self._native.report(event_type, dumps(data or {}))
                except ValueError:
                    # Such as a number that is too large for JSON parsers.
                    return self._native.report(event_type, plain_dumps(data))
                except _native.Gone:
                    pass
            self._core.send(self.id, event_type, data or {})
        except Exception as error:
            name = text_of(event_type)
            log.warning("%s of %s was not reported: %s", name, self.id, text_of(error))

    def progress(
        self,
        percent: float | None = None,
        message: str | None = None,
        *,
        current: float | None = None,
        total: float | None = None,
        stage: str | None = None,
    ) -> None:
        """Reports how far the task is: in per cent, or as `current` of `total`.

        - `message` describes the current work for people. `stage` names the part of the work.
        - `current` and `total` are in any unit. `total` may be left out if the task was begun
          with one.
        """
        if self._native is not None:
            try:
                return self._native.progress(percent, message, current, total, stage)
            except Exception:
                pass  # Another process's task, or values that are written as text below.
        data = {"progress": percent, "current": current, "total": total}
        data = {name: value for name, value in data.items() if value is not None}
        self.report("progress_update", data | texts(message=message, stage=stage))

    def log(self, message: str, level: str | None = None, stream: str | None = None) -> None:
        """Reports a line, or lines, of a log. A text that is too large is cut.

        `level` is a word such as ``info`` or ``warn``; `stream` is ``stdout`` or ``stderr``.
        """
        if self._native is not None:
            try:
                return self._native.log(message, level, stream)
            except Exception:
                pass  # As for `progress`.
        self.report("log", {"message": ""} | texts(message=message, level=level, stream=stream))

    def step(self, name: str) -> Step:
        """Begins a step: ``with task.step("link"):``."""
        return Step(self, name, None)

    def output(self, output_id: str = "output") -> Output:
        """Begins a growing text, such as an agent's answer. Add to it with `write`."""
        return Output(self, output_id)

    def agent(self, agent_id: str, status: str, message: str | None = None) -> None:
        """Reports the status of one of the task's agents.

        `status` is one of ``idle``, ``working``, ``waiting``, ``error``, ``offline``.
        """
        data = texts(agent_id=agent_id, status=status, message=message)
        self.report("agent_status_change", data)

    def tool(self, tool: str, input: Any = None, tool_call_id: str | None = None) -> ToolCall:
        """Begins a tool call: ``with task.tool("search", {"q": "x"}) as call:``."""
        return ToolCall(self, tool, input, tool_call_id or self._ids.next(text_of(tool)))

    def artifact(
        self,
        artifact_id: str,
        *,
        name: str | None = None,
        media_type: str | None = None,
        url: str | None = None,
        data: Any = None,
    ) -> None:
        """Reports a product of the task: its `url`, or a small one as `data`.

        `media_type` is its type, such as ``image/png``.
        """
        fields = texts(artifact_id=artifact_id, name=name, media_type=media_type, url=url)
        self.report("artifact", fields if data is None else {**fields, "data": data})

    @property
    def cancelled(self) -> bool:
        """True if the task should stop: after the command `cancel`, or while the client closes."""
        try:
            return self._native is not None and self._native.is_cancelled()
        except Exception:
            return False

    def raise_if_cancelled(self) -> None:
        """Raises `Cancelled` if the task should stop."""
        if self.cancelled:
            raise Cancelled(f"{self.id} was cancelled")

    def complete(self, result: Any = None) -> Ending:
        """Ends the task as completed."""
        return self._end(*ending_of(None, result))

    def fail(self, error: BaseException | str) -> Ending:
        """Ends the task as failed, with an exception and its traceback, or with a text."""
        if isinstance(error, BaseException):
            return self._end("task_failed", error_of(error))
        return self._end("task_failed", {"error": {"message": text_of(error)[:MAX_MESSAGE]}})

    def cancel(self, reason: str | None = None) -> Ending:
        """Ends the task as cancelled, and answers the command `cancel`."""
        return self._end("task_cancelled", {} if reason is None else {"reason": reason})

    def _end(self, event_type: str, data: dict[str, Any]) -> Ending:
        if self._ending is None:
            self._ending = Ending(self.id, self._send_end(event_type, data))
        return self._ending

    def _send_end(self, event_type: str, data: dict[str, Any]) -> _native.Operation | None:
        # A forked child may report, but only its parent may end the task.
        if self._process != os.getpid() or self._native is None:
            return None
        try:
            try:
                if event_type == "task_cancelled":
                    return self._native.cancel(text_of(data.get("reason", "cancelled")))
                return self._native.end(event_type, dumps(data))
            except ValueError:
                # As for `report`.
                return self._native.end(event_type, plain_dumps(data))
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
                # The block has ended in a different context from the one in which it began.
                _current.set(None)
            self._token = None
        self._end(*ending_of(error, self.result))


class Step:
    """A part of a task. It ends with its `with` block, or by `complete` or `fail`.

    Attributes:
        id (str): The step's id.
        result (Any): The result that the step's `with` block reports. Set it in the block.
    """

    id: str
    result: Any

    def __init__(self, task: Reports, name: str, parent: str | None) -> None:
        """Use `Task.step` or `Step.step`."""
        self._task = task
        self._process = os.getpid()
        self._ended = False
        self.id = task._ids.next("step")
        data = texts(step_id=self.id, name=name, parent_step_id=parent)
        task.report("step_started", data)
        self.result = None

    def step(self, name: str) -> Step:
        """Begins a step below this one."""
        return Step(self._task, name, self.id)

    def complete(self, result: Any = None) -> None:
        """Ends the step as completed."""
        self._end("step_completed", {} if result is None else {"result": result})

    def fail(self, error: BaseException | str) -> None:
        """Ends the step as failed."""
        if isinstance(error, BaseException):
            self._end("step_failed", {"error": error_of(error)["error"]})
        else:
            self._end("step_failed", {"error": {"message": text_of(error)[:MAX_MESSAGE]}})

    def _end(self, event_type: str, data: dict[str, Any]) -> None:
        # A forked child may leave the block, but only its parent ends the step.
        if not self._ended and self._process == os.getpid():
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
    """A growing text. Parts that follow each other soon are sent as one event.

    It works as a file: ``print("Hello", file=output)``.

    Attributes:
        id (str): The output's id.
    """

    id: str

    def __init__(self, task: Reports, output_id: str) -> None:
        """Use `Task.output`."""
        self._task = task
        self._process = os.getpid()
        self._open = True
        self.id = text_of(output_id)

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
        """Does nothing. It exists because programs flush files."""

    def complete(self) -> None:
        """Ends the text."""
        if self._open and self._process == os.getpid():
            self._open = False
            self._task.report("output_completed", {"output_id": self.id})

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        self.complete()


class ToolCall:
    """A call of a tool.

    Attributes:
        id (str): The call's id.
        output (Any): The tool's output. Set it in the `with` block.
    """

    id: str
    output: Any

    def __init__(self, task: Reports, tool: str, input: Any, tool_call_id: str) -> None:
        """Use `Task.tool`."""
        self._task = task
        self._process = os.getpid()
        self._ended = False
        self.id = text_of(tool_call_id)
        self.output = None
        data = texts(tool_call_id=tool_call_id, tool=tool)
        task.report("tool_call_started", data if input is None else {**data, "input": input})

    def complete(self, output: Any = None) -> None:
        """Ends the call with the tool's output."""
        self._end("tool_call_completed", {} if output is None else {"output": output})

    def fail(self, error: BaseException | str) -> None:
        """Ends the call with the tool's error."""
        if isinstance(error, BaseException):
            self._end("tool_call_failed", {"error": error_of(error)["error"]})
        else:
            self._end("tool_call_failed", {"error": {"message": text_of(error)[:MAX_MESSAGE]}})

    def _end(self, event_type: str, data: dict[str, Any]) -> None:
        if not self._ended and self._process == os.getpid():
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
