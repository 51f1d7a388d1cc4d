"""Celery tasks as Tidings tasks: published, started, progress, retried, failed, revoked.

::

    from celery import Celery
    import tidings.celery

    app = Celery(broker="redis://127.0.0.1")
    tidings.celery.install(app)

Each Celery task is the Tidings task ``celery-ID``:

- It is pending from the moment it is published, and running in its worker.
- ``self.update_state(state="PROGRESS", meta={"current": 3, "total": 10})`` is progress;
  so is ``meta={"progress": 30}``. ``tidings.current()`` is the whole of what a task can
  report.
- A retry ends the run with the code ``retry``. The next attempt is a new run.
- A task that another one publishes is its child; those of a chord are children of the
  chord's body.
- A worker that dies lets the lease run out: its task ends as `lost`.
"""

from __future__ import annotations

import functools
from typing import Any

from celery import signals  # type: ignore[import-untyped, unused-ignore]

from . import _default
from ._client import Client, Task
from ._core import text_of
from ._errors import Stopped
from ._task import error_of

#: The prefix of the Tidings id of a Celery task.
PREFIX = "celery-"
#: Seconds without a sign of life after which a task stalls. After as long again it is lost.
LEASE = 30.0
#: The header of a message whose `parent_id` would make a task its own ancestor.
DETACHED = "tidings_detached"


def task_id(celery_id: str) -> str:
    """Returns the id of the Tidings task of a Celery task."""
    return f"{PREFIX}{celery_id}"


#: Under another name where a signal's argument is called `task_id`.
_id = task_id


class Reporter:
    """The reporter of an app's tasks. Use `install`."""

    def __init__(self, client: Client | None, lease: float) -> None:
        self._client = client
        self._lease = lease
        self._running: dict[str, Task] = {}
        self._parents: dict[str, str | None] = {}

    @property
    def client(self) -> Client:
        return self._client or _default.client()

    def published(self, sender: Any = None, headers: Any = None, **_: Any) -> None:
        """A task was handed to the broker."""
        headers = headers or {}
        if "id" in headers and not headers.get("retries"):
            data = {"name": str(sender), "queued": True}
            self.client._core.send(_id(headers["id"]), "celery.published", data)

    def retrying(self, headers: Any = None, **_: Any) -> None:
        """A task is about to be published. If the worker that does it publishes it again,
        its run must end first: another worker may begin the next attempt at once."""
        headers = {} if headers is None else headers
        parent = headers.get("parent_id")
        if parent is not None and headers.get("id") in (parent, self._parents.get(parent)):
            # Celery names the last part of a chord as the parent of the chord's body, whose
            # child the part is, and a retried task as the parent of its next attempt.
            headers[DETACHED] = True
        task = self._running.get(headers.get("id", ""))
        if task is not None and headers.get("retries"):
            error = {"code": "retry", "message": f"retry {headers['retries']}"}
            try:
                task._end("task_failed", {"error": error}).wait(1.0)
            except Exception:
                pass  # The server is away; it is told later.

    def started(self, task_id: str = "", task: Any = None, **_: Any) -> None:
        """A worker begins a task."""
        request = task.request
        parent = self._parents[task_id] = parent_of(request)
        begun = self.client.task(
            _id(task_id),
            name=task.name,
            parent=None if parent is None else _id(parent),
            lease=self._lease,
            source=text_of(request.hostname or "celery")[:64],
        )
        self._running[task_id] = begun
        begun._enter()

    def ended(self, task_id: str = "", state: str | None = None, retval: Any = None, **_: Any) -> None:
        """A worker has finished a task, with any outcome."""
        task = self._running.pop(task_id, None)
        self._parents.pop(task_id, None)
        if task is None:
            return
        if state == "SUCCESS":
            task.result = retval
        else:
            # Ended by `failed` or `retried` already, unless it was rejected, ignored or,
            # without any state, terminated.
            task.cancel(str(state or "terminated").lower())
        task._leave(None)

    def failed(self, task_id: str = "", exception: Any = None, sender: Any = None, **_: Any) -> None:
        """A task has failed: in its worker, or because its process died."""
        task = self._running.get(task_id)
        if task is not None:
            task.fail(exception)
        elif isinstance(exception, BaseException):
            # The child is dead, so the worker's main process reports this.
            target = _id(task_id)
            self.client._core.send(target, "task_failed", error_of(exception))

    def retried(self, request: Any = None, reason: Any = None, **_: Any) -> None:
        """Celery will retry a task."""
        task = self._running.get(request.id)
        if task is not None:
            data = error_of(reason) if isinstance(reason, BaseException) else {}
            message = text_of(reason)[:2_000]
            task._end("task_failed", data | {"error": {"code": "retry", "message": message}})

    def revoked(self, request: Any = None, terminated: bool = False, **_: Any) -> None:
        """A task was revoked: before it began, or by ending its process."""
        reason = "terminated" if terminated else "revoked"
        target = _id(request.id)
        if not terminated:
            # A task that never ran has to begin before it can be cancelled.
            self.client._core.send(target, "task_started", {"name": request.task_name})
        self.client._core.send(target, "task_cancelled", {"reason": reason})

    def stopping(self, **_: Any) -> None:
        """A worker process ends."""
        try:
            self.client.flush(5.0)
        except Stopped:
            pass  # The client has logged why.


