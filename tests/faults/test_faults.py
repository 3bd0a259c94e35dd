"""The promises put to the proof: whatever is killed, stopped or removed, the books balance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import shares
from faults import disk
from faults.fault_plan import (
    ANOTHER_STOPPED,
    MASTER_KILLED,
    NODE_STOPPED,
    SAME_NAME,
    Fault,
    Kind,
    draw,
)
from faults.fault_runner import run_all

#: Each is an observation; together they have each kind of fault. What it begins with comes before
#: the faults, as where they are drawn.
PLANS: dict[str, list[Fault]] = {
    "power, after a node that was stopped": [
        Fault(-1.0, Kind.CROSSING, NODE_STOPPED, 0.1),
        Fault(0.5, Kind.REMOVE_LOGS),
        Fault(1.0, Kind.KILL, "voevent_generator"),
        Fault(2.0, Kind.POWER_LOSS),
        Fault(3.0, Kind.OUTSIDE_AWAY, "", 0.9),
        Fault(5.0, Kind.POWER_LOSS),
    ],
    "clock and share, after another observation": [
        Fault(-1.0, Kind.CROSSING, ANOTHER_STOPPED, 0.05),
        Fault(1.0, Kind.CLOCK_STEP, "+3600", 1.0),
        Fault(1.5, Kind.SHARE_HANGS, "", 2.5),
        Fault(2.5, Kind.CLOCK_STEP, "-110", 1.0),
        Fault(3.1, Kind.DIE_AT, "amber_listener.after committing"),
        Fault(5.0, Kind.DIE_AT, "processor.after a result"),
    ],
    "a second machine, after a master that was killed": [
        Fault(-1.0, Kind.CROSSING, MASTER_KILLED, 0.1),
        Fault(0.5, Kind.SECOND_MACHINE, f"darc_kill_all {SAME_NAME}"),
        Fault(1.2, Kind.KILL_SUPERVISORD),
        Fault(2.0, Kind.SECOND_MACHINE, f"darc_start_master {SAME_NAME}"),
        Fault(2.4, Kind.REMOVE_SOCKET, "queues.sock"),
        Fault(2.8, Kind.STOP_SUPERVISORD, "", 1.2),
        Fault(2.9, Kind.DATA_STOP, "", 1.5),
        Fault(5.2, Kind.RESULTS_AWAY, "", 1.4),
    ],
    "files, again": [
        Fault(-1.0, Kind.AGAIN, "stopped, amber_clustering was away", 1.0),
        Fault(0.5, Kind.FLOOD),
        Fault(0.9, Kind.RUBBISH_CONFIG),
        Fault(1.0, Kind.FILE_REPLACED, "1 renamed over"),
        Fault(1.5, Kind.WILD_VALUES),
        Fault(1.8, Kind.FULL_JOURNAL, "", 0.2),
        Fault(2.0, Kind.FILE_REPLACED, "1 truncated"),
        Fault(2.7, Kind.STOP, "processor", 0.6),
        Fault(3.0, Kind.FILE_REPLACED, "2 removed"),
    ],
    "what is said of bursts, after an abort": [
        Fault(-1.0, Kind.AGAIN, "aborted", 1.0),
        Fault(0.3, Kind.KAFKA_KILLED, "", 1.0),
        Fault(0.8, Kind.SAID, "retract"),
        Fault(1.0, Kind.DIE_AT, "voevent_generator.before following"),
        Fault(1.2, Kind.TEST_NOTICE),
        Fault(1.5, Kind.SWITCH, "kafka", 1.0),
        Fault(1.8, Kind.SAID, "retract"),
        Fault(2.0, Kind.SAID, "measure"),
        Fault(2.8, Kind.KAFKA_SLOW, "", 1.5),
        Fault(3.0, Kind.SAID, "confirm"),
        Fault(3.2, Kind.KAFKA_AWAY, "", 0.7),
        Fault(4.5, Kind.SAID, "retract"),
    ],
}


@pytest.mark.timeout(900)
def test_nothing_is_lost_or_doubled_whatever_happens() -> None:
    said: list[str] = []
    failed = run_all(PLANS, say=said.append)
    assert not failed, "\n".join(said)


def test_each_kind_is_among_them() -> None:
    assert {fault.kind for plan in PLANS.values() for fault in plan} == set(Kind)


def test_a_seed_draws_the_same_faults_again() -> None:
    assert draw(42, 4.0) == draw(42, 4.0)
    assert draw(42, 4.0) != draw(43, 4.0)


def test_each_kind_is_drawn_often() -> None:
    drawn = [fault.kind for seed in range(300) for fault in draw(seed, 4.0)]
    assert min(drawn.count(kind) for kind in Kind) >= 10


@pytest.mark.skipif(bool(disk.missing()), reason=disk.missing())
def test_what_was_synchronised_survives_the_cut_and_nothing_else_has_to(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    made = disk.Disk(home)
    try:
        descriptors = [os.open(home / name, os.O_CREAT | os.O_WRONLY) for name in ("yes", "no")]
        for descriptor in descriptors:
            os.write(descriptor, b"written")
        os.fsync(descriptors[0])
        made.cut(lambda: None)
        os.write(descriptors[0], b", and more")
        os.fsync(descriptors[0])
        for descriptor in descriptors:
            os.close(descriptor)
        made.power_up()
        assert (home / "yes").read_bytes() == b"written"
        assert not (home / "no").exists() or not (home / "no").read_bytes()
    finally:
        made.close()
    assert not list(home.iterdir())


@pytest.mark.skipif(bool(shares.missing()), reason=shares.missing())
def test_a_share_is_a_directory_like_others(tmp_path: Path) -> None:
    served, there = tmp_path / "served", tmp_path / "there"
    made = shares.Share(served, there)
    try:
        (there / "a" / "b").mkdir(parents=True)
        (there / "a" / "b" / "file").write_text("text")
        (there / "a").rename(there / "c")
        (there / "new").write_text("newer")
        with (there / "c" / "b" / "file").open() as opened:
            (there / "new").replace(there / "c" / "b" / "file")
            assert opened.read() == "text"
        assert (served / "c" / "b" / "file").read_text() == "newer"
        assert [path.name for path in there.rglob("*")] == ["c", "b", "file"]
        with pytest.raises(FileNotFoundError):
            (there / "a").stat()
    finally:
        made.stop()
    assert not list(there.iterdir())


def test_the_runner_is_a_program_of_its_own(tmp_path: Path) -> None:
    """As `make faults` runs it, without pytest's paths."""
    runner = Path(__file__).with_name("fault_runner.py")
    command = [sys.executable, str(runner), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--seed" in done.stdout
