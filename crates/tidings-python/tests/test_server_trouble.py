"""The server is killed, restarted and stalled in the middle."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from conftest import DEADLINE, Script, Server, until

import tidings


def watch_to(client: tidings.Client, task_id: str, last: int) -> list[tidings.Update]:
    """All updates of a task's watch, up to the event that has a number."""
    seen: list[tidings.Update] = []
    with client.watch(task_id, since=0) as watch:
        while True:
            update = watch.next(DEADLINE)
            assert update is not None
            seen.append(update)
            if isinstance(update, tidings.Event) and update.data.get("number") == last:
                return seen


def numbers(seen: list[tidings.Update]) -> list[int]:
    return [update.data["number"] for update in seen if isinstance(update, tidings.Event)]


def test_nothing_is_lost_or_doubled_when_a_durable_server_is_killed(durable: Server) -> None:
    with tidings.Client(durable.url) as client:
        seen: list[tidings.Update] = []
        other = threading.Thread(target=lambda: seen.extend(watch_to(client, "counting", 39)))
        other.start()
        for number in range(20):
            client.publish("counting", "count", {"number": number})
        durable.kill()
        publishers = [
            threading.Thread(
                target=lambda n=n: client.publish("counting", "count", {"number": n})
            )
            for n in range(20, 39)
        ]
        for publisher in publishers:
            publisher.start()
        until("they wait", lambda: client.pending == 19)
        durable.start()
        for publisher in publishers:
            publisher.join()
        client.publish("counting", "count", {"number": 39})
        other.join()
        assert sorted(numbers(seen)) == [*range(40)]
        offsets = [update.offset for update in seen if isinstance(update, tidings.Event)]
        assert offsets == [*range(1, 41)]
        assert not [update for update in seen if isinstance(update, tidings.Reset)]


def test_a_task_goes_on_when_the_server_has_lost_its_memory(
    server: Server, client: tidings.Client
) -> None:
    with client.task("long", name="Long") as task:
        task.progress(10)
        assert client.flush(DEADLINE) == 0
        server.kill()
        for percent in range(11, 20):
            task.progress(percent)
        server.start()
        task.progress(20, "after")
        assert client.flush(DEADLINE) == 0
        state = client.snapshot("long")
        assert (state.status, state.name, state.progress) == ("running", "Long", 20)
    assert client.wait("long", DEADLINE).status == "completed"


def test_a_question_that_a_server_has_forgotten_is_asked_again(
    server: Server, client: tidings.Client
) -> None:
    def answer() -> None:
        for restart in (True, False):
            open_now = until("it asks", lambda: client.snapshot("asking").pending_inputs)
            if restart:
                server.kill()
                server.start()
        client.answer("asking", open_now[0].input_id, True)

    other = threading.Thread(target=answer)
    other.start()
    with client.task("asking") as task:
        assert task.ask("Go on?", {"type": "boolean"}, timeout=DEADLINE) is True
    other.join()


def test_a_watch_is_told_of_the_restart(server: Server, client: tidings.Client) -> None:
    client.publish("t", "own", {})
    with client.watch("t") as watch:
        assert isinstance(watch.next(DEADLINE), tidings.Snapshot)
        server.kill()
        assert isinstance(watch.next(DEADLINE), tidings.Disconnected)
        server.start()
        kinds = set()
        while not {"Reconnected", "Reset"} <= kinds:
            kinds.add(type(watch.next(DEADLINE)).__name__)


def test_the_work_goes_on_while_the_server_is_stalled(
    server: Server, client: tidings.Client
) -> None:
    client.connect(DEADLINE)
    with client.task("steady") as task:
        with server.stalled():
            # More than a socket's buffers hold: something waits in the client.
            for number in range(20_000):
                task.log(f"line {number} " + "x" * 200)
            assert client.pending > 0
    assert client.wait("steady", DEADLINE).status == "completed"


def test_memory_is_bounded_while_the_server_is_away() -> None:
    """What is reported first, and most, gives way; the start and the end stay."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    with tidings.Client("http://127.0.0.1:9", max_pending_bytes=1_000_000) as client:
        with client.task("away") as task:
            line = "x" * 500
            for _ in range(20_000):
                task.log(line)
                task.output().write(line)
            before = resident()
            for _ in range(40_000):
                task.log(line)
                task.output().write(line)
            # 40 MB were reported meanwhile.
            assert resident() - before < 15_000_000
            assert client.pending <= 8_192
        client.close(0)


def test_a_client_that_the_server_refuses_says_so_in_flush(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a secret that is long enough for HMAC with SHA-256")
    server = Server("--auth", "jwt", "--jwt-key", str(key))
    try:
        client = tidings.Client(server.url, token="bad")
        task = client.task("t")
        task.log("never")
        until("it is refused", lambda: client.status == "stopped")
        with pytest.raises(tidings.Stopped):
            client.flush(DEADLINE)
        task.log("nor this")
        task.complete()
        # The start, two lines and the end.
        assert client.close() == 4
    finally:
        server.kill()


def test_close_counts_what_did_not_reach_a_killed_server(server: Server) -> None:
    client = tidings.Client(server.url)
    with client.task("t") as task:
        assert client.flush(DEADLINE) == 0
        server.kill()
        for number in range(3):
            task.report("frame", {"number": number})
        assert client.close(0.1) == 3
        assert client.close() == 3, "it has not changed"


def test_a_client_that_was_closed_says_so(server: Server) -> None:
    client = tidings.Client(server.url)
    watch = client.watch("t")
    client.close()
    assert client.status == "stopped"
    # The watch's updates from before may come; then it ends.
    assert len(list(watch)) <= 1
    for act in (lambda: client.publish("t", "own"), lambda: client.task("t")):
        try:
            act()
        except tidings.Stopped:
            continue
        raise AssertionError("a closed client must say so")



def test_close_can_be_interrupted_and_repeated() -> None:
    script = """
import signal, threading, tidings
client = tidings.Client("http://127.0.0.1:9")
task = client.task("away")
task.report("frame")
# A program that a script has started in the background ignores SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
try:
    client.close(1_000)
except KeyboardInterrupt:
    print(client.status, client.close(0))
"""
    assert Script(script, "").succeeds().splitlines()[-1] == "stopped 2"
