"""What people really do to a node, and what surrounds it: it works, or says why it cannot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nodes import (
    SCRIPTS,
    Node,
    free_port,
    node,
    only,
    patience,
    send_signal,
    supervisorctl,
    wait_for,
)

from simulator.amber_files import trigger_name
from simulator.write_parsets import write_observation

SERVICES = ["lofar_trigger", "voevent_generator"]
LENT = {"darc_master": only(*SERVICES)}
SMALL = only("lofar_trigger")
LISTENS = only("amber_listener")
HEADER = (
    "# beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM"
    " compacted_DMs SNR\n"
)


def line(number: int) -> str:
    return f"0 {number} 0 1 1 {number * 1.024:g} 1 100.0 1 12.5\n"


@pytest.fixture
def small(make_node: Callable[..., Node]) -> Node:
    """A node of one service, not started."""
    return make_node(darc_master=SMALL)


def overview(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(node.ask("get_attr", "overview").partition(" = ")[2])
    return found


def lives(node: Node) -> dict[str, tuple[int, int]]:
    """Restarts and deaths of each service, and of the master."""
    told = overview(node)
    return {
        one["name"]: (one["restarts"], one["deaths"]) for one in [told["itself"], *told["services"]]
    }


def has_seen_all(node: Node) -> bool:
    """Whether darc_monitor has seen the processes that there are."""
    path = node.run_dir / "restarts.json"
    if not path.exists():
        return False
    kept = json.loads(path.read_text())["services"]
    there = {name: one.pid for name, one in node.supervisor.processes().items() if name in kept}
    return set(lives(node)) <= set(there) and all(
        kept[name]["pid"] == there[name] for name in there
    )


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


# -- supervisord in an operator's hands ------------------------------------------------------------


def test_a_section_that_was_taken_out_is_named_and_the_rest_starts(lent_node: Node) -> None:
    small = lent_node
    supervisorctl(small, "stop", "all")
    supervisorctl(small, "remove", "lofar_trigger")
    supervisorctl(small, "start", "darc_master")
    wait_for(small.answers)
    result = small.darc("--json", "--service", "all", "start")
    reply = json.loads(result.stdout)
    assert result.returncode == 1
    assert reply["status"] == "Error"
    assert "darc reload" in reply["message"]["lofar_trigger"]
    assert reply["message"]["voevent_generator"] == "started"
    again = small.ask("--service", "all", "restart")
    assert again["voevent_generator"] == {"stop": "stopped", "start": "started"}
    assert again["lofar_trigger"]["start"].startswith("failed: supervisord has no program")
    assert "added: lofar_trigger" in small.ask("reload")
    assert small.ask("--service", "all", "start")["lofar_trigger"] == "started"


def test_a_master_that_was_taken_out_is_started_all_the_same(lent_node: Node) -> None:
    small = lent_node
    supervisorctl(small, "stop", "darc_master")
    supervisorctl(small, "remove", "darc_master")
    result = small.call("darc_start_all_services")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_a_service_of_several_processes_is_refused_by_its_section(lent_node: Node) -> None:
    own = lent_node.home / "supervisor"
    own.mkdir()
    section = Path(__file__).resolve().parents[2] / "supervisor" / "lofar_trigger.conf"
    many = "numprocs=2\nprocess_name=%(program_name)s_%(process_num)d\n"
    (own / "lofar_trigger.conf").write_text(section.read_text() + "\n" + many)
    said = lent_node.ask("reload")["error"]
    assert "supervisor/lofar_trigger.conf: numprocs=2: a service is one process" in said
    assert set(lent_node.states().values()) == {"running"}
    shutil.rmtree(own)
    assert "error" not in lent_node.ask("reload")


def test_a_restart_by_hand_is_no_death(small: Node) -> None:
    small.start()
    wait_for(lambda: has_seen_all(small))
    assert set(lives(small).values()) == {(0, 0)}
    supervisorctl(small, "restart", "all")
    wait_for(small.all_run, 30.0)
    wait_for(lambda: {one[0] for one in lives(small).values()} == {1}, 20.0)
    assert {one[1] for one in lives(small).values()} == {0}
    # What nobody asked for is one.
    os.kill(small.pid("lofar_trigger"), signal.SIGKILL)
    wait_for(lambda: lives(small)["lofar_trigger"] == (2, 1), 20.0)


def test_what_is_stopped_by_a_terminal_is_named_with_what_to_do(lent_node: Node) -> None:
    small = lent_node
    pid = small.pid("lofar_trigger")
    send_signal(pid, signal.SIGTSTP)
    wait_for(lambda: small.states()["lofar_trigger"] == "unresponsive", 20.0)
    result = small.call("darc_start_all_services")
    assert result.returncode == 1
    said = f"process {pid} exists but does not answer; if that persists: "
    assert f"{said}darc --service lofar_trigger restart" in result.stderr
    words = "--timeout", str(patience(20.0)), "--service", "lofar_trigger", "restart"
    assert small.darc(*words).returncode == 0
    assert small.states()["lofar_trigger"] == "running"


# -- ports and addresses ---------------------------------------------------------------------------


def test_a_port_that_another_has_is_a_failure_with_its_reason(small: Node) -> None:
    port = free_port()
    small.configure(darc_master=only(*SERVICES), lofar_trigger={"server_port": port})
    with taken(port):
        result = small.call("darc_start_all_services")
        assert result.returncode == 1
        assert "not started: lofar_trigger" in result.stderr
        assert f"127.0.0.1:{port}, which process {os.getpid()}" in result.stderr
        wait_for(lambda: small.states()["lofar_trigger"] == "failed", 30.0)
    assert small.states()["voevent_generator"] == "running"


def test_a_start_that_fails_late_fails_as_well(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    """Importing alone takes longer than supervisord's `startsecs`, as on a busy machine."""
    slow = "import sys, time\nif 'darc.services.lofar_trigger' in sys.orig_argv: time.sleep(1.5)\n"
    (tmp_path / "sitecustomize.py").write_text(slow)
    port = free_port()
    node = make_node(darc_master=SMALL, lofar_trigger={"server_port": port})
    node.environment["PYTHONPATH"] = str(tmp_path)
    with taken(port):
        result = node.call("darc_start_all_services")
        assert result.returncode == 1
        assert f"127.0.0.1:{port}, which process {os.getpid()}" in result.stderr
        wait_for(lambda: node.states()["lofar_trigger"] == "failed", 30.0)
        log = node.log("lofar_trigger")
        assert (log.count("cannot start: "), log.count("giving up ")) == (4, 1)
        # Who waits for it does not start it again.
        assert node.log("darc_master").count("start all from ") == 1
    assert node.call("darc_start_all_services").returncode == 0
    assert node.states()["lofar_trigger"] == "running"


