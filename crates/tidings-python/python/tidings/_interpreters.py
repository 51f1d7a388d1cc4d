"""The interpreters of the process. The native half works in the main one alone."""

from __future__ import annotations

import importlib
import sys


def refuse_others() -> None:
    """Raises `ImportError` in a sub-interpreter, such as those of `mod_wsgi`.

    The native half calls back from a thread of its own, which belongs to the main
    interpreter. Python itself refuses the native half in some sub-interpreters only.
    """
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    try:
        interpreters = importlib.import_module(name)
        is_main = interpreters.get_current() == interpreters.get_main()
    except (ImportError, AttributeError):
        return  # This Python tells nothing about interpreters.
    if not is_main:
        raise ImportError(
            "tidings does not work in a sub-interpreter: use the main interpreter "
            "(mod_wsgi: WSGIApplicationGroup %{GLOBAL})"
        )
