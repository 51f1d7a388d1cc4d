"""An agent that does a job in steps, calls tools, and does as it is told.

    python agent.py                       against http://127.0.0.1:8000
    tidings watch agent-1                 from elsewhere
    tidings command agent-1 pause         and resume, and cancel

Exit code: 0 when the job is done, 2 when it was cancelled.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tidings import Client, Command

STEPS = ("plan", "search", "read", "write", "check")


class Job:
    """One job: its steps, and the commands that steer it."""

    def __init__(self, client: Client, task_id: str, seconds: float) -> None:
        self.client = client
        self.task_id = task_id
        self.seconds = seconds
        self.going = asyncio.Event()
        self.going.set()
        self.cancel: Command | None = None

    async def say(self, event_type: str, **data: Any) -> None:
        await self.client.publish(self.task_id, event_type, data, source="python-agent")

    async def run(self) -> int:
        await self.say("task_started", name="Answer a question")
        await self.say("agent_status_change", agent_id="worker", status="working")
        work = asyncio.create_task(self.work())
        obey = asyncio.create_task(self.obey(work))
        try:
            await work
        except asyncio.CancelledError:
            if not self.cancel:
                raise
            await self.say("task_cancelled", reason=f"cancelled by {self.cancel.by}")
            await self.say("agent_status_change", agent_id="worker", status="offline")
            await self.cancel.complete()
            return 2
        finally:
            obey.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await obey
        await self.say("agent_status_change", agent_id="worker", status="idle")
        await self.say("task_completed", result={"steps": len(STEPS)})
        return 0

    async def work(self) -> None:
        for number, step in enumerate(STEPS):
            await self.say("step_started", step_id=step)
            await self.say(
                "progress_update", progress=100 * number / len(STEPS), message=f"{step} …"
            )
            await self.tool(f"{step}-tool", self.think)
            await self.say("step_completed", step_id=step)
        await self.say("progress_update", progress=100, message="done")

    async def tool(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Calls a tool, and says so: what it gave, or how it failed."""
        call_id, began = f"{name}-1", time.monotonic()
        await self.say("tool_call_started", tool_call_id=call_id, tool=name, input={})
        try:
            output = await call()
        except Exception as error:
            await self.say("tool_call_failed", tool_call_id=call_id, error=str(error))
            raise
        duration = round((time.monotonic() - began) * 1000)
        await self.say(
            "tool_call_completed", tool_call_id=call_id, output=output, duration_ms=duration
        )
        return output

    async def think(self) -> dict[str, int]:
        """What takes time; between two moments of it a pause may come."""
        for _ in range(10):
            await self.going.wait()
            await asyncio.sleep(self.seconds / len(STEPS) / 10)
        return {"words": 42}

    async def obey(self, work: asyncio.Task[None]) -> None:
        async for command in self.client.commands(self.task_id):
            match command.name:
                case "pause":
                    self.going.clear()
                    await self.say("agent_status_change", agent_id="worker", status="waiting")
                    await command.complete()
                case "resume":
                    self.going.set()
                    await self.say("agent_status_change", agent_id="worker", status="working")
                    await command.complete()
                case "cancel":
                    await command.accept()
                    self.cancel = command
                    work.cancel()
                    return
                case other:
                    await command.reject(f"this agent knows pause, resume and cancel, not {other}")


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", default=os.environ.get("TIDINGS_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--token", default=os.environ.get("TIDINGS_TOKEN"))
    parser.add_argument("--task", default="agent-1")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the job takes")
    arguments = parser.parse_args()
    async with Client(arguments.url, token=arguments.token) as client:
        code = await Job(client, arguments.task, arguments.seconds).run()
        print(f"{arguments.task}: {'done' if code == 0 else 'cancelled'}")
        return code


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    sys.exit(asyncio.run(main()))
