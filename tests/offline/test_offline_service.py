"""The service on a real node: a pulsar is folded after its observation, once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml
from nodes import Node, only, wait_for
from offline_files import HEADER, write_pulsar

from darc.model.offline_tables import parse_pulsars
from darc.offline.fold_file import predicted_model
from darc.runtime.paths import packaged
from simulator.write_parsets import MadeObservation, write_observation

PULSAR = "B0329+54"
ALONE = only("offline_processing")
DURATION = 12.0


def observe(node: Node, directory: Path, **more: Any) -> MadeObservation:
    """Start an observation of a pulsar that has just ended, with its data on disk."""
    start = float(int(time.time() - DURATION - 2))
    made = write_observation(
        directory, task_id="fold1", source="J0332+5434", start=start, duration=DURATION, n_tabs=1,
        **more,
    )  # fmt: skip
    data = directory / "output" / "filterbank"
    data.mkdir(parents=True)
    ephemeris = parse_pulsars(packaged("conf/pulsars.yaml").read_text(), "")[PULSAR]
    model = predicted_model(ephemeris, HEADER, start, DURATION, None)
    write_pulsar(data / "CB00.fil", model, dm=ephemeris.dm, duration=DURATION, height=1.0)
    answer = node.ask("start_observation", "--parset", str(made.parset))
    assert "Observation started" in str(answer), answer
    return made


def results(node: Node) -> dict[str, Any]:
    [path] = (node.home / "results").glob(f"*/*/CB00_{PULSAR}.yaml")
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def children(node: Node) -> list[psutil.Process]:
    service = psutil.Process(node.pid("offline_processing"))
    return [one for one in service.children() if "darc.candidates.pool_process" in one.cmdline()]


def test_a_service_killed_at_work_does_it_once(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = make_node(darc_master=ALONE, offline_processing={"prepfold": None})
    points = tmp_path / "points"
    points.mkdir()
    node.environment["DARC_FAULT_POINTS"] = str(points)
    node.start()
    # Killed when its work is done, but not yet committed.
    (points / "offline_processing.after working").touch()
    before = node.pid("offline_processing")
    observe(node, tmp_path / "observation")
    wait_for(lambda: node.pid("offline_processing") not in (0, before), 60, "killed, started anew")
    node.wait_until_over("fold1", 90)
    found = results(node)
    assert found["detected"]
    assert abs(found["period_s"] - found["period_predicted_s"]) < 2e-4
    log = node.log("offline_processing")
    assert log.count(f"fold {PULSAR}: done") == 2, "once before it was killed, once after"
    # A service that has committed does nothing again.
    pid = node.pid("offline_processing")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: node.pid("offline_processing") not in (0, pid), 60, "started anew")
    wait_for(lambda: node.states()["offline_processing"] == "running", 60, "runs again")
    assert node.log("offline_processing").count(f"fold {PULSAR}: done") == 2


def test_work_ends_with_the_service_and_on_abort(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    hanging = tmp_path / "prepfold"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    node = make_node(darc_master=ALONE, offline_processing={"prepfold": str(hanging)})
    node.start()
    made = observe(node, tmp_path / "observation")
    [child] = wait_for(lambda: children(node), 60, "at work")
    [prepfold] = wait_for(child.children, 60, "prepfold runs")
    assert child.nice() > psutil.Process(node.pid("offline_processing")).nice()
    os.kill(node.pid("offline_processing"), signal.SIGKILL)
    for process in (child, prepfold):
        wait_for(lambda process=process: not alive(process), 30, f"{process} ends")
    [child] = wait_for(lambda: children_or_none(node), 60, "at work again")
    [prepfold] = wait_for(child.children, 60, "prepfold runs again")
    node.ask("abort_observation", "--parset", str(made.parset))
    for process in (child, prepfold):
        wait_for(lambda process=process: not alive(process), 30, f"{process} ends")
    node.wait_until_over("fold1", 60)
    assert not list((node.home / "results").glob(f"*/*/CB00_{PULSAR}*"))


def children_or_none(node: Node) -> list[psutil.Process]:
    try:
        return children(node)
    except psutil.Error:
        return []


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_missing_data_are_an_error_and_the_service_goes_on(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    node = make_node(darc_master=ALONE, offline_processing={"prepfold": None})
    node.start()
    start = float(int(time.time() - 20))
    made = write_observation(
        tmp_path / "gone", task_id="gone", source=PULSAR, start=start, duration=10.0, n_tabs=1
    )
    node.ask("start_observation", "--parset", str(made.parset))
    node.wait_until_over("gone", 60)
    assert "CB00.fil" in node.log("offline_processing")
    answer = node.ask("--service", "offline_processing", "get_attr", "failed")
    assert ": 1}" in str(answer["offline_processing"]), answer
