"""The client and the agent against a real server, which dies and comes back.

Needs the server's binary in SERVER_BIN.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import unittest
from pathlib import Path

from tidings import Client, Refused, Stopped

HERE = Path(__file__).parent
# Sending on a connection that has just died is what these tests do.
logging.getLogger("asyncio").setLevel(logging.ERROR)
DEADLINE = 30.0


class Server:
    """The server's binary on a port of its own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDINGS_")}
        self.process = subprocess.Popen(
            [os.environ["SERVER_BIN"], "--listen", f"127.0.0.1:{self.port}", "--log", "error"],
            stdout=subprocess.PIPE, env=environment,
        )
        assert self.process.stdout
        self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


class TestAgent(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(lambda: self.server.kill())

    async def agent(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "agent.py"), "--url", self.server.url, *arguments,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    async def command(self, *arguments: str) -> int:
        """Asks by the command line, as a person would."""
        process = await asyncio.create_subprocess_exec(
            os.environ["SERVER_BIN"], "command", "--url", self.server.url, *arguments,
            stdout=subprocess.DEVNULL,
        )
        return await asyncio.wait_for(process.wait(), DEADLINE)

    async def until(self, client: Client, task: str, event_type: str) -> list[dict]:
        """The task's events up to one of this type; without holes."""
        events: list[dict] = []
        async for message in client.watch(task, since="0"):
            if "offset" in message:
                events.append(message)
                self.assertEqual([event["offset"] for event in events], [*range(1, len(events) + 1)])
                if message["event_type"] == event_type:
                    break
        return events

    async def test_a_job_is_done_in_steps_with_tools(self) -> None:
        agent = await self.agent("--seconds", "0.5")
        async with Client(self.server.url) as client:
            events = await asyncio.wait_for(self.until(client, "agent-1", "task_completed"), DEADLINE)
        kinds = [event["event_type"] for event in events]
        self.assertEqual(kinds[0], "task_started")
        for kind in ("step_started", "step_completed", "tool_call_started", "tool_call_completed"):
            self.assertEqual(kinds.count(kind), 5, kind)
        self.assertEqual(await asyncio.wait_for(agent.wait(), DEADLINE), 0)
        await agent.communicate()

    async def test_pause_resume_and_cancel_from_the_command_line(self) -> None:
        agent = await self.agent("--seconds", "60")
        async with Client(self.server.url) as client:
            await asyncio.wait_for(self.until(client, "agent-1", "tool_call_started"), DEADLINE)
            self.assertEqual(await self.command("agent-1", "pause"), 0)
            self.assertEqual(await self.command("agent-1", "resume"), 0)
            self.assertEqual(await self.command("agent-1", "dance"), 2)
            self.assertEqual(await self.command("agent-1", "cancel"), 0)
            events = await asyncio.wait_for(self.until(client, "agent-1", "task_cancelled"), DEADLINE)
        answers = [e for e in events if e["event_type"] in ("command_completed", "command_rejected")]
        self.assertEqual(len(answers), 3)
        self.assertEqual(await asyncio.wait_for(agent.wait(), DEADLINE), 2)
        await agent.communicate()

    async def test_the_server_dies_and_nothing_is_lost_or_doubled(self) -> None:
        async with Client(self.server.url) as client:
            seen: list[dict] = []

            async def watch() -> None:
                async for message in client.watch("counting", since="0"):
                    seen.append(message)
                    if message["data"].get("number") == 39:
                        return

            watching = asyncio.create_task(watch())
            for number in range(20):
                await client.publish("counting", "count", {"number": number})
            self.server.kill()
            publishes = [
                asyncio.create_task(client.publish("counting", "count", {"number": number}))
                for number in range(20, 40)
            ]
            await asyncio.sleep(0)
            self.server.start()
            answers = await asyncio.wait_for(asyncio.gather(*publishes), DEADLINE)
            self.assertEqual([answer["offset"] for answer in answers], [*range(1, 21)])
            await asyncio.wait_for(watching, DEADLINE)
        numbers = [m["data"]["number"] for m in seen if "offset" in m]
        self.assertEqual(numbers, [*range(40)])
        resets = [m["data"]["reason"] for m in seen if m["event_type"] == "reset"]
        self.assertEqual(resets, ["epoch_changed"])

    async def test_a_refusal_is_an_error_and_a_closed_client_says_so(self) -> None:
        async with Client(self.server.url) as client:
            await client.publish("t", "task_completed")
            with self.assertRaises(Refused) as refused:
                await client.publish("t", "progress_update", {"progress": 1})
            self.assertEqual(refused.exception.code, "invalid_transition")
        with self.assertRaises(Stopped):
            await client.publish("t", "log", {"message": "late"})


if __name__ == "__main__":
    unittest.main()
