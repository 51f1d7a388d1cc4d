"""The blocking face: for scripts, threads, workers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from . import _native, _updates
from ._core import Core, Options, Token, dumps, take, text_of, wait
from ._errors import Cancelled, Expired, Stopped, translate
from ._schema import TaskSnapshot
from ._task import Reports
from ._updates import Event, Published, TaskPage, Update


class Client:
    """A connection to a Tidings server that comes back by itself.

    ::

        client = tidings.Client("http://127.0.0.1:8000")
        with client.task("render-7", name="Render") as task:
            task.progress(40, "linking")

    - The client connects when it is first used. It may be made before the server is
      there, and before the process forks.
    - It may be used from any thread. A forked child gets a connection of its own.
    - `url`, `token` and `ca` default to the environment's ``TIDINGS_URL``,
      ``TIDINGS_TOKEN`` and ``TIDINGS_CA`` (a file of certificates as PEM).
    - `token` may be a function that returns one. It is called again when the server
      has refused the last token.
    - `max_pending` and `max_pending_bytes` bound what waits while the server is away.
    - As the process ends, what waits is sent, for `exit_timeout` seconds at most.
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

    def __repr__(self) -> str:
        return f"<tidings.Client {self._core.options.url}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def connect(self, timeout: float | None = 10.0) -> Client:
        """Waits until the server has greeted. Not needed before anything else.

        Raises `Stopped` if the server does not want this client, `TimeoutError` if it
        cannot be reached in time.
        """
        wait(self._core.native().connected(), timeout, f"connecting to {self.url}")
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
    ) -> Task:
        """Begins a task, which this process does.

        - `total` is how much there is to do, in any unit.
        - `parent` is the task that this one is a part of.
        - With a `lease` the server notices if this process dies: after so many seconds
          without a sign of life the task stalls, after as long again it fails as `lost`.
        - With `exclusive` this waits for the server, and raises `Refused` if another
          worker does the task already. Without, nothing is ever waited for or raised.
        """
        begin: dict[str, Any] = {
            "name": name,
            "total": total,
            "parent": parent.id if isinstance(parent, Reports) else parent,
            "lease": lease,
            "source": source,
        }
        native = self._core.native()
        if exclusive:
            operation = native.begin_confirmed(task_id, **begin)
            return Task(self, task_id, wait(operation, None, f"beginning {task_id}"))
        return Task(self, task_id, native.begin(task_id, **begin))

    def publish(
        self,
        task_id: str,
        event_type: str,
        data: dict[str, Any] | None = None,
        *,
        event_id: str | None = None,
        source: str | None = None,
        run: int | None = None,
        timeout: float | None = None,
    ) -> Published:
        """Publishes one event, and waits until the server has it.

        An event that was not answered is sent again, and is in the log once.
        """
        native = self._core.native()
        operation = native.publish(
            task_id, event_type, dumps(data or {}), event_id=event_id, source=source, run=run
        )
        return Published(*wait(operation, timeout, f"publishing to {task_id}"))

    def watch(
        self, target: str, *, since: str | int | None = None, history: int = 0
    ) -> Watch:
        """Watches a task, or all that match a pattern such as ``build-*``.

        The watch yields each task's state first, then every event in order, also
        through reconnects. `history` asks for that many earlier events as well, `since`
        for all after a position (``epoch:offset``), or with 0 for all that are kept.
        """
        since = None if since is None else str(since)
        return Watch(self._core, self._core.native().watch(target, since=since, history=history))

    def wait(self, task_id: str, timeout: float | None = None) -> TaskSnapshot:
        """Waits until a task has ended, and returns its state."""
        text = wait(self._core.native().wait(task_id), timeout, f"waiting for {task_id}")
        return TaskSnapshot._of(json.loads(text))

    def snapshot(self, task_id: str, timeout: float | None = None) -> TaskSnapshot:
        """Returns the state of a task. A task that nothing was published to is pending."""
        text = wait(self._core.native().snapshot(task_id), timeout, f"the state of {task_id}")
        return TaskSnapshot._of(json.loads(text))

    def tasks(
        self,
        *,
        status: str | None = None,
        prefix: str | None = None,
        after: str | None = None,
        timeout: float | None = None,
    ) -> TaskPage:
        """Returns a page of the tasks that there are."""
        operation = self._core.native().tasks(status=status, prefix=prefix, after=after)
        page = json.loads(wait(operation, timeout, "a list of tasks"))
        return TaskPage([TaskSnapshot._of(task) for task in page["tasks"]], page["next"])

    def command(
        self,
        task_id: str,
        command: str,
        args: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Published:
        """Asks a task to do something: `cancel`, or whatever its worker understands.

        Returns the place of the request in the task's log. What the task says to it
        comes as events.
        """
        operation = self._core.native().command(
            task_id, command, None if args is None else dumps(args)
        )
        return Published(*wait(operation, timeout, f"asking {task_id}"))

    def answer(
        self, task_id: str, input_id: str, value: Any, *, timeout: float | None = None
    ) -> Published:
        """Answers an open question of a task: the first answer wins.

        Returns the place of the answer in the task's log. Raises `Refused` if the
        question is answered already or not open, or if the value does not fit it.
        """
        operation = self._core.native().answer(task_id, input_id, dumps(value))
        return Published(*wait(operation, timeout, f"answering {task_id}"))

    @property
    def pending(self) -> int:
        """How many publishes and reports the server has not answered yet."""
        native = self._core.existing()
        return 0 if native is None else native.pending()

    def flush(self, timeout: float = 10.0) -> int:
        """Waits until all is answered, for so long at most. Returns how much is not."""
        native = self._core.existing()
        if native is None:
            return 0
        return int(wait(native.flush(timeout), None, "sending"))

    def close(self, timeout: float = 5.0) -> int:
        """Sends what waits, for so long at most, and disconnects.

        Returns how many publishes and reports were not answered.
        """
        native = self._core.existing()
        if self._core.is_closed or native is None:
            self._core.close()
            return 0
        self._core.close()
        return int(wait(native.close(timeout), None, "closing"))

    def __reduce__(self) -> tuple[Any, ...]:
        options = self._core.options
        return _restored, (options,)


_known: dict[Options, Client] = {}


def _restored(options: Options) -> Client:
    """Returns the client of a process that a pickled one has come to: one for all."""
    if options not in _known:
        client = Client.__new__(Client)
        client._core = Core(options)
        _known[options] = client
    return _known[options]


class Task(Reports):
    """A running task, and the duty to say how it ended.

    As a ``with`` block: at its end the task is reported as completed; after an
    exception as failed, with the traceback; after `KeyboardInterrupt` as cancelled. The
    exception goes on.

    A task that is forgotten without an end is reported as failed.
    """

    def __init__(self, client: Client, task_id: str, native: _native.Task | None) -> None:
        super().__init__(client._core, task_id, native)
        self._client = client

    def __enter__(self) -> Task:
        self._enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(error)

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process the task can be reported on; its end stays with this one.
        return Task, (self._client, self.id, None)

    def child(self, task_id: str, **begin: Any) -> Task:
        """Begins a task below this one. Its arguments are those of `Client.task`."""
        return self._client.task(task_id, **{"parent": self.id, **begin})

    @property
    def commands(self) -> Commands:
        """What the task is asked to do: an iterator. `cancel` is then among it."""
        if self._native is None:
            raise Stopped("the task's commands belong to the process that does it")
        return Commands(self._native.commands())

    def ask(
        self,
        prompt: str,
        schema: dict[str, Any] | None = None,
        *,
        choices: list[Any] | None = None,
        input_id: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Asks whoever watches, and waits for the answer.

        Raises `TimeoutError` after so many seconds, `Expired` if the server says that
        the question has expired, and `Cancelled` if the task is cancelled meanwhile.
        """
        question = Question(self, prompt, schema, choices, input_id)
        with self._client.watch(self.id) as watch:
            self.report("input_required", question.data)
            deadline = Deadline(timeout)
            while True:
                update = watch.next(min(deadline.left(), 0.5))
                if update is not None and question.is_answered(update):
                    return question.answer
                if self.cancelled:
                    raise Cancelled(f"{self.id} was cancelled")
                if update is None and deadline.is_over():
                    raise TimeoutError(f"nobody has answered {prompt!r} in time")


class Question:
    """A question of a task, and what was answered."""

    def __init__(
        self,
        task: Reports,
        prompt: str,
        schema: dict[str, Any] | None,
        choices: list[Any] | None,
        input_id: str | None,
    ) -> None:
        import uuid

        self.id = input_id or f"input-{uuid.uuid4().hex[:12]}"
        self.data: dict[str, Any] = {"input_id": self.id, "prompt": prompt}
        self.data |= {} if schema is None else {"schema": schema}
        self.data |= {} if choices is None else {"choices": choices}
        self.answer: Any = None

    def is_answered(self, update: Update) -> bool:
        """Takes an update; raises `Expired` if it ends the question without an answer."""
        match update:
            case Event("input_provided", data=data) if data.get("input_id") == self.id:
                self.answer = data.get("value")
                return True
            case Event("input_expired", data=data) if data.get("input_id") == self.id:
                raise Expired(f"{self.data['prompt']!r} has expired without an answer")
        return False


class Deadline:
    """A moment in the future; none is never."""

    def __init__(self, timeout: float | None) -> None:
        import time

        self._now = time.monotonic
        self._end = None if timeout is None else self._now() + timeout

    def left(self) -> float:
        """Seconds that are left."""
        return float("inf") if self._end is None else max(0.0, self._end - self._now())

    def is_over(self) -> bool:
        return self._end is not None and self._now() >= self._end


class Watch:
    """What happens to tasks: an iterator of updates. `close` ends it."""

    def __init__(self, core: Core, native: _native.Watch) -> None:
        self._core = core
        self._native: _native.Watch | None = native

    def __iter__(self) -> Iterator[Update]:
        return self

    def __next__(self) -> Update:
        update = self.next()
        if update is None:
            raise StopIteration
        return update

    def next(self, timeout: float | None = None) -> Update | None:
        """Returns the next update. None: there is none in time, or the watch was closed."""
        deadline = Deadline(timeout)
        while True:
            native = self._native
            if native is None:
                return None
            text = self._poll(native)
            if text is not None:
                update = _updates.read(text)
                if update is not None:
                    return update
            elif deadline.is_over() or self._native is None:
                return None
            else:
                native.wait(None if timeout is None else deadline.left())

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

    def close(self) -> None:
        """Ends the watch."""
        self._native = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Command:
    """Something that a task is asked to do; answer it with `complete` or `reject`."""

    def __init__(self, native: _native.Command) -> None:
        self._native = native
        #: The command's id.
        self.id = native.id
        #: What to do.
        self.name = native.name
        #: With what.
        self.args: Any = None if native.args is None else json.loads(native.args)
        #: Who asks.
        self.by = native.by

    def __repr__(self) -> str:
        return f"<tidings.Command {self.name} by {self.by}>"

    def accept(self) -> None:
        """Says that it will be done."""
        self._answer(self._native.accept)

    def complete(self, result: Any = None) -> None:
        """Says that it is done."""
        text = None if result is None else dumps(result)
        self._answer(lambda: self._native.complete(text))

    def reject(self, reason: str) -> None:
        """Says that it will not be done, and why."""
        self._answer(lambda: self._native.reject(text_of(reason)))

    def _answer(self, answer: Any) -> None:
        try:
            answer()
        except _native.Failure as failure:
            raise translate(failure) from None


class Commands:
    """What a task is asked to do: an iterator, each command once."""

    def __init__(self, native: _native.Commands) -> None:
        self._native = native

    def __iter__(self) -> Iterator[Command]:
        return self

    def __next__(self) -> Command:
        command = self.next()
        if command is None:
            raise StopIteration
        return command

    def next(self, timeout: float | None = None) -> Command | None:
        """Returns the next command. None: there is none in time, or the client stopped."""
        deadline = Deadline(timeout)
        while True:
            try:
                command = self._native.poll()
            except _native.Failure as failure:
                error = translate(failure)
                if isinstance(error, Stopped):
                    return None
                raise error from None
            if command is not None:
                return Command(command)
            if deadline.is_over():
                return None
            self._native.wait(None if timeout is None else deadline.left())


__all__ = ["Client", "Command", "Commands", "Task", "Watch", "take"]
