"""Nodes that are cut off, dead, full or different while they observe: what commands and the status
page tell, and that every burst reaches LOFAR once."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from boxes import require_box
from clusters import (
    Said,
    ask,
    config_of,
    configure,
    log,
    on_all,
    page,
    page_is_rid_of,
    page_says,
    run_dir,
    secret_file,
    start,
)
from msgspec import Struct
from msgspec.structs import replace
from nodes import TEST_RUN, wait_for
from observing import (
    IQUV_PORT,
    SECTIONS,
    Bursts,
    Observing,
    StandIn,
    dbevent,
    forwarding,
    lofar,
    told,
)
from triggers import TRIGGER

import darc
from darc.node.secret import read_secret
from darc.queues.client import QueueClient
from simulator.box import Box, BoxNode

#: Light services: an observation, and one that tells somebody outside.
SERVICES = {
    "services_master_mix": ["lofar_trigger", "status_website"],
    "services_worker_mix": ["amber_listener", "amber_clustering", "dada_trigger"],
    "setup_time": 0.1,
    "reserve_bytes": 2**20,
}
PAGE = {"interval": 1, "timeout": 1}
SILENT = ("worker01: no answer", "worker[01-02]: no answer")
FULL = "worker02: the journal is full, nothing new is taken in"
DISK = "8M"  # of the second worker, for its journal and sockets
Disturb = Callable[[BoxNode], None]


class Cluster:
    """A master node and two workers in an observation."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.master, self.first, self.second = box.nodes
        self._small_disk(self.second)
        start(self.master)
        begins = time.time()
        self.bursts = Bursts(begins)
        self.observing = {
            worker: Observing(worker, "disturbed", begins, beam)
            for beam, worker in enumerate(box.workers)
        }
        self.dumps = dbevent(self.first, begins)
        self.lofar = lofar(self.master)
        self.told: Counter[float] = Counter()

    @staticmethod
    def _small_disk(node: BoxNode) -> None:
        run_dir(node).mkdir(parents=True, mode=0o700)
        mount = ("mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs")
        node.run(*mount, str(run_dir(node)), check=True)

    def see(self, *workers: BoxNode) -> list[float]:
        """Each of these sees a burst of its own; their DMs."""
        return [self.observing[worker].see(self.bursts.next()) for worker in workers]

    def all_told(self, *dms: float) -> None:
        """LOFAR has been told of these, and of all that was before, once."""
        self.told.update(dms)
        self.lofar.wait_for(*dms)
        for worker in self.box.workers:
            wait_for(lambda: " 0 waiting, 0 expired" in forwarding(worker), 30.0, "none waiting")  # noqa: B023
        assert Counter(self.lofar.came) == self.told

    def anew(self) -> None:
        """LOFAR listens again, and remembers nothing."""
        self.lofar.close()
        self.lofar = lofar(self.master)
        self.told.clear()

    def close(self) -> None:
        self.lofar.close()
        self.dumps.close()


@pytest.fixture(scope="module")
def shared_cluster(test_run: str) -> Iterator[Cluster]:
    require_box()
    config = config_of({**SECTIONS, "darc_master": SERVICES, "status_website": PAGE})
    with Box(3, config=config, environment={TEST_RUN: test_run}) as box:
        made = Cluster(box)
        yield made
        made.close()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """As every test finds it, and has to leave it."""
    shared_cluster.all_told(*shared_cluster.see(*shared_cluster.box.workers))
    yield shared_cluster
    for node in shared_cluster.box.nodes:
        node.restore()


def is_waiting(worker: BoxNode) -> bool:
    said = forwarding(worker)
    return "NOT REACHED since" in said and " 1 waiting" in said


def test_what_listens(cluster: Cluster) -> None:
    """Beside sshd: commands everywhere, and on the master node who takes triggers in."""
    for node, ports in ((cluster.master, {51000, 5201}), (cluster.first, {51000})):
        rows = node.run("ss", "-Hltn", check=True).stdout.splitlines()
        # dada_dbevent, the page, and the metrics
        here = {f"127.0.0.1:{IQUV_PORT}", "127.0.0.1:51080", "127.0.0.1:51090"}
        listening = {row.split()[3] for row in rows} - {"0.0.0.0:22", *here}
        assert listening == {f"0.0.0.0:{port}" for port in ports}


