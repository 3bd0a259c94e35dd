"""Nodes that are cut off, dead, full or different while they observe: what is told, and that every
burst reaches LOFAR once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from boxes import require_box
from clusters import config_of, on_all, run_dir, start
from nodes import TEST_RUN, wait_for
from observing import SECTIONS, Bursts, Observing, dbevent, forwarding, lofar, told

from darc.box import Box, BoxNode

#: Light services: an observation, and one that tells somebody outside.
SERVICES = {
    "services_master_mix": ["lofar_trigger"],
    "services_worker_mix": ["amber_listener", "amber_clustering", "dada_trigger"],
    "setup_time": 0.1,
    "reserve_bytes": 2**20,
}
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
    config = config_of({**SECTIONS, "darc_master": SERVICES})
    with Box(3, config=config, environment={TEST_RUN: test_run}) as box:
        made = Cluster(box)
        yield made
        made.close()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """As every test finds it, and has to leave it."""
    shared_cluster.all_told(*shared_cluster.see(*shared_cluster.box.workers))
    return shared_cluster


def is_waiting(worker: BoxNode) -> bool:
    said = forwarding(worker)
    return "NOT REACHED since" in said and " 1 waiting" in said


# -- in the middle of an observation ---------------------------------------------------------------


@pytest.mark.parametrize("disturb", [BoxNode.cut_off, BoxNode.drop_packets])
def test_a_worker_out_of_reach(cluster: Cluster, disturb: Disturb) -> None:
    disturb(cluster.first)
    (unheard,) = cluster.see(cluster.first)
    # Its own data are dumped as ever, and the others go on.
    cluster.dumps.wait_for([unheard])
    wait_for(lambda: is_waiting(cluster.first), 30.0, "it says so")
    (heard,) = cluster.see(cluster.second)
    cluster.lofar.wait_for(heard)
    assert unheard not in cluster.lofar.came
    queues = cluster.first.run("darc", "get_attr", "queue_depths").stdout
    assert "'lofar_trigger': 1" in queues
    cluster.first.restore()
    cluster.all_told(unheard, heard)


@pytest.mark.parametrize("disturb", [BoxNode.cut_off, BoxNode.drop_packets])
def test_a_master_node_out_of_reach(cluster: Cluster, disturb: Disturb) -> None:
    disturb(cluster.master)
    dms = cluster.see(*cluster.box.workers)
    cluster.dumps.wait_for([dms[0]])
    for worker in cluster.box.workers:
        wait_for(lambda: is_waiting(worker), 30.0, "it says so")  # noqa: B023
    cluster.master.restore()
    cluster.all_told(*dms)


def test_a_master_node_that_loses_its_power(cluster: Cluster) -> None:
    cluster.master.kill()
    dms = cluster.see(*cluster.box.workers)
    cluster.dumps.wait_for([dms[0]])
    for worker in cluster.box.workers:
        wait_for(lambda: is_waiting(worker), 30.0, "it says so")  # noqa: B023
    cluster.master.revive()
    cluster.anew()
    said = start(cluster.master)
    assert "1 service: 1 started" in said.nodes["master"][1]
    assert "3 services: 3 already running" in said.nodes["worker01"][1]
    cluster.all_told(*dms)
    assert told(cluster.master, "lofar_trigger", "triggers_received") == 2


def test_another_secret(cluster: Cluster) -> None:
    """Those who have a connection keep it; those who come prove the new one."""
    before = cluster.see(*cluster.box.workers)
    said = on_all(cluster.master, "darc_replace_secret")
    assert said.status == 0, said
    after = cluster.see(*cluster.box.workers)
    cluster.all_told(*before, *after)
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
    assert "the journal is full: nothing new is taken in until there is room" in log.read_text()
    (heard,) = cluster.see(cluster.first)
    cluster.lofar.wait_for(heard)
    assert held not in cluster.lofar.came
    full.run("rm", filler, check=True)
    wait_for(lambda: full.run(*attribute).stdout.endswith("= False\n"), 30.0, "there is room")
    cluster.all_told(held, heard)
