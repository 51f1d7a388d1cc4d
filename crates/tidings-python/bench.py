"""What reporting costs: against a server that is there, in a build with optimisation.

    pip install tidings tqdm && tidings serve & python bench.py

Prints ratios and times; asserts nothing. tqdm and the drop-in alternate, and the best of
each counts, for a machine's noise only ever adds. Loops are measured in processor time of
the whole process, which counts the client's thread and leaves other programs out.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable

from tqdm import tqdm as plain

import tidings
import tidings.logging
from tidings.tqdm import tqdm as ours

LOOP = 10_000_000
CALLS = 100_000
ROUNDS = 5


def loop(bar: Callable[..., Iterable[int]]) -> float:
    began = time.process_time()
    for _ in bar(range(LOOP), file=io.StringIO()):
        pass
    return time.process_time() - began


def call(act: Callable[[], object]) -> tuple[float, float]:
    """Returns the microseconds of a call: in processor time of its thread, and by the clock."""
    began, thread = time.perf_counter(), time.thread_time()
    for _ in range(CALLS):
        act()
    thread = time.thread_time() - thread
    return thread / CALLS * 1e6, (time.perf_counter() - began) / CALLS * 1e6


def main() -> None:
    client = tidings.client().connect()
    rounds = [(loop(plain), loop(ours)) for _ in range(ROUNDS)]
    best = [min(times) for times in zip(*rounds)]
    print(f"tqdm, {LOOP:,} iterations: {best[0]:.2f} s; the drop-in {best[1]:.2f} s")
    print(f"ratio {best[1] / best[0]:.3f}")
    with client.task("bench") as task:
        logger = logging.Logger("bench")
        bare = logging.Logger("bare")
        bare.addHandler(logging.NullHandler())
        logger.addHandler(tidings.logging.Handler())
        acts: dict[str, Callable[[], object]] = {
            "task.log(message)": lambda: task.log("frame 7 of 100 is done"),
            "task.log(message, level)": lambda: task.log("frame 7 is done", level="info"),
            "task.progress(percent, message)": lambda: task.progress(40, "linking"),
            "logger.info, a handler that does nothing": lambda: bare.info("frame %d", 7),
            "logger.info, tidings.logging.Handler": lambda: logger.info("frame %d", 7),
        }
        for name, act in acts.items():
            thread, clock = (min(times) for times in zip(*(call(act) for _ in range(ROUNDS))))
            print(f"{name}: {thread:.2f} µs, {clock:.2f} µs by the clock")


if __name__ == "__main__":
    main()
