"""amber_listener between files and commits, with a file system and clocks that misbehave."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace
from nodes import patience

from darc.candidates.injections import LISTED, Injection
from darc.config.settings import AmberClusteringSettings
from darc.model.observation import Observation
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.queues.messages import Commit, ContentKind, Order, OrderState, OutOfStepError
from darc.queues.plain_connection import pack, unpack
from darc.services.amber_listener import known_injections
from darc.services.amber_listener import service as service_module
from darc.services.amber_listener.service import AMBERListener
from darc.trigger_files.trigger_file import TriggerFile
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.write_parsets import write_observation

#: s; a busy machine may stand still in between.
END_DELAY = patience(2.0)
HEADER = format_header()
LINE = format_line(
    beam=1, batch=1, sample=3, integration_step=10, time=1.03, dm_id=7, dm=100.0, snr=12.5
)


class Master:
    """Gives orders, and counts who asks for them and beats."""

    def __init__(self) -> None:
        self.given: list[Order] = []
        self.memory: dict[str, Any] = {}
        self.held: dict[str, int] = {}
        self.asked = self.beats = 0
        self.done: list[str] = []

    def heartbeat(self) -> None:
        self.beats += 1

    def orders(self, answer: object) -> list[Order]:
        self.asked += 1
        return self.given

    def recall(self, task_id: str) -> dict[str, Any]:
        return self.memory

    def progress(self, task_id: str) -> dict[str, int]:
        return self.held

    def finished(self, task_id: str) -> None:
        self.done.append(task_id)


class DeafEar:
    """Hears nothing."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def has_orders(self) -> bool:
        return False


class Kept(AMBERListener):
    """Its commits are kept here, as the journal would."""

    def prepare(self) -> None:
        super().prepare()
        self.commits: list[Commit] = []
        self.refusal: OutOfStepError | None = None
        self.master = Master()
        self.queue_link = self.master  # type: ignore[assignment]
        self.order_listener = DeafEar()  # type: ignore[assignment]

    def reload_config(self) -> None:
        pass

    def commit(self, commit: Commit) -> None:
        if self.refusal and commit.progress:
            raise self.refusal
        self.commits.append(commit)
        self.master.memory |= commit.memory
        self.master.held |= {step.source: step.end for step in commit.progress}

    def turn(self) -> None:
        """Once through the loop."""
        self.wait()
        self.follow_orders()
        self.idle()

    def turn_until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + patience(10)
        while not condition():
            assert time.monotonic() < deadline
            self.turn()

    @property
    def counts_now(self) -> dict[str, int]:
        counts: dict[str, int] = self.master.memory.get("counts", {})
        return counts

    @property
    def watermarks(self) -> list[float]:
        return [put.watermark for commit in self.commits for put in commit.puts if put.watermark]

    @property
    def ended(self) -> bool:
        return any(put.kind is ContentKind.END for commit in self.commits for put in commit.puts)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Kept]:
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {"darc_master": {"end_delay": END_DELAY}, "amber_clustering": {"interval": 0.1}}
        )
    )
    return lambda: Kept(load_config(path))


@pytest.fixture
def listener(make: Callable[[], Kept]) -> Kept:
    return make()


@pytest.fixture
def observation(tmp_path: Path, listener: Kept) -> Observation:
    made = write_observation(
        tmp_path / "observation",
        task_id="lis1",
        source="BLANK",
        start=time.time(),
        duration=600.0,
        instances=1,
    )
    return read_observation(made.parset, listener.config.instrument)


@pytest.fixture
def path(observation: Observation) -> Path:
    return Path(observation.amber_dir) / trigger_name(0, 1)


def order(service: Kept, observation: Observation, state: OrderState = OrderState.RUNNING) -> None:
    service.master.given = [Order(observation.to_plain(), state)]
    service.obey(service.master.given)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


# -- orders ----------------------------------------------------------------------------------


def test_orders_are_asked_for_once_a_second_though_the_ear_hears_nothing(
    listener: Kept, observation: Observation
) -> None:
    listener.turn()
    listener.master.given = [Order(observation.to_plain(), OrderState.RUNNING)]
    began = time.monotonic()
    listener.turn_until(lambda: listener.observations == ["lis1"])
    assert time.monotonic() - began < patience(2.0)
    assert listener.master.asked <= 4


