"""The load of `cargo bench --bench peers` on FastAPI with uvicorn: the documentation's manager."""

import json
import socket
from collections import defaultdict
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
offsets: dict[str, int] = defaultdict(int)
watchers: dict[str, list[WebSocket]] = defaultdict(list)


@app.websocket("/ws/tasks/{task}")
async def watch(watcher: WebSocket, task: str) -> None:
    await watcher.accept()
    watchers[task].append(watcher)
    await watcher.send_text('{"event_type":"connection_established","data":{}}')
    try:
        while True:
            await watcher.receive_text()
    except WebSocketDisconnect:
        watchers[task].remove(watcher)


@app.websocket("/ws")
async def publish(publisher: WebSocket) -> None:
    await publisher.accept()
    try:
        while True:
            message = json.loads(await publisher.receive_text())
            task = message["task_id"]
            offsets[task] += 1
            event = {
                "event_type": message["event_type"],
                "task_id": task,
                "offset": offsets[task],
                "timestamp": datetime.now(UTC).isoformat(),
                "data": message["data"],
            }
            text = json.dumps(event, separators=(",", ":"))
            for watcher in watchers[task]:
                await watcher.send_text(text)
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app,
        log_level="warning",
        loop="uvloop",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
    uvicorn.Server(config).run(sockets=[listener])