def parent_of(request: Any) -> str | None:
    """Returns the Celery id of the task that this one is a part of."""
    chord = getattr(request, "chord", None)
    if chord:
        options = chord.get("options") or {}
        if options.get("task_id"):
            return str(options["task_id"])
    if getattr(request, DETACHED, False):
        return None
    parent = getattr(request, "parent_id", None)
    return None if parent is None else str(parent)


def progress_of(task: Task, state: str | None, meta: Any) -> None:
    """Reports the arguments of `update_state`."""
    if not isinstance(meta, dict):
        task.report("celery.state", {"state": state, "meta": meta})
        return
    message = meta.get("message") or meta.get("status") or meta.get("description")
    message = None if message is None else str(message)
    percent = meta.get("progress", meta.get("percent"))
    if isinstance(percent, (int, float)):
        task.progress(float(percent), message, stage=state)
    elif isinstance(meta.get("current"), (int, float)):
        task.progress(None, message, current=meta["current"], total=meta.get("total"), stage=state)
    else:
        task.report("celery.state", {"state": state, "meta": meta})


def _follow_states(app: Any, reporter: Reporter) -> None:
    """Celery has no signal for `update_state`."""
    base = app.Task
    told = base.update_state

    @functools.wraps(told)
    def update_state(
        self: Any, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any
    ) -> Any:
        task = reporter._running.get(task_id or self.request.id)
        if task is not None:
            progress_of(task, state, meta)
        return told(self, task_id=task_id, state=state, meta=meta, **kwargs)

    base.update_state = update_state


def install(app: Any, client: Client | None = None, *, lease: float = LEASE) -> Reporter:
    """Reports all tasks of a Celery app. Call it where the app is created.

    `client` is the program's own (`tidings.client()`) if none is given. Call this once
    in a program: Celery's signals are those of all its apps.
    """
    reporter = Reporter(client, lease)
    connect = {
        signals.before_task_publish: reporter.retrying,
        signals.after_task_publish: reporter.published,
        signals.task_prerun: reporter.started,
        signals.task_postrun: reporter.ended,
        signals.task_failure: reporter.failed,
        signals.task_retry: reporter.retried,
        signals.task_revoked: reporter.revoked,
        signals.worker_process_shutdown: reporter.stopping,
    }
    for signal, receiver in connect.items():
        signal.connect(receiver, weak=False)
    _follow_states(app, reporter)
    return reporter


__all__ = ["LEASE", "PREFIX", "Reporter", "install", "task_id"]
