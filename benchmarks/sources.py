"""Candidate sources side by side: python -m benchmarks.sources.

First, from a line to the request of a dump: bursts of one line each, each in a window of its own,
as AMBER, Heimdall and DSA-110's search write them; a stand-in of dada_dbevent notes when each
request came. Then the rate: Heimdall's files of 64 beams grow by 10,000 candidates a second, and
what is not clustered yet is looked at every second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from darc.config.yaml_tree import yaml_text
from simulator.amber_files import format_header, format_line, trigger_name
from simulator.dbevent import DadaDbevent
from simulator.demo_node import TemporaryNode
from simulator.engine_streams import EngineCandidate, EngineSearch, heimdall_name, send_gulp
from simulator.ports import ReservedPort

#: Of the default configuration (s).
SETTLE = 0.1
SOURCES = "amber", "heimdall", "dsa110"
#: Between bursts (s): each is decided about before the next comes.
SPACING = 1.25
TSAMP = 81.92e-6
WRITES_PER_SECOND = 10
PATIENCE = 60.0

Write = Callable[[EngineCandidate], None]


class Observed:
    """A node that observes from one source, with a stand-in of dada_dbevent."""

    def __init__(self, source: str, duration: float) -> None:
        self.port = ReservedPort()
        self.dbevent = DadaDbevent()
        instrument: dict[str, Any] = {"candidate_source": source, "n_sbs": 1}
        if source == "dsa110":
            instrument["source"] = {"ports": [self.port.number]}
        self.node = TemporaryNode(
            sections={
                "instrument": instrument,
                "darc_master": {"setup_time": 1.0},
                "amber_clustering": {"thresh_iquv": {"interval": 0}},
                "dada_trigger": {"port_iquv": self.dbevent.port, "buffer_length": 600.0},
            }
        )
        self.directory = self.node.home / "candidates"
        self.directory.mkdir()
        self.start = 0.0
        try:
            self.node.start()
            self._start_observation(duration)
        except BaseException:
            self.close()
            raise

    def _start_observation(self, duration: float) -> None:
        # In the past: candidates of any second of it may come at any time.
        self.start = float(int(time.time()) - 1)
        config = self.directory / "amber.conf"
        config.write_text("opencl_device=[1]\n")
        values = {
            "taskid": "sources",
            "start": self.start,
            "task.source.name": "BENCHMARK",
            "duration": duration + 3600,
            "beam": 0,
            "amber_dir": str(self.directory),
            "amber_config": str(config),
            "output_dir": str(self.node.home / "output"),
            "task.beamSet.0.compoundBeam.0.phaseCenter": "[192.86deg, 27.13deg]",
        }
        observation = self.directory / "observation.yaml"
        observation.write_text(yaml_text(values))
        self.dbevent.begin(time.strftime("%Y-%m-%d-%H:%M:%S", time.gmtime(self.start)))
        self.node.ask("start_observation", payload=observation)
        time.sleep(2.0)

    @property
    def search(self) -> EngineSearch:
        return EngineSearch(TSAMP, self.start)

    def counts(self, service: str) -> dict[str, int]:
        return self.node.counts("sources").get(service, {})

    def close(self) -> None:
        self.node.stop()
        self.node.remove()
        self.dbevent.close()
        self.port.close()


def writer(source: str, observed: Observed) -> Write:
    """Return the function that writes a candidate as a search engine does."""
    search = observed.search
    if source == "amber":
        path = observed.directory / trigger_name(0, 1)
        path.write_bytes(format_header())
        return lambda one: append(path, amber_line(one))
    if source == "heimdall":
        path = observed.directory / heimdall_name(observed.start, 0)
        return lambda one: append(path, search.heimdall_line(one))
    gulps = iter(range(10**9))
    address = "127.0.0.1", observed.port.number
    return lambda one: send_gulp(address, next(gulps), [search.dsa_line(one)])


def amber_line(one: EngineCandidate) -> bytes:
    batch, rest = divmod(round(one.time / TSAMP), 12_500)
    return format_line(
        beam=one.beam,
        batch=batch,
        sample=rest,
        integration_step=1,
        time=one.time,
        dm_id=1,
        dm=one.dm,
        snr=one.snr,
    )


def append(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(data)


def latency(source: str, bursts: int) -> None:
    """Measure, and print a line of the table."""
    observed = Observed(source, bursts * SPACING)
    written: dict[float, float] = {}
    rng = np.random.default_rng(1)
    try:
        write = writer(source, observed)
        for number in range(bursts):
            time.sleep(SPACING + float(rng.uniform(0, 0.1)))
            # Data times are of a window each; DMs tell bursts apart.
            burst = EngineCandidate(2.0 * number + 0.5, 400.0 + 2 * number, 40.0, 0, 0)
            written[burst.dm] = time.time()
            write(burst)
        deadline = time.monotonic() + PATIENCE
        while len(observed.dbevent.received) < bursts and time.monotonic() < deadline:
            time.sleep(0.1)
        came = {
            round(event.asked.dm, 1): request.time
            for request in observed.dbevent.received
            for event in request.events
        }
    finally:
        observed.close()
    times = np.array([1e3 * (came[dm] - unix) for dm, unix in written.items() if dm in came])
    if not len(times):
        print(f"{source:<10} none of {bursts}")
        return
    own = times - 1e3 * SETTLE
    print(
        f"{source:<10} {len(times):4d}/{bursts} {np.median(times):8.1f}"
        f" {np.percentile(times, 99):8.1f} {times.max():8.1f} {np.median(own):10.1f}"
        f" {np.percentile(own, 99):8.1f}"
    )


def throughput(beams: int, rate: float, seconds: float) -> None:
    """Write at a rate, and print how far clustering was behind."""
    observed = Observed("heimdall", seconds)
    search = observed.search
    per_write = int(rate / WRITES_PER_SECOND)
    rng = np.random.default_rng(2)
    total = 0
    behind: list[float] = []
    try:
        before = cpu(observed)
        began = time.monotonic()
        for number in range(int(seconds * WRITES_PER_SECOND)):
            due = began + (number + 1) / WRITES_PER_SECOND
            data: dict[int, list[bytes]] = {}
            for place in range(per_write):
                beam = place % beams
                one = EngineCandidate(
                    time=(number + float(rng.random())) / WRITES_PER_SECOND,
                    dm=float(rng.uniform(5, 3000)),
                    snr=float(8 + rng.exponential(2)),
                    log2_width=place % 8,
                    beam=beam,
                )
                data.setdefault(beam, []).append(search.heimdall_line(one))
            time.sleep(max(0.0, due - time.monotonic()))
            for beam, lines in data.items():
                append(observed.directory / heimdall_name(observed.start, beam), b"".join(lines))
            total += per_write
            if number % WRITES_PER_SECOND == WRITES_PER_SECOND - 1:
                read = observed.counts("amber_listener").get("candidates", 0)
                behind.append((total - read) / rate)
        took = time.monotonic() - began
        while observed.counts("amber_listener").get("candidates", 0) < total:
            if time.monotonic() > began + took + PATIENCE:
                break
            time.sleep(0.05)
        caught_up = time.monotonic() - began - took
        used = cpu(observed) - before
        read = observed.counts("amber_listener").get("candidates", 0)
    finally:
        observed.close()
    print(
        f"\n{beams} beams, {total / took:,.0f} candidates per second for {took:.0f} s:"
        f" {read:,} of {total:,} read;\nbehind by {np.median(behind) * 1e3:.0f} ms (median),"
        f" {max(behind) * 1e3:.0f} ms (most); caught up {caught_up * 1e3:.0f} ms after the last;"
        f"\n{used / took:.2f} cores for the whole node"
    )


def cpu(observed: Observed) -> float:
    """Return the CPU time of all processes of the node (s)."""
    times = [process.cpu_times() for process in observed.node.processes()]
    return float(sum(one.user + one.system for one in times))


def main() -> None:
    """Measure everything, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bursts", type=int, default=60)
    parser.add_argument("--sources", nargs="*", choices=SOURCES, default=SOURCES)
    parser.add_argument("--beams", type=int, default=64)
    parser.add_argument("--rate", type=float, default=10_000.0, help="candidates per second")
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    if args.bursts:
        print("line to IQUV request, ms:          all of it             beyond settling")
        print(f"{'source':<10} {'found':>7}   median     99 %      max     median     99 %")
        for source in args.sources:
            latency(source, args.bursts)
    if args.seconds:
        throughput(args.beams, args.rate, args.seconds)


if __name__ == "__main__":
    main()
