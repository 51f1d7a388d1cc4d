"""The examples, as a person would run them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

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


@pytest.mark.parametrize(("go", "code", "status"), [(True, 0, "completed"), (False, 2, "cancelled")])
def test_a_deploy_script_asks_and_is_answered_from_the_command_line(
    server: Server, client: tidings.Client, go: bool, code: int, status: str
) -> None:
    program = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "python-deploy/deploy.py"), "deploy-1"],
        env={**os.environ, "TIDINGS_URL": server.url},
    )

    def asks(question: str) -> bool:
        return [open_.input_id for open_ in client.snapshot("deploy-1").pending_inputs] == [question]

    def answer(question: str, value: str) -> int:
        command = [os.environ["SERVER_BIN"], "answer", "--url", server.url, "deploy-1"]
        return subprocess.run([*command, question, value], capture_output=True).returncode

    until("it asks whether to go on", lambda: asks("go"))
    assert answer("go", "perhaps") == 76, "what does not fit is refused"
    assert answer("go", f":={json.dumps(go)}") == 0
    assert answer("go", ":=true") == 76, "the first answer wins"
    if go:
        until("it asks how many", lambda: asks("replicas"))
        assert answer("replicas", ":=9") == 76
        assert answer("replicas", ":=3") == 0
    assert program.wait(DEADLINE) == code
    state = client.snapshot("deploy-1")
    assert state.status == status
    assert state.result == ({"replicas": 3} if go else None)


def test_a_deploy_script_is_answered_by_a_link_and_like_the_page_does(tmp_path: Path) -> None:
    """The page sends the WebSocket message `answer`, and a link's page posts a form."""
    websockets = pytest.importorskip("websockets.sync.client")
    key = tmp_path / "key"
    key.write_text("a secret that is long enough for a signature")
    server = Server("--answer-link-key", str(key))
    try:
        program = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "python-deploy/deploy.py"), "deploy-1"],
            env={**os.environ, "TIDINGS_URL": server.url},
        )
        inputs = f"{server.url}/api/tasks/deploy-1/inputs"

        def asks(question: str) -> bool:
            page = json.loads(get(f"{server.url}/api/inputs?prefix=deploy-1")[1])
            return [open_["input_id"] for open_ in page["inputs"]] == [question]

        until("it asks whether to go on", lambda: asks("go"))
        path = post(f"{inputs}/go/links", {"for": "ada@example.org"})["path"]
        link = server.url + path
        assert b"Deploy version 7 to production?" in get(link)[1]
        assert asks("go"), "a look at the page is no answer"
        with urllib.request.urlopen(link, b"value=true", timeout=DEADLINE) as answer:
            assert b"Your answer was recorded" in answer.read()
        with pytest.raises(urllib.error.HTTPError) as again:
            urllib.request.urlopen(link, b"value=false", timeout=DEADLINE)
        assert again.value.code == 409
        assert b"ada@example.org has answered this question already" in again.value.read()

        until("it asks how many", lambda: asks("replicas"))
        url = f"{server.url}/ws/tasks/deploy-1".replace("http", "ws", 1)
        with websockets.connect(url, subprotocols=["tidings.v1"]) as page:

            def say(value: int) -> dict[str, Any]:
                message = {"type": "answer", "ref": value, "input_id": "replicas", "value": value}
                page.send(json.dumps(message))
                while True:
                    heard = json.loads(page.recv(DEADLINE))
                    if heard["event_type"] in ("ack", "error"):
                        return dict(heard["data"])

            assert say(9)["code"] == "invalid_event"
            assert say(3)["duplicate"] is False
            assert say(4)["code"] == "already_answered"
        with pytest.raises(urllib.error.HTTPError) as late:
            post(f"{inputs}/go", {"value": False})
        problem = json.load(late.value)
        assert (late.value.code, problem["code"]) == (409, "already_answered")
        assert problem["by"] == "ada@example.org"
        assert program.wait(DEADLINE) == 0
    finally:
        server.kill()


