"""An observation of a cluster in a box: its bursts, and the systems outside as stand-ins."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from nodes import ROOT, patience, value_of

from darc.science.clustering import fixed_dm_edges
from simulator.amber_files import format_header, trigger_name
from simulator.box import BoxNode
from simulator.bursts import AmberSearch, Burst
from simulator.generator import make_observation_candidates
from simulator.write_parsets import MadeObservation, write_observation

#: Towards the Galactic north pole the Milky Way is thin: any burst is extragalactic.
POINTING = (192.859, 27.128)
SEARCH = AmberSearch()
DURATION = 3600.0
DM_BIN_TOP, DM_MARGIN = 10_000.0, 15.0
LOFAR_PORT, IQUV_PORT, BROKER_PORT = 31662, 30001, 9000
#: Each burst is one trigger, and one pulse; what leaves is told at once.
SECTIONS: dict[str, dict[str, Any]] = {
    "amber_clustering": {
        "interval": 0.3,
        "thresh_iquv": {"interval": 0},
        "thresh_lofar": {"max_cands_per_cluster": 100_000},
    },
    "lofar_trigger": {"send_events": True, "interval": 0.3, "lofar_port": LOFAR_PORT},
    "voevent_generator": {"send_events": True, "interval": 0.3, "broker_port": BROKER_PORT},
}

_LOFAR = """
from simulator.lofar import Lofar
with Lofar(int(sys.argv[1])) as lofar:
    say("ready")
    for n in itertools.count(1):
        say(lofar.wait_for(n, 1e6)[n - 1].freeze.dm_tenths / 10)
"""
_DBEVENT = """
from simulator.dbevent import DadaDbevent
with DadaDbevent(sys.argv[2], port=int(sys.argv[1])) as dbevent:
    say("ready")
    for n in itertools.count(1):
        say([event.asked.dm for event in dbevent.wait_for(n, 1e6)[n - 1].events])
"""
_BROKER = """
from darc.model import voevent_xml
from simulator.comet_broker import CometBroker, Subscriber
with CometBroker(int(sys.argv[1])) as broker, Subscriber(broker.broadcast_port) as subscriber:
    say("ready")
    for n in itertools.count(1):
        event = voevent_xml.read(subscriber.wait_for(n, 1e6)[n - 1].event)
        say([event.get("role"), float(event.find(".//Param[@name='dm']").get("value"))])
"""
_BEGIN = f"""
import itertools, json, sys
sys.path.append({str(ROOT)!r})
def say(what): print(json.dumps(what), flush=True)
"""


class StandIn:
    """A program in a node that says what came to it."""

    def __init__(self, node: BoxNode, code: str, *arguments: object) -> None:
        words = (sys.executable, "-c", _BEGIN + code, *map(str, arguments))
        # What it leaves where it is killed goes with the node's home.
        self._process = node.popen("env", f"TMPDIR={node.home}", *words, stdout=subprocess.PIPE)
        self._came: list[Any] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        assert self._next_line() == "ready"
        self._thread.start()

    def _next_line(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def _read(self) -> None:
        while (what := self._next_line()) is not None:
            with self._more:
                self._came.append(what)
                self._more.notify_all()

    @property
    def came(self) -> list[Any]:
        with self._more:
            return list(self._came)

    def wait_for(self, *expected: Any, timeout: float = 40.0) -> None:
        """Wait until each of these has come."""
        timeout = patience(timeout)
        with self._more:
            arrived = self._more.wait_for(
                lambda: all(what in self._came for what in expected), timeout
            )
            assert arrived, f"not {expected} within {timeout} s, but {self._came}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()


def lofar(node: BoxNode) -> StandIn:
    """Says the DM of each packet."""
    return StandIn(node, _LOFAR, LOFAR_PORT)


def broker(node: BoxNode) -> StandIn:
    """Says role and DM of each VOEvent that is broadcast."""
    return StandIn(node, _BROKER, BROKER_PORT)


def dbevent(node: BoxNode, start: float) -> StandIn:
    """Says the DMs of each request.

    :param start: of the observation, Unix s
    """
    utc_start = time.strftime("%Y-%m-%d-%H:%M:%S", time.gmtime(start))
    return StandIn(node, _DBEVENT, IQUV_PORT, utc_start)


class Bursts:
    """The bursts of an observation, each in a second and of a DM of its own."""

    def __init__(self, start: float) -> None:
        self.start = start
        self._second = 0
        self._dm = 200.0

    def next(self) -> Burst:
        """One of just now."""
        self._second = max(self._second + 1, int(time.time() - self.start))
        # Away from the edges of DM bins, so that it is one trigger.
        while True:
            self._dm += 5.0
            if all(abs(self._dm - edge) > DM_MARGIN for edge in fixed_dm_edges(DM_BIN_TOP)):
                return Burst(self._second + 0.5, self._dm, 10, 40.0, beam=5)


class Observing:
    """A worker that observes; its trigger files grow by what is sent to it."""

    def __init__(self, worker: BoxNode, task_id: str, start: float, beam: int) -> None:
        self.worker = worker
        self.beam = beam
        self.made: MadeObservation = write_observation(
            worker.home / task_id,
            task_id=task_id,
            source="BLANK",
            start=start,
            duration=DURATION,
            beam=beam,
            instances=1,
            pointing=POINTING,
        )
        self.file: Path = self.made.amber_dir / trigger_name(beam, 1)
        self.file.write_bytes(format_header())
        self.command("start_observation")

    def command(self, command: str) -> None:
        parset = str(self.made.parset)
        self.worker.run("darc", "--parset", parset, command, check=True)

    def see(self, burst: Burst) -> float:
        """Have AMBER write all its lines of a burst; the DM by which it is known."""
        made = make_observation_candidates(
            [burst], duration=DURATION, seed=1, interference_rate=0.0, instances=1, search=SEARCH
        )
        with self.file.open("ab") as file:
            file.write(b"".join(line for _, line in made.instances[0]))
        return round(made.truth[0].dm, 1)


def told(node: BoxNode, service: str, attribute: str) -> Any:
    """An attribute, asked in the node itself."""
    words = ("darc", "--json", "--service", service, "get_attr", attribute)
    answer = json.loads(node.run(*words).stdout)["message"][service]
    return value_of(answer)


def forwarding(worker: BoxNode) -> str:
    """How handing in at the master node's lofar_trigger goes."""
    return str(told(worker, "amber_clustering", "forwarding")["lofar_trigger"])
