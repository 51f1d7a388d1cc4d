"""Processes: fork while the client is in use, spawn, prefork servers, closed descriptors."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import DEADLINE, Script, Server, events, types, until

import tidings


def test_children_forked_amid_the_work_of_many_threads(server: Server) -> None:
    """The known trap: a child inherits locks that threads of the parent held."""
    script = """
import os, sys, threading, tidings
client = tidings.client().connect()
with client.task("parent") as task:
    busy = threading.Event()
    def work():
        while not busy.is_set():
            task.progress(1)
            client.status
            client.snapshot("parent")
    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(24):
        child = os.fork()
        if child == 0:
            # The parent's task may be reported on, and is not the child's to end.
            task.report("from_child", {"number": number})
            with client.task(f"child-{number}") as own:
                own.log("here")
            assert client.wait(f"child-{number}", 100).status == "completed"
            task.complete()
            assert client.flush(100) == 0
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    busy.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 24, codes
    task.progress(77)
"""
    Script(script, server.url).succeeds()
    with tidings.Client(server.url) as client:
        found = events(client, "parent", "task_completed")
        numbers = [e.data["number"] for e in found if e.event_type == "from_child"]
        assert sorted(numbers) == [*range(24)]
        assert found[-2].data["progress"] == 77


def test_children_of_one_parent_do_not_share_the_ids_of_their_events(server: Server) -> None:
    """A forked child inherits the state of its thread's random generators. Were the ids
    made there, the server would take the second child's events for the first one's."""
    script = """
import os, tidings
client = tidings.client().connect()
client.publish("shared", "own", {"by": "parent"})
for number in range(8):
    child = os.fork()
    if child == 0:
        client.publish("shared", "own", {"by": number})
        with client.task(f"of-{number}"):
            pass
        assert client.flush(100) == 0
        os._exit(0)
    os.waitpid(child, 0)
client.publish("shared", "last", {})
"""
    Script(script, server.url).succeeds()
    with tidings.Client(server.url) as client:
        found = events(client, "shared", "last")
        assert [event.data.get("by") for event in found] == ["parent", *range(8), None]
        assert len({event.event_id for event in found}) == 10
        for number in range(8):
            assert client.wait(f"of-{number}", DEADLINE).status == "completed"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(server: Server, method: str, tmp_path: Path) -> None:
    script = """
import multiprocessing, sys, tidings

def work(job):
    task, number = job
    task.report("part", {"number": number})
    with task.child(f"part-{number}") as part:
        part.progress(50)
    return number

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    client = tidings.Client()
    with client.task("whole") as task:
        with context.Pool(3) as pool:
            assert pool.map(work, [(task, number) for number in range(6)]) == [*range(6)]
            pool.close()
            pool.join()
"""
    Script(script, server.url, method).succeeds()
    with tidings.Client(server.url) as client:
        found = events(client, "whole", "task_completed")
        assert sorted(e.data["number"] for e in found if e.event_type == "part") == [*range(6)]
        for number in range(6):
            part = client.wait(f"part-{number}", DEADLINE)
            assert (part.status, part.parent_task_id) == ("completed", "whole")


def test_a_forked_child_that_leaves_its_parents_block_does_not_end_the_task(
    server: Server,
) -> None:
    script = """
import os, sys, tidings
client = tidings.client()
with client.task("parent") as task:
    child = os.fork()
    if child == 0:
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    task.progress(50)
"""
    Script(script, server.url).succeeds()
    with tidings.Client(server.url) as client:
        found = types(events(client, "parent", "task_completed"))
        assert found == ["task_started", "progress_update", "task_completed"]


def test_a_child_that_closes_all_descriptors_before_it_begins(server: Server) -> None:
    """As Celery's beat and other daemons do."""
    script = """
import os, tidings
client = tidings.client().connect()
child = os.fork()
if child == 0:
    os.closerange(3, 4096)
    with client.task("daemon"):
        pass
    assert client.wait("daemon", 100).status == "completed"
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
with client.task("parent"):
    pass
assert client.wait("parent", 100).status == "completed"
"""
    Script(script, server.url).succeeds()


