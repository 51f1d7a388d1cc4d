"""A handler that makes log records the log of a task.

::

    import logging, tidings.logging
    logging.getLogger().addHandler(tidings.logging.Handler())

    with tidings.client().task("render-7"):
        logging.warning("out of film")      # goes to the task, too
"""

from __future__ import annotations

import logging
from typing import Any

from ._task import Reports, _current as _of_block

#: Returns the task whose block the program is in.
_current = _of_block.get


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warn"
    return "info" if number >= logging.INFO else "debug"


#: The levels of nearly all records.
_LEVELS = {number: _level(number) for number in range(0, 60, 10)}


class Handler(logging.Handler):
    """Reports records as log lines of a task: of `task`, or else of the task whose block
    the program is in. Outside of both, a record goes nowhere.

    It never blocks and never raises.
    """

    def __init__(self, task: Reports | None = None, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self.task = task
        self._formats = type(self).format is not logging.Handler.format

    def handle(self, record: logging.LogRecord) -> Any:
        """Reports a record if the handler's filters admit it."""
        # The handler of the standard library takes a lock for its stream. A report needs none.
        if self.filters:
            admitted = self.filter(record)
            if not admitted:
                return admitted
            if isinstance(admitted, logging.LogRecord):
                record = admitted  # A filter may give another record since Python 3.12.
        self.emit(record)
        return record

    def emit(self, record: logging.LogRecord) -> None:
        """Reports a record."""
        task = self.task or _current()
        # What this package logs about reporting would be reported, and so on.
        if task is None or record.name == "tidings":
            return
        try:
            if (
                self._formats
                or self.formatter
                or record.exc_info
                or record.exc_text
                or record.stack_info
            ):
                message = self.format(record)
            else:
                message = record.getMessage()
        except Exception:
            self.handleError(record)
            return
        level = _LEVELS.get(record.levelno) or _level(record.levelno)
        native = task._native
        if native is not None:
            # What `task.log` does first, without its call.
            try:
                return native.log(message, level, None)
            except Exception:
                pass
        task.log(message, level)
