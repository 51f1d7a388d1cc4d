"""The native client of this process: made when it is needed, and again after a fork."""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _native
from ._errors import Stopped, translate

log = logging.getLogger("tidings")

#: Where the server is if nothing says otherwise.
DEFAULT_URL = "http://127.0.0.1:8000"

Token = str | Callable[[], str] | None


@dataclass(frozen=True)
class Options:
    """How a client is made."""

    url: str
    token: Token
    ca: bytes | None
    max_pending: int | None
    max_pending_bytes: int | None
    exit_timeout: float

    @staticmethod
    def of(
        url: str | None,
        token: Token,
        ca: str | os.PathLike[str] | None,
        max_pending: int | None,
        max_pending_bytes: int | None,
        exit_timeout: float,
    ) -> Options:
        ca = ca or os.environ.get("TIDINGS_CA")
        return Options(
            url or os.environ.get("TIDINGS_URL") or DEFAULT_URL,
            token or os.environ.get("TIDINGS_TOKEN"),
            Path(ca).read_bytes() if ca else None,
            max_pending,
            max_pending_bytes,
            exit_timeout,
        )


def dumps(value: Any) -> str:
    """Writes JSON. What JSON has no form for becomes text, so this never fails for it."""
    try:
        return json.dumps(value, default=str, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return json.dumps(_plain(value, 16))


def _plain(value: Any, depth: int) -> Any:
    """Rewrites a value as JSON: keys become text, NaN becomes null, circles are cut."""
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        return {str(key): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def text_of(text: object) -> str:
    """Makes text of anything. Half a surrogate pair, which UTF-8 has no form for, goes."""
    return str(text).encode("utf-8", "replace").decode()


class Core:
    """What a client's two faces share.

    There is one native client for each process: a forked child makes its own when it
    first uses the client. The parent's is left alone, and what it has buffered is the
    parent's to send.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._closed = False
        self._natives: dict[int, _native.Client] = {}
        _cores.add(self)
        weakref.finalize(self, _retire, self._natives, options.exit_timeout).atexit = False

    @property
    def is_closed(self) -> bool:
        return self._closed

    def existing(self) -> _native.Client | None:
        """Returns the native client of this process, if there is one."""
        return self._natives.get(os.getpid())

    def native(self) -> _native.Client:
        """Returns the native client of this process. Neither waits nor locks: a lock
        that another thread held would stay locked in a forked child."""
        if self._closed:
            raise Stopped("the client was closed")
        found = self.existing()
        if found is not None:
            if not found.is_usable():
                raise Stopped("somebody has closed the descriptors of this process")
            return found
        return self._natives.setdefault(os.getpid(), self._make())

    def _make(self) -> _native.Client:
        options = self.options
        source = options.token if callable(options.token) else None
        _send_before_a_child_ends()
        return _native.Client(
            options.url,
            token=None if callable(options.token) else options.token,
            token_source=source,
            ca=options.ca,
            max_pending=options.max_pending,
            max_pending_bytes=options.max_pending_bytes,
            on_status=_Status(options.url),
        )

    def close(self) -> None:
        self._closed = True

    def send(self, task_id: str, event_type: str, data: Any) -> None:
        """Publishes without waiting and without raising."""
        try:
            self.native().send(task_id, event_type, dumps(data), run=None)
        except _native.Failure as failure:
            log.debug("%s of %s was not sent: %s", event_type, task_id, translate(failure))
        except Exception as error:
            log.debug("%s of %s was not sent: %s", event_type, task_id, error)


class _Status:
    """Logs whenever the server is lost or found, once each."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lost = False

    def __call__(self, kind: str, reason: str | None) -> None:
        if kind == "waiting" and not self.lost:
            self.lost = True
            log.warning("no connection to %s: %s; the client keeps trying", self.url, reason)
        elif kind == "connected" and self.lost:
            self.lost = False
            log.info("connected to %s", self.url)
        elif kind == "stopped" and reason != "the client was closed":
            log.warning("the client of %s has stopped: %s", self.url, reason)


_cores: weakref.WeakSet[Core] = weakref.WeakSet()

#: Clients that the program has forgotten, which still have something to send.
_retired: list[tuple[_native.Client, float]] = []
#: More of them end with what they have not sent.
MAX_RETIRED = 16


def _retire(natives: dict[int, _native.Client], timeout: float) -> None:
    native = natives.get(os.getpid())
    if native is not None:
        kept = [(old, its) for old, its in _retired if old.is_usable() and old.pending()]
        _retired[:] = [*kept, (native, timeout)][-MAX_RETIRED:]


def _leave() -> None:
    """Sends what waits before the process ends, for a few seconds at most."""
    natives = [(core.existing(), core.options.exit_timeout) for core in list(_cores)]
    leaving = []
    for native, timeout in [*natives, *_retired]:
        if native is not None and native.is_usable():
            try:
                leaving.append((time.monotonic() + timeout, native.leave(timeout)))
            except (_native.Gone, _native.Failure):
                pass
    for deadline, operation in leaving:
        operation.wait(max(0.0, deadline - time.monotonic()) + 0.5)


atexit.register(_leave)

_children: set[tuple[int, str]] = set()


def _send_before_a_child_ends() -> None:
    """A child of `multiprocessing` or billiard ends without `atexit`, but with its own."""
    for name in ("multiprocessing.util", "billiard.util"):
        util = sys.modules.get(name)
        if util is not None and (os.getpid(), name) not in _children:
            _children.add((os.getpid(), name))
            util.Finalize(None, _leave, exitpriority=0)


def take(operation: _native.Operation) -> Any:
    """Returns what came of an operation, or raises what went wrong."""
    try:
        return operation.take()
    except _native.Failure as failure:
        raise translate(failure) from None


def wait(operation: _native.Operation, timeout: float | None, what: str) -> Any:
    """Waits for an operation.

    Raises `TimeoutError` if that takes too long.
    """
    try:
        done = operation.wait(timeout)
    except BaseException:
        operation.cancel()
        raise
    if not done:
        operation.cancel()
        raise TimeoutError(f"{what} took longer than {timeout} s")
    return take(operation)
