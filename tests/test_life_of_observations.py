"""The life of observations by itself: clocks are set, masters die, disks are full."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from msgspec.structs import replace
from nodes import wait_for

from darc.master.observation_life import ClosedError, Observations
from darc.master.observation_run import ObservationRun, RunState
from darc.master.service_control import StartResult
from darc.model.observation import Observation
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.node.supervisor import SupervisorError
from darc.queues.messages import Order
from darc.runtime import paths
from darc.runtime.clock import Since
from simulator.write_parsets import write_observation

SERVICES = ("amber_listener", "processor")


class Clock:
    """The time of day, which may be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.ahead)


class World:
    """What observations are given to and act on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.orders: dict[str, list[Order]] = {}
        self.running: set[str] = set()
        self.refused = ""

    def observations(self, setup_time: float = 0.0, end_delay: float = 60.0) -> Observations:
        return Observations(
            self.directory / "observations",
            setup_time,
            end_delay,
            self.give,
            lambda run: None,
            lambda run: None,
            lambda: False,
            self.start,
        )

    def give(self, orders: dict[str, list[Order]]) -> None:
        self.orders = orders

    def start(self, names: Collection[str]) -> StartResult:
        if self.refused:
            raise SupervisorError(self.refused)
        started = [name for name in names if name not in self.running]
        self.running |= set(started)
        return StartResult(started, {})

    def kept(self, task_id: str) -> dict[str, object]:
        path = self.directory / "observations" / f"{task_id}.json"
        kept: dict[str, object] = json.loads(path.read_text())
        return kept


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def example(tmp_path: Path) -> Observation:
    (tmp_path / "config.yaml").touch()
    made = write_observation(
        tmp_path / "example", task_id="a", source="BLANK", start=time.time(), duration=600.0
    )
    return read_observation(made.parset, load_config(tmp_path / "config.yaml").instrument)


def run_of(
    example: Observation, start: float, duration: float = 600.0, name: str = "a"
) -> ObservationRun:
    """An observation that starts so many seconds from now."""
    of = replace(example, task_id=name, start=time.time() + start, duration=duration)
    return ObservationRun(of, SERVICES)


def state(observations: Observations, name: str = "a") -> str:
    return {run.observation.task_id: str(run.state) for run in observations.runs()}.get(name, "")


def look_at_all(observations: Observations, example: Observation, name: str) -> None:
    """Have the thread look at all there are, by adding another that begins at once."""
    observations.add(run_of(example, 0.0, name=name))
    wait_for(lambda: state(observations, name) == "running")


# -- no observation ends the thread ----------------------------------------------------------------


@pytest.mark.parametrize("over_a_restart", [False, True])
@pytest.mark.parametrize(("start", "duration"), [(1e11, 600.0), (0.0, 1e11), (1e300, 1e300)])
def test_whatever_the_times_of_one_the_others_begin(
    world: World, example: Observation, start: float, duration: float, over_a_restart: bool
) -> None:
    observations = world.observations()
    if over_a_restart:
        observations.add(run_of(example, start, duration, "far"))
        observations = world.observations()
        # an earlier version may have taken in what is refused now
        assert state(observations, "far") in ("pending", "")
    observations.start_thread()
    if not over_a_restart:
        observations.add(run_of(example, start, duration, "far"))
    observations.add(run_of(example, 0.3))
    wait_for(lambda: state(observations) == "running")


def test_one_that_cannot_be_dealt_with_holds_up_no_other(
    world: World, example: Observation, caplog: pytest.LogCaptureFixture
) -> None:
    observations = world.observations()
    bad = run_of(example, 0.0, name="a bad one")
    bad.observation = replace(bad.observation, start="soon")  # type: ignore[arg-type]
    observations.start_thread()
    observations.add(bad)
    observations.add(run_of(example, 0.3))
    wait_for(lambda: state(observations) == "running")
    assert caplog.text.count("a bad one: tried again") == 1


def test_orders_that_could_not_be_given_are_given_later(
    world: World, example: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([OSError("no memory")])

    def give(orders: dict[str, list[Order]]) -> None:
        if orders:
            for failure in failures:
                raise failure
        world.orders = orders

    monkeypatch.setattr(world, "give", give)
    observations = world.observations()
    observations.start_thread()
    observations.add(run_of(example, 0.0))
    wait_for(lambda: "amber_listener" in world.orders)


# -- clocks that are set ---------------------------------------------------------------------------


def test_a_clock_that_is_set_forward_begins_what_is_due_by_it(
    world: World, example: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    observations = world.observations()
    observations.start_thread()
    observations.add(run_of(example, 120.0))
    look_at_all(observations, example, "b")
    assert state(observations) == "pending"
    clock.ahead = 121.0
    wait_for(lambda: state(observations) == "running", 10.0)
    clock.ahead = 0.0  # and what has begun does not become pending again
    look_at_all(observations, example, "c")
    assert state(observations) == "running"


def test_no_clock_shortens_or_lengthens_the_time_to_finish(
    world: World, example: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    observations = world.observations(end_delay=1.5)
    observations.start_thread()
    run = run_of(example, 0.0)
    run.services = ("amber_listener",)
    observations.add(run)
    wait_for(lambda: state(observations) == "running")
    stopped = Since.now()
    assert observations.end("a", RunState.STOPPED)
    clock.ahead = 3600.0
    look_at_all(observations, example, "b")
    while (found := state(observations)) == "stopped" and stopped.age() < 1.0:
        time.sleep(0.05)
    assert found == "stopped" or stopped.age() > 1.5
    clock.ahead = -3600.0
    wait_for(lambda: state(observations) == "", 10.0)


def test_a_clock_set_behind_the_end_leaves_time_for_the_stop(
    world: World, example: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    observations = world.observations(end_delay=3.0)
    observations.start_thread()
    observations.add(run_of(example, 0.0))
    wait_for(lambda: state(observations) == "running")
    was_set = Since.now()
    clock.ahead = 3600.0
    wait_for(lambda: state(observations) == "stopped", 10.0)
    assert was_set.age() > 2.0


def test_a_master_that_starts_while_the_clock_is_ahead_ends_no_observation(
    world: World, example: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    before = world.observations()
    before.add(run_of(example, 0.0))
    before.runs()[0].state = RunState.RUNNING
    before.finished("none", before.runs()[0].key)  # saves it as it is
    clock.ahead = 3600.0
    observations = world.observations()
    observations.start_thread()
    look_at_all(observations, example, "b")
    assert state(observations) == "running"
    clock.ahead = 0.0
    look_at_all(observations, example, "c")
    assert state(observations) == "running"


def test_what_an_earlier_version_kept_is_read(world: World, example: Observation) -> None:
    observations = world.observations()
    observations.add(run_of(example, 0.0))
    observations.runs()[0].state = RunState.RUNNING
    observations.end("a", RunState.STOPPED)
    kept = world.kept("a")
    kept["ended_at"] = time.time() - 100.0
    del kept["to_start"]
    (world.directory / "observations" / "a.json").write_text(json.dumps(kept))
    run = world.observations().runs()[0]
    assert run.ended_at
    assert 100.0 <= run.ended_at.age() < 160.0
    assert run.to_start == set()


# -- services are started, whoever dies ------------------------------------------------------------


def test_a_master_that_died_before_is_followed_by_one_that_starts_them(
    world: World, example: Observation
) -> None:
    world.observations().add(run_of(example, 3600.0))
    assert world.kept("a")["to_start"] == sorted(SERVICES)
    observations = world.observations()
    observations.start_thread()
    wait_for(lambda: world.running == set(SERVICES))
    wait_for(lambda: world.kept("a")["to_start"] == [])
    # what an operator stops later stays stopped
    world.running.clear()
    again = world.observations()
    again.start_thread()
    again.add(run_of(example, 3600.0, name="b"))
    again.end("b", RunState.ABORTED)
    wait_for(lambda: again.starts.start_missing() == [])
    world.running.clear()
    assert world.observations().starts.start_missing() == []
    assert world.running == set()


def test_a_supervisord_that_does_not_answer_is_asked_again(
    world: World, example: Observation, caplog: pytest.LogCaptureFixture
) -> None:
    world.refused = "supervisord: timed out"
    observations = world.observations()
    observations.start_thread()
    observations.add(run_of(example, 3600.0))
    with pytest.raises(SupervisorError):
        observations.starts.start_missing()
    wait_for(lambda: "cannot be started yet: supervisord: timed out" in caplog.text)
    world.refused = ""
    wait_for(lambda: world.running == set(SERVICES))


def test_an_operators_stop_comes_after_the_start_that_it_meets(
    world: World, example: Observation
) -> None:
    observations = world.observations()
    observations.add(run_of(example, 3600.0))
    observations.starts.leave_stopped(["processor"])
    assert world.kept("a")["to_start"] == ["amber_listener"]
    assert observations.starts.start_missing() == ["amber_listener"]
    # until it is started again
    assert not observations.add(run_of(example, 3600.0))
    assert observations.starts.start_again("a", SERVICES) == ["processor"]
    assert observations.starts.start_again("a", SERVICES) == []


def test_a_service_that_is_done_is_not_started_again(world: World, example: Observation) -> None:
    observations = world.observations()
    observations.add(run_of(example, 3600.0))
    observations.finished("processor", observations.runs()[0].key)
    observations.starts.leave_stopped(SERVICES)
    assert observations.starts.start_again("a", SERVICES) == ["amber_listener"]


def test_a_node_that_is_stopped_takes_none_in_and_starts_nothing(
    world: World, example: Observation
) -> None:
    observations = world.observations()
    observations.add(run_of(example, 3600.0))
    observations.close()
    assert observations.starts.start_missing() == []
    with pytest.raises(ClosedError, match="being stopped"):
        observations.add(run_of(example, 3600.0, name="b"))
    assert observations.abort_all() == 1
    assert list((world.directory / "observations").iterdir()) == []


def test_an_observation_that_is_dropped_while_its_services_start_leaves_no_file(
    world: World, example: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_it, go_on = threading.Event(), threading.Event()
    start = world.start

    def slow(names: Collection[str]) -> StartResult:
        at_it.set()
        assert go_on.wait(10)
        return start(names)

    monkeypatch.setattr(world, "start", slow)
    observations = world.observations()
    observations.add(run_of(example, 3600.0))
    starting = threading.Thread(target=observations.starts.start_missing)
    starting.start()
    assert at_it.wait(10)
    assert observations.end("a", RunState.ABORTED)
    go_on.set()
    starting.join(10)
    assert list((world.directory / "observations").iterdir()) == []


# -- what was acknowledged is on the disk ----------------------------------------------------------


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Switch a full disk on and off."""
    write_whole = paths.write_whole

    def switch(full: bool) -> None:
        def write(*arguments: object, **options: object) -> None:
            if full:
                raise OSError(28, "No space left on device")
            write_whole(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr("darc.master.durable_files.write_whole", write)

    return switch


def test_what_cannot_be_kept_is_said_and_kept_later(
    world: World, example: Observation, full_disk: Callable[[bool], None]
) -> None:
    observations = world.observations()
    observations.start_thread()
    full_disk(True)
    observations.add(run_of(example, 3600.0))
    assert "No space left" in observations.unsaved("a")
    assert world.observations().runs() == []
    wait_for(lambda: observations.runs()[0].to_start == set())
    full_disk(False)
    wait_for(lambda: not observations.unsaved("a"))
    assert [run.observation.task_id for run in world.observations().runs()] == ["a"]


def test_what_is_kept_is_synced_to_the_disk(
    world: World, example: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable = []
    write_whole = paths.write_whole

    def write(path: Path, text: str, **options: bool) -> None:
        durable.append(options.get("durable", True))
        write_whole(path, text, **options)

    monkeypatch.setattr("darc.master.durable_files.write_whole", write)
    observations = world.observations()
    observations.add(run_of(example, 0.0))
    observations.runs()[0].state = RunState.RUNNING
    observations.end("a", RunState.ABORTED)
    assert durable == [True, True]


def test_a_file_that_is_damaged_is_set_aside_and_the_others_go_on(
    world: World, example: Observation
) -> None:
    world.observations().add(run_of(example, 3600.0))
    directory = world.directory / "observations"
    good = world.kept("a")
    for number, text in enumerate(("", "[]", '{"state": 7}', json.dumps({**good, "past": {}}))):
        (directory / f"damaged{number}.json").write_text(text)
    (directory / "damaged4.json").write_text(json.dumps({**good, "ended_at": [1, 2]}))
    assert "a" in {run.observation.task_id for run in world.observations().runs()}
    assert len(list(directory.glob("*.damaged"))) >= 4