def test_observations_are_told_while_one_of_them_is_finished(
    listener: Kept, observation: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(observation, run="2")
    listener.obey([Order(one.to_plain(), OrderState.RUNNING) for one in (observation, other)])

    def task_id(told: Observation) -> str:
        """As the loop does, while the listener's thread tells them."""
        if key not in listener.master.done:
            listener.finish(other)
        return "lis1"

    key = other.key
    monkeypatch.setattr(Observation, "key", key)
    monkeypatch.setattr(Observation, "task_id", property(task_id))
    assert listener.observations == ["lis1", "lis1"]
    monkeypatch.undo()
    assert listener.observations == ["lis1"]


# -- clocks ----------------------------------------------------------------------------------


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    unix = time.time
    return lambda step: monkeypatch.setattr(time, "time", lambda: unix() + step)


def test_a_clock_set_back_stops_neither_beats_nor_checks_nor_watermarks(
    listener: Kept, observation: Observation, path: Path, set_clock: Callable[[float], None]
) -> None:
    order(listener, observation)
    path.write_bytes(HEADER + LINE)
    listener.turn_until(lambda: listener.counts_now.get("candidates") == 1)
    before = listener.watermarks[-1]
    set_clock(-3600.0)
    beats, asked = listener.master.beats, listener.master.asked
    listener.turn_until(lambda: listener.watermarks[-1] > before)
    listener.turn_until(lambda: listener.master.beats > beats and listener.master.asked > asked)
    append(path, LINE)
    listener.turn_until(lambda: listener.counts_now.get("candidates") == 2)
    assert listener.watermarks == sorted(listener.watermarks)


def test_a_listener_started_after_the_clock_was_set_back_goes_on_from_the_last_stamp(
    make: Callable[[], Kept],
    observation: Observation,
    path: Path,
    set_clock: Callable[[float], None],
) -> None:
    first = make()
    order(first, observation)
    path.write_bytes(HEADER + LINE)
    first.turn_until(lambda: first.counts_now.get("candidates") == 1)
    set_clock(-3600.0)
    again = make()
    again.master = again.queue_link = first.master  # type: ignore[assignment]
    order(again, observation)
    again.turn_until(lambda: len(again.watermarks) >= 2)
    assert first.watermarks[-1] <= again.watermarks[0] < again.watermarks[1] - 0.05
    assert again.watermarks[0] < first.watermarks[-1] + 60


# -- the end ---------------------------------------------------------------------------------


def test_a_file_that_is_away_for_a_moment_at_the_stop_is_read_to_its_end(
    listener: Kept, observation: Observation, path: Path
) -> None:
    order(listener, observation)
    path.write_bytes(HEADER + LINE)
    listener.turn_until(lambda: listener.counts_now.get("candidates") == 1)
    away = path.with_suffix(".away")
    path.rename(away)
    append(away, LINE)
    order(listener, observation, OrderState.STOPPED)
    listener.turn()
    assert not listener.ended
    away.rename(path)
    listener.turn_until(lambda: listener.ended)
    assert listener.counts_now == {"lines": 3, "headers": 1, "candidates": 2}
    assert listener.master.done == ["lis1"]


def test_a_file_that_cannot_be_looked_at_for_a_moment_at_the_stop_is_read_to_its_end(
    listener: Kept, observation: Observation, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(listener, observation)
    path.write_bytes(HEADER + LINE)

    def stale(self: TriggerFile) -> int:
        raise OSError(116, "Stale file handle", str(self.path))

    with monkeypatch.context() as hiccup:
        hiccup.setattr(TriggerFile, "size", stale)
        order(listener, observation, OrderState.STOPPED)
        listener.turn()
    assert not listener.ended
    listener.turn_until(lambda: listener.ended)
    assert listener.counts_now == {"lines": 2, "headers": 1, "candidates": 1}


def test_a_file_that_stays_away_is_given_up_named_and_counted(
    listener: Kept, observation: Observation, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order(listener, observation)
    path.write_bytes(HEADER + LINE)
    listener.turn_until(lambda: listener.counts_now.get("candidates") == 1)
    path.unlink()
    order(listener, observation, OrderState.STOPPED)
    began = time.monotonic()
    listener.turn_until(lambda: listener.ended)
    assert END_DELAY / 2 <= time.monotonic() - began < END_DELAY
    assert listener.counts_now["files_given_up"] == 1
    said = [text for text in caplog.messages if "given up" in text and str(path) in text]
    assert len(said) == 1


def test_a_file_that_never_came_is_not_waited_for(listener: Kept, observation: Observation) -> None:
    order(listener, observation)
    order(listener, observation, OrderState.STOPPED)
    listener.turn()
    assert listener.ended
    assert "files_given_up" not in listener.counts_now


# -- directories -----------------------------------------------------------------------------


def test_a_directory_that_is_made_again_at_once_is_watched_again(
    listener: Kept, observation: Observation, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(listener, observation)
    listener.turn()
    monkeypatch.setattr(service_module, "RECHECK_SECONDS", 60.0)  # behind the next one
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    deadline = time.monotonic() + 1.5  # the next check
    while time.monotonic() < deadline:
        listener.turn()
    listener.turn()  # which may have been due only when the time was over
    path.write_bytes(HEADER + LINE)
    listener.turn()
    assert listener.counts_now.get("candidates") == 1
    assert listener.found_by_recheck == 0


# -- out of step -----------------------------------------------------------------------------


def test_an_observation_that_is_over_when_its_bytes_are_not_taken_is_dropped(
    listener: Kept, observation: Observation, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order(listener, observation)
    path.write_bytes(HEADER + LINE)
    listener.master.given = []
    listener.refusal = OutOfStepError(f"{path.name}: put from byte 0, held to 17")
    listener.idle()
    assert listener.observations == []
    length = len(HEADER + LINE)
    assert any(f"{path.name} bytes 0 to {length}" in text for text in caplog.messages)


def test_a_listener_out_of_step_in_an_observation_ends(
    listener: Kept, observation: Observation, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order(listener, observation)
    path.write_bytes(HEADER + LINE)
    listener.refusal = OutOfStepError(f"{path.name}: put from byte 0, held to 17")
    with pytest.raises(SystemExit) as ended:
        listener.idle()
    assert ended.value.code == 1
    assert any(f"{path.name} bytes 0 to" in text for text in caplog.messages)


# -- injections ------------------------------------------------------------------------------


def listed(service: Kept) -> list[list[float]]:
    return [
        row
        for commit in service.commits
        for put in commit.puts
        if put.kind is ContentKind.PLAIN
        for row in unpack(put.content)[LISTED]
    ]


def test_injections_are_put_before_the_lines_that_follow_them(
    listener: Kept, observation: Observation, path: Path
) -> None:
    order(listener, observation)
    path.write_bytes(HEADER)
    listener.turn()
    # Both have come since the last look.
    (path.parent / "injections.txt").write_text("1.03 100 12.5 1\n")
    append(path, LINE)
    listener.turn_until(lambda: listener.counts_now.get("candidates") == 1)
    puts = [put for commit in listener.commits for put in commit.puts if put.content]
    assert [put.kind for put in puts] == [ContentKind.PLAIN, ContentKind.CANDIDATES]
    assert {put.queues for put in puts} == {("amber_clustering", "processor")}
    assert {put.observation for put in puts} == {observation.key}
    assert listed(listener) == [[1.03, 100.0, 12.5, 1.0]]


def test_a_process_that_dies_between_injections_and_lines_costs_no_line(
    make: Callable[[], Kept], observation: Observation, path: Path
) -> None:
    first = make()
    order(first, observation)
    path.write_bytes(HEADER + LINE)
    (path.parent / "injections.txt").write_text("1.03 100 12.5 1\n")
    first.turn_until(lambda: first.counts_now.get("candidates") == 1)
    injections = next(n for n, one in enumerate(first.commits) if one.puts)
    assert not any(one.progress for one in first.commits[: injections + 1])
    successor = make()
    for commit in first.commits[: injections + 1]:
        successor.master.memory |= unpack(pack(dict(commit.memory)))
    order(successor, observation)
    successor.turn_until(lambda: successor.counts_now.get("candidates") == 1)


def test_injections_are_put_while_there_are_no_lines_and_each_once(
    listener: Kept, observation: Observation, path: Path
) -> None:
    order(listener, observation)
    file = path.parent / "injections.txt"
    file.write_text("1.5 100 12.5 1\n")
    listener.turn_until(lambda: listed(listener))
    file.write_text("1.5 100 12.5 1\n2.5 100 12.5 1\n")
    listener.turn_until(lambda: len(listed(listener)) > 1)
    file.unlink()
    path.write_bytes(HEADER + LINE)
    listener.turn_until(lambda: listener.counts_now.get("candidates") == 1)
    assert [row[0] for row in listed(listener)] == [1.5, 2.5]


def test_a_list_of_injections_that_cannot_be_read_is_a_loss_and_lines_go_on(
    make: Callable[[], Kept], listener: Kept, observation: Observation, path: Path
) -> None:
    order(listener, observation)
    (path.parent / "injections.txt").mkdir()
    path.write_bytes(HEADER + LINE)
    listener.turn_until(lambda: listener.counts_now.get("candidates") == 1)
    loss = listener.losses["injection_unknown"]
    assert loss["number"] == 1
    assert "a directory" in loss["last"][0]["why"]
    again = make()
    again.master.memory, again.master.held = listener.master.memory, listener.master.held
    order(again, observation)
    append(path, LINE)
    again.turn_until(lambda: again.counts_now.get("candidates") == 2)
    assert again.losses == {}  # said once for an observation


def test_the_list_of_injections_is_that_of_the_start(
    make: Callable[[], Kept], observation: Observation, path: Path
) -> None:
    first = make()
    order(first, observation)
    path.write_bytes(HEADER + LINE)
    first.turn_until(lambda: first.counts_now.get("candidates") == 1)
    again = make()
    none = replace(again.config.of(AmberClusteringSettings), injections=None)
    of_services = {**again.config.of_services, "amber_clustering": none}
    again.config = replace(again.config, of_services=of_services)
    again.master.memory, again.master.held = first.master.memory, first.master.held
    order(again, observation)
    (path.parent / "injections.txt").write_text("1.5 100 12.5 1\n")
    again.turn_until(lambda: listed(again))


def test_another_run_of_an_observation_knows_its_injections_though_the_list_is_gone(
    make: Callable[[], Kept], observation: Observation, path: Path
) -> None:
    first = make()
    order(first, observation)
    file = path.parent / "injections.txt"
    file.write_text("1.5 100 12.5 1\n")
    first.turn_until(lambda: listed(first))
    file.unlink()
    kept = {
        key: value
        for one in first.commits
        if not one.observation
        for key, value in one.memory.items()
    }
    another = make()
    another.recover(unpack(pack(kept)))
    order(another, replace(observation, run="another"))
    assert listed(another) == [[1.5, 100.0, 12.5, 1.0]]
    # Of the same name at another time nothing is known.
    later = make()
    later.recover(unpack(pack(kept)))
    order(later, replace(observation, run="later", start=observation.start + 60))
    assert listed(later) == []


def test_injections_are_remembered_of_a_number_of_observations(
    observation: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_injections, "MOST_OBSERVATIONS", 2)
    known, memory = known_injections.KnownInjections(), {}
    some = [replace(observation, task_id=f"t{n}") for n in range(3)]
    for n, one in enumerate(some):
        memory |= known.add(one, [Injection(float(n), 1.0, 10.0, 1.0)])
        memory |= known.add(one, [Injection(float(n), 2.0, 10.0, 1.0)])
    again = known_injections.KnownInjections()
    again.recover({key: value for key, value in memory.items() if value is not None})
    for each in (known, again):
        assert [len(each.of(one)) for one in some] == [0, 2, 2]


# -- the time that a trigger takes -----------------------------------------------------------


def test_lines_written_while_others_are_read_are_in_the_same_commit(
    listener: Kept, observation: Observation, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(listener, observation)
    path.write_bytes(HEADER + LINE)
    read, written_at = TriggerFile.read, []

    def read_and_write(file: TriggerFile, limit: int) -> Any:
        chunk = read(file, limit)
        if not written_at:
            written_at.append(time.time())
            append(path, LINE)
        return chunk

    monkeypatch.setattr(TriggerFile, "read", read_and_write)
    listener.idle()
    (commit,) = [commit for commit in listener.commits if commit.progress]
    assert commit.progress[-1].end == path.stat().st_size
    assert listener.watermarks == [pytest.approx(written_at[0], abs=patience(1.0))]
    assert listener.watermarks[0] > written_at[0]
