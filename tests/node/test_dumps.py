"""dada_trigger on a real node: what dada_dbevent is asked for, and what happens when it is not."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clocks import SetClock
from dump_requests import parse_request
from msgspec.structs import replace
from nodes import Node, node, patience
from nodes import wait_for as wait_for_seconds
from triggers import made_trigger

from darc.model.trigger import Trigger
from darc.queues.client import Holder, QueueClient, Queues
from darc.queues.messages import Commit, ContentKind, FullError, Put
from darc.queues.plain_connection import pack
from darc.science.clustering import fixed_dm_edges
from simulator.dbevent import DadaDbevent
from simulator.generator import Burst, make_observation_candidates, timed_files
from simulator.player import Player
from simulator.write_parsets import MadeObservation, write_observation

TIMEOUT = 40.0  # s, for what has to come: others may be at work on the same cores
wait_for = partial(wait_for_seconds, timeout=TIMEOUT)

GATHER_SECONDS = 0.3  # s
BUFFER_SECONDS = patience(60.0)
USUAL = {"buffer_length": BUFFER_SECONDS, "polcal_dump_size": 0.2, "polcal_interval": 0.5}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file here has the service die at a point."""
    return tmp_path_factory.mktemp("fault_points")


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """Those of dada_dbevent; they are kept, so that nobody else answers when it is away."""
    with socket.socket() as one, socket.socket() as other:
        for kept in (one, other):
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept.bind(("127.0.0.1", 0))
        yield {"port_i": one.getsockname()[1], "port_iquv": other.getsockname()[1]}


@pytest.fixture(scope="module")
def clock_of_node(tmp_path_factory: pytest.TempPathFactory) -> SetClock:
    return SetClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def clock(clock_of_node: SetClock) -> Iterator[SetClock]:
    """The node's clock, which is right before and afterwards."""
    yield clock_of_node
    clock_of_node.set(0)


@pytest.fixture(scope="module")
def dump_node(
    test_run: str, points: Path, ports: dict[str, int], clock_of_node: SetClock
) -> Iterator[Node]:
    """A node that runs only dada_trigger."""
    services = {"services_master_mix": [], "services_worker_mix": ["dada_trigger"]}
    master = {**services, "setup_time": 1.0, "control_timeout": 30}
    with node(test_run, darc_master=master, dada_trigger={**ports, **USUAL}) as made:
        made.environment["DARC_FAULT_POINTS"] = str(points)
        made.environment |= clock_of_node.environment
        made.start()
        yield made


@pytest.fixture
def iquv(ports: dict[str, int]) -> Iterator[DadaDbevent]:
    with DadaDbevent(port=ports["port_iquv"], buffer_length=BUFFER_SECONDS) as made:
        yield made


@pytest.fixture
def stokes_i(ports: dict[str, int]) -> Iterator[DadaDbevent]:
    with DadaDbevent(port=ports["port_i"], buffer_length=BUFFER_SECONDS) as made:
        yield made


class Telescope:
    """Observations of a test, and triggers for them."""

    def __init__(self, of: Node, directory: Path) -> None:
        self.node = of
        self._directory = directory
        self._observations: list[MadeObservation] = []
        self.directories: dict[str, str] = {}  # of each observation's books
        self.keys: dict[str, str] = {}  # of each observation's run
        key = (of.run_dir / "secret").read_bytes().strip()
        self.client = QueueClient(of.run_dir / "queues.sock", key, "test")
        self._holder = Holder(self.client, "test", os.getpid(), "Test", None)

    def observe(self, *, age: float = 20.0, source: str = "FAKE", **more: Any) -> MadeObservation:
        """Start an observation that began about so many seconds ago, at six tenths of one."""
        task_id = f"dump{next(_numbers):03d}"
        made = write_observation(
            self._directory / task_id,
            task_id=task_id,
            source=f"{source}-{task_id}",
            start=math.floor(time.time() - age) + 0.6,
            **{"duration": 3600.0, **more},
        )
        self.directories[task_id] = f"{said(made, 0.0)[:19]}.{source}-{task_id}"
        reply = self.node.ask("start_observation", "--parset", str(made.parset))
        assert reply == "Observation started"
        self.keys[task_id] = self.node.run_key(task_id)
        self._observations.append(made)
        wait_for(lambda: f"[{task_id}]: observation of" in self.node.log("dada_trigger"))
        return made

    def put(self, *puts: Put) -> None:
        """Puts of one step: whoever takes one of them takes all."""
        self._holder.commit(Commit(puts=puts), self._holder.next_sequence)

    def trigger(self, *entries: list[Trigger]) -> None:
        """Put triggers as amber_clustering does, several entries at once."""
        self.put(
            *(
                Put(
                    ("dada_trigger",),
                    ContentKind.TRIGGERS,
                    pack([one.to_plain() for one in triggers]),
                    self.keys.get(triggers[0].observation, triggers[0].observation),
                )
                for triggers in entries
            )
        )

    def stop(self, observation: MadeObservation) -> None:
        """Stop an observation; amber_clustering would put the end."""
        reply = self.node.ask("stop_observation", "--parset", str(observation.parset))
        assert reply == "Stopped observation"
        self.put(
            Put(("dada_trigger",), ContentKind.END, observation=self.keys[observation.task_id])
        )

    def remembered(self, observation: MadeObservation) -> dict[str, Any]:
        """What dada_trigger has committed about each dump."""
        where = "dada_trigger", self.keys[observation.task_id]
        memory: dict[str, Any] = {}
        while page := self.client.call("recall", *where, max(memory, default=None)):
            memory.update(page)
        return {key: value for key, value in memory.items() if key.startswith("dump ")}

    def books(self, observation: MadeObservation) -> dict[str, Any]:
        """The observation's books, once it is over: each dump."""
        self.node.wait_until_over(observation.task_id, TIMEOUT)
        directory = self.node.home / "parsets" / self.directories[observation.task_id]
        wait_for((directory / "books.testnode.json").exists)
        books = json.loads((directory / "books.testnode.json").read_text())["dada_trigger"]
        return {key[5:]: value for key, value in books.items() if key.startswith("dump ")}

    def waiting_entries(self) -> int:
        """Those of dada_trigger that are not completed."""
        depths = Queues(self.client).depths()
        return sum(depth.entries for depth in depths if depth.queue == "dada_trigger")

    def close(self) -> None:
        for observation in self._observations:
            self.node.ask("abort_observation", "--parset", str(observation.parset))
            self.node.wait_until_over(observation.task_id)
        wait_for(lambda: not self.waiting_entries(), what="all entries completed")
        self.client.close()


@pytest.fixture
def telescope(dump_node: Node, tmp_path: Path) -> Iterator[Telescope]:
    dump_node.configure(dada_trigger=USUAL, instrument={"batch_length_samples": 12500})
    made = Telescope(dump_node, tmp_path)
    yield made
    made.close()


def told(of: Node, attribute: str) -> Any:
    """An attribute of dada_trigger, as soon as it runs."""

    found: list[Any] = []

    def runs() -> bool:
        found[:] = [of.value("dada_trigger", attribute)]
        return found != [None]

    wait_for(runs, what=attribute)
    return found[0]


def outcomes(of: Node) -> Counter[str]:
    return Counter(told(of, "outcomes"))


def wait_outcomes(of: Node, before: Counter[str], expected: dict[str, int]) -> None:
    """Wait until just these have come since then."""
    wait_for(lambda: outcomes(of) - before == expected, what=f"{expected}")


def logged(of: Node, observation: MadeObservation, what: str) -> bool:
    mark = f"[{observation.task_id}]:"
    return any(mark in line and what in line for line in of.log("dada_trigger").splitlines())


def said(observation: MadeObservation, seconds: float) -> str:
    """A time since the observation's start, as dada_dbevent is told it."""
    whole = datetime.fromtimestamp(math.floor(observation.start), UTC)
    moment = whole + timedelta(milliseconds=round(1e3 * seconds))
    return moment.strftime("%Y-%m-%d-%H:%M:%S ") + f"{moment.microsecond // 1000:03d}"


def request(observation: MadeObservation, *events: tuple[float, float, str]) -> str:
    lines = [
        f"N_EVENTS {len(events)}",
        said(observation, 0.0)[:19],
        *(
            f"{said(observation, start)} {said(observation, end)} {rest}"
            for start, end, rest in events
        ),
    ]
    return "".join(f"{line}\n" for line in lines)


def texts(dada: DadaDbevent, n: int) -> list[str]:
    return [received.text for received in dada.wait_for(n, patience(TIMEOUT))]


# -- what is asked for ---------------------------------------------------------------------------

#: Of the usual trigger: S/N and so on.
REST = "1056.6 28.4666 10 35"
WINDOW = (7.793, 13.937)


def test_a_request_to_the_byte(
    telescope: Telescope, iquv: DadaDbevent, stokes_i: DadaDbevent
) -> None:
    """What a person puts goes the same way."""
    observation = telescope.observe()
    iquv.begin(said(observation, 0.0)[:19])
    before = outcomes(telescope.node)
    trigger = made_trigger(observation=observation.task_id)
    Queues(telescope.client).put([trigger.to_plain()], queue="dada_trigger")
    expected = request(observation, (*WINDOW, REST))
    assert texts(iquv, 1) == [expected]
    assert iquv.kept == list(parse_request(expected).events)
    telescope.trigger([replace(trigger, stokes="I", window=10, snr=12.0, sb=0)])
    assert texts(stokes_i, 1) == [request(observation, (*WINDOW, "1056.6 12 10 0"))]
    wait_outcomes(telescope.node, before, {"sent": 2})
    assert len(iquv.received) == len(stokes_i.received) == 1


def test_an_entry_with_both(telescope: Telescope, iquv: DadaDbevent, stokes_i: DadaDbevent) -> None:
    """It is completed when both requests are done."""
    observation = telescope.observe()
    stokes_i.refuse()
    trigger = made_trigger(observation=observation.task_id)
    telescope.trigger([trigger, replace(trigger, stokes="I")])
    expected = request(observation, (*WINDOW, REST))
    assert texts(iquv, 1) == [expected]
    name = trigger.identity
    wait_for(lambda: telescope.remembered(observation)[f"dump {name}"]["outcome"] == "sent")
    assert told(telescope.node, "waiting") == 1
    assert telescope.waiting_entries() == 1
    stokes_i.accept()
    assert texts(stokes_i, 1) == [expected]
    wait_for(lambda: telescope.waiting_entries() == 0)
    dumps = telescope.remembered(observation)
    assert {key: (row["asked"], row["outcome"]) for key, row in dumps.items()} == {
        f"dump {name}": (1, "sent"),
        f"dump {name} (Stokes I)": (1, "sent"),
    }
    assert len(iquv.received) == len(stokes_i.received) == 1


def test_what_comes_together_is_one_request(telescope: Telescope, iquv: DadaDbevent) -> None:
    observation = telescope.observe()
    before = outcomes(telescope.node)
    times = [9.0, 5.0, 7.0, 3.0, 1.0]
    triggers = [
        made_trigger(observation=observation.task_id, window=number, tarr=tarr)
        for number, tarr in enumerate(times)
    ]
    telescope.trigger(triggers[:2], triggers[2:3], triggers[3:])
    expected = [(max(0.0, tarr - 2.048), REST) for tarr in sorted(times)]
    events = [(start, start + 6.144, rest) for start, rest in expected]
    assert texts(iquv, 1) == [request(observation, *events)]
    # More than anything makes of the sky.
    many = [
        made_trigger(observation=observation.task_id, window=100 + number, snr=10.0 + number)
        for number in range(150)
    ]
    telescope.trigger(many[:50], many[50:])
    asked = parse_request(texts(iquv, 2)[1])
    assert sorted(event.snr for event in asked.events) == [60.0 + n for n in range(100)]
    wait_outcomes(
        telescope.node, before, {"sent": 105, "not requested: more than fit a request": 50}
    )
    assert logged(telescope.node, observation, "50 dumps not requested: more than fit a request")
    assert len(iquv.received) == 2


def test_windows_end_with_the_observation(telescope: Telescope, iquv: DadaDbevent) -> None:
    observation = telescope.observe(age=5.0, duration=30.0)
    before = outcomes(telescope.node)
    trigger = made_trigger(observation=observation.task_id)
    triggers = [
        replace(trigger, window=number, tarr=tarr)
        for number, tarr in enumerate([0.5, 29.0, 32.5, -1.0])
    ]
    telescope.trigger(triggers)
    assert texts(iquv, 1) == [
        request(observation, (0.0, 6.144, REST), (26.952, 30.0, REST)),
    ]
    wait_outcomes(telescope.node, before, {"sent": 2, "not requested: outside the observation": 2})
    # A gathering of which nothing is left is completed too.
    telescope.trigger([replace(trigger, window=9, tarr=40.0)])
    wait_for(lambda: logged(telescope.node, observation, "1 dumps not requested: outside"))
    wait_for(lambda: telescope.waiting_entries() == 0)


def test_triggers_of_several_observations_in_one_entry(
    telescope: Telescope, iquv: DadaDbevent
) -> None:
    observations = [telescope.observe(age=20.0 + number) for number in range(2)]
    before = outcomes(telescope.node)
    triggers = [
        made_trigger(observation=task_id, window=number)
        for number, task_id in enumerate(
            [observations[0].task_id, "elsewhere", observations[1].task_id, observations[0].task_id]
        )
    ]
    Queues(telescope.client).put([one.to_plain() for one in triggers], queue="dada_trigger")
    assert Counter(texts(iquv, 2)) == Counter(
        [
            request(observations[0], (*WINDOW, REST), (*WINDOW, REST)),
            request(observations[1], (*WINDOW, REST)),
        ]
    )
    wait_outcomes(telescope.node, before, {"sent": 3, "not requested: no such observation": 1})
    wait_for(lambda: telescope.waiting_entries() == 0)


# -- the whole way -------------------------------------------------------------------------------


@pytest.fixture
def pipeline(make_node: Callable[..., Node], ports: dict[str, int]) -> Node:
    """A node with all that a candidate passes on its way to a dump."""
    services = ["amber_listener", "amber_clustering", "dada_trigger"]
    made = make_node(
        darc_master={"services_master_mix": [], "services_worker_mix": services},
        dada_trigger={**ports, "buffer_length": USUAL["buffer_length"]},
        amber_clustering={"settle": GATHER_SECONDS, "interval": GATHER_SECONDS},
    )
    made.start()
    return made


def test_a_burst_is_dumped(pipeline: Node, iquv: DadaDbevent, tmp_path: Path) -> None:
    """From the lines that AMBER writes to the raw data that are kept, with all times on the way."""
    burst = Burst(time_s=6.4, dm=700.0, width_samples=10, snr=40.0, beam=5)
    generated = make_observation_candidates([burst], duration=9.0, seed=3)
    (truth,) = generated.truth
    observation = write_observation(
        tmp_path,
        task_id="replay",
        source="BLANK",
        start=math.floor(time.time() - 9.0) + 0.6,
        duration=600.0,
        pointing=(192.86, 27.13),  # the Galactic north pole
    )
    iquv.begin(said(observation, 0.0)[:19])
    parset = str(observation.parset)
    assert pipeline.ask("start_observation", "--parset", parset) == "Observation started"
    began = time.time()
    assert Player(observation.amber_dir, timed_files(generated, beam=0), speed=math.inf).play()
    (received,) = iquv.wait_for(1, patience(TIMEOUT))
    asked = [event.asked for event in received.events if event.asked.snr == truth.snr]
    (window,) = asked
    assert any(kept.start <= window.start < window.end <= kept.end for kept in received.kept)
    assert window.start == pytest.approx(truth.time - 2.048, abs=0.002)
    assert window.end == pytest.approx(window.start + 6.144, abs=0.002)
    assert window.dm == pytest.approx(truth.dm)
    assert (window.width, window.beam) == (truth.downsampling, truth.burst.beam)

    def all_noted() -> Any:
        """The latency, with all that were sent."""
        latency = told(pipeline, "latency")
        sent = told(pipeline, "outcomes").get("sent")
        return latency if {figures["n"] for figures in latency.values()} == {sent} else None

    latency = wait_for(all_noted)
    stages = ["read", "queued", "closed", "clustered", "decided", "taken", "sent", "line to sent"]
    assert list(latency) == stages
    for figures in latency.values():
        assert 0 <= figures["median"] <= figures["p90"] <= figures["p99"] <= figures["max"]
    assert pipeline.ask("stop_observation", "--parset", parset) == "Stopped observation"
    pipeline.wait_until_over("replay", TIMEOUT)
    name = f"{said(observation, 0.0)[:19]}.BLANK"
    path = pipeline.home / "parsets" / name / "books.testnode.json"
    wait_for(path.exists)
    books = json.loads(path.read_text())
    dump = books["dada_trigger"][f"dump replay/{math.floor(truth.time)}/{dm_bin(truth.dm)}"]
    assert (dump["asked"], dump["outcome"]) == (1, "sent")
    times = [dump[stage] for stage in ("written", *stages[:-1])]
    assert times == sorted(times)
    assert began - 1.0 < times[0] < times[-1] < time.time()
    # What was waited for as configured is in its stage, and in no response.
    waited = min(GATHER_SECONDS, dump["closed"] - dump["queued"])
    assert 0.0 < 1e3 * waited <= latency["closed"]["max"] + 0.01
    response = 1e3 * (times[-1] - times[0] - waited)
    assert latency["line to sent"]["max"] == pytest.approx(response, abs=0.01)


def dm_bin(dm: float) -> int:
    """Of the usual bins."""
    edges = fixed_dm_edges(10_000.0)
    return int(np.searchsorted(edges, dm, side="right")) - 1


# -- when it is not taken ------------------------------------------------------------------------


def test_what_is_refused_is_tried_until_it_is_taken(
    telescope: Telescope, iquv: DadaDbevent, stokes_i: DadaDbevent
) -> None:
    """Others go on meanwhile, and the observation is not over before."""
    observation, other = telescope.observe(), telescope.observe()
    iquv.refuse()
    before = outcomes(telescope.node)
    trigger = made_trigger(observation=observation.task_id)
    telescope.trigger([trigger])
    said_so = "takes no request: [Errno 111] Connection refused"
    wait_for(lambda: logged(telescope.node, observation, said_so))
    telescope.stop(observation)
    telescope.trigger([replace(trigger, observation=other.task_id, stokes="I")])
    assert texts(stokes_i, 1) == [request(other, (*WINDOW, REST))]
    wait_outcomes(telescope.node, before, {"sent": 1})
    assert told(telescope.node, "waiting") == 1
    wait_for(lambda: telescope.waiting_entries() == 2, what="the trigger's, and the end")
    assert observation.task_id in telescope.node.ask("get_attr", "observations")
    assert not logged(telescope.node, observation, ": done")
    iquv.accept()
    assert texts(iquv, 1) == [request(observation, (*WINDOW, REST))]
    (dump,) = telescope.books(observation).values()
    assert (dump["asked"], dump["outcome"]) == (1, "sent")
    assert logged(telescope.node, observation, ": done")
    assert telescope.node.log("dada_trigger").count(said_so) >= 1


def test_what_has_left_the_buffer_is_given_up(
    telescope: Telescope, iquv: DadaDbevent, stokes_i: DadaDbevent
) -> None:
    telescope.node.configure(dada_trigger={"buffer_length": 4.0})
    observation = telescope.observe()
    before = outcomes(telescope.node)
    iquv.refuse()
    now = time.time() - observation.start
    trigger = made_trigger(observation=observation.task_id, tarr=now)
    telescope.trigger([trigger, replace(trigger, window=8)])
    telescope.stop(observation)
    books = telescope.books(observation)
    assert {(row["asked"], row["outcome"]) for row in books.values()} == {(1, "too late")}
    assert len(books) == 2
    (attempts,) = re.findall(
        rf"\[{observation.task_id}\]: given up after (\d+) attempts, as the data have left the"
        rf" buffer: {trigger.identity}, {observation.task_id}/8/4",
        telescope.node.log("dada_trigger"),
    )
    assert int(attempts) > 3
    wait_outcomes(telescope.node, before, {"too late": 2})
    assert telescope.waiting_entries() == 0
    assert not iquv.received
    # It is said once, not at each attempt.
    lines = telescope.node.log("dada_trigger").splitlines()
    assert sum(observation.task_id in line and "takes no request" in line for line in lines) == 1


def test_a_clock_that_is_ahead_gives_up_no_dump(
    telescope: Telescope, iquv: DadaDbevent, clock: SetClock
) -> None:
    """Also where dada_trigger is started anew while it is."""
    observation = telescope.observe(duration=86400.0)
    iquv.refuse()
    clock.set(3600)
    trigger = made_trigger(observation=observation.task_id)
    telescope.trigger([trigger])
    wait_for(lambda: logged(telescope.node, observation, "takes no request"))
    pid = telescope.node.pid("dada_trigger")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: telescope.node.pid("dada_trigger") not in (0, pid))
    wait_for(lambda: logged(telescope.node, observation, "asked again"))
    assert told(telescope.node, "waiting") == 1
    iquv.accept()
    assert texts(iquv, 1) == [request(observation, (*WINDOW, REST))]
    # Of the process that has just started.
    wait_outcomes(telescope.node, Counter(), {"sent": 1, "asked again": 1})


def test_a_clock_that_is_behind_asks_for_nothing_that_is_long_gone(
    telescope: Telescope, iquv: DadaDbevent, clock: SetClock
) -> None:
    observation = telescope.observe(age=BUFFER_SECONDS + 60.0, duration=86400.0)
    before = outcomes(telescope.node)
    iquv.refuse()
    clock.set(-3600)
    telescope.trigger([made_trigger(observation=observation.task_id)])
    wait_outcomes(telescope.node, before, {"too late": 1})
    assert logged(telescope.node, observation, "given up after 1 attempts")


def test_an_aborted_observation_waits_for_nobody(telescope: Telescope, iquv: DadaDbevent) -> None:
    """Nor does an entry in which others are named too."""
    observation, other = telescope.observe(), telescope.observe()
    iquv.refuse()
    triggers = [made_trigger(observation=one.task_id).to_plain() for one in (observation, other)]
    Queues(telescope.client).put(triggers, queue="dada_trigger")
    wait_for(lambda: told(telescope.node, "waiting") == 2)
    telescope.node.ask("abort_observation", "--parset", str(observation.parset))
    telescope.node.wait_until_over(observation.task_id)
    wait_for(lambda: told(telescope.node, "waiting") == 1)
    assert telescope.waiting_entries() == 1
    iquv.accept()
    assert texts(iquv, 1) == [request(other, (*WINDOW, REST))]
    wait_for(lambda: telescope.waiting_entries() == 0)


# -- peers that behave badly ---------------------------------------------------------------------


def test_one_that_resets_is_asked_until_it_takes(telescope: Telescope, iquv: DadaDbevent) -> None:
    observation = telescope.observe()
    before = outcomes(telescope.node)
    iquv.close_at_once = True
    telescope.trigger([made_trigger(observation=observation.task_id)])
    wait_for(lambda: logged(telescope.node, observation, "takes no request: "))
    assert telescope.node.states() == {"dada_trigger": "running"}
    assert told(telescope.node, "waiting") == 1
    iquv.close_at_once = False
    assert texts(iquv, 1) == [request(observation, (*WINDOW, REST))]
    wait_outcomes(telescope.node, before, {"sent": 1})


def test_one_that_closes_before_it_reads_is_asked_until_it_takes(
    telescope: Telescope, ports: dict[str, int]
) -> None:
    observation = telescope.observe()
    before = outcomes(telescope.node)
    with socket.create_server(("127.0.0.1", ports["port_iquv"])) as listener:
        telescope.trigger([made_trigger(observation=observation.task_id)])
        for _ in range(3):
            listener.accept()[0].close()
        assert logged(telescope.node, observation, "takes no request: ")
        with listener.accept()[0] as connection, connection.makefile() as lines:
            assert lines.read() == request(observation, (*WINDOW, REST))
    wait_outcomes(telescope.node, before, {"sent": 1})


def test_one_that_never_reads_holds_up_nobody(
    telescope: Telescope, iquv: DadaDbevent, stokes_i: DadaDbevent
) -> None:
    observation = telescope.observe()
    before = outcomes(telescope.node)
    iquv.never_read = True
    trigger = made_trigger(observation=observation.task_id)
    # One connection is taken, and the queue behind it holds two.
    for number in range(3):
        telescope.trigger([replace(trigger, window=number)])
        wait_outcomes(telescope.node, before, {"sent, not confirmed": number + 1})
    assert logged(telescope.node, observation, "took a request, and keeps it open")
    telescope.trigger([replace(trigger, window=number) for number in range(3, 6)])
    wait_for(lambda: logged(telescope.node, observation, "takes no request: timed out"))
    telescope.trigger([replace(trigger, stokes="I")])
    assert texts(stokes_i, 1) == [request(observation, (*WINDOW, REST))]
    wait_for(lambda: told(telescope.node, "waiting") == 1)
    assert telescope.node.states() == {"dada_trigger": "running"}
    iquv.never_read = False
    assert len(texts(iquv, 4)) == 4
    wait_outcomes(telescope.node, before, {"sent": 4, "sent, not confirmed": 3})


def test_one_that_does_not_read_in_time_has_lost_the_data(
    telescope: Telescope, iquv: DadaDbevent
) -> None:
    """It took the request, and the data left the buffer."""
    telescope.node.configure(dada_trigger={"buffer_length": 1.0})
    observation = telescope.observe()
    before = lost(telescope.node, "dump_not_confirmed")
    iquv.never_read = True
    trigger = made_trigger(observation=observation.task_id, tarr=time.time() - observation.start)
    telescope.trigger([trigger])
    wait_for(lambda: logged(telescope.node, observation, "took a request, and keeps it open"))
    assert lost(telescope.node, "dump_not_confirmed") == before
    wait_for(lambda: lost(telescope.node, "dump_not_confirmed") == before + 1)
    last = told(telescope.node, "losses")["dump_not_confirmed"]["last"][-1]
    assert (last["observation"], last["what"]) == (observation.task_id, trigger.identity)
    assert logged(telescope.node, observation, "before dada_dbevent read the request")


def test_one_that_reads_late_but_in_time_has_lost_nothing(
    telescope: Telescope, iquv: DadaDbevent
) -> None:
    observation = telescope.observe()
    before = lost(telescope.node, "dump_not_confirmed")
    iquv.never_read = True
    telescope.trigger([made_trigger(observation=observation.task_id)])
    wait_for(lambda: logged(telescope.node, observation, "took a request, and keeps it open"))
    iquv.never_read = False
    wait_for(lambda: logged(telescope.node, observation, " has read it: "))
    assert lost(telescope.node, "dump_not_confirmed") == before


def lost(of: Node, kind: str) -> int:
    return int(told(of, "losses").get(kind, {"number": 0})["number"])


# -- polarisation calibration --------------------------------------------------------------------


def test_a_calibrator_is_dumped_by_the_clock(telescope: Telescope, iquv: DadaDbevent) -> None:
    """Not by triggers, and no dump twice though the service is killed in between."""
    pages = {"batch_length_samples": 1250}  # of 0.1024 s
    telescope.node.configure(instrument=pages, dada_trigger={"polcal_max_dumps": 3})
    iquv.refuse()
    killed = telescope.observe(age=-1.0, source="3C286polcal")
    wait_for(lambda: logged(telescope.node, killed, "takes no request"))
    iquv.begin(said(killed, 0.0)[:19])
    iquv.accept()
    first = request(killed, (0.512, 0.7168, "0 0 0 0"))
    assert texts(iquv, 1) == [first]
    wait_for(lambda: telescope.remembered(killed).get("dump polcal 1", {}).get("outcome") == "sent")
    pid = telescope.node.pid("dada_trigger")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: telescope.node.pid("dada_trigger") not in (0, pid))
    # As many as are allowed, and as many as are over before the end.
    short = telescope.observe(age=-1.0, source="polcal", duration=1.3)
    before = outcomes(telescope.node)
    telescope.trigger([made_trigger(observation=killed.task_id, window=n) for n in range(5)])
    expected = [
        *(first, request(killed, (1.024, 1.2288, "0 0 0 0"))),
        request(killed, (1.536, 1.7408, "0 0 0 0")),
        *(request(short, (0.512, 0.7168, "0 0 0 0")), request(short, (1.024, 1.2288, "0 0 0 0"))),
    ]
    assert Counter(texts(iquv, 5)) == Counter(expected)
    for observation, dumps in ((killed, 3), (short, 2)):
        telescope.stop(observation)
        books = telescope.books(observation)
        assert {name: (row["asked"], row["outcome"]) for name, row in books.items()} == {
            f"polcal {n}": (1, "sent") for n in range(1, dumps + 1)
        }
        for row in books.values():
            assert observation.start < row["sent"] < time.time()
    assert outcomes(telescope.node)["not requested: polarisation calibration"] == 5
    assert logged(telescope.node, killed, "5 dumps not requested: polarisation calibration")
    assert len(iquv.received) == 5
    assert not before["not requested: polarisation calibration"]
    kept = [window for received in iquv.received for window in received.kept]
    assert [window.start for window in kept] == [0.512, 1.024, 1.536]


def test_a_calibrator_in_another_compound_beam(telescope: Telescope, iquv: DadaDbevent) -> None:
    observation = telescope.observe(source="3C286polcal", more={"task.source.beam": 5})
    telescope.trigger([made_trigger(observation=observation.task_id)])
    assert texts(iquv, 1) == [request(observation, (*WINDOW, REST))]


# -- death ---------------------------------------------------------------------------------------

#: Point, whether the note that it is about to leave has been committed before, how often it is
#: noted in the end, and how often it was sent.
AGAIN = "asked again, as it may not have left: "
DEATHS = [
    ("before committing", False, 1, 1),
    ("after committing", False, 2, 1),
    ("before sending", False, 2, 1),
    ("after sending", False, 2, 2),
    ("before committing", True, 2, 2),
    ("after committing", True, 1, 1),
]


def test_death_loses_no_request(telescope: Telescope, iquv: DadaDbevent, points: Path) -> None:
    """It may come twice, but then it was noted twice too."""
    observation = telescope.observe()
    expected = request(observation, (*WINDOW, REST))
    said_before = telescope.node.log("dada_trigger").count(AGAIN)
    sent = 0
    for number, (point, noted, asked, came) in enumerate(DEATHS):
        trigger = made_trigger(observation=observation.task_id, window=number)
        pid = telescope.node.pid("dada_trigger")
        if noted:
            iquv.refuse()
            telescope.trigger([trigger])
            wait_for(lambda: told(telescope.node, "waiting") == 1)
            name = f"dump {trigger.identity}"
            wait_for(lambda name=name: name in telescope.remembered(observation))
            wait_for(lambda: "takes no request" in after_start(telescope.node))
            (points / f"dada_trigger.{point}").touch()
            iquv.accept()
        else:
            (points / f"dada_trigger.{point}").touch()
            Queues(telescope.client).put([trigger.to_plain()], queue="dada_trigger")
        wait_for(lambda pid=pid: telescope.node.pid("dada_trigger") not in (0, pid), what=point)
        assert not list(points.iterdir())
        sent += came
        assert texts(iquv, sent) == [expected] * sent
        wait_for(lambda: telescope.waiting_entries() == 0)
        # What dies sooner after its start is given up by supervisord.
        wait_for(lambda: telescope.node.runs_for_good("dada_trigger"))
        again = {"asked again": 1, "sent": 1} if asked == 2 else {"sent": 1}
        assert outcomes(telescope.node) == (Counter() if noted and asked == 1 else again), point
    telescope.stop(observation)
    books = telescope.books(observation)
    assert [(row["asked"], row["outcome"]) for row in books.values()] == [
        (asked, "sent") for _, _, asked, _ in DEATHS
    ]
    assert len(iquv.received) == sent
    said = telescope.node.log("dada_trigger").count(AGAIN) - said_before
    assert said == sum(row[2] - 1 for row in DEATHS)


def test_what_is_noted_as_sent_is_not_asked_for_again(
    telescope: Telescope, iquv: DadaDbevent, stokes_i: DadaDbevent
) -> None:
    """Though its entry comes again, as another request that it asks for cannot be handed in."""
    observation = telescope.observe()
    stokes_i.refuse()
    trigger = made_trigger(observation=observation.task_id)
    telescope.trigger([trigger, replace(trigger, stokes="I")])
    expected = request(observation, (*WINDOW, REST))
    assert texts(iquv, 1) == [expected]
    wait_for(
        lambda: telescope.remembered(observation)[f"dump {trigger.identity}"]["outcome"] == "sent"
    )
    other = f"dump {trigger.identity} (Stokes I)"
    for n in (1, 2, 3):
        # One that was not asked for yet is not asked for again.
        wait_for(
            lambda n=n: telescope.remembered(observation).get(other, {}).get("asked") == n,
            what=f"asked {n} times",
        )
        pid = telescope.node.pid("dada_trigger")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: telescope.node.pid("dada_trigger") not in (0, pid))
        wait_for(lambda: telescope.node.runs_for_good("dada_trigger"))
        wait_for(lambda: outcomes(telescope.node) == {"asked again": 1})
        assert told(telescope.node, "waiting") == 1
    stokes_i.accept()
    assert texts(stokes_i, 1) == [expected]
    telescope.stop(observation)
    books = telescope.books(observation)
    assert {name: (row["asked"], row["outcome"]) for name, row in books.items()} == {
        trigger.identity: (1, "sent"),
        f"{trigger.identity} (Stokes I)": (4, "sent"),
    }
    assert len(iquv.received) == len(stokes_i.received) == 1


def after_start(of: Node) -> str:
    """What the running process has logged."""
    return of.log("dada_trigger").rpartition(": started: process ")[2]


# -- bad input -----------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_bad_triggers_take_no_good_one_with_them(telescope: Telescope, iquv: DadaDbevent) -> None:
    observation = telescope.observe()
    before, entries = outcomes(telescope.node), told(telescope.node, "bad_entries")
    good = made_trigger(observation=observation.task_id).to_plain()
    without = {key: value for key, value in good.items() if key != "tarr"}
    bad: dict[str, Any] = {
        "trigger: tarr: missing": without,
        "trigger: dm: nan is not": {**good, "dm": math.nan},
        "trigger: dm: -5.0 is not allowed": {**good, "dm": -5.0},
        "trigger: snr: 1000000.0 is not allowed": {**good, "snr": 1e6},
        "trigger: sb: '35' is not a whole number": {**good, "sb": "35"},
        "trigger: stokes: 'V' is not allowed": {**good, "stokes": "V"},
        "trigger: utc: 'soon' is not a time": {**good, "utc": "soon"},
        "trigger: colour: unknown": {**good, "colour": "red"},
        "trigger: 5 is not a mapping": 5,
        "trigger: nested too deeply": {**good, "dm": nested(505)},
    }
    queues = Queues(telescope.client)
    log = partial(telescope.node.log, "dada_trigger")
    for value in bad.values():
        queues.put([value], queue="dada_trigger")
    for text in bad:
        wait_for(lambda text=text: f" 1 unusable, dropped; the first: {text}" in log(), what=text)

    # What is no list of triggers at all.
    no_lists = {
        "dict where a list of triggers is expected": pack(good),
        "NoneType where a list of triggers is expected": pack(None),
        "not a packed plain value": b"\xc1\x00rubbish",
    }
    for content in no_lists.values():
        telescope.put(Put(("dada_trigger",), ContentKind.TRIGGERS, content, observation.task_id))
    telescope.put(Put(("dada_trigger",), ContentKind.CANDIDATES, b"12345", observation.task_id))
    for text in (*no_lists, "candidates where triggers are expected"):
        wait_for(lambda text=text: f"the first: {text}" in log(), what=text)
    assert told(telescope.node, "bad_entries") - entries == len(bad) + len(no_lists) + 1

    # One that is good, among all of them.
    queues.put([*bad.values(), good, *bad.values()], queue="dada_trigger")
    assert texts(iquv, 1) == [request(observation, (*WINDOW, REST))]
    unusable = 3 * len(bad) + len(no_lists) + 1
    wait_outcomes(telescope.node, before, {"sent": 1, "unusable": unusable})
    wait_for(lambda: telescope.waiting_entries() == 0)
    assert telescope.node.states() == {"dada_trigger": "running"}


def test_unknown_observations(telescope: Telescope, iquv: DadaDbevent) -> None:
    before = outcomes(telescope.node)
    strange = ["", "dump999", "../../etc", "a\nb", "x" * 5000]
    triggers = [made_trigger(observation=task_id) for task_id in strange]
    Queues(telescope.client).put([one.to_plain() for one in triggers], queue="dada_trigger")
    telescope.trigger(*([one] for one in triggers))
    telescope.put(Put(("dada_trigger",), ContentKind.END, observation="dump999"))
    count = 2 * len(strange)
    wait_outcomes(telescope.node, before, {"not requested: no such observation": count})
    wait_for(lambda: telescope.waiting_entries() == 0)
    assert telescope.node.states() == {"dada_trigger": "running"}
    assert not iquv.received


def test_ten_thousand_in_one_go(telescope: Telescope, iquv: DadaDbevent) -> None:
    """The strongest hundred are asked for; the rest is counted."""
    observation = telescope.observe()
    before = outcomes(telescope.node)
    plain = made_trigger(observation=observation.task_id).to_plain()
    flood = [{**plain, "window": number, "snr": 10.0 + number} for number in range(10_000)]
    Queues(telescope.client).put(flood, queue="dada_trigger")
    (text,) = texts(iquv, 1)
    assert min(event.snr for event in parse_request(text).events) == 10.0 + 9_900
    wait_outcomes(
        telescope.node, before, {"sent": 100, "not requested: more than fit a request": 9_900}
    )
    wait_for(lambda: telescope.waiting_entries() == 0)
    assert telescope.node.states() == {"dada_trigger": "running"}


def test_a_full_journal_holds_up_no_dump(telescope: Telescope, iquv: DadaDbevent) -> None:
    observation = telescope.observe()
    pid = telescope.node.pid("dada_trigger")
    os.kill(pid, signal.SIGSTOP)
    try:
        telescope.trigger([made_trigger(observation=observation.task_id)])
        telescope.node.configure(darc_master={"journal_max_bytes": 4096})
        telescope.node.ask("reload")
        with pytest.raises(FullError):  # noqa: PT012 - there may be room for some
            for _ in range(50):
                Queues(telescope.client).put(b"x" * 2**20)
    finally:
        os.kill(pid, signal.SIGCONT)
    try:
        assert texts(iquv, 1) == [request(observation, (*WINDOW, REST))]
    finally:
        telescope.node.configure(darc_master={"journal_max_bytes": 2**30})
        telescope.node.ask("reload")
