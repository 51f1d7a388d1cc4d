"""Runs a script of ``docs/conformance/script.json`` through the package.

The package's client cannot be given a network or a clock. So the script's server listens on a
real port, and the pauses between connections are the client's own. A script waits for what must
happen, and asks after each message whether the client has taken it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import tidings

#: Nothing may take longer, however busy the machine is.
DEADLINE = 120.0
#: Codes that cannot be sent. They stand for an end without a close frame.
WITHOUT_FRAME = (1005, 1006, 1015)


class Script:
    """One client, and the server that the script is."""

    def __init__(self, vector: dict[str, Any]) -> None:
        self.name: str = vector["name"]
        self.tokens: list[str] = list(vector["tokens"])
        self.steps: list[dict[str, Any]] = vector["steps"]
        self.accepted: list[ServerConnection] = []
        #: Connections that a step has named.
        self.named = 0
        self.closed_at = float("-inf")
        #: Messages of this connection that no step has named.
        self.sent: list[dict[str, Any]] = []
        self.ref: Any = None
        self.told: list[str] = []
        self.watch: tidings.Watch | None = None
        self.of_tree = False
        self.publish: asyncio.Task[tidings.Published] | None = None
        self.command: asyncio.Task[list[tidings.TaskCommanded]] | None = None

    async def run(self) -> str | None:
        """Returns what the client did wrong, or nothing."""
        async with serve(
            self._accept, "127.0.0.1", 0, subprotocols=[Subprotocol("tidings.v1")]
        ) as server:
            # Both faces share the connection. The blocking one takes updates without waiting.
            self.blocking = tidings.Client(_url(server), token=self._token())
            async with tidings.aio.Client.of(self.blocking) as client:
                for number, step in enumerate(self.steps):
                    ((kind, value),) = step.items()
                    try:
                        await getattr(self, f"_{kind}")(client, value)
                    except AssertionError as fault:
                        return f"{self.name}, step {number} ({kind}): {fault}"
                for request in (self.publish, self.command):
                    if request is not None:
                        request.cancel()
        return None

    def _token(self) -> str | Callable[[], str] | None:
        if len(self.tokens) > 1:
            left = iter(self.tokens)
            return lambda: next(left)
        return self.tokens[0] if self.tokens else None

    async def _accept(self, socket: ServerConnection) -> None:
        self.accepted.append(socket)
        await socket.wait_closed()

    async def _watch(self, client: tidings.aio.Client, value: dict[str, Any]) -> None:
        self.of_tree = "tree" in value
        target = value["tree"] if self.of_tree else value["task_id"]
        self.watch = self.blocking.watch(target, tree=self.of_tree, since=value["since"])

    async def _command(self, client: tidings.aio.Client, value: dict[str, Any]) -> None:
        asked = client.command_tree(value["task_id"], value["command"], value["args"])
        self.command = asyncio.create_task(asked)

    async def _commanded(self, client: tidings.aio.Client, wanted: list[str] | None) -> None:
        assert self.command is not None
        answered: list[str] | None
        try:
            tasks = await asyncio.wait_for(self.command, DEADLINE)
            answered = [f"{task.task_id} {task.code or 'asked'}" for task in tasks]
        except tidings.Error:
            answered = None
        assert answered == wanted, f"the answer is {answered}"

    async def _publish(self, client: tidings.aio.Client, value: dict[str, Any]) -> None:
        event = client.publish(
            value["task_id"], value["event_type"], value["data"], event_id=value["event_id"]
        )
        self.publish = asyncio.create_task(event)

    async def _renews(self, client: tidings.aio.Client, token: str) -> None:
        client.set_token(token)

    async def _connects(self, client: tidings.aio.Client, value: dict[str, Any]) -> None:
        await until("the client connects", lambda: len(self.accepted) > self.named)
        self.named += 1
        assert len(self.accepted) == self.named, "the client has connected twice"
        waited = (time.monotonic() - self.closed_at) * 1000
        assert waited >= value["after_ms"], f"it has waited {waited:.0f} ms"
        request = self.accepted[-1].request
        assert request is not None
        shown = request.headers.get("Authorization")
        wanted = None if value["token"] is None else f"Bearer {value['token']}"
        assert shown == wanted, f"the client has shown {shown!r}"
        self.sent.clear()

    async def _server(self, client: tidings.aio.Client, message: dict[str, Any]) -> None:
        data = message["data"]
        if data.get("ref") == "$ref":
            message = {**message, "data": {**data, "ref": self.ref}}
        socket = self.accepted[-1]
        await socket.send(json.dumps(message))
        try:
            # A client answers a ping after what came before it.
            await asyncio.wait_for(await socket.ping(), DEADLINE)
        except ConnectionClosed:
            assert message["event_type"] == "going_away", "the client has closed the connection"

    async def _sends(self, client: tidings.aio.Client, wanted: dict[str, Any]) -> None:
        found: dict[str, Any] | None = None
        while found is None:
            for at, message in enumerate(self.sent):
                if message["type"] == wanted["type"]:
                    found = self.sent.pop(at)
                    break
            else:
                try:
                    text = await asyncio.wait_for(self.accepted[-1].recv(), DEADLINE)
                except (asyncio.TimeoutError, ConnectionClosed):
                    raise AssertionError(f"nothing like {wanted} was sent") from None
                self.sent.append(json.loads(text))
        for name, value in wanted.items():
            assert found.get(name) == value, f"{name} is {found.get(name)!r}, not {value!r}"
        self.ref = found.get("ref")

    async def _closes(self, client: tidings.aio.Client, code: int) -> None:
        self.closed_at = time.monotonic()
        socket = self.accepted[-1]
        if code in WITHOUT_FRAME:
            socket.transport.abort()
        else:
            await socket.close(code)

    async def _stops(self, client: tidings.aio.Client, value: bool) -> None:
        await until("the client stops", lambda: client.status == "stopped")
        assert len(self.accepted) == self.named, "the client has connected once more"

    async def _told(self, client: tidings.aio.Client, wanted: list[str]) -> None:
        assert self.watch is not None
        # The last message was answered, so the watch has all that follows from it.
        while (update := self.watch.next(0)) is not None:
            of = f"{update.task_id} " if self.of_tree and hasattr(update, "task_id") else ""
            self.told.extend(of + words for words in _worded(update))
        assert self.told == wanted, f"the program was told {self.told}"
        self.told.clear()

    async def _published(self, client: tidings.aio.Client, offset: int) -> None:
        assert self.publish is not None
        published = await asyncio.wait_for(self.publish, DEADLINE)
        assert published.offset == offset, f"the offset is {published.offset}"


def _worded(update: tidings.Update) -> list[str]:
    """Returns how a script words an update, if it does."""
    match update:
        case tidings.Event(offset=offset, merged_from=None):
            return [f"event {offset}"]
        case tidings.Event(offset=offset, merged_from=first):
            return [f"event {first}-{offset}"]
        case tidings.Gap(first=first, last=last, reason=reason):
            return [f"gap {first}-{last} {reason}"]
        case tidings.Reset(reason=reason, offset=offset, task=task):
            return [f"reset {task.epoch}:{offset} {reason}"]
    return []


def _url(server: Server) -> str:
    port = next(iter(server.sockets)).getsockname()[1]
    return f"http://127.0.0.1:{port}"


async def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)
