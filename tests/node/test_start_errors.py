"""What stands in the way of a start is told in one line, and nothing is left running."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from nodes import SCRIPTS, Node, only

from darc.node.node_start import make_directory
from darc.node.supervisor import MAX_SOCKET_PATH

SMALL = only("lofar_trigger")
DAMAGED = [b"", b"[]", b"{", b'{"host": 1}', b"\xff\xfe"]


@pytest.fixture
def small(make_node: Callable[..., Node]) -> Node:
    """A node of one service, not started."""
    return make_node(darc_master=SMALL)


def reason(node: Node, *command: str) -> str:
    """The one line that a command fails with."""
    script, *words = command or ("darc_start_master",)
    result = (node.run if script == "darc" else node.call)(script, *words)
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stderr
    # On a busy machine, what it waits for is said before.
    *waiting, said = result.stderr.splitlines(keepends=True)
    assert all(line.startswith("starting the master: ") for line in waiting), result.stderr
    assert node.processes() == []
    return said


@contextmanager
def held(path: Path) -> Iterator[None]:
    """A lock in other hands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_port_in_use_names_who_has_it(small: Node) -> None:
    # Its command line has several lines; the reason has one.
    program = (
        "import signal, socket, sys\n"
        "listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "print('up', flush=True)\nsignal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(small.port), "squatter"], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        try:
            text = reason(small)
        finally:
            other.kill()
    assert f"cannot listen on 127.0.0.1:{small.port}" in text
    assert f"process {other.pid} ({sys.executable} -c import" in text
    assert "squatter" in text
    assert "darc_master.port" in text
    assert small.call("darc_start_master").returncode == 0


def test_an_address_that_is_not_this_hosts_is_not_called_in_use(small: Node) -> None:
    small.configure(control={"bind": "192.0.2.1"})
    text = reason(small)
    assert "cannot listen on 192.0.2.1" in text
    assert "control.bind" in text
    assert "in use" not in text


@pytest.mark.parametrize("below", ["file/home", "/proc/darc"])
def test_a_home_that_cannot_be_written_is_named(small: Node, below: str) -> None:
    (small.home / "file").touch()
    home = str(small.home / below)
    small.environment["DARC_HOME"] = home
    text = reason(small)
    assert text.startswith(f"{home}/run/testnode: cannot be written: ")


def test_a_home_behind_a_link_to_nowhere_is_named(small: Node) -> None:
    (small.home / "link").symlink_to("unmounted")
    small.environment["DARC_HOME"] = str(small.home / "link" / "darc")
    why = f"{small.home}/link is a link to unmounted, which does not exist"
    assert reason(small).endswith(f"/run/testnode: cannot be written: {why}\n")
    assert "a link to unmounted" in " ".join(small.darc("doctor").stdout.split())


def test_a_tilde_that_no_shell_saw_is_the_users_home(small: Node) -> None:
    small.environment |= {"HOME": str(small.home), "DARC_HOME": "~/file/home"}
    (small.home / "file").touch()
    assert reason(small).startswith(f"{small.home}/file/home/run/testnode: cannot be written: ")
    small.environment["DARC_HOME"] = "~no-such-user/darc"
    assert "DARC_HOME '~no-such-user/darc': " in reason(small)


