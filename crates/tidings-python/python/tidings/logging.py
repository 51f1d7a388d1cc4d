"""A handler that makes log records the log of a task.

::

    import logging, tidings.logging
    logging.getLogger().addHandler(tidings.logging.Handler())

    with tidings.client().task("render-7"):
        logging.warning("out of film")      # goes to the task, too
"""

from __future__ import annotations

import logging

from . import _task
from ._task import Reports

_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))


class Handler(logging.Handler):
    """Reports records as log lines of a task: of `task`, or else of the task whose block
    the program is in. Outside of both, a record goes nowhere.

    It never blocks and never raises.
    """

    def __init__(self, task: Reports | None = None, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self.task = task

    def emit(self, record: logging.LogRecord) -> None:
        """Reports a record."""
        # What this package logs about reporting would be reported, and so on.
        if record.name == "tidings":
            return
        task = self.task or _task.current()
        if task is None:
            return
        try:
            message = self.format(record)
        except Exception:
            self.handleError(record)
            return
        level = next((name for least, name in _LEVELS if record.levelno >= least), "debug")
        task.log(message, level=level)
