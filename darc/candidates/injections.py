"""Injections: artificial bursts put into live data, and the candidates that are of them.

Who injects lists them in a file beside the trigger files, before they are in the data::

    # s since the observation's start, at the centre of the highest channel; pc cm-3; S/N; ms
    12.500000 450.0 25.0 1.2
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt

from darc.config import ranges, typed
from darc.config.instrument import Instrument
from darc.config.records import Struct, field
from darc.model.candidate import CANDIDATE, Records
from darc.model.observation import Observation
from darc.runtime.untrusted_files import MAX_TEXT, read_regular
from darc.science.same_burst import Scales, of_brighter
from darc.science.smearing import TOLERANCE
from darc.trigger_files.candidate_source import SourceContext

log = logging.getLogger(__name__)

ALLOWED = "time (s since the start), DM (pc cm-3), S/N and width (ms), as four numbers"
#: A candidate of up to so many times an injection's S/N is of it.
MARGIN = 2.0
#: A last line without an end is read once nothing was written for so long (s).
STILL_SECONDS = 5.0
_COLUMNS = "time", "dm", "snr", "width"


class Injection(Struct, frozen=True):
    """An injected burst.

    :param time: at the centre of the highest channel, s since the observation's start
    :param dm: pc cm-3
    :param snr: with which a search is to find it
    :param width: ms
    """

    time: Annotated[float, ranges.TIME]
    dm: Annotated[float, ranges.DM]
    snr: Annotated[float, ranges.SNR]
    width: Annotated[float, ranges.WIDTH]


def parse_injections(text: str, name: str) -> tuple[list[Injection], list[str]]:
    """Return the injections in a text, and what is wrong with its other lines.

    :param name: of the file, for errors
    """
    found, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            if len(words) != len(_COLUMNS):
                raise ValueError(f"{len(words)} columns")
            values = dict(zip(_COLUMNS, map(float, words), strict=True))
            found.append(typed.from_plain(Injection, values, "injection"))
        except ValueError as error:
            why = str(error).replace("\n", "; ")
            problems.append(f"{name}:{number}: {typed.shown(line)}: {why}; allowed: {ALLOWED}")
    return found, problems


class InjectionList(Struct):
    """The injections of an observation, by its file as it is now.

    :param path: None: nobody injects
    :param scales: of the observation
    :param seen: state of the file when it was read
    :param cut: the last line was left out then, as it may be being written
    """

    path: Path | None
    scales: Scales
    injections: list[Injection] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seen: tuple[int, ...] = ()
    cut: bool = False

    @classmethod
    def of(
        cls, observation: Observation, instrument: Instrument, name: str | None
    ) -> InjectionList:
        """Return that of an observation.

        :param name: of the file beside its trigger files; None: nobody injects
        """
        directory = _directory(observation, instrument)
        scales = Scales.of_band(observation.tsamp, observation.f_low, observation.f_high)
        return cls(directory / name if name and directory else None, scales)

    def read(self) -> list[str]:
        """Read the file if it has changed; return what is newly wrong with it."""
        if self.path is None:
            return []
        try:
            what = self.path.stat()
            now = what.st_mtime_ns, what.st_size, what.st_ino
            # Also where the clock of a file server is another.
            is_still = abs(time.time() - what.st_mtime) >= STILL_SECONDS
            if now == self.seen and not (self.cut and is_still):
                return []
            text = read_regular(self.path, MAX_TEXT).decode(errors="replace")
        except FileNotFoundError:  # there are none, or none any more: what was listed stays
            return []
        except OSError as error:
            return self._new([f"{self.path}: {error.strerror or error}"])
        end = len(text) if is_still else text.rfind("\n") + 1
        self.injections, problems = parse_injections(text[:end], str(self.path))
        self.seen, self.cut = now, end < len(text)
        return self._new(problems)

    def _new(self, problems: list[str]) -> list[str]:
        before, self.problems = self.problems, problems
        return [one for one in problems if one not in before]

    def mask(self, candidates: Records) -> npt.NDArray[np.bool_]:
        """Return which candidates are of an injection: at its time and DM, or as smeared as it is.

        :param candidates: CANDIDATE records, shape (n,)
        :return: shape (n,)
        """
        if not (self.injections and len(candidates)):
            return np.zeros(len(candidates), dtype=np.bool_)
        there = np.zeros(len(self.injections), dtype=CANDIDATE)
        tsamp = self.scales.tsamp
        # A width in another unit may be longer than any in samples.
        widths = [
            min(max(1, round(one.width / 1e3 / tsamp)), int(ranges.DOWNSAMPLING.high))
            for one in self.injections
        ]
        there["time"] = [one.time for one in self.injections]
        there["dm"] = [one.dm for one in self.injections]
        there["downsampling"] = widths
        # Noise adds to what a search finds, so that it may be the brighter one of both.
        there["snr"] = [MARGIN * one.snr for one in self.injections]
        return of_brighter(candidates, there, self.scales, self._reach(candidates, there))

    def _reach(self, candidates: Records, there: Records) -> float:
        """Return the farthest in time that any of both may be of one burst (s).

        Of a list for a whole night, few injections are compared then.
        """
        dms = [edge(one["dm"]) for one in (candidates, there) for edge in (np.min, np.max)]
        longest = int(candidates["downsampling"].max()) + int(there["downsampling"].max())
        delays = self.scales.delay_per_dm * float(max(dms) - min(dms))
        # Twice the tolerance: rounding leaves nothing out.
        return 2 * TOLERANCE + longest * self.scales.tsamp + delays


def brightest(candidates: Records) -> str:
    """Return how many candidates these are, and the best: a burst that is hidden may be one.

    :param candidates: CANDIDATE records, at least one
    """
    one = candidates[np.argmax(candidates["snr"])]
    return (
        f"{len(candidates)} candidates; the brightest: S/N {one['snr']:.1f}, DM {one['dm']:.2f},"
        f" {one['time']:.6f} s, width {one['downsampling']} samples, beam {one['beam']}"
    )


def _directory(observation: Observation, instrument: Instrument) -> Path | None:
    """Return where an observation's trigger files are; None: they are in no directory of its."""
    if instrument.candidate_source == "amber":
        return Path(observation.amber_dir) if observation.amber_dir else None
    if instrument.source.directory or observation.candidate_dir or observation.amber_dir:
        return SourceContext.of(observation, instrument).directory
    return None
