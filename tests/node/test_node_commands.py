"""A command about the whole node is refused where one service is named: who meant that keeps it."""

from __future__ import annotations

import ast
import socket
from collections.abc import Iterator

import pytest
from nodes import Node, node, only

from darc.model.vocabulary import COMMANDS, OF_THE_NODE, not_of_a_service

SERVICES = ["lofar_trigger", "processor"]


@pytest.fixture(scope="module")
def running_node(test_run: str) -> Iterator[Node]:
    """A node of two services, which run."""
    few = only(*SERVICES)
    with node(test_run, darc_master=few, control={"allow_unsigned_from": ["127.0.0.1"]}) as made:
        made.start()
        yield made


@pytest.mark.parametrize("command", ["stop_master", "reload", "edit"])
def test_it_is_wrong_usage(running_node: Node, command: str) -> None:
    result = running_node.darc("--service", "processor", command)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"{command} concerns the whole node, not processor alone" in result.stderr
    assert running_node.states()["processor"] == "running"


@pytest.mark.parametrize("option", ["--parset", "--config"])
@pytest.mark.parametrize("words", [("stop_master",), ("--service", "all", "stop")])
def test_an_observation_given_with_what_is_not_about_it_is_wrong_usage(
    running_node: Node, option: str, words: tuple[str, ...]
) -> None:
    result = running_node.darc(option, "/a.parset", *words)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"{words[-1]} takes neither --parset nor --config" in result.stderr
    assert running_node.states()["processor"] == "running"


@pytest.mark.parametrize("command", ["stop_master", "reload", "abort_all"])
def test_the_master_refuses_it_from_any_client(running_node: Node, command: str) -> None:
    """Older clients of this one, too: they do not look at what they send."""
    for service in ("processor", "lofar_trigger"):
        with socket.create_connection(("127.0.0.1", running_node.port), 20) as client:
            client.sendall(repr({"service": service, "command": command}).encode())
            answer = ast.literal_eval(client.recv(1024).decode())
        assert answer["status"] == "Error"
        assert "concerns the whole node" in answer["message"]["error"]
    assert set(running_node.states().values()) == {"running"}


def test_what_is_given_with_its_own_service_or_all_is_done(running_node: Node) -> None:
    result = running_node.darc("--service", "lofar_trigger", "lofar_status")
    assert result.stdout == "status: Success\nmessage: LOFAR triggering is disabled\n"
    assert running_node.darc("--service", "processor", "lofar_status").returncode == 2
    assert running_node.darc("--service", "all", "reload").returncode == 0


def test_every_command_is_about_services_observations_or_the_node() -> None:
    of_services = {"status", "start", "stop", "restart", "get_attr"}
    of_observations = {command for command in COMMANDS if command.endswith("_observation")}
    assert {*of_services, *of_observations, *OF_THE_NODE} - {"abort_all"} == set(COMMANDS)
    for command in of_services | of_observations:
        assert not_of_a_service(command, "processor") == ""
