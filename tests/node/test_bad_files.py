"""Trigger files as AMBER should not write them, and a listener that is killed, on a real node."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from nodes import Node, node, only
from nodes import wait_for as wait_for_seconds

from simulator.amber_files import format_header, format_line, trigger_name
from simulator.write_parsets import MadeObservation, write_observation

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)

HEADER = format_header()
_numbers = itertools.count(1)


def line(number: int, snr: float = 12.5) -> bytes:
    return format_line(
        beam=number % 12,
        batch=number // 10,
        sample=number % 10,
        integration_step=10,
        time=number // 10 * 1.024 + number % 10 * 10 * 81.92e-6,
        dm_id=7,
        dm=100.0 + number % 7,
        snr=snr,
    )


@pytest.fixture(scope="module")
def quick_node(test_run: str) -> Iterator[Node]:
    """A node that misses files at once."""
    with node(
        test_run,
        # Files that cannot be read are waited for half as long as end_delay.
        darc_master=only("amber_listener", "amber_clustering")
        | {"control_timeout": 30, "end_delay": 10},
        amber_listener={"start_timeout": 0.3},
        amber_clustering={"interval": 0.2},
    ) as made:
        made.start()
        yield made


Begin = Callable[..., MadeObservation]


@pytest.fixture
def begin(quick_node: Node, tmp_path: Path) -> Iterator[Begin]:
    """Start an observation; it is stopped with the test."""
    made: list[MadeObservation] = []

    def start(**more: object) -> MadeObservation:
        task_id = f"bad{next(_numbers):03d}"
        arguments = {"source": "BLANK", "start": time.time(), "duration": 600.0, "instances": 1}
        one = write_observation(tmp_path / task_id, task_id=task_id, **(arguments | more))
        reply = quick_node.ask("start_observation", "--parset", str(one.parset))
        assert reply == "Observation started"
        made.append(one)
        wait_for(lambda: f"[{task_id}]: observation of" in quick_node.log("amber_listener"))
        return one

    yield start
    for one in made:
        quick_node.ask("abort_observation", "--parset", str(one.parset))
        quick_node.wait_until_over(one.task_id)


def books(of: Node, observation: MadeObservation) -> dict[str, int]:
    """The listener's counts, which always balance; none while it does not run."""
    counts = of.counts("amber_listener", observation.task_id)
    rejected = sum(number for key, number in counts.items() if key.startswith("rejected"))
    balance = counts.get("headers", 0) + counts.get("candidates", 0) + rejected
    assert counts.get("lines", 0) == balance
    return counts


def wait_for_lines(of: Node, observation: MadeObservation, lines: int) -> dict[str, int]:
    wait_for(lambda: books(of, observation).get("lines", 0) >= lines, what=f"{lines} lines")
    return books(of, observation)


def stop(of: Node, observation: MadeObservation) -> None:
    assert of.ask("stop_observation", "--parset", str(observation.parset)) == "Stopped observation"
    wait_for(
        lambda: f"[{observation.task_id}]: clustered" in of.log("amber_clustering"),
        what="end of clustering",
    )


def about(of: Node, observation: MadeObservation, service: str = "amber_listener") -> list[str]:
    """A service's log lines about an observation."""
    mark = f"[{observation.task_id}]"
    return [text for text in of.log(service).splitlines() if mark in text]


def test_every_kind_of_bad_line_is_counted_and_the_rest_is_read(
    quick_node: Node, begin: Begin
) -> None:
    observation = begin()
    path = observation.amber_dir / trigger_name(0, 1)
    path.write_bytes(
        line(1)  # no header yet
        + HEADER
        + line(2)
        + b"\x00\xff\x1b[2J\x07\n"
        + b"1 2 3\n"
        + line(3).replace(b"\n", b"\r\n")
        + HEADER
        + b"x" * (2**20 + 10)
        + b"\n"
        + b"# SNR DM time integration_step beam_id\n"
        + b"12.5 103 3.5 10 4\n"
        + b"0 0 29"
    )
    wait_for_lines(quick_node, observation, 10)
    stop(quick_node, observation)
    counts = books(quick_node, observation)
    assert (counts["headers"], counts["candidates"]) == (3, 3)
    assert {key: n for key, n in counts.items() if key.startswith("rejected")} == {
        "rejected: no header before it": 1,
        "rejected: not text": 1,
        "rejected: wrong number of columns": 1,
        "rejected: line of over 1048576 bytes": 1,
        "rejected: half a line at the end": 1,
    }
    assert quick_node.counts("amber_clustering", observation.task_id)["candidates"] == 3
    named = [text for text in about(quick_node, observation) if str(path) in text]
    assert any("line 1 from byte 0" in text for text in named)


def test_a_file_that_stays_away_is_named_and_read_when_it_comes(
    quick_node: Node, begin: Begin
) -> None:
    observation = begin()
    path = observation.amber_dir / trigger_name(0, 1)

    def said() -> list[str]:
        return [text for text in about(quick_node, observation) if "still missing" in text]

    wait_for(said, what="the missing file named")
    assert str(path) in said()[0]
    path.write_bytes(HEADER + line(1))
    assert wait_for_lines(quick_node, observation, 2)["candidates"] == 1
    assert len(said()) == 1


