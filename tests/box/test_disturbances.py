"""Nodes that are cut off, silent, slow or dead: each shown by real connections."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from boxes import connect, datagram, expect, listen_in, receive, send, stubborn, watched
from nodes import patience

from simulator.box import Box, BoxError

MakeBox = Callable[..., Box]
PORT = 5000
TIMEOUT = patience(30.0)
_UDP_SEND = """
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(sys.argv[3].encode(), (sys.argv[1], 5000))
"""
_UDP_RECEIVE = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
    receiver.bind(("0.0.0.0", 5000))
    print("ready", flush=True)
    while True:
        print(receiver.recv(100).decode(), flush=True)
"""


def test_a_node_that_is_cut_off_has_no_route(make_box: MakeBox) -> None:
    box = make_box(nodes=3)
    worker, other = box.workers
    worker.cut_off()
    assert connect(box.master, worker) == "EHOSTUNREACH"
    # Each packet is answered, not only the first ones.
    for _ in range(8):
        assert datagram(box.master, worker) == "EHOSTUNREACH"
    assert connect(worker, box.master) == "ENETUNREACH"
    assert connect(worker, "localhost") == "connected"
    assert connect(box.master, other) == "connected"
    worker.restore()
    assert connect(box.master, worker) == "connected"
    assert connect(worker, box.master) == "connected"


def test_dropped_packets_are_silence(make_box: MakeBox) -> None:
    box = make_box(nodes=3)
    worker, other = box.workers
    worker.drop_packets()
    assert connect(box.master, worker, timeout=1.0) == "silence"
    assert connect(worker, box.master, timeout=1.0) == "silence"
    assert connect(box.master, other) == "connected"
    worker.restore()
    assert connect(box.master, worker) == "connected"
    assert connect(worker, box.master) == "connected"


def test_packets_are_dropped_both_ways(make_box: MakeBox) -> None:
    box = make_box(nodes=2)
    worker = box.workers[0]
    for sender, receiver in ((worker, box.master), (box.master, worker)):
        process = receiver.popen(sys.executable, "-c", _UDP_RECEIVE, stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        heard = []
        for disturb, text in (
            (worker.restore, "before"),
            (worker.drop_packets, "dropped"),
            (worker.restore, "after"),
        ):
            disturb()
            sender.run(sys.executable, "-c", _UDP_SEND, receiver.name, "5000", text, check=True)
            if text != "dropped":
                heard.append(process.stdout.readline().strip())
        assert heard == ["before", "after"]
        process.kill()


def test_a_connection_outlives_a_disturbance(make_box: MakeBox) -> None:
    box = make_box(nodes=2)
    worker = box.workers[0]
    for disturb in (worker.cut_off, worker.drop_packets):
        receiver = receive(worker, PORT)
        # More than fits into the buffers: it goes on only when the other side reads.
        receiver.send_signal(signal.SIGSTOP)
        sender = send(box.master, worker, PORT, 300_000_000)
        disturb()
        receiver.send_signal(signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            sender.wait(1.0)
        worker.restore()
        assert receiver.communicate(timeout=TIMEOUT)[0] == "300000000\n"
        assert sender.wait(TIMEOUT) == 0


@pytest.mark.parametrize("outwards", [False, True])
def test_a_slow_node_is_slow_both_ways(make_box: MakeBox, outwards: bool) -> None:
    box = make_box(nodes=3)
    slow, fast = box.workers
    size = 3_000_000
    slow.slow_down(100_000)
    pairs = [(node, box.master) if outwards else (box.master, node) for node in (slow, fast)]
    (source, sink), others = pairs
    receiver = receive(sink, PORT)
    send(source, sink, PORT, size)
    for port in range(PORT + 1, PORT + 4):  # three times as much goes past it elsewhere
        unhindered = receive(others[1], port)
        send(others[0], others[1], port, size)
        assert unhindered.communicate(timeout=TIMEOUT)[0] == f"{size}\n"
    assert receiver.poll() is None
    slow.restore()
    assert receiver.communicate(timeout=TIMEOUT)[0] == f"{size}\n"


def test_a_node_that_is_killed_says_no_farewell(make_box: MakeBox) -> None:
    box = make_box(nodes=2)
    worker = box.workers[0]
    receive(worker, PORT)
    connection = listen_in(box.master, worker, PORT)
    worker.kill()
    assert connection.communicate("now\n", timeout=TIMEOUT)[0] == "silence\n"
    # Without kill, the end of a process is heard at once.
    worker.revive()
    receiver = receive(worker, PORT)
    connection = listen_in(box.master, worker, PORT)
    receiver.kill()
    assert connection.communicate("now\n", timeout=TIMEOUT)[0] == "read b''\n"


def test_kill_ends_everything_and_revive_boots_anew(make_box: MakeBox) -> None:
    box = make_box(nodes=2)
    worker = box.workers[0]
    assert worker.keeper
    stubborn(worker)
    boot_id = worker.run("cat", "/proc/sys/kernel/random/boot_id").stdout
    worker.run("sh", "-c", 'echo kept > "$DARC_HOME/note"', check=True)
    with watched([worker.keeper]) as inside:
        assert len(inside()) > len(worker.processes())
        worker.kill()
        assert inside() == []
    assert worker.processes() == []
    assert connect(box.master, worker) == "EHOSTUNREACH"
    with pytest.raises(BoxError, match="worker01 has been killed"):
        worker.run("hostname")
    with pytest.raises(BoxError, match="worker01 has been killed"):
        worker.cut_off()
    worker.kill()  # once more changes nothing
    worker.revive()
    assert [process.name() for process in worker.processes()] == ["sshd"]
    assert box.master.run("ssh", "worker01", "hostname").stdout == "worker01\n"
    assert worker.run("sh", "-c", 'cat "$DARC_HOME/note"').stdout == "kept\n"
    assert worker.run("cat", "/proc/sys/kernel/random/boot_id").stdout != boot_id
    with pytest.raises(BoxError, match="worker01 has not been killed"):
        worker.revive()


def test_a_killed_node_comes_back_undisturbed(make_box: MakeBox) -> None:
    box = make_box(nodes=2)
    worker = box.workers[0]
    for disturb in (worker.cut_off, worker.drop_packets, lambda: worker.slow_down(100_000)):
        disturb()
        worker.kill()
        worker.revive()
        assert connect(box.master, worker) == "connected"
        assert connect(worker, box.master) == "connected"
    assert worker.run("tc", "qdisc", "show", "dev", "eth0").stdout.split()[1] == "noqueue"
    worker.restore()  # with nothing to restore


def test_a_command_that_runs_while_its_node_is_killed_ends(make_box: MakeBox) -> None:
    box = make_box(nodes=2)
    worker = box.workers[0]
    process = worker.popen("sleep", "1000")
    from_elsewhere = box.master.popen(
        *("ssh", "-oServerAliveInterval=1", "worker01", "echo ready; sleep 1000"),
        stdout=subprocess.PIPE,
    )
    expect(from_elsewhere, "ready")
    worker.kill()
    assert process.wait(TIMEOUT) == -9
    assert from_elsewhere.wait(TIMEOUT) == 255
