"""A real server for each test: the binary in SERVER_BIN, on a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tidings

#: Nothing may take longer, however busy the machine is.
DEADLINE = 120.0


class Server:
    """The server's binary. It can be killed, started again, and stalled."""

    def __init__(self, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDINGS_")}
        command = [os.environ["SERVER_BIN"], "--listen", f"127.0.0.1:{self.port}", "--log", "error"]
        # A busy machine keeps a reader waiting for long. It is not given up.
        command += ["--write-timeout", "10m"]
        self.process = subprocess.Popen(
            [*command, *self.options], stdout=subprocess.PIPE, env=environment
        )
        assert self.process.stdout
        self.process.stdout.readline()

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process and self.process.stdout:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def stalled(self) -> Stalled:
        return Stalled(self)


class Stalled:
    """The server is there, and does nothing."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __enter__(self) -> None:
        self.server.signal(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        self.server.signal(signal.SIGCONT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setenv("TIDINGS_URL", server.url)
    yield server
    server.kill()


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server that keeps what it has acknowledged, also when it is killed."""
    server = Server("--data-dir", str(tmp_path / "data"), "--sync", "every-commit")
    monkeypatch.setenv("TIDINGS_URL", server.url)
    yield server
    server.kill()


@pytest.fixture
def client(server: Server) -> Iterator[tidings.Client]:
    with tidings.Client(server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def own_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test inherits another's default client."""
    monkeypatch.setattr("tidings._default._client", None)


def until(what: str, condition: Callable[[], Any]) -> Any:
    """Waits for a condition, and returns its value."""
    deadline = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)
    return value


def events(client: tidings.Client, task_id: str, last: str) -> list[tidings.Event]:
    """A task's events up to the first of a type: without holes, or this fails."""
    found: list[tidings.Event] = []
    with client.watch(task_id, since=0) as watch:
        while True:
            update = watch.next(DEADLINE)
            assert update is not None, f"no {last} in time"
            if isinstance(update, tidings.Event):
                first = update.merged_from or update.offset
                assert first == (found[-1].offset + 1 if found else 1)
                found.append(update)
                if update.event_type == last:
                    return found


def types(found: list[tidings.Event]) -> list[str]:
    return [event.event_type for event in found]


class Script:
    """A Python program, in a process of its own."""

    def __init__(self, text: str, url: str, *arguments: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
            file.write(text)
        self.path = file.name
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", self.path, *arguments],
            env={**os.environ, "TIDINGS_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait(self) -> tuple[int, str]:
        """Returns the exit status and all output."""
        timer = threading.Timer(DEADLINE, self.process.kill)
        timer.start()
        try:
            output, _ = self.process.communicate()
        finally:
            timer.cancel()
            os.unlink(self.path)
        return self.process.returncode, output

    def succeeds(self) -> str:
        status, output = self.wait()
        assert status == 0, output
        return output


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many vectors of docs/conformance have passed, as the other clients' tests do."""
    passed = terminalreporter.stats.get("passed", [])
    counts = [count for report in passed for name, count in report.user_properties if name == "vectors"]
    if counts:
        terminalreporter.write_line(f"{sum(counts)} conformance vectors")
