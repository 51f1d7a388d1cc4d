"""The routes of a FastAPI service."""

from __future__ import annotations

import pytest
from conftest import Server

import tidings

fastapi = pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402

import tidings.fastapi as live  # noqa: E402


def test_a_pattern_is_no_task(server: Server) -> None:
    """Who may watch one task does not get the events of all."""
    app = fastapi.FastAPI(lifespan=live.lifespan(url=server.url))
    app.include_router(live.router())
    with TestClient(app) as http:
        for target in ("*", "build-*", "%2A", "b*d"):
            assert http.get(f"/live/{target}/events").status_code == 400
            assert http.get(f"/live/{target}").status_code == 400
        assert http.get("/live/build-1").json()["status"] == "pending"


def test_a_state_without_a_server_is_answered() -> None:
    app = fastapi.FastAPI(lifespan=live.lifespan(url="http://127.0.0.1:9"))
    app.include_router(live.router(timeout=0.1))
    with TestClient(app) as http:
        assert http.get("/live/build-1").status_code == 503


def test_a_mounted_app_is_given_the_client(server: Server) -> None:
    client = tidings.aio.Client(server.url)
    inner = fastapi.FastAPI()
    inner.include_router(live.router())
    outer = fastapi.FastAPI(lifespan=live.lifespan(client))
    outer.mount("/inner", inner)
    with TestClient(outer) as http:
        with pytest.raises(RuntimeError, match="inner.state.tidings = client"):
            http.get("/inner/live/build-1")
        inner.state.tidings = client
        assert http.get("/inner/live/build-1").status_code == 200
