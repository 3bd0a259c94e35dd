"""What is processed under faults: data that grow, a place for results, and what came of both."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from darc.candidates.clusters import HEADER
from darc.candidates.results.trigger_lists import read_summary, read_triggers
from darc.data_files.filterbank_header import FilterbankHeader
from darc.model.processing_outcome import ClusterOutcome, ProcessingSummary
from simulator.bursts import Burst
from simulator.filterbank_data import Filterbanks, SimulatedInstrument, filterbank_paths
from simulator.filterbanks import write_filterbanks
from simulator.generator import AmberSearch

N_TABS = 12
N_CHANNELS = 32  # few, so that it costs little
#: Data go on behind the observation, as dispersion delays its last bursts.
DATA_PER_DURATION = 2
#: The files grow so often, by pieces that do not end with a sample (s).
PIECE_SECONDS = 0.1

Candidate = dict[str, Any]

#: Attributes of a candidate that say when a run was.
_OF_THE_DAY = ("start", "toa_utc", "toa_mjd")


class Processed(Struct):
    """What came of the clusters of an observation."""

    counts: dict[str, int] = field(default_factory=dict)  # the service's own
    clusters: list[str] = field(default_factory=list)
    candidates: dict[str, Candidate] = field(default_factory=dict)  # by file
    triggers: list[str] = field(default_factory=list)
    summary: ProcessingSummary | None = None
    left: list[str] = field(default_factory=list)  # temporary files

    def problems(self, n_candidates: int) -> list[str]:
        """What does not add up.

        :param n_candidates: that the listener handed on
        """
        fates = {fate: self.counts.get(fate, 0) for fate in ClusterOutcome}
        passed = sum(count for fate, count in fates.items() if fate.passed_thresholds)
        expected = ProcessingSummary(
            n_candidates, len(self.clusters), passed, fates[ClusterOutcome.KEPT]
        )
        found = []
        if self.summary != expected:
            found.append(f"summary {self.summary}, expected {expected}")
        if self.counts.get("candidates") != n_candidates:
            found.append(f"{n_candidates} candidates handed on, the processor has {self.counts}")
        if not sum(fates.values()) == len(self.clusters) == len(set(self.clusters)):
            found.append(f"{len(self.clusters)} clusters, fates: {self.counts}")
        if not len(self.candidates) == len(self.triggers) == fates[ClusterOutcome.KEPT]:
            found.append(f"{len(self.candidates)} files, {len(self.triggers)} listed: {fates}")
        if self.left:
            found.append(f"left: {self.left}")
        return found

    def items(self) -> dict[str, set[str]]:
        """Each field as a set of texts."""
        return {
            "counts": {f"{name}: {count}" for name, count in self.counts.items()},
            "clusters": set(self.clusters),
            "candidates": {f"{name}: {one}" for name, one in self.candidates.items()},
            "triggers": set(self.triggers),
            "summary": {f"{self.summary}"},
        }

    def differs(self, reference: Processed, n_more: int) -> list[str]:
        """What is not as in the run in which nothing struck.

        :param n_more: candidates that there were besides, of which nothing comes
        """
        found = []
        expected = Counter(reference.counts) + Counter(candidates=n_more)
        summary = reference.summary
        assert summary
        theirs = replace(
            reference,
            counts=dict(expected),
            summary=replace(summary, ncand_raw=summary.ncand_raw + n_more),
        ).items()
        for name, mine in self.items().items():
            missing, more = sorted(theirs[name] - mine), sorted(mine - theirs[name])
            if missing or more:
                found.append(f"{name}: missing {missing[:5]}, too much {more[:5]}")
        return found


class Processing:
    """Data and results of one observation after the other, on one node.

    :param share: for the results
    :param made: directory for the data, before they are played
    """

    def __init__(
        self, share: Path, made: Path, bursts: list[Burst], search: AmberSearch, duration: float
    ) -> None:
        # A link that leads nowhere is a share that is away: nobody can make it again by mistake.
        self._results = share / "results"
        self._shared = share / "results.shared"
        self._shared.mkdir()
        self._results.symlink_to(self._shared.name)
        self._duration = duration
        self._paused = threading.Event()
        band = search.bandwidth
        header = FilterbankHeader(
            nchans=N_CHANNELS,
            nbits=8,
            tsamp=search.tsamp,
            fch1=search.freq_centre + band / 2 - band / N_CHANNELS / 2,
            foff=-band / N_CHANNELS,
        )
        data = Filterbanks(
            SimulatedInstrument(header=header), [replace(burst, beam=0) for burst in bursts], seed=1
        )
        (written,) = write_filterbanks(made, data, duration=duration * DATA_PER_DURATION)
        self._data = written.read_bytes()

    def configuration(self) -> dict[str, dict[str, Any]]:
        """What makes a node's processing cost little."""
        small = {"ntime": 16, "ndm": 8, "nfreq": 8}
        return {
            "processor": {
                "result_dir": str(self._results),
                "interval": 0.3,
                "num_extractor": 1,
                "extractor": small,
                "classifier": {"thresh_freqtime": 0.0},
                "visualizer": {**small, "plot_types": ["1d_time"], "nplot_per_side": 4},
            }
        }

    # -- data ----------------------------------------------------------------------------------

    def place(self, directory: Path) -> Path:
        """Make empty data files for an observation: one with a name for each TAB."""
        directory.mkdir()
        first, *others = filterbank_paths(directory, 0, N_TABS)
        first.touch()
        for other in others:
            other.hardlink_to(first)
        return first

    def play(self, path: Path) -> None:
        """Let the data grow until they are complete, unless they are stopped for a while."""
        n_pieces = round(self._duration / PIECE_SECONDS)
        length = len(self._data) // n_pieces + 1
        due = time.monotonic()
        with path.open("ab", buffering=0) as file:
            for begin in range(0, len(self._data), length):
                while self._paused.is_set():
                    time.sleep(PIECE_SECONDS / 10)
                file.write(self._data[begin : begin + length])
                due += PIECE_SECONDS
                time.sleep(max(0.0, due - time.monotonic()))

    def stop_data(self, duration: float) -> None:
        """Nothing is added for a while (s)."""
        self._paused.set()
        time.sleep(duration)
        self._paused.clear()

    # -- results -------------------------------------------------------------------------------

    def take_results_away(self, duration: float) -> None:
        """The directory that all nodes share is not there for a while (s)."""
        with contextlib.suppress(FileNotFoundError):  # another fault has it
            self._shared.rename(self._away)
        time.sleep(duration)
        self.bring_results_back()

    def bring_results_back(self) -> None:
        """They are there, even if the power was lost while they were away."""
        with contextlib.suppress(FileNotFoundError):
            self._away.rename(self._shared)

    @property
    def _away(self) -> Path:
        return self._shared.with_suffix(".away")

    def read(self, counts: dict[str, int], output: Path, name: str) -> Processed:
        """Read what came of an observation.

        :param name: date and source, which names its directory of results
        """
        (directory,) = self._shared.glob(f"*/{name}")
        processed = output / "triggers_realtime"
        header, *clusters = (processed / "grouped_pulses.singlepulse").read_text().splitlines()
        assert header == HEADER
        listed = read_triggers(directory / "CB00_triggers.txt")
        assert (directory / "CB00.pdf").read_bytes().startswith(b"%PDF")
        there = [path for some in (directory, processed) for path in some.rglob("*")]
        return Processed(
            counts=counts,
            clusters=clusters,
            candidates={
                path.name: _read_candidate(path) for path in there if path.suffix == ".hdf5"
            },
            triggers=[str(asdict(row)) for row in listed],
            summary=read_summary(directory / "CB00_summary.yaml"),
            left=[str(path) for path in there if path.suffix == ".new"],
        )


def _read_candidate(path: Path) -> Candidate:
    with h5py.File(path, "r") as file:
        found = {
            f"{name} of all": str(value)
            for name, value in sorted(file.attrs.items())
            if name not in _OF_THE_DAY
        }
        return found | {name: dataset[()].tolist() for name, dataset in file.items()}