# -- in the middle of an observation ---------------------------------------------------------------


@pytest.mark.parametrize("disturb", [BoxNode.cut_off, BoxNode.drop_packets])
def test_a_worker_out_of_reach(cluster: Cluster, disturb: Disturb) -> None:
    disturb(cluster.first)
    (unheard,) = cluster.see(cluster.first)
    # Its own data are dumped as ever, and the others go on.
    cluster.dumps.wait_for([unheard])
    wait_for(lambda: is_waiting(cluster.first), 30.0, "it says so")
    page_says(cluster.master, SILENT[0])
    assert page(cluster.master)["nodes"][1]["verdict"] == "unknown"
    (heard,) = cluster.see(cluster.second)
    cluster.lofar.wait_for(heard)
    assert unheard not in cluster.lofar.came
    queues = cluster.first.run("darc", "get_attr", "queue_depths").stdout
    assert "'lofar_trigger': 1" in queues
    cluster.first.restore()
    cluster.all_told(unheard, heard)
    page_is_rid_of(cluster.master, *SILENT)


def test_a_master_node_out_of_reach(cluster: Cluster) -> None:
    cluster.master.cut_off()
    dms = cluster.see(*cluster.box.workers)
    cluster.dumps.wait_for([dms[0]])
    for worker in cluster.box.workers:
        wait_for(lambda: is_waiting(worker), 30.0, "it says so")  # noqa: B023
    page_says(cluster.master, SILENT[1])
    cluster.master.restore()
    cluster.all_told(*dms)
    page_is_rid_of(cluster.master, *SILENT)


def test_a_master_node_that_loses_its_power(cluster: Cluster) -> None:
    cluster.master.kill()
    dms = cluster.see(*cluster.box.workers)
    cluster.dumps.wait_for([dms[0]])
    for worker in cluster.box.workers:
        wait_for(lambda: is_waiting(worker), 30.0, "it says so")  # noqa: B023
    died = page(cluster.master)
    assert time.time() - died["time"] > died["interval"], "it looks up to date"
    cluster.master.revive()
    cluster.anew()
    said = start(cluster.master)
    # A master that finds what ran before may be the first to start it.
    counts = re.findall(r"(\d) (?:started|already running)", said.nodes["master"][1])
    assert sum(map(int, counts)) == 2
    assert "3 services: 3 already running" in said.nodes["worker01"][1]
    cluster.all_told(*dms)
    assert told(cluster.master, "lofar_trigger", "triggers_received") == 2
    page_is_rid_of(cluster.master, *SILENT)


def test_another_secret(cluster: Cluster) -> None:
    """Those who have a connection keep it; those who come prove the new one."""
    before = cluster.see(*cluster.box.workers)
    said = on_all(cluster.master, "darc_replace_secret")
    assert said.status == 0, said
    after = cluster.see(*cluster.box.workers)
    cluster.all_told(*before, *after)
    verdicts = {node["verdict"] for node in page(cluster.master)["nodes"]}
    assert "unknown" not in verdicts, "it cannot be read with another secret"
    for node in (cluster.first, cluster.master):
        service = "lofar_trigger" if node is cluster.master else "amber_clustering"
        pid = pid_of(node, service)
        node.run("kill", "-9", str(pid), check=True)
    cluster.all_told(*cluster.see(*cluster.box.workers))


def pid_of(node: BoxNode, service: str) -> int:
    words = ("supervisorctl", "-c", str(run_dir(node) / "supervisord.conf"), "pid", service)
    return int(node.run(*words, check=True).stdout)


