"""Injections: artificial bursts put into live data, and the candidates that are of them.

Who injects lists them in a file beside the trigger files, before they are in the data::

    # s since the observation's start, at the centre of the highest channel; pc cm-3; S/N; ms
    12.500000 450.0 25.0 1.2

Who reads the candidates reads the file, and puts what is new in it onto the queues before them. So
what is of an injection follows from the entries alone, whatever becomes of the file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from darc.config import ranges, typed
from darc.config.records import Struct, field
from darc.model.candidate import CANDIDATE, Records
from darc.model.memory_rows import rows_under
from darc.model.observation import Observation
from darc.node.losses import LossKind
from darc.runtime.untrusted_files import MAX_TEXT, read_regular
from darc.science.arrays import Mask
from darc.science.same_burst import Scales, of_brighter
from darc.science.smearing import TOLERANCE
from darc.trigger_files.candidate_source import SourceContext

log = logging.getLogger(__name__)

ALLOWED = "time (s since the start), DM (pc cm-3), S/N and width (ms), as four numbers"
#: A candidate of up to so many times an injection's S/N is of it.
MARGIN = 2.0
#: A last line without an end is read once nothing was written for so long (s).
STILL_SECONDS = 5.0
#: Key of injections in a plain value, and prefix of a row's in the memory of an observation.
LISTED = "injections"
_COLUMNS = "time", "dm", "snr", "width"
#: Injections in one entry or row: far less than either may hold.
_PACKAGE = 10_000

INJECTION_UNKNOWN = LossKind(
    "injection_unknown",
    "an injection cannot be told from bursts: its line or list cannot be read",
    "The file and line are named. What was injected may be dumped and announced as a burst.",
)


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


class InjectionFile(Struct):
    """The file that lists the injections of an observation, while it is written.

    It may vanish at any time, so whoever reads it hands on what is new in it.

    :param path: None: nobody injects
    :param known: what it has listed so far; nothing of that is ever taken back
    :param seen: state of the file when it was read
    :param cut: the last line was left out then, as it may be being written
    """

    path: Path | None
    known: dict[Injection, None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seen: tuple[int, ...] = ()
    cut: bool = False

    @classmethod
    def of(cls, context: SourceContext, name: str | None) -> InjectionFile:
        """Return that of an observation.

        :param name: of the file beside its trigger files; None: nobody injects
        """
        directory = _directory(context)
        return cls(directory / name if name and directory else None)

    def read(self) -> tuple[list[Injection], list[str]]:
        """Read the file if it has changed; return what is new in it, and what is newly wrong."""
        if self.path is None:
            return [], []
        try:
            what = self.path.stat()
            now = what.st_mtime_ns, what.st_size, what.st_ino
            # Also where the clock of a file server is another.
            is_still = abs(time.time() - what.st_mtime) >= STILL_SECONDS
            if now == self.seen and not (self.cut and is_still):
                return [], []
            text = read_regular(self.path, MAX_TEXT).decode(errors="replace")
        except FileNotFoundError:  # there are none, or none any more
            if self.seen:
                log.warning(
                    "%s is gone: the %d injections that it listed remain injections",
                    self.path,
                    len(self.known),
                )
            self.seen = ()
            return [], []
        except OSError as error:
            return [], self._new([f"{self.path}: {error.strerror or error}"])
        end = len(text) if is_still else text.rfind("\n") + 1
        found, problems = parse_injections(text[:end], str(self.path))
        self.seen, self.cut = now, end < len(text)
        if missing := len(self.known.keys() - found):
            log.warning(
                "%s does not list %d injections any more: they remain injections",
                self.path,
                missing,
            )
        fresh = [one for one in dict.fromkeys(found) if one not in self.known]
        self.known.update(dict.fromkeys(fresh))
        return fresh, self._new(problems)

    def _new(self, problems: list[str]) -> list[str]:
        before, self.problems = self.problems, problems
        return [one for one in problems if one not in before]


def packages_of(injections: Sequence[Injection]) -> Iterator[dict[str, Any]]:
    """Yield injections as plain values, which `injections_of` reads, each for an entry or row."""
    for start in range(0, len(injections), _PACKAGE):
        some = injections[start : start + _PACKAGE]
        yield {LISTED: [[one.time, one.dm, one.snr, one.width] for one in some]}


def are_injections(plain: Any) -> bool:
    """Whether a plain value lists injections."""
    return isinstance(plain, dict) and set(plain) == {LISTED}


def injections_of(plain: Any) -> list[Injection]:
    """Return the injections in a plain value.

    :raises ValueError: it lists none, or a value is out of range
    """
    rows = plain[LISTED] if are_injections(plain) else None
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and len(row) == len(_COLUMNS) for row in rows
    ):
        raise ValueError("not a list of injections")
    return [
        typed.from_plain(Injection, dict(zip(_COLUMNS, row, strict=True)), "injection")
        for row in rows
    ]


class Injections(Struct):
    """The injections of an observation, as far as they are known.

    :param scales: of the observation
    :param listed: in the order in which they became known
    """

    scales: Scales
    listed: dict[Injection, None] = field(default_factory=dict)

    @classmethod
    def of(cls, observation: Observation, memory: Mapping[str, Any]) -> Injections:
        """Return those that the commits of an observation hold.

        :param memory: what `add` has returned
        """
        listed = rows_under(memory, f"{LISTED} ").values()
        known = dict.fromkeys(one for plain in listed for one in injections_of(plain))
        scales = Scales.of_band(observation.tsamp, observation.f_low, observation.f_high)
        return cls(scales, known)

    def add(self, found: Iterable[Injection]) -> dict[str, Any]:
        """Add what is listed; return the memory to commit."""
        fresh = [one for one in dict.fromkeys(found) if one not in self.listed]
        memory = {}
        for plain in packages_of(fresh):
            memory[f"{LISTED} {len(self.listed)}"] = plain
            self.listed.update(dict.fromkeys(injections_of(plain)))
        return memory

    def mask(self, candidates: Records) -> Mask:
        """Return which candidates are of an injection: at its time and DM, or as smeared as it is.

        :param candidates: CANDIDATE records, shape (n,)
        :return: shape (n,)
        """
        if not (self.listed and len(candidates)):
            return np.zeros(len(candidates), dtype=np.bool_)
        there = np.zeros(len(self.listed), dtype=CANDIDATE)
        tsamp = self.scales.tsamp
        # A width in another unit may be longer than any in samples.
        widths = [
            min(max(1, round(one.width / 1e3 / tsamp)), int(ranges.DOWNSAMPLING.high))
            for one in self.listed
        ]
        there["time"] = [one.time for one in self.listed]
        there["dm"] = [one.dm for one in self.listed]
        there["downsampling"] = widths
        # Noise adds to what a search finds, so that it may be the brighter one of both.
        there["snr"] = [MARGIN * one.snr for one in self.listed]
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


def _directory(context: SourceContext) -> Path | None:
    """Return where an observation's trigger files are; None: they are in no directory of its."""
    observation = context.observation
    if context.name == "amber":
        return Path(observation.amber_dir) if observation.amber_dir else None
    if context.settings.directory or observation.candidate_dir or observation.amber_dir:
        return context.directory
    return None
