"""The vectors of docs/conformance, through the package."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

import tidings

VECTORS = Path(__file__).parent / "../../../docs/conformance"


def vectors(name: str) -> list[Any]:
    found = json.loads((VECTORS / f"{name}.json").read_text())["vectors"]
    return [pytest.param(vector, id=vector["name"]) for vector in found]


@pytest.mark.parametrize("vector", vectors("reduce"))
def test_events_are_reduced_to_a_snapshot(vector: dict[str, Any]) -> None:
    state = vector["start"]
    for event in vector["events"]:
        state = tidings.reduce(state, event)
    assert state == vector["snapshot"]


@pytest.mark.parametrize("vector", vectors("fold"))
def test_messages_are_folded_into_a_state(vector: dict[str, Any]) -> None:
    fold = tidings.Fold()
    for message in vector["messages"]:
        fold.message(message)
    assert fold.state == vector["state"]


GREETING = {
    "client_id": "c",
    "protocol": "tidings.v1",
    "resume_token": "r",
    "heartbeat_interval_ms": 25_000,
}


async def follow(vector: dict[str, Any]) -> str | None:
    """Ends a connection as the vector says. Returns what the client did wrong."""
    closed: list[float] = []
    again: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def connection(socket: ServerConnection) -> None:
        if closed and not again.done():
            again.set_result(time.monotonic())
        message = {"event_type": "connection_established", "timestamp": "2026-11-23T04:45:12.123Z"}
        await socket.send(json.dumps({**message, "data": GREETING}))
        if closed:
            await socket.wait_closed()
            return
        if vector["going_away"]:
            message["event_type"] = "going_away"
            await socket.send(json.dumps({**message, "data": vector["going_away"]}))
        closed.append(time.monotonic())
        if vector["code"] in (1005, 1006, 1015):
            # These cannot be sent: they stand for an end without a code.
            socket.transport.abort()
        else:
            await socket.close(vector["code"])

    async with serve(connection, "127.0.0.1", 0, subprotocols=[Subprotocol("tidings.v1")]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with tidings.aio.Client(f"http://127.0.0.1:{port}") as client:
            client.watch("t")  # which connects
            while client.status != "stopped" and not again.done():
                await asyncio.sleep(0.01)
            then = "never" if client.status == "stopped" else "again"
            wanted = "never" if vector["then"] == "never" else "again"
            if then != wanted:
                return f"{vector['name']}: {then}, not {wanted}"
            if then == "again" and again.result() - closed[0] < vector["after_ms"] / 1000:
                return f"{vector['name']}: too early"
            return None


def test_a_close_is_followed_by_what_the_table_says() -> None:
    async def main() -> list[str | None]:
        found = json.loads((VECTORS / "close.json").read_text())["vectors"]
        print(len(found), "vectors")
        return await asyncio.gather(*(follow(vector) for vector in found))

    assert [fault for fault in asyncio.run(main()) if fault] == []
