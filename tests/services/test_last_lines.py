"""What a process knows of its own log: the last error, and the last line about a trigger."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from darc.model.overview import ERROR_CHARACTERS, LogLine
from darc.monitor.service_answers import read_answer
from darc.runtime.log import ABOUT_TRIGGER, LastLines, last_lines

log = logging.getLogger("a service")


@pytest.fixture
def lines() -> Iterator[LastLines]:
    root, level = logging.getLogger(), logging.getLogger().level
    handler = LastLines()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def test_nothing_was_said_yet(lines: LastLines) -> None:
    log.info("all is well")
    log.warning("trigger happy")
    assert last_lines() is lines
    assert lines.error is None
    assert lines.trigger is None
    assert read_answer("last_error", None) is None


def test_the_last_of_each_kind_is_kept(lines: LastLines) -> None:
    log.info("trigger %s: FRB", "190518009/41/7", extra=ABOUT_TRIGGER)
    log.error("not taken: %s\x1b", "full")
    log.info("all is well")
    assert lines.trigger
    assert lines.trigger.text == "trigger 190518009/41/7: FRB"
    assert lines.error
    assert lines.error.text == "not taken: full\\x1b"
    read = read_answer("last_error", (lines.error.time, lines.error.text))
    assert read == LogLine(lines.error.time, "not taken: full\\x1b")


def test_of_a_traceback_both_ends_count(lines: LastLines) -> None:
    try:
        raise MemoryError("3.81 GiB")
    except MemoryError:
        log.exception("ends")
    assert lines.error
    assert lines.error.text == "ends: MemoryError: 3.81 GiB"


def test_of_a_long_error_both_ends_are_shown() -> None:
    read = read_answer("last_error", (1.0, "begins " + "x" * 5000 + " because of this"))
    assert read.text.startswith("begins ")
    assert read.text.endswith(" because of this")
    assert len(read.text) <= ERROR_CHARACTERS
