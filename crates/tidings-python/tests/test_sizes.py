"""No message is too large for the server: a client never ends because of one of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from conftest import DEADLINE, events, types

import tidings

#: Larger than a message may be.
LARGE = "x" * 66_000


def still_works(client: tidings.Client) -> None:
    """Fails if the client has stopped."""
    assert client.flush(DEADLINE) == 0
    assert client.publish("after", "note", timeout=DEADLINE).offset > 0
    assert client.status == "connected"


def test_a_task_with_a_name_that_is_too_large(
    client: tidings.Client, caplog: pytest.LogCaptureFixture
) -> None:
    for connect_first in (False, True):
        if connect_first:
            client.connect(DEADLINE)
        with client.task(f"large-{connect_first}", name=LARGE) as task:
            task.progress(40, "linking")
        with pytest.raises(ValueError, match=r"the event has \d+ bytes as a message, 65536 are"):
            task.complete().wait(DEADLINE)
        assert f"the end of {task.id} was not reported" in caplog.text
        assert client.snapshot(task.id, DEADLINE).status == "pending"
    with pytest.raises(ValueError, match="65536 are allowed"):
        client.task("large", name=LARGE, exclusive=True)
    still_works(client)
    with client.task("large", name="Small", exclusive=True) as task:
        pass
    assert task.complete().wait(DEADLINE) == tidings.Losses()


#: Reports that cannot be made smaller: they are lost, and counted.
LOST: dict[str, Callable[[tidings.Task], Any]] = {
    "progress_update": lambda task: task.progress(1, LARGE),
    "step_started": lambda task: task.step(LARGE),
    "agent_status_change": lambda task: task.agent("a", "working", LARGE),
    "tool_call_started": lambda task: task.tool("search", LARGE),
    "artifact": lambda task: task.artifact("a", data=LARGE),
    "frame": lambda task: task.report("frame", {"image": LARGE}),
}


@pytest.mark.parametrize("event_type", LOST)
def test_a_report_that_is_too_large_is_counted(client: tidings.Client, event_type: str) -> None:
    with client.task("t") as task:
        LOST[event_type](task)
        task.report("small")
    losses = task.complete().wait(DEADLINE)
    assert (losses.refused, losses.dropped) == (1, 0)
    assert str(losses.first_refused).startswith(f"{event_type}: the event has ")
    assert event_type not in types(events(client, "t", "task_completed"))
    still_works(client)


def test_texts_that_are_too_large_are_cut_or_split(client: tidings.Client) -> None:
    with client.task("t") as task:
        task.log(LARGE)
        with task.output() as output:
            output.write(LARGE)
    assert task.complete().wait(DEADLINE) == tidings.Losses()
    found = events(client, "t", "task_completed")
    (log,) = (event.data["message"] for event in found if event.event_type == "log")
    assert log.startswith("xxx") and log.endswith(" bytes cut]")
    deltas = [event.data["text"] for event in found if event.event_type == "output_delta"]
    assert "".join(deltas) == LARGE
    still_works(client)


def test_a_result_that_is_too_large_does_not_keep_a_task_running(client: tidings.Client) -> None:
    with client.task("t") as task:
        task.result = LARGE
    losses = task.complete().wait(DEADLINE)
    assert losses.refused == 1 and "task_completed" in str(losses.first_refused)
    assert client.wait("t", DEADLINE).status == "completed"
    still_works(client)


def test_requests_that_are_too_large_are_refused_to_their_caller(client: tidings.Client) -> None:
    large: dict[str, Callable[[], Any]] = {
        "publish": lambda: client.publish("t", "frame", {"image": LARGE}, timeout=DEADLINE),
        "command": lambda: client.command("t", "go", {"x": LARGE}, timeout=DEADLINE),
        "tree": lambda: client.command_tree("t", "go", {"x": LARGE}, timeout=DEADLINE),
        "answer": lambda: client.answer("t", "input-1", LARGE, timeout=DEADLINE),
        "ask": lambda: task.ask(LARGE, timeout=DEADLINE),
        "token": lambda: client.set_token(LARGE),
    }
    with client.task("t") as task:
        for name, request in large.items():
            with pytest.raises(ValueError, match=r"has \d+ bytes as a message, 65536 are allowed"):
                request()
                pytest.fail(f"{name} was not refused")
            still_works(client)
    assert client._core.options.token is None, "the old token stays"


def test_an_answer_to_a_command_that_is_too_large(client: tidings.Client) -> None:
    with client.task("t") as task:
        commands = task.commands
        client.command("t", "go", timeout=DEADLINE)
        command = commands.next(DEADLINE)
        assert command is not None
        command.complete(LARGE)
    losses = task.complete().wait(DEADLINE)
    assert losses.refused == 1 and "command_completed" in str(losses.first_refused)
    still_works(client)


def test_a_log_record_that_is_too_large(client: tidings.Client) -> None:
    import tidings.logging

    logger = logging.Logger("large")
    logger.addHandler(tidings.logging.Handler())
    with client.task("t") as task:
        logger.info(LARGE)
    assert task.complete().wait(DEADLINE) == tidings.Losses()
    still_works(client)