@pytest.fixture
def web(server: Server) -> Iterator[str]:
    """The FastAPI example. Yields its URL."""
    pytest.importorskip("fastapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app:app", "--log-level", "error"]
    program = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=EXAMPLES / "python-web",
        env={**os.environ, "TIDINGS_URL": server.url},
    )

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        until("the service answers", answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        program.terminate()
        program.wait(DEADLINE)


def get(url: str, **headers: str) -> tuple[str, bytes]:
    """Returns the media type and the body of a page that there is."""
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return answer.headers.get_content_type(), answer.read()


def post(url: str, body: object, **headers: str) -> Any:
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return json.load(answer)


def test_a_web_service_with_live_progress(web: str) -> None:
    task_id = post(f"{web}/reports?pages=5", None)["task_id"]
    position, kinds = "", []
    with urllib.request.urlopen(
        f"{web}/live/{task_id}/events?since=0", timeout=DEADLINE
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
        f"{web}/live/{task_id}/events", headers={"Last-Event-ID": f"{position[:-1]}1"}
    )
    with urllib.request.urlopen(request, timeout=DEADLINE) as stream:
        assert stream.readline()
    state = json.loads(get(f"{web}/live/{task_id}")[1])
    assert state["status"] == "completed" and state["result"] == {"pages": 5}
    assert b"EventSource" in get(web)[1]
    with pytest.raises(urllib.error.HTTPError) as wrong:
        get(f"{web}/live/not%20an%20id")
    assert wrong.value.code == 400
    wrong.value.close()


def test_the_panel_of_the_web_service_loads_from_it(web: str) -> None:
    """The page, all its files and its requests, at the service's own address."""
    panel = web + post(f"{web}/reports?pages=5", None)["panel"]
    kind, page = get(panel, Accept="text/html")
    assert kind == "text/html" and b'<div id="root">' in page
    waiting = re.findall(r'(?:src|href)="([^"]+)"', page.decode())
    base, loaded = panel, dict[str, str]()
    while waiting:
        url = urljoin(base, waiting.pop())
        assert url.startswith(f"{web}/tidings/"), url
        if url in loaded:
            continue
        loaded[url], content = get(url, **{"Accept-Encoding": "identity"})
        if url.endswith(".js"):
            # What a script imports now or later lies beside it.
            found = re.findall(r'"(?:\./|assets/)([\w-]+\.(?:js|css))"', content.decode())
            waiting += [urljoin(url, name) for name in found]
    kinds = [loaded[url] for url in sorted(loaded)]
    assert "image/svg+xml" in kinds and "text/css" in kinds, loaded
    assert kinds.count("text/javascript") > 5, loaded


def test_the_panel_of_the_web_service_is_live(web: str, client: tidings.Client) -> None:
    """Its WebSocket, its event stream and its commands reach the server through the service."""
    websockets = pytest.importorskip("websockets.sync.client")
    base = f"{web}/tidings"
    with client.task("t") as task:
        url = f"{base}/ws/tasks/t".replace("http", "ws", 1)
        with websockets.connect(url, subprotocols=["tidings.v1"], origin=web) as page:
            assert page.subprotocol == "tidings.v1"
            assert json.loads(page.recv(DEADLINE))["event_type"] == "connection_established"
            task.log("a line")
            while json.loads(page.recv(DEADLINE))["event_type"] != "log":
                pass
            page.send(json.dumps({"type": "ping", "ref": 7}))
            assert json.loads(page.recv(DEADLINE))["data"] == {"ref": 7}
        request = urllib.request.Request(
            f"{base}/api/tasks/t/events", headers={"Accept": "text/event-stream"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as stream:
            while b"connection_established" not in stream.readline():
                pass
        asked = post(f"{base}/api/tasks/t/commands", {"command": "cancel"}, Origin=web)
        assert asked["command_id"]
        until("the command has come", lambda: task.cancelled)
        task.cancel()
    # The server's refusals come through, and so do those of pages of other origins.
    for path, origin, code in (
        ("api/tasks/not%20an%20id", web, 400),
        ("api/tasks", "http://evil.example", 403),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{base}/{path}", Origin=origin)
        assert refused.value.code == code
        refused.value.close()
    with pytest.raises(websockets.InvalidStatus):
        websockets.connect(url, origin="http://evil.example")


def test_the_panel_shows_the_token_that_the_service_names(tmp_path: Path) -> None:
    """A request without a token has the service's; a page's own counts more."""
    fastapi = pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    import tidings.fastapi as live

    key = tmp_path / "key"
    key.write_text("a secret that is long enough for HMAC with SHA-256")
    server = Server("--auth", "jwt", "--jwt-key", str(key))
    try:
        minted = subprocess.run(
            [os.environ["SERVER_BIN"], "token", "--jwt-key", str(key), "--watch", "shown-*"],
            capture_output=True,
            text=True,
            check=True,
        )
        app = fastapi.FastAPI(lifespan=live.lifespan(url=server.url))
        app.include_router(live.panel("/open", token=minted.stdout.strip()))
        app.include_router(live.panel("/closed"))
        with TestClient(app) as http:
            assert http.get("/open/api/tasks/shown-1").status_code == 404
            assert http.get("/open/api/tasks/hidden-1").status_code == 403
            assert http.get("/closed/api/tasks/shown-1").status_code == 401
            bad = {"Authorization": "Bearer bad"}
            assert http.get("/open/api/tasks/shown-1", headers=bad).status_code == 401
            server.kill()
            assert http.get("/open/api/tasks/shown-1").status_code == 502
    finally:
        server.kill()
