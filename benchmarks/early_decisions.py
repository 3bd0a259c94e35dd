"""How often an early decision is another one: python -m benchmarks.early_decisions.

Bursts are written as AMBER does: a batch at once, by three instances that finish at different
times, some of them late by up to 2 s; and the recorded Crab pulses, where they are. The service
itself decides about them, once for each settle time, and with the longest wait. What leaves is
compared by its identity, and the packets that the master node makes of it by their pulse. No
clock is involved: times are those of the lines.
"""

from __future__ import annotations

import argparse
import heapq
import logging
import tempfile
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml

from darc.config.config import Config
from darc.config.records import Struct, replace
from darc.model.candidate import Records, records_to_bytes
from darc.model.observation import Observation
from darc.model.trigger import Trigger
from darc.node.node_config import load_config
from darc.node.read_observation import read_observation
from darc.queues.messages import Commit, ContentKind, QueueEntry
from darc.queues.plain_connection import unpack
from darc.science.selection import known_then_highest_snr
from darc.services.amber_clustering.service import AMBERClustering
from darc.services.base.known_pulses import KnownPulses, by_pulse
from darc.trigger_files.amber import Columns, parse_lines
from simulator.bursts import AmberSearch, Burst, detections
from simulator.generator import make_observation_candidates, timed_files
from simulator.player import TimedFile, read_recorded
from simulator.write_parsets import write_observation

SETTLE_TIMES = 0.01, 0.03, 0.1, 0.2, 0.3, 0.5
INTERVAL = 1.0
SEARCH = AmberSearch()
SPACING = 1.5  # s for each burst
WIDTHS = 1, 5, 10, 50, 100, 250, 500
#: When an instance has written a batch, after its end (s): its own delay, and an exponential one.
DELAYS = 0.01, 0.04, 0.08
JITTER = 0.01
#: Part of the batches for which an instance is late by up to so much more (s).
LATE, LATEST = 0.03, 2.0
#: The lines of a batch are written in up to so many parts, within so much time (s).
PARTS, PART_SECONDS = 3, 0.005
START = 1_700_000_000.0
QUEUES = {"IQUV": "dada_trigger", "LOFAR": "lofar_trigger"}


class Write(Struct, frozen=True):
    """Lines that an instance writes at once.

    :param time: s since the start
    """

    time: float
    candidates: Records


class Left(Struct, frozen=True):
    """A trigger that left, so long after the first line of its window had been written (s)."""

    trigger: Trigger
    time: float
    waited: float


class Comparison(Struct, frozen=True):
    """What early decisions came to, against those of the longest wait.

    :param changed: DM difference (pc cm-3) and ratio of S/N of those that are other ones
    """

    same: int
    changed: list[tuple[float, float]]
    missing: int
    additional: int


class Deciding(AMBERClustering):
    """The service without a master; what it puts out is kept."""

    def prepare(self) -> None:
        super().prepare()
        self.puts: list[tuple[str, Trigger]] = []

    def commit(self, commit: Commit) -> None:
        for put in commit.puts:
            if put.kind is ContentKind.TRIGGERS:
                triggers = [Trigger.from_plain(plain) for plain in unpack(put.content)]
                self.puts += [(queue, one) for queue in put.queues for one in triggers]


def written(files: Sequence[TimedFile], seed: int) -> list[Write]:
    """Return what instances write, in order of time; delays are drawn from the seed."""
    rng = np.random.default_rng(seed)
    found = []
    for file, delay in zip(files, DELAYS, strict=True):
        text = b"".join(line for _, line in file.lines)
        columns = Columns.from_header(file.header)
        candidates = parse_lines(
            text, columns, batch_length_s=SEARCH.batch_length_s, tsamp=SEARCH.tsamp
        ).candidates
        batches = np.floor(candidates["time"] / SEARCH.batch_length_s).astype(int)
        for batch in np.unique(batches):
            time = (batch + 1) * SEARCH.batch_length_s + delay + rng.exponential(JITTER)
            if rng.random() < LATE:
                time += rng.uniform(0, LATEST)
            parts = np.array_split(candidates[batches == batch], rng.integers(1, PARTS + 1))
            for part in parts:
                found.append(Write(float(time), part))
                time += rng.uniform(0, PART_SECONDS)
    return sorted((one for one in found if len(one.candidates)), key=lambda one: one.time)


def entries(writes: Sequence[Write], settle: float) -> Iterator[tuple[float, Records | None]]:
    """Yield entries as of amber_listener: watermark and candidates, or None where one was due."""
    due: list[float] = []
    for write in (*writes, None):
        while due and (write is None or due[0] < write.time):
            watermark = heapq.heappop(due)
            yield watermark, None
        if write is not None:
            yield write.time, write.candidates
            for after in (settle, INTERVAL):
                heapq.heappush(due, write.time + after)


