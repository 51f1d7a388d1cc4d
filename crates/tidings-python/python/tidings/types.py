"""The parts of a task's state, and the data of the standard events, for type annotations.

::

    data: tidings.types.ProgressUpdateData = {"progress": 40, "message": "linking"}
    client.publish("render-7", "progress_update", {**data})

`Event.data` of an event of a standard type has the fields of the class with that name: the
data of a `progress_update` are a `ProgressUpdateData`.
"""

from __future__ import annotations

from ._schema import *
from ._schema import __all__ as __all__
