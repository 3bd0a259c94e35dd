"""A home of an earlier version, in mid-observation: it goes on, and nothing is lost."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from homes.make_home import line
from nodes import Node, only, wait_for

from simulator.amber_files import format_line, trigger_name

HOMES = Path(__file__).resolve().parents[1] / "homes"
#: In which the earlier version ran.
HOME_OF_BEFORE = "home.txt"
N_LINES = 300


def unpack(node: Node, name: str) -> None:
    """Have a node find an earlier one's run_dir and data, as if it had always been there."""
    node.run_dir.mkdir(parents=True, mode=0o700)
    with tarfile.open(HOMES / name) as packed:
        packed.extractall(node.run_dir, filter="data")
    before = (node.run_dir / HOME_OF_BEFORE).read_text()
    (node.run_dir / "data").rename(node.home / "data")
    for path in (*node.run_dir.glob("observations/*.json"), *node.home.glob("data/*.parset")):
        path.write_text(path.read_text().replace(before, str(node.home)))


def end(node: Node) -> dict[str, Any]:
    """End the observation, and return what each service counted of it."""
    parset = node.home / "data" / "CB00.parset"
    assert "Stopped" in node.ask("--parset", str(parset), "stop_observation")
    wait_for(lambda: "results are in" in node.log("processor"), timeout=60.0)
    # offline_processing would wait for the end that was planned
    assert "Aborted" in node.ask("--parset", str(parset), "abort_observation")
    (books,) = wait_for(lambda: list(node.home.glob("parsets/*/books.testnode.json")), timeout=90.0)
    kept: dict[str, Any] = json.loads(books.read_text())
    return kept


def test_an_observation_of_before_runs_had_keys_goes_on(fresh_node: Node) -> None:
    node = fresh_node
    node.configure(amber_clustering={"interval": 0.2, "thresh_iquv": {"interval": 0}})
    unpack(node, "before_runs_had_keys.tar.gz")
    node.start()
    trigger_file = node.home / "data" / "amber" / trigger_name(0, 1)
    with trigger_file.open("ab") as file:
        file.write(
            format_line(
                beam=0,
                batch=N_LINES,
                sample=3,
                integration_step=10,
                time=N_LINES * 1.024 + 0.5,
                dm_id=7,
                dm=700.0,
                snr=15.0,
            )
        )
    wait_for(
        lambda: node.counts("amber_clustering", "before1").get("candidates") == N_LINES + 1,
        what="all candidates clustered, those of before once",
    )
    assert node.counts("amber_listener", "before1")["lines"] == N_LINES + 2
    assert "is enabled" in node.ask("lofar_status")
    kept = end(node)
    assert kept["amber_clustering"]["counts"]["candidates"] == N_LINES + 1
    assert kept["processor"]["counts"]["candidates"] == N_LINES + 1


def test_a_node_of_the_version_before_goes_on_where_it_was_killed(fresh_node: Node) -> None:
    """200 candidates were read, 100 of them clustered; the rest waited in the queues."""
    node = fresh_node
    node.configure(amber_clustering={"interval": 0.2, "thresh_iquv": {"interval": 0}})
    unpack(node, "before_darc_monitor.tar.gz")
    secret = (node.run_dir / "secret").read_text()
    assert "started" in node.run("darc_start_master", check=True).stdout
    # What an operator had stopped stays so until it is started.
    assert node.states()["amber_clustering"] == "stopped"
    wait_for(lambda: node.states()["amber_listener"] == "running")
    node.start()
    with (node.home / "data" / "amber" / trigger_name(0, 1)).open("ab") as file:
        file.write(line(200))
    wait_for(
        lambda: node.counts("amber_clustering", "before2").get("candidates") == 201,
        timeout=60.0,
        what="all candidates clustered, those of before once",
    )
    assert node.counts("amber_listener", "before2")["lines"] == 202
    assert "is enabled" in node.ask("lofar_status")
    assert (node.run_dir / "secret").read_text() == secret
    kept = end(node)
    assert kept["amber_clustering"]["counts"]["candidates"] == 201
    assert kept["processor"]["counts"]["candidates"] == 201


@pytest.mark.parametrize("newer", ["note", "journal"])
def test_the_state_of_a_newer_version_is_refused_and_left_as_it_is(
    fresh_node: Node, newer: str
) -> None:
    node = fresh_node
    unpack(node, "before_darc_monitor.tar.gz")
    if newer == "note":
        (node.run_dir / "state.json").write_text('{"format": 1000, "version": "DARC 99.0"}')
    else:
        with closing(sqlite3.connect(node.run_dir / "journal.sqlite")) as database:
            database.execute("PRAGMA user_version=1000")
    before = {path: path.read_bytes() for path in node.run_dir.rglob("*") if path.is_file()}
    result = node.call("darc_start_master")
    assert result.returncode == 1
    assert "newer version" in result.stderr
    assert "state format 1000" in result.stderr
    assert "darc_master.run_dir" in result.stderr
    assert not node.processes()
    after = {path: path.read_bytes() for path in node.run_dir.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before


def test_a_node_runs_where_its_version_cannot_be_noted(make_node: Callable[..., Node]) -> None:
    node = make_node(darc_master=only("lofar_trigger"))
    (node.run_dir / "state.json").mkdir(parents=True)
    node.start()
    assert "the version that writes the state cannot be noted" in node.log("darc_master")
