"""A box's nodes: names, addresses, homes, processes and ssh; and that all of it goes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from boxes import (
    STUBBORN_PROCESSES,
    connect,
    datagram,
    machine,
    receive,
    require_box,
    send,
    stubborn,
    watched,
)
from nodes import SCRIPTS, wait_for

from simulator.box import Box, BoxError, BoxNode

MakeBox = Callable[..., Box]
_OWN_PROCESSES = "import os; print(sum(name.isdecimal() for name in os.listdir('/proc')))"


def out(node: BoxNode, *command: str) -> str:
    return node.run(*command, check=True).stdout.strip()


def test_every_node_is_a_machine_of_its_own(make_box: MakeBox) -> None:
    box = make_box(nodes=3)
    assert [node.name for node in box.nodes] == ["master", "worker01", "worker02"]
    assert (box.master, *box.workers) == box.nodes
    assert box.node("worker02") is box.workers[1]
    boot_ids = set()
    for node in box.nodes:
        assert out(node, "hostname") == node.name
        assert node.address in out(node, "ip", "-oneline", "address")
        # The keeper, sshd, and the one that counts.
        assert out(node, sys.executable, "-c", _OWN_PROCESSES) == "3"
        boot_ids.add(out(node, "cat", "/proc/sys/kernel/random/boot_id"))
        for other in box.nodes:
            assert out(node, "getent", "hosts", other.name).split() == [other.address, other.name]
            assert connect(node, other) == "connected"
    boot_ids.add(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    assert len(boot_ids) == 4


def test_nothing_beyond_the_box_can_be_reached(make_box: MakeBox) -> None:
    node = make_box(nodes=1).master
    assert connect(node, "192.0.2.1") == "EHOSTUNREACH"
    # A kernel answers only some of them by itself.
    for _ in range(8):
        assert datagram(node, "192.0.2.1") == "EHOSTUNREACH"


def test_names_may_be_a_range(make_box: MakeBox) -> None:
    box = make_box(master="arts041", workers=["arts[001-002]"])
    assert out(box.master, "ssh", "arts002", "hostname") == "arts002"
    assert box.master.name == "arts041"


def test_ssh_works_between_all_nodes_and_verifies_them(make_box: MakeBox) -> None:
    box = make_box(nodes=3)
    config = str(box.ssh_config)
    for node, other in zip(box.nodes, (*box.workers, box.master), strict=True):
        assert out(node, "ssh", "-F", config, other.name, "hostname") == other.name
    # Without naming the configuration, and by address; sessions know the node's home.
    home = out(box.master, "ssh", box.workers[0].address, "printenv", "DARC_HOME")
    assert home == str(box.workers[0].home)
    # What the machine's root has in its home, as ~/.bashrc and ~/.ssh, is not read.
    session = out(box.master, "ssh", "worker01", "echo ~ $HOME $0").split()
    assert session == [str(box.directory / "root")] * 2 + ["sh"]
    # Somebody else's key is refused.
    known = box.directory / "ssh" / "ssh_known_hosts"
    lines = known.read_text().splitlines()
    key_of_other = lines[2].partition(" ")[2]
    known.write_text(f"worker01,{box.workers[0].address} {key_of_other}\n")
    refused = box.master.run("ssh", "worker01", "hostname")
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


@pytest.mark.parametrize("shared", [False, True])
def test_homes_are_shared_or_not(make_box: MakeBox, shared: bool) -> None:
    box = make_box(nodes=3, shared_home=shared)
    out(box.master, "sh", "-c", 'echo hello > "$DARC_HOME/note"')
    for worker in box.workers:
        assert worker.run("sh", "-c", 'cat "$DARC_HOME/note"').stdout == "hello\n" * shared
        assert (worker.home == box.master.home) is shared
        assert (worker.home / "config.yaml").exists()


def test_commands_have_the_nodes_environment(
    make_box: MakeBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARC_HOSTNAME", "another")
    monkeypatch.setenv("DARC_HOME", "/another")
    node = make_box(nodes=1).master
    words = out(node, "env").splitlines()
    assert f"DARC_HOME={node.home}" in words
    assert not [word for word in words if word.startswith("DARC_HOSTNAME")]
    assert out(node, "which", "darc") == str(SCRIPTS / "darc")


def test_run_is_as_subprocess_has_it(make_box: MakeBox) -> None:
    node = make_box(nodes=1).master
    result = node.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")
    with pytest.raises(subprocess.CalledProcessError):
        node.run("false", check=True)
    with pytest.raises(FileNotFoundError):
        node.run("no-such-command")
    with pytest.raises(subprocess.TimeoutExpired):
        node.run("sleep", "1000", timeout=0.1)
    wait_for(lambda: [process.name() for process in node.processes()] == ["sshd"])


def test_commands_can_be_run_from_many_threads(make_box: MakeBox) -> None:
    box = make_box(nodes=3)
    found: list[tuple[str, str]] = []

    def ask(node: BoxNode) -> None:
        found.extend((node.name, out(node, "hostname")) for _ in range(5))

    threads = [threading.Thread(target=ask, args=(node,)) for node in box.nodes * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 45
    assert all(name == answer for name, answer in found)


def test_processes_are_those_of_the_node_alone(make_box: MakeBox) -> None:
    box = make_box(nodes=2)
    process = stubborn(box.master)
    mine = box.master.processes()
    assert len(mine) == STUBBORN_PROCESSES + 1
    assert process.pid in {process.pid for process in mine}
    assert [process.name() for process in box.workers[0].processes()] == ["sshd"]
    process.kill()
    process.wait()
    assert len(box.master.processes()) == STUBBORN_PROCESSES


def test_orphans_are_not_left_as_zombies(make_box: MakeBox) -> None:
    node = make_box(nodes=1).master
    out(node, "sh", "-c", "setsid sleep 0.1 & exit")

    def all_gone() -> bool:
        return out(node, sys.executable, "-c", _OWN_PROCESSES) == "3"

    wait_for(all_gone)


def test_boxes_side_by_side_have_nothing_in_common(make_box: MakeBox) -> None:
    one, two = make_box(nodes=2), make_box(nodes=2)
    assert one.name != two.name
    assert one.workers[0].address == two.workers[0].address
    for box in (one, two):
        home = out(box.master, "ssh", "worker01", "printenv", "DARC_HOME")
        assert home == str(box.workers[0].home)
    one.workers[0].cut_off()
    assert connect(one.master, one.workers[0]) == "EHOSTUNREACH"
    assert connect(two.master, two.workers[0]) == "connected"
    one.close()
    assert connect(two.master, two.workers[0]) == "connected"


def test_nothing_is_left(make_box: MakeBox) -> None:
    before = machine()
    box = make_box(nodes=3)
    assert machine() == before  # nothing shows up outside, either
    record = Path(f"/run/darc-{box.name}.json")
    assert record.exists()
    for node in box.nodes:
        stubborn(node)
        # One that is stopped, and one that nobody has waited for.
        node.popen("sh", "-c", "kill -STOP $$")
        node.popen("true")
    receive(box.workers[0], 5000)
    send(box.master, box.workers[0], 5000, 10_000_000_000)
    directory = box.directory
    keepers = [psutil.Process(node.keeper) for node in box.nodes]
    with watched(node.keeper for node in box.nodes if node.keeper) as inside:
        assert len(inside()) > len(box.nodes) * STUBBORN_PROCESSES
        box.close()
        assert inside() == []
    assert not any(keeper.is_running() for keeper in keepers)  # as a zombie would be
    assert not directory.exists()
    assert not record.exists()
    assert machine() == before
    box.close()  # once more does no harm


def test_a_directory_that_was_given_stays(make_box: MakeBox, short_directory: Path) -> None:
    box = make_box(nodes=2, directory=short_directory)
    out(box.master, "sh", "-c", 'echo kept > "$DARC_HOME/note"')
    box.close()
    assert (short_directory / "homes" / "master" / "note").read_text() == "kept\n"
    assert not (short_directory / "ssh").exists()
    with pytest.raises(BoxError, match="is not empty"):
        make_box(nodes=2, directory=short_directory)
    assert (short_directory / "homes" / "master" / "note").exists()


def test_what_cannot_be_a_directory_is_refused(make_box: MakeBox, short_directory: Path) -> None:
    with pytest.raises(BoxError, match="too long"):
        make_box(nodes=1, directory=short_directory / ("x" * 40))
    with pytest.raises(BoxError, match="has a /run of its own"):
        make_box(nodes=1, directory=Path("/run/darc-box-test"))
    assert not Path("/run/darc-box-test").exists()


def test_a_box_that_fails_half_way_leaves_nothing(
    make_box: MakeBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine()
    monkeypatch.setattr("simulator.box.ssh_keys._SSHD_CONFIG", "NoSuchOption yes\n")
    with pytest.raises(BoxError, match=r"master: sshd does not listen(.|\n)*NoSuchOption"):
        make_box(nodes=2)
    assert machine() == before
    assert list(Path("/run").glob(f"darc-box-{os.getpid()}-*")) == []


def test_a_box_is_made_of_nodes_or_of_workers() -> None:
    for options in ({}, {"nodes": 2, "workers": ["worker01"]}):
        with pytest.raises(ValueError, match="a number of nodes, or of workers"):
            Box(**options)


def test_a_box_is_started_once(make_box: MakeBox) -> None:
    box = make_box(nodes=1)
    with pytest.raises(BoxError, match="there already"):
        box.start()
    assert out(box.master, "hostname") == "master"


def test_the_reason_why_there_can_be_none_is_said() -> None:
    code = "import os; from simulator.box import unavailable; {}; print(unavailable())"
    not_root = "os.geteuid() or os.seteuid(65534)"
    run = [sys.executable, "-c"]
    result = subprocess.run(
        [*run, code.format(not_root)], capture_output=True, text=True, check=True
    )
    assert result.stdout == "a box can only be made by root\n"
    require_box()
    for capability, words in (("sys_admin", "cannot be made"), ("net_admin", "cannot be set up")):
        drop = ["setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}"]
        result = subprocess.run(
            [*drop, *run, code.format("pass")], capture_output=True, text=True, check=True
        )
        assert words in result.stdout
        assert "Operation not permitted" in result.stdout
    result = subprocess.run(
        [
            *run,
            code.format("from simulator.box import check; check.PROGRAMS['no-such'] = 'package'"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "not installed: no-such (Debian: package)\n"
