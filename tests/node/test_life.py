"""The life of observations on a node whose master dies, whose clock is set, whose share hangs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clocks import SetClock
from nodes import Node, only, patience
from nodes import wait_for as wait_for_seconds
from shares import Share, missing

from simulator.write_parsets import MadeObservation, write_observation

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=60.0)
REAL_TIME = ("amber_listener", "amber_clustering", "dada_trigger")


@pytest.fixture
def small(make_node: Callable[..., Node]) -> Node:
    """A node of the services that work in real time, not started."""
    return make_node(darc_master=only(*REAL_TIME))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., MadeObservation]:
    def write(task_id: str, ahead: float = 0.0) -> MadeObservation:
        start = time.time() + ahead
        usual: dict[str, Any] = {"source": "BLANK", "duration": 600.0, "instances": 1}
        return write_observation(tmp_path / task_id, task_id=task_id, start=start, **usual)

    return write


def command(node: Node, verb: str, observation: MadeObservation) -> dict[str, Any]:
    """The whole reply to <verb>_observation."""
    return node.reply(f"{verb}_observation", "--parset", str(observation.parset))


def state(node: Node, task_id: str) -> str:
    observations = json.loads(node.ask("get_attr", "overview").split(" = ", 1)[1])["observations"]
    return {one["id"]: str(one["state"]) for one in observations}.get(task_id, "")


def test_a_master_that_is_killed_at_a_start_leaves_none_that_nobody_works_on(
    small: Node, make: Callable[..., MadeObservation], tmp_path: Path
) -> None:
    point = tmp_path / "darc_master.before the services of an observation are started"
    small.environment["DARC_FAULT_POINTS"] = str(tmp_path)
    assert small.call("darc_start_master").returncode == 0
    observation = make("181119001")
    point.touch()
    before = small.pid("darc_master")
    result = small.darc("start_observation", "--parset", str(observation.parset))
    assert result.returncode != 0
    wait_for(lambda: small.pid("darc_master") not in (0, before))
    wait_for(small.answers)
    wait_for(lambda: all(small.states()[name] == "running" for name in REAL_TIME))
    assert state(small, observation.task_id) == "running"
    # What an operator stops is started by a second start, which says so, and by nothing else.
    small.darc("--service", "dada_trigger", "stop")
    before = small.pid("darc_master")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: small.pid("darc_master") not in (0, before))
    wait_for(small.answers)
    assert small.states()["dada_trigger"] == "stopped"
    reply = command(small, "start", observation)
    assert reply == {
        "status": "Warning",
        "message": f"Observation {observation.task_id} is running already;"
        " started what did not run: dada_trigger",
    }
    wait_for(lambda: small.states()["dada_trigger"] == "running")
    reply = command(small, "start", observation)
    assert reply["message"] == {"error": f"Observation {observation.task_id} is running already"}


def test_a_clock_that_is_set_delays_no_start(
    small: Node, make: Callable[..., MadeObservation], tmp_path: Path
) -> None:
    clock = SetClock(tmp_path)
    small.environment |= clock.environment
    assert small.call("darc_start_master").returncode == 0
    observation = make("181119002", ahead=400.0)
    assert command(small, "start", observation)["status"] == "Success"
    assert state(small, observation.task_id) == "pending"
    clock.set(401)
    wait_for_seconds(lambda: state(small, observation.task_id) == "running", 20.0)
    # Nobody works on it any less because of a clock that is set back.
    clock.set(0)
    # Another one begins by the clock as it is now: all have been looked at.
    another = make("181119003", ahead=2.0)
    assert command(small, "start", another)["status"] == "Success"
    wait_for_seconds(lambda: state(small, another.task_id) == "running", 20.0)
    assert state(small, observation.task_id) == "running"
    wait_for(lambda: all(small.states()[name] == "running" for name in REAL_TIME))


# -- a share that hangs ----------------------------------------------------------------------------


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    if missing():
        pytest.skip(missing())
    made = Share(tmp_path / "served", tmp_path / "share")
    yield made
    made.stop()


def test_a_parset_directory_that_hangs_holds_up_nothing_else(
    make_node: Callable[..., Node], make: Callable[..., MadeObservation], share: Share
) -> None:
    parsets = share.path / "parsets"
    node = make_node(darc_master=only(*REAL_TIME) | {"parset_dir": str(parsets)})
    assert node.call("darc_start_master").returncode == 0
    wait_for(parsets.is_dir)
    share.hang()
    observations = [make(f"18111901{number}") for number in range(3)]
    for observation in observations:
        began = time.monotonic()
        reply = command(node, "start", observation)
        assert reply == {"status": "Success", "message": "Observation started"}
        assert time.monotonic() - began < patience(10.0)
    wait_for(lambda: all(node.states()[name] == "running" for name in REAL_TIME))
    # Sockets are looked after all the same,
    for name in ("queues.sock", "supervisord.sock"):
        path = node.run_dir / name
        path.unlink()
        wait_for(path.exists, what=f"{name} back")
    # what hangs is named,
    wait_for(lambda: f"{parsets}: no answer" in node.log("darc_master"))
    overview = json.loads(node.ask("get_attr", "overview").split(" = ", 1)[1])
    assert str(parsets) in [one["name"] for one in overview["threads"]]
    assert {one["trouble"] for one in overview["threads"]} == {"hangs"}
    # and nothing piles up: a second start of each begins no second copy.
    for observation in observations:
        assert "is running already" in str(command(node, "start", observation)["message"])
    assert len(list(Path(f"/proc/{node.pid('darc_master')}/task").iterdir())) < 50
    share.answer()
    wait_for(lambda: f"{parsets}: answers again" in node.log("darc_master"))
    for observation in observations:
        wait_for(lambda wanted=observation: list(parsets.glob(f"*/{wanted.parset.name}")))
    assert node.call("darc_stop_master").returncode == 0
