"""A new service is one module, one section and one block of configuration: docs/services.md."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from nodes import Node, only, wait_for
from triggers import made_trigger

from darc.queues.client import attach

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "services.md").read_text()


def block(language: str) -> str:
    """What the page tells to write."""
    found = re.search(rf"^ *```{language}\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
    assert found, language
    lines = found[1].splitlines()
    return "\n".join(line[3:] for line in lines) + "\n"


def attribute(node: Node, name: str) -> str:
    answer: str = node.ask("--service", "trigger_counter", "get_attr", name)["trigger_counter"]
    return answer


@pytest.fixture
def with_example(make_node: Callable[..., Node]) -> Node:
    """A node that was started without the service, whose module is on its Python's path."""
    node = make_node(darc_master=only("lofar_trigger"))
    node.environment["PYTHONPATH"] = str(DOCS)
    node.start()
    return node


def test_the_example_becomes_a_service_by_what_the_page_tells(
    with_example: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = with_example
    (node.home / "supervisor").mkdir()
    (node.home / "supervisor" / "trigger_counter.conf").write_text(block("ini"))
    told = yaml.safe_load(block("yaml"))
    services = told["darc_master"]["services_master_mix"]
    assert services[-1] == "trigger_counter"
    # As on the page, but for services that have nothing to do with it.
    node.configure(
        darc_master={"services_master_mix": ["lofar_trigger", services[-1]]},
        trigger_counter=told["trigger_counter"],
    )
    lofar = node.pid("lofar_trigger")

    # The transcript of the page, word by word.
    transcript = block("console")
    for typed, reply in re.findall(r"^\$ (.*)\n((?:[^$].*\n)+)", transcript, re.MULTILINE):
        result = node.darc(*typed.split()[1:])
        assert (result.returncode, result.stdout) == (0, reply)
    assert transcript.count("$ ") == 3

    assert node.states() == {"lofar_trigger": "running", "trigger_counter": "running"}
    assert node.pid("lofar_trigger") == lofar
    for name in ("DARC_HOME", "DARC_HOSTNAME"):
        monkeypatch.setenv(name, node.environment[name])
    queues = attach()
    queues.put(
        [made_trigger(snr=12.0).to_plain(), made_trigger(snr=20.0).to_plain()],
        queue="trigger_counter",
    )
    wait_for(lambda: ": 2}" in attribute(node, "triggers_received"))
    wait_for(lambda: ".bright_triggers': 1}" in attribute(node, "bright_triggers"))
    log = f"{node.home}/log/trigger_counter.testnode.log"
    assert attribute(node, "log_file") == f"{{'TriggerCounter.log_file': {log}}}"
    wait_for(lambda: "1 of 2 triggers are bright" in node.log("trigger_counter"))
    assert "No such attribute" in attribute(node, "settings")

    # As any other: what comes while it is dead is there when it comes back.
    pid = node.pid("trigger_counter")
    os.kill(pid, signal.SIGKILL)
    queues.put([made_trigger(snr=30.0).to_plain()], queue="trigger_counter")
    queues.close()
    wait_for(lambda: node.pid("trigger_counter") not in (0, pid))
    wait_for(lambda: ".bright_triggers': 1}" in attribute(node, "bright_triggers"))

    # Its block is checked as any other.
    node.configure(trigger_counter={"snr_min": -1})
    node.darc("--service", "trigger_counter", "restart")
    # supervisord tries it three times more, which on a busy machine takes longer than the command.
    wait_for(lambda: node.states()["trigger_counter"] == "failed", 60.0)
    assert "config.yaml:" in node.log("trigger_counter")
    assert "trigger_counter.snr_min" in node.log("trigger_counter")
    node.configure(trigger_counter={"snr_min": 1})
    assert node.darc("--service", "trigger_counter", "restart").returncode == 0
