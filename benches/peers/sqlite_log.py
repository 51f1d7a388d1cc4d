"""Appends groups of events to a table of SQLite, in WAL mode, with a sync after each group.

Prints the events per second. Arguments: file, events in a group, bytes of an event, seconds.
"""

import sqlite3
import sys
import time

path, group, size, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
base = sqlite3.connect(path, isolation_level=None)
base.execute("PRAGMA journal_mode=WAL")
base.execute("PRAGMA synchronous=FULL")
base.execute(
    "CREATE TABLE events (task INTEGER, offset INTEGER, json BLOB, PRIMARY KEY (task, offset))"
    " WITHOUT ROWID"
)
event = b"x" * size
count = 0
started = time.monotonic()
while time.monotonic() - started < seconds:
    offset = count // group
    base.execute("BEGIN")
    base.executemany(
        "INSERT INTO events VALUES (?, ?, ?)", [(task, offset, event) for task in range(group)]
    )
    base.execute("COMMIT")
    count += group
print(count / (time.monotonic() - started))
