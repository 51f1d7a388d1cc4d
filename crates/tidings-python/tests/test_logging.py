"""The logging handler."""

from __future__ import annotations

import logging

import pytest
from conftest import events

import tidings
import tidings.logging


@pytest.fixture
def logger() -> logging.Logger:
    logger = logging.Logger("program")
    logger.addHandler(tidings.logging.Handler())
    return logger


def test_records_go_to_the_task_whose_block_the_program_is_in(
    client: tidings.Client, logger: logging.Logger
) -> None:
    logger.warning("before: to nobody")
    with client.task("t"):
        logger.info("frame %d", 7)
        with client.task("inner"):
            logger.error("elsewhere")
        try:
            raise ValueError("no film")
        except ValueError:
            logger.exception("failed")
        logger.info("bad %d", "format")
        logging.getLogger("tidings").warning("about reporting")
    lines = [e.data for e in events(client, "t", "task_completed") if e.event_type == "log"]
    assert (lines[0]["message"], lines[0]["level"]) == ("frame 7", "info")
    assert "ValueError: no film" in lines[1]["message"] and lines[1]["level"] == "error"
    assert len(lines) == 2
    inner = events(client, "inner", "task_completed")
    assert inner[1].data == {"message": "elsewhere", "level": "error"}


def test_a_handler_with_a_task_of_its_own(client: tidings.Client) -> None:
    logger = logging.Logger("program")
    task = client.task("own")
    logger.addHandler(tidings.logging.Handler(task, level="WARNING"))
    logger.info("too low")
    logger.critical("high")
    task.complete()
    assert [e.data for e in events(client, "own", "task_completed") if e.event_type == "log"] == [
        {"message": "high", "level": "error"}
    ]


def test_a_record_is_formatted_and_filtered_as_the_program_says(client: tidings.Client) -> None:
    class Loud(tidings.logging.Handler):
        def format(self, record: logging.LogRecord) -> str:
            return super().format(record).upper()

    task = client.task("own")
    handlers = [tidings.logging.Handler(task), Loud(task), tidings.logging.Handler(task)]
    handlers[0].setFormatter(logging.Formatter("%(name)s: %(message)s"))
    handlers[2].addFilter(lambda record: record.levelno > logging.INFO)
    logger = logging.Logger("program")
    for handler in handlers:
        logger.addHandler(handler)
    logger.info("frame %d", 7)
    task.complete()
    found = events(client, "own", "task_completed")
    assert [e.data["message"] for e in found if e.event_type == "log"] == [
        "program: frame 7",
        "FRAME 7",
    ]
