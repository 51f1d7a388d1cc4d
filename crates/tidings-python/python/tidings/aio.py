"""The asyncio face: for web services and agents.

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
from ._client import Command, Question
from ._core import Core, Options, Token, dumps, take
from ._errors import Cancelled, Stopped, translate
from ._schema import TaskSnapshot
from ._task import Reports
from ._updates import Published, TaskPage, Update

__all__ = ["Client", "Command", "Commands", "Task", "Watch"]


async def ready(register: Callable[[Callable[[], object]], object]) -> None:
    """Waits until a callback is called, from whichever thread."""
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
    """A connection to a Tidings server that comes back by itself, for asyncio.

    The arguments are those of `tidings.Client`. What waits has no timeout of its own:
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
        """Returns the asyncio face of a blocking client: both share one connection."""
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
        """Waits until the server has greeted. Not needed before anything else."""
        await _result(self._core.native().connected())
        return self

    def set_token(self, token: str) -> None:
        """Shows another token from now on."""
        self._core.native().set_token(token)

    def task(
        self,
        task_id: str,
        *,
        name: str | None = None,
        total: float | None = None,
        parent: str | Reports | None = None,
        lease: float | None = None,
        source: str | None = None,
        exclusive: bool = False,
        obey: bool = True,
    ) -> Task:
        """Describes a task, which begins with its ``async with`` block.

        The arguments are those of `tidings.Client.task`. With `obey`, the command
        `cancel` cancels the block, which then raises `tidings.Cancelled`. A task that
        reads its `commands` answers `cancel` itself: it says ``obey=False``.
        """
        begin: dict[str, Any] = {
            "name": name,
            "total": total,
            "parent": parent.id if isinstance(parent, Reports) else parent,
            "lease": lease,
            "source": source,
        }
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

        An event that was not answered is sent again, and is in the log once. If the
        coroutine is cancelled, the event may be published all the same.
        """
        native = self._core.native()
        operation = native.publish(
            task_id, event_type, dumps(data or {}), event_id=event_id, source=source, run=run
        )
        return Published(*await _result(operation))

    def watch(self, target: str, *, since: str | int | None = None, history: int = 0) -> Watch:
        """Watches a task, or all that match a pattern: see `tidings.Client.watch`."""
        since = None if since is None else str(since)
        return Watch(self._core, self._core.native().watch(target, since=since, history=history))

    async def wait(self, task_id: str) -> TaskSnapshot:
        """Waits until a task has ended, and returns its state."""
        return TaskSnapshot._of(json.loads(await _result(self._core.native().wait(task_id))))

    async def snapshot(self, task_id: str) -> TaskSnapshot:
        """Returns the state of a task. A task that nothing was published to is pending."""
        return TaskSnapshot._of(json.loads(await _result(self._core.native().snapshot(task_id))))

    async def tasks(
        self, *, status: str | None = None, prefix: str | None = None, after: str | None = None
    ) -> TaskPage:
        """Returns a page of the tasks that there are."""
        operation = self._core.native().tasks(status=status, prefix=prefix, after=after)
        page = json.loads(await _result(operation))
        return TaskPage([TaskSnapshot._of(task) for task in page["tasks"]], page["next"])

    async def command(
        self, task_id: str, command: str, args: dict[str, Any] | None = None
    ) -> Published:
        """Asks a task to do something: see `tidings.Client.command`."""
        text = None if args is None else dumps(args)
        return Published(*await _result(self._core.native().command(task_id, command, text)))

    async def answer(self, task_id: str, input_id: str, value: Any) -> Published:
        """Answers an open question of a task: see `tidings.Client.answer`."""
        native = self._core.native()
        return Published(*await _result(native.answer(task_id, input_id, dumps(value))))

    @property
    def pending(self) -> int:
        """How many publishes and reports the server has not answered yet."""
        native = self._core.existing()
        return 0 if native is None else native.pending()

    async def flush(self, timeout: float = 10.0) -> int:
        """Waits until all is answered, for so long at most. Returns how much is not."""
        native = self._core.existing()
        return 0 if native is None else int(await _result(native.flush(timeout)))

    async def close(self, timeout: float = 5.0) -> int:
        """Sends what waits, for so long at most, and disconnects."""
        native = self._core.existing()
        if self._core.is_closed or native is None:
            self._core.close()
            return 0
        self._core.close()
        return int(await _result(native.close(timeout)))


class Task(Reports):
    """A task for asyncio: it begins and ends with its ``async with`` block.

    After an exception it is reported as failed, after a cancellation as cancelled. The
    exception goes on.
    """

    def __init__(
        self,
        client: Client,
        task_id: str,
        begin: dict[str, Any],
        exclusive: bool,
        obey: bool,
    ) -> None:
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
        """What the task is asked to do: an asynchronous iterator. `cancel` is among it."""
        if self._native is None:
            raise Stopped("the task has not begun")
        return Commands(self._native.commands())

    async def ask(
        self,
        prompt: str,
        schema: dict[str, Any] | None = None,
        *,
        choices: list[Any] | None = None,
        input_id: str | None = None,
    ) -> Any:
        """Asks whoever watches, and waits for the answer: see `tidings.Task.ask`."""
        question = Question(self, prompt, schema, choices, input_id)
        async with self._client.watch(self.id) as watch:
            self.report("input_required", question.data)
            async for update in watch:
                if question.is_answered(update):
                    return question.answer
        raise Stopped("the client was closed before an answer")


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
    """What happens to tasks: an asynchronous iterator of updates.

    A coroutine that is cancelled while it waits takes no update with it.
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
        """Returns a task's state after the last update; None if there was none of it."""
        text = None if self._native is None else self._native.state(task_id)
        return None if text is None else TaskSnapshot._of(json.loads(text))

    async def close(self) -> None:
        """Ends the watch."""
        self._native = None
        self._wakes._wake()

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Commands:
    """What a task is asked to do: an asynchronous iterator, each command once."""

    def __init__(self, native: _native.Commands) -> None:
        self._native = native
        self._wakes = _Wakes()

    def __aiter__(self) -> AsyncIterator[Command]:
        return self

    async def __anext__(self) -> Command:
        while True:
            try:
                command = self._native.poll()
            except _native.Failure as failure:
                error = translate(failure)
                if isinstance(error, Stopped):
                    raise StopAsyncIteration from None
                raise error from None
            if command is not None:
                return Command(command)
            await self._wakes.wait(self._native.on_ready)
