"""The blocking client, for scripts, threads and workers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from . import _native, _updates
from ._core import Core, Options, Token, dumps, seconds, take, text_of, wait
from ._errors import Cancelled, Stopped, translate
from ._question import Deadline, Question
from ._schema import TaskSnapshot
from ._task import Reports, beginning
from ._updates import Published, TaskCommanded, TaskPage, Update, commanded

#: The most seconds between two looks at whether a task that asks is cancelled.
PAUSE = 0.25


class Client:
    """A client of a Tidings server. After a loss it reconnects without help.

    ::

        client = tidings.Client("http://127.0.0.1:8000")
        with client.task("render-7", name="Render") as task:
            task.progress(40, "linking")

    - The client connects at its first use. A program may create it before the server
      starts, and before the process forks.
    - All threads may use it. A forked child gets its own connection.
    - `url`, `token` and `ca` default to the environment's ``TIDINGS_URL``,
      ``TIDINGS_TOKEN`` and ``TIDINGS_CA`` (a file of certificates as PEM).
    - `token` may be a function that returns one. It is called again when the server
      has refused the last token.
    - `max_pending` and `max_pending_bytes` limit the unsent events while the server is away.
    - At the end of the process, the client sends the waiting events, for at most
      `exit_timeout` seconds.
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
        """Waits for the server's greeting. Other calls do not need this one first.

        Raises `Stopped` if the server refuses this client, and `TimeoutError` if the
        server cannot be reached in time.
        """
        wait(self._core.native().connected(), timeout, f"connecting to {self.url}")
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
    ) -> Task:
        """Begins a task in this process.

        - `total` is the whole amount of work, in any unit.
        - `parent` is the task that this one is a part of, and `weight` is its weight in
          the parent's progress: 0, or 0.001 to 1,000,000. Without one it is 1.
        - With a `lease`, the server notices the death of this process. After `lease` seconds
          without a sign of life the task stalls. After as many again it fails as `lost`.
        - With `exclusive`, the call waits for the server, and raises `Refused` if another
          worker has the task already. Without it, the call neither waits nor raises.
        """
        begin = beginning(name, total, parent, weight, lease, source)
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

        The client sends an unanswered event again. The log contains it once.

        - `data` is any JSON object; `tidings.types` has the data of the standard types.
        - `event_id` is an idempotency key: the server accepts one event for each key.
        - `source` names the producer of the event.
        - `run` is the event's run. The server refuses the event during another run.
        """
        native = self._core.native()
        operation = native.publish(
            task_id, event_type, dumps(data or {}), event_id=event_id, source=source, run=run
        )
        return Published(*wait(operation, timeout, f"publishing to {task_id}"))

    def watch(
        self,
        target: str,
        *,
        tree: bool = False,
        since: str | int | None = None,
        history: int = 0,
    ) -> Watch:
        """Watches a task, or all tasks that match a pattern such as ``build-*``.

        With `tree`, the watch includes all tasks below the task, also those that start later.

        The watch yields each task's state first, then every event in order, also
        through reconnects. `history` asks for that many earlier events. `since` asks for all
        events after a position (``epoch:offset``); 0 asks for all that the server keeps.
        """
        since = None if since is None else str(since)
        native = self._core.native()
        watch = native.watch(target, tree=tree, since=since, history=history)
        return Watch(self._core, watch)

    def wait(self, task_id: str, timeout: float | None = None) -> TaskSnapshot:
        """Waits until a task has ended, and returns its state."""
        text = wait(self._core.native().wait(task_id), timeout, f"waiting for {task_id}")
        return TaskSnapshot._of(json.loads(text))

    def snapshot(self, task_id: str, timeout: float | None = None) -> TaskSnapshot:
        """Returns the state of a task. A task without events is pending."""
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
        """Returns a page of the server's tasks.

        `status` selects tasks by their status, and `prefix` by the start of their ids. `after` is
        the `next` of the previous page.
        """
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
        """Sends a command to a task: `cancel`, or another one that its worker understands.

        Returns the place of the request in the task's log. The task's answers are events.
        """
        operation = self._core.native().command(
            task_id, command, None if args is None else dumps(args)
        )
        return Published(*wait(operation, timeout, f"asking {task_id}"))

    def command_tree(
        self,
        task_id: str,
        command: str,
        args: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> list[TaskCommanded]:
        """Sends a command to a task and to all tasks below it, the deepest first.

        Returns one result for each task. The server skips tasks below that have ended. It
        leaves out tasks that the token does not allow to watch.
        """
        operation = self._core.native().command_tree(
            task_id, command, None if args is None else dumps(args)
        )
        return commanded(wait(operation, timeout, f"asking the tree of {task_id}"))

    def answer(
        self, task_id: str, input_id: str, value: Any, *, timeout: float | None = None
    ) -> Published:
        """Answers an open question of a task. The first answer wins.

        Returns the place of the answer in the task's log. Raises `Refused` if the
        question is answered already or not open, or if the value does not fit it.
        """
        operation = self._core.native().answer(task_id, input_id, dumps(value))
        return Published(*wait(operation, timeout, f"answering {task_id}"))

    @property
    def pending(self) -> int:
        """The number of publishes and reports that the server has not answered yet."""
        native = self._core.existing()
        return 0 if native is None else native.pending()

    def flush(self, timeout: float = 10.0) -> int:
        """Waits, for at most `timeout` seconds, until the server has answered everything.

        Returns the number of publishes and reports without an answer. Raises `Stopped` if the
        server has refused this client: then nothing more is sent.
        """
        native = self._core.existing()
        if native is None:
            return 0
        left = int(wait(native.flush(seconds(timeout)), None, "sending"))
        self._core.raise_if_refused(native)
        return left

    def close(self, timeout: float = 5.0) -> int:
        """Sends the waiting events, for at most `timeout` seconds, and disconnects.

        Returns the number of publishes and reports without an answer. They may not have
        reached the server. If the server has refused this client, they have not, and
        `flush` says why.
        """
        native = self._core.existing()
        self._core.close()
        return 0 if native is None else int(wait(native.close(seconds(timeout)), None, "closing"))

    def __reduce__(self) -> tuple[Any, ...]:
        options = self._core.options
        return _restored, (options,)


_known: dict[Options, Client] = {}


def _restored(options: Options) -> Client:
    """Returns the client for an unpickled one. Equal clients of a process share one."""
    if options not in _known:
        client = Client.__new__(Client)
        client._core = Core(options)
        _known[options] = client
    return _known[options]


class Task(Reports):
    """A running task. Its owner must report how it ends.

    A ``with`` block reports the end: a normal end as completed, an exception as failed
    with its traceback, and `KeyboardInterrupt` as cancelled. The exception then leaves
    the block.

    A task that is garbage collected without an end is reported as failed.

    Attributes:
        id (str): The task's id.
        result (Any): The result that the `with` block reports. Set it in the block.
    """

    def __init__(self, client: Client, task_id: str, native: _native.Task | None) -> None:
        """Use `Client.task`."""
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
        # Another process can report on the task, but only this one reports its end.
        return Task, (self._client, self.id, None)

    def child(self, task_id: str, **begin: Any) -> Task:
        """Begins a task below this one. Its arguments are those of `Client.task`.

        ``task.child("tests", weight=3)`` counts three times as much as a child without
        a weight.
        """
        return self._client.task(task_id, **{"parent": self.id, **begin})

    @property
    def commands(self) -> Commands:
        """An iterator of the task's commands. After this call, `cancel` is one of them."""
        if self._native is None:
            raise Stopped("the task's commands belong to the process that does it")
        try:
            return Commands(self._native.commands())
        except _native.Gone:
            raise Stopped("the task's commands belong to the process that does it") from None

    def ask(
        self,
        prompt: str,
        schema: dict[str, Any] | None = None,
        *,
        choices: list[Any] | None = None,
        input_id: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Asks the task's watchers a question, and waits for the answer.

        - `schema` is the JSON Schema of the answer. The server refuses an answer that does
          not fit. ``{"type": "boolean"}`` asks for yes or no.
        - `choices` are the answers to choose from.
        - `input_id` names the question. Without it, the name is random.

        Raises `TimeoutError` after `timeout` seconds, `Expired` if the question has
        expired on the server, and `Cancelled` if the task is cancelled meanwhile. Raises
        `Refused` or `ValueError` if the server does not take the question, for instance
        because the schema is none. If a server forgets the question, it is asked again.
        """
        question = Question(self, prompt, schema, choices, input_id)
        with self._client.watch(self.id) as watch:
            asked: _native.Operation | None = question.ask()
            deadline = Deadline(timeout)
            while True:
                update = watch.next(min(deadline.left(), 0.05 if asked else PAUSE))
                if update is not None and question.is_answered(update):
                    return question.answer
                if asked is not None and asked.wait(0):
                    take(asked)
                    asked = None
                if asked is None and question.is_doubtful:
                    try:
                        state = self._client.snapshot(self.id, min(deadline.left(), 5.0))
                    except TimeoutError:
                        pass
                    else:
                        asked = question.ask() if question.is_forgotten(state) else None
                if self.cancelled:
                    raise Cancelled(f"{self.id} was cancelled")
                if update is None and deadline.is_over():
                    raise TimeoutError(f"nobody has answered {prompt!r} in time")


class Watch:
    """An iterator of updates about tasks. `close` ends it."""

    def __init__(self, core: Core, native: _native.Watch) -> None:
        """Use `Client.watch`."""
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
        """Returns the next update, or None after the timeout or after `close`."""
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
                native.wait(seconds(deadline.left()))

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

    def close(self) -> None:
        """Ends the watch, also for a thread that waits for its next update."""
        native, self._native = self._native, None
        if native is not None:
            try:
                native.close()
            except _native.Gone:
                pass  # Another process has made it, and waits for it.

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Command:
    """A command to a task. Answer it with `complete` or `reject`.

    Attributes:
        id (str): The command's id.
        name (str): The command's name.
        args (Any): The command's arguments, or None.
        by (str): The sender.
    """

    id: str
    name: str
    args: Any
    by: str

    def __init__(self, native: _native.Command) -> None:
        """Use `Task.commands`."""
        self._native = native
        self.id = native.id
        self.name = native.name
        self.args = None if native.args is None else json.loads(native.args)
        self.by = native.by

    def __repr__(self) -> str:
        return f"<tidings.Command {self.name} by {self.by}>"

    def accept(self) -> None:
        """Accepts the command: the task will obey it."""
        self._answer(self._native.accept)

    def complete(self, result: Any = None) -> None:
        """Reports that the task has obeyed the command."""
        text = None if result is None else dumps(result)
        self._answer(lambda: self._native.complete(text))

    def reject(self, reason: str) -> None:
        """Refuses the command, with a reason."""
        self._answer(lambda: self._native.reject(text_of(reason)))

    def _answer(self, answer: Any) -> None:
        try:
            answer()
        except _native.Gone:
            raise Stopped("the command belongs to the process that has received it") from None
        except _native.Failure as failure:
            raise translate(failure) from None


class Commands:
    """An iterator of a task's commands. Each command comes once."""

    def __init__(self, native: _native.Commands) -> None:
        """Use `Task.commands`."""
        self._native = native

    def __iter__(self) -> Iterator[Command]:
        return self

    def __next__(self) -> Command:
        command = self.next()
        if command is None:
            raise StopIteration
        return command

    def next(self, timeout: float | None = None) -> Command | None:
        """Returns the next command, or None after the timeout or after the client has stopped."""
        deadline = Deadline(timeout)
        while True:
            try:
                command = self._native.poll()
            except _native.Gone:
                raise Stopped("the task's commands belong to the process that does it") from None
            except _native.Failure as failure:
                error = translate(failure)
                if isinstance(error, Stopped):
                    return None
                raise error from None
            if command is not None:
                return Command(command)
            if deadline.is_over():
                return None
            self._native.wait(seconds(deadline.left()))


__all__ = ["Client", "Command", "Commands", "Task", "Watch", "take"]
