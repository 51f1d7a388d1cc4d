"""The vectors of docs/conformance, which are independent of language."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import tidings
from fold import Fold, reduce
from tidings import Client, Stopped, reaction

VECTORS = Path(__file__).parent / "../../docs/conformance"


def vectors(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text())["vectors"]
    return found


class Connection:
    """What the script is to the client: a connection that says what it is told to."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.close_code: int | None = None
        self.sent: list[dict[str, Any]] = []
        self._says: asyncio.Queue[str | None] = asyncio.Queue()

    def says(self, message: dict[str, Any]) -> None:
        self._says.put_nowait(json.dumps(message))

    def closes(self, code: int) -> None:
        self.close_code = code
        self._says.put_nowait(None)

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> str:
        text = await self._says.get()
        if text is None:
            raise StopAsyncIteration
        return text


def word(message: dict[str, Any]) -> str | None:
    """What a script calls a message that a watch has given."""
    kind, data = message["event_type"], message["data"]
    if "offset" in message:
        return f"event {message['from']}-{message['offset']}" if "from" in message else f"event {message['offset']}"
    if kind == "gap":
        return f"gap {data['from']}-{data['to']} {data['reason']}"
    return f"reset {data['epoch']}:{data['offset']} {data['reason']}" if kind == "reset" else None


class Script:
    """One client, and the network and the clock that the script owns."""

    def __init__(self, tokens: list[str]) -> None:
        left = list(tokens)
        token = (lambda: left.pop(0)) if len(tokens) > 1 else next(iter(tokens), None)
        self.client = Client("http://server.test", token=token)
        self.connections: asyncio.Queue[Connection] = asyncio.Queue()
        self.connection = Connection({})
        self.told: list[str] = []
        self.published: int | None = None
        self.ref: object = None
        #: Seconds that the client has slept since the last close.
        self.slept = 0.0
        self.tasks: list[asyncio.Task[None]] = []

    def connect(self, _url: str, *, additional_headers: dict[str, str], **_: object) -> Connection:
        connection = Connection(additional_headers)
        self.connections.put_nowait(connection)
        return connection

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await SLEEP(0)

    async def watch(self, task_id: str, since: str | None) -> None:
        with contextlib.suppress(Stopped):
            async for message in self.client.watch(task_id, since=since):
                if what := word(message):
                    self.told.append(what)

    async def publish(self, event: dict[str, Any]) -> None:
        answer = await self.client.publish(
            event["task_id"], event["event_type"], event["data"], event_id=event["event_id"]
        )
        self.published = answer["offset"]

    async def step(self, step: dict[str, Any]) -> None:
        (name, value), = step.items()
        match name:
            case "watch":
                self.tasks.append(asyncio.create_task(self.watch(value["task_id"], value["since"])))
            case "publish":
                self.tasks.append(asyncio.create_task(self.publish(value)))
            case "renews":
                await self.client.authenticate(value)
            case "connects":
                self.connection = await asyncio.wait_for(self.connections.get(), 60)
                assert self.slept * 1000 >= value["after_ms"], "too early"
                token = value["token"]
                expected = {"Authorization": f"Bearer {token}"} if token else {}
                assert self.connection.headers == expected, self.connection.headers
            case "server":
                message = json.loads(json.dumps(value))
                if message["data"].get("ref") == "$ref":
                    message["data"]["ref"] = self.ref
                self.connection.says(message)
            case "sends":
                sent = next(sent for sent in self.connection.sent if sent["type"] == value["type"])
                self.connection.sent.remove(sent)
                assert {field: sent.get(field) for field in value} == value, sent
                self.ref = sent.get("ref")
            case "closes":
                self.slept = 0.0
                self.connection.closes(value)
            case "stops":
                assert self.client._stopped, "it goes on"
                assert self.connections.empty()
            case "told":
                assert self.told == value, self.told
                self.told = []
            case "published":
                assert self.published == value
        # Whoever has something to do does it: nothing here waits for time.
        for _ in range(50):
            await SLEEP(0)

    async def run(self, steps: list[dict[str, Any]]) -> None:
        with mock.patch.object(tidings, "connect", self.connect), mock.patch("asyncio.sleep", self.sleep):
            async with self.client:
                for step in steps:
                    await self.step(step)
                for task in self.tasks:
                    task.cancel()
                await asyncio.gather(*self.tasks, return_exceptions=True)


SLEEP = asyncio.sleep


class TestConformance(unittest.TestCase):
    maxDiff = None
    ran = 0

    @classmethod
    def tearDownClass(cls) -> None:
        print(f"{cls.ran} conformance vectors")

    def count(self) -> None:
        type(self).ran += 1

    def same(self, state: dict[str, Any], expected: dict[str, Any]) -> None:
        for known, wanted in zip(state["outputs"], expected["outputs"], strict=True):
            # It may be kept from further back than the server does.
            text = known["text"].encode()[wanted["start"] - known["start"]:].decode()
            known.update(start=wanted["start"], text=text)
        self.assertEqual(state, expected)

    def test_events_are_reduced_to_a_snapshot(self) -> None:
        for vector in vectors("reduce"):
            with self.subTest(vector["name"]):
                state = functools.reduce(reduce, vector["events"], vector["start"])
                self.same(state, vector["snapshot"])
                self.count()

    def test_messages_are_folded_into_a_state(self) -> None:
        for vector in vectors("fold"):
            with self.subTest(vector["name"]):
                fold = Fold()
                for message in vector["messages"]:
                    fold.message(message)
                assert fold.state is not None
                self.same(fold.state, vector["state"])
                self.count()

    def test_a_close_is_followed_by_what_the_table_says(self) -> None:
        for vector in vectors("close"):
            with self.subTest(vector["name"]):
                then, after_ms = reaction(vector["going_away"], vector["code"])
                self.assertEqual((then, after_ms), (vector["then"], vector["after_ms"]))
                self.count()

    def test_a_client_does_what_the_servers_words_ask_for(self) -> None:
        for vector in vectors("script"):
            with self.subTest(vector["name"]):
                script = Script(vector["tokens"])
                asyncio.run(script.run(vector["steps"]))
                self.count()


if __name__ == "__main__":
    unittest.main()
