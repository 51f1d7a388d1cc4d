"""The errors of this package."""

from __future__ import annotations

from . import _native


class Error(Exception):
    """The base of all errors of this package."""


class Refused(Error):
    """The server refused a request. It has changed nothing, unless the code is ``unavailable``.

    `code` is the protocol's, such as ``invalid_transition`` or ``forbidden``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[Refused], tuple[str, str]]:
        return Refused, (self.code, self.message)


class Stopped(Error):
    """The client no longer connects, because it was closed or its token is not valid."""


class BufferFull(Error):
    """Too many events wait for the server. Try again later."""


class Cancelled(Error):
    """The task was cancelled by the command `cancel`, or because the program ends."""


class Expired(Error):
    """A question has expired without an answer."""


def translate(failure: _native.Failure) -> Exception:
    """Makes a failure of the native half an error of this package."""
    kind, code, message = failure.args
    if kind == "refused":
        return Refused(str(code), message)
    if kind == "full":
        return BufferFull(message)
    if kind == "stopped":
        return Stopped(message)
    if kind == "invalid":
        return ValueError(message)
    return Error(message)