def decide(
    config: Config, observation: Observation, writes: Sequence[Write], settle: float
) -> dict[str, list[Left]]:
    """Return what leaves, by kind of trigger, in order of time."""
    service = Deciding(config)
    service.start_observation(observation, {})
    first: dict[int, float] = {}
    left: defaultdict[str, list[Left]] = defaultdict(list)
    for number, (time, candidates) in enumerate(entries(writes, settle), 1):
        content = b""
        if candidates is not None:
            content = records_to_bytes(candidates)
            for window in np.unique(np.floor(candidates["time"]).astype(int)).tolist():
                if time - first.get(window, -np.inf) > INTERVAL:
                    first[window] = time
        watermark = START + time
        key = observation.key
        entry = QueueEntry(number, ContentKind.CANDIDATES, content, key, watermark, watermark)
        service.process(entry, observation)
        for queue, trigger in service.puts:
            left[queue].append(Left(trigger, time, time - first[trigger.window]))
        service.puts.clear()
    return left


def packets(left: Iterable[Left], settle: float) -> list[Trigger]:
    """Return the triggers that a master node sends, of those that come from its workers."""
    known, sent = KnownPulses(INTERVAL), []
    gathered: list[Trigger] = []
    opened = closes = 0.0
    for one in (*sorted(left, key=lambda one: one.time), None):
        if gathered and (one is None or one.time > closes):
            new = [each for each in gathered if not known.find(each, test=False)]
            for group in by_pulse(new, INTERVAL):
                sent.append(
                    group[known_then_highest_snr([(each.name, each.snr) for each in group])]
                )
                known.add(sent[-1], test=False)
            gathered = []
        if one is None:
            break
        opened = opened if gathered else one.time
        closes = min(one.time + settle, opened + INTERVAL)
        gathered.append(one.trigger)
    return sent


def compare(early: Iterable[Trigger], longest: Iterable[Trigger]) -> Comparison:
    """Compare triggers by their identity."""
    first, second = ({one.identity: one for one in some} for some in (early, longest))
    both = [(first[name], second[name]) for name in first.keys() & second.keys()]
    changed = [
        (abs(one.dm_cluster - other.dm_cluster), one.snr / other.snr)
        for one, other in both
        if (one.dm_cluster, one.snr) != (other.dm_cluster, other.snr)
    ]
    n_missing, n_additional = len(second.keys() - first.keys()), len(first.keys() - second.keys())
    return Comparison(len(both) - len(changed), changed, n_missing, n_additional)


def compare_pulses(early: list[Trigger], longest: list[Trigger]) -> Comparison:
    """Compare what was sent by its pulse, or by its identity where the DM is that of no pulse."""
    changed, n_same, n_missing = [], 0, 0
    early = sorted(early, key=lambda one: one.arrival)
    arrivals = [one.arrival for one in early]
    by_identity = {one.identity: one for one in early}
    for other in longest:
        pulses = KnownPulses(INTERVAL)
        first = bisect_left(arrivals, other.arrival - INTERVAL)
        for one in early[first : bisect_right(arrivals, other.arrival + INTERVAL)]:
            pulses.add(one, test=False)
        pulse = pulses.find(other, test=False)
        sent = by_identity.get(pulse.identity if pulse else other.identity)
        if sent is None:
            n_missing += 1
        elif (sent.dm_cluster, sent.snr) == (other.dm_cluster, other.snr):
            n_same += 1
        else:
            changed.append((abs(sent.dm_cluster - other.dm_cluster), sent.snr / other.snr))
    return Comparison(n_same, changed, n_missing, max(0, len(early) - len(longest) + n_missing))


def row(name: str, result: Comparison, waits: Sequence[float] = ()) -> str:
    """Return a line of the table."""
    text = f"{name:<22}{result.same:>7}{len(result.changed):>8}"
    if result.changed:
        dm, snr = np.array(result.changed).T
        text += f"{np.median(dm):>8.1f}{dm.max():>8.1f}{np.median(snr):>8.2f}{snr.min():>8.2f}"
    else:
        text += f"{'-':>8}" * 4
    text += f"{result.missing:>9}{result.additional:>11}"
    if len(waits):
        text += f"{np.median(waits):>9.2f}{np.percentile(waits, 99):>7.2f}"
    return text


HEADER = (
    f"{'':<22}{'same':>7}{'other':>8}{'ΔDM':>8}{'most':>8}{'S/N':>8}{'least':>8}"
    f"{'missing':>9}{'additional':>11}{'wait':>9}{'99 %':>7}"
)