APP = """
import os, tidings
client = tidings.client()

def app(environ, start_response):
    number = environ["PATH_INFO"].strip("/")
    with client.task(f"request-{number}", name="Request") as task:
        task.report("by", {"process": os.getpid(), "parent": os.getppid()})
        task.progress(50)
    client.flush(60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]

with client.task("master") as master:
    master.progress(1)
client.flush(60)
"""


def test_gunicorn_with_preloaded_workers(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "web.py").write_text(APP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3"]
    gunicorn = subprocess.Popen(
        [*command, "--bind", f"127.0.0.1:{port}", "--log-level", "error", "web:app"],
        cwd=tmp_path,
        env={**os.environ, "TIDINGS_URL": server.url},
    )

    def get(number: int) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}", timeout=60) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            return None

    try:
        until("gunicorn answers", lambda: get(0))
        workers: list[str | None] = []
        threads = [
            threading.Thread(target=lambda n=n: workers.append(get(n))) for n in range(1, 13)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert None not in workers
        with tidings.Client(server.url) as client:
            for number in range(13):
                assert client.wait(f"request-{number}", DEADLINE).status == "completed"
            assert client.wait("master", DEADLINE).status == "completed"
    finally:
        gunicorn.send_signal(signal.SIGTERM)
        assert gunicorn.wait(DEADLINE) == 0


def test_no_copy_of_a_task_has_the_ids_of_another(server: Server, client: tidings.Client) -> None:
    script = """
import multiprocessing, tidings

def work(job):
    task, number = job
    with task.step(f"part {number}"), task.tool("search"):
        pass

if __name__ == "__main__":
    with tidings.client().task("whole") as task:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(work, [(task, number) for number in range(8)], chunksize=1)
            pool.close()
            pool.join()
        with task.tool("search"):
            pass
"""
    Script(script, server.url).succeeds()
    found = events(client, "whole", "task_completed")
    steps = {e.data["step_id"] for e in found if e.event_type == "step_started"}
    calls = {e.data["tool_call_id"] for e in found if e.event_type == "tool_call_started"}
    assert (len(steps), len(calls)) == (8, 9)
    state = client.wait("whole", DEADLINE)
    assert {step.state for step in state.steps} == {"completed"}


def test_a_child_that_leaves_the_blocks_of_its_parent_ends_nothing(
    server: Server, client: tidings.Client
) -> None:
    script = """
import io, os, sys, tidings
from tidings.tqdm import tqdm
with tidings.client().task("whole") as task:
    with task.step("step"), task.tool("tool"), task.output("text") as output:
        for number in tqdm(range(2), file=io.StringIO()):
            for _ in tqdm(range(2), desc="bar", file=io.StringIO()):
                if number == 0:
                    child = os.fork()
                    if child == 0:
                        sys.exit(0)
                    assert os.waitpid(child, 0)[1] == 0
        task.report("alone")
"""
    pytest.importorskip("tqdm")
    Script(script, server.url).succeeds()
    found = types(events(client, "whole", "task_completed"))
    alone = found.index("alone")
    for ended in ("tool_call_completed", "step_completed", "output_completed"):
        assert ended in found[alone:]
    assert not {"tool_call_completed", "output_completed", "step_failed"} & {*found[:alone]}
    assert "tool_call_failed" not in found


def test_a_child_has_the_token_that_was_set_last() -> None:
    client = tidings.Client("http://127.0.0.1:9", token="first")
    client.set_token("second")
    assert pickle.loads(pickle.dumps(client))._core.options.token == "second"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(client._core.options.token).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"second"
    client.close(0)


def test_a_child_is_told_what_belongs_to_its_parent(server: Server) -> None:
    script = """
import os, tidings
client = tidings.client()
task, watch = client.task("t"), client.watch("t")
commands = task.commands
child = os.fork()
if child == 0:
    acts = [lambda: task.commands, commands.next, watch.next, lambda: watch.state("t")]
    for act in acts:
        try:
            act()
        except tidings.Stopped:
            continue
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
task.complete()
"""
    Script(script, server.url).succeeds()


def test_a_child_does_not_wait_for_an_end_of_its_parent() -> None:
    client = tidings.Client("http://127.0.0.1:9")
    end = client.task("away").complete()
    child = os.fork()
    if child == 0:
        try:
            end.wait()
        except tidings.Stopped:
            os._exit(7)
        os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    client.close(0)
