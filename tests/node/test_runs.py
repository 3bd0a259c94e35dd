"""The same observation started again is another run: nothing of before holds or is in its way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nodes import Node, patience
from nodes import wait_for as wait_for_seconds

from simulator.amber_files import format_header, format_line, trigger_name
from simulator.write_parsets import MadeObservation, write_observation

wait_for = partial(wait_for_seconds, timeout=60.0)

CLUSTERING = "amber_clustering"
N_LINES = 100


def line(number: int, time_s: float) -> bytes:
    return format_line(
        beam=0,
        batch=int(time_s / 1.024),
        sample=3,
        integration_step=10,
        time=time_s,
        dm_id=7,
        dm=700.0 + number % 5,
        snr=15.0,
    )


def write_lines(observation: MadeObservation, number: int, spacing: float = 0.5) -> None:
    lines = b"".join(line(n, n * spacing) for n in range(number))
    (observation.amber_dir / trigger_name(0, 1)).write_bytes(format_header() + lines)


def say(node: Node, command: str, observation: MadeObservation) -> None:
    reply = node.darc("--parset", str(observation.parset), command)
    assert reply.returncode == 0, reply.stdout


def depth(node: Node, queue: str) -> int:
    answer = str(node.ask("get_attr", "queue_depths"))
    depths: dict[str, int] = json.loads(answer.split(" = ")[1].replace("'", '"'))
    return depths.get(queue, 0)


@pytest.fixture
def make(make_node: Callable[..., Node], tmp_path: Path) -> Callable[..., Any]:
    def start(**master: Any) -> tuple[Node, MadeObservation]:
        node = make_node(
            # without processor, which would look for the data of all, and without
            # offline_processing, which waits for the planned end
            darc_master={
                "services_worker_rt": ["amber_listener", CLUSTERING, "dada_trigger"],
                "services_master_rt": [],
                **{"mode": "real-time", "setup_time": 0.2, "end_delay": 2.0, **master},
            },
            amber_clustering={"interval": 0.2},
        )
        node.start()
        observation = write_observation(
            tmp_path / "runs1",
            task_id="runs1",
            source="BLANK",
            start=time.time(),
            duration=1e6,
            instances=1,
        )
        return node, observation

    return start


@pytest.mark.parametrize("end", ["stop_observation", "abort_observation"])
def test_a_run_meets_nothing_that_another_one_has_left(make: Callable[..., Any], end: str) -> None:
    node, observation = make()
    say(node, "start_observation", observation)
    node.supervisor.stop(CLUSTERING)
    wait_for(lambda: node.states()[CLUSTERING] == "stopped")
    write_lines(observation, N_LINES)
    wait_for(lambda: depth(node, CLUSTERING), what="entries of the first run")
    say(node, end, observation)
    node.wait_until_over("runs1", 60.0)
    say(node, "start_observation", observation)
    wait_for(lambda: node.counts(CLUSTERING, "runs1").get("candidates") == N_LINES)
    say(node, "stop_observation", observation)
    node.wait_until_over("runs1", 60.0)
    directory = next(node.home.glob("parsets/*"))
    latest = wait_for(lambda: _books(directory / "books.testnode.json"))
    assert latest["amber_listener"]["counts"]["candidates"] == N_LINES
    assert latest[CLUSTERING]["counts"]["candidates"] == N_LINES
    earlier = list(directory.glob("books.testnode.*.json"))
    assert [_books(path)["darc_master"] != latest["darc_master"] for path in earlier] == [True]
    wait_for(lambda: depth(node, CLUSTERING) == 0, what="entries of the first run cleared")


def _books(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def test_a_backlog_of_hours_is_worked_off_with_a_beat_all_the_time(
    make: Callable[..., Any],
) -> None:
    """With a service that hangs being killed: one that works is not."""
    node, observation = make(
        health={"unresponsive_after": patience(2.5), "restart_unresponsive": True}
    )
    node.supervisor.stop(CLUSTERING)
    say(node, "start_observation", observation)
    node.supervisor.stop(CLUSTERING)
    number = 21_600  # six hours of windows
    write_lines(observation, number, spacing=1.0)  # as many windows
    wait_for(
        lambda: node.counts("amber_listener", "runs1").get("candidates") == number,
        what="all of it read",
    )
    assert node.darc("--service", CLUSTERING, "start").returncode == 0
    pid = node.pid(CLUSTERING)
    wait_for(lambda: node.counts(CLUSTERING, "runs1").get("candidates") == number, timeout=120.0)
    assert node.pid(CLUSTERING) == pid
    assert "does not respond" not in node.log("darc_master")
    say(node, "stop_observation", observation)
    directory = next(node.home.glob("parsets/*"))
    books = wait_for(lambda: _books(directory / "books.testnode.json"))
    windows = [key for key in books[CLUSTERING] if key.startswith("window ")]
    passed_on = [key for key in windows if books[CLUSTERING][key]["passed on"]]
    assert len(windows) - len(passed_on) <= 2  # what need not be known is forgotten
