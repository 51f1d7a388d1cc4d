"""A Tidings client for agents: publish, watch, and be commanded.

One WebSocket to the server, which comes back by itself. A publish that was not
answered is sent again under the same ``event_id``, so it is in the task's log
once. A watch goes on after the last event that was seen; what cannot come any
more is told by a ``gap`` message.

    async with Client("http://127.0.0.1:8000") as client:
        await client.publish("build-7", "task_started", {"name": "Build"})
        async for command in client.commands("build-7"):
            await command.complete()

Needs Python 3.11 and ``websockets``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from close_codes import RECONNECT, TOKEN

log = logging.getLogger("tidings")

Message = dict[str, Any]

#: Seconds of pause before the first reconnect, and between two at most; drawn
#: between nothing and that ("full jitter").
BACKOFF_BASE = 0.25
BACKOFF_CAP = 15.0
#: Seconds of pause before any reconnect, whatever the server says.
BACKOFF_FLOOR = 0.05
#: Publishes that may wait for their answer; ``publish`` waits for room. Below
#: the 1,024 ids of a task that a server remembers.
MAX_PENDING = 512
#: Messages that may wait in one watch. Past it the watch stands still and later
#: goes on from there, out of the server's log.
MAX_UNREAD = 1_000


class Refused(Exception):
    """The server refused a request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Stopped(Exception):
    """The client does not connect any more."""


@dataclass
class Watch:
    """What a task's watch has to come, and where it is."""

    task_id: str
    since: str | None
    queue: asyncio.Queue[Message | None] = field(default_factory=asyncio.Queue)
    epoch: str | None = None
    next: int | None = None
    #: The ``ref`` of the subscription whose answer counts.
    ref: int | None = None
    #: It was told the task's state.
    joined: bool = False
    #: Something did not fit, or was lost: it must subscribe again.
    behind: bool = False

    def position(self) -> str | None:
        if self.epoch is None or self.next is None:
            return self.since
        return f"{self.epoch}:{self.next - 1}"


@dataclass
class Command:
    """Something that a task is asked to do; answer it with one of its methods."""

    client: Client
    task_id: str
    id: str
    name: str
    args: Message
    by: str

    async def accept(self) -> None:
        await self._answer("command_accepted", {}, "accepted")

    async def complete(self, result: Any = None) -> None:
        data = {} if result is None else {"result": result}
        await self._answer("command_completed", data, "answer")

    async def reject(self, reason: str) -> None:
        await self._answer("command_rejected", {"reason": reason}, "answer")

    async def _answer(self, event_type: str, data: Message, what: str) -> None:
        # The id makes the answer one, whatever breaks in between.
        await self.client.publish(
            self.task_id, event_type, {"command_id": self.id, **data}, event_id=f"{self.id}/{what}"
        )


def reaction(goodbye: Message | None, code: int | None) -> tuple[str, int]:
    """What a client does after a close, and how long it waits first, in milliseconds.

    ``goodbye`` is the data of ``going_away``, if the server said it; else the
    protocol's table of close codes decides.
    """
    if goodbye is not None:
        return goodbye["reconnect"], goodbye.get("reconnect_after_ms") or 0
    return RECONNECT.get(code or 0, "backoff"), 0


