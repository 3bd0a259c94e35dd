"""Candidate sources between an engine's files and commits: new files, old ones, and bad ones."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_amber_listener import Kept, append, order

from darc.candidates.time_windows import OpenWindows
from darc.config.config import Config
from darc.config.source_settings import SourceSettings
from darc.model.candidate import candidates_from_bytes
from darc.model.counters import Rejection
from darc.model.observation import Observation
from darc.model.observation_build import build_observation
from darc.model.parset import parse_parset
from darc.node.losses import LOSSES
from darc.node.node_config import load_config
from darc.queues.messages import ContentKind, OrderState
from darc.services.amber_listener import service as service_module
from darc.trigger_files import directory_watch, followed_files
from darc.trigger_files.candidate_source import SourceContext, make_source
from darc.trigger_files.followed_files import finished_files
from darc.trigger_files.line_reader import LineReader, ReadLines
from darc.trigger_files.trigger_file import TriggerFile
from simulator.engine_streams import (
    EngineCandidate,
    EngineSearch,
    gulps_of,
    heimdall_name,
    write_gulp,
)
from simulator.engine_streams import main as simulate

START = 1_790_000_000.0
TSAMP = 64e-6


@pytest.fixture
def heimdall(tmp_path: Path) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(
        "darc_master: {end_delay: 2.0}\n"
        "amber_clustering: {interval: 0.1}\n"
        f"instrument: {{tsamp: {TSAMP}, n_sbs: 1, candidate_source: heimdall}}\n"
    )
    return load_config(path)


@pytest.fixture
def make(heimdall: Config) -> Callable[[], Kept]:
    return lambda: Kept(heimdall)


def observation_of(config: Config, directory: Path, start: float) -> Observation:
    text = f"taskid=s1\nstart={start}\ntask.source.name=BLANK\nduration=600\nbeam=0\n"
    text += f"candidate_dir={directory}\noutput_dir={directory}/output\n"
    return build_observation(parse_parset(text, "o"), None, None, config.instrument)


def line(time: float, **more: Any) -> bytes:
    values: dict[str, Any] = {"dm": 100.0, "snr": 12.5, "log2_width": 3, "beam": 0} | more
    return EngineSearch(TSAMP, START).heimdall_line(EngineCandidate(time, **values))


def reader_of(config: Config, name: str, start: float = START, **settings: Any) -> LineReader:
    observation = observation_of(config, Path("/nowhere"), start)
    made = replace(config.instrument.source, **settings)
    context = SourceContext(observation, "heimdall", made, 1.0)
    return make_source(context).line_reader(Path(name), None)


def parsed(reader: LineReader, data: bytes) -> ReadLines:
    found = reader.parse(data)
    assert found.lines == len(found.candidates) + found.headers + sum(found.rejected.values())
    return found


# -- lines -----------------------------------------------------------------------------------


def test_a_line_of_heimdall(heimdall: Config) -> None:
    reader = reader_of(heimdall, "x_07.cand", first_beam=1)
    data = b"8.25\t46875\t3\t4\t77\t56.77\t9\t46870\t46880\n"
    (one,) = parsed(reader, data).candidates
    assert one["beam"] == 6
    assert one["downsampling"] == 16
    assert one["time"] == pytest.approx(3.0, abs=1e-9)
    assert (one["dm"], one["snr"]) == (56.77, 8.25)


def test_the_time_is_that_of_the_sample_where_the_printed_one_agrees(heimdall: Config) -> None:
    reader = reader_of(heimdall, "x_00.cand")
    sample = 12_345_678
    data = f"8 {sample} {sample * TSAMP:g} 0 1 10 1 0 1\n8 {sample} 5 0 1 10 1 0 1\n".encode()
    first, second = parsed(reader, data).candidates
    assert first["time"] == round(sample * TSAMP, 9)
    assert second["time"] == 5.0


@pytest.mark.parametrize("dm", [0.0, 500.0, 2000.0])
def test_times_at_the_top_of_the_band_are_converted_exactly(heimdall: Config, dm: float) -> None:
    observation = observation_of(heimdall, Path("/nowhere"), START)
    reader = reader_of(heimdall, "x_00.cand", time_reference="top_of_band")
    (one,) = parsed(reader, f"8 0 0 0 1 {dm} 1 0 1\n".encode()).candidates
    width = 300 / 1536
    edge = 1219.70092773 + 1535.5 * width
    centre = 1219.70092773 + 1535 * width
    assert (observation.f_high, observation.f_reference) == pytest.approx((edge, centre))
    assert one["time"] == pytest.approx(4.148808e3 * dm * (centre**-2 - edge**-2), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "start", "offset"),
    [
        ("2026-09-21-14:13:20_00.cand", 1_790_000_000.0, 0.0),
        ("2026-09-21-14:13:20_00.cand", 1_789_999_999.25, 0.0),  # the header's whole second
        ("2026-09-21-14:13:20.25_00.cand", 1_790_000_000.0, 0.25),
        ("2026-09-21-14:13:20_00.cand", 1_789_999_900.0, 100.0),
        ("2026-09-21-14:13:20_00.cand", 1_790_000_100.0, -100.0),
        ("beam_00.cand", START, 0.0),
        ("2026-13-41-14:13:20_00.cand", START, 0.0),
    ],
)
def test_a_file_begins_at_the_time_in_its_name(
    heimdall: Config, name: str, start: float, offset: float
) -> None:
    (one,) = parsed(reader_of(heimdall, name, start, times_from="file"), line(200.0)).candidates
    assert one["time"] == pytest.approx(200.0 + offset, abs=1e-6)


@pytest.mark.parametrize(
    ("first", "times_from", "is_since_start"),
    [
        (100.5, "observation", True),
        (99.5, "observation", True),  # the name has whole seconds
        (98.5, "observation", False),  # before the file's own start
        (0.0, "observation", False),
        (100.5, "file", False),
    ],
)
def test_the_first_line_of_a_file_says_what_its_times_count_from(
    heimdall: Config, first: float, times_from: str, is_since_start: bool
) -> None:
    name = "2026-09-21-14:15:00_00.cand"  # after 100 s
    reader = reader_of(heimdall, name, times_from=times_from)
    found = parsed(reader, line(first)).candidates["time"].tolist()
    found += parsed(reader, line(150.0)).candidates["time"].tolist()
    expected = np.array([first, 150.0]) + (0.0 if is_since_start else 100.0)
    assert found == pytest.approx(expected, abs=TSAMP)
    # The next process goes on so, whatever its first line is.
    observation = observation_of(heimdall, Path("/nowhere"), START)
    context = SourceContext(observation, "heimdall", SourceSettings(times_from=times_from), 1.0)
    again = make_source(context).line_reader(Path(name), reader.state())
    assert parsed(again, line(150.0)).candidates["time"] == pytest.approx(expected[1:], abs=TSAMP)


@pytest.mark.parametrize("is_per_gulp", [False, True])
def test_all_times_are_right_with_a_file_per_gulp_and_with_one_that_grows(
    make: Callable[[], Kept], directory: Path, is_per_gulp: bool, caplog: pytest.LogCaptureFixture
) -> None:
    service, observation = follow(make, directory)
    search = EngineSearch(TSAMP, observation.start, gulp=2.0)
    made = [EngineCandidate(0.5 + 1.25 * n, 100.0, 12.5, 3, n % 2) for n in range(100)]
    for number, gulp in enumerate(gulps_of(made, search)):
        write_gulp(directory, search, gulp, number if is_per_gulp else None)
    service.turn_until(lambda: len(taken(service)) == len(made))
    assert taken(service) == pytest.approx([one.time for one in made], abs=TSAMP)
    assert len(list(directory.iterdir())) == (100 if is_per_gulp else 2)
    service.turn()
    assert "beams_claimed_twice" not in service.counts_now
    assert not [text for text in caplog.messages if "in two files" in text]


def test_files_that_others_followed_are_not_looked_at_each_time(
    make: Callable[[], Kept], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(later=0.0, time=time.time)  # s
    clock.monotonic = lambda: time.monotonic() + clock.later
    monkeypatch.setattr(followed_files, "time", clock)
    service, observation = follow(make, directory)
    search = EngineSearch(TSAMP, observation.start)
    for number in range(20):
        write_gulp(directory, search, [EngineCandidate(number + 0.5, 1.0, 9.0, 3, 0)], number)
    service.turn_until(lambda: len(taken(service)) == 20)
    paths = sorted(directory.iterdir())
    looked: set[Path] = set()
    size = TriggerFile.size

    def noted(file: TriggerFile) -> int:
        looked.add(file.path)
        return size(file)

    def all_looked_at_in_a_turn() -> set[Path]:
        found = set(looked)
        looked.clear()
        return found

    monkeypatch.setattr(TriggerFile, "size", noted)
    # They were written to a moment ago.
    service.turn_until(lambda: all_looked_at_in_a_turn() == {*paths})
    ago = time.time() - 11
    for path in paths:
        os.utime(path, (ago, ago))
    service.turn_until(lambda: all_looked_at_in_a_turn() == {paths[-1]})
    # One that goes on all the same is read a little later, and at the end at the latest.
    append(paths[3], line(3.75))
    service.turn_until(lambda: all_looked_at_in_a_turn() == {paths[-1]})
    assert len(taken(service)) == 20
    clock.later = 30.0
    service.turn_until(lambda: len(taken(service)) == 21)
    append(paths[4], line(4.75))
    order(service, observation, OrderState.STOPPED)
    service.turn_until(lambda: service.ended)
    assert len(taken(service)) == 22


@pytest.mark.parametrize("more", [b"beam_7", b"nan", b"-inf 0x10 *"])
def test_columns_that_are_not_used_may_hold_anything(heimdall: Config, more: bytes) -> None:
    good = line(1.0)[:-1] + b"\t" + more + b"\n"
    assert len(parsed(reader_of(heimdall, "x_00.cand"), good).candidates) == 1
    bad = good.replace(more, more + b"\x07") + good.replace(more, more + b"\xff")
    assert parsed(reader_of(heimdall, "x_00.cand"), bad).rejected == {Rejection.NOT_TEXT: 2}


def test_a_beam_in_a_column(heimdall: Config) -> None:
    reader = reader_of(heimdall, "any.cand", beam_from="column", beam_column=10, first_beam=1)
    found = parsed(reader, b"8 0 0 0 1 10 1 0 1 13\n8 0 0 0 1 10 1 0 1\n8 0 0 0 1 10 1 0 1 0\n")
    assert found.candidates["beam"].tolist() == [12]
    assert found.rejected == {Rejection.WRONG_COUNT: 1, Rejection.OUT_OF_RANGE: 1}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"8 0 0 0 1 10 1 0", Rejection.WRONG_COUNT),  # cut short
        (b"", Rejection.EMPTY),
        (b"nan 0 0 0 1 10 1 0 1", Rejection.NOT_FINITE),
        (b"inf 0 0 0 1 10 1 0 1", Rejection.NOT_FINITE),
        (b"1e999 0 0 0 1 10 1 0 1", Rejection.NOT_FINITE),
        (b"-8 0 0 0 1 10 1 0 1", Rejection.OUT_OF_RANGE),
        (b"8 0 0 0 1 -10 1 0 1", Rejection.OUT_OF_RANGE),
        (b"1e30 0 0 0 1 10 1 0 1", Rejection.OUT_OF_RANGE),
        (b"8 0 0 20 1 10 1 0 1", Rejection.OUT_OF_RANGE),
        (b"8 0 0 999999999999999999 1 10 1 0 1", Rejection.OUT_OF_RANGE),
        (b"8 0 1e300 0 1 10 1 0 1", Rejection.OUT_OF_RANGE),
        (b"8 0 0 1.5 1 10 1 0 1", Rejection.NOT_WHOLE),
        (b"8 -5 0 0 1 10 1 0 1", Rejection.NOT_WHOLE),
        (b"8 0 0 0 1 ten 1 0 1", Rejection.NOT_NUMBER),
        (b"8 0 0 0 1 1_0 1 0 1", Rejection.NOT_NUMBER),
        (b"8 0 0 0 1 0x10 1 0 1", Rejection.NOT_NUMBER),
        (b"8 0 0 0 1 1e 1 0 1", Rejection.NOT_NUMBER),
        (b"8 0 0 0 1 1\x000 1 0 1", Rejection.NOT_TEXT),
        (b"\xff\xfe\x00garbage", Rejection.NOT_TEXT),
    ],
)
def test_a_bad_line_is_one_rejected_line(heimdall: Config, bad: bytes, reason: Rejection) -> None:
    found = parsed(reader_of(heimdall, "x_00.cand"), line(1.0) + bad + b"\n" + line(2.0))
    assert found.rejected == {reason: 1}
    assert found.first_rejected == (1, bad)
    assert found.candidates["time"] == pytest.approx([1.0, 2.0])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2))
def test_any_bytes_are_lines_accounted_for(data: bytes, where: int) -> None:
    reader = ANY[0]
    good = line(1.0)
    text = [data + b"\n" + good, good + data + b"\n", good + data.replace(b"\t", b" ") + b"\n"]
    found = parsed(reader, text[where])
    assert found.lines == text[where].count(b"\n")
    assert len(found.candidates) >= 1
    for field in ("time", "dm", "snr"):
        assert np.isfinite(found.candidates[field]).all()


ANY: list[LineReader] = []


@pytest.fixture(autouse=True, scope="module")
def any_reader(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "config.yaml"
    path.write_text("instrument: {candidate_source: heimdall, n_sbs: 1}\n")
    ANY.append(reader_of(load_config(path), "x_00.cand"))


# -- files -----------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "heimdall"
    made.mkdir()
    return made


def taken(service: Kept) -> list[float]:
    """Times of all candidates that were put, sorted."""
    found = [
        candidates_from_bytes(put.content)["time"]
        for commit in service.commits
        for put in commit.puts
        if put.content and put.kind is ContentKind.CANDIDATES
    ]
    return sorted(np.concatenate(found).round(6).tolist()) if found else []


def follow(make: Callable[[], Kept], directory: Path) -> tuple[Kept, Observation]:
    service = make()
    observation = observation_of(service.config, directory, float(int(time.time())))
    order(service, observation)
    return service, observation


def test_files_that_appear_while_observing_are_read(
    make: Callable[[], Kept], directory: Path
) -> None:
    service, observation = follow(make, directory)
    service.turn()
    for beam in range(3):
        append(directory / heimdall_name(observation.start, beam), line(1.0 + beam, beam=beam))
        service.turn_until(lambda beam=beam: len(taken(service)) == beam + 1)
    (directory / "notes.txt").write_text("none of its files")
    order(service, observation, OrderState.STOPPED)
    service.turn_until(lambda: service.ended)
    assert taken(service) == [1.0, 2.0, 3.0]
    assert service.counts_now == {"lines": 3, "headers": 0, "candidates": 3}


def test_every_watermark_covers_all_files_that_exist(
    make: Callable[[], Kept], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a file system notifies of: a window is not decided without a beam's lines."""

    def unavailable() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(directory_watch, "INotify", unavailable)
    monkeypatch.setattr(service_module, "RECHECK_SECONDS", 600.0)
    service, observation = follow(make, directory)
    for beam in range(20):
        append(directory / heimdall_name(observation.start, beam), line(float(beam)))
        before = len(service.commits)
        # The first is found by the first look, the others when the watermark after those is due.
        service.turn_until(lambda before=before: len(service.commits) > before)
        commit = service.commits[before]
        assert commit.progress
        assert commit.puts[0].watermark > 0
        assert len(candidates_from_bytes(commit.puts[0].content)) == 1


