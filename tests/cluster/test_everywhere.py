"""``darc --host all``: a command to every node at once."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from clusters import MakeCluster, configure, processes, secret_file, start
from nodes import patience

from darc.cluster import all_nodes
from darc.cluster.all_nodes import NodeReply, ask_all
from darc.node.node_config import load_config
from simulator.box import BoxNode

EVERYONE = ("master", "worker01", "worker02")


def everyone(node: BoxNode, *words: str) -> subprocess.CompletedProcess[str]:
    return node.run("darc", "--host", "all", *words)


def replies(node: BoxNode, *words: str, status: int = 0) -> Any:
    result = everyone(node, "--json", *words)
    assert result.returncode == status, result.stdout + result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def rows(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_one_command_reaches_every_node(make_cluster: MakeCluster) -> None:
    box = make_cluster()
    master, worker01, worker02 = box.nodes
    refused = "no reply Failed to connect to DARC master: [Errno 111] Connection refused"
    result = everyone(worker01, "--service", "all", "status")
    assert result.returncode == 1
    assert rows(result.stdout) == [
        "node status message",
        *(f"{name} {refused}" for name in EVERYONE),
        "0 of 3 nodes: not master, worker01, worker02",
    ]
    start(master)

    for asking in (master, worker02):
        result = everyone(asking, "--service", "all", "status")
        assert (result.returncode, result.stderr) == (0, "")
        assert rows(result.stdout) == [
            "node status message",
            "master Success lofar_trigger: running",
            "worker01 Success dada_trigger: running",
            "worker02 Success dada_trigger: running",
            "3 of 3 nodes",
        ]
    role = {"status": "Success", "message": "DARCMaster.role = worker"}
    found = replies(master, "get_attr", "role")
    assert found == {
        "master": {"status": "Success", "message": "DARCMaster.role = master"},
        "worker01": role,
        "worker02": role,
    }
    assert list(found) == list(EVERYONE)

    # Signed, with one secret.
    before = [processes(node) for node in box.nodes]
    outcome = {"stop": "stopped", "start": "started"}
    found = replies(worker01, "--service", "all", "restart")
    assert [list(found[name]["message"].values()) for name in EVERYONE] == [[outcome]] * 3
    for was, node in zip(before, box.nodes, strict=True):
        now = processes(node)
        changed = [name for name in was if was[name] != now[name]]
        assert len(changed) == 1
        assert changed[0].startswith("darc.services.")
    # One that is a mistake on some nodes is named there.
    result = everyone(master, "--service", "lofar_trigger", "restart")
    assert result.returncode == 1
    assert rows(result.stdout)[1] == "master Success lofar_trigger: stopped/started"
    assert rows(result.stdout)[-1] == "1 of 3 nodes: not worker01, worker02"

    # One is silent, one dead: named, and the rest is as if they were there.
    worker01.drop_packets()
    worker02.kill()
    found = replies(master, "--timeout", "1", "--service", "all", "status", status=1)
    start_of = "Failed to connect to DARC master: "
    assert found["master"]["message"] == {"lofar_trigger": "running"}
    assert found["worker01"] == {"error": f"{start_of}no answer within 1 s"}
    assert found["worker02"] == {"error": f"{start_of}[Errno 113] No route to host"}
    result = everyone(master, "--timeout", "1", "--service", "all", "status")
    assert rows(result.stdout)[-1] == "1 of 3 nodes: not worker01, worker02"
    worker01.restore()

    # What is asked needs no secret, what is changed does; a node that is asked here is this one.
    secret_file(worker01).write_text("another secret of thirty-two characters\n")
    found = replies(master, "--service", "all", "restart", status=1)
    refusal = {"error": "restart refused: the signature does not hold"}
    assert found["worker01"] == {"status": "Error", "message": refusal}
    configure(master, "connect_timeout", "connect_tmeout")
    result = everyone(master, "--timeout", "1", "--service", "all", "status")
    assert rows(result.stdout)[1] == "master Success lofar_trigger: running"
    configure(master, "workers:", "worker:\n  x: ]\n  workers:")
    (master.home / "run" / "master" / "last_good_config.json").unlink()
    result = everyone(master, "--service", "all", "status")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{master.home}/config.yaml:")


@pytest.fixture
def cluster_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration of a cluster of three, of which this host is one."""
    text = "cluster: {master: head, workers: ['node[1-2]']}\ndarc_master: {port: 1}\n"
    (tmp_path / "config.yaml").write_text(text)
    monkeypatch.setenv("DARC_HOME", str(tmp_path))
    monkeypatch.setenv("DARC_HOSTNAME", "node1")
    monkeypatch.delenv("DARC_CONFIG", raising=False)


