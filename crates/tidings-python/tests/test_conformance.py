"""The vectors of docs/conformance, through the package."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

import tidings
from scripted import Script

VECTORS = Path(__file__).parent / "../../../docs/conformance"


#: Counts vectors that have passed. The summary of the tests prints the sum.
Count = Callable[[str, object], None]


def read(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text())["vectors"]
    return found


def vectors(name: str) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in read(name)]


@pytest.mark.parametrize("vector", vectors("reduce"))
def test_events_are_reduced_to_a_snapshot(vector: dict[str, Any], record_property: Count) -> None:
    state = vector["start"]
    for event in vector["events"]:
        state = tidings.reduce(state, event)
    assert state == vector["snapshot"]
    record_property("vectors", 1)


@pytest.mark.parametrize("vector", vectors("fold"))
def test_messages_are_folded_into_a_state(vector: dict[str, Any], record_property: Count) -> None:
    fold = tidings.Fold()
    for message in vector["messages"]:
        fold.message(message)
    assert fold.state == vector["state"]
    record_property("vectors", 1)


def test_values_in_other_scripts_weigh_what_they_weigh_on_the_server() -> None:
    state = read("reduce")[0]["start"]
    asked = {"input_id": "q", "prompt": "which?"}
    given = {"input_id": "q", "value": "漢" * 600, "by": "someone"}
    for offset, (kind, data) in enumerate([("input_required", asked), ("input_provided", given)]):
        event = {
            "task_id": state["task_id"],
            "epoch": state["epoch"],
            "offset": state["offset"] + 1 + offset,
            "timestamp": "2026-01-01T00:00:00.000Z",
            "event_type": kind,
            "data": data,
        }
        state = tidings.reduce(state, event)
    assert state["ended_inputs"][0]["value"] == "漢" * 600


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


async def faults(found: Iterable[Coroutine[Any, Any, str | None]]) -> list[str]:
    """Runs vectors side by side, because most of their time goes to pauses of the client."""
    return [fault for fault in await asyncio.gather(*found) if fault]


def test_a_close_is_followed_by_what_the_table_says(record_property: Count) -> None:
    found = read("close")
    assert asyncio.run(faults(follow(vector) for vector in found)) == []
    record_property("vectors", len(found))


def test_a_client_does_what_the_server_asks_for(record_property: Count) -> None:
    found = read("script")
    assert asyncio.run(faults(Script(vector).run() for vector in found)) == []
    record_property("vectors", len(found))
