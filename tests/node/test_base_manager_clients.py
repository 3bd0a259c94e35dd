"""Programs that know no DARC, at a running node: the examples of the docs, looking, taking."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

import pytest
from interpreters import BARE, MINORS, interpreter
from nodes import Node, patience, wait_for

from darc.node.secret import read_secret
from darc.queues import QueueManager
from darc.queues.client import QueuesGoneError, attach
from darc.queues.messages import QueueError

ROOT = Path(__file__).resolve().parents[2]
RUNNING_SERVICES = ("lofar_trigger", "amber_clustering")
PLAIN_MANAGER = "from multiprocessing.managers import BaseManager"
OUR_MANAGER = "from darc.queues import QueueManager"


def example(page: str, begin: str) -> str:
    """The example of a page of the docs that holds a line."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    (block,) = [block for block in blocks if begin in block]
    return str(block)


def run(node: Node, code: str, python: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """As a program in a file, from somewhere else."""
    program = node.home / "look.py"
    program.write_text(code)
    return subprocess.run(
        [python, *flags, program, node.run_dir],
        cwd="/",
        env={**os.environ, **node.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=patience(20),
    )


@pytest.mark.parametrize("page", ["README.md", "docs/queues.md"])
@pytest.mark.parametrize("minor", MINORS)
def test_the_example_as_it_is_printed(running_node: Node, page: str, minor: int) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"there is no Python 3.{minor} on this machine")
    code = example(page, PLAIN_MANAGER)
    assert "darc" not in code.replace("~/darc/run/HOSTNAME", "")
    absent = run(running_node, "import darc", python, *BARE)
    assert "No module named 'darc'" in absent.stderr
    result = run(running_node, code, python, *BARE)
    said = "0 wait for amber_clustering\n"
    if page == "docs/queues.md":
        said += "{'any': 'plain value'}\n"
        assert "".join(f"    {line}\n" for line in said.splitlines()) in (ROOT / page).read_text()
    assert (result.stderr, result.stdout) == ("", said)


def test_our_example_as_it_is_printed(running_node: Node) -> None:
    result = run(running_node, example("docs/queues.md", OUR_MANAGER), sys.executable)
    assert (result.stderr, result.stdout) == ("", "0 wait for amber_clustering\n")


class Plain(BaseManager):
    """As somebody would write it who knows the standard library."""


Plain.register("lofar_trigger")
Plain.register("amber_clustering")


def plain(node: Node, address: Any = None, serializer: str = "pickle") -> Any:
    place = str(node.run_dir / "queues.sock") if address is None else address
    made = Plain(place, read_secret(node.run_dir / "secret"), serializer)
    made.connect()
    return made


def bad_entries(node: Node) -> int:
    said = str(node.ask("--service", "lofar_trigger", "get_attr", "bad_entries"))
    (count,) = re.findall(r"bad_entries': (\d+)}", said)
    return int(count)


@pytest.mark.parametrize("serializer", ["pickle", "xmlrpclib"])
def test_a_service_gets_what_others_have_looked_at(running_node: Node, serializer: str) -> None:
    """And what was put by them, each once, after it was away."""
    node = running_node
    node.ask("--service", "lofar_trigger", "stop")
    queue = plain(node, serializer=serializer).lofar_trigger()
    queue.put("no trigger")
    queue.put(["no trigger", "either"])
    assert [queue.get(), queue.get(timeout=5)] == ["no trigger", ["no trigger", "either"]]
    assert (queue.qsize(), queue.empty()) == (2, True)
    assert queue.depths() == {"lofar_trigger": 2}
    node.ask("--service", "lofar_trigger", "start")
    wait_for(lambda: queue.qsize() == 0, what="the service dealt with them")
    assert bad_entries(node) == 2  # of this process of it


def test_taking_is_for_when_the_service_is_away(running_node: Node) -> None:
    node = running_node
    manager = plain(node)
    takes = manager.lofar_trigger(take=True)
    with pytest.raises(Exception, match="stop it first: darc --service lofar_trigger stop"):
        takes.get_nowait()
    node.ask("--service", "lofar_trigger", "stop")
    takes.put("mine")
    assert takes.get(timeout=patience(5)) == "mine"
    assert manager.lofar_trigger().empty()
    node.ask("--service", "lofar_trigger", "start")
    wait_for(lambda: node.states()["lofar_trigger"] == "running")
    assert bad_entries(node) == 0


def test_triggers_are_put_over_the_network(running_node: Node) -> None:
    node = running_node
    before = bad_entries(node)
    port = node.config["lofar_trigger"]["server_port"]
    queue = plain(node, ("127.0.0.1", port)).lofar_trigger()
    queue.put(["no trigger"])
    wait_for(lambda: bad_entries(node) == before + 1, what="the service got it")
    with pytest.raises(Exception, match="str where a list of triggers is expected"):
        queue.put("no list")
    with pytest.raises(AttributeError):
        queue.get()
    with pytest.raises(Exception, match="there is no queue 'amber_clustering' here, only 'lofar_t"):
        plain(node, ("127.0.0.1", port)).amber_clustering()


def test_ours_finds_the_node_of_this_host(
    running_node: Node, fresh_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DARC_HOME", "DARC_HOSTNAME"):
        monkeypatch.setenv(name, running_node.environment[name])
    with QueueManager() as manager, closing(attach()) as queues:
        manager.scratch().put({"any": ("plain", b"value")})
        assert queues.get(timeout=1) == {"any": ("plain", b"value")}
        with pytest.raises(QueueError, match="did you mean 'amber_") as refusal:
            manager.amber()
        names = str(refusal.value)
        assert set(running_node.states()) <= set(re.findall(r"\w+", names))
    monkeypatch.setenv("DARC_HOME", str(fresh_node.home))
    with pytest.raises(QueuesGoneError, match="no node has been started"):
        QueueManager()


def test_what_a_node_refuses_is_in_its_log(running_node: Node) -> None:
    class Typo(BaseManager):
        pass

    Typo.register("amber_clusterin")
    made: Any = Typo(
        str(running_node.run_dir / "queues.sock"), read_secret(running_node.run_dir / "secret")
    )
    made.connect()
    with pytest.raises(Exception, match="did you mean 'amber_clustering'"):
        made.amber_clusterin()
    wait_for(
        lambda: "refused: there is no queue 'amber_clusterin'" in running_node.log("darc_master")
    )
