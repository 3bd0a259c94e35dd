"""From a line in a trigger file to the systems outside: python -m benchmarks.trigger_latency.

A worker observes bursts among many other candidates, which are written as AMBER does: a batch at
once, by three instances within milliseconds. It hands triggers in at a master node over TCP. What
leaves goes to stand-ins of dada_dbevent and LOFAR, to a real Comet, and to librdkafka's broker with
a consumer; each notes when it came. A notice is consumed once it is acknowledged. Settings are the
default ones, but that each burst may have its dump, and that events leave by Kafka, too.

The whole time is from the first line of a burst's batch; what is beyond waiting on purpose is from
the last one, without the settle times.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np

from darc.config.records import Struct
from simulator.bursts import AmberSearch, Burst
from simulator.comet_broker import CometBroker, Subscriber
from simulator.dbevent import DadaDbevent
from simulator.demo_node import TemporaryNode
from simulator.generator import Truth, make_observation_candidates, timed_files
from simulator.kafka_broker import KafkaBroker, TopicReader
from simulator.lofar import Lofar
from simulator.player import Player, TimedFile, WrittenLines
from simulator.write_parsets import write_observation

TASK = "latency"
SEARCH = AmberSearch()
#: Of the default configuration (s).
SETTLE = 0.1
SPACING = 2 * SEARCH.batch_length_s
DM_STEP = 4.0
LEAD = 2.0
WORKER = "worker01"
PATIENCE = 60.0


class Target(Struct, frozen=True):
    """What is aimed at, in ms: median and 99th percentile, of the whole and beyond waiting.

    :param settles: how many windows have to settle
    """

    what: str
    settles: int
    whole: str
    beyond: str


IQUV = Target("line to IQUV request", 1, "150 and 300", "8 and 25")
LOFAR = Target("line to LOFAR packet", 2, "300 and 500", "")
VOEVENT = Target("line to VOEvent at a subscriber", 2, "500", "")
NOTICE = Target("line to notice at a consumer", 2, "500", "")
TOPIC = "gcn.notices.arts.frb.test"


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
        KafkaBroker() as kafka,
        _consuming(kafka) as reader,
    ):
        master, worker = _nodes(dbevent, lofar, broker, kafka)
        try:
            _start(master, worker)
            _observe(worker, dbevent, duration, timed_files(generated, beam=0), written)
            _wait(lambda: len(lofar.received) >= args.bursts)
            _wait(lambda: len(subscriber.received) >= args.bursts)
            _wait(lambda: len(reader.received) >= args.bursts)
            told = {
                name: node.ask("get_attr latency", name)[name]
                for node, name in (
                    (worker, "dada_trigger"),
                    (master, "lofar_trigger"),
                    (master, "voevent_generator"),
                )
            }
        finally:
            for node in (worker, master):
                node.stop()
                node.remove()
        requests = {
            round(event.asked.dm, 1): request.time
            for request in dbevent.received
            for event in request.events
        }
        packets = {one.freeze.dm_tenths / 10: one.time for one in lofar.received if one.freeze}
        events = {_dm(one.event): one.time for one in subscriber.received}
        notices = {round(json.loads(one.value)["dm"], 1): one.time for one in list(reader.received)}
    lines = _line_times(generated.truth, written)
    print(f"{args.bursts} bursts, {args.rate:g} other candidates per second; in ms:")
    print(f"{'':<34} found  median    99 %     max   targets")
    for target, times in ((IQUV, requests), (LOFAR, packets), (VOEVENT, events), (NOTICE, notices)):
        _show(target, lines, times)
    for name, answer in told.items():
        print(f"\n{name}: {answer}")


@contextmanager
def _consuming(broker: KafkaBroker) -> Iterator[TopicReader]:
    """Consume the notices in a thread."""
    reader, ended = TopicReader(broker.address, [TOPIC]), threading.Event()

    def consume() -> None:
        while not ended.is_set():
            reader.look()

    thread = threading.Thread(target=consume)
    thread.start()
    try:
        yield reader
    finally:
        ended.set()
        thread.join()
        reader.close()


def _nodes(
    dbevent: DadaDbevent, lofar: Lofar, broker: CometBroker, kafka: KafkaBroker
) -> tuple[TemporaryNode, TemporaryNode]:
    """Make a master node and a worker, which are not started."""
    common: dict[str, dict[str, Any]] = {
        "darc_master": {"setup_time": LEAD, "mode": "real-time"},
        "cluster": {"master": "localhost", "workers": [WORKER]},
        "control": {"bind": "127.0.0.1"},
        "amber_clustering": {"thresh_iquv": {"interval": 0}},
    }
    master = TemporaryNode(
        sections={
            **common,
            "lofar_trigger": {"send_events": True, "lofar_port": lofar.port},
            "voevent_generator": {
                "send_events": True,
                "broker_port": broker.port,
                "roads": ["vtp", "kafka"],
                "kafka": {
                    "test_topic": TOPIC,
                    "client": {
                        "bootstrap.servers": kafka.address,
                        "security.protocol": "plaintext",
                    },
                },
            },
        }
    )
    sections = {"dada_trigger": {"port_iquv": dbevent.port}}
    worker = TemporaryNode(sections={**common, **sections, **master.server_ports})
    for node, host in ((master, "localhost"), (worker, WORKER)):
        node.environment["DARC_HOSTNAME"] = host
        node.run_dir = node.home / "run" / host
    return master, worker


def _start(master: TemporaryNode, worker: TemporaryNode) -> None:
    """Start both, with one secret, and wait until the worker has reached the master node."""
    master.start()
    worker.run_dir.mkdir(parents=True, mode=0o700)
    shutil.copy(master.run_dir / "secret", worker.run_dir / "secret")
    worker.start()

    def is_reached() -> bool:
        answer = worker.ask("get_attr forwarding", "amber_clustering")["amber_clustering"]
        return answer.count(" reached; ") == 2

    _wait(is_reached)


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


def _line_times(
    truth: Sequence[Truth], written: Sequence[WrittenLines]
) -> dict[float, tuple[float, float]]:
    """By DM, when the first and the last lines of a burst's batch were about to be written."""
    batches: defaultdict[int, list[float]] = defaultdict(list)
    for group in written:
        batches[round(group.due / SEARCH.batch_length_s) - 1].append(group.unix)
    times = {one: batches[int(one.time / SEARCH.batch_length_s)] for one in truth}
    return {round(one.dm, 1): (min(found), max(found)) for one, found in times.items()}


def _dm(event: bytes) -> float:
    found = re.search(rb'name="dm"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="dm"', event)
    assert found, event
    return round(float(found[1] or found[2]), 1)


def _show(
    target: Target, lines: dict[float, tuple[float, float]], came: dict[float, float]
) -> None:
    """Print how long it took, and what is left beyond waiting on purpose."""
    found = [(came[dm], *times) for dm, times in lines.items() if dm in came]
    if not found:
        print(f"{target.what:<34} none of {len(lines)}")
        return
    arrived, first, last = 1e3 * np.array(found).T
    count = f"{len(found)}/{len(lines)}"
    for what, times, aims in (
        (target.what, arrived - first, target.whole),
        (
            "  beyond waiting on purpose",
            arrived - last - 1e3 * target.settles * SETTLE,
            target.beyond,
        ),
    ):
        print(
            f"{what:<34} {count:>7} {np.median(times):7.1f} {np.percentile(times, 99):7.1f}"
            f" {times.max():7.1f}   {aims}"
        )


if __name__ == "__main__":
    main()
