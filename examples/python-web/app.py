"""A FastAPI service with live progress, without a ConnectionManager and an EventBus.

    pip install tidings[fastapi] uvicorn
    tidings serve                         the server, or TIDINGS_URL
    uvicorn app:app --port 9000
    open http://127.0.0.1:9000
"""

from __future__ import annotations

import asyncio
import uuid

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import HTMLResponse

import tidings
import tidings.fastapi as live

# was: manager = ConnectionManager(); bus = EventBus()
app = FastAPI(lifespan=live.lifespan())
# was: @app.websocket("/ws/{task_id}") with manager.connect, .disconnect and a loop
app.include_router(live.router())
# The server's pages, below /tidings: the React panel of each task.
app.include_router(live.panel())


async def make_report(client: tidings.aio.Client, task_id: str, pages: int) -> None:
    # was: await bus.publish(task_id, {...}) and a handler that calls manager.broadcast
    async with client.task(task_id, name="Report", total=pages, lease=60) as task:
        for page in range(pages):
            await asyncio.sleep(0.1)
            task.progress(current=page + 1, total=pages, message=f"page {page + 1}")
        task.result = {"pages": pages}


@app.post("/reports")
async def report(client: live.Client, work: BackgroundTasks, pages: int = 50) -> dict[str, str]:
    task_id = f"report-{uuid.uuid4().hex[:8]}"
    work.add_task(make_report, client, task_id, pages)
    # `examples/react-panel` shows the panel in a page of your own.
    return {"task_id": task_id, "panel": f"/tidings/tasks/{task_id}"}


PAGE = """<!doctype html><title>Report</title>
<button id="go">Make a report</button> <progress id="bar" max="100" value="0"></progress>
<a id="panel" target="_blank" hidden>everything about it</a>
<pre id="log"></pre>
<script>
go.onclick = async () => {
  const report = await (await fetch("/reports", { method: "POST" })).json();
  const { task_id } = report;
  Object.assign(panel, { href: report.panel, hidden: false });
  const events = new EventSource(`/live/${task_id}/events`);   // resumes by itself
  events.onmessage = ({ data }) => {
    const { event_type, data: said } = JSON.parse(data);
    if (event_type === "progress_update") bar.value = 100 * said.current / said.total;
    if (event_type === "task_completed") { bar.value = 100; events.close(); }
    log.textContent += `${event_type} ${said.message ?? ""}\\n`;
  };
};
</script>"""


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE)
