"""What darc_monitor sees of a node: the ends of logs, lives and deaths, what they say."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodes import wait_for

from darc.config.config import Layer, parse_config
from darc.config.typed import to_plain
from darc.master import node_overview, periodic_task
from darc.master.monitor_link import MonitorState
from darc.master.node_overview import Overviews
from darc.master.periodic_task import PeriodicTask
from darc.model.handover import HandoverState
from darc.model.node_report import NodeReport
from darc.model.overview import (
    ERROR_CHARACTERS,
    LINE_CHARACTERS,
    LOG_LINES,
    Handover,
    StageLatency,
    ThreadTrouble,
)
from darc.monitor.log_tail import MAX_BYTES, LogTail
from darc.monitor.node_watch import NodeWatch
from darc.monitor.process_history import ProcessHistory
from darc.monitor.service_answers import read_answer
from darc.node.process_names import MONITOR
from darc.node.supervisor import ProcessInfo, ProcessState
from darc.runtime import vital_threads as vital_module
from darc.runtime.detached_work import DetachedWork
from darc.runtime.log import JsonFormatter, LineFormatter, about
from darc.runtime.paths import packaged
from darc.runtime.service_traits import built_in_sections

BEGIN = "2026-11-22 01:13:22.500"
AT = 1795310002.5


def line(text: str, level: str = "INFO") -> str:
    return f"{BEGIN} {level} dada_trigger [190518009]: {text}\n"


@pytest.fixture
def log_end(tmp_path: Path) -> LogTail:
    return LogTail(tmp_path / "dada_trigger.log")


def test_a_log_that_is_not_there_has_no_lines(log_end: LogTail) -> None:
    assert not log_end.poll()
    assert log_end.lines == ()


def test_the_last_lines_as_it_grows(log_end: LogTail) -> None:
    with log_end.path.open("w") as file:
        for number in range(30):
            file.write(line(f"line {number}"))
            file.flush()
            assert log_end.poll()
            assert not log_end.poll()
    assert len(log_end.lines) == LOG_LINES
    assert log_end.lines[-1].endswith("line 29")


def test_half_a_line_is_read_when_it_is_whole(log_end: LogTail) -> None:
    with log_end.path.open("w") as file:
        file.write(line("one") + "2026-11-22 01:1")
        file.flush()
        log_end.poll()
        assert len(log_end.lines) == 1
        file.write(line("two")[len("2026-11-22 01:1") :])
        file.flush()
        log_end.poll()
    assert [entry[-3:] for entry in log_end.lines] == ["one", "two"]


def test_the_last_error(log_end: LogTail) -> None:
    log_end.path.write_text(
        line("not taken", "ERROR")
        + line("iquv trigger 190518009/41/7: FRB, DM 560.00")
        + line("trigger happy", "WARNING")
        + line("all is well")
    )
    log_end.poll()
    assert log_end.last_error
    assert (log_end.last_error.time, log_end.last_error.text) == (AT, "not taken")


@pytest.mark.parametrize("formatter", [LineFormatter, JsonFormatter])
def test_of_a_traceback_both_ends_count(log_end: LogTail, formatter: type[LineFormatter]) -> None:
    def fail() -> None:
        raise MemoryError("3.81 GiB")

    try:
        fail()
    except MemoryError as error:
        found = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.CRITICAL, "x", 1, "ends", (), found)
    with about("190518009"):
        log_end.path.write_text(formatter("dada_trigger").format(record) + "\n")
    log_end.poll()
    assert log_end.last_error
    assert log_end.last_error.text == "ends: MemoryError: 3.81 GiB"
    assert log_end.last_error.time == pytest.approx(record.created, abs=0.002)


BARE = """\
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/opt/darc/services/dada_trigger/service.py", line 9, in <module>
    import lacking
