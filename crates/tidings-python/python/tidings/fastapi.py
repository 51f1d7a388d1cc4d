"""Tidings in a FastAPI service: a client for its lifetime, and routes for its pages.

::

    import tidings.fastapi as live

    app = FastAPI(lifespan=live.lifespan())
    app.include_router(live.router())

    @app.post("/reports/{number}")
    async def report(number: int, client: live.Client, work: BackgroundTasks) -> None:
        work.add_task(make_report, client, number)

- `lifespan` connects a client and, when the service ends, sends the waiting events.
- `Client` is a dependency: the service's client. Starlette does not run the lifespan of a mounted
  app. Make the client yourself then, give it to the outer app with ``lifespan(client)``, and set
  ``inner.state.tidings = client``.
- `router` serves each task's events to browsers as Server-Sent Events, and its state.
  They equal the server's own answers, so `EventSource` and the folding of states work
  in the same way. Your own dependencies can check who may watch.
- `panel` serves the server's own pages below a path: ``/tidings/tasks/ID`` is a task's panel.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import Response, StreamingResponse
from starlette.requests import HTTPConnection

from . import aio
from ._errors import Error
from ._updates import Event, Gap, Reset, Snapshot, Update

__all__ = ["Client", "get_client", "lifespan", "panel", "router", "sse"]


def lifespan(
    client: aio.Client | None = None, **options: Any
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Returns a lifespan that holds a client. `options` are those of `tidings.aio.Client`.

    The client connects in the background: the service also starts without the server.
    """

    @asynccontextmanager
    async def holding(app: FastAPI) -> AsyncIterator[None]:
        held = client or aio.Client(**options)
        app.state.tidings = held
        async with held:
            yield
        if (http := getattr(app.state, "tidings_http", None)) is not None:
            await http.aclose()

    return holding


def get_client(connection: HTTPConnection) -> aio.Client:
    """Returns the service's client: for `Depends`, in routes and in WebSockets."""
    client = getattr(connection.app.state, "tidings", None)
    if not isinstance(client, aio.Client):
        raise RuntimeError(
            "the app has no client: give it FastAPI(lifespan=tidings.fastapi.lifespan()). The "
            "lifespan of a mounted app does not run: give the outer app lifespan(client), and set "
            "inner.state.tidings = client"
        )
    return client


#: The service's client, as a dependency.
Client = Annotated[aio.Client, Depends(get_client)]


def message(update: Update) -> dict[str, Any] | None:
    """Returns an update as a message of the protocol; None if a page need not know."""
    match update:
        case Event():
            fields = asdict(update)
            fields["from"] = fields.pop("merged_from")
            return {name: value for name, value in fields.items() if value is not None}
        case Snapshot(task):
            data = {"epoch": task.epoch, "offset": task.offset, "snapshot": asdict(task)}
            return {"event_type": "subscribed", "data": {"task_id": task.task_id, **data}}
        case Gap(task_id, first, last, reason, state):
            data = {"from": first, "to": last, "reason": reason}
            if state is not None:
                data["snapshot"] = asdict(state)
            return {"event_type": "gap", "task_id": task_id, "data": data}
        case Reset(task_id, reason, offset, state):
            data = {"reason": reason, "epoch": state.epoch, "offset": offset}
            return {
                "event_type": "reset",
                "task_id": task_id,
                "data": {**data, "snapshot": asdict(state)},
            }
    return None


def _one(task_id: str) -> str:
    """Returns the id of one task. The pages of a task do not show those of a pattern."""
    if "*" in task_id:
        raise HTTPException(400, "this is the id of no task: it has a *")
    return task_id


async def sse(client: aio.Client, task_id: str, since: str | None = None) -> AsyncIterator[str]:
    """Yields a task's updates as Server-Sent Events. `id:` is the position."""
    epoch = since.split(":")[0] if since and ":" in since else None
    async with client.watch(task_id, since=since) as watch:
        async for update in watch:
            match update:
                case Snapshot(task) | Reset(task=task):
                    epoch = task.epoch
            told = message(update)
            if told is None:
                yield ": connecting\n\n"
            elif isinstance(update, Event):
                yield f"id: {epoch}:{update.offset}\ndata: {json.dumps(told)}\n\n"
            else:
                yield f"data: {json.dumps(told)}\n\n"


def router(
    prefix: str = "/live", dependencies: Sequence[Any] = (), timeout: float = 10.0
) -> APIRouter:
    """Returns routes for pages: ``PREFIX/ID/events`` (Server-Sent Events) and
    ``PREFIX/ID`` (the state). `dependencies` check who may watch. While the server is away, the
    state is answered with 503 after `timeout` seconds."""
    routes = APIRouter(prefix=prefix, dependencies=list(dependencies))

    @routes.get("/{task_id}/events")
    async def events(
        request: Request, client: Client, task_id: str, since: str | None = None
    ) -> StreamingResponse:
        since = request.headers.get("last-event-id") or since
        try:
            stream = sse(client, _one(task_id), since)
            first = await anext(stream)
        except (Error, ValueError) as error:
            raise HTTPException(400, str(error)) from None

        async def body() -> AsyncIterator[str]:
            yield first
            async for text in stream:
                yield text

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(body(), media_type="text/event-stream", headers=headers)

    @routes.get("/{task_id}")
    async def state(client: Client, task_id: str) -> dict[str, Any]:
        try:
            return asdict(await asyncio.wait_for(client.snapshot(_one(task_id)), timeout))
        except asyncio.TimeoutError:
            raise HTTPException(503, "no answer from the Tidings server") from None
        except (Error, ValueError) as error:
            raise HTTPException(400, str(error)) from None

    return routes


def panel(
    prefix: str = "/tidings",
    dependencies: Sequence[Any] = (),
    token: str | Callable[[HTTPConnection], str] | None = None,
) -> APIRouter:
    """Returns routes that pass all requests below a path on to the server. The service then has
    the server's pages: ``PREFIX/tasks/ID`` is the panel of a task, and ``PREFIX/`` all tasks.

    - `dependencies` check who may see them. Let yours take an `HTTPConnection`: they are called
      for WebSockets, too.
    - The server decides what a page may do, by the page's token. A request without one has
      `token`, or what the function `token` returns for the request. Give it no more rights than
      a page of this service may have. Without authentication at the server, a page may do
      everything.
    - Pages of other origins are refused.

    This needs the packages `httpx` and `websockets`, which ``pip install tidings[fastapi]`` brings.
    """
    from ._proxy import Proxy

    proxy = Proxy(token)
    routes = APIRouter(prefix=prefix, dependencies=list(dependencies), include_in_schema=False)

    @routes.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "DELETE"])
    async def pass_request(request: Request, client: Client, path: str) -> Response:
        return await proxy.request(request, client, path)

    @routes.websocket("/{path:path}")
    async def pass_socket(socket: WebSocket, client: Client, path: str) -> None:
        await proxy.socket(socket, client, path)

    return routes
