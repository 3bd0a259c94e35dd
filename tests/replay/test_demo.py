"""The demo as a process: what it prints, how it ends, and that it leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nodes import TEST_RUN, wait_for

from darc.node.identity import read_identity
from darc.node.processes import of_node
from darc.replay import demo_bursts
from darc.replay.demo_bursts import Found
from darc.replay.generator import Burst, Truth

TIMEOUT = 60.0


class Process:
    """A demo that runs, and the lines it has printed."""

    def __init__(self, run: str, home: Path, *arguments: str) -> None:
        self.run_dir = home / "run" / "demo"
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "darc.replay.demo", "--home", str(home), *arguments],
            env={**os.environ, TEST_RUN: run},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, text: str) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f"never printed {text!r}:\n{self.output}")

    def end(self) -> int:
        rest, _ = self.process.communicate(timeout=TIMEOUT)
        self.lines.append(rest)
        return self.process.returncode

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def left(self) -> list[object]:
        node = read_identity(self.run_dir)
        return list(of_node(node.node_id)) if node else []


@pytest.fixture
def demo(test_run: str, make_home: Callable[[], Path]) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(test_run, make_home(), *arguments))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGINT)
            process.process.wait(TIMEOUT)


@pytest.fixture
def make_home(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Homes whose paths are short enough for sockets."""
    return lambda: tmp_path_factory.mktemp("h")


def test_every_burst_is_found_and_nothing_is_left(demo: Callable[..., Process]) -> None:
    process = demo("--duration", "8", "--bursts", "2", "--seed", "1")
    status = process.end()
    assert status == 0, process.output
    first, *_ = process.lines[0].splitlines()
    assert first.startswith("DARC demo: a node of its own reads 8 s")
    rows = re.findall(
        r"^ +(\d) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +(\d+) +yes"
        r" +([\d.]+) +([\d.]+) +(demo/\d+/\d+) *$",
        process.output,
        re.MULTILINE,
    )
    truths = demo_bursts.make(2, 8.0, 1).truth
    assert len(rows) == len(truths) == 2
    for row, truth in zip(rows, truths, strict=True):
        time, dm, snr, width, beam, found_dm, found_snr = map(float, row[1:8])
        burst = truth.burst
        assert time == pytest.approx(burst.time_s, abs=0.01)
        assert (dm, snr, beam) == pytest.approx((burst.dm, burst.snr, burst.beam), abs=0.06)
        assert width == pytest.approx(burst.width_samples * 0.08192, abs=0.01)
        assert (found_dm, found_snr) == pytest.approx((truth.dm, truth.snr), abs=0.06)
        assert int(row[8].split("/")[1]) == int(burst.time_s)
    assert "2 of 2 bursts found" in process.output
    assert "none of its processes is left" in process.output
    assert process.left() == []
    assert (process.home / "status" / "index.html").exists()
    assert (process.home / "log" / "amber_clustering.demo.log").exists()
    lines = process.output.splitlines()
    assert [line for line in lines if len(line) > 80 and str(process.home) not in line] == []


@pytest.mark.parametrize("moment", ["Starting a node", " 8/8 up", "bursts that were put in"])
def test_interrupted_it_stops_everything(demo: Callable[..., Process], moment: str) -> None:
    duration = "5" if moment.startswith("bursts") else "60"
    process = demo("--duration", duration, "--bursts", "1")
    process.read_until(moment)
    if moment == "Starting a node":
        wait_for((process.run_dir / "node.json").exists, TIMEOUT)
    process.process.send_signal(signal.SIGINT)
    process.process.send_signal(signal.SIGINT)
    assert process.end() == 130, process.output
    assert "Interrupted." in process.output
    assert "none of its processes is left" in process.output
    assert "Traceback" not in process.output
    assert process.left() == []


def test_a_home_that_is_in_use_is_refused(demo: Callable[..., Process]) -> None:
    process = demo("--duration", "60")
    process.read_until("Starting a node")
    other = subprocess.run(
        [sys.executable, "-m", "darc.replay.demo", "--home", str(process.home)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert other.returncode == 2
    assert "is not empty" in other.stderr
    process.process.send_signal(signal.SIGTERM)
    assert process.end() == 130


def test_more_bursts_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(ValueError, match="no room for 9 bursts"):
        demo_bursts.make(9, 8.0, 1)


def truth(time: float, dm: float, snr: float = 30.0) -> Truth:
    return Truth(Burst(time, dm, 10, snr, 5), 1, dm, 10, time, snr, 20)


def found(window: int, dm: float, snr: float = 30.0) -> Found:
    return Found(f"demo/{window}/3", window, dm, snr, 0.82, 5)


def test_triggers_are_told_apart() -> None:
    truths = [truth(2.5, 500.0), truth(7.5, 900.0)]
    own, echo, foreign = found(2, 500.4), found(2, 700.0, 12.0), found(5, 300.0)
    outcome = demo_bursts.match(truths, [echo, own, foreign])
    assert outcome.found == (own, None)
    assert outcome.echoes == (echo,)
    assert outcome.others == (foreign,)
    assert not outcome.complete
    assert outcome.triggers == 3


def test_one_trigger_is_not_two_bursts() -> None:
    outcome = demo_bursts.match([truth(2.3, 500.0), truth(2.6, 501.0)], [found(2, 500.5)])
    assert sum(map(bool, outcome.found)) == 1


def test_triggers_are_read_from_a_log() -> None:
    log = (
        "2026-11-22 17:11:53.780 INFO dada_trigger [demo]: trigger demo/4/8: candidate,"
        " DM 911.20, S/N 48.7, width 4.10 ms, beam 15\n"
        "2026-11-22 17:11:53.781 INFO dada_trigger [demo]: no dump requested\n"
        "2026-11-22 17:11:53.782 INFO dada_trigger [other]: trigger other/4/8: candidate,"
        " DM 911.20, S/N 48.7, width 4.10 ms, beam 15\n"
    )
    assert demo_bursts.triggers_in(log, "demo") == [Found("demo/4/8", 4, 911.2, 48.7, 4.1, 15)]
