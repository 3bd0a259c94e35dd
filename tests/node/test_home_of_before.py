"""A home of an earlier version, in mid-observation: it goes on, and nothing is lost."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from nodes import Node, wait_for

from darc.trigger_files.amber import format_line, trigger_name

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
    parset = node.home / "data" / "CB00.parset"
    assert "Stopped" in node.ask("--parset", str(parset), "stop_observation")
    wait_for(lambda: "results are in" in node.log("processor"), timeout=60.0)
    # offline_processing would wait for the end that was planned
    assert "Aborted" in node.ask("--parset", str(parset), "abort_observation")
    (books,) = wait_for(lambda: list(node.home.glob("parsets/*/books.testnode.json")), timeout=90.0)
    kept = json.loads(books.read_text())
    assert kept["amber_clustering"]["counts"]["candidates"] == N_LINES + 1
    assert kept["processor"]["counts"]["candidates"] == N_LINES + 1