def measure(
    home: Path,
    observations: Sequence[tuple[Observation, list[Write]]],
    settle_times: Sequence[float],
) -> list[tuple[float, str, Comparison]]:
    """Print a table for the compound beams of an observation; return its rows."""

    def of_all(settle: float) -> dict[str, list[Left]]:
        found: defaultdict[str, list[Left]] = defaultdict(list)
        config = with_settle(home, settle)
        for observation, writes in observations:
            for queue, left in decide(config, observation, writes, settle).items():
                found[queue] += left
        return found

    longest = of_all(INTERVAL)
    rows = []
    print(HEADER)
    for settle in settle_times:
        early = of_all(settle)
        for kind, queue in QUEUES.items():
            ours, theirs = early[queue], longest[queue]
            result = compare([one.trigger for one in ours], [one.trigger for one in theirs])
            rows.append((settle, kind, result))
            print(row(f"{settle:g} s: {kind} triggers", result, [one.waited for one in ours]))
        sent = packets(early[QUEUES["LOFAR"]], settle)
        result = compare_pulses(sent, packets(longest[QUEUES["LOFAR"]], INTERVAL))
        rows.append((settle, "packets", result))
        print(row(f"{settle:g} s: LOFAR packets", result), flush=True)
    waits = [one.waited for one in longest[QUEUES["IQUV"]]]
    if waits:
        print(f"longest wait: {np.median(waits):.2f} s, 99 % {np.percentile(waits, 99):.2f} s")
    return rows


def with_settle(home: Path, settle: float) -> Config:
    """Return the configuration with this settle time, and every burst worth its dump."""
    path = home / "config.yaml"
    rules = {"settle": settle, "interval": INTERVAL, "thresh_iquv": {"interval": 0}}
    path.write_text(yaml.safe_dump({"amber_clustering": rules}))
    return load_config(path)


def generated(n_bursts: int, beams: int) -> list[list[TimedFile]]:
    """Return trigger files by compound beam; each sees the bursts at half the S/N of the last."""
    rng = np.random.default_rng(1)
    duration = SPACING * n_bursts + 10
    bursts = [
        Burst(
            time_s=round(rng.uniform(2, duration - 2), 4),
            dm=round(rng.uniform(50, 2900), 2),
            width_samples=int(rng.choice(WIDTHS)),
            snr=round(rng.uniform(15, 100), 2),
            beam=int(rng.integers(SEARCH.beams)),
        )
        for _ in range(n_bursts)
    ]
    found = []
    for beam in range(beams):
        seen = [replace(one, snr=one.snr / 2**beam) for one in bursts]
        seen = [one for one in seen if _is_seen(one, duration)]
        made = make_observation_candidates(
            seen, duration=duration, seed=beam, interference_rate=5.0, search=SEARCH
        )
        found.append(timed_files(made, beam=beam))
    return found


def _is_seen(burst: Burst, duration: float) -> bool:
    found = (detections(burst, grid, SEARCH, duration) for grid in SEARCH.grids)
    return any(next(iter(one), None) is not None for one in found)


def main() -> None:
    """Print a table for generated bursts, and one for the recorded sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bursts", type=int, default=10_000)
    parser.add_argument("--beams", type=int, default=2, help="compound beams")
    parser.add_argument("--settle", type=float, nargs="+", default=SETTLE_TIMES, help="s")
    sample = Path(__file__).resolve().parents[2] / "shared" / "data" / "amber"
    parser.add_argument("--sample", type=Path, default=sample, help="directory of a recorded one")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        print(f"{args.bursts} bursts in {args.beams} compound beams:")
        files = generated(args.bursts, args.beams)
        run(home, files, args.settle, source="DEMO", pointing=(192.859, 27.128))
        recorded = sorted(args.sample.glob("CB00_*.trigger"))
        if not recorded:
            print(f"no recorded sample: there is none in {args.sample}")
            return
        print("\nthe recorded Crab pulsar:")
        files = [[read_recorded(path) for path in recorded]]
        run(home, files, args.settle, source="B0531+21", pointing=(83.633, 22.0145))


def run(
    home: Path,
    files: Sequence[Sequence[TimedFile]],
    settle_times: Sequence[float],
    *,
    source: str,
    pointing: tuple[float, float],
) -> list[tuple[float, str, Comparison]]:
    """Measure trigger files, given by compound beam."""
    config = with_settle(home, INTERVAL)
    observations = []
    for beam, of_beam in enumerate(files):
        made = write_observation(
            home / f"{source}{beam}",
            task_id=f"beam{beam}",
            source=source,
            start=START,
            duration=1e5,
            pointing=pointing,
            beam=beam,
        )
        observation = read_observation(made.parset, config.instrument)
        observations.append((observation, written(of_beam, seed=beam)))
    return measure(home, observations, settle_times)


if __name__ == "__main__":
    main()
