"""What people type and what they see: the transcripts of the control reference, on a real node."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

import pytest
from nodes import Node, only, wait_for

from darc.control import send_command

RESTARTED = {"stop": "stopped", "start": "started"}


# -- what is shown -----------------------------------------------------------------------------


def test_status_of_all(running_node: Node) -> None:
    result = running_node.darc("--service", "all", "status")
    assert result.returncode == 0
    assert result.stdout == (
        "status: Success\n"
        "message: {'offline_processing': 'running', 'status_website': 'running',"
        " 'voevent_generator': 'running', 'lofar_trigger': 'running', 'processor': 'running',"
        " 'amber_listener': 'running', 'amber_clustering': 'running', 'dada_trigger': 'running'}\n"
    )


def test_an_attribute(running_node: Node) -> None:
    result = running_node.darc("--service", "lofar_trigger", "get_attr", "log_file")
    assert result.returncode == 0
    assert result.stdout == (
        "status: Success\n"
        "message: {'lofar_trigger': \"{'LOFARTrigger.log_file':"
        f' {running_node.home}/log/lofar_trigger.testnode.log}}"}}\n'
    )


def test_whether_triggers_are_sent(running_node: Node) -> None:
    result = running_node.darc("lofar_status")
    assert result.stdout == "status: Success\nmessage: LOFAR triggering is disabled\n"
    result = running_node.darc("voevent_status")
    assert result.stdout == "status: Success\nmessage: VOEvent sending is disabled\n"


def test_restart(running_node: Node) -> None:
    before = running_node.pid("amber_clustering")
    result = running_node.darc("--service", "amber_clustering", "restart")
    assert result.returncode == 0
    assert result.stdout == (
        "status: Success\nmessage: {'amber_clustering': {'stop': 'stopped', 'start': 'started'}}\n"
    )
    assert running_node.pid("amber_clustering") != before
    assert running_node.ask("--service", "amber_clustering", "status") == {
        "amber_clustering": "running"
    }


def test_start_and_stop_can_be_repeated(running_node: Node) -> None:
    name = "dada_trigger"
    for command, outcome, state in (
        ("stop", "stopped", "stopped"),
        ("stop", "stopped", "stopped"),
        ("start", "started", "running"),
        ("start", "already running", "running"),
    ):
        result = running_node.darc("--service", name, command)
        assert result.stdout == f"status: Success\nmessage: {{'{name}': '{outcome}'}}\n"
        assert running_node.ask("--service", name, "status") == {name: state}


def test_a_host_that_does_not_exist(running_node: Node) -> None:
    result = running_node.darc("--host", "nonexistent.invalid", "--service", "all", "status")
    assert result.returncode == 1
    assert result.stdout.startswith("Failed to connect to DARC master: [Errno -")
    assert result.stdout.count("\n") == 1


def test_a_node_that_does_not_run(fresh_node: Node) -> None:
    result = fresh_node.darc("--port", str(fresh_node.port), "lofar_status")
    assert result.returncode == 1
    assert result.stdout == ("Failed to connect to DARC master: [Errno 111] Connection refused\n")


def test_json(running_node: Node) -> None:
    result = running_node.darc("--json", "lofar_status")
    assert result.returncode == 0
    assert json.loads(result.stdout) == {
        "status": "Success",
        "message": "LOFAR triggering is disabled",
    }
    result = running_node.darc("--json", "--host", "nonexistent.invalid", "lofar_status")
    assert result.returncode == 1
    assert json.loads(result.stdout)["error"].startswith("Failed to connect to DARC master: ")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nonsense",),
        ("status",),
        ("restart",),
        ("get_attr",),
        ("lofar_status", "log_file"),
        ("start_observation",),
        ("stop_observation", "--parset", "a", "--config", "b"),
        ("--timeout", "soon", "lofar_status"),
    ],
)
def test_wrong_usage(running_node: Node, words: tuple[str, ...]) -> None:
    result = running_node.darc(*words)
    assert result.returncode == 2
    assert "usage: darc" in result.stderr
    assert result.stdout == ""


def test_an_error_reply_is_told_by_the_exit_status(running_node: Node) -> None:
    result = running_node.darc("--service", "xyz", "status")
    assert result.returncode == 1
    assert result.stdout.startswith("status: Error\nmessage: {'error': 'Invalid service: xyz")
    assert "testnode is standalone in mixed mode" in result.stdout
    assert "amber_listener" in result.stdout


# -- from Python -------------------------------------------------------------------------------


def test_send_command(here: Node, capsys: pytest.CaptureFixture[str]) -> None:
    output = send_command(timeout=5, service="processor", host="localhost", command="status")
    assert output == {"status": "Success", "message": {"processor": "running"}}
    assert capsys.readouterr().out == "status: Success\nmessage: {'processor': 'running'}\n"


def test_send_command_without_a_reply(here: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert send_command(5, "processor", "status", host="nonexistent.invalid") is None
    assert capsys.readouterr().out.startswith("Failed to connect to DARC master: [Errno -")


@pytest.mark.parametrize(
    ("service", "command", "message"),
    [
        (None, "", {"error": "No command specified"}),
        (None, "xyz", {"error": "Unknown command: xyz"}),
        (None, "start_observation", {"error": "Payload missing"}),
        (None, "stop_observation", {"error": "Payload missing"}),
        (None, "abort_observation", {"error": "Payload missing"}),
        (None, "get_attr xyz", {"error": "No such attribute: xyz"}),
        ("processor", "get_attr xyz", {"processor": "No such attribute: xyz"}),
    ],
)
def test_errors(here: Node, service: str | None, command: str, message: object) -> None:
    assert send_command(5, service, command) == {"status": "Error", "message": message}


def test_what_needs_a_service_that_does_not_run(running_node: Node) -> None:
    names = ("lofar_trigger", "voevent_generator")
    for name in names:
        running_node.ask("--service", name, "stop")
    for command in ("lofar_status", "lofar_enable", "lofar_disable"):
        result = running_node.darc(command)
        assert result.returncode == 1
        assert result.stdout == (
            "status: Error\nmessage: LOFAR triggering service is not running\n"
        )
    for command in ("voevent_status", "voevent_enable", "voevent_disable"):
        assert running_node.ask(command) == "VOEvent generator service is not running"
    result = running_node.darc("--service", "lofar_trigger", "get_attr", "log_file")
    assert result.returncode == 1
    assert result.stdout == (
        "status: Error\nmessage: {'lofar_trigger': 'Service not running: lofar_trigger'}\n"
    )
    answers = running_node.ask("--service", "all", "get_attr", "log_file")
    assert answers["voevent_generator"] == "Service not running: voevent_generator"
    assert answers["processor"].startswith("{'Processor")
    for name in names:
        running_node.ask("--service", name, "start")


# -- switches ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "what"), [("lofar", "LOFAR triggering"), ("voevent", "VOEvent sending")]
)
def test_switching(running_node: Node, prefix: str, what: str) -> None:
    for action, answer in (
        ("status", f"{what} is disabled"),
        ("enable", f"{what} enabled"),
        ("enable", f"{what} already enabled"),
        ("status", f"{what} is enabled"),
        ("disable", f"{what} disabled"),
        ("disable", f"{what} already disabled"),
        ("status", f"{what} is disabled"),
    ):
        assert running_node.ask(f"{prefix}_{action}") == answer


def test_a_switch_outlives_its_service_and_its_node(
    make_node: Callable[..., Node],
) -> None:
    """And the node ends with stop_master, which says so first."""
    node = make_node(darc_master=only("lofar_trigger", "voevent_generator"))
    node.start()
    assert node.ask("lofar_enable") == "LOFAR triggering enabled"
    before = node.pid("lofar_trigger")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: node.pid("lofar_trigger") not in {0, before}, what="another process")
    wait_for(
        lambda: node.ask("lofar_status") != "LOFAR triggering service is not running",
        what="an answer",
    )
    assert node.ask("lofar_status") == "LOFAR triggering is enabled"

    result = node.darc("stop_master")
    assert result.returncode == 0
    assert result.stdout == "status: Success\nmessage: Stopping master\n"
    wait_for(lambda: not node.processes(), 20, "the end of the node")

    node.start()
    assert node.ask("lofar_status") == "LOFAR triggering is enabled"
    assert node.ask("voevent_status") == "VOEvent sending is disabled"
    assert node.ask("lofar_disable") == "LOFAR triggering disabled"


def test_a_worker_leaves_the_masters_commands_to_the_master(
    make_node: Callable[..., Node],
) -> None:
    node = make_node(
        cluster={"master": "other", "workers": ["testnode"]}, control={"bind": "127.0.0.1"}
    )
    assert node.call("darc_start_master").returncode == 0
    for prefix in ("lofar", "voevent"):
        for action in ("status", "enable", "disable"):
            result = node.darc(f"{prefix}_{action}")
            assert result.returncode == 1
            assert result.stdout == ("status: Error\nmessage: Failed: should run on master node\n")
    result = node.darc("--service", "lofar_trigger", "status")
    assert "'Invalid service: lofar_trigger" in result.stdout
    assert "testnode is worker in mixed mode" in result.stdout