def test_a_limit_of_open_files_that_is_too_low_is_named(small: Node) -> None:
    start = f"ulimit -n 64; exec {SCRIPTS}/darc_start_master"
    result = subprocess.run(
        ["sh", "-c", start], env=small.environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.endswith(
        "supervisord did not start: 64 open files (ulimit -Hn) are too few for it;"
        " raise this user's limit to 4096\n"
    )


@pytest.mark.parametrize("key", ["log_dir", "parset_dir"])
def test_a_directory_that_cannot_be_written_is_named(small: Node, key: str) -> None:
    (small.home / "file").touch()
    small.configure(darc_master={key: str(small.home / "file" / "below")})
    assert reason(small) == f"{small.home}/file/below: cannot be written: Not a directory\n"


def test_a_shared_directory_is_not_taken_for_run_dir_and_not_closed(small: Node) -> None:
    shared = small.home / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    small.configure(darc_master={"run_dir": str(shared)})
    assert "darc_master.run_dir" in reason(small)
    assert shared.stat().st_mode & 0o7777 == 0o1777


def test_a_run_dir_too_long_for_sockets_is_named_with_the_limit(small: Node) -> None:
    socket_name = len("/supervisord.sock")
    fits = MAX_SOCKET_PATH - socket_name
    for length in (fits + 1, 150):
        run_dir = f"{small.home}/".ljust(length, "x")
        small.configure(darc_master={"run_dir": run_dir})
        text = reason(small)
        assert run_dir in text
        assert f"has {length + socket_name} characters, the system allows {MAX_SOCKET_PATH}" in text
        assert "darc_master.run_dir" in text
    small.run_dir = Path(f"{small.home}/".ljust(fits, "x"))
    small.configure(darc_master={"run_dir": str(small.run_dir)})
    result = small.call("darc_start_master")
    assert result.returncode == 0, result.stderr


def test_a_second_node_of_the_same_name_is_refused(small: Node) -> None:
    small.run_dir.mkdir(parents=True)
    node_json = small.run_dir / "node.json"
    node_json.write_text(
        json.dumps({"node_id": "0" * 32, "hostname": "testnode", "machine": "x", "started": 0})
    )
    with held(small.run_dir / "lock"):
        text = reason(small)
        assert str(small.run_dir) in text
        assert "a node named testnode on another machine" in text
        assert "refused" in text
        assert "DARC_HOSTNAME" in text
        # A damaged node.json does not let a second one in either.
        node_json.write_text("{")
        result = small.call("darc_start_master")
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)
        assert f"{node_json}: damaged" in result.stderr
        node_json.unlink()
    assert small.call("darc_start_master").returncode == 0


@pytest.mark.parametrize("script", ["darc_start_master", "darc_start_all_services"])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("darc_master:\n  port: x\n", "config.yaml:2: "),
        ("darc_master:\n  port: 1\n bad", "config.yaml:"),
        ("- a list\n", "config.yaml:1: "),
        ("instrument:\n  base: nowhere\n", "config.yaml:2: "),
        # It would be another place for each process.
        ("darc_master:\n  run_dir: rel/x\n", "config.yaml:2: darc_master.run_dir: 'rel/x'"),
        ("processor:\n  log_file: ~/x\n", "config.yaml:2: processor.log_file: '~/x'"),
    ],
)
def test_a_broken_configuration_is_named_with_its_line(
    small: Node, script: str, text: str, place: str
) -> None:
    (small.home / "config.yaml").write_text(text)
    assert f"{small.home}/{place}" in reason(small, script)
    assert not small.run_dir.exists()


@pytest.mark.parametrize(
    ("editor", "says"),
    [
        ("", "no terminal for vi: set EDITOR, or change "),
        ("/no/such --program", "editor '/no/such --program': [Errno 2] "),
        ("vi 'x", 'editor "vi \'x": No closing quotation'),
    ],
)
def test_an_editor_that_cannot_be_used_is_named(small: Node, editor: str, says: str) -> None:
    small.environment["EDITOR"] = editor
    assert reason(small, "darc", "edit").startswith(says)


def test_a_configuration_file_that_is_named_has_to_exist(small: Node) -> None:
    small.environment["DARC_CONFIG"] = "/nowhere/config.yaml"
    assert "/nowhere/config.yaml" in reason(small)


@pytest.mark.parametrize("name", ["config.yaml", "supervisor/lofar_trigger.conf"])
def test_a_file_that_is_there_and_none_is_not_passed_over(small: Node, name: str) -> None:
    """A link to a disk that is not mounted would start a node of defaults, elsewhere."""
    path = small.home / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to("nowhere")
    text = reason(small)
    assert str(path) in text
    assert name != "config.yaml" or " is a link to nowhere, which does not exist: mount" in text
    path.unlink()
    path.symlink_to(path.name)
    assert str(path) in reason(small)
    path.unlink()
    path.mkdir()
    assert f"a directory, not a regular file of its own: '{path}'" in reason(small)
    path.rmdir()
    os.mkfifo(path)
    assert f"a pipe, not a regular file of its own: '{path}'" in reason(small)
    assert not (small.run_dir / "supervisord.conf").exists()


