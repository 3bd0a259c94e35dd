"""``python -m simulator.box``: a box for a command, and the removal of what a killed one leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from boxes import STUBBORN, machine, require_box, watched
from nodes import ROOT, TEST_RUN, patience, wait_for

from darc.runtime.paths import this_boot
from simulator.box import Box, record
from simulator.box.command import main

TIMEOUT = patience(60.0)
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(test_run: str) -> Iterator[Start]:
    """Start the command in a process of its own."""
    require_box()
    started: list[subprocess.Popen[str]] = []

    def start_one(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "simulator.box", *arguments],
            env={**os.environ, TEST_RUN: test_run},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=TIMEOUT)


def record_of(process: subprocess.Popen[str]) -> Path:
    (path,) = Path("/run").glob(f"darc-box-{process.pid}-*.json")
    return path


def keepers_of(process: subprocess.Popen[str]) -> list[int]:
    return [keeper["pid"] for keeper in json.loads(record_of(process).read_text())["keepers"]]


def directory_of(process: subprocess.Popen[str]) -> Path:
    (path,) = json.loads(record_of(process).read_text())["remove"]
    return Path(path)


def wait_for_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout
    assert process.stdout.readline() == f"{line}\n"


def test_a_command_runs_on_the_master(start: Start) -> None:
    before = machine()
    process = start("--nodes", "2", "--", "sh", "-c", "hostname; ssh worker01 hostname; exit 7")
    output, errors = process.communicate(timeout=TIMEOUT)
    assert output == "master\nworker01\n"
    assert process.returncode == 7
    assert "2 nodes after" in errors
    assert "nsenter --all --target" in errors
    assert machine() == before
    assert list(Path("/run").glob(f"darc-box-{process.pid}-*")) == []


def test_the_way_in_that_is_told_works(start: Start) -> None:
    process = start("--nodes", "1")
    assert process.stderr
    said = [process.stderr.readline() for _ in range(5)]
    assert said[-1] == "Ctrl-C, or SIGTERM, takes it down\n"
    words = said[2].split()[2:]
    assert words[0] == "nsenter"
    script = 'hostname; test -e "$DARC_HOME/config.yaml" && echo its home'
    result = subprocess.run(
        [*words, "-c", script], capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    assert result.stdout == "master\nits home\n"
    process.terminate()
    assert process.wait(TIMEOUT) == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_takes_everything_down(start: Start, number: int) -> None:
    before = machine()
    process = start("--nodes", "2", "--", *STUBBORN)
    wait_for_line(process, "ready")
    directory = directory_of(process)
    with watched(keepers_of(process)) as inside:
        process.send_signal(number)
        # The command ignores it. What is sent after that is meant for the box.
        wait_for(lambda: process.send_signal(signal.SIGINT) or process.poll() is not None, 60.0)
        errors = process.communicate(timeout=TIMEOUT)[1]
        assert process.returncode == 130, errors
        assert "Traceback" not in errors
        assert inside() == []
    assert not directory.exists()
    assert list(Path("/run").glob(f"darc-box-{process.pid}-*")) == []
    assert machine() == before


def test_a_command_may_end_by_itself_when_interrupted(start: Start) -> None:
    script = "trap 'echo ended; exit' TERM; echo ready; while :; do sleep 0.1; done"
    process = start("--nodes", "1", "--", "sh", "-c", script)
    wait_for_line(process, "ready")
    process.terminate()
    assert process.communicate(timeout=TIMEOUT)[0] == "ended\n"
    assert process.returncode == 130


def test_the_processes_of_a_killed_box_end_by_themselves(start: Start) -> None:
    before = machine()
    process = start("--nodes", "2", "--", *STUBBORN)
    wait_for_line(process, "ready")
    living = start("--nodes", "2", "--", "sh", "-c", "echo ready; exec sleep 1000")
    wait_for_line(living, "ready")
    path, directory = record_of(process), directory_of(process)
    with watched(keepers_of(process)) as inside:
        process.kill()
        process.wait(TIMEOUT)
        wait_for(lambda: inside() == [], 60.0)
    assert directory.exists()
    assert start("--clean").wait(TIMEOUT) == 0
    assert not directory.exists()
    assert not path.exists()
    assert machine() == before
    # Boxes that are in use are left alone.
    assert living.poll() is None
    assert directory_of(living).exists()
    assert all(map(psutil.pid_exists, keepers_of(living)))


def test_what_a_killed_box_leaves_running_is_ended(start: Start) -> None:
    process = start("--nodes", "2", "--", *STUBBORN)
    wait_for_line(process, "ready")
    path, directory, keepers = record_of(process), directory_of(process), keepers_of(process)
    with watched(keepers) as inside:
        for keeper in keepers:
            os.kill(keeper, signal.SIGSTOP)  # so that they do not see the end of their program
        process.kill()
        process.wait(TIMEOUT)
        assert inside()
        assert start("--clean").wait(TIMEOUT) == 0
        assert inside() == []
    assert not directory.exists()
    assert not path.exists()


def test_a_box_of_this_program_is_in_use(
    make_box: Callable[..., Box], capsys: pytest.CaptureFixture[str]
) -> None:
    box = make_box(nodes=1)
    assert main(["--clean"]) == 0
    assert f"{box.name}: in use by process {os.getpid()}; left alone\n" in capsys.readouterr().out
    assert box.master.run("hostname").stdout == "master\n"


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for records in which there are no others."""
    monkeypatch.setattr(record, "RECORDS", tmp_path)
    return tmp_path


