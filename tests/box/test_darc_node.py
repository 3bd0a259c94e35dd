"""Real DARC nodes in a box."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from nodes import wait_for

from simulator.box import Box, BoxNode

#: Light services, so that a start is quick.
SERVICES = {
    f"services_{role}_{mode}": [service]
    for role, service in (("master", "status_website"), ("worker", "dada_trigger"))
    for mode in ("rt", "off", "mix")
}
CONFIG = {"darc_master": SERVICES, "status_website": {"interval": 0.5, "timeout": 2.0}}


def start(node: BoxNode) -> None:
    result = node.run("darc_start_all_services")
    assert result.returncode == 0, result.stdout + result.stderr


def status(asking: BoxNode, of: BoxNode) -> Any:
    result = asking.run("darc", "--host", of.name, "--json", "--service", "all", "status")
    return json.loads(result.stdout)


@pytest.mark.parametrize("shared", [False, True])
def test_nodes_start_and_answer_each_other(make_box: Callable[..., Box], shared: bool) -> None:
    box = make_box(nodes=2, config=CONFIG, shared_home=shared)
    master, worker = box.nodes
    start(master)
    start(worker)
    running = {"status": "Success", "message": {"dada_trigger": "running"}}
    assert status(master, worker) == running
    assert status(worker, master)["message"] == {"status_website": "running"}
    assert (worker.home / "run" / "worker01" / "endpoint.json").exists()

    worker.kill()
    assert "No route to host" in status(master, worker)["error"]
    worker.revive()
    assert "Connection refused" in status(master, worker)["error"]
    start(worker)  # on what it left
    assert status(master, worker) == running

    assert worker.run("darc_stop_master").returncode == 0
    wait_for(lambda: [process.name() for process in worker.processes()] == ["sshd"])
    assert status(worker, master)["message"] == {"status_website": "running"}