def test_a_directory_that_comes_late_is_followed(quick_node: Node, begin: Begin) -> None:
    observation = begin()
    observation.amber_dir.rmdir()
    wait_for(lambda: any("still missing" in text for text in about(quick_node, observation)))
    observation.amber_dir.mkdir()
    (observation.amber_dir / trigger_name(0, 1)).write_bytes(HEADER + line(1))
    assert wait_for_lines(quick_node, observation, 2)["candidates"] == 1


def test_lines_written_in_pieces_are_whole(quick_node: Node, begin: Begin) -> None:
    observation = begin()
    content = HEADER + b"".join(map(line, range(20)))
    with (observation.amber_dir / trigger_name(0, 1)).open("ab", buffering=0) as file:
        for place in range(0, len(content), 23):
            file.write(content[place : place + 23])
            time.sleep(0.002)
    counts = wait_for_lines(quick_node, observation, 21)
    assert counts["candidates"] == 20


def test_a_file_cut_short_is_named_once_and_work_goes_on(quick_node: Node, begin: Begin) -> None:
    observation = begin(instances=2)
    first, second = (observation.amber_dir / trigger_name(0, number) for number in (1, 2))
    first.write_bytes(HEADER + line(1) + line(2))
    wait_for_lines(quick_node, observation, 3)
    os.truncate(first, len(HEADER))

    def said() -> list[str]:
        return [text for text in about(quick_node, observation) if "written anew" in text]

    wait_for(said, what="the cut named")
    for number in range(3):  # each is a look at all files
        with second.open("ab") as file:
            file.write(HEADER if number == 0 else line(number))
        wait_for_lines(quick_node, observation, 4 + number)
    assert len(said()) == 1
    assert str(first) in said()[0]


@pytest.mark.parametrize("what", ["directory", "loop"])
def test_something_that_is_no_file_ends_nothing(quick_node: Node, begin: Begin, what: str) -> None:
    observation = begin(instances=2)
    bad, good = (observation.amber_dir / trigger_name(0, number) for number in (1, 2))
    if what == "directory":
        bad.mkdir()
    else:
        bad.symlink_to(bad)
    good.write_bytes(HEADER + line(1))
    pid = quick_node.pid("amber_listener")
    assert wait_for_lines(quick_node, observation, 2)["candidates"] == 1
    wait_for(lambda: any("cannot be read" in text for text in about(quick_node, observation)))
    stop(quick_node, observation)
    assert quick_node.pid("amber_listener") == pid
    assert quick_node.counts("amber_clustering", observation.task_id)["candidates"] == 1
    assert books(quick_node, observation)["files given up"] == 1
    assert any(f"{bad} given up" in text for text in about(quick_node, observation))


def test_a_path_that_no_system_takes_ends_nothing(quick_node: Node, begin: Begin) -> None:
    pid = quick_node.pid("amber_listener")
    observation = begin(more={"amber_dir": "/tmp/" + "x" * 300})
    wait_for(lambda: any("cannot be read" in text for text in about(quick_node, observation)))
    stop(quick_node, observation)
    assert quick_node.pid("amber_listener") == pid


def test_a_listener_killed_again_and_again_reads_every_line_once(
    quick_node: Node, begin: Begin
) -> None:
    observation = begin(instances=2)
    paths = [observation.amber_dir / trigger_name(0, number) for number in (1, 2)]
    files = [path.open("ab", buffering=0) for path in paths]
    for file in files:
        file.write(HEADER)
    lines = 300
    for number in range(lines):
        text = line(number)
        for file in files:
            file.write(text[:9])  # half of it may be what the dying process saw
        if number % 100 == 50:
            wait_for_lines(quick_node, observation, number // 2)
            before = quick_node.pid("amber_listener")
            os.kill(before, signal.SIGKILL)
        for file in files:
            file.write(text[9:])
    for file in files:
        file.close()
    wait_for(
        lambda: (
            quick_node.states()["amber_listener"] == "running"
            and books(quick_node, observation).get("lines", 0) >= 2 * lines + 2
        ),
    )
    stop(quick_node, observation)
    counts = books(quick_node, observation)
    assert counts == {"lines": 2 * lines + 2, "headers": 2, "candidates": 2 * lines}
    clustering = quick_node.counts("amber_clustering", observation.task_id)
    assert clustering["candidates"] == clustering["clustered"] == 2 * lines


def test_a_window_closes_though_the_listener_died_before_it_was_due(
    quick_node: Node, begin: Begin
) -> None:
    """Killed just after it put lines: no more lines come, and the windows close all the same."""
    observation = begin()
    path = observation.amber_dir / trigger_name(0, 1)
    path.write_bytes(HEADER + line(1, snr=40.0))
    wait_for(lambda: books(quick_node, observation).get("candidates") == 1)
    os.kill(quick_node.pid("amber_listener"), signal.SIGKILL)
    wait_for(
        lambda: quick_node.counts("amber_clustering", observation.task_id).get("windows") == 1,
        what="the window closed",
    )
