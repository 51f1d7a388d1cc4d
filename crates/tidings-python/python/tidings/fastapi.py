"""Tidings in a FastAPI service: a client for its lifetime, and routes for its pages.

::

    import tidings.fastapi as live

    app = FastAPI(lifespan=live.lifespan())
    app.include_router(live.router())

    @app.post("/reports/{number}")
    async def report(number: int, client: live.Client, work: BackgroundTasks) -> None:
        work.add_task(make_report, client, number)

- `lifespan` connects a client and, as the service ends, sends what waits.
- `Client` is a dependency: the service's client.
- `router` serves each task's events to browsers as Server-Sent Events, and its state.
  They are what the server itself would send, so `EventSource` and the folding of
  states work as they do there. Give it your own dependencies to check who may watch.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from . import aio
from ._errors import Error
from ._updates import Event, Gap, Reset, Snapshot, Update

__all__ = ["Client", "get_client", "lifespan", "router", "sse"]


def lifespan(
    client: aio.Client | None = None, **options: Any
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Returns a lifespan that holds a client. `options` are those of `tidings.aio.Client`.

    The client connects in the background: the service begins without the server, too.
    """

    @asynccontextmanager
    async def holding(app: FastAPI) -> AsyncIterator[None]:
        held = client or aio.Client(**options)
        app.state.tidings = held
        async with held:
            yield

    return holding


def get_client(request: Request) -> aio.Client:
    """Returns the service's client: for `Depends`."""
    client = getattr(request.app.state, "tidings", None)
    if not isinstance(client, aio.Client):
        raise RuntimeError("give the app a lifespan: FastAPI(lifespan=tidings.fastapi.lifespan())")
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


async def sse(client: aio.Client, task_id: str, since: str | None = None) -> AsyncIterator[str]:
    """Yields what happens to a task as Server-Sent Events. `id:` is the position."""
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


def router(prefix: str = "/live", dependencies: Sequence[Any] = ()) -> APIRouter:
    """Returns routes for pages: ``PREFIX/ID/events`` (Server-Sent Events) and
    ``PREFIX/ID`` (the state). `dependencies` check who may watch."""
    routes = APIRouter(prefix=prefix, dependencies=list(dependencies))

    @routes.get("/{task_id}/events")
    async def events(
        request: Request, client: Client, task_id: str, since: str | None = None
    ) -> StreamingResponse:
        since = request.headers.get("last-event-id") or since
        try:
            stream = sse(client, task_id, since)
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
            return asdict(await client.snapshot(task_id))
        except (Error, ValueError) as error:
            raise HTTPException(400, str(error)) from None

    return routes
