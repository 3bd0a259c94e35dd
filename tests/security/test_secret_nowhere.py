"""The secret is in its file alone: in no log, page, journal, process list, environment, output or
traceback. tests/cluster/test_secret.py looks for it in a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nodes import Node, wait_for

from darc.node.secret import read_secret
from darc.queues.client import QueueClient
from darc.queues.messages import QueueError

#: A part as long as this gives it away.
PART = 16
ATTRIBUTES = ("secret", "_secret", "key", "config", "settings", "__dict__", "_link", "log_file")


def parts(secrets: Iterable[bytes]) -> list[bytes]:
    return [
        secret[start : start + PART]
        for secret in secrets
        for start in range(0, len(secret) - PART + 1, PART)
    ]


def tells(data: bytes, wanted: Collection[bytes]) -> bool:
    """Whether one of the parts is in it."""
    return any(part in data for part in wanted)


def files_that_tell(directory: Path, secrets: Iterable[bytes], own: Path) -> list[Path]:
    """Files below a directory, other than the secret's own."""
    wanted = parts(secrets)
    return [
        path
        for path in directory.rglob("*")
        if path.is_file() and path != own and tells(path.read_bytes(), wanted)
    ]


def processes_that_tell(secrets: Callable[[], Iterable[bytes]]) -> set[str]:
    """Processes of this machine with it in their command line or environment."""
    found = set()
    wanted = parts(secrets())
    for directory in Path("/proc").glob("[0-9]*"):
        if directory.name == str(os.getpid()):
            continue
        for name in ("cmdline", "environ", "comm"):
            with contextlib.suppress(OSError):  # gone meanwhile
                if tells((directory / name).read_bytes(), wanted):
                    found.add(f"{name} of {directory.name}")
    return found


@contextmanager
def watched(secrets: Callable[[], Iterable[bytes]]) -> Iterator[set[str]]:
    """Look at all processes, over and over; gives those that told."""
    found: set[str] = set()
    end = threading.Event()
    looks = [0]

    def look() -> None:
        # A program takes longer than that to start; others need the processor for doing so.
        while not end.wait(0.1):
            found.update(processes_that_tell(secrets))
            looks[0] += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        end.set()
        thread.join()
    assert looks[0] > 1


class Operator:
    """Does things with a node, and keeps all that is said."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.said = ""

    def run(self, *words: str) -> str:
        result = self._node.run(*words)
        self.said += result.stdout + result.stderr
        return result.stdout + result.stderr

    def ask(self, *words: str) -> None:
        """As `darc` does, without a program of its own."""
        self.said += json.dumps(self._node.reply(*words))


def provoke(node: Node, operator: Operator) -> None:
    """Errors, some of them with tracebacks, in master, services and commands."""
    secret = node.run_dir / "secret"
    client = QueueClient(node.run_dir / "queues.sock", read_secret(secret), "test")
    for arguments in ((), (1, 2), ("x", {}), (read_secret(secret)[:8],)):
        with pytest.raises(QueueError):
            client.call("commit", *arguments)
    client.close()
    with pytest.raises(QueueError):
        QueueClient(node.run_dir / "queues.sock", b"x" * 64, "test")
    wait_for(lambda: "Traceback" in node.log("darc_master"))
    # One that cannot be read as it is: commands say so, and a service ends.
    secret.chmod(0o644)
    assert "chmod 600" in operator.run("darc", "lofar_enable")
    node.supervisor.stop("dada_trigger")
    wait_for(lambda: node.supervisor.processes()["dada_trigger"].state.ended)
    node.supervisor.start("dada_trigger")
    wait_for(lambda: "Traceback" in node.log("dada_trigger"))
    secret.chmod(0o600)
    kept = secret.read_bytes()
    secret.write_text("too short\n")
    assert "not a secret" in operator.run("darc", "lofar_enable")
    secret.write_bytes(kept)
    (node.home / "config.yaml").rename(node.home / "kept.yaml")
    (node.home / "config.yaml").write_text("cluster: [\n")
    operator.run("darc", "reload")
    operator.run("darc_start_master")
    (node.home / "kept.yaml").rename(node.home / "config.yaml")


def test_a_node(make_node: Callable[..., Node]) -> None:
    node = make_node()
    node.configure(
        darc_master={
            "services_master_mix": ["status_website", "lofar_trigger"],
            "services_worker_mix": ["amber_clustering", "dada_trigger"],
        }
    )
    operator = Operator(node)
    secrets: list[bytes] = []
    with watched(lambda: secrets) as found:
        operator.run("darc_start_all_services")
        secrets.append(read_secret(node.run_dir / "secret"))
        for words in ("status", "restart", "stop", "start"):
            operator.run("darc", "--service", "all", words)
        for attribute in ATTRIBUTES:
            operator.ask("--service", "all", "get_attr", attribute)
            operator.ask("get_attr", attribute)
        # The program says what else could be meant, for which it imports all services.
        operator.run("darc", "--service", "all", "get_attr", ATTRIBUTES[0])
        operator.run("darc", "--json", "get_attr", ATTRIBUTES[0])
        for words in ("lofar_enable", "lofar_disable", "lofar_status", "reload"):
            operator.run("darc", words)
        operator.run("darc", "start_observation", "--parset", str(node.run_dir / "secret"))
        operator.run("darc", "start_observation", "--config", str(node.run_dir / "secret"))
        provoke(node, operator)
        operator.run("darc_replace_secret")
        secrets.append(read_secret(node.run_dir / "secret"))
        assert "disabled" in operator.run("darc", "lofar_disable")
        wait_for(lambda: list((node.home / "status").glob("*.html")), what="a page")
        operator.run("darc_stop_all_services")
        operator.run("darc_stop_master")
    assert len(set(secrets)) == 2
    assert found == set()
    assert files_that_tell(node.home, secrets, node.run_dir / "secret") == []
    assert not tells(operator.said.encode(), parts(secrets))


def test_the_search_finds_what_there_is(tmp_path: Path) -> None:
    secret = os.urandom(32).hex().encode()
    part = secret[16:40].decode()
    own = tmp_path / "secret"
    own.write_bytes(secret)
    (tmp_path / "log").write_text(f"x{part}")
    assert files_that_tell(tmp_path, [secret], own) == [tmp_path / "log"]
    for words, more in (
        (["sleep", "100"], {"X": part}),
        (["sh", "-c", f"sleep 100; : {part}"], {}),
    ):
        with subprocess.Popen(words, env={**os.environ, **more}, start_new_session=True) as one:
            wait_for(lambda: processes_that_tell(lambda: [secret]), 10.0, str(words))
            os.killpg(one.pid, signal.SIGKILL)
