"""The asyncio client, for web services and agents.

::

    async with tidings.aio.Client() as client:
        async with client.task("render-7", name="Render") as task:
            task.progress(40, "linking")

Reports are plain calls here, too: they never wait.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

from . import _native, _updates
from ._client import Client as _Blocking
from ._client import Command
from ._core import Core, Options, Token, dumps, seconds, take
from ._errors import Cancelled, Stopped, translate
from ._question import Question
from ._schema import TaskSnapshot
from ._task import Reports, beginning
from ._updates import Published, TaskCommanded, TaskPage, Update, commanded

__all__ = ["Client", "Command", "Commands", "Task", "Watch"]


async def ready(register: Callable[[Callable[[], object]], object]) -> None:
    """Waits until any thread calls a callback."""
    loop = asyncio.get_running_loop()
    called = loop.create_future()

    def call() -> None:
        if not called.done():
            called.set_result(None)

    register(lambda: _soon(loop, call))
    await called


def _soon(loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(act)
    except RuntimeError:
        pass  # The loop was closed: nobody waits any more.


async def _result(operation: _native.Operation) -> Any:
    try:
        await ready(operation.on_done)
    except BaseException:
        operation.cancel()
        raise
    return take(operation)


class Client:
    """A client of a Tidings server, for asyncio. After a loss it reconnects without help.

    The arguments are those of `tidings.Client`. Methods that wait have no timeout:
    use `asyncio.wait_for`. A coroutine that is cancelled loses no update.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: Token = None,
        ca: str | os.PathLike[str] | None = None,
        max_pending: int | None = None,
        max_pending_bytes: int | None = None,
        exit_timeout: float = 5.0,
    ) -> None:
        options = Options.of(url, token, ca, max_pending, max_pending_bytes, exit_timeout)
        self._core = Core(options)

    @classmethod
    def of(cls, client: _Blocking) -> Client:
        """Returns an asyncio client for a blocking client. Both share one connection."""
        face = cls.__new__(cls)
        face._core = client._core
        return face

    def __repr__(self) -> str:
        return f"<tidings.aio.Client {self._core.options.url}>"

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The server's URL."""
        return self._core.options.url

    @property
    def status(self) -> str:
        """``idle``, ``connecting``, ``connected``, ``waiting`` or ``stopped``."""
        native = self._core.existing()
        if self._core.is_closed:
            return "stopped"
        return "idle" if native is None else native.status()[0]

    async def connect(self) -> Client:
        """Waits for the server's greeting. Other calls do not need this one first."""
        await _result(self._core.native().connected())
        return self

    def set_token(self, token: str) -> None:
        """Replaces the token, also on the open connection."""
        self._core.set_token(token)

    def task(
        self,
        task_id: str,
        *,
        name: str | None = None,
        total: float | None = None,
        parent: str | Reports | None = None,
        weight: float | None = None,
        lease: float | None = None,
        source: str | None = None,
        exclusive: bool = False,
        obey: bool = True,
    ) -> Task:
        """Describes a task, which begins with its ``async with`` block.

        The arguments are those of `tidings.Client.task`. With `obey`, the command
        `cancel` cancels the block, which then raises `tidings.Cancelled`. For a task that
        reads its `commands` and answers `cancel` itself, pass ``obey=False``.
        """
        begin = beginning(name, total, parent, weight, lease, source)
        return Task(self, task_id, begin, exclusive, obey)

    async def publish(
        self,
        task_id: str,
        event_type: str,
        data: dict[str, Any] | None = None,
        *,
        event_id: str | None = None,
        source: str | None = None,
        run: int | None = None,
    ) -> Published:
        """Publishes one event, and waits until the server has it.

        The client sends an unanswered event again. The log contains it once. If the
        coroutine is cancelled, the event may still be published.
        """
        native = self._core.native()
        operation = native.publish(
            task_id, event_type, dumps(data or {}), event_id=event_id, source=source, run=run
        )
        return Published(*await _result(operation))

    def watch(
        self,
        target: str,
        *,
        tree: bool = False,
        since: str | int | None = None,
        history: int = 0,
    ) -> Watch:
        """Watches a task, a pattern or a tree: see `tidings.Client.watch`."""
        since = None if since is None else str(since)
        native = self._core.native()
        watch = native.watch(target, tree=tree, since=since, history=history)
        return Watch(self._core, watch)

    async def wait(self, task_id: str) -> TaskSnapshot:
        """Waits until a task has ended, and returns its state."""
        return TaskSnapshot._of(json.loads(await _result(self._core.native().wait(task_id))))

    async def snapshot(self, task_id: str) -> TaskSnapshot:
        """Returns the state of a task. A task without events is pending."""
        return TaskSnapshot._of(json.loads(await _result(self._core.native().snapshot(task_id))))

    async def tasks(
        self, *, status: str | None = None, prefix: str | None = None, after: str | None = None
    ) -> TaskPage:
        """Returns a page of the server's tasks: see `tidings.Client.tasks`."""
        operation = self._core.native().tasks(status=status, prefix=prefix, after=after)
        page = json.loads(await _result(operation))
        return TaskPage([TaskSnapshot._of(task) for task in page["tasks"]], page["next"])

    async def command(
        self, task_id: str, command: str, args: dict[str, Any] | None = None
    ) -> Published:
        """Sends a command to a task: see `tidings.Client.command`."""
        text = None if args is None else dumps(args)
        return Published(*await _result(self._core.native().command(task_id, command, text)))

    async def command_tree(
        self, task_id: str, command: str, args: dict[str, Any] | None = None
    ) -> list[TaskCommanded]:
        """Sends a command to a task and all tasks below it: see `tidings.Client.command_tree`."""
        text = None if args is None else dumps(args)
        native = self._core.native()
        return commanded(await _result(native.command_tree(task_id, command, text)))

    async def answer(self, task_id: str, input_id: str, value: Any) -> Published:
        """Answers an open question of a task: see `tidings.Client.answer`."""
        native = self._core.native()
        return Published(*await _result(native.answer(task_id, input_id, dumps(value))))

    @property
    def pending(self) -> int:
        """The number of publishes and reports that the server has not answered yet."""
        native = self._core.existing()
        return 0 if native is None else native.pending()

    async def flush(self, timeout: float = 10.0) -> int:
        """Waits, for at most `timeout` seconds, until the server has answered everything.

        Returns the number of publishes and reports without an answer. Raises `Stopped` if the
        server has refused this client: then nothing more is sent.
        """
        native = self._core.existing()
        if native is None:
            return 0
        left = int(await _result(native.flush(seconds(timeout))))
        self._core.raise_if_refused(native)
        return left

    async def close(self, timeout: float = 5.0) -> int:
        """Sends the waiting events, for at most `timeout` seconds, and disconnects.

        Returns the number of publishes and reports without an answer.
        """
        native = self._core.existing()
        self._core.close()
        return 0 if native is None else int(await _result(native.close(seconds(timeout))))