def test_a_full_disk(cluster: Cluster) -> None:
    full = cluster.second
    filler = str(run_dir(full) / "filler")
    full.run("dd", "if=/dev/zero", f"of={filler}", "bs=4k")  # until there is no room
    (held,) = cluster.see(full)
    attribute = ("darc", "get_attr", "journal_full")
    wait_for(lambda: full.run(*attribute).stdout.endswith("= True\n"), 30.0, "it is told")
    log = full.home / "log" / f"darc_master.{full.name}.log"
    said = "the journal is full and refuses new entries until there is room"
    wait_for(lambda: said in log.read_text())
    page_says(cluster.master, FULL)
    (heard,) = cluster.see(cluster.first)
    cluster.lofar.wait_for(heard)
    assert held not in cluster.lofar.came
    full.run("rm", filler, check=True)
    wait_for(lambda: full.run(*attribute).stdout.endswith("= False\n"), 30.0, "there is room")
    cluster.all_told(held, heard)
    page_is_rid_of(cluster.master, FULL)


def test_what_can_never_be_handed_in(cluster: Cluster) -> None:
    """It holds up nothing that comes behind it."""
    key = read_secret(secret_file(cluster.first))
    queues = run_dir(cluster.first) / "queues.sock"
    with contextlib.closing(QueueClient(queues, key, "test")) as client:
        client.call("put", "lofar_trigger", [TRIGGER.to_plain()] * 2500)
    cluster.all_told(*cluster.see(cluster.first))
    lines = log(cluster.first, "amber_clustering")
    assert sum("dropped, which would hold up all others" in line for line in lines) == 1


# -- nodes that differ -----------------------------------------------------------------------------

CLOCK_SECONDS = 200
#: Shorter than clocks are apart, and long enough for a stop and a start on a busy machine.
AGE_LIMIT = 150.0
OLD_VERSION = "0.0.1"
TWO_MASTERS = "worker[04-05] takes worker04 for the master"
# What python is on the workers: one's clock is ahead, one's behind, one has another DARC. A library
# that moves the clock below Python (libfaketime 0.9.10) makes its timed waits hang, or its sleeps
# fail; all of DARC asks Python's.
_PYTHON = """#!/bin/sh
export PYTHONPATH={directory}/$(hostname)
exec {python} "$@"
"""
_CLOCK = """
import time
right = time.time
time.time = lambda: right() + {seconds}
"""


class Different(Struct, frozen=True):
    """A cluster of nodes that differ; what start_full_pipeline said; whom the master node tells."""

    box: Box
    said: Said
    lofar: StandIn

    def remarks(self, name: str) -> str:
        phase, text = self.said.nodes[name]
        assert phase == "done"
        return text


@pytest.fixture(scope="module")
def different(test_run: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Different]:
    """Workers that differ from the master node: two clocks, a version, two other masters."""
    require_box()
    directory = tmp_path_factory.mktemp("different")
    for name, seconds in (("worker01", CLOCK_SECONDS), ("worker02", -CLOCK_SECONDS)):
        (directory / name).mkdir()
        (directory / name / "sitecustomize.py").write_text(_CLOCK.format(seconds=seconds))
    copy_of_another_version(directory / "worker03")
    interpreter = directory / "python"
    interpreter.write_text(_PYTHON.format(directory=directory, python=sys.executable))
    interpreter.chmod(0o755)
    sections = {
        **SECTIONS,
        "lofar_trigger": {**SECTIONS["lofar_trigger"], "age_limit": AGE_LIMIT},
        "darc_master": {
            "services_master_mix": ["lofar_trigger", "status_website"],
            "services_worker_mix": ["amber_clustering"],
        },
        "status_website": PAGE,
        "cluster": {"python": str(interpreter)},
    }
    with Box(6, config=config_of(sections), environment={TEST_RUN: test_run}) as box:
        for node in box.workers[3:]:
            configure(node, "master: master", "master: worker04")
            configure(node, "- worker04\n", "- master\n")
        said = start(box.master, status=1)
        with contextlib.closing(lofar(box.master)) as told_there:
            yield Different(box, said, told_there)


def copy_of_another_version(directory: Path) -> None:
    """A DARC that says it is another one."""
    package = Path(darc.__file__).parent
    shutil.copytree(package, directory / "darc")
    init = directory / "darc" / "__init__.py"
    text = init.read_text()
    assert darc.__version__ in text
    init.write_text(text.replace(darc.__version__, OLD_VERSION))
    for name in ("conf", "supervisor"):  # beside a checkout
        if (package.parent / name).is_dir():
            shutil.copytree(package.parent / name, directory / name)


