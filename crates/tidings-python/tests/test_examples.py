"""The examples, as a person would run them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import DEADLINE, Server, events, types, until

import tidings

EXAMPLES = Path(__file__).parent / "../../../examples"


def agent(server: Server, seconds: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / "python-agent/agent.py"), "agent-1", seconds],
        env={**os.environ, "TIDINGS_URL": server.url},
    )


def test_an_agent_does_its_job(server: Server, client: tidings.Client) -> None:
    program = agent(server, "0.5")
    found = types(events(client, "agent-1", "task_completed"))
    for kind in ("step_started", "step_completed", "tool_call_started", "tool_call_completed"):
        assert found.count(kind) == 5, kind
    assert program.wait(DEADLINE) == 0


def test_an_agent_is_paused_resumed_and_cancelled(
    server: Server, client: tidings.Client
) -> None:
    """By the command line, which waits for what the agent says."""
    program = agent(server, "600")
    until("it works", lambda: client.snapshot("agent-1").tool_calls)
    for command, status in (("pause", 0), ("resume", 0), ("dance", 2), ("cancel", 0)):
        asked = subprocess.run(
            [os.environ["SERVER_BIN"], "command", "--url", server.url, "agent-1", command],
            stdout=subprocess.DEVNULL,
        )
        assert asked.returncode == status, command
    assert program.wait(DEADLINE) == 2
    found = events(client, "agent-1", "task_cancelled")
    assert types(found).count("command_completed") == 3
    assert found[-1].data["reason"].startswith("cancelled by ")


def test_a_web_service_with_live_progress(server: Server, client: tidings.Client) -> None:
    pytest.importorskip("fastapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "app:app", "--log-level", "error"]
    web = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=EXAMPLES / "python-web",
        env={**os.environ, "TIDINGS_URL": server.url},
    )

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until("the service answers", answers)
        request = urllib.request.Request(f"{base}/reports?pages=5", method="POST")
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            task_id = json.load(answer)["task_id"]
        position, kinds = "", []
        with urllib.request.urlopen(
            f"{base}/live/{task_id}/events?since=0", timeout=DEADLINE
        ) as stream:
            for line in stream:
                name, _, text = line.decode().strip().partition(": ")
                if name == "id":
                    position = text
                elif name == "data":
                    message = json.loads(text)
                    kinds.append(message["event_type"])
                    if kinds[-1] == "task_completed":
                        break
        assert kinds[0] == "subscribed" and kinds.count("progress_update") >= 1
        # Coming back at a position, as `EventSource` does.
        request = urllib.request.Request(
            f"{base}/live/{task_id}/events", headers={"Last-Event-ID": f"{position[:-1]}1"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as stream:
            assert stream.readline()
        with urllib.request.urlopen(f"{base}/live/{task_id}", timeout=DEADLINE) as answer:
            state = json.load(answer)
        assert state["status"] == "completed" and state["result"] == {"pages": 5}
        with urllib.request.urlopen(base, timeout=DEADLINE) as answer:
            assert b"EventSource" in answer.read()
        with pytest.raises(urllib.error.HTTPError) as wrong:
            urllib.request.urlopen(f"{base}/live/not%20an%20id", timeout=DEADLINE)
        assert wrong.value.code == 400
        wrong.value.close()
    finally:
        web.terminate()
        web.wait(DEADLINE)
