"""The drop-in for tqdm: reports, nests, costs nothing, and is still tqdm."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DEADLINE, Script, Server, events, types

import tidings

pytest.importorskip("tqdm")
from tidings.tqdm import tqdm, trange  # noqa: E402


def only_task(client: tidings.Client) -> tidings.TaskSnapshot:
    tidings.client().flush(DEADLINE)
    tasks = client.tasks().tasks
    assert len(tasks) == 1
    return client.wait(tasks[0].task_id, DEADLINE)


def test_a_bar_is_a_task(client: tidings.Client) -> None:
    drawn = io.StringIO()
    for _ in tqdm(range(30), desc="Render", file=drawn, mininterval=0):
        pass
    state = only_task(client)
    assert (state.status, state.name, state.total, state.progress) == (
        "completed",
        "Render",
        30,
        100,
    )
    assert "Render: 100%" in drawn.getvalue()


def test_a_bar_in_a_block_is_the_progress_of_its_task(client: tidings.Client) -> None:
    with tidings.client().task("work") as task:
        for _ in tqdm(range(4), file=io.StringIO(), mininterval=0):
            pass
        task.flush = None  # type: ignore[attr-defined]
    found = events(client, "work", "task_completed")
    progress = [event.data for event in found if event.event_type == "progress_update"]
    assert progress[-1]["current"] == 4 and progress[-1]["total"] == 4
    assert len(client.tasks().tasks) == 1


def test_a_bar_in_a_bar_is_a_step(client: tidings.Client) -> None:
    for _ in tqdm(range(2), desc="outer", file=io.StringIO()):
        for _ in trange(3, desc="inner", leave=False, file=io.StringIO()):
            pass
    state = only_task(client)
    assert state.name == "outer" and state.status == "completed"
    assert [(step.name, step.state) for step in state.steps] == [("inner", "completed")] * 2


@pytest.mark.parametrize("kind", ["block", "loop in a block", "loop"])
def test_a_loop_that_fails(client: tidings.Client, kind: str) -> None:
    def work() -> None:
        if kind == "block":
            with tqdm(total=3, file=io.StringIO()) as bar:
                bar.update()
                raise ValueError("no film")
        if kind == "loop in a block":
            with tqdm(range(3), file=io.StringIO()) as bar:
                for _ in bar:
                    raise ValueError("no film")
        for _ in tqdm(range(3), file=io.StringIO()):
            for _ in tqdm(range(3), desc="inner", file=io.StringIO()):
                raise ValueError("no film")

    with pytest.raises(ValueError):
        work()
    state = only_task(client)
    assert state.error is not None
    # Before Python 3.12 a loop does not say which exception has left it.
    if kind != "loop" or sys.version_info >= (3, 12):
        assert state.error.code == "ValueError"
    assert [step.state for step in state.steps] == (["failed"] if kind == "loop" else [])


def test_a_loop_that_is_left_has_completed(client: tidings.Client) -> None:
    def work() -> int:
        for _ in tqdm(range(3), file=io.StringIO()):
            for _ in tqdm(range(3), desc="inner", file=io.StringIO()):
                break
            return 1
        return 0

    assert work() == 1
    state = only_task(client)
    assert (state.status, [step.state for step in state.steps]) == ("completed", ["completed"])


def test_an_exception_from_before_the_loop_is_not_the_loops(client: tidings.Client) -> None:
    made_before = tqdm(range(2), task_id="before", file=io.StringIO())
    try:
        raise ValueError("handled")
    except ValueError:
        for _ in tqdm(range(2), task_id="within", file=io.StringIO()):
            pass
        for _ in made_before:
            pass
    assert client.wait("before", DEADLINE).status == "completed"
    assert client.wait("within", DEADLINE).status == "completed"


def test_a_bar_belongs_to_the_task_that_was_entered_last(client: tidings.Client) -> None:
    for job in tqdm(["a", "b"], task_id="jobs", file=io.StringIO()):
        with tidings.client().task(f"job-{job}"):
            for _ in tqdm(range(4), file=io.StringIO()):
                pass
    assert client.wait("jobs", DEADLINE).steps == []
    found = events(client, "job-b", "task_completed")
    progress = [event.data for event in found if event.event_type == "progress_update"]
    assert progress[-1]["current"] == 4


def test_a_bar_that_was_given_up_is_closed(client: tidings.Client) -> None:
    def work() -> None:
        bar = tqdm(total=3, task_id="given-up", file=io.StringIO())
        bar.update()
        raise ValueError("no film")

    with pytest.raises(ValueError):
        work()
    gc.collect()
    for _ in tqdm(range(2), desc="later", file=io.StringIO()):
        pass
    state = client.wait("given-up", DEADLINE)
    assert (state.status, state.steps) == ("cancelled", [])


def test_text_that_is_none_of_utf_8_reaches_no_loop(client: tidings.Client) -> None:
    for _ in tqdm(range(2), desc="\ud800", task_id="odd", file=io.StringIO()):
        pass
    assert client.wait("odd", DEADLINE).name == "?"


def test_a_named_task_and_text_that_changes(client: tidings.Client) -> None:
    with tqdm(total=10, task_id="named", file=io.StringIO(), mininterval=0) as bar:
        bar.set_description("linking")
        bar.set_postfix(loss=0.5)
        bar.update(5)
        bar.write("a line", file=io.StringIO())
    found = events(client, "named", "task_completed")
    messages = [event.data.get("message") for event in found]
    assert "linking loss=0.5" in messages


def test_disabled_bars(client: tidings.Client) -> None:
    for _ in tqdm(range(3), disable=True):
        pass
    assert client.tasks().tasks == []
    drawn = io.StringIO()
    for _ in tqdm(range(3), disable=None, file=drawn):
        pass
    assert only_task(client).status == "completed" and drawn.getvalue() == ""


def test_without_a_server_a_bar_is_a_bar() -> None:
    script = """
from tidings.tqdm import tqdm
for _ in tqdm(range(100)):
    pass
"""
    output = Script(script, "http://127.0.0.1:9").succeeds()
    assert "100/100" in output and "Traceback" not in output


def test_under_tidings_run_a_bar_is_a_child(
    server: Server, client: tidings.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_TASK", "command")
    for _ in tqdm(range(3), task_id="bar", file=io.StringIO()):
        pass
    assert client.wait("bar", DEADLINE).parent_task_id == "command"


#: tqdm's own tests that apply: those of bars. Those of its threads run by themselves,
#: for the others disturb them also with plain tqdm.
OWN_TESTS = (
    "tqdm asyncio concurrent contrib contrib_logging itertools rlock utils",
    "synchronisation",
)

#: Left out: it deletes an attribute of the class itself, which a subclass inherits.
LEFT_OUT = "tests/tests_tqdm.py::test_external_write"

SWAP = """
import tqdm, tqdm.auto
import tidings.tqdm as ours
tqdm.tqdm = tqdm.auto.tqdm = ours.tqdm
tqdm.trange = tqdm.auto.trange = ours.trange
"""


@pytest.mark.parametrize("names", OWN_TESTS)
def test_tqdms_own_tests(server: Server, tmp_path: Path, names: str) -> None:
    """tqdm's wheel has no tests. They come with its source, which `.ci/python` fetches."""
    (tmp_path / "swap.py").write_text(SWAP)
    paths = [str(tmp_path), *sys.path]
    files = [f"tests/tests_{name}.py" for name in names.split()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "swap", *files]
    ran = subprocess.run(
        [*command, "--deselect", LEFT_OUT, "-p", "no:cacheprovider"],
        cwd=os.environ["TQDM_SOURCE"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert ran.returncode == 0, ran.stdout
