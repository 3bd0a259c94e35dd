"""A whole cluster is started, repaired and stopped from one of its nodes."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from clusters import (
    LIGHT,
    MakeCluster,
    Said,
    ask,
    configure,
    log,
    logged_at,
    on_all,
    processes,
    restart,
    restarted,
    run_dir,
    secret_file,
    secrets_of,
    start,
    stop,
    touched,
)
from nodes import Node, patience, wait_for

from simulator.box import BoxNode

RUNS = ("done", "1 service: 1 already running")
STARTED = ("done", "1 service: 1 started")
STOPPED = ("done", "DARC master and all services stopped")
REFUSED = {"error": "restart refused: the signature does not hold"}
# Runs a command on the terminal that is its standard input.
_ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
#: A section whose service does not start while there is a file of that name in its home.
BROKEN = "broken"
_SECTION = """
[program:dada_trigger]
command=sh -c 'test ! -e {home}/broken && exec {python} -P -m darc.services.dada_trigger'
startretries=0
"""
# Stands in for the interpreter on the other nodes.
_INTERPRETER = """#!/bin/sh
case $(hostname) in
worker01) export PYTHONPATH={elsewhere} ;;
worker02) echo welcome; exec /nowhere/python "$@" ;;
esac
exec {python} "$@"
"""
_SITE = """
import time
import darc
darc.__version__ = "0.0.9"
right = time.time
time.time = lambda: right() - 3600
"""


@pytest.mark.parametrize("shared_home", [False, True], ids=["homes", "one home"])
def test_from_nothing_to_everything_and_back(make_cluster: MakeCluster, shared_home: bool) -> None:
    box = make_cluster(shared_home=shared_home)
    master, worker01, worker02 = box.nodes
    said = start(master)
    assert said.nodes == dict.fromkeys(("master", "worker01", "worker02"), STARTED)
    assert said.rest == "3 of 3 nodes run."
    # The workers came when the master node was up.
    up = logged_at(master, "darc_master", "'lofar_trigger': 'started'")
    assert all(log(worker, "darc_master")[0] > up for worker in box.workers)
    ((_, mode),) = secrets_of(box.nodes)
    assert mode == 0o600

    before = touched(box.nodes)
    assert start(master).nodes == dict.fromkeys(("master", "worker01", "worker02"), RUNS)
    assert touched(box.nodes) == before

    for asking, of in ((master, worker01), (worker01, master), (worker01, worker02)):
        assert restart(asking, of) == restarted(of)

    said = stop(worker02)
    assert said.phases == dict.fromkeys(("worker01", "worker02", "master"), "done")
    assert list(said.nodes)[-1] == "master"
    ended = max(logged_at(worker, "darc_master", "detached: process") for worker in box.workers)
    assert logged_at(master, "darc_master", "stop_master") > ended
    assert [processes(node) for node in box.nodes] == [{}, {}, {}]
    again = stop(master)
    assert set(again.nodes.values()) == {("done", "DARC is not running")}


def test_what_is_broken_is_repaired_and_nothing_else_touched(make_cluster: MakeCluster) -> None:
    box = make_cluster()
    master, worker01, worker02 = box.nodes
    (worker02.home / "supervisor").mkdir()
    section = _SECTION.format(home=worker02.home, python=sys.executable)
    (worker02.home / "supervisor" / "dada_trigger.conf").write_text(section)
    start(master)
    ((secret, _),) = secrets_of(box.nodes)
    before = touched(box.nodes)

    # A service that was stopped; one that fails to start; and a secret that is another one.
    assert ask(worker01, worker01, "--service", "dada_trigger", "stop")
    (worker02.home / BROKEN).touch()
    assert restart(worker02, worker02)["dada_trigger"]["start"] == "failed"
    secret_file(worker01).write_text("another secret of thirty-two characters\n")
    assert restart(master, worker01) == REFUSED
    said = start(master, status=1)
    assert said.phases == {"master": "done", "worker01": "done", "worker02": "failed"}
    replaced = "its own secret was replaced by the cluster's"
    assert said.nodes["worker01"][1] == f"1 service: 1 started; {replaced}"
    assert said.nodes["worker02"][1] == "not started: dada_trigger"
    assert said.rest.startswith("2 of 3 nodes run.\nfailed: worker02\n  worker02: not started")
    assert f"the end of {worker02.home}/log/dada_trigger.worker02.log" in said.rest

    (worker02.home / BROKEN).unlink()
    secret_file(worker02).chmod(0o644)
    said = start(master)
    assert said.nodes["worker02"] == (STARTED[0], f"{STARTED[1]}; {replaced}")
    assert secrets_of(box.nodes) == {(secret, 0o600)}
    assert touched([master]) == touched_of(before, "master")
    for worker in box.workers:
        was, now = before[worker.name][0], processes(worker)
        assert now.keys() == was.keys()
        assert [name for name in now if now[name] != was[name]] == ["darc.services.dada_trigger"]

    # A node that lost its power; and one whose supervisord was killed, its secret lost.
    worker01.kill()
    said = start(master, status=1)
    assert said.nodes["worker01"][0] == "not reached"
    assert "No route to host" in said.nodes["worker01"][1]
    worker01.revive()
    worker02.run("kill", "-9", (run_dir(worker02) / "supervisord.pid").read_text().strip())
    secret_file(worker02).unlink()
    said = start(master)
    # A master that finds what ran before may be the first to start it.
    assert said.nodes.pop("worker01") in (STARTED, RUNS)
    assert said.nodes.pop("worker02") in (STARTED, RUNS)
    assert said.nodes == {"master": RUNS}
    assert processes(worker02).keys() == now.keys()
    assert secrets_of(box.nodes) == {(secret, 0o600)}
    assert touched([master]) == touched_of(before, "master")
    assert restart(master, worker01) == restarted(worker01)


def touched_of(before: dict[str, object], name: str) -> dict[str, object]:
    return {name: before[name]}


def test_a_silent_node_delays_nobody_and_an_interrupt_is_heard(make_cluster: MakeCluster) -> None:
    box = make_cluster(cluster={"connect_timeout": 600})
    master, worker01, _ = box.nodes
    worker01.drop_packets()
    command = master.popen(
        *("env", "--default-signal=INT", "start_full_pipeline"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout
    # All the others are there while this one is still waited for.
    for name in ("master", "worker02"):
        assert command.stdout.readline().startswith(f"{name} ")
    clients = [process for process in master.processes() if process.name() == "ssh"]
    assert len(clients) == 1
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=patience(60))
    assert (out, err) == ("", "interrupted; orders that have started on a node continue there\n")
    assert command.returncode == 130
    wait_for(lambda: not any(client.is_running() for client in clients))

    for node in box.nodes:
        configure(node, "connect_timeout: 600", "connect_timeout: 1")
    said = start(master, status=1)
    assert said.nodes["worker01"][0] == "not reached"
    assert said.nodes["worker01"][1].endswith("timed out")
    assert (said.nodes["master"], said.nodes["worker02"]) == (RUNS, RUNS)
    assert said.rest.startswith("2 of 3 nodes run.\nnot reached: worker01\n  worker01: ssh: ")
    worker01.restore()

    # Seen from a worker: the master node is away, and the workers are started all the same.
    master.cut_off()
    said = start(worker01, status=1)
    assert said.nodes["master"][0] == "not reached"
    assert "its secret is unavailable: ssh: " in said.nodes["master"][1]
    assert (said.nodes["worker01"], said.nodes["worker02"]) == (STARTED, RUNS)
    (master_only,) = secrets_of([master])
    assert {master_only} < secrets_of(box.nodes)
    said = on_all(worker01, "stop_full_pipeline", "--nodes", "master", "worker01")
    assert said.status == 1
    assert said.phases == {"worker01": "done", "master": "not reached"}
    # It comes back: from anywhere, all have its secret again.
    master.restore()
    said = start(worker01)
    assert (said.nodes["master"], said.nodes["worker02"]) == (RUNS, RUNS)
    assert secrets_of(box.nodes) == {master_only}


def test_workers_are_started_side_by_side(make_cluster: MakeCluster) -> None:
    box = make_cluster()
    master, worker01, worker02 = box.nodes
    run_dir(worker01).mkdir(parents=True, mode=0o700)
    # The first of them cannot go on while somebody else starts or stops it.
    with (run_dir(worker01) / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = master.popen("start_full_pipeline", stdout=subprocess.PIPE)
        assert command.stdout
        assert [command.stdout.readline().split()[0] for _ in "12"] == ["master", "worker02"]
        assert "darc.services.dada_trigger" in processes(worker02)
        assert processes(worker01).keys() == {"darc.cluster.remote"}
    out, _ = command.communicate(timeout=patience(60))
    assert command.returncode == 0
    assert out.startswith("worker01  done ")


def test_what_differs_is_told(make_cluster: MakeCluster, tmp_path: Path) -> None:
    box = make_cluster()
    master, worker01, worker02 = box.nodes
    start(master)
    before = touched(box.nodes)
    configure(worker01, "master: master", "master: worker02")
    configure(worker01, "- worker02\n", "- elsewhere\n")
    configure(worker02, "cluster:", "clutser: {}\ncluster:")
    said = start(master, status=1)
    other = "the master is master here, and worker02 in its configuration"
    assert said.nodes["worker01"] == ("done", f"{RUNS[1]}; {other}")
    assert "clutser: unknown, ignored; did you mean cluster?" in said.nodes["worker02"][1]
    assert said.rest.startswith(f"3 of 3 nodes run.\nworker01: {other}\nworker02: warning: ")
    configure(worker01, "master: worker02", "master: elsewhere")
    configure(worker01, "- worker01\n  - elsewhere\n", "- somebody\n")
    said = start(master, "--nodes", "worker01", status=1)
    assert said.nodes["worker01"][1] == (
        f"{RUNS[1]}; is a worker in the configuration here, and a standalone in its own;"
        " the master is master here, and elsewhere in its configuration"
    )

    (tmp_path / "sitecustomize.py").write_text(_SITE)
    interpreter = tmp_path / "python"
    python = f"python: {sys.executable}"
    interpreter.write_text(_INTERPRETER.format(elsewhere=tmp_path, python=sys.executable))
    interpreter.chmod(0o755)
    worker01.home.joinpath("config.yaml").write_text(
        worker02.home.joinpath("config.yaml").read_text().replace("clutser: {}\n", "")
    )
    configure(master, python, f"python: {interpreter}")
    said = start(master, status=1)
    assert said.nodes["master"] == RUNS
    assert re.fullmatch(
        r".*; has DARC 0\.0\.9, here it is [^;]+; its clock is \d+\.\d s or more behind the one"
        r" here",
        said.nodes["worker01"][1],
    )
    assert said.nodes["worker02"][0] == "not reached"
    assert said.nodes["worker02"][1].endswith("/nowhere/python: not found")
    configure(master, str(interpreter), str(tmp_path / "gone"))
    said = start(master, status=1)
    assert said.phases == {"master": "done", "worker01": "not reached", "worker02": "not reached"}
    # As the shell there puts it.
    assert said.nodes["worker01"][1].endswith(
        (f"{tmp_path / 'gone'}: No such file or directory", f"{tmp_path / 'gone'}: not found")
    )
    assert touched([master, worker02]) == {name: before[name] for name in ("master", "worker02")}


def test_some_nodes_and_a_dry_run(make_cluster: MakeCluster) -> None:
    box = make_cluster()
    master, worker01, worker02 = box.nodes
    for command in ("start_full_pipeline", "stop_full_pipeline", "darc_replace_secret"):
        result = worker01.run(command, "--dry-run")
        lines = result.stdout.splitlines()
        assert (result.returncode, result.stderr) == (0, "")
        assert [line.partition(": ")[0] for line in lines] == ["master", "worker01", "worker02"]
        assert all(line.endswith((" -m darc.cluster.remote", "remote'")) for line in lines)
        assert [": ssh " in line for line in lines] == [True, False, True]
        unknown = on_all(master, command, "--nodes", "worker[01-04]")
        assert (unknown.status, unknown.nodes) == (1, {})
        assert unknown.err == "--nodes: not in the cluster: worker03, worker04\n"
    assert on_all(master, "start_full_pipeline", "--nodes", "worker[02-01]").status == 1
    assert [list(node.home.iterdir()) for node in box.nodes] == [
        [node.home / "config.yaml"] for node in box.nodes
    ]

    # From a worker; the secret is the master node's, which does not run for that.
    said = start(worker02, "--nodes", "worker01")
    assert said.nodes == {"worker01": STARTED}
    assert [bool(processes(node)) for node in box.nodes] == [False, True, False]
    ((secret, _),) = secrets_of([master, worker01])
    said = start(worker02, "--nodes", "worker[01-02]")
    assert said.nodes == {"worker01": RUNS, "worker02": STARTED}
    assert not processes(master)
    said = start(master)
    assert said.nodes == {"master": STARTED, "worker01": RUNS, "worker02": RUNS}
    assert secrets_of(box.nodes) == {(secret, 0o600)}

    before = touched(box.nodes)
    result = master.run("start_full_pipeline", "--dry-run")
    result = master.run("darc_replace_secret", "--dry-run")
    assert touched(box.nodes) == before
    assert secret.strip() not in result.stdout + result.stderr
    said = stop(master, "--nodes", "worker01")
    assert said.nodes == {"worker01": STOPPED}
    assert touched([master, worker02]) == {name: before[name] for name in ("master", "worker02")}


def test_a_host_on_its_own(fresh_node: Node) -> None:
    fresh_node.configure(darc_master=LIGHT)
    result = fresh_node.run("start_full_pipeline", "--dry-run")
    assert re.fullmatch(r"testnode: \S+ -P -m darc\.cluster\.remote\n", result.stdout)
    assert not fresh_node.run_dir.exists()
    said = Said.of(fresh_node.run("start_full_pipeline"))
    assert said.nodes == {"testnode": ("done", "2 services: 2 started")}
    assert (said.status, said.rest) == (0, "1 of 1 nodes run.")
    secret = (fresh_node.run_dir / "secret").read_text()
    assert Said.of(fresh_node.run("darc_replace_secret")).status == 0
    assert (fresh_node.run_dir / "secret").read_text() != secret
    # Its command port listens on the loopback, and not where its name says.
    everywhere = fresh_node.darc("--host", "all", "--json", "--service", "dada_trigger", "restart")
    (reply,) = json.loads(everywhere.stdout).values()
    assert reply["message"] == {"dada_trigger": {"stop": "stopped", "start": "started"}}
    said = Said.of(fresh_node.run("stop_full_pipeline"))
    assert said.nodes == {"testnode": STOPPED}
    assert not fresh_node.processes()


def on_terminal(
    node: BoxNode, *command: str, interrupt_when: Callable[[], bool] = lambda: False
) -> tuple[int, str]:
    """Run a command on a terminal of its own: its status, and what is written there.

    :param interrupt_when: Ctrl-C is typed then
    """
    ours, its = os.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        words = ("env", "TERM=xterm", sys.executable, "-c", _ON_TERMINAL, *command)
        process = node.popen(*words, stdin=its, stdout=its, stderr=its)
        os.close(its)
        written, is_typed = b"", False
        while True:
            if not is_typed and interrupt_when():
                terminal.write(b"\x03")
                is_typed = True
            try:
                if select.select([terminal], [], [], 0.05)[0]:
                    written += terminal.read(65536)
            except OSError:  # how a terminal ends
                return process.wait(patience(60)), written.decode()


def test_the_table_on_a_terminal(make_cluster: MakeCluster) -> None:
    box = make_cluster(nodes=2)
    status, written = on_terminal(box.master, "start_full_pipeline")
    assert status == 0
    live, _, rest = written.rpartition("\x1b[?25h")  # the cursor is back
    assert rest == "2 of 2 nodes run.\r\n"
    for said in ("0 of 2 nodes", "· waiting", "… at work", "1 of 2 nodes"):
        assert said in live
    # What is too long for the table is cut there, and told as a whole below.
    configure(box.workers[0], "ssh_port: 22", "ssh_port: twenty-two")
    status, written = on_terminal(box.master, "start_full_pipeline")
    assert status == 1
    frames = [unstyled(frame) for frame in written.split("Starting the cluster: ")]
    last = frames[-1].splitlines()
    assert re.fullmatch(r"2 of 2 nodes *", last[0])
    here = r"master +master +✓ done +\d+\.\d s +1 service: 1 already running *"
    there = r"worker01 +worker +✗ failed +\d+\.\d s +/.*…"
    assert re.fullmatch(here, last[2])
    assert re.fullmatch(there, last[3])
    assert last[4:6] == ["1 of 2 nodes run.", "failed: worker01"]
    assert "'twenty-two' is not a whole number" in last[6]


def test_what_is_at_work_goes_on_after_an_interrupt(make_cluster: MakeCluster) -> None:
    box = make_cluster(nodes=1)
    run_dir(box.master).mkdir(parents=True, mode=0o700)
    at_work = "darc.cluster.remote"
    with (run_dir(box.master) / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, written = on_terminal(
            box.master,
            "start_full_pipeline",
            interrupt_when=lambda: (
                (run_dir(box.master) / "secret").exists() and at_work in processes(box.master)
            ),
        )
        assert status == 130
        assert written.endswith(
            "interrupted; orders that have started on a node continue there\r\n"
        )
        assert at_work in processes(box.master)
    wait_for(lambda: at_work not in processes(box.master), 60.0)
    assert "darc.services.lofar_trigger" in processes(box.master)


def unstyled(written: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written)
