"""Log lines: one format, nothing from outside passes for a line, rotation loses none."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodes import Node, patience, wait_for

from darc.runtime.log import MAX_LINE_BYTES, JsonFormatter, LineFormatter, about, printable

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL)"
    r" [\w ]+( \[[^\]]+\])?: .*"
)


def record(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("name", logging.WARNING, "path", 1, text, arguments, None)


@given(st.text())
def test_text_from_outside_is_no_line_and_no_control_character(text: str) -> None:
    first, *rest = LineFormatter("a_service").format(record("%s", text)).split("\n")
    assert LINE.fullmatch(first)
    assert all(line.startswith("    ") for line in rest)
    assert all(letter.isprintable() for line in (first, *rest) for letter in line)


def test_what_can_be_printed_stays_as_it_is() -> None:
    assert printable("Größe 5 µs <b>") == "Größe 5 µs <b>"
    assert printable("\x1b[31mred\x07") == "\\x1b[31mred\\x07"


def test_a_line_has_time_level_service_and_observation() -> None:
    with about("190518009"):
        line = LineFormatter("amber_listener").format(record("read: %d", 3))
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARNING amber_listener \[190518009\]: read: 3", line
    )


@given(st.text(max_size=8000))
def test_a_line_of_json_is_whole_whatever_is_in_it(text: str) -> None:
    with about("190518009"):
        line = JsonFormatter("amber_listener").format(record("%s", text))
    assert len(line.encode()) < MAX_LINE_BYTES
    assert "\n" not in line
    plain = json.loads(line)
    assert plain["service"] == "amber_listener"
    assert plain["level"] == "WARNING"
    assert plain["observation"] == "190518009"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", plain["time"])
    assert plain["message"] == text or text.startswith(plain["message"].removesuffix(" ..."))


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_rotation_loses_no_line(make_node: Callable[..., Node], log_format: str) -> None:
    node = make_node(
        darc_master={
            "services_master_mix": [],
            "services_worker_mix": [],
            "log_max_bytes": 10_000,
            "log_backups": 100,
            "log_format": log_format,
        }
    )
    node.call("darc_start_master").check_returncode()
    wanted = [f"n{number:04d}n" for number in range(400)]
    for name in wanted:
        with socket.create_connection(("127.0.0.1", node.port), timeout=patience(10.0)) as client:
            client.sendall(b"rubbish " + name.encode())
            assert b"Cannot parse" in client.recv(1024)

    def look() -> dict[int, str]:
        """What is in each file now; by inode, as files are renamed meanwhile."""
        found = {}
        for log in node.home.glob("log/darc_master.testnode.log*"):
            with suppress(FileNotFoundError), log.open() as file:
                found[os.fstat(file.fileno()).st_ino] = file.read()
        return found

    def at_rest() -> dict[int, str] | None:
        found = look()
        return found if sum(text.count("Cannot parse") for text in found.values()) >= 400 else None

    wait_for(lambda: (found := at_rest()) and found == look())

    def lines() -> list[str]:
        return [line for text in look().values() for line in text.splitlines()]

    assert sum("Cannot parse" in line for line in lines()) == 400
    assert len(list(node.home.glob("log/darc_master.testnode.log.*"))) >= 2
    if log_format == "json":
        assert {json.loads(line)["service"] for line in lines()} == {"darc_master"}
    else:
        assert all(LINE.fullmatch(line) or line.startswith("    ") for line in lines())