class Client:
    """A connection to a Tidings server; use it as an async context manager.

    ``token`` is a token, or a function that gives one: it is asked at the start, and
    again when the server does not take the last one.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, token: str | Callable[[], str] | None = None
    ) -> None:
        parts = urlsplit(url)
        schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
        if parts.scheme not in schemes or not parts.netloc:
            raise ValueError(f"{url!r} is no URL such as http://127.0.0.1:8000")
        path = parts.path.rstrip("/") + "/ws"
        self._url = urlunsplit((schemes[parts.scheme], parts.netloc, path, "", ""))
        self._source = token if callable(token) else None
        self._token = token() if callable(token) else token
        self._refs = itertools.count(1)
        self._prefix = uuid.uuid4().hex
        self._pending: dict[int, tuple[str, asyncio.Future[Message]]] = {}
        self._room = asyncio.Semaphore(MAX_PENDING)
        self._watches: list[Watch] = []
        self._connection: ClientConnection | None = None
        self._stopped: str | None = None
        self._runner: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Client:
        self._runner = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        self._stop("the client was closed")

    # What programs do.

    async def publish(
        self,
        task_id: str,
        event_type: str,
        data: Message | None = None,
        *,
        event_id: str | None = None,
        source: str | None = None,
    ) -> Message:
        """Publishes an event; gives ``{epoch, offset, duplicate}`` once the server has it."""
        ref = next(self._refs)
        message: Message = {
            "type": "publish",
            "ref": ref,
            "task_id": task_id,
            "event_type": event_type,
            "data": data or {},
            "event_id": event_id or f"{self._prefix}-{ref}",
        }
        if source:
            message["source"] = source
        async with self._room:
            if self._stopped:
                raise Stopped(self._stopped)
            answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            text = json.dumps(message)
            self._pending[ref] = (text, answer)
            try:
                await self._send(text)
                return await answer
            finally:
                self._pending.pop(ref, None)

    async def watch(self, task_id: str, *, since: str | None = None) -> AsyncIterator[Message]:
        """The task's state (``subscribed``), then its events and gaps, in order and once.

        ``since`` is a position ``epoch:offset``, or ``"0"`` for all that is retained.
        """
        watch = Watch(task_id, since)
        self._watches.append(watch)
        try:
            if self._connection:
                await self._subscribe(watch)
            while True:
                if self._stopped and watch.queue.empty():
                    raise Stopped(self._stopped)
                message = await watch.queue.get()
                if message is None:
                    continue
                if watch.behind and watch.queue.empty() and self._connection:
                    await self._subscribe(watch)
                yield message
        finally:
            self._watches.remove(watch)
            if not any(other.task_id == task_id for other in self._watches):
                await self._send(json.dumps({"type": "unsubscribe", "task_id": task_id}))

    async def commands(self, task_id: str) -> AsyncIterator[Command]:
        """What the task is asked to do, each request once; unanswered ones from before first."""
        seen: set[str] = set()
        async for message in self.watch(task_id):
            data = message["data"]
            if message["event_type"] == "command_requested":
                requests = [data]
            else:
                requests = (data.get("snapshot") or {}).get("pending_commands", [])
            for request in requests:
                if request["command_id"] in seen:
                    continue
                seen.add(request["command_id"])
                yield Command(
                    self,
                    task_id,
                    request["command_id"],
                    request["command"],
                    request.get("args") or {},
                    request["by"],
                )

    async def authenticate(self, token: str) -> None:
        """Uses another token: on the connection that there is, and on later ones."""
        self._token = token
        await self._send(json.dumps({"type": "authenticate", "token": token}))

    # How it stays connected.

    def _renew(self) -> bool:
        """Gets another token, if there is one: the same would be refused again."""
        token = self._source() if self._source else self._token
        renewed = token != self._token
        self._token = token
        return renewed

    async def _run(self) -> None:
        failures = 0
        while not self._stopped:
            pause: float | None = None
            try:
                headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
                async with connect(
                    self._url, additional_headers=headers, subprotocols=["tidings.v1"],  # type: ignore[list-item]
                    max_size=1 << 20, open_timeout=10, ping_interval=15, ping_timeout=15,
                ) as connection:
                    pause = await self._serve(connection)
                    failures = 0
            except InvalidStatus as error:
                if error.response.status_code in (401, 403) and not self._renew():
                    self._stop(f"the server answered with {error.response.status_code}")
                    return
                log.warning("%s: %s", self._url, error)
            except (OSError, WebSocketException, TimeoutError) as error:
                log.warning("%s cannot be reached (%s); trying again", self._url, error)
            if self._stopped:
                return
            if pause is None:
                pause = random.uniform(0, min(BACKOFF_CAP, BACKOFF_BASE * 2**failures))
                failures = min(failures + 1, 10)
            await asyncio.sleep(max(pause, BACKOFF_FLOOR))

    async def _serve(self, connection: ClientConnection) -> float | None:
        """Runs one connection to its end; gives the pause that the server asked for."""
        goodbye: Message | None = None
        try:
            async for text in connection:
                message = json.loads(text)
                kind, data = message["event_type"], message["data"]
                if "offset" in message:
                    self._event(message)
                elif kind == "connection_established":
                    await self._send_again(connection)
                    self._connection = connection
                    for watch in list(self._watches):
                        await self._subscribe(watch)
                elif kind == "ack":
                    self._answer(data, None)
                elif kind == "error":
                    self._answer(data, Refused(data["code"], data["message"]))
                elif kind == "subscribed" and "snapshot" in data:
                    self._subscribed(message)
                elif kind == "gap" and message.get("task_id"):
                    self._gap(message)
                elif kind == "reset":
                    self._reset(message)
                elif kind == "going_away":
                    goodbye = data
                await self._catch_up()
        except ConnectionClosed:
            pass
        finally:
            self._connection = None
        code = connection.close_code
        then, after_ms = reaction(goodbye, code)
        if code in TOKEN and self._renew():
            return 0
        if then == "never":
            why = goodbye["reason"] if goodbye else f"the server closed the connection with {code}"
            self._stop(why)
        return None if then == "backoff" else after_ms / 1000

    async def _send_again(self, connection: ClientConnection) -> None:
        """What was not answered, in its order; what is published meanwhile comes after it."""
        sent: set[int] = set()
        while unsent := [ref for ref in self._pending if ref not in sent]:
            for ref in unsent:
                sent.add(ref)
                if publish := self._pending.get(ref):
                    await connection.send(publish[0])

    async def _send(self, text: str) -> None:
        # What is lost here is sent again when the connection is back.
        if self._connection:
            with contextlib.suppress(ConnectionClosed):
                await self._connection.send(text)

    def _answer(self, data: Message, error: Exception | None) -> None:
        ref = data.get("ref")
        for watch in self._watches:
            if error and watch.ref == ref:
                log.error("watching %s: %s", watch.task_id, error)
                self._stop(str(error))
        _, answer = self._pending.get(ref, ("", None)) if isinstance(ref, int) else ("", None)
        if answer and not answer.done():
            if error:
                answer.set_exception(error)
            else:
                answer.set_result(data)

    async def _subscribe(self, watch: Watch) -> None:
        watch.ref = next(self._refs)
        watch.behind = False
        message: Message = {"type": "subscribe", "ref": watch.ref, "task_id": watch.task_id}
        if position := watch.position():
            message["since"] = position
        await self._send(json.dumps(message))

    async def _catch_up(self) -> None:
        for watch in list(self._watches):
            if watch.behind and watch.queue.empty():
                await self._subscribe(watch)

    def _subscribed(self, message: Message) -> None:
        data = message["data"]
        for watch in self._watches:
            asked = watch.ref == data.get("ref")
            if watch.task_id == message["task_id"] and watch.next == 1 and (asked or data["offset"] == 0):
                # Before the first event there is one place, whatever its epoch was called.
                watch.epoch = data["epoch"]
            if not asked:
                continue
            if not watch.joined:
                watch.joined = True
                watch.queue.put_nowait(message)
            if watch.next is None and watch.since is None:
                watch.epoch, watch.next = data["epoch"], data["offset"] + 1
            elif watch.next is None and watch.since == "0":
                watch.epoch, watch.next = data["epoch"], 1
            elif watch.next is None and watch.since:
                epoch, _, offset = watch.since.partition(":")
                watch.epoch = epoch if int(offset) else data["epoch"]
                watch.next = int(offset) + 1

    def _event(self, message: Message) -> None:
        for watch in self._watches:
            if watch.task_id != message["task_id"] or watch.next is None or watch.behind:
                continue
            if message["offset"] < watch.next:
                continue
            # A merged event stands for all offsets from `from` on.
            if message.get("from", message["offset"]) > watch.next or watch.queue.qsize() >= MAX_UNREAD:
                watch.behind = True
                continue
            watch.next = message["offset"] + 1
            watch.queue.put_nowait(message)

    def _gap(self, message: Message) -> None:
        data = message["data"]
        for watch in self._watches:
            if watch.task_id != message["task_id"] or watch.next is None or watch.behind:
                continue
            if data["to"] < watch.next:
                continue
            if data["from"] > watch.next:
                watch.behind = True
                continue
            watch.next = data["to"] + 1
            watch.queue.put_nowait(message)

    def _reset(self, message: Message) -> None:
        data = message["data"]
        for watch in self._watches:
            if watch.task_id != message["task_id"] or watch.next is None or watch.behind:
                continue
            ahead = data["reason"] == "ahead"
            if watch.next > data["offset"] + 1 if ahead else watch.epoch != data["epoch"]:
                watch.epoch, watch.next = data["epoch"], data["offset"] + 1
                watch.queue.put_nowait(message)

    def _stop(self, why: str) -> None:
        self._stopped = self._stopped or why
        for _, answer in self._pending.values():
            if not answer.done():
                answer.set_exception(Stopped(why))
        for watch in self._watches:
            watch.queue.put_nowait(None)