_numbers = itertools.count(1)
#: Pulses are told apart by when they came, so two are never one, however long a test is between.
_first_pulse = time.time()


def put(worker: BoxNode) -> float:
    """A trigger of a pulse of its own, where amber_clustering puts them; its DM."""
    number = next(_numbers)
    utc = datetime.fromtimestamp(_first_pulse - 10.0 * number, UTC).replace(tzinfo=None)
    dm = 500.0 + number
    trigger = replace(TRIGGER, observation="", window=number, utc=utc.isoformat(), dm=dm)
    key = read_secret(secret_file(worker))
    with contextlib.closing(QueueClient(run_dir(worker) / "queues.sock", key, "test")) as client:
        client.call("put", "lofar_trigger", [trigger.to_plain()])
    return dm


def is_handed_in(worker: BoxNode) -> bool:
    return "reached; 1 handed in, 0 waiting, 0 expired" in forwarding(worker)


@pytest.mark.parametrize(("name", "way"), [("worker01", "ahead of"), ("worker02", "behind")])
def test_a_clock_that_is_off(different: Different, name: str, way: str) -> None:
    worker, master = different.box.node(name), different.box.master
    page_says(master, f"The clock of {name} is {way.split(maxsplit=1)[0]}", grave=False)
    assert re.search(rf"its clock is \d+\.\d s or more {way} the one here", different.remarks(name))
    logged = datetime.strptime(log(worker, "darc_master")[0][:19], "%Y-%m-%d %H:%M:%S")
    first = datetime.strptime(log(master, "darc_master")[0][:19], "%Y-%m-%d %H:%M:%S")
    assert abs((logged - first).total_seconds()) > AGE_LIMIT, "its clock is as everybody's"
    # Nothing waits for it, nothing is too old by it, and proofs know no time.
    dm = put(worker)
    different.lofar.wait_for(dm)
    wait_for(lambda: is_handed_in(worker), 30.0, "handed in")
    for asking, of in ((master, worker), (worker, master)):
        assert ask(asking, of, "reload").startswith("Config reloaded")
    assert different.lofar.came.count(dm) == 1


def test_another_version_on_a_node(different: Different) -> None:
    worker = different.box.node("worker03")
    expected = f"has DARC {OLD_VERSION}, here it is {darc.__version__}"
    assert expected in different.remarks("worker03")
    title = f"worker03 runs DARC {OLD_VERSION}, this host {darc.__version__}"
    page_says(different.box.master, title, grave=False)
    version = ask(different.box.master, worker, "get_attr", "version")
    assert version == f"DARCMaster.version = {OLD_VERSION}"
    different.lofar.wait_for(put(worker))


def test_two_masters(different: Different) -> None:
    """Both tell LOFAR, so an operator has to be told; then it is repaired as anything is."""
    box = different.box
    other, astray = box.workers[3:]
    assert "is a worker in the configuration here, and a master in its own" in different.remarks(
        other.name
    )
    assert "the master is master here, and worker04 in its config" in different.remarks(astray.name)
    assert "worker04: " in different.said.rest
    assert "worker05: " in different.said.rest
    page_says(box.master, TWO_MASTERS)
    with contextlib.closing(lofar(other)) as told_too:
        dms = put(other), put(astray)
        told_too.wait_for(*dms)
        assert not set(dms) & set(different.lofar.came)
        assert ask(box.master, other, "lofar_status") == "LOFAR triggering is enabled"
    # The one goes down, and what the other one has for it waits.
    on_all(box.master, "stop_full_pipeline", "--nodes", other.name)
    waiting = put(astray)
    wait_for(lambda: " 1 waiting" in forwarding(astray), 30.0, "waiting")
    for node in (other, astray):
        configure(node, "master: worker04", "master: master")
        configure(node, "- master\n", "- worker04\n")
    on_all(box.master, "stop_full_pipeline", "--nodes", astray.name)
    said = start(box.master, "--nodes", other.name, astray.name)
    assert "configuration" not in said.rest
    page_is_rid_of(box.master, TWO_MASTERS)
    different.lofar.wait_for(waiting, put(other))
    assert different.lofar.came.count(waiting) == 1
