"""A command ends a node, and removes its files, only where it is this machine's and home's."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace
from nodes import SCRIPTS, Node, only, patience

from darc.node import node_identity, node_owner
from darc.node.directory_identity import is_same_place, place_of
from darc.node.processes import of_node

SMALL = only("lofar_trigger")
MACHINE = ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "--net"]
#: The same with this machine's network, where it can reach itself.
CONTAINER = [word for word in MACHINE if word != "--net"]
FILES = ("node.json", "endpoint.json", "supervisord.sock", "queues.sock", "supervisord.pid")


@pytest.fixture
def small(make_node: Callable[..., Node]) -> Node:
    """A node of one service, not started."""
    return make_node(darc_master=SMALL)


@pytest.fixture
def machine() -> list[str]:
    """What gives a command process ids, a network and a host name of its own."""
    if subprocess.run([*MACHINE, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no namespaces can be made: this takes root")
    return MACHINE


def on(machine: list[str], node: Node, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a script of DARC there, with the same home and name."""
    return subprocess.run(
        [*machine, str(SCRIPTS / command[0]), *command[1:]],
        env=node.environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def state(node: Node) -> dict[str, object]:
    """Of a node: its processes, and the files that it is found by."""
    files = {name: (node.run_dir / name).lstat().st_ino for name in FILES}
    return {"pids": {process.pid for process in node.processes()}, **files}


def test_no_command_on_another_machine_touches_the_node(small: Node, machine: list[str]) -> None:
    small.start()
    before = state(small)
    for command in (
        ("darc_start_master",),
        ("darc_start_all_services",),
        ("darc_stop_master",),
        ("darc_kill_all",),
        ("darc_kill_all", "--forget"),
        ("darc_stop_all_services",),
    ):
        result = on(machine, small, *command)
        assert result.returncode == 1, (command, result.stdout)
        assert result.stdout == "", command
        assert result.stderr.count("\n") == 1, result.stderr
        assert "in use by a node named testnode in another container" in result.stderr
        assert f"id {small.node_id}" in result.stderr
        assert "stop it there" in result.stderr
    for command in (("darc", "--service", "all", "status"), ("darc", "doctor")):
        result = on(machine, small, *command)
        assert result.returncode == 1
        assert "Traceback" not in result.stdout + result.stderr
    assert state(small) == before
    assert small.states() == {"lofar_trigger": "running"}
    # With its master dead, too, supervisord holds on to it.
    small.supervisor.stop("darc_master")
    assert on(machine, small, "darc_kill_all").returncode == 1
    assert small.call("darc_start_master").returncode == 0
    assert small.call("darc_stop_master").returncode == 0


def test_a_node_whose_container_is_gone_is_in_nobodys_way(small: Node, machine: list[str]) -> None:
    # All of it ends with the first process of the container.
    assert on(CONTAINER, small, "darc_start_master").returncode == 0
    assert (small.run_dir / "supervisord.sock").exists()
    result = small.call("darc_kill_all")
    assert (result.returncode, result.stdout) == (0, "DARC is not running\n")
    left = {path.name for path in small.run_dir.iterdir()}
    assert not left & {"supervisord.sock", "supervisord.pid", "queues.sock", "endpoint.json"}
    assert on(CONTAINER, small, "darc_start_master").returncode == 0
    before = small.node_id
    result = small.call("darc_start_master")
    assert result.returncode == 0, result.stderr
    assert small.node_id != before


def test_a_copy_of_a_home_has_no_node_until_one_is_started(
    small: Node, make_node: Callable[..., Node]
) -> None:
    small.start()
    before = state(small)
    copy = make_node(darc_master=SMALL)
    config = (copy.home / "config.yaml").read_text()
    shutil.rmtree(copy.home)
    subprocess.run(["cp", "-r", str(small.home), str(copy.home)], check=True)
    (copy.home / "config.yaml").write_text(config)
    try:
        for command in ("darc_kill_all", "darc_stop_master", "darc_stop_all_services"):
            result = copy.run(command)
            assert result.returncode == 0, result.stderr
            assert result.stdout.startswith("DARC is not running"), command
        assert "copy of that of node" in copy.call("darc_kill_all").stdout
        for words in (("stop_master",), ("--service", "all", "stop"), ("get_attr", "uptime")):
            result = copy.darc(*words)
            assert result.returncode == 1
            assert "copied from another home" in result.stdout
        copy.darc("doctor")
        assert state(small) == before

        result = copy.call("darc_start_master")
        assert result.returncode == 0, result.stderr
        assert f"is a copy of that of node {small.node_id}" in result.stdout
        assert copy.node_id != small.node_id
        # What ran in the other home is not started in this one by itself.
        assert copy.states() == {"lofar_trigger": "stopped"}
        assert copy.call("darc_kill_all").returncode == 0
        assert state(small) == before
        assert small.states() == {"lofar_trigger": "running"}
    finally:
        if copy.node_id == small.node_id:  # what it would end belongs to the other
            shutil.rmtree(copy.run_dir)


def test_a_copy_of_a_home_of_an_earlier_version_is_told_by_its_processes(
    small: Node, make_node: Callable[..., Node]
) -> None:
    small.start()
    for name in ("node.json", "endpoint.json"):
        known = ("node_id", "hostname", "machine", "started", "host", "port", "run_dir")
        plain = json.loads((small.run_dir / name).read_text())
        unknown = {"place", "computer", "namespace"} | ({"host"} if name == "node.json" else set())
        kept = {key: plain[key] for key in known if key in plain and key not in unknown}
        (small.run_dir / name).write_text(json.dumps(kept))
    copy = make_node(darc_master=SMALL)
    copy.run_dir.mkdir(parents=True)
    shutil.copy(small.run_dir / "node.json", copy.run_dir)
    try:
        assert copy.call("darc_kill_all").stdout.startswith("DARC is not running")
        assert small.states() == {"lofar_trigger": "running"}
        assert copy.call("darc_start_master").returncode == 0
    finally:
        if copy.node_id == small.node_id:
            shutil.rmtree(copy.run_dir)
    # The node itself is known all the same.
    assert small.call("darc_stop_master").stdout == "DARC master and all services stopped\n"


def test_a_start_after_a_reboot_signals_nobody(small: Node) -> None:
    """Other boot id, stale files, and the pids in them are somebody else's now."""
    assert small.call("darc_start_all_services").returncode == 0
    wanted = json.loads((small.run_dir / "wanted.json").read_text())
    kept = {name: (small.run_dir / name).read_bytes() for name in ("node.json", "endpoint.json")}
    for process in small.processes():
        process.kill()
    psutil.wait_procs(small.processes(), 10)
    plain = json.loads(kept["node.json"])
    boot_id = "00000000-0000-0000-0000-000000000000"
    plain["place"] = plain["place"].replace(plain["machine"], boot_id)
    (small.run_dir / "node.json").write_text(json.dumps(plain | {"machine": boot_id}))
    (small.run_dir / "endpoint.json").write_bytes(kept["endpoint.json"])
    (small.run_dir / "wanted.json").write_text(json.dumps(wanted))
    # Somebody with the node's id in its environment, and with supervisord's pid.
    plain_environment = {name: text for name, text in os.environ.items() if "DARC" not in name}
    with subprocess.Popen(
        ["sleep", "600"], env={**plain_environment, "DARC_NODE_ID": plain["node_id"]}
    ) as other:
        (small.run_dir / "supervisord.pid").write_text(str(other.pid))
        try:
            for command in ("darc_stop_master", "darc_start_master"):
                result = small.run(command)
                assert result.returncode == 0, result.stderr
            assert small.node_id != plain["node_id"]
            assert other.poll() is None
            assert "lofar_trigger" in small.log("darc_master")
        finally:
            other.kill()


# -- where locks do not reach other machines -------------------------------------------------------


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A run_dir with a node of another machine in it, whose lock nobody here can see."""
    node = replace(
        node_identity.NodeIdentity.new("testnode"),
        machine="x",
        computer="y",
        host="arts001",
        namespace=1,
    )
    node_identity.write_identity(tmp_path, node)
    (tmp_path / "supervisord.pid").write_text("1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "changed", "expected"),
    [
        ("nfs4", {}, node_owner.NodeOwner.ELSEWHERE),
        ("fuse.sshfs", {}, node_owner.NodeOwner.ELSEWHERE),
        ("ext4", {}, node_owner.NodeOwner.ENDED),
        (
            "nfs4",
            {"computer": node_identity.this_computer()},
            node_owner.NodeOwner.ENDED,
        ),  # a reboot
        ("nfs4", {"computer": ""}, node_owner.NodeOwner.ENDED),
    ],
)
def test_a_node_of_another_machine_counts_as_alive_where_locks_may_not_tell(
    left: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    changed: dict[str, str],
    expected: node_owner.NodeOwner,
) -> None:
    monkeypatch.setattr(node_owner, "this_computer", lambda: "z")
    if changed.get("computer"):
        changed = {"computer": "z"}
    monkeypatch.setattr(node_owner, "file_system", lambda directory: kind)
    node = node_identity.read_identity(left)
    assert node
    node_identity.write_identity(left, replace(node, **changed))
    assert node_owner.find_owner(left)[0] is expected
    with (left / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert node_owner.find_owner(left)[0] is node_owner.NodeOwner.ELSEWHERE
    # One that was stopped is in nobody's way.
    (left / "supervisord.pid").unlink()
    assert node_owner.find_owner(left)[0] is node_owner.NodeOwner.ENDED


def test_a_machine_that_is_gone_for_good_is_forgotten_on_demand(small: Node) -> None:
    assert small.call("darc_start_master").returncode == 0
    assert small.call("darc_stop_master").returncode == 0
    node = node_identity.read_identity(small.run_dir)
    assert node
    other = replace(node, machine="x", computer="y", host="arts001", started=0.0)
    node_identity.write_identity(small.run_dir, other)
    with (small.run_dir / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as a server keeps it for a client that is dead
        result = small.call("darc_start_master")
        assert result.returncode == 1
        assert "a node named testnode on another machine (arts001, boot id x" in result.stderr
        assert "since 1970-01-01 00:00:00 UTC" in result.stderr
        assert result.stderr.endswith("darc_kill_all --forget\n")
        result = small.call("darc_kill_all", "--forget")
        assert (result.returncode, result.stdout.count("node of")) == (0, 0)
        assert f"node {node.node_id} of arts001" in result.stdout
        result = small.call("darc_start_master")
        assert result.returncode == 0, result.stderr
    assert small.call("darc_kill_all", "--forget").stdout.startswith("nothing to forget")
    assert len(of_node(small.node_id)) == 3


def test_two_run_dirs_on_one_home_are_seen(small: Node, machine: list[str], tmp_path: Path) -> None:
    """run_dir on a local disk of each of two machines, which have the same name and home."""
    own = Path("/tmp") / f"{small.home.name}-run"
    small.run_dir = own / "a"
    small.configure(darc_master={"run_dir": str(small.run_dir)})
    try:
        assert small.call("darc_start_master").returncode == 0
        before = state_of_home(small)
        small.configure(darc_master={"run_dir": str(own / "b")})
        for command in ("darc_start_master", "darc_kill_all", "darc_stop_master"):
            result = on(machine, small, command)
            assert result.returncode == 1, (command, result.stdout)
            assert "in use by a node named testnode" in result.stderr
        assert state_of_home(small) == before
        assert small.darc("get_attr", "uptime").returncode == 0
        assert small.call("darc_stop_master").returncode == 0
    finally:
        small.call("darc_kill_all")
        shutil.rmtree(own)


def state_of_home(node: Node) -> tuple[str, int]:
    endpoint = node.home / "run" / node.hostname / "endpoint.json"
    return endpoint.read_text(), len(node.processes())


def test_a_directory_is_known_again(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    place = place_of(here)
    assert is_same_place(place, here)
    moved = here.rename(tmp_path / "moved")
    assert is_same_place(place, moved)
    copy = tmp_path / "copy"
    shutil.copytree(moved, copy)
    assert not is_same_place(place, copy)
    machine, rest = place.split("/", 1)
    assert machine
    device, inode, path = rest.split("/", 2)
    # From another machine, devices have other numbers.
    assert is_same_place(f"other/{int(device) + 1}/{inode}/{path}", moved)
    assert not is_same_place(f"{machine}/{int(device) + 1}/{inode}/{path}", moved)
    # As a file system has that is mounted again.
    assert is_same_place(f"{machine}/{int(device) + 1}/{inode}{moved}", moved)


def test_who_looks_at_a_lock_keeps_nobody_from_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not node_identity.is_locked(path)
    assert not path.exists()
    held = node_identity.try_lock(path)
    assert held is not None
    began = time.monotonic()
    assert node_identity.is_locked(path)
    assert time.monotonic() - began < patience(1.0)
    os.close(held)
    assert not node_identity.is_locked(path)