def dead(pid: int) -> record.Process:
    """A process that has ended, after which another one was given its pid."""
    return record.Process(pid, record.Process.of(pid).started - 1)


def test_a_pid_that_was_given_anew_is_left_alone(records: Path, tmp_path: Path) -> None:
    directory = tmp_path / "box"
    directory.mkdir()
    with subprocess.Popen(["sleep", "1000"]) as other:
        program, keepers = dead(os.getpid()), (dead(other.pid),)
        record.Record("box-1", this_boot(), program, keepers, (str(directory),)).write()
        assert record.clean(print)
        assert other.poll() is None
        other.kill()
    assert list(records.iterdir()) == []


def test_processes_of_before_a_reboot_are_left_alone(records: Path, tmp_path: Path) -> None:
    directory = tmp_path / "box"
    directory.mkdir()
    with subprocess.Popen(["sleep", "1000"]) as other:
        program, keeper = record.Process.of(os.getpid()), record.Process.of(other.pid)
        record.Record("box-1", "before", program, (keeper,), (str(directory),)).write()
        assert record.clean(print)
        assert other.poll() is None
        other.kill()
    assert list(records.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"program": 1}', '{"program": {"pid": 1}}'])
def test_a_damaged_record_is_named(
    records: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = records / "darc-box-1.json"
    path.write_text(text)
    assert not record.clean(print)
    assert capsys.readouterr().out.startswith(f"{path}: not the record of a box")
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nodes", "0"], "'0': a whole number from 1 to 250"),
        (["--nodes", "2", "--workers", "arts001"], "exclude each other"),
        (["--workers", "arts[3-1]"], "not a range of host names"),
        (["--workers", "master"], "listed twice"),
    ],
)
def test_arguments_that_make_no_box_are_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err


def test_a_command_that_is_not_there_is_named(start: Start) -> None:
    process = start("--nodes", "1", "--", "no-such-command")
    errors = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 127
    assert "No such file or directory: 'no-such-command'" in errors


@pytest.mark.parametrize("arguments", [["--nodes", "2"], ["--clean"]])
def test_it_says_that_it_needs_root(arguments: list[str]) -> None:
    # What the paths are is found out beforehand: not everybody may read where Python is.
    code = (
        "import os, sys, sysconfig; from simulator.box.command import main; sysconfig.get_paths();"
        f" os.geteuid() or os.seteuid(65534); sys.exit(main({arguments!r}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert result.returncode == 1
    assert "only be" in result.stderr
    assert "by root" in result.stderr
