"""Celery with prefork workers and a real broker: Redis."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, Server, events, types, until

import tidings

pytest.importorskip("celery")

APP = """
import os, signal, time
from celery import Celery, chord
import tidings, tidings.celery

app = Celery("jobs", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
tidings.celery.install(app, lease=1.0)

@app.task(bind=True)
def render(self, frames):
    for frame in range(frames):
        self.update_state(state="PROGRESS", meta={"current": frame + 1, "total": frames})
    tidings.current().log("rendered")
    return {"frames": frames}

@app.task
def fails():
    raise ValueError("no film")

@app.task(bind=True, max_retries=2)
def flaky(self):
    if self.request.retries < 1:
        raise self.retry(exc=ValueError("try again"), countdown=0)
    return "at last"

@app.task
def add(numbers):
    return sum(numbers)

@app.task
def one(number):
    return number

@app.task
def hangs():
    tidings.current().report("pid", {"parent": os.getppid()})
    time.sleep(3600)
"""


class Worker:
    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "celery", "-A", "jobs", "worker", "--concurrency", "2"]
        self.process = subprocess.Popen(
            [*command, "--loglevel", "error", "--without-mingle", "--without-gossip"],
            cwd=folder,
            env=environment,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kills the worker and its children with signal 9."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(DEADLINE) == 0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until("redis answers", answers)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(DEADLINE)


@pytest.fixture
def jobs(
    server: Server, redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, Worker]]:
    """The app, as the program that publishes sees it, and a worker."""
    (tmp_path / "jobs.py").write_text(APP)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BROKER", redis)
    monkeypatch.delitem(sys.modules, "jobs", raising=False)
    import celery.signals as signals

    import jobs  # type: ignore[import-not-found]

    worker = Worker(tmp_path, {**os.environ, "BROKER": redis, "TIDINGS_URL": server.url})
    yield jobs, worker
    worker.stop()
    jobs.app.close()
    # The signals are those of all apps: the next test's app would report twice.
    for each in vars(signals).values():
        if isinstance(each, signals.Signal):
            each.receivers = [one for one in each.receivers if "tidings" not in repr(one)]


def test_tasks_are_reported_from_publishing_to_their_end(
    jobs: tuple[Any, Worker], client: tidings.Client
) -> None:
    app, _ = jobs
    done = app.render.delay(4)
    task = f"celery-{done.id}"
    state = client.wait(task, DEADLINE)
    assert (state.status, state.name, state.result) == ("completed", "jobs.render", {"frames": 4})
    found = events(client, task, "task_completed")
    assert types(found)[:2] == ["celery.published", "task_started"]
    progress = [event.data for event in found if event.event_type == "progress_update"]
    assert progress[-1]["current"] == 4 and progress[-1]["stage"] == "PROGRESS"

    failed = client.wait(f"celery-{app.fails.delay().id}", DEADLINE)
    assert failed.error is not None and failed.error.message == "ValueError: no film"

    flaky = f"celery-{app.flaky.delay().id}"
    until("the second run ends", lambda: client.wait(flaky, DEADLINE).run == 2)
    runs = types(events(client, flaky, "task_completed"))
    ends = [kind for kind in runs if kind.startswith("task_")]
    assert ends == ["task_started", "task_failed", "task_started", "task_completed"]

    from celery import chord

    body = chord([app.one.s(number) for number in (1, 2)])(app.add.s())
    whole = client.wait(f"celery-{body.id}", DEADLINE)
    assert whole.result == 3
    parts = client.tasks(prefix="celery-").tasks
    assert sum(part.parent_task_id == f"celery-{body.id}" for part in parts) == 2


def test_a_worker_that_is_killed_loses_its_task_by_the_lease(
    jobs: tuple[Any, Worker], client: tidings.Client
) -> None:
    app, worker = jobs
    task = f"celery-{app.hangs.delay().id}"
    until("it runs", lambda: client.snapshot(task).status == "running")
    worker.kill()
    state = client.wait(task, DEADLINE)
    assert state.status == "failed"
    assert state.error is not None and state.error.code == "lost"


def test_a_task_that_is_revoked(jobs: tuple[Any, Worker], client: tidings.Client) -> None:
    app, _ = jobs
    hangs = app.hangs.delay()
    task = f"celery-{hangs.id}"
    until("it runs", lambda: client.snapshot(task).status == "running")
    hangs.revoke(terminate=True)
    assert client.wait(task, DEADLINE).status == "cancelled"
