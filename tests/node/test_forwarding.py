"""Workers hand their triggers in at the master node, and keep them where they cannot."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nodes import Node, free_port, node, patience, wait_for
from triggers import made_trigger

from darc.model.finding import BurstFinding
from darc.model.trigger import Trigger
from darc.node.secret import read_secret
from darc.queues.client import QueueClient, QueuesGoneError
from darc.queues.messages import QueueError
from darc.queues.plain_connection import pack, plain_client
from darc.services.lofar_trigger.lofar_packet import parse

#: Resolvable everywhere: both nodes are on this machine.
MASTER, WORKER = "localhost", "worker01"
Pair = tuple[Node, Node]
#: Pulses are told apart by when they came, so two are never one, however long a test is between.
_FIRST_PULSE = time.time()
_windows = itertools.count()


def trigger(*, age: float = 0.0, **changes: Any) -> Trigger:
    """A trigger that arrived so many seconds ago, of a pulse and a window of its own."""
    window = next(_windows)
    utc = datetime.fromtimestamp(_FIRST_PULSE - age - 10.0 * window, UTC).replace(tzinfo=None)
    own = {"observation": "", "window": window, "dm": 500.0, "utc": utc.isoformat()}
    return made_trigger(**own, **changes)


@pytest.fixture(scope="module")
def lofar() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(patience(20.0))
        yield receiver


@contextmanager
def two_nodes(run: str, lofar: socket.socket, points: Path | None = None) -> Iterator[Pair]:
    """A master node and a worker, not started; light, and with one secret.

    :param points: where their fault points are
    """
    ports = {
        "lofar_trigger": {
            "server_port": free_port(),
            "lofar_host": "127.0.0.1",
            "lofar_port": lofar.getsockname()[1],
            "send_events": True,
            "interval": 0.2,
        },
        "voevent_generator": {"server_port": free_port()},
        "cluster": {"master": MASTER, "workers": [WORKER]},
        "control": {"bind": "127.0.0.1"},
    }
    with node(run, MASTER, **ports) as master, node(run, WORKER, **ports) as worker:
        master.configure(darc_master={"services_master_mix": ["lofar_trigger"]})
        worker.configure(darc_master={"services_worker_mix": ["amber_clustering"]})
        for one in (master, worker):
            one.run_dir.mkdir(parents=True, mode=0o700)
            if points:
                one.environment["DARC_FAULT_POINTS"] = str(points)
        secret = master.run_dir / "secret"
        secret.write_text("0123456789abcdef" * 4)
        secret.chmod(0o600)
        shutil.copy(secret, worker.run_dir / "secret")
        yield master, worker


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fault points of the nodes that run."""
    return tmp_path_factory.mktemp("points")


@pytest.fixture(scope="module")
def running(test_run: str, lofar: socket.socket, points: Path) -> Iterator[Pair]:
    """Both nodes run; tests count from what was there."""
    with two_nodes(test_run, lofar, points) as (master, worker):
        master.start()
        worker.start()
        wait_for(lambda: "localhost" in told(worker, "amber_clustering", "forwarding"))
        wait_for(lambda: WORKER in told(master, "lofar_trigger", "clients"))
        yield master, worker


@pytest.fixture
def cluster(test_run: str, lofar: socket.socket) -> Iterator[Pair]:
    """Nodes of a test's own, not started."""
    with two_nodes(test_run, lofar) as nodes:
        yield nodes


def finding(burst: Trigger) -> dict[str, Any]:
    """What a processor has measured of a trigger's burst."""
    numbers = {"arrival": burst.arrival, "dm": burst.dm, "snr": 30.0, "width": 1.0}
    about = {"cb": 3, "sb": 35, "probability": 0.9, "host": WORKER}
    named = {"observation": "", "identity": burst.identity}
    return BurstFinding(**named, **numbers, **about).to_plain()


def put(node: Node, *items: Trigger | dict[str, Any], service: str = "lofar_trigger") -> None:
    """On the worker's queue of a service, where its amber_clustering puts them; an entry each."""
    key = read_secret(node.run_dir / "secret")
    client = QueueClient(node.run_dir / "queues.sock", key, "test")
    for one in items:
        client.call("put", service, [one if isinstance(one, dict) else one.to_plain()])
    client.close()


def told(node: Node, service: str, attribute: str) -> str:
    return str(node.ask("--service", service, "get_attr", attribute)[service])


def number(node: Node, attribute: str) -> int:
    """What lofar_trigger has counted; of outcomes, the one there is."""
    found = re.search(r"(\d+)}+$", told(node, "lofar_trigger", attribute))
    return int(found[1]) if found else 0


