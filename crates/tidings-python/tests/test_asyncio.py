"""The asyncio face: the same promises, and no update lost to a cancelled coroutine."""

from __future__ import annotations

import asyncio

import pytest
from conftest import DEADLINE, Server, events, types, until

import tidings
from tidings import aio


def run(main: object) -> object:
    return asyncio.run(asyncio.wait_for(main, DEADLINE))  # type: ignore[arg-type]


def test_report_watch_and_wait(server: Server) -> None:
    async def main() -> None:
        async with aio.Client(server.url) as client:
            watch = client.watch("render-*")
            async with client.task("render-7", name="Render") as task:
                task.progress(40, "linking")
                async with task.child("render-7-sound"):
                    pass
                task.result = 12
            assert not await task.complete()
            state = await client.wait("render-7")
            assert (state.status, state.result) == ("completed", 12)
            seen = set()
            async for update in watch:
                if isinstance(update, tidings.Event):
                    seen.add((update.task_id, update.event_type))
                    if ("render-7", "task_completed") in seen:
                        break
            assert ("render-7", "progress_update") in seen
            known = watch.state("render-7")
            assert known is not None and known.status == "completed"
            assert (await client.snapshot("render-7-sound")).parent_task_id == "render-7"
            page = await client.tasks(prefix="render-")
            assert [task.task_id for task in page.tasks] == ["render-7", "render-7-sound"]
            with pytest.raises(tidings.Refused):
                await client.publish("render-7", "progress_update", {"progress": 1})

    run(main())


def test_a_cancelled_coroutine_takes_no_update_with_it(server: Server) -> None:
    """A timeout around each step, most of which cut it at the worst moment."""

    async def main() -> None:
        async with aio.Client(server.url) as client:
            watch = client.watch("busy", since=0)

            async def publish() -> None:
                for number in range(300):
                    await client.publish("busy", "own", {"number": number})

            # Nothing is published yet, so the step after the state has to wait.
            assert isinstance(await watch.__anext__(), tidings.Snapshot)
            waiting = asyncio.ensure_future(watch.__anext__())
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            publishing = asyncio.create_task(publish())
            seen: list[int] = []
            while len(seen) < 300:
                step = asyncio.ensure_future(watch.__anext__())
                await asyncio.sleep(0.0005)
                step.cancel()
                try:
                    update = await step
                except asyncio.CancelledError:
                    continue
                if isinstance(update, tidings.Event):
                    seen.append(update.data["number"])
            assert seen == [*range(300)]
            await publishing

    run(main())


def test_a_cancelled_block_is_reported_as_cancelled(server: Server) -> None:
    async def main() -> None:
        async with aio.Client(server.url) as client:

            async def work() -> None:
                async with client.task("cut"):
                    await asyncio.sleep(1000)

            working = asyncio.create_task(work())
            while (await client.snapshot("cut")).status != "running":
                pass
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
            state = await client.wait("cut")
            assert state.status == "cancelled"

    run(main())


def test_the_command_cancel_cancels_the_block(server: Server) -> None:
    async def main() -> None:
        async with aio.Client(server.url) as client:

            async def work() -> None:
                async with client.task("cut"):
                    await asyncio.sleep(1000)

            working = asyncio.create_task(work())
            while (await client.snapshot("cut")).status != "running":
                pass
            await client.command("cut", "cancel")
            with pytest.raises(tidings.Cancelled):
                await working
            state = await client.wait("cut")
            assert state.status == "cancelled" and state.pending_commands == []

    run(main())
    with tidings.Client(server.url) as client:
        assert "command_completed" in types(events(client, "cut", "task_cancelled"))


def test_a_task_that_obeys_its_own_commands(server: Server) -> None:
    async def main() -> None:
        async with aio.Client(server.url) as client:
            async with client.task("agent", obey=False) as task:
                await client.command("agent", "pause")
                await client.command("agent", "cancel")
                commands = task.commands
                pause = await commands.__anext__()
                pause.complete()
                cancel = await commands.__anext__()
                cancel.reject("not now")
                assert (pause.name, cancel.name) == ("pause", "cancel")
            assert (await client.wait("agent")).status == "completed"

    run(main())


def test_a_question(server: Server) -> None:
    async def main() -> None:
        async with aio.Client(server.url) as client:
            async with client.task("asking") as task:
                asked = asyncio.create_task(task.ask("Go on?", choices=["yes", "no"]))
                while not (pending := (await client.snapshot("asking")).pending_inputs):
                    pass
                answer = {"input_id": pending[0].input_id, "value": "yes", "by": "tests"}
                await client.publish("asking", "input_provided", answer)
                assert await asked == "yes"

    run(main())


def test_waits_that_are_given_up_leave_nothing_behind(server: Server) -> None:
    async def main() -> None:
        async with aio.Client(server.url) as client:
            for _ in range(200):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.wait("never"), 0.001)
            assert client.pending == 0

    run(main())


def test_a_loop_that_ends_first(server: Server) -> None:
    """The client outlives the loop that waited for it."""
    client = tidings.Client(server.url)
    face = aio.Client.of(client)

    async def main() -> None:
        asyncio.ensure_future(face.wait("later"))
        await face.publish("now", "own")

    asyncio.run(main())
    client.publish("later", "task_completed")
    until("it is known", lambda: client.snapshot("later").status == "completed")
    client.close()


def test_a_refused_question_is_not_waited_for(server: Server) -> None:
    async def main() -> None:
        async with aio.Client(server.url) as client:
            async with client.task("asking") as task:
                with pytest.raises(tidings.Refused):
                    await task.ask("q", {"type": "nonsense"})
                with pytest.raises(ValueError, match="65536"):
                    await task.ask("q", {"description": "x" * 100_000})

    run(main())


def test_a_question_that_a_server_has_forgotten_is_asked_again(server: Server) -> None:
    async def main() -> None:
        async with aio.Client(server.url) as client:
            async with client.task("asking") as task:
                asked = asyncio.ensure_future(task.ask("Go on?", {"type": "boolean"}))
                for restart in (True, False):
                    while not (state := await client.snapshot("asking")).pending_inputs:
                        await asyncio.sleep(0.02)
                    if restart:
                        server.kill()
                        server.start()
                await client.answer("asking", state.pending_inputs[0].input_id, True)
                assert await asked is True

    run(main())