class Task(Reports):
    """A task for asyncio. It begins and ends with its ``async with`` block.

    The block reports an exception as failed and a cancellation as cancelled. The
    exception then leaves the block.

    Attributes:
        id (str): The task's id.
        result (Any): The result that the block reports. Set it in the block.
    """

    def __init__(
        self,
        client: Client,
        task_id: str,
        begin: dict[str, Any],
        exclusive: bool,
        obey: bool,
    ) -> None:
        """Use `Client.task`."""
        super().__init__(client._core, task_id, None)
        self._client = client
        self._begin = begin
        self._exclusive = exclusive
        self._obey = obey
        self._host: asyncio.Task[Any] | None = None
        self._asked: str | None = None
        self._cancellation: _native.Operation | None = None

    async def __aenter__(self) -> Task:
        native = self._core.native()
        if self._exclusive:
            self._native = await _result(native.begin_confirmed(self.id, **self._begin))
        else:
            self._native = native.begin(self.id, **self._begin)
        assert self._native is not None
        if self._obey:
            self._host = asyncio.current_task()
            loop = asyncio.get_running_loop()
            self._cancellation = self._native.cancelled()
            self._cancellation.on_done(lambda: _soon(loop, self._obeyed))
        self._enter()
        return self

    def _obeyed(self) -> None:
        """Cancels the block: the command `cancel` has come."""
        if self._cancellation is None or self._host is None:
            return
        try:
            self._asked = json.loads(str(self._cancellation.take()))
        except (_native.Failure, _native.Gone):
            return
        self._host.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        host, self._host = self._host, None
        if self._cancellation is not None:
            self._cancellation.cancel()
        if self._asked is None or not isinstance(error, asyncio.CancelledError):
            self._leave(error)
            return
        # Python 3.10 has no `uncancel`, and does not count.
        if host is not None and hasattr(host, "uncancel"):
            host.uncancel()
        cancelled = Cancelled(f"cancelled by {self._asked}")
        self._leave(cancelled)
        raise cancelled from error

    def child(self, task_id: str, **begin: Any) -> Task:
        """Describes a task below this one. Its arguments are those of `Client.task`."""
        return self._client.task(task_id, **{"parent": self.id, **begin})

    @property
    def commands(self) -> Commands:
        """An asynchronous iterator of the task's commands. `cancel` is one of them."""
        if self._native is None:
            raise Stopped("the task has not begun")
        try:
            return Commands(self._native.commands())
        except _native.Gone:
            raise Stopped("the task's commands belong to the process that does it") from None

    async def ask(
        self,
        prompt: str,
        schema: dict[str, Any] | None = None,
        *,
        choices: list[Any] | None = None,
        input_id: str | None = None,
    ) -> Any:
        """Asks the task's watchers a question, and waits for the answer: see `tidings.Task.ask`."""
        question = Question(self, prompt, schema, choices, input_id)
        async with self._client.watch(self.id) as watch:
            asked = asyncio.ensure_future(_result(question.ask()))
            update = asyncio.ensure_future(watch.__anext__())
            try:
                while True:
                    waits = {update} if asked.done() else {update, asked}
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    if update.done():
                        if question.is_answered(update.result()):
                            return question.answer
                        update = asyncio.ensure_future(watch.__anext__())
                    if asked.done():
                        asked.result()
                        if question.is_doubtful:
                            state = await self._client.snapshot(self.id)
                            if question.is_forgotten(state):
                                asked = asyncio.ensure_future(_result(question.ask()))
            except StopAsyncIteration:
                raise Stopped("the client was closed before an answer") from None
            finally:
                update.cancel()
                asked.cancel()