ModuleNotFoundError: No module named 'lacking'
"""


def test_a_traceback_without_a_log_line_is_an_error(log_end: LogTail) -> None:
    """A process that ends before it has a log, as at an import."""
    log_end.path.write_text(line("not taken", "ERROR") + BARE)
    os.utime(log_end.path, (AT + 60.0, AT + 60.0))
    log_end.poll()
    assert log_end.last_error
    assert log_end.last_error.text == "ModuleNotFoundError: No module named 'lacking'"
    assert log_end.last_error.time == AT + 60.0
    # It was said before what is written behind it, however late it is read.
    with log_end.path.open("a") as file:
        file.write(BARE + line("all is well"))
    log_end.poll()
    assert log_end.last_error.time == AT


def test_of_a_long_error_both_ends_are_kept(log_end: LogTail) -> None:
    log_end.path.write_text(line("begins " + "x" * 5000 + " because of this", "ERROR"))
    log_end.poll()
    assert log_end.last_error
    assert log_end.last_error.text.startswith("begins ")
    assert log_end.last_error.text.endswith(" because of this")
    assert len(log_end.last_error.text) <= ERROR_CHARACTERS


def test_a_log_that_is_rotated_is_followed(log_end: LogTail) -> None:
    log_end.path.write_text(line("before"))
    log_end.poll()
    log_end.path.rename(log_end.path.with_suffix(".log.1"))
    log_end.poll()
    log_end.path.write_text(line("after"))
    log_end.poll()
    assert [entry.split()[-1] for entry in log_end.lines] == ["before", "after"]
    log_end.path.write_text(line("cut"))  # the same file, as long as before
    os.truncate(log_end.path, 0)
    log_end.poll()
    log_end.path.write_text(line("cut"))
    log_end.poll()
    assert log_end.lines[-1].endswith("cut")


def test_a_flood_is_passed_over(log_end: LogTail) -> None:
    log_end.path.write_text(line("first"))
    log_end.poll()
    with log_end.path.open("a") as file:
        file.write(line("x" * 100) * (3 * MAX_BYTES // 150))
        file.write(line("last"))
    log_end.poll()
    assert log_end.lines[-1].endswith("last")
    assert all(entry.startswith(BEGIN) for entry in log_end.lines)


@given(st.lists(st.binary(max_size=80), max_size=10))
def test_whatever_is_in_a_log_can_be_shown(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log_end = LogTail(path)
    with path.open("wb", buffering=0) as file:
        for part in parts:
            file.write(part)
            log_end.poll()
    assert len(log_end.lines) <= LOG_LINES
    assert all(entry.isprintable() and len(entry) <= LINE_CHARACTERS for entry in log_end.lines)


# -- lives ---------------------------------------------------------------------------------------


@pytest.fixture
def lives(tmp_path: Path) -> ProcessHistory:
    return ProcessHistory(tmp_path / "restarts.json", "this start")


def look(
    lives: ProcessHistory, pid: int, state: ProcessState, now: float = 100.0
) -> tuple[int, int]:
    """Restarts and deaths, once supervisord has said this."""
    lives.update({"a": ProcessInfo("a", state, pid, 1.0, "")}, now)
    return lives.of("a").restarts, lives.of("a").deaths


RUNNING, STOPPING, STOPPED = ProcessState.RUNNING, ProcessState.STOPPING, ProcessState.STOPPED


def test_the_first_start_is_no_restart(lives: ProcessHistory) -> None:
    assert look(lives, 0, STOPPED) == (0, 0)
    assert look(lives, 7, ProcessState.STARTING) == (0, 0)
    assert look(lives, 7, RUNNING) == (0, 0)


@pytest.mark.parametrize(
    "between",
    [[], [(0, ProcessState.EXITED)], [(0, ProcessState.BACKOFF)], [(0, ProcessState.FATAL)]],
)
def test_a_death_is_a_restart_that_nobody_asked_for(
    lives: ProcessHistory, between: list[tuple[int, ProcessState]]
) -> None:
    look(lives, 7, RUNNING)
    for pid, state in between:
        assert look(lives, pid, state, 200.0) == (0, 1)
        assert lives.of("a").ended == 200.0
    assert look(lives, 8, RUNNING, 300.0) == (1, 1)
    assert lives.of("a").died == (200.0 if between else 300.0)
    assert lives.of("a").ended is None


def test_what_was_asked_for_is_no_death(lives: ProcessHistory) -> None:
    look(lives, 7, RUNNING)
    assert look(lives, 0, STOPPED) == (0, 0)  # by supervisorctl
    assert look(lives, 8, RUNNING) == (1, 0)
    look(lives, 8, STOPPING)
    assert look(lives, 9, RUNNING) == (2, 0)
    # by the master, too quick for a look
    lives.update({"a": ProcessInfo("a", RUNNING, 10, 1.0, "")}, 100.0, stops={"a": 9})
    assert (lives.of("a").restarts, lives.of("a").deaths) == (3, 0)
    assert look(lives, 11, RUNNING) == (4, 1)
    assert lives.of("a").died == 100.0


def test_how_a_service_ended_is_asked_when_it_did(lives: ProcessHistory) -> None:
    asked = []

    def seen(pid: int, state: ProcessState, stopped: float, error: str = "") -> str:
        def log_end() -> str:
            asked.append(stopped)
            return "" if error else f"WARN exited: a (terminated at {stopped:g}; not expected)\n"

        process = ProcessInfo("a", state, pid, 1.0, error, stopped)
        lives.update({"a": process}, 100.0, log_end)
        return lives.of("a").how

    assert seen(7, RUNNING, 0.0) == ""
    assert seen(0, ProcessState.BACKOFF, 5.0) == "terminated at 5"
    assert seen(0, ProcessState.BACKOFF, 5.0) == "terminated at 5"
    assert seen(0, ProcessState.BACKOFF, 6.0) == "terminated at 6"
    assert seen(8, RUNNING, 6.0) == "terminated at 6"  # how the one before did
    assert seen(8, STOPPING, 6.0) == "terminated at 6"
    assert seen(0, STOPPED, 9.0) == ""  # as somebody wanted
    assert seen(0, ProcessState.FATAL, 9.5, "no such command") == "no such command"
    assert asked == [5.0, 6.0, 9.5]


def test_counts_outlive_the_master_but_not_the_node(lives: ProcessHistory, tmp_path: Path) -> None:
    look(lives, 7, RUNNING)
    look(lives, 8, RUNNING)
    path = tmp_path / "restarts.json"
    again = ProcessHistory(path, "this start")
    assert look(again, 8, RUNNING) == (1, 1)
    assert look(ProcessHistory(path, "another start"), 8, RUNNING) == (0, 0)


@pytest.mark.parametrize("text", ["", "[]", '{"node_id": "this start"}', '{"node_id": "x"'])
def test_counts_that_are_damaged_begin_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "restarts.json"
    path.write_text(text)
    assert look(ProcessHistory(path, "this start"), 7, RUNNING) == (0, 0)
    assert json.loads(path.read_text())["services"]["a"]["pid"] == 7


# -- what services say ---------------------------------------------------------------------------


def test_answers_are_read() -> None:
    assert read_answer("send_events", True) is True
    assert read_answer("outcomes", {"sent": 3}) == {"sent": 3}
    stage = {"sent": {"n": 3, "median": 1.5, "p90": 2, "p99": 3, "max": 4.0}}
    assert read_answer("latency", stage) == (StageLatency("sent", 3, 1.5, 3.0, 4.0),)


def test_how_forwarding_goes() -> None:
    state = HandoverState("arts041:5201", None, "as before", 4, 2, 0)
    assert str(state) == "arts041:5201 reached; 4 handed in, 2 waiting, 0 expired"
    assert read_answer("forwarding", {"lofar_trigger": to_plain(state)}) == (
        Handover("lofar_trigger", True, None, 2, ""),
    )
    state = HandoverState("arts041:5201", AT, "no; answer: in time", 4, 12, 1)
    assert str(state) == (
        "arts041:5201 NOT REACHED since 2026-11-22T01:13:22Z: no; answer: in time;"
        " 4 handed in, 12 waiting, 1 expired"
    )
    assert read_answer("forwarding", {"lofar_trigger": to_plain(state)}) == (
        Handover("lofar_trigger", False, AT, 12, "no; answer: in time"),
    )


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("outcomes", ""),
        ("outcomes", "nonsense"),
        ("outcomes", {"sent": "often"}),
        ("latency", {"sent": {"n": 1}}),
        ("latency", {"sent": 7}),
        ("forwarding", []),
        ("forwarding", {"a": "b NOT REACHED since yesterday: c; 1 handed in, 2 waiting"}),
        ("forwarding", {"a": {"place": "b"}}),
    ],
)
def test_another_meaning_of_the_name_is_an_error(attribute: str, value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_answer(attribute, value)


# -- what is not done any more ---------------------------------------------------------------------


def layer(name: str) -> Layer:
    return Layer(name, packaged(f"conf/{name}.yaml").read_text())


class FakeMaster:
    """A master that has no services, and one task."""

    def __init__(self, task: PeriodicTask) -> None:
        self.periodic_tasks = (task,)
        self.apart = DetachedWork()
        self.config = parse_config(
            [layer("default")],
            services=built_in_sections(),
            home="/home/x",
            darc_home="/home/x/darc",
            hostname="x",
            instruments=layer,
        )
        self.node_id = "0" * 32
        self.stopping = self.journal_full = False
        self.services = SimpleNamespace(names=())
        self.observations = SimpleNamespace(runs=lambda: ())
        self.losses = SimpleNamespace(summaries=())
        self.monitor = SimpleNamespace(latest=NodeReport(), state=MonitorState())


def test_an_end_of_a_thread_and_what_hangs_are_in_the_overview(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    hanging = PeriodicTask("/share/parsets", 1.0, lambda: over.wait() and None, hangs_after=0.05)
    hanging.start()
    wait_for(lambda: hanging.hangs_for)
    ended, before = vital_module.ended_threads, len(vital_module.ended_threads())
    for module in (node_overview, periodic_task):
        monkeypatch.setattr(module, "ended_threads", lambda: ended()[before:])

    master = FakeMaster(hanging)
    overviews = Overviews(cast(Any, master), cast(Any, None), 0.0)

    def threads() -> list[tuple[str, str, str]]:
        return [(one.name, one.trouble, one.text) for one in overviews.make().threads]

    assert threads() == [("/share/parsets", "hangs", "")]
    assert overviews.make().itself.state == "running"
    vital_module.vital("waker", lambda: None).join(10)
    assert threads() == [("waker", "ended", "it returned"), ("/share/parsets", "hangs", "")]
    assert overviews.make().itself.state == "failed"
    # What hangs in darc_monitor is told with it, and that itself where it is away.
    of_disk = ThreadTrouble("disk of home", "hangs", 7.0, "")
    master.monitor.latest = NodeReport(threads=(of_disk,))
    assert overviews.make().threads[-1] == of_disk
    master.monitor.state = MonitorState("ended", 8.0)
    assert overviews.make().threads[-1] == ThreadTrouble(MONITOR, "ended", 8.0, "")
    assert of_disk not in overviews.make().threads
    over.set()
    hanging.end()


def test_a_disk_that_hangs_keeps_no_other_from_being_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    over = threading.Event()
    usage = shutil.disk_usage

    def disk_usage(path: str) -> Any:
        return over.wait() if path == "/share" else usage(path)

    monkeypatch.setattr("shutil.disk_usage", disk_usage)

    class Settings:
        run_dir = log_dir = str(tmp_path)

    class Config:
        master = Settings
        darc_home = "/share"

    nothing = cast(Any, None)
    looks = NodeWatch(cast(Any, Config()), nothing, nothing, nothing)
    for rounds in looks.periodic_tasks:
        if rounds.name.startswith("disk"):
            rounds.start()
    wait_for(lambda: set(looks.seen.disks) == {"run_dir", "log_dir"})
    assert looks.seen.read == 0.0
    over.set()
    for rounds in looks.periodic_tasks:
        rounds.end()


@pytest.mark.parametrize(
    ("log", "deaths"),
    [
        ("INFO spawned: 'a' with pid 7\nINFO stopped: a (exit status 0)\n", 0),
        ("INFO spawned: 'a' with pid 7\nINFO stopped: a (terminated by SIGKILL)\n", 0),
        ("INFO spawned: 'a' with pid 7\nWARN exited: a (terminated by SIGKILL; not expected)\n", 1),
        ("INFO spawned: 'a' with pid 7\nINFO stopped: ab (exit status 0)\n", 1),
        ("INFO spawned: 'a' with pid 77\nINFO stopped: a (exit status 0)\n", 1),
        ("INFO stopped: a (exit status 0)\n", 1),  # of whom, is not known
    ],
)
def test_supervisords_log_tells_what_it_stopped(tmp_path, log, deaths):
    kept = ProcessHistory(tmp_path / "restarts.json", "this start")
    for pid in (7, 8):
        process = ProcessInfo("a", ProcessState.RUNNING, pid, 0.0, "")
        kept.update({"a": process}, 100.0 + pid, lambda: f"2026-11-29 20:00:00,000 {log}")
    assert (kept.of("a").restarts, kept.of("a").deaths) == (1, deaths)
