"""Live progress of long-running work: report it, watch it, lose nothing silently.

Report::

    import tidings

    client = tidings.Client("http://127.0.0.1:8000")
    with client.task("render-7", name="Render") as task:
        task.progress(40, "linking")

Watch::

    for update in client.watch("render-*"):
        match update:
            case tidings.Snapshot(task):
                print(task.task_id, task.status, task.progress)
            case tidings.Event(event_type, task_id, data=data):
                print(task_id, event_type, data)

By one import: `tidings.tqdm`, `tidings.logging`, `tidings.celery`, `tidings.fastapi`,
`tidings.langchain`. For asyncio: `tidings.aio`. For type annotations: `tidings.types`.

Reporting never raises into the work and never blocks it. The server need not be there:
reports wait in a bounded buffer, and the client keeps trying.
"""

from __future__ import annotations

from . import _interpreters

_interpreters.refuse_others()

from . import aio, types
from ._client import Client, Command, Commands, Task, Watch
from ._default import client, set_client
from ._errors import BufferFull, Cancelled, Error, Expired, Refused, Stopped
from ._fold import Fold, reduce
from ._schema import TaskError, TaskSnapshot
from ._task import Ending, Output, Reports, Step, ToolCall, current
from ._updates import (
    Disconnected,
    Event,
    Gap,
    Losses,
    Published,
    Reconnected,
    Removed,
    Reset,
    Snapshot,
    TaskCommanded,
    TaskPage,
    Update,
)

__all__ = [
    "BufferFull",
    "Cancelled",
    "Client",
    "Command",
    "Commands",
    "Disconnected",
    "Ending",
    "Error",
    "Event",
    "Expired",
    "Fold",
    "Gap",
    "Losses",
    "Output",
    "Published",
    "Reconnected",
    "Refused",
    "Removed",
    "Reports",
    "Reset",
    "Snapshot",
    "Step",
    "Stopped",
    "Task",
    "TaskCommanded",
    "TaskError",
    "TaskPage",
    "TaskSnapshot",
    "ToolCall",
    "Update",
    "Watch",
    "aio",
    "client",
    "current",
    "reduce",
    "set_client",
    "types",
]

# Tracebacks, `help` and pickles show what a program can write: `tidings.Refused`.
for _name in __all__:
    if getattr(globals()[_name], "__module__", "").startswith(f"{__name__}._"):
        globals()[_name].__module__ = __name__
del _name
