"""Connections in a network that connects every client of the default port with itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from nodes import SCRIPTS, Node, patience

PORT = 51000
UNSHARE = ("unshare", "--user", "--map-root-user", "--net")
#: Loopback that gives clients this port alone.
NETWORK = f"""
import fcntl, os, socket, struct, sys
from pathlib import Path
with socket.socket() as loopback:
    fcntl.ioctl(loopback, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS: IFF_UP
Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("{PORT} {PORT}")
"""
CONNECT = f"""
from darc.delivery.tns_client import Bot, TNSClient
from darc.delivery.webhook import post_body
from darc.node.command_client import exchange_messages
from darc.queues.plain_connection import plain_client
from darc.services.dada_trigger.dump_port import request_dump
here, url = ("127.0.0.1", {PORT}), "http://127.0.0.1:{PORT}/"
try:
    eval(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
with socket.create_server(here):  # as a master that is started
    print("bound")
"""


def in_network(
    code: str, *words: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces of one's own here")
    return subprocess.run(
        [*UNSHARE, sys.executable, "-c", NETWORK + code, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=patience(60.0),
    )


def test_the_network_does_so() -> None:
    code = f"""
with socket.create_connection(("127.0.0.1", {PORT})) as itself:
    print(itself.getsockname() == itself.getpeername())
"""
    assert in_network(code).stdout == "True\n"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("exchange_messages(*here, {}, 5.0, None)", "ConnectionRefusedError"),
        ("plain_client(here, b'key', 5.0)", "ConnectionRefusedError"),
        ("request_dump(here[1], 'N_EVENTS 0')", "ConnectionRefusedError"),
        ("post_body(url, b'{}', 5.0)", "DeliveryError"),
        ("TNSClient(url, Bot(1, 'name', 'key'), 5.0).submit(b'{}')", "DeliveryError"),
    ],
)
def test_a_connection_with_itself_is_refused_and_leaves_the_port(call: str, error: str) -> None:
    what, bound = in_network(CONNECT, call).stdout.splitlines()
    assert what.startswith(f"{error} ")
    assert what.endswith("Connection refused")
    assert bound == "bound"


RUN = "os.execvp(sys.argv[1], sys.argv[1:])"
DARC = str(SCRIPTS / "darc")


@pytest.fixture
def default_node(make_node: Callable[..., Node]) -> Node:
    """A node with the default port that is not started."""
    return make_node(darc_master={"port": PORT}, voevent_generator={"broker_port": PORT})


def test_watch_says_that_nothing_runs(default_node: Node) -> None:
    shown = in_network(RUN, DARC, "watch", "--once", environment=default_node.environment).stdout
    assert "✗ testnode: cannot be reached" in shown
    assert "type: darc_start_all_services" in shown


def test_doctor_says_that_a_broker_is_away(default_node: Node) -> None:
    command = (DARC, "doctor", "--json")
    shown = in_network(RUN, *command, environment=default_node.environment).stdout
    ((_, found),) = json.loads(shown).items()
    assert f"localhost:{PORT}: Connection refused" in str(found)
