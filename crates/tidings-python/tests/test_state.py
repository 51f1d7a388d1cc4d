"""The state promise against a real server: a reader that stalls folds the server's own state."""

from __future__ import annotations

import dataclasses
import json
import random
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import Message
from typing import Any

import pytest
from conftest import DEADLINE, Server
from websockets.sync.client import connect

import tidings

Fields = dict[str, Any]

DELTAS = 9_000
#: Bytes of the text of a delta.
TEXT = 600


def ask(server: Server, path: str, **headers: str) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(server.url + path, headers=headers)
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return answer.status, answer.headers, answer.read()


def publish(server: Server, task: str, events: list[Fields]) -> None:
    """Publishes events, in batches of 100."""
    for at in range(0, len(events), 100):
        lines = "\n".join(json.dumps(event) for event in events[at : at + 100])
        request = urllib.request.Request(
            f"{server.url}/api/tasks/{task}/events",
            lines.encode(),
            {"Content-Type": "application/x-ndjson"},
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            assert answer.status == 201


def snapshot(server: Server, task: str) -> Fields:
    found: Fields = json.loads(ask(server, f"/api/tasks/{task}")[2])
    return found


class Reader:
    """A subscriber with a receive buffer of 2 KiB. It reads nothing until it is told to."""

    def __init__(self, server: Server, task: str, opened: ExitStack) -> None:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        narrow.settimeout(DEADLINE)
        narrow.connect(("127.0.0.1", server.port))
        url = f"ws://127.0.0.1:{server.port}/ws/tasks/{task}"
        # A queue of one message: the library does not read ahead.
        self.connection = opened.enter_context(
            connect(
                url,
                sock=narrow,
                max_queue=1,
                compression=None,
                close_timeout=1,
                # A reader that stalls cannot see the answer to a ping.
                ping_interval=None,
            )
        )
        self.fold = tidings.Fold()
        #: The offset that must come next.
        self.expected: int | None = None
        self.gaps: list[str] = []
        self._take()

    def _take(self) -> None:
        message = json.loads(self.connection.recv(DEADLINE))
        kind, data = message["event_type"], message["data"]
        self.fold.message(message)
        if kind in ("connection_established", "reset"):
            # What comes next comes after this offset.
            self.expected = data.get("offset", (data.get("snapshot") or {}).get("offset", 0)) + 1
        elif kind == "gap":
            assert data["from"] == self.expected, message
            self.gaps.append(data["reason"])
            self.expected = data["to"] + 1
        elif "offset" in message and kind != "personal_message":
            assert message.get("from", message["offset"]) == self.expected, message
            self.expected = message["offset"] + 1

    def read_to(self, offset: int) -> Fields:
        """Reads up to an offset, and returns the folded state."""
        while self.expected is None or self.expected <= offset:
            self._take()
        state = self.fold.state
        assert state is not None
        return state


def delta(output: str, number: int) -> Fields:
    text = f"{number:>8} wört ".ljust(TEXT - 1, "x")  # ö has two bytes
    return {"event_type": "output_delta", "data": {"output_id": output, "text": text}}


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes connections after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("outputs", [1, 40])
def test_a_reader_that_stalls_misses_no_word_silently(
    server: Server, opened: ExitStack, outputs: int
) -> None:
    publish(server, "t", [{"event_type": "task_started", "data": {"name": "Answer"}}])
    reader = Reader(server, "t", opened)
    deltas = [delta(f"output-{number % outputs}", number) for number in range(DELTAS)]
    publish(server, "t", [*deltas, {"event_type": "task_completed", "data": {}}])

    state = reader.read_to(DELTAS + 2)
    assert state == snapshot(server, "t")
    assert len(state["outputs"]) == outputs
    for output in state["outputs"]:
        name = output["output_id"]
        parts = [each["data"]["text"] for each in deltas if each["data"]["output_id"] == name]
        whole = "".join(parts).encode()
        assert output["length"] == len(whole)
        assert output["text"].encode() == whole[output["start"] :]
        # The beginning that the state lacks, as far as the server keeps it: it says from where.
        first, kept = whole_output(server, f"/api/tasks/t/outputs/{name}")
        assert first <= output["start"] and kept == whole[first:]


def whole_output(server: Server, path: str) -> tuple[int, bytes]:
    """Returns all that is kept of an output, and the byte at which that begins."""
    status, headers, kept = ask(server, path, Range="bytes=0-")
    assert status == 206
    first = headers["Content-Range"].removeprefix("bytes ").split("-")[0]
    return int(first), kept


def mixed(rng: random.Random, count: int) -> Iterator[Fields]:
    for number in range(count):
        match rng.randrange(8):
            case 0 | 1 | 2:
                yield delta(f"output-{rng.randrange(3)}", number)
            case 3:
                yield {"event_type": "progress_update", "data": {"progress": rng.randrange(100)}}
            case 4:
                data = {"current": number, "total": count, "message": f"m{number}", "stage": "s"}
                yield {"event_type": "progress_update", "data": data}
            case 5:
                data = {"agent_id": f"agent-{rng.randrange(3)}", "status": "working"}
                yield {"event_type": "agent_status_change", "data": data}
            case 6:
                data = {"step_id": f"step-{number}", "name": "link"}
                yield {"event_type": "step_started", "data": data}
            case _:
                yield {"event_type": "log", "data": {"message": "l" * rng.randrange(16_000)}}


@pytest.mark.parametrize("seed", range(3))
def test_readers_that_stall_and_go_on_fold_the_servers_state(
    server: Server, opened: ExitStack, seed: int
) -> None:
    """One reader is narrow and raw, one is a watch whose program does not take updates."""
    rng = random.Random(seed)
    publish(server, "t", [{"event_type": "task_started", "data": {"total": 10}}])
    reader = Reader(server, "t", opened)
    with tidings.Client(server.url) as client, client.watch("t") as watch:
        follower = Follower(watch)
        follower.read_to(1)
        for _ in range(3):
            publish(server, "t", list(mixed(rng, rng.randrange(1_000, 6_000))))
            told = snapshot(server, "t")
            assert reader.read_to(told["offset"]) == told
            assert follower.read_to(told["offset"]) == told
            state = watch.state("t")
            assert state == tidings.TaskSnapshot._of(told)
    assert reader.gaps, "nothing was ever too much for the reader"


class Follower:
    """Folds what a watch yields."""

    def __init__(self, watch: tidings.Watch) -> None:
        self.watch = watch
        self.fold = tidings.Fold()

    def read_to(self, offset: int) -> Fields:
        """Takes what the watch has up to an offset, and returns the folded state."""
        while (state := self.fold.state) is None or state["offset"] < offset:
            update = self.watch.next(DEADLINE)
            match update:
                case None:
                    raise AssertionError(f"nothing comes after {state and state['offset']}")
                case tidings.Event():
                    self.fold.event(as_sent(update))
                case tidings.Snapshot(task) | tidings.Gap(task=task) | tidings.Reset(task=task):
                    if task is not None:
                        self.fold = tidings.Fold(dataclasses.asdict(task))
        return state


def as_sent(event: tidings.Event) -> Fields:
    """Writes an event as the server sends it."""
    fields = dataclasses.asdict(event)
    fields["from"] = fields.pop("merged_from")
    return {name: value for name, value in fields.items() if value is not None}


def test_a_watch_that_is_not_read_while_the_server_stalls(server: Server) -> None:
    publish(server, "t", [{"event_type": "task_started", "data": {}}])
    rng = random.Random(7)
    with tidings.Client(server.url) as client, client.watch("t") as watch:
        assert isinstance(watch.next(DEADLINE), tidings.Snapshot)
        half = list(mixed(rng, 2_000))
        publish(server, "t", half[:1_000])
        with server.stalled():
            publishing = threading.Thread(target=publish, args=(server, "t", half[1_000:]))
            publishing.start()
            # What the client had already received can be read.
            while watch.next(0.2) is not None:
                pass
        publishing.join(DEADLINE)
        told = snapshot(server, "t")
        while (state := watch.state("t")) is None or state.offset < told["offset"]:
            assert watch.next(DEADLINE) is not None
        assert state == tidings.TaskSnapshot._of(told)