def handed_in(worker: Node) -> int:
    """How many its amber_clustering has handed in since it was started, and the master took."""
    found = re.search(r"reached; (\d+) handed in", told(worker, "amber_clustering", "forwarding"))
    return int(found[1]) if found else 0


def test_a_worker_hands_in_at_the_master_node(running: Pair, lofar: socket.socket) -> None:
    master, worker = running
    before = handed_in(worker)
    error = told(master, "lofar_trigger", "last_error")
    put(worker, trigger(snr=30.0, cb=3))
    assert parse(lofar.recv(100)).test
    wait_for(lambda: handed_in(worker) == before + 1)
    assert worker.ask("lofar_status") == "Failed: should run on master node"
    assert "handed in at lofar_trigger" in told(worker, "amber_clustering", "last_trigger")
    wait_for(lambda: "sent to LOFAR" in told(master, "lofar_trigger", "last_trigger"))
    assert told(master, "lofar_trigger", "last_error") == error

    def shown() -> str:
        overview = json.loads(master.ask("get_attr", "overview").partition(" = ")[2])
        service = next(one for one in overview["services"] if one["name"] == "lofar_trigger")
        return str((service["last_trigger"] or {}).get("text", ""))

    wait_for(lambda: "sent to LOFAR" in shown(), 20.0)


def test_what_cannot_be_handed_in_is_kept_and_handed_in_once(
    cluster: Pair, lofar: socket.socket
) -> None:
    master, worker = cluster
    worker.start()
    put(worker, trigger(), trigger())
    said = wait_for(
        lambda: (said := told(worker, "amber_clustering", "forwarding")).count("2 waiting") and said
    )
    assert "NOT REACHED since" in said
    assert worker.ask("get_attr", "queue_depths").endswith("= {'lofar_trigger': 2}")
    # It is on disk: neither the death of the service nor that of the whole node loses it.
    os.kill(worker.pid("amber_clustering"), signal.SIGKILL)
    worker.call("darc_kill_all")
    worker.start()
    master.start()
    lofar.recv(100), lofar.recv(100)
    wait_for(lambda: worker.ask("get_attr", "queue_depths").endswith("= {}"))
    assert "triggers are kept" in worker.log("amber_clustering")
    wait_for(lambda: "'sent': 2" in told(master, "lofar_trigger", "outcomes"))
    assert told(master, "lofar_trigger", "triggers_received").endswith(": 2}")


def test_measurements_that_have_waited_hold_up_no_trigger(cluster: Pair) -> None:
    """As after an hour without the master node: workers go on with measuring meanwhile."""
    master, worker = cluster
    master.configure(
        darc_master={"services_master_mix": ["voevent_generator"]},
        voevent_generator={"send_events": True, "roads": ["file"]},
    )
    burst, number = trigger(), 250
    worker.start()
    put(worker, *[finding(burst)] * number, burst.to_plain(), service="voevent_generator")
    master.start()
    notices = master.home / "notices"
    wait_for(lambda: [*notices.glob("*.1.json")], 60.0)
    wait_for(lambda: worker.ask("get_attr", "queue_depths").endswith("= {}"))
    assert f"{number + 1} handed in" in told(worker, "amber_clustering", "forwarding")
    # They came in few deliveries, and all of them: the burst was measured.
    (came,) = re.findall(r"(\d+) handed in", told(master, "voevent_generator", "clients"))
    assert int(came) <= 10
    wait_for(lambda: "'probability': 0.9" in told(master, "voevent_generator", "events"))


def test_what_is_of_no_use_any_more_expires(cluster: Pair, lofar: socket.socket) -> None:
    master, worker = cluster
    limit = patience(1.0)
    for one in cluster:
        one.configure(lofar_trigger={"age_limit": limit})
    worker.start()
    last = trigger()
    put(worker, {"nothing": 1}, finding(trigger()), last)
    wait_for(lambda: worker.ask("get_attr", "queue_depths").endswith("= {}"))
    wait_for(lambda: "1 expired" in told(worker, "amber_clustering", "forwarding"))
    # A measurement that comes late is no loss, nor is what holds no trigger, which is named.
    wait_for(lambda: last.identity in told(worker, "amber_clustering", "losses"))
    losses = told(worker, "amber_clustering", "losses")
    assert re.findall(r"'number': (\d+)", losses) == ["1"], losses
    assert "dropped: no valid trigger" in worker.log("amber_clustering")
    assert "expired before lofar_trigger could be reached" in worker.log("amber_clustering")
    # What has waited there counts here as well, and an old pulse that has not waited does not.
    master.start()
    key = read_secret(master.run_dir / "secret")
    place = "127.0.0.1", master.config["lofar_trigger"]["server_port"]
    client = QueueClient(place, key, "test", patience(3.0))
    for number, waited in ((1, 2 * limit), (2, 0.0)):
        late = pack([trigger(age=120.0).to_plain()])
        assert client.call("deliver", "h", "s", number, "", late, waited)
    lofar.recv(100)
    wait_for(
        lambda: told(master, "lofar_trigger", "outcomes").endswith("{'expired': 1, 'sent': 1}}")
    )


