"""The queues from Python: the three lines of the documentation, and the standard library's way."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import PYTHON, Node, patience, wait_for

from darc.node.secret import read_secret
from darc.queues.client import QueueClient, Queues, QueuesGoneError, attach
from darc.queues.messages import QueueError

RUNNING_SERVICES = ("lofar_trigger",)


@pytest.fixture
def queues(here: Node) -> Iterator[Queues]:
    attached = attach()
    yield attached
    attached.close()


def test_put_and_get(queues: Queues) -> None:
    values = [{"any": "plain value"}, (1, 2.5, b"bytes"), None, [True, {"nested": ()}]]
    for value in values:
        queues.put(value)
    (depth,) = queues.depths()
    assert (depth.queue, depth.entries) == ("scratch", len(values))
    assert 0 <= queues.ages()["scratch"] < 30
    assert [queues.get(timeout=patience(1)) for _ in values] == values
    assert queues.depths() == []
    assert queues.ages() == {}


def test_get_waits_as_long_as_it_is_told(queues: Queues) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="nothing on 'scratch'"):
        queues.get(timeout=0.8)
    assert 0.8 <= time.monotonic() - began < patience(2)
    with pytest.raises(TimeoutError):
        queues.get()
    putting = threading.Timer(0.6, lambda: attach().put("late"))
    putting.start()
    assert queues.get(timeout=patience(10)) == "late"
    putting.join()


def test_only_plain_values_are_put(queues: Queues) -> None:
    with pytest.raises(TypeError, match="only plain types"):
        queues.put(object())
    assert queues.depths() == []


def test_a_services_queue_is_its_own(here: Node, queues: Queues) -> None:
    def bad_entries() -> str:
        return str(here.ask("--service", "lofar_trigger", "get_attr", "bad_entries"))

    assert "bad_entries': 0}" in bad_entries()
    queues.put("no trigger", "lofar_trigger")
    wait_for(lambda: "bad_entries': 1}" in bad_entries(), what="the service got it")
    wait_for(lambda: queues.depths() == [], what="and has acknowledged it")
    secret = read_secret(here.run_dir / "secret")
    client = QueueClient(here.run_dir / "queues.sock", secret, "test")
    with pytest.raises(QueueError, match="belongs to its service"):
        client.call("get", "lofar_trigger", 0.0)


def test_without_a_node(fresh_node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARC_HOME", str(fresh_node.home))
    with pytest.raises(QueuesGoneError, match="no node has been started"):
        attach()


# The lines that the standard library's own client needs; `darc.queues.plain_connection` makes the
# serialiser known.
MANAGER = """
from multiprocessing.managers import BaseManager
from pathlib import Path
import darc.queues.plain_connection
from darc.node.endpoint import read_endpoint

class Manager(BaseManager):
    pass

Manager.register("queues")
endpoint = read_endpoint()
key = Path(endpoint.secret).read_bytes().strip()
manager = Manager(endpoint.queues, authkey=key, serializer="darc")
manager.connect()
queues = manager.queues()

queues.put("scratch", {"from": ("a", "BaseManager")})
print(queues.depths()[0][:2])
print(queues.get("scratch", 0.5))
print(queues.get("scratch", 0.0))
try:
    queues.take("processor", 999, 0, 0.0)
except Exception as error:
    print(type(error).__name__)
"""


def test_a_plain_base_manager(here: Node) -> None:
    result = subprocess.run(
        [PYTHON, "-c", MANAGER],
        env=here.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(20),
    )
    assert result.stderr == ""
    assert result.stdout == ("['scratch', 1]\n[{'from': ('a', 'BaseManager')}]\n[]\nRemoteError\n")
    assert set(here.states().values()) == {"running"}


def test_what_was_put_survives_the_master(here: Node, queues: Queues) -> None:
    queues.put("held")
    before = here.pid("darc_master")
    os.kill(before, signal.SIGKILL)
    with pytest.raises(QueuesGoneError):
        queues.get(timeout=2)

    def again() -> Queues | None:
        try:
            return attach()
        except QueuesGoneError:
            return None

    attached = wait_for(again, 10, "the next master")
    assert here.pid("darc_master") != before
    assert attached.get() == "held"
    with pytest.raises(TimeoutError):
        attached.get()
    attached.close()
    wait_for(here.all_run, what="services attached again")


def test_the_queues_are_the_owners_alone(here: Node) -> None:
    assert (here.run_dir / "secret").stat().st_mode & 0o077 == 0
    assert here.run_dir.stat().st_mode & 0o077 == 0
    key = Path(here.run_dir / "secret").read_text().strip()
    for process in here.processes():
        assert key not in " ".join(process.cmdline())
        assert key not in str(process.environ())
    for log in (here.home / "log").iterdir():
        assert key not in log.read_text()
