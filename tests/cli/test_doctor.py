"""``darc doctor`` on set-ups that are broken, each for real."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nodes import PYTHON, SCRIPTS, Node, free_port, patience, wait_for

from darc.cli.check_results import Check, CheckedNode, examine
from darc.cli.doctor import CHECKS
from darc.model.overview import to_text
from darc.node.command_client import exchange_messages
from darc.runtime.check_result import Verdict
from simulator.mailbox import Mailbox

sys.path.insert(0, str(Path(__file__).parents[1] / "monitor"))

from made_up import overview

NOWHERE = "no-such-host.invalid"
#: A namespace of its own, in which a limit or a disk can be made small.
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")


@pytest.fixture
def fresh_node(make_node: Callable[..., Node]) -> Node:
    """A node that is not started, with no port that somebody else may have."""
    return make_node(status_website={"port": free_port()})


def findings(
    of: Node, *before: str, environment: Mapping[str, str] | None = None, status: int | None = None
) -> dict[str, list[dict[str, str]]]:
    """By check; before: words in front of the command."""
    if before or environment:
        result = subprocess.run(
            [*before, str(SCRIPTS / "darc"), "doctor", "--json"],
            env={**of.environment, **(environment or {})},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=patience(90),
            check=False,
        )
    else:
        result = of.call("darc", "doctor", "--json")
    assert result.stderr == ""
    found: dict[str, list[dict[str, str]]] = {}
    ((_, some),) = json.loads(result.stdout).items()
    for one in some:
        found.setdefault(one["check"], []).append(one)
    wrong = any(one["verdict"] == "wrong" for one in some)
    assert result.returncode == (1 if wrong else 0)
    assert status in (None, result.returncode), some
    return found


def said(found: Mapping[str, list[dict[str, str]]], check: str, verdict: str) -> str:
    """All that a check says with this verdict, with what to do."""
    return "\n".join(
        f"{one['text']} -> {one['remedy']}" for one in found[check] if one["verdict"] == verdict
    )


def test_a_node_that_does_not_run_is_examined_and_left_alone(fresh_node: Node) -> None:
    before = sorted(fresh_node.home.rglob("*"))
    found = findings(fresh_node, status=0)
    assert sorted(fresh_node.home.rglob("*")) == before
    assert "the node does not run -> darc_start_all_services" in said(found, "processes", "warning")
    for check in (
        "Python",
        "packages",
        "configuration",
        "disks",
        "inotify",
        "permissions",
        "secret",
        "ports",
        "journal",
        "e-mail",
        "LOFAR",
        "Kafka",
        "people",
        "TNS",
        "alarms",
    ):
        assert {one["verdict"] for one in found[check]} == {"OK"}, found[check]
    # The service that reads notices is not among those of a fresh node.
    assert set(found) | {"node", "cluster", "notices"} == {check.name for check in CHECKS}


def test_a_node_that_runs(fresh_node: Node) -> None:
    fresh_node.start()
    found = findings(fresh_node, status=0)
    assert "4 held by this node" in said(found, "ports", "OK")
    assert "supervisord and 10 others" in said(found, "processes", "OK")
    assert "8 services run" in said(found, "node", "OK")
    result = fresh_node.run("darc", "doctor")
    assert result.returncode == 0
    assert "✓ OK      processes     supervisord and 10 others" in result.stdout
    assert "0 wrong, " in result.stdout.splitlines()[-1]


def test_what_is_wrong_with_a_node_that_runs(make_node: Callable[..., Node]) -> None:
    node = make_node(
        darc_master={
            "services_master_mix": ["lofar_trigger"],
            "services_worker_mix": ["processor"],
            "control_timeout": 30,
        }
    )
    node.start()
    node.ask("--service", "processor", "stop")
    secret = node.run_dir / "secret"
    secret.chmod(0o644)
    found = findings(node, status=1)
    assert f"others can read it -> chmod 600 {secret}" in said(found, "secret", "wrong")
    # What a node tells of itself follows what happens to it.
    start = "darc --service processor start"
    wait_for(lambda: start in said(findings(node, status=1), "node", "wrong"), 30.0)

    # supervisord dies, and something that it has started does not end.
    environment = {**node.environment, "DARC_NODE_ID": node.node_id}
    left = subprocess.Popen(["sleep", "600"], env=environment)
    try:
        os.kill(int((node.run_dir / "supervisord.pid").read_text()), signal.SIGKILL)
        wait_for(lambda: {one.pid for one in node.processes()} == {left.pid}, 30.0)
        text = said(findings(node, status=1), "processes", "wrong")
        assert f"left by a supervisord that is dead: {left.pid} -> darc_kill_all" in text
        # Another node has been started since.
        identity = node.run_dir / "node.json"
        identity.write_text(identity.read_text().replace(node.node_id, "0" * 32))
        text = said(findings(node, status=1), "processes", "wrong")
        assert f"left by a former node of this home: {left.pid} -> kill {left.pid}" in text
    finally:
        left.kill()
        left.wait()


def test_a_full_journal(make_node: Callable[..., Node]) -> None:
    node = make_node(
        darc_master={
            "services_master_mix": ["lofar_trigger"],
            "services_worker_mix": [],
            "journal_max_bytes": 200_000,
        }
    )
    node.start()
    fill = (
        "from darc.queues.client import attach\n"
        "queues = attach()\n"
        "try:\n"
        "    while True: queues.put({'x': 'y' * 20000})\n"
        "except Exception as error: print(error)\n"
    )
    subprocess.run([PYTHON, "-c", fill], env=node.environment, timeout=patience(60), check=True)
    wait_for(lambda: node.ask("get_attr", "journal_full").endswith("True"))
    found = findings(node, status=1)
    assert "full, nothing new is taken in" in said(found, "journal", "wrong")
    assert "the journal is full" in said(found, "node", "wrong")
    node.call("darc_stop_master").check_returncode()
    assert "journal_max_bytes" in said(findings(node), "journal", "warning")


def test_python_and_packages(fresh_node: Node, tmp_path: Path) -> None:
    for name, text in (
        ("astropy-1.0", "Name: astropy\nVersion: 1.0\n"),
        (
            "darc-0.1.0",
            "Name: darc\nVersion: 0.1.0\nRequires-Python: >=9.1\n"
            "Requires-Dist: astropy>=6.0\nRequires-Dist: no-such-thing>=1\n"
            'Requires-Dist: also-not>=1; extra == "demo"\n',
        ),
    ):
        directory = tmp_path / f"{name}.dist-info"
        directory.mkdir()
        (directory / "METADATA").write_text(f"Metadata-Version: 2.1\n{text}")
    found = findings(fresh_node, environment={"PYTHONPATH": str(tmp_path)}, status=1)
    assert ">=9.1 is needed" in said(found, "Python", "wrong")
    packages = said(found, "packages", "wrong")
    assert "astropy is 1.0, and 6.0 is needed -> pip install 'astropy>=6.0'" in packages
    assert "no-such-thing is missing" in packages
    assert "also-not" not in packages


def test_a_file_of_secrets(make_node: Callable[..., Node], tmp_path: Path) -> None:
    tns = tmp_path / "tns"
    node = make_node(
        status_website={"port": free_port()},
        voevent_generator={"tns": {"credentials": str(tns)}},
    )
    tns.write_text("key = s3cr3t\n")
    tns.chmod(0o600)
    text = said(findings(node, status=1), "TNS", "wrong")
    assert f"{tns}: no line `api_key = …` -> add it, or set voevent_generator.tns.cred" in text
    assert "s3cr3t" not in text
    tns.write_text("api_key = s3cr3t\n")
    assert f"{tns} is readable by its owner alone" in said(findings(node), "TNS", "OK")


def test_a_configuration_that_is_wrong(fresh_node: Node) -> None:
    path = fresh_node.home / "config.yaml"
    path.write_text("cluster:\n  master: 7\nprocessor: {interval: soon}\n")
    found = findings(fresh_node, status=1)
    text = said(found, "configuration", "wrong")
    assert f"{path}:2: " in text
    assert f"{path}:3: " in text
    assert "inotify" in found  # what needs none is looked at
    assert "ports" not in found
    path.write_text("procesor: {}\ncluster: {master: a, workers: [b]}\n")
    found = findings(fresh_node)
    assert f"{path}:1: " in said(found, "configuration", "warning")
    assert "testnode is not in the cluster of a" in said(found, "place", "warning")
    path.write_text("darc_master: [")
    assert "config.yaml:1" in said(findings(fresh_node, status=1), "configuration", "wrong")


def test_ports_that_others_hold(fresh_node: Node) -> None:
    with socket.create_server(("127.0.0.1", fresh_node.port)):
        found = findings(fresh_node, status=1)
    text = said(found, "ports", "wrong")
    assert f"{fresh_node.port}, for commands, is held by process {os.getpid()} (" in text
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        fresh_node.configure(metrics={"port": port})
        text = said(findings(fresh_node, status=1), "ports", "wrong")
        assert f"{port}, for metrics, is held by process {os.getpid()} (" in text
    fresh_node.configure(lofar_trigger={"server_port": fresh_node.port})
    assert "is both darc_master.port and lofar_trigger.server_port" in said(
        findings(fresh_node, status=1), "ports", "wrong"
    )


def test_ports_that_a_connection_may_take(fresh_node: Node) -> None:
    require_namespaces()
    own_network = (*UNSHARE, "--net", "bash", "-c")
    settings = "cd /proc/sys/net/ipv4; echo 50000 51100 > ip_local_port_range;"
    reserve = 'echo {} > ip_local_reserved_ports; exec "$@"'
    fresh_node.configure(darc_master={"port": 51000}, metrics={"port": 51090})

    def advice(reserved: str) -> str:
        script = settings + reserve.format(reserved)
        return said(findings(fresh_node, *own_network, script, "bash"), "ports", "warning")

    command = "sysctl -w net.ipv4.ip_local_reserved_ports="
    assert "connection may take 51000, 51090 while" in advice("")
    assert advice("").endswith(f"-> {command}51000,51090")
    assert advice("8080,51050-51099").endswith(f"-> {command}8080,51050-51099,51000")
    assert advice("51000-51099") == ""


def test_directories_that_cannot_be_used(fresh_node: Node) -> None:
    file = fresh_node.home / "file"
    file.touch()
    fresh_node.configure(status_website={"web_dir": str(file / "web")})
    fresh_node.run_dir.mkdir(parents=True)
    (fresh_node.run_dir / "secret").write_text("short")
    (fresh_node.run_dir / "secret").chmod(0o600)
    found = findings(fresh_node, status=1)
    assert f"web_dir {file / 'web'}: {file} is not a directory" in said(
        found, "permissions", "wrong"
    )
    assert "not a secret of at least 32 characters" in said(found, "secret", "wrong")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_run_dir_of_somebody_else(fresh_node: Node) -> None:
    fresh_node.run_dir.mkdir(parents=True)
    os.chown(fresh_node.run_dir, 12345, -1)
    text = said(findings(fresh_node, status=1), "permissions", "wrong")
    assert "belongs to another user" in text


def require_namespaces() -> None:
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces of one's own here")


def test_a_disk_with_little_room(fresh_node: Node) -> None:
    require_namespaces()
    run_dir = fresh_node.home / "small"
    run_dir.mkdir()
    fresh_node.configure(darc_master={"run_dir": str(run_dir)})
    mount = f"mount -t tmpfs -o size=1M tmpfs {run_dir}; exec "
    found = findings(fresh_node, *UNSHARE, "bash", "-c", f'{mount}"$@"', "bash", status=1)
    assert f"1.0M of 1.0M free for run_dir -> df -h {run_dir}" in said(found, "disks", "wrong")


def test_no_more_files_can_be_watched(fresh_node: Node) -> None:
    require_namespaces()
    limit = 'echo 0 > /proc/sys/user/max_inotify_instances; exec "$@"'
    found = findings(fresh_node, *UNSHARE, "bash", "-c", limit, "bash", status=1)
    assert "sysctl fs.inotify.max_user_instances=" in said(found, "inotify", "wrong")


def test_systems_outside_that_are_away(fresh_node: Node) -> None:
    to = {"email_settings": {"to": ["a@example.org"]}}
    fresh_node.configure(
        mail={"host": "127.0.0.1", "port": free_port()},
        lofar_trigger={"lofar_host": NOWHERE, "send_events": True, **to},
        voevent_generator={"send_events": True},
    )
    found = findings(fresh_node, status=1)
    assert "Connection refused" in said(found, "e-mail", "wrong")
    assert f"getent hosts {NOWHERE}" in said(found, "LOFAR", "wrong")
    assert "Connection refused" in said(found, "broker", "wrong")
    assert "no process listens on " in said(found, "dada_dbevent", "warning")
    # What is not to be sent is no fault.
    fresh_node.configure(voevent_generator={"send_events": False})
    refused = said(findings(fresh_node), "broker", "warning")
    assert "Connection refused (nothing is sent there, as configured)" in refused


def test_what_sending_needs_and_is_not_installed(
    fresh_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "comet", None)
    fresh_node.configure(voevent_generator={"send_events": True})
    assert "pip install 'darc[vtp]'" in said(findings(fresh_node, status=1), "broker", "wrong")


def test_systems_outside_that_are_there_hear_nothing(fresh_node: Node) -> None:
    heard: list[bytes] = []
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    broker, *dbevent = (server.getsockname()[1] for server in servers)

    def take() -> None:
        connection, _ = servers[0].accept()
        with connection:
            heard.append(connection.recv(100))

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    try:
        with Mailbox() as mailbox:
            fresh_node.configure(
                mail={"host": "127.0.0.1", "port": mailbox.port},
                lofar_trigger={"email_settings": {"to": "a@example.org"}},
                voevent_generator={
                    "broker_host": "127.0.0.1",
                    "broker_port": broker,
                    "send_events": True,
                },
                dada_trigger={"port_i": dbevent[0], "port_iquv": dbevent[1]},
            )
            found = findings(fresh_node, status=0)
            for check in ("broker", "e-mail", "dada_dbevent"):
                assert [one["verdict"] for one in found[check]] == ["OK"], found[check]
            taker.join(patience(20.0))
            assert heard == [b""]
            assert not mailbox.received
    finally:
        for server in servers:
            server.close()


@contextmanager
def standing_in(host: str, port: int, ahead: float) -> Iterator[None]:
    """A master node at another address whose clock is ahead (s)."""
    server = socket.create_server((host, port))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                text = to_text(overview(host, (), time.time() + ahead))
                reply = {"status": "Success", "message": f"DARCMaster.overview = {text}"}
                connection.sendall(json.dumps(reply).encode() + b"\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_other_nodes_and_their_clocks(fresh_node: Node) -> None:
    master = "127.0.0.9"
    fresh_node.configure(cluster={"master": master, "workers": ["testnode"]})
    found = findings(fresh_node, status=1)
    assert f"{master}: Connection refused -> start_full_pipeline" in said(found, "cluster", "wrong")
    assert "testnode is a worker of 2 nodes" in said(found, "place", "OK")
    with standing_in(master, fresh_node.port, 100.0):
        text = said(findings(fresh_node, status=1), "cluster", "wrong")
    assert f"s ahead of the one here -> ssh {master} timedatectl" in text
    with standing_in(master, fresh_node.port, 0.0):
        assert "1 of 1 others answer" in said(findings(fresh_node), "cluster", "OK")
    with socket.create_server((master, fresh_node.port)):  # takes connections, and is silent
        text = said(findings(fresh_node, status=1), "cluster", "wrong")
    assert "no answer within 3 s" in text
    with pytest.raises(ConnectionRefusedError):
        exchange_messages(master, fresh_node.port, {"command": "x"}, patience(5.0), None)


def test_a_check_that_hangs_or_fails_is_named_and_the_others_are_told() -> None:
    over = threading.Event()

    def hangs(patient: CheckedNode) -> Iterator[Any]:
        over.wait(patience(60.0))
        yield from ()

    def fails(patient: CheckedNode) -> Iterator[Any]:
        raise KeyError("x")
        yield

    checks = [Check("a", hangs, False), Check("b", fails, False), Check("c", hangs)]
    found = examine(CheckedNode(None, OSError("x")), checks, 0.2)
    over.set()
    assert [(one.check, one.verdict) for one in found] == [
        ("a", Verdict.WRONG),
        ("b", Verdict.WRONG),
    ]
    assert "not finished within 0.2 s" in found[0].text
    assert "KeyError" in found[1].text
