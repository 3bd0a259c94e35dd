"""The demo as a process: what it prints, how it ends, and that it leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from nodes import ROOT, TEST_RUN, left_of_run, patience, wait_for

from darc.node.node_identity import read_identity
from darc.node.processes import of_node
from simulator import demo_bursts

TIMEOUT = patience(60.0)


class Process:
    """A demo that runs, and the lines it has printed."""

    def __init__(self, run: str, home: Path, temporary: Path, *arguments: str) -> None:
        self.run = run
        self.run_dir = home / "run" / "demo"
        self.home = home
        self.temporary = temporary
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "simulator.demo", "--home", str(home), *arguments],
            env={**os.environ, TEST_RUN: run, "TMPDIR": str(temporary)},
            cwd=ROOT,
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

    def broker(self) -> psutil.Process:
        (comet,) = (
            child
            for child in psutil.Process(self.process.pid).children()
            if "comet" in child.cmdline()
        )
        return comet

    def left(self) -> list[object]:
        """Processes of the node, of the receivers, and their directories."""
        node = read_identity(self.run_dir)
        own = [one for one in left_of_run(self.run) if temporary_of(one) == str(self.temporary)]
        return [*(of_node(node.node_id) if node else ()), *own, *self.temporary.iterdir()]


def temporary_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("TMPDIR")
    except psutil.Error:  # it has ended
        return None


@pytest.fixture
def demo(test_run: str, make_home: Callable[[], Path]) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(test_run, make_home(), make_home(), *arguments))
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


def test_every_burst_is_found_and_told_of_and_nothing_is_left(
    demo: Callable[..., Process],
) -> None:
    process = demo("--duration", "12", "--bursts", "2", "--seed", "1")
    status = process.end()
    assert status == 0, process.output
    first, *_ = process.lines[0].splitlines()
    assert first.startswith("DARC demo: a node of its own reads 12 s")
    rows = re.findall(
        r"^ +(\d) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +(\d+) +yes"
        r" +([\d.]+) +([\d.]+) +(demo/\d+/\d+) *$",
        process.output,
        re.MULTILINE,
    )
    truths = demo_bursts.make(2, 12.0, 1).truth
    assert len(rows) == len(truths) == 2
    for row, truth in zip(rows, truths, strict=True):
        time, dm, snr, width, beam, found_dm, found_snr = map(float, row[1:8])
        burst = truth.burst
        assert time == pytest.approx(burst.time_s, abs=0.01)
        assert (dm, snr, beam) == pytest.approx((burst.dm, burst.snr, burst.beam), abs=0.06)
        assert width == pytest.approx(burst.width_samples * 0.08192, abs=0.01)
        assert (found_dm, found_snr) == pytest.approx((truth.dm, truth.snr), abs=0.06)
        assert int(row[8].split("/")[1]) == int(burst.time_s / 1.024)
    strong, weak = (line.split() for line in delivered(process.output))
    assert strong[1::3] == ["kept", "TEST", "broadcast", "came"]
    # Nothing leaves before its windows have settled.
    for seconds, waits in zip(strong[2::3], (0.1, 0.2, 0.2, 0.2), strict=True):
        assert float(seconds) >= waits
    assert all(re.fullmatch(r"\(\d+\)", own) for own in strong[3::3])
    assert (weak[1], *weak[4:]) == ("kept", "—", "—", "—")
    assert "2 of 2 bursts found. All that was to be sent arrived, once" in process.output
    assert "frequency over time, dedispersed" in process.output
    (picture,) = re.findall(r"Picture: +file://(\S+)", process.output)
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
    assert "█" in process.output
    assert "none of their processes is left" in process.output
    assert process.left() == []
    assert (process.home / "status" / "index.html").exists()
    assert (process.home / "log" / "amber_clustering.demo.log").exists()
    lines = process.output.splitlines()
    assert [line for line in lines if len(line) > 80 and str(process.home) not in line] == []


def delivered(output: str) -> list[str]:
    """The rows of the table of what came to the receivers."""
    table = output.partition(" #  IQUV dump")[2]
    return re.findall(r"^ +\d .*$", table, re.MULTILINE)


def test_what_does_not_arrive_is_told(demo: Callable[..., Process]) -> None:
    process = demo("--duration", "6", "--bursts", "1")
    process.read_until(" 8/8 up")
    process.broker().kill()
    assert process.end() == 1, process.output
    (row,) = delivered(process.output)
    assert re.search(r" kept .* TEST .* NO +came ", row)
    assert "1 of 1 bursts found. NOT as it should be" in process.output
    assert process.left() == []


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("Starting the receivers", signal.SIGINT),
        ("Starting a node", signal.SIGTERM),
        (" 8/8 up", signal.SIGINT),
        ("bursts that were put in", signal.SIGINT),
    ],
)
def test_interrupted_it_stops_everything(
    demo: Callable[..., Process], moment: str, number: int
) -> None:
    duration = "6" if moment.startswith("bursts") else "60"
    process = demo("--duration", duration, "--bursts", "1")
    process.read_until(moment)
    if moment == "Starting a node":
        wait_for((process.run_dir / "node.json").exists, 60.0)
        refused = another(process.home)
        assert refused.returncode == 2
        assert "is not empty" in refused.stderr
    process.process.send_signal(number)
    process.process.send_signal(number)
    assert process.end() == 130, process.output
    assert "Interrupted." in process.output
    assert "none of their processes is left" in process.output
    assert "Traceback" not in process.output
    assert process.left() == []


def another(home: Path) -> subprocess.CompletedProcess[str]:
    """A demo in a home that is in use."""
    return subprocess.run(
        [sys.executable, "-m", "simulator.demo", "--home", str(home)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