@pytest.mark.usefixtures("cluster_here")
def test_nodes_are_asked_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody has an answer before everybody is asked.
    together = threading.Barrier(3, timeout=patience(30))
    places = set()

    def ask(*arguments: Any) -> tuple[Mapping[str, Any], str]:
        together.wait()
        places.add(arguments)
        return {"status": "Success", "message": "fine"}, ""

    monkeypatch.setattr(all_nodes, "ask", ask)
    answers = ask_all(load_config(), None, patience(60.0), "all", "status", None)
    assert [(one.host, one.text) for one in answers] == [
        (host, "fine") for host in ("head", "node1", "node2")
    ]
    what = (patience(60.0), "all", "status", None)
    assert places == {(*what, "head", 1), (*what, "localhost", 1), (*what, "node2", 1)}


@pytest.mark.usefixtures("cluster_here")
def test_a_name_that_is_looked_up_for_ever_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    ever = threading.Event()

    def ask(*arguments: Any) -> tuple[Mapping[str, Any], str]:
        if arguments[4] == "node2":
            ever.wait()
        return {"status": "Success", "message": "fine"}, ""

    monkeypatch.setattr(all_nodes, "ask", ask)
    monkeypatch.setattr(all_nodes, "GRACE_SECONDS", 0.0)
    answers = ask_all(load_config(), None, 1.0, "all", "status", None)
    assert [one.text for one in answers] == ["fine", "fine", "no answer within 1 s"]
    assert [one.is_good for one in answers] == [True, True, False]
    ever.set()


@pytest.mark.usefixtures("cluster_here")
def test_an_interrupt_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(all_nodes, "ask_all", interrupted)
    assert all_nodes.run(1.0, "all", "status", None, None, False) == 130
    assert capsys.readouterr() == (
        "",
        "interrupted; nodes that have received the command still run it\n",
    )


@pytest.mark.usefixtures("cluster_here")
def test_a_file_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(*arguments: Any) -> tuple[Mapping[str, Any], str]:
        return {"status": "Warning", "message": arguments[3]}, ""

    monkeypatch.setattr(all_nodes, "ask", ask)
    monkeypatch.chdir(tmp_path)
    assert all_nodes.run(9.0, None, "start_observation", "obs.yaml", None, True) == 0
    found = json.loads(capsys.readouterr().out)
    assert {reply["message"] for reply in found.values()} == {f"{tmp_path}/obs.yaml"}


@pytest.mark.parametrize(
    ("status", "message", "text"),
    [
        ("Success", {"a": "running", "b": "running", "c": "stopped"}, "2 running; c: stopped"),
        ("Success", {"a": "running", "b": "running"}, "2 running"),
        ("Success", {"a": "running"}, "a: running"),
        ("Success", {"a": "{'A.x': 1}", "b": "{'A.x': 1}"}, "a: {'A.x': 1}; b: {'A.x': 1}"),
        ("Error", {"a": "stopped", "b": "failed"}, "a: stopped; b: failed"),
        ("Success", {"a": {"stop": "stopped", "start": "started"}}, "a: stopped/started"),
        ("Success", {}, ""),
        ("Error", {"error": "no such command"}, "error: no such command"),
        ("Success", "DARCMaster.role = worker", "DARCMaster.role = worker"),
    ],
)
def test_an_answer_in_few_words(status: str, message: Any, text: str) -> None:
    assert NodeReply("arts001", {"status": status, "message": message}).text == text