def test_files_of_yesterday_are_left_alone(make: Callable[[], Kept], directory: Path) -> None:
    yesterday = time.time() - 86400
    for beam in range(5):
        path = directory / heimdall_name(yesterday, beam)
        path.write_bytes(line(1.0) * 100)
        os.utime(path, (yesterday, yesterday))
    service, observation = follow(make, directory)
    append(directory / heimdall_name(observation.start, 0), line(2.0))
    service.turn_until(lambda: len(taken(service)) == 1)
    order(service, observation, OrderState.STOPPED)
    service.turn_until(lambda: service.ended)
    assert taken(service) == [2.0]
    assert service.counts_now["earlier_files"] == 5
    assert service.counts_now["lines"] == 1


def test_whoever_dies_after_whichever_commit_has_a_successor_that_loses_nothing(
    make: Callable[[], Kept], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of yesterday is found, and a list of injections, while lines are read."""
    yesterday = time.time() - 86400
    read = TriggerFile.read

    def read_and_write(file: TriggerFile, limit: int) -> Any:
        chunk = read(file, limit)
        if chunk:
            old = directory / heimdall_name(yesterday, 1)
            old.write_bytes(line(1.0) * 100)
            os.utime(old, (yesterday, yesterday))
            (directory / "injections.txt").write_text("4.5 100 12.5 1\n")
        return chunk

    monkeypatch.setattr(TriggerFile, "read", read_and_write)
    service, observation = follow(make, directory)
    append(directory / heimdall_name(observation.start, 0), line(2.0))
    service.turn_until(lambda: len(taken(service)) == 1)
    service.turn_until(lambda: service.counts_now.get("earlier_files") == 1)
    monkeypatch.undo()
    for done in range(len(service.commits) + 1):
        successor = make()
        for commit in service.commits[:done]:
            successor.commit(commit)
        order(successor, observation)
        successor.turn_until(lambda one=successor: taken(one))
        order(successor, observation, OrderState.STOPPED)
        successor.turn_until(lambda one=successor: one.ended)
        assert taken(successor) == [2.0]
        assert successor.counts_now["lines"] == successor.counts_now["earlier_files"] == 1


def test_a_file_of_yesterday_that_grows_is_read_from_there(
    make: Callable[[], Kept], directory: Path
) -> None:
    yesterday = time.time() - 86400
    path = directory / "beam_00.cand"
    path.write_bytes(line(1.0) * 100)
    os.utime(path, (yesterday, yesterday))
    service, observation = follow(make, directory)
    service.turn_until(lambda: service.counts_now.get("earlier_files") == 1)
    append(path, line(2.0))
    service.turn_until(lambda: len(taken(service)) == 1)
    assert taken(service) == [2.0]
    assert service.counts_now["earlier_bytes"] == 100 * len(line(1.0))
    # A new process goes on there.
    again = make()
    again.master = again.queue_link = service.master  # type: ignore[assignment]
    order(again, observation)
    append(path, line(3.0))
    again.turn_until(lambda: len(taken(again)) == 1)
    assert taken(again) == [3.0]


@pytest.mark.parametrize("how", ["in place", "renamed", "a longer copy"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_file_of_yesterday_that_is_written_anew_is_read_whole(
    make: Callable[[], Kept], directory: Path, how: str, restarts: bool
) -> None:
    yesterday = time.time() - 86400
    path = directory / "beam_00.cand"
    old = line(1.0) * 10
    path.write_bytes(old)
    os.utime(path, (yesterday, yesterday))
    service, observation = follow(make, directory)
    service.turn_until(lambda: service.counts_now.get("earlier_files") == 1)
    if restarts:
        again = make()
        again.master = again.queue_link = service.master  # type: ignore[assignment]
        order(again, observation)
        service = again
    new = b"".join(line(2.0 + number) for number in range(20))
    if how == "a longer copy":
        new = old + line(3.0)
    (directory / "other").write_bytes(new)
    if how == "in place":
        path.write_bytes(new)
    else:
        (directory / "other").rename(path)
    wanted = [3.0] if how == "a longer copy" else [2.0 + number for number in range(20)]
    service.turn_until(lambda: len(taken(service)) >= len(wanted))
    assert taken(service) == pytest.approx(wanted, abs=TSAMP)
    assert service.counts_now.get("files_written_anew", 0) == (how != "a longer copy")
    assert service.metrics[LOSSES]["amber_file_written_anew"] == 0


def test_of_many_files_of_before_the_last_bytes_of_the_latest_are_remembered(
    make: Callable[[], Kept], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darc.trigger_files.followed_files.KEPT_ENDS", 1)
    for beam, age in enumerate((2000.0, 1000.0)):
        path = directory / f"beam_{beam:02d}.cand"
        path.write_bytes(line(1.0) * 10)
        os.utime(path, (time.time() - age, time.time() - age))
    service, _ = follow(make, directory)
    service.turn_until(lambda: service.counts_now.get("earlier_files") == 2)
    for beam in range(2):  # in place: the inode says nothing
        (directory / f"beam_{beam:02d}.cand").write_bytes(line(3.0) * 20)
    service.turn_until(lambda: len(taken(service)) == 30)
    # The inode has to do where there are no last bytes.
    assert service.counts_now["files_written_anew"] == 1
    assert service.counts_now["earlier_bytes"] == 10 * len(line(1.0))


def test_a_new_process_goes_on_in_every_file(make: Callable[[], Kept], directory: Path) -> None:
    service, observation = follow(make, directory)
    names = [heimdall_name(observation.start, beam) for beam in range(4)]
    for number, name in enumerate(names):
        append(directory / name, line(float(number)) + line(float(number))[:5])
    service.turn_until(lambda: len(taken(service)) == 4)
    again = make()
    again.master = again.queue_link = service.master  # type: ignore[assignment]
    order(again, observation)
    for number, name in enumerate(names):
        append(directory / name, line(float(number))[5:])
    again.turn_until(lambda: len(taken(again)) == 4)
    assert taken(again) == [0.0, 1.0, 2.0, 3.0]
    assert again.counts_now["lines"] == 8


def test_the_source_of_the_start_is_that_of_the_observation(
    make: Callable[[], Kept], directory: Path
) -> None:
    service, observation = follow(make, directory)
    append(directory / heimdall_name(observation.start, 0), line(1.0))
    service.turn_until(lambda: len(taken(service)) == 1)
    again = make()
    again.config = replace(
        again.config,
        instrument=replace(
            again.config.instrument,
            candidate_source="amber",
            source=SourceSettings(pattern="*.other"),
        ),
    )
    again.master = again.queue_link = service.master  # type: ignore[assignment]
    order(again, observation)
    append(directory / heimdall_name(observation.start, 0), line(2.0))
    again.turn_until(lambda: len(taken(again)) == 1)


def test_a_file_replaced_by_a_shorter_one_is_read_from_its_start_and_counted(
    make: Callable[[], Kept], directory: Path
) -> None:
    service, observation = follow(make, directory)
    path = directory / heimdall_name(observation.start, 0)
    append(path, line(1.0) + line(2.0) + line(3.0))
    service.turn_until(lambda: len(taken(service)) == 3)
    other = directory / "other"
    other.write_bytes(line(4.0))
    other.replace(path)
    service.turn_until(lambda: len(taken(service)) == 4)
    assert taken(service) == [1.0, 2.0, 3.0, 4.0]
    assert service.counts_now["files_written_anew"] == 1


def test_garbage_and_a_line_of_megabytes_cost_nothing_else(
    make: Callable[[], Kept], directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, observation = follow(make, directory)
    path = directory / heimdall_name(observation.start, 0)
    garbage = bytes(range(256)).replace(b"\n", b"") + b"\n"
    append(path, line(1.0) + garbage + b"7" * 3_000_000 + b"\n" + line(2.0) + line(3.0)[:-4])
    service.turn_until(lambda: len(taken(service)) == 2)
    order(service, observation, OrderState.STOPPED)
    service.turn_until(lambda: service.ended)
    assert service.counts_now == {
        "lines": 5,
        "headers": 0,
        "candidates": 2,
        "rejected_not_text": 1,
        "rejected_long_line": 1,
        "rejected_half_line": 1,
    }
    (said,) = [text for text in caplog.messages if "not text" in text]
    assert f"{path}: line 2 from byte 0: b'" in said


def test_candidates_outside_the_observation_are_none(
    make: Callable[[], Kept], directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, observation = follow(make, directory)
    early, late = (heimdall_name(observation.start + shift, 0) for shift in (-1000, 1000))
    append(directory / early, line(1.0) + line(1002.0))
    append(directory / late, line(1.0))
    service.turn_until(lambda: service.counts_now.get("lines") == 3)
    assert taken(service) == [2.0]
    assert service.counts_now["rejected_outside_observation"] == 2
    assert any("time -999 s; allowed: 0 to 602 s" in text for text in caplog.messages)


@pytest.mark.parametrize("overlap", [0.0, 9.0])
def test_two_files_of_one_beam_are_both_read_and_told_once_where_they_overlap(
    make: Callable[[], Kept], directory: Path, caplog: pytest.LogCaptureFixture, overlap: float
) -> None:
    service, observation = follow(make, directory)
    for shift in range(3):
        path = directory / heimdall_name(observation.start + 10 * shift, 7)
        append(path, line(1.0) + line(5.0 + overlap))
    service.turn_until(lambda: len(taken(service)) == 6)
    service.turn()
    first, last = np.array([1.0, 11.0, 21.0]), np.array([5.0, 15.0, 25.0]) + overlap
    assert taken(service) == pytest.approx(sorted([*first, *last]), abs=TSAMP)
    said = [text for text in caplog.messages if "beam 7 is in two files" in text]
    assert len(said) == (1 if overlap else 0)


@pytest.mark.parametrize("early", [0.0, 7.0, 200.0])
def test_a_search_that_was_begun_before_the_observation_is_told_as_a_loss(
    make: Callable[[], Kept], directory: Path, caplog: pytest.LogCaptureFixture, early: float
) -> None:
    """Its gulps' names have their UTC, but its times count from its own start."""
    service, observation = follow(make, directory)
    for gulp in range(4):
        path = directory / heimdall_name(observation.start + 4 * gulp, 7)
        append(path, line(early + 4 * gulp + 1.0) + line(early + 4 * gulp + 3.0))
    service.turn_until(lambda: service.counts_now.get("lines") == 8)
    service.turn()
    told = service.losses.get("search_began_earlier")
    assert (told is not None) == (early > 0)
    assert not [text for text in caplog.messages if "in two files" in text]
    if told:
        (found,) = told["last"]
        assert found["what"] == "beam 7"
        assert f"its first time is {early + 1 - 4:.1f} s after" in found["why"]


@pytest.mark.parametrize("early", [0.0, 3.0])
def test_after_a_restart_what_is_first_is_that_of_the_file(
    make: Callable[[], Kept], directory: Path, caplog: pytest.LogCaptureFixture, early: float
) -> None:
    """Two searches of a beam, one of which is half read, are no search that began earlier."""
    service, observation = follow(make, directory)
    one, other = (heimdall_name(observation.start + shift, 7) for shift in (0, 10))
    append(directory / one, line(1.0 + 4 * early))
    service.turn_until(lambda: len(taken(service)) == 1)
    again = make()
    again.master = again.queue_link = service.master  # type: ignore[assignment]
    order(again, observation)
    append(directory / one, line(19.0))
    append(directory / other, line(20.0))
    again.turn_until(lambda: len(taken(again)) == 2)
    again.turn()
    told = again.losses.get("search_began_earlier")
    assert (told is not None) == (early > 0)
    said = [text for text in caplog.messages if "beam 7 is in two files" in text]
    assert len(said) == (0 if early else 1)


def test_two_files_of_one_beam_without_a_time_are_told(
    make: Callable[[], Kept], directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, _ = follow(make, directory)
    for name in ("a_07.cand", "b_07.cand", "c_07.cand"):
        append(directory / name, line(1.0))
    service.turn_until(lambda: len(taken(service)) == 3)
    service.turn()
    assert len([text for text in caplog.messages if "beam 7 is in two files" in text]) == 1


def test_what_is_no_file_is_told_and_hides_no_other(
    make: Callable[[], Kept], directory: Path
) -> None:
    """A directory, a pipe, a link to nothing, and a link to itself, which cannot be looked at."""
    service, observation = follow(make, directory)
    paths = [directory / heimdall_name(observation.start, beam) for beam in range(6)]
    paths[0].symlink_to(paths[0].name)
    paths[1].mkdir()
    os.mkfifo(paths[2])
    paths[3].symlink_to("nowhere")
    append(paths[4], line(1.0))
    service.turn_until(lambda: taken(service) == [1.0])
    append(paths[5], line(2.0))
    service.turn_until(lambda: taken(service) == [1.0, 2.0])
    order(service, observation, OrderState.STOPPED)
    service.turn_until(lambda: service.ended)
    assert service.counts_now["files_given_up"] == 3
    (told,) = [kind for kind, number in service.metrics[LOSSES].items() if number]
    assert told == "amber_file_given_up"


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_a_file_that_is_renamed_is_read_on_under_its_new_name(
    make: Callable[[], Kept],
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    restarts: bool,
    again: bool,
) -> None:
    """Whether the old name is used again, as of rotated files, or not."""
    service, observation = follow(make, directory)
    path, rotated = directory / "a_00.cand", directory / "a.old_00.cand"
    path.write_bytes(line(1.0) + line(2.0))
    service.turn_until(lambda: len(taken(service)) == 2)
    append(path, line(3.0)[:10])
    if restarts:
        other = make()
        other.master = other.queue_link = service.master  # type: ignore[assignment]
        order(other, observation)
        other.commits = list(service.commits)
        service = other
    path.rename(rotated)
    if again:
        path.write_bytes(line(5.0))
    append(rotated, line(3.0)[10:] + line(4.0))
    wanted = [1.0, 2.0, 3.0, 4.0] + [5.0] * again
    service.turn_until(lambda: len(taken(service)) >= len(wanted))
    append(rotated, line(6.0))
    service.turn_until(lambda: len(taken(service)) > len(wanted))
    order(service, observation, OrderState.STOPPED)
    service.turn_until(lambda: service.ended)
    assert sorted(taken(service)) == [*wanted, 6.0]
    assert service.counts_now["lines"] == len(wanted) + 1
    assert not any(service.metrics[LOSSES].values())
    assert len([text for text in caplog.messages if "was a_00.cand: it is read" in text]) == 1


def test_a_removed_file_whose_inode_is_given_again_is_another(
    make: Callable[[], Kept], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = follow(make, directory)
    path, other = directory / "a_00.cand", directory / "b_01.cand"
    path.write_bytes(line(1.0) * 3)
    service.turn_until(lambda: len(taken(service)) == 3)
    inode = path.stat().st_ino
    path.unlink()
    stat = os.stat_result

    def same(entry: os.DirEntry[str]) -> os.stat_result:
        found = list(entry.stat())
        found[1] = inode
        return stat(found)

    scandir = os.scandir

    @contextmanager
    def given_again(of: Path) -> Iterator[list[Any]]:
        with scandir(of) as found:
            yield [
                SimpleNamespace(name=one.name, stat=partial(same, one), is_symlink=one.is_symlink)
                for one in found
            ]

    monkeypatch.setattr(os, "scandir", given_again)
    other.write_bytes(line(2.0) * 4)
    service.turn_until(lambda: len(taken(service)) == 7)


@pytest.mark.parametrize("kind", ["link", "hard link"])
@pytest.mark.parametrize("name", ["0_00.cand", "z_00.cand"])
def test_a_file_of_two_names_is_read_once(
    make: Callable[[], Kept], directory: Path, kind: str, name: str
) -> None:
    service, observation = follow(make, directory)
    path, second = directory / "a_00.cand", directory / name
    path.write_bytes(line(1.0))
    second.symlink_to(path.name) if kind == "link" else second.hardlink_to(path)
    service.turn_until(lambda: taken(service) == [1.0])
    append(path, line(2.0))
    service.turn_until(lambda: len(taken(service)) >= 2)
    if kind == "link":  # the file that is written now
        second.unlink()
        (directory / "b_00.cand").write_bytes(line(3.0))
        second.symlink_to("b_00.cand")
    else:  # renamed in two steps
        path.unlink()
        append(second, line(3.0))
    service.turn_until(lambda: len(taken(service)) >= 3)
    order(service, observation, OrderState.STOPPED)
    service.turn_until(lambda: service.ended)
    assert taken(service) == [1.0, 2.0, 3.0]
    context = SourceContext(observation, "heimdall", service.config.instrument.source, 1.0)
    read = [
        len(chunk.candidates) for file in finished_files(context)[0] for chunk in file.read_all()
    ]
    assert sum(read) == 3


def test_a_link_to_nothing_is_told_and_read_once_there_is_something(
    make: Callable[[], Kept], directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, _ = follow(make, directory)
    target = directory.parent / "elsewhere.cand"
    (directory / "a_00.cand").symlink_to(target)
    service.turn_until(lambda: any("a link to nothing" in text for text in caplog.messages))
    target.write_bytes(line(1.0))
    service.turn_until(lambda: taken(service) == [1.0])


def test_a_beam_that_the_instrument_does_not_have_is_told_once(
    make: Callable[[], Kept], directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, observation = follow(make, directory)
    last = service.config.instrument.n_tabs - 1
    for number, beam in enumerate((0, last, last + 1, last + 2), start=1):
        append(directory / heimdall_name(observation.start, beam), line(float(number)))
        service.turn_until(lambda number=number: len(taken(service)) == number)
        told = [text for text in caplog.messages if "the instrument has beams 0 to" in text]
        assert len(told) == (number > 2)
    assert told[0].startswith(f"beam {last + 1} of heimdall is beam {last + 1} here")
    assert f"first_beam (0) and instrument.n_tabs ({last + 1})" in told[0]


def test_a_name_without_a_beam_is_refused_once(
    make: Callable[[], Kept],
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_module, "RECHECK_SECONDS", 0.0)
    service, observation = follow(make, directory)
    append(directory / "candidates.cand", line(1.0))
    append(directory / heimdall_name(observation.start, 0), line(2.0))
    service.turn_until(lambda: len(taken(service)) == 1)
    service.turn()
    said = [text for text in caplog.messages if "candidates.cand is not read" in text]
    assert len(said) == 1
    assert service.counts_now.get("files_refused", 1) == 1


def test_unchanged_files_are_not_written_to_the_journal_again(
    make: Callable[[], Kept], directory: Path
) -> None:
    service, observation = follow(make, directory)
    for beam in range(10):
        append(directory / heimdall_name(observation.start, beam), line(1.0))
    service.turn_until(lambda: len(taken(service)) == 10)
    append(directory / heimdall_name(observation.start, 3), line(2.0))
    before = len(service.commits)
    service.turn_until(lambda: len(taken(service)) == 11)
    (commit,) = [one for one in service.commits[before:] if one.progress]
    states = [key for key in commit.memory if key.startswith("state ")]
    assert states == [f"state {heimdall_name(observation.start, 3)}"]


# -- windows of many writers ---------------------------------------------------------------------


def test_a_window_settles_once_though_sixty_beams_write_it() -> None:
    """A watermark of the listener covers all files: the window needs one after the last line."""
    windows = OpenWindows(1.0, 1.0, {}, settle=0.1)
    reader = ANY[0]
    watermark, entry = 100.0, 0
    decided: list[tuple[int, bool]] = []
    for beam in range(64):
        entry, watermark = entry + 1, watermark + 0.01
        windows.add(entry, watermark, parsed(reader, line(5.5, beam=beam)).candidates)
        while due := windows.take_due():
            decided.append((len(due.candidates), due.closed))
    windows.add(entry + 1, watermark + 0.1, parsed(reader, b"").candidates)
    due = windows.take_due()
    assert due is not None
    assert decided == []
    assert (len(due.candidates), due.closed) == (64, False)


# -- a finished observation ----------------------------------------------------------------------


def test_the_files_of_a_finished_observation_are_read_to_their_end(
    heimdall: Config, directory: Path
) -> None:
    observation = observation_of(heimdall, directory, START)
    for beam in range(3):
        append(directory / heimdall_name(START, beam), line(1.0) + line(2.0 + beam)[:-1])
    append(directory / heimdall_name(START - 86400, 0), line(3.0))
    append(directory / heimdall_name(START - 86400, 1), line(3.0))
    os.utime(directory / heimdall_name(START - 86400, 1), (START - 80000, START - 80000))
    append(directory / "before_07.cand", line(3.0))
    os.utime(directory / "before_07.cand", (START - 10, START - 10))
    append(directory / heimdall_name(START + 86400, 0), line(3.0))
    append(directory / "other.txt", line(1.0))
    found: list[float] = []
    files, left_alone = finished_files(SourceContext.of(observation, heimdall.instrument))
    assert left_alone == [
        heimdall_name(START - 86400, 1),
        heimdall_name(START + 86400, 0),
        "before_07.cand",
    ]
    for file in files:
        limit = file.size()
        while chunk := file.read(limit):
            found += chunk.candidates["time"].tolist()
        rest = file.read_rest(limit, finished=True)
        found += rest.candidates["time"].tolist() if rest else []
    assert sorted(found) == pytest.approx([1.0, 1.0, 1.0, 2.0, 3.0, 4.0])


def test_candidates_that_came_by_a_connection_are_gone_afterwards(
    heimdall: Config, directory: Path
) -> None:
    observation = observation_of(heimdall, directory, START)
    context = SourceContext(observation, "dsa110", SourceSettings(ports=(12345,)), 1.0)
    with pytest.raises(OSError, match="came by a connection are not kept"):
        finished_files(context)


# -- the documentation's example -----------------------------------------------------------------


def test_the_source_of_the_documentation_is_whole(heimdall: Config) -> None:
    page = (Path(__file__).parents[2] / "docs" / "candidate_sources.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    module: dict[str, Any] = {}
    exec(compile(code, "example", "exec"), module)
    observation = observation_of(heimdall, Path("/nowhere"), START)
    context = SourceContext(observation, "example", SourceSettings(), 1.0)
    source = module["SOURCE"](context)
    assert source.accepts("x.cand")
    mjd = 40587 + (START + 2.5) / 86400
    data = f"12.5 {mjd:.12f} 56.77 1.024 3\n12.5 {mjd:.12f} 56.77\n12.5 inf 1 1 1\n".encode()
    found = parsed(source.line_reader(Path("x.cand"), None), data)
    (one,) = found.candidates
    assert (one["beam"], one["downsampling"]) == (3, 16)
    assert one["time"] == pytest.approx(2.5, abs=2e-6)
    assert found.rejected == {Rejection.WRONG_COUNT: 1, Rejection.NOT_FINITE: 1}


# -- the simulator ---------------------------------------------------------------------------------


@pytest.mark.parametrize("per_gulp", [False, True])
def test_the_simulator_writes_a_file_per_gulp_where_it_is_asked_to(
    directory: Path, *, per_gulp: bool
) -> None:
    words = [
        "--duration",
        "10",
        "--noise",
        "20",
        "--start",
        "2026-09-21-14:13:20",
        "--speed",
        "inf",
    ]
    simulate(["heimdall", str(directory), *words, *(["--gulp-files"] if per_gulp else [])])
    names = sorted(path.name for path in directory.iterdir())
    seconds = range(20, 30) if per_gulp else [20]
    assert names == [f"2026-09-21-14:13:{second}_00.cand" for second in seconds]
    for number, name in enumerate(names if per_gulp else []):
        times = [float(text.split()[2]) for text in (directory / name).read_text().splitlines()]
        assert times
        assert all(number - 0.001 <= time <= number + 1.001 for time in times)


def test_the_simulator_counts_beams_as_the_engine_does(directory: Path) -> None:
    words = ["--duration", "5", "--noise", "50", "--speed", "inf"]
    simulate(["heimdall", str(directory), *words, "--beams", "3", "--first-beam", "7"])
    assert {path.stem[-2:] for path in directory.iterdir()} == {"07", "08", "09"}