@pytest.mark.parametrize("point", ["before", "after"])
def test_a_death_while_handing_in_loses_and_doubles_nothing(
    running: Pair, lofar: socket.socket, points: Path, point: str
) -> None:
    master, worker = running
    before = number(master, "triggers_received")
    pid = worker.pid("amber_clustering")
    (points / f"amber_clustering.{point} handing in to lofar_trigger").touch()
    put(worker, trigger())
    wait_for(lambda: worker.pid("amber_clustering") not in (0, pid))
    lofar.recv(100)
    wait_for(lambda: worker.ask("get_attr", "queue_depths").endswith("= {}"))
    assert number(master, "triggers_received") == before + 1


def test_a_service_that_dies_after_taking_over_gets_it_once(
    running: Pair, lofar: socket.socket, points: Path
) -> None:
    master, worker = running
    # A packet is counted when it has left: those of other tests are waited for.
    wait_for(lambda: number(master, "outcomes") == number(master, "triggers_received"))
    sent = number(master, "outcomes")
    pid = master.pid("lofar_trigger")
    (points / "lofar_trigger.after taking over").touch()
    put(worker, trigger())
    wait_for(lambda: master.pid("lofar_trigger") not in (0, pid))
    lofar.recv(100)
    wait_for(lambda: worker.ask("get_attr", "queue_depths").endswith("= {}"))
    assert "which had it already" in worker.log("amber_clustering")
    wait_for(lambda: number(master, "outcomes") == sent + 1)


def test_no_proof_of_the_secret_no_trigger(running: Pair, lofar: socket.socket) -> None:
    master, _ = running
    refused = number(master, "refused_clients")
    logged = master.log("lofar_trigger").count("no proof of the secret")
    place = "127.0.0.1", master.config["lofar_trigger"]["server_port"]
    with pytest.raises(QueueError, match="the secret was not accepted"):
        QueueClient(place, b"another secret of thirty-two char", "stranger", patience(3.0))
    # A pickle that would make a file, before the proof and after it.
    mark = master.home / "pickled"
    pickle = b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    with socket.create_connection(place, timeout=patience(5.0)) as stranger:
        stranger.sendall(len(pickle).to_bytes(4, "big") + pickle)
        while stranger.recv(1000):
            pass
    raw = plain_client(place, read_secret(master.run_dir / "secret"), 3.0)
    raw.send_bytes(pickle)
    assert raw.recv()[0] == "#TRACEBACK"
    client = QueueClient(place, read_secret(master.run_dir / "secret"), "test", patience(3.0))
    for content in (pickle, pack("no list"), b"x" * (2**20 + 1), None):
        with pytest.raises(QueueError, match="triggers"):
            client.call("deliver", "h", "s", 1, "", content, 0.0)
    with pytest.raises(QueueError, match="no such request"):
        client.call("shutdown")
    assert not mark.exists()
    wait_for(lambda: number(master, "refused_clients") == refused + 2)
    assert master.log("lofar_trigger").count("no proof of the secret") == logged + 2
    # And it goes on for those who have it.
    good = pack([trigger().to_plain()])
    assert client.call("deliver", "h", "s", 1, "", good, 0.0)
    assert not client.call("deliver", "h", "s", 1, "", good, 0.0)
    assert parse(lofar.recv(100)).dm_tenths == 5000


def test_a_master_node_that_takes_and_never_answers_holds_up_nothing(
    cluster: Pair, lofar: socket.socket
) -> None:
    master, worker = cluster
    with socket.create_server(("127.0.0.1", master.config["lofar_trigger"]["server_port"])):
        worker.start()
        put(worker, trigger())
        wait_for(lambda: "no reply in time" in told(worker, "amber_clustering", "forwarding"), 20.0)
        assert worker.states() == {"amber_clustering": "running"}
    master.start()
    assert parse(lofar.recv(100)).test
    with pytest.raises(QueuesGoneError):
        QueueClient(("127.0.0.1", free_port()), b"x" * 32, "test", 1.0)