def test_a_broken_section_is_named(small: Node) -> None:
    (small.home / "supervisor").mkdir()
    own = small.home / "supervisor" / "lofar_trigger.conf"
    own.write_text("[program:lofar_trigger]\ncommand=${pithon} -m x\n")
    text = reason(small)
    assert str(own) in text
    assert "${pithon}" in text
    own.write_text("[program:other]\ncommand=true\n")
    assert str(own) in reason(small)
    small.configure(darc_master={"services_master_mix": ["unheard_of"]})
    assert "service unheard_of has no section" in reason(small)


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_node_file_of_a_node_that_does_not_run_is_made_anew(
    small: Node, damage: bytes
) -> None:
    small.run_dir.mkdir(parents=True)
    (small.run_dir / "node.json").write_bytes(damage)
    (small.run_dir / "endpoint.json").write_bytes(damage)
    result = small.call("darc_start_master")
    assert result.returncode == 0, result.stderr
    assert len(small.processes()) == 3


def test_damaged_files_of_a_node_that_runs_are_told_and_repaired(small: Node) -> None:
    small.start()
    node_id, pids = small.node_id, {process.pid for process in small.processes()}
    endpoint = small.run_dir / "endpoint.json"
    whole = endpoint.read_text()
    for damage in (*DAMAGED, b'{"host": 1, "port": "x", "run_dir": 2, "node_id": 3}'):
        endpoint.write_bytes(damage)
        for words in (("--service", "all", "status"), ("reload",)):
            result = small.darc(*words)
            assert result.returncode == 1
            assert result.stderr == ""
            assert f"{endpoint}: not an endpoint file: " in result.stdout
            assert result.stdout.endswith("darc_start_master writes it again\n")
    for name in ("endpoint.json", "node.json"):
        (small.run_dir / name).write_text("{")
        result = small.call("darc_start_master")
        assert result.returncode == 0, result.stderr
        assert "written again" in result.stdout
        assert endpoint.read_text() == whole
        assert small.node_id == node_id
    assert {process.pid for process in small.processes()} == pids
    # And a master that is started again takes them.
    master = small.pid("darc_master")
    os.kill(master, 9)
    assert small.call("darc_start_all_services").returncode == 0
    assert small.pid("darc_master") not in (0, master)


def test_a_secret_that_others_can_read_is_refused(small: Node) -> None:
    small.run_dir.mkdir(parents=True)
    secret = small.run_dir / "secret"
    secret.write_text("0" * 64)
    secret.chmod(0o640)
    assert reason(small).endswith(f"repair with: chmod 600 {secret}\n")
    secret.chmod(0o600)
    assert small.call("darc_start_master").returncode == 0
    secret.chmod(0o644)
    result = small.darc("--service", "all", "stop")
    assert result.returncode == 1
    assert result.stdout.endswith(f"repair with: chmod 600 {secret}\n")
    secret.chmod(0o600)


def test_a_stranger_on_the_configured_port_is_not_taken_for_the_node(small: Node) -> None:
    # The endpoint of a node that was killed, and another program that answers there.
    assert small.call("darc_start_master").returncode == 0
    endpoint = (small.run_dir / "endpoint.json").read_text()
    assert small.call("darc_kill_all").returncode == 0
    (small.run_dir / "endpoint.json").write_text(endpoint)
    with socket.create_server(("127.0.0.1", small.port)):
        assert "the port is in use by process" in reason(small)


def test_hosts_that_share_a_home_may_start_at_the_same_time(tmp_path: Path) -> None:
    """With the same pids, too: as threads of one process have."""
    with ThreadPoolExecutor(8) as hosts:
        list(hosts.map(make_directory, [tmp_path / "log"] * 2000))
    assert not list((tmp_path / "log").iterdir())