def test_all_that_listens_does_so_with_ipv6(small: Node) -> None:
    small.configure(darc_master=only(*SERVICES), control={"bind": "::1"})
    small.start()
    assert set(small.states().values()) == {"running"}
    for service in SERVICES:
        assert "triggers are taken in at ::1:" in small.log(service)
    for service in SERVICES:
        port = small.config[service]["server_port"]
        socket.create_connection(("::1", port), timeout=patience(5.0)).close()


# -- what is missing or damaged --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["rubbish", "pages"])
def test_a_damaged_journal_is_set_aside(lent_node: Node, how: str) -> None:
    small = lent_node
    assert small.call("darc_stop_master").returncode == 0
    path = small.run_dir / "journal.sqlite"
    earlier = set(small.run_dir.glob("journal.sqlite.damaged-*"))
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    data = bytearray(path.read_bytes())
    assert len(data) > 8192
    data[0 if how == "rubbish" else 4096 :] = b"rubbish!" * (len(data) // 8)
    path.write_bytes(data)
    result = small.call("darc_start_all_services")
    assert result.returncode == 0, result.stderr
    (aside,) = set(small.run_dir.glob("journal.sqlite.damaged-*Z")) - earlier
    assert f"renamed to {aside}" in result.stdout
    assert b"rubbish!" in aside.read_bytes()
    assert "Traceback" not in small.log("darc_master")
    assert set(small.states().values()) == {"running"}
    assert "journal_damaged" in (losses := str(small.ask("get_attr", "losses")))
    assert str(aside) in losses
    # It is said once.
    assert small.call("darc_stop_master").returncode == 0
    assert "set aside" not in small.call("darc_start_all_services").stdout


@pytest.mark.parametrize("what", ["a directory", "a link to nowhere"])
def test_a_journal_that_is_no_file_is_named(small: Node, what: str) -> None:
    path = small.run_dir / "journal.sqlite"
    path.parent.mkdir(parents=True, mode=0o700)
    if what == "a directory":
        path.mkdir()
    else:
        path.symlink_to("/nowhere/journal.sqlite")
    result = small.call("darc_start_master")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"cannot start: [Errno {22 if what == 'a directory' else 2}] " in result.stderr
    assert f": '{path}'" in result.stderr
    assert small.processes() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_too_small_is_said_at_the_start(small: Node) -> None:
    disk = small.home / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        small.configure(darc_master={"run_dir": str(disk / "run")})
        result = small.call("darc_start_all_services")
        assert f"warning: {disk / 'run'}: " in result.stdout
        assert "refuse new entries" in result.stdout
        assert small.call("darc_stop_master").returncode == 0
    finally:
        wait_for(lambda: not subprocess.run(["umount", str(disk)], check=False).returncode)


NO_INOTIFY = """
import os, sys
open("/proc/sys/user/max_inotify_instances", "w").write("0")
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_without_inotify_files_are_looked_at(
    make_node: Callable[..., Node], tmp_path: Path
) -> None:
    """As in a user namespace of its own, or where others have taken all instances."""
    node = make_node(darc_master=LISTENS)
    unshare = ["unshare", "-U", "-r", sys.executable, "-c", NO_INOTIFY]
    start = [*unshare, str(SCRIPTS / "darc_start_all_services")]
    result = subprocess.run(
        start, env=node.environment, capture_output=True, text=True, check=False, cwd="/"
    )
    if "unshare failed" in result.stderr or "Permission" in result.stderr:
        pytest.skip(f"no namespace: {result.stderr}")
    assert result.returncode == 0, result.stderr
    observation = write_observation(
        tmp_path, task_id="polled", source="FAKE", start=time.time(), duration=600.0, instances=1
    )
    assert node.darc("--parset", str(observation.parset), "start_observation").returncode == 0
    path = observation.amber_dir / trigger_name(0, 1)
    path.write_text(HEADER + "".join(map(line, range(100))))
    wait_for(lambda: node.counts("amber_listener", "polled").get("candidates") == 100, 20.0)
    assert node.log("amber_listener").count("inotify is unavailable") == 1


# -- trigger files ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def listening(test_run: str) -> Iterator[Node]:
    with node(test_run, darc_master=LISTENS) as made:
        made.start()
        yield made


def test_what_an_earlier_observation_left_is_not_of_this_one(
    listening: Node, tmp_path: Path
) -> None:
    node = listening
    observation = write_observation(
        tmp_path, task_id="later", source="FAKE", start=time.time(), duration=600.0, instances=1
    )
    path = observation.amber_dir / trigger_name(0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = HEADER + "".join(map(line, range(50)))
    path.write_text(earlier)
    os.utime(path, (time.time() - 3600,) * 2)
    assert node.darc("--parset", str(observation.parset), "start_observation").returncode == 0
    left = "bytes of an earlier observation"
    wait_for(lambda: node.counts("amber_listener", "later").get(left) == len(earlier))
    assert f"its {len(earlier)} bytes are an earlier one's" in node.log("amber_listener")
    # AMBER begins: the same name, another file.
    path.write_text(HEADER + "".join(map(line, range(7))))
    wait_for(lambda: node.counts("amber_listener", "later").get("candidates") == 7)
    assert node.counts("amber_listener", "later").get("files written anew", 0) == 0


def test_a_fifo_is_named(listening: Node, tmp_path: Path) -> None:
    observation = write_observation(
        tmp_path, task_id="pipe", source="FAKE", start=time.time(), duration=600.0, instances=1
    )
    path = observation.amber_dir / trigger_name(0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    assert listening.darc("--parset", str(observation.parset), "start_observation").returncode == 0
    wait_for(lambda: f"{path} cannot be read" in listening.log("amber_listener"))
    assert "not a regular file" in listening.log("amber_listener")


def test_a_byte_order_mark_says_nothing(listening: Node, tmp_path: Path) -> None:
    observation = write_observation(
        tmp_path, task_id="marked", source="FAKE", start=time.time(), duration=600.0, instances=1
    )
    parset = observation.parset
    lines = sorted(parset.read_text().splitlines(), key=lambda text: not text.startswith("beam"))
    parset.write_text("\ufeff" + "\n".join(lines) + "\n")
    assert listening.darc("--parset", str(parset), "start_observation").returncode == 0
    path = observation.amber_dir / trigger_name(0, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\ufeff" + HEADER + "".join(map(line, range(9))))
    wait_for(lambda: listening.counts("amber_listener", "marked").get("candidates") == 9)


# -- the environment -------------------------------------------------------------------------------


def test_a_notebooks_environment_stays_where_it_is(small: Node) -> None:
    small.environment |= {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONIOENCODING": "ascii",
        "PYTHONTRACEMALLOC": "1",
    }
    small.start()
    for process in small.processes():
        environment = process.environ()
        assert environment["MPLBACKEND"] == "Agg"
        assert not {"PYTHONIOENCODING", "PYTHONTRACEMALLOC"} & set(environment)


def test_a_host_in_no_role_is_told_so(small: Node) -> None:
    small.configure(cluster={"master": "arts041", "workers": ["arts[001-003]"]})
    result = small.call("darc_start_master")
    assert (
        "warning: testnode is neither master nor worker of the configured cluster" in result.stdout
    )


def test_the_letters_of_a_host_name_do_not_matter(make_node: Callable[..., Node]) -> None:
    node = make_node("ARTS041", darc_master=SMALL, cluster={"master": "arts041.apertif"})
    node.configure(control={"bind": "127.0.0.1"})
    result = node.call("darc_start_master")
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stdout
    assert overview(node)["role"] == "master"


def test_what_a_terminal_cannot_show_is_spelt_out(
    lent_node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parset = tmp_path / "ηCar.parset"
    parset.write_text("taskid = η\n")
    monkeypatch.setitem(lent_node.environment, "PYTHONIOENCODING", "ascii")
    result = lent_node.darc("--parset", str(parset), "start_observation")
    assert "Traceback" not in result.stderr
    assert "\\u03b7Car.parset" in result.stdout
    assert result.returncode == 1


@pytest.mark.parametrize(
    "words", ["get_attr overview", "--service all status", "doctor", "--help", "logs all"]
)
def test_nobody_who_listens_any_more_is_no_reason_to_complain(lent_node: Node, words: str) -> None:
    # The reader is gone before a word is written.
    command = f"{SCRIPTS / 'darc'} {words} | true; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", command],
        env=lent_node.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr
