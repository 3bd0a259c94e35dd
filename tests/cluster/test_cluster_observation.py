"""A cluster of five whole nodes observes: one bright burst, seen by every worker, is told once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from boxes import require_box
from clusters import log, start
from msgspec.structs import replace
from nodes import TEST_RUN, patience, wait_for
from observing import (
    SECTIONS,
    Bursts,
    Observing,
    broker,
    dbevent,
    forwarding,
    lofar,
    told,
)

from simulator.box import Box

NODES = 5
# Services of all nodes start on few cores.
START_SECONDS = 100
ALERTS = ("lofar_trigger", "voevent_generator")
#: Triggers of a pulse that is told by another one's.
OF_THE_SAME = ("of a pulse with a better trigger", "of a pulse announced before")


@pytest.fixture
def box(test_run: str) -> Iterator[Box]:
    require_box()
    sections = {
        **SECTIONS,
        "darc_master": {"setup_time": 0.1, "end_delay": 20},
        "cluster": {"start_timeout": START_SECONDS},
    }
    for service in ALERTS:
        sections[service] = {
            **SECTIONS[service],
            "settle": patience(2.0),
            "interval": patience(2.0),
        }
    with Box(NODES, config=sections, environment={TEST_RUN: test_run}) as made:
        yield made


def test_one_burst_seen_by_every_worker(box: Box) -> None:
    master = box.master
    start(master)
    begins = time.time()
    with contextlib.ExitStack() as stack:
        packets = stack.enter_context(contextlib.closing(lofar(master)))
        events = stack.enter_context(contextlib.closing(broker(master)))
        dumps = [
            stack.enter_context(contextlib.closing(dbevent(worker, begins)))
            for worker in box.workers
        ]
        observing = [
            Observing(worker, "cluster5", begins, beam) for beam, worker in enumerate(box.workers)
        ]
        for service in ALERTS:
            wait_for(lambda: len(told(master, service, "clients")) == NODES - 1, 40.0)  # noqa: B023
        burst = Bursts(begins).next()
        for number, one in enumerate(observing):
            dm = one.see(replace(burst, snr=30.0 + 5 * number, beam=number))
        packets.wait_for(dm)
        events.wait_for(["test", dm])
        for dump in dumps:
            dump.wait_for([dm])
        for service, done in zip(ALERTS, ("sent", "accepted"), strict=True):
            wait_for(lambda: told(master, service, "triggers_received") == NODES - 1, 40.0)  # noqa: B023
            wait_for(lambda: sum(told(master, service, "outcomes").values()) == NODES - 1, 40.0)  # noqa: B023
            outcomes = told(master, service, "outcomes")
            assert outcomes.pop(done) == 1
            assert set(outcomes) <= set(OF_THE_SAME)
        for worker in box.workers:
            said = "reached; 1 handed in, 0 waiting, 0 expired"
            wait_for(lambda: said in forwarding(worker))  # noqa: B023
        for one in observing:
            one.command("stop_observation")
        for node in box.nodes:
            states = node.run("darc", "--service", "all", "status").stdout
            assert states.count("'running'") == 5, states
        assert packets.came == [dm]
        assert events.came == [["test", dm]]
        assert [dump.came for dump in dumps] == [[[dm]]] * len(dumps)
    assert sum("sent to LOFAR" in line for line in log(master, "lofar_trigger")) == 1
    assert any("as a TEST" in line for line in log(master, "lofar_trigger"))
