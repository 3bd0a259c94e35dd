"""What tests of a cluster in a box share: whether one can be made, and what runs in its nodes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from simulator.box import BoxNode, unavailable

# Arguments: host, port, timeout. Prints how the attempt to connect ends.
_CONNECT = """
import errno, socket, sys
host, port, timeout = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
try:
    socket.create_connection((host, port), timeout).close()
    print("connected")
except TimeoutError as error:
    print(errno.errorcode[error.errno] if error.errno else "silence")
except OSError as error:
    print(errno.errorcode[error.errno])
"""
# Argument: host. Sends one datagram, and prints what it is told.
_DATAGRAM = """
import errno, socket, sys
IP_RECVERR = 11
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    sender.connect((sys.argv[1], 9))
    sender.send(b"x")
    sender.settimeout(20)
    try:
        sender.recv(1)
    except TimeoutError:
        print("silence")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
# Argument: port. Prints `ready`, and how many bytes came over one connection.
_RECEIVE = """
import socket, sys
with socket.create_server(("0.0.0.0", int(sys.argv[1]))) as server:
    print("ready", flush=True)
    connection = server.accept()[0]
    n = 0
    while part := connection.recv(65536):
        n += len(part)
    print(n, flush=True)
"""
# Arguments: host, port, bytes. Prints `connected` first.
_SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as connection:
    print("connected", flush=True)
    connection.settimeout(None)
    connection.sendall(bytes(int(sys.argv[3])))
"""
# Arguments: host, port. Prints `connected`; after a line of input, what it reads within a moment.
_LISTEN_IN = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as connection:
    print("connected", flush=True)
    sys.stdin.readline()
    connection.settimeout(0.5)
    try:
        print("read", connection.recv(1))
    except TimeoutError:
        print("silence")
    except OSError as error:
        print(type(error).__name__)
"""
# Ignores every signal that can be; with two more that do: a child, and one that has left it.
_STUBBORN = """
import os, signal, sys, time
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
else:
    os.wait()
    if os.fork() > 0:
        print("ready", flush=True)
time.sleep(1000)
"""
STUBBORN = (sys.executable, "-c", _STUBBORN)
STUBBORN_PROCESSES = 3
_KINDS = ("pid", "net", "mnt", "uts", "ipc")


def require_box() -> None:
    """Skip the test where no box can be made; continuous integration has to be able to."""
    reason = unavailable()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def connect(node: BoxNode, to: BoxNode | str, port: int = 22, timeout: float = 20.0) -> str:
    """How an attempt to connect ends: `connected`, an errno's name, or `silence`.

    :param to: a node, by its name, or any host
    """
    host = to if isinstance(to, str) else to.name
    result = node.run(sys.executable, "-c", _CONNECT, host, str(port), str(timeout), check=True)
    return result.stdout.strip()


def datagram(node: BoxNode, to: BoxNode | str) -> str:
    """What is told to the sender of one datagram, which is not sent again."""
    host = to if isinstance(to, str) else to.name
    return node.run(sys.executable, "-c", _DATAGRAM, host, check=True).stdout.strip()


def receive(node: BoxNode, port: int) -> subprocess.Popen[str]:
    """Start a process that receives, and ends, saying how much it was."""
    process = node.popen(sys.executable, "-c", _RECEIVE, str(port), stdout=subprocess.PIPE)
    expect(process, "ready")
    return process


def send(node: BoxNode, to: BoxNode, port: int, n: int) -> subprocess.Popen[str]:
    """Start a process that sends n bytes."""
    command = (sys.executable, "-c", _SEND, to.name, str(port), str(n))
    process = node.popen(*command, stdout=subprocess.PIPE)
    expect(process, "connected")
    return process


def listen_in(node: BoxNode, to: BoxNode, port: int) -> subprocess.Popen[str]:
    """Start a process that connects, and listens when told to."""
    process = node.popen(
        *(sys.executable, "-c", _LISTEN_IN, to.name, str(port)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    expect(process, "connected")
    return process


def stubborn(node: BoxNode) -> subprocess.Popen[str]:
    """Start three processes that cannot be ended but by SIGKILL."""
    process = node.popen(*STUBBORN, stdout=subprocess.PIPE)
    expect(process, "ready")
    return process


def expect(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout
    assert process.stdout.readline() == f"{line}\n"


def machine() -> dict[str, object]:
    """What a box could leave on the machine, beside processes and files of its own."""
    links = subprocess.run(
        ["ip", "-oneline", "link"], capture_output=True, text=True, check=True
    ).stdout
    named = subprocess.run(
        ["ip", "netns", "list"], capture_output=True, text=True, check=True
    ).stdout
    # Other tests have temporary file systems at the same time.
    mounts = [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if not line.split()[4].startswith(f"{tempfile.gettempdir()}/")
    ]
    names = Path("/etc/hosts").read_text() + Path("/proc/sys/kernel/hostname").read_text()
    etc_ssh = sorted(path.name for path in Path("/etc/ssh").iterdir())
    netns = Path("/etc/netns").exists()
    return {
        **{"links": links, "netns": named, "mounts": mounts, "names": names},
        **{"/etc/ssh": etc_ssh, "/etc/netns": netns},
    }


@contextmanager
def watched(pids: Iterable[int]) -> Iterator[Callable[[], list[psutil.Process]]]:
    """Gives a function that tells which processes are in the namespaces of these.

    Meanwhile the namespaces are kept, so that their numbers are not given to others.
    """
    with ExitStack() as files:
        kept = [
            files.enter_context(Path(f"/proc/{pid}/ns/{kind}").open("rb"))
            for pid in pids
            for kind in _KINDS
        ]
        numbers = {os.fstat(file.fileno()).st_ino for file in kept} - set(_numbers("self"))
        yield lambda: [process for process in psutil.process_iter() if _is_in(process, numbers)]


def _is_in(process: psutil.Process, numbers: set[int]) -> bool:
    try:
        return not numbers.isdisjoint(_numbers(process.pid))
    except OSError:
        return False  # gone, or not ours


def _numbers(pid: int | str) -> list[int]:
    return [Path(f"/proc/{pid}/ns/{kind}").stat().st_ino for kind in _KINDS]
