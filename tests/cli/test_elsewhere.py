"""What ``darc`` shows of other nodes, in a cluster in a box."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest
from nodes import SCRIPTS, TEST_RUN, wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "box"))
sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

from boxes import require_box
from clusters import config_of, start

from simulator.box import Box


@pytest.fixture(scope="module")
def box(test_run: str) -> Iterator[Box]:
    """Three nodes, of which the second worker is not started, and then has no network."""
    require_box()
    config = config_of({"status_website": {"timeout": 3.0}})
    with Box(3, config=config, environment={TEST_RUN: test_run}) as made:
        start(made.master, "--nodes", "master", "worker01")
        made.workers[1].drop_packets()
        yield made


def test_one_that_is_silent_holds_nobody_up(box: Box) -> None:
    result = box.master.run("darc", "watch", "--once")
    assert result.returncode == 0, result.stderr
    text = result.stdout
    assert "2 of 3 nodes answer" in text
    places = [text.index(f"{name}  ") for name in ("? worker02", "✓ master", "✓ worker01")]
    assert places == sorted(places)
    # A worker looks at itself, unless it is told otherwise.
    assert "1 of 1 node answer" in box.workers[0].run("darc", "watch", "--once").stdout
    assert "2 of 3" in box.workers[0].run("darc", "watch", "--host", "all", "--once").stdout


def test_logs_observations_and_checks_of_all_nodes(box: Box) -> None:
    logs = box.master.run("darc", "logs", "lofar_trigger", "dada_trigger", "--host", "worker01")
    assert logs.returncode == 1
    assert "no service lofar_trigger on worker01; there are: " in logs.stderr

    logs = box.master.run("darc", "logs", "all", "--host", "all", "-n", "all")
    assert logs.returncode == 1
    assert logs.stderr.startswith("worker02: ")
    lines = [line.split(None, 3) for line in logs.stdout.splitlines() if line[:1] != " "]
    assert {line[0] for line in lines} == {"master", "worker01"}
    moments = [f"{line[1]} {line[2].replace(',', '.')}" for line in lines]
    assert moments == sorted(moments)
    logs = box.master.run("darc", "logs", "dada_trigger", "--host", "worker01", "-n", "1")
    assert (logs.returncode, len(logs.stdout.splitlines())) == (0, 1)

    seen = box.master.run("darc", "observations", "--host", "all", "--json")
    assert seen.returncode == 1
    plain = json.loads(seen.stdout)
    assert (plain["master"], plain["worker01"]) == ([], [])
    assert plain["worker02"]["error"]

    checked = box.master.run("darc", "doctor", "--host", "all")
    assert checked.returncode == 1
    assert "✓ OK      ssh           reached" in checked.stdout
    assert "worker not reached: " in checked.stdout
    assert "ssh -o BatchMode=yes worker02 true" in checked.stdout


def test_logs_of_two_nodes_are_followed_and_nothing_is_left_there(box: Box) -> None:
    master, worker = box.master, box.workers[0]
    services = {"master": "lofar_trigger", "worker01": "dada_trigger"}
    words = ("logs", *services.values(), "--host", "all", "-f", "-n", "0")
    program = master.popen(str(SCRIPTS / "darc"), *words, stdout=PIPE, stderr=PIPE)
    assert program.stdout
    assert program.stderr
    try:
        # The others have had their say, and the third is given up.
        assert program.stderr.readline().startswith("worker02: ")
        for node in (master, worker):
            node.run("darc", "--service", services[node.name], "restart", check=True)
            while not (line := program.stdout.readline()).startswith(f"{node.name} "):
                assert line
            assert f" {services[node.name]}: " in line
    finally:
        program.terminate()
        program.wait()
        program.stdout.close()
        program.stderr.close()
    following = ("darc.cli.logs", "--follow")
    wait_for(
        lambda: not any(set(following) <= command_line(one) for one in worker.processes()), 30.0
    )


def command_line(process: psutil.Process) -> set[str]:
    """Its command line; nothing of one that has just gone."""
    try:
        return set(process.cmdline())
    except psutil.NoSuchProcess:
        return set()
