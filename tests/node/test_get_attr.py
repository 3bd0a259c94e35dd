"""Attributes are asked by name, answered by class, and nothing else can be done with them."""

from __future__ import annotations

import ast

import pytest
from nodes import Node

CLASSES = {
    "offline_processing": "OfflineProcessing",
    "status_website": "StatusWebsite",
    "voevent_generator": "VOEventGenerator",
    "lofar_trigger": "LOFARTrigger",
    "amber_listener": "AMBERListener",
    "amber_clustering": "AMBERClustering",
    "dada_trigger": "DADATrigger",
}


def test_every_service_answers_with_its_class(running_node: Node) -> None:
    answers = running_node.ask("--service", "all", "get_attr", "log_file")
    log = f"{running_node.home}/log"
    for name, class_name in CLASSES.items():
        assert answers[name] == f"{{'{class_name}.log_file': {log}/{name}.testnode.log}}"
    processor = answers["processor"]
    assert processor.startswith(("{'ProcessorMasterManager.", "{'ProcessorManager."))


def test_the_masters_own(running_node: Node) -> None:
    log_file = f"{running_node.home}/log/darc_master.testnode.log"
    assert running_node.ask("get_attr", "log_file") == f"DARCMaster.log_file = {log_file}"
    depths = running_node.ask("get_attr", "queue_depths")
    assert ast.literal_eval(depths.removeprefix("DARCMaster.queue_depths = ")) == {}


def test_some_have_it_and_some_not(running_node: Node) -> None:
    result = running_node.darc("--service", "all", "get_attr", "send_events")
    assert result.returncode == 0
    assert result.stdout.startswith("status: Warning\n")
    answers = running_node.ask("--service", "all", "get_attr", "send_events")
    assert answers["lofar_trigger"] == "{'LOFARTrigger.send_events': False}"
    assert answers["amber_listener"] == "No such attribute: send_events"


@pytest.mark.parametrize("name", ["_secret", "__class__", "config", "settings", "run", "_link"])
def test_only_what_is_declared_can_be_asked(running_node: Node, name: str) -> None:
    assert running_node.ask("get_attr", name) == {"error": f"No such attribute: {name}"}
    answers = running_node.ask("--service", "lofar_trigger", "get_attr", name)
    assert answers == {"lofar_trigger": f"No such attribute: {name}"}


def test_a_question_changes_nothing(running_node: Node) -> None:
    """What the master sends a service to switch it cannot be asked for, as that needs no proof."""
    answers = running_node.ask("--service", "lofar_trigger", "get_attr", "send_events=True")
    assert answers == {"lofar_trigger": "No such attribute: send_events=True"}
    assert running_node.ask("lofar_status") == "LOFAR triggering is disabled"
