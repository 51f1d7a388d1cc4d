"""An agent that does a job in steps, calls tools, and does as it is told.

    pip install tidings
    python agent.py [TASK [SECONDS]]      against http://127.0.0.1:8000, or TIDINGS_URL
    tidings watch agent-1                 from elsewhere
    tidings command agent-1 pause         and resume, and cancel

Exit code: 0 when the job is done, 2 when it was cancelled.
"""

from __future__ import annotations

import asyncio
import sys

from tidings import aio

STEPS = ("plan", "search", "read", "write", "check")


async def obey(task: aio.Task, going: asyncio.Event, work: asyncio.Task[None]) -> None:
    """Does what the task is asked to do, until it is cancelled."""
    async for command in task.commands:
        match command.name:
            case "pause" | "resume":
                going.clear() if command.name == "pause" else going.set()
                task.agent("worker", "working" if going.is_set() else "waiting")
                command.complete()
            case "cancel":
                work.cancel(f"cancelled by {command.by}")
                command.complete()
                return
            case other:
                command.reject(f"this agent knows pause, resume and cancel, not {other}")


async def work(task: aio.Task, going: asyncio.Event, seconds: float) -> None:
    for number, name in enumerate(STEPS):
        task.progress(100 * number / len(STEPS), f"{name} …")
        with task.step(name), task.tool(f"{name}-tool", {"about": name}) as call:
            for _ in range(10):
                await going.wait()
                await asyncio.sleep(seconds / len(STEPS) / 10)
            call.output = {"words": 42}


async def main(task_id: str, seconds: float) -> int:
    going = asyncio.Event()
    going.set()
    async with aio.Client() as client:
        task = client.task(task_id, name="Answer a question", lease=60, obey=False)
        async with task:
            working = asyncio.create_task(work(task, going, seconds))
            obeying = asyncio.create_task(obey(task, going, working))
            try:
                await working
            except asyncio.CancelledError as cancelled:
                task.cancel(str(cancelled) or None)
                return 2
            finally:
                obeying.cancel()
            task.result = {"steps": len(STEPS)}
            return 0


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    sys.exit(asyncio.run(main(given.get(0, "agent-1"), float(given.get(1, 20)))))
