"""From a line in a trigger file to the systems outside: python -m benchmarks.trigger_latency.

A node observes bursts among many other candidates. What leaves goes to stand-ins of dada_dbevent
and LOFAR, and to a real Comet; each notes when it came. Gather windows are taken off, as
configured.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from simulator.bursts import AmberSearch, Burst
from simulator.comet_broker import CometBroker, Subscriber
from simulator.dbevent import DadaDbevent
from simulator.demo_node import TemporaryNode
from simulator.generator import Truth, make_observation_candidates, timed_files
from simulator.lofar import Lofar
from simulator.player import Player, TimedFile, WrittenLines
from simulator.write_parsets import write_observation

TASK = "latency"
SERVICES = ("dada_trigger", "lofar_trigger", "voevent_generator")
#: Batches and windows of a quarter of the usual length: more bursts in less time.
SEARCH = AmberSearch(batch_samples=3125)
INTERVAL = 0.1
SPACING = 2 * SEARCH.batch_length_s
DM_STEP = 4.0
LEAD = 2.0
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at, in ms."""

    what: str
    median: float | None
    percentile_99: float | None


IQUV = Target("line to IQUV request", 15, 50)
LOFAR = Target("line to LOFAR packet", 25, 70)
VOEVENT = Target("line to VOEvent at a subscriber", None, 1000)


def make_bursts(n: int) -> list[Burst]:
    """Each in a window of its own, each of a DM of its own, by which it is told."""
    return [
        Burst(
            time_s=SPACING * (number + 1) + SEARCH.batch_length_s / 4,
            dm=400.0 + DM_STEP * number,
            width_samples=10,
            snr=40.0,
            beam=number % SEARCH.beams,
        )
        for number in range(n)
    ]


def main() -> None:
    """Measure, and print median, 99th percentile and maximum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bursts", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5000.0, help="other candidates per second")
    args = parser.parse_args()
    bursts = make_bursts(args.bursts)
    duration = SPACING * (args.bursts + 2)
    generated = make_observation_candidates(
        bursts, duration=duration, seed=1, interference_rate=args.rate, search=SEARCH
    )
    written: list[WrittenLines] = []
    with (
        DadaDbevent() as dbevent,
        Lofar() as lofar,
        CometBroker() as broker,
        Subscriber(broker.broadcast_port) as subscriber,
    ):
        node = _node(dbevent, lofar, broker)
        try:
            _observe(node, dbevent, duration, timed_files(generated, beam=0), written)
            _wait(lambda: len(lofar.received) >= args.bursts)
            _wait(lambda: len(subscriber.received) >= args.bursts)
            told = {name: node.ask("get_attr latency", name)[name] for name in SERVICES}
        finally:
            node.stop()
            node.remove()
        requests = {
            round(event.asked.dm, 1): request.time
            for request in dbevent.received
            for event in request.events
        }
        packets = {one.freeze.dm_tenths / 10: one.time for one in lofar.received if one.freeze}
        events = {_dm(one.event): one.time for one in subscriber.received}
    lines = _line_times(generated.truth, written)
    print(f"{args.bursts} bursts, {args.rate:g} other candidates per second; in ms:")
    print(f"{'':<34} found  median    99 %     max   targets")
    for target, times, gathers in (
        (IQUV, requests, 1),
        (LOFAR, packets, 2),
        (VOEVENT, events, 2),
    ):
        _show(target, lines, times, gathers * INTERVAL)
    for name, answer in told.items():
        print(f"\n{name}: {answer}")


def _node(dbevent: DadaDbevent, lofar: Lofar, broker: CometBroker) -> TemporaryNode:
    return TemporaryNode(
        sections={
            "darc_master": {"setup_time": LEAD},
            "instrument": {"batch_length_samples": SEARCH.batch_samples},
            "amber_clustering": {
                "interval": INTERVAL,
                "clustering_window": SEARCH.batch_length_s,
                "thresh_iquv": {"interval": 0},
            },
            "dada_trigger": {"port_iquv": dbevent.port},
            "lofar_trigger": {
                "send_events": True,
                "interval": INTERVAL,
                "lofar_port": lofar.port,
            },
            "voevent_generator": {
                "send_events": True,
                "interval": INTERVAL,
                "broker_port": broker.port,
            },
        }
    )


def _observe(
    node: TemporaryNode,
    dbevent: DadaDbevent,
    duration: float,
    files: Sequence[TimedFile],
    written: list[WrittenLines],
) -> None:
    node.start()
    observation = write_observation(
        node.home / "observation",
        task_id=TASK,
        source="DEMO",
        start=time.time() + LEAD,
        duration=duration,
        instances=len(files),
        pointing=(192.859, 27.128),
    )
    start = datetime.fromtimestamp(int(observation.start), UTC)
    dbevent.begin(f"{start:%Y-%m-%d-%H:%M:%S}")
    node.ask("start_observation", payload=observation.parset)
    begin = time.monotonic() + observation.start - time.time()
    Player(observation.amber_dir, files, log=written).play(start=begin)


def _wait(condition: Callable[[], bool]) -> None:
    """What does not come is seen in the table."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def _line_times(truth: Sequence[Truth], written: Sequence[WrittenLines]) -> dict[float, float]:
    """By DM, when the first lines of a burst's batch were about to be written, Unix s."""
    batches: dict[int, float] = {}
    for group in written:
        batch = round(group.due / SEARCH.batch_length_s) - 1
        batches[batch] = min(group.unix, batches.get(batch, math.inf))
    return {round(one.dm, 1): batches[int(one.time / SEARCH.batch_length_s)] for one in truth}


def _dm(event: bytes) -> float:
    found = re.search(rb'name="dm"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="dm"', event)
    assert found, event
    return round(float(found[1] or found[2]), 1)


def _show(
    target: Target, lines: dict[float, float], came: dict[float, float], gathers: float
) -> None:
    """Print how long it took, gather windows taken off."""
    times = 1e3 * np.array([came[dm] - lines[dm] - gathers for dm in lines if dm in came])
    found = f"{len(times)}/{len(lines)}"
    aims = [f"{aim:g}" for aim in (target.median, target.percentile_99) if aim is not None]
    print(
        f"{target.what:<34} {found:>7} {np.median(times):7.1f} {np.percentile(times, 99):7.1f}"
        f" {times.max():7.1f}   {' and '.join(aims)}"
    )


if __name__ == "__main__":
    main()
