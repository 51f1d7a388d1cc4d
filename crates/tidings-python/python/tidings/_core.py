"""The native client of this process, created at its first use and again after a fork."""

from __future__ import annotations

import atexit
import json
import logging
import math
import operator
import os
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import _native
from ._errors import Stopped, translate

log = logging.getLogger("tidings")

#: The server's default URL.
DEFAULT_URL = "http://127.0.0.1:8000"

Token = str | Callable[[], str] | None


@dataclass(frozen=True)
class Options:
    """The settings of a client."""

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
        token = token or os.environ.get("TIDINGS_TOKEN")
        if not (token is None or callable(token) or _is_header(token)):
            raise ValueError("the token is no text that an HTTP header can carry")
        for name, limit in [("max_pending", max_pending), ("max_pending_bytes", max_pending_bytes)]:
            if limit is not None and not 0 <= operator.index(limit) <= sys.maxsize:
                raise ValueError(f"{name} must be 0 or more: {limit}")
        if not exit_timeout >= 0:
            raise ValueError(f"exit_timeout must be 0 or more: {exit_timeout}")
        return Options(
            checked(url or os.environ.get("TIDINGS_URL") or DEFAULT_URL),
            token,
            Path(ca).read_bytes() if ca else None,
            max_pending,
            max_pending_bytes,
            seconds(exit_timeout),
        )


def _is_header(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isprintable()


def text_of(text: object) -> str:
    """Returns any value as text, without lone surrogates, which UTF-8 cannot encode.

    A value that raises when it is asked for its text has another one.
    """
    try:
        written = str(text)
    except Exception:
        written = f"<{type(text).__name__} without a text>"
    return str.encode(written, "utf-8", "replace").decode()


def texts(**fields: object) -> dict[str, str]:
    """Returns the fields that are not None, as text."""
    return {name: text_of(value) for name, value in fields.items() if value is not None}


#: `json.dumps` would make an encoder for each call.
_encode = json.JSONEncoder(default=text_of, allow_nan=False, ensure_ascii=False).encode


def dumps(value: Any) -> str:
    """Writes JSON. A value without a JSON form becomes text, so the call does not fail."""
    try:
        written = _encode(value)
    except Exception:
        # Whatever the methods of a value raise.
        return plain_dumps(value)
    # JSON has lone surrogates in strings only.
    return written if written.isascii() else text_of(written)


def plain_dumps(value: Any) -> str:
    """Writes JSON that every parser takes: huge numbers become text, deep values are cut."""
    return text_of(_encode(_plain(value, 16)))


def _plain(value: Any, depth: int, above: tuple[Any, ...] = ()) -> Any:
    """Rewrites a value as JSON: keys become text, NaN becomes null, circles are cut."""
    if depth == 0 or any(value is outer for outer in above):
        return "…"
    try:
        inside = (*above, value)
        if isinstance(value, dict):
            return {text_of(key): _plain(it, depth - 1, inside) for key, it in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_plain(item, depth - 1, inside) for item in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if isinstance(value, int) and abs(value) < 1 << 64:
            return int(value)
    except Exception:
        pass
    return text_of(value)


def checked(url: str) -> str:
    """Returns a server's URL. Raises `ValueError` if it is none: the native client, which
    would say so too, is made later."""
    wrong = not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url
    if not wrong:
        try:
            parts = urlsplit(url)
            wrong = parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname
            wrong = wrong or parts.port == 0 or "@" in parts.netloc or "?" in url
        except ValueError:
            wrong = True
    if wrong:
        raise ValueError(f"not the URL of a server, such as {DEFAULT_URL}: {text_of(url)!r}")
    return url


#: Seconds that are as good as for ever: what the native half can count.
FOREVER = 1e9


def seconds(timeout: float | None) -> float:
    """Returns a timeout for the native half. None and infinity mean no timeout."""
    return FOREVER if timeout is None else min(timeout, FOREVER)


class Core:
    """The part that the blocking client and the asyncio client share.

    There is one native client for each process: a forked child makes its own when it
    first uses the client. The child does not touch the parent's native client. The parent
    sends the events in that client's buffer.
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
        source = _source(options.token) if callable(options.token) else None
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

    def raise_if_refused(self, native: _native.Client) -> None:
        """Raises `Stopped` if the client has stopped although the program has not closed it."""
        status, reason = native.status()
        if status == "stopped" and not self._closed:
            raise Stopped(f"the client has stopped: {reason}")

    def set_token(self, token: str) -> None:
        """Replaces the token: here, in children that fork later, and in pickled clients."""
        self.native().set_token(token)
        # A function goes on saying which token is the present one.
        if not callable(self.options.token):
            self.options = replace(self.options, token=token)

    def close(self) -> None:
        self._closed = True

    def send(self, task_id: str, event_type: str, data: Any) -> None:
        """Publishes without waiting and without raising."""
        try:
            native = self.native()
            try:
                native.send(task_id, event_type, dumps(data), run=None)
            except ValueError:
                native.send(task_id, event_type, plain_dumps(data), run=None)
        except _native.Failure as failure:
            log.debug("%s of %s was not sent: %s", event_type, task_id, translate(failure))
        except Exception as error:
            log.debug("%s of %s was not sent: %s", event_type, task_id, error)


def _source(token: Callable[[], str]) -> Callable[[], str]:
    """Returns the program's token function, whose failures are logged."""

    def ask() -> str:
        try:
            given = token()
            if not _is_header(given):
                raise ValueError(f"{type(given).__name__} that no HTTP header can carry")
        except BaseException as error:
            log.warning("there is no token: %s", text_of(repr(error)))
            raise
        return given

    return ask


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

#: Clients that the program no longer refers to, with events that wait to be sent.
_retired: list[tuple[_native.Client, float]] = []
#: Beyond this number, such clients end and drop their unsent events.
MAX_RETIRED = 16


def _retire(natives: dict[int, _native.Client], timeout: float) -> None:
    native = natives.get(os.getpid())
    if native is not None:
        kept = [(old, its) for old, its in _retired if old.is_usable() and old.pending()]
        _retired[:] = [*kept, (native, timeout)][-MAX_RETIRED:]


def _leave() -> None:
    """Sends the waiting events before the process ends, for a few seconds at most."""
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
    """Registers a hook for children of `multiprocessing` or billiard, which skip `atexit`."""
    for name in ("multiprocessing.util", "billiard.util"):
        util = sys.modules.get(name)
        if util is not None and (os.getpid(), name) not in _children:
            _children.add((os.getpid(), name))
            util.Finalize(None, _leave, exitpriority=0)


def take(operation: _native.Operation) -> Any:
    """Returns the result of an operation, or raises its error."""
    try:
        return operation.take()
    except _native.Failure as failure:
        raise translate(failure) from None


def wait(operation: _native.Operation, timeout: float | None, what: str) -> Any:
    """Waits for an operation.

    Raises `TimeoutError` if that takes too long.
    """
    try:
        done = operation.wait(seconds(timeout))
    except BaseException:
        operation.cancel()
        raise
    if not done:
        operation.cancel()
        raise TimeoutError(f"{what} took longer than {timeout} s")
    return take(operation)