class _Wakes:
    """Waits for a native stream. One callback serves all waits, cancelled ones too."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None
        self._callback = self._wake

    def _wake(self) -> None:
        loop, event = self._loop, self._event
        if loop is not None and event is not None:
            _soon(loop, event.set)

    async def wait(self, register: Callable[[Callable[[], object]], None]) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._event is None:
            self._loop, self._event = loop, asyncio.Event()
        self._event.clear()
        register(self._callback)
        await self._event.wait()


class Watch:
    """An asynchronous iterator of updates about tasks.

    A coroutine that is cancelled while it waits loses no update.
    """

    def __init__(self, core: Core, native: _native.Watch) -> None:
        self._core = core
        self._native: _native.Watch | None = native
        self._wakes = _Wakes()

    def __aiter__(self) -> AsyncIterator[Update]:
        return self

    async def __anext__(self) -> Update:
        while self._native is not None:
            text = self._poll(self._native)
            if text is not None:
                update = _updates.read(text)
                if update is not None:
                    return update
            elif self._native is not None:
                await self._wakes.wait(self._native.on_ready)
        raise StopAsyncIteration

    def _poll(self, native: _native.Watch) -> str | None:
        try:
            return native.poll()
        except _native.Gone:
            raise Stopped("the watch belongs to the process that has made it") from None
        except _native.Failure as failure:
            if self._core.is_closed:
                self._native = None
                return None
            raise translate(failure) from None

    def state(self, task_id: str) -> TaskSnapshot | None:
        """Returns a task's state after the last update, or None before its first update."""
        try:
            text = None if self._native is None else self._native.state(task_id)
        except _native.Gone:
            raise Stopped("the watch belongs to the process that has made it") from None
        return None if text is None else TaskSnapshot._of(json.loads(text))

    async def close(self) -> None:
        """Ends the watch, also for a coroutine that waits for its next update."""
        self._native = None
        self._wakes._wake()

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Commands:
    """An asynchronous iterator of a task's commands. Each command comes once."""

    def __init__(self, native: _native.Commands) -> None:
        self._native = native
        self._wakes = _Wakes()

    def __aiter__(self) -> AsyncIterator[Command]:
        return self

    async def __anext__(self) -> Command:
        while True:
            try:
                command = self._native.poll()
            except _native.Gone:
                raise Stopped("the task's commands belong to the process that does it") from None
            except _native.Failure as failure:
                error = translate(failure)
                if isinstance(error, Stopped):
                    raise StopAsyncIteration from None
                raise error from None
            if command is not None:
                return Command(command)
            await self._wakes.wait(self._native.on_ready)
