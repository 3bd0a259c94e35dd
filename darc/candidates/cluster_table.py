"""Table of an observation's clusters, one row each, which is restored after a restart.

A cluster is the candidate of highest S/N in its box. A better candidate that arrives late replaces
it: the final clusters do not depend on the order of arrival. For that purpose, boxes whose best
candidate is beyond the limits, or of the same burst as a brighter one, also have a row, which is
not listed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import compress
from typing import Any

import numpy as np

from darc.candidates.cluster_boxes import ClusterBoxes
from darc.candidates.clusters import pulse_of
from darc.config.records import Struct, replace
from darc.model.candidate import CANDIDATE, Records
from darc.model.memory_rows import rows_under
from darc.model.processing_outcome import ClusterOutcome, Detection, ListedCandidate

#: Prefix of a row's key.
PREFIX = "cluster "
_HIDDEN, _DOUBLE = "hidden", "same burst"  # stored instead of a fate
#: Maximum per observation; more indicate interference, and could not be extracted in time.
MAX_CLUSTERS = 50_000


class ClusterRow(Struct, frozen=True):
    """Row of a cluster.

    :param pulse: candidate of highest S/N in the box
    :param fate: outcome; None: pending
    :param file: name of the candidate's file, if it was kept
    :param listed: entry in the list of candidates, if it was kept
    :param hidden: beyond the limits, so not a cluster
    :param double: of the same burst as a brighter one, so not a cluster
    """

    pulse: Detection
    fate: ClusterOutcome | None = None
    file: str = ""
    listed: ListedCandidate | None = None
    hidden: bool = False
    double: bool = False

    @property
    def is_listed(self) -> bool:
        """Whether the row is a cluster."""
        return not (self.hidden or self.double)

    def to_plain(self) -> list[Any]:
        """Convert to a list of plain values, which is compact."""
        pulse = self.pulse
        plain: list[Any] = [pulse.beam, pulse.downsampling, pulse.time, pulse.dm, pulse.snr]
        if self.hidden:
            return [*plain, _HIDDEN]
        if self.double:
            return [*plain, _DOUBLE]
        if self.fate:
            plain.append(str(self.fate))
        if self.listed:
            listed = self.listed
            numbers = listed.snr, listed.time, listed.downsampling, listed.probability
            plain += [self.file, *numbers]
        return plain

    @classmethod
    def from_plain(cls, plain: list[Any], cb: int) -> ClusterRow:
        beam, downsampling, time, dm, snr, *rest = plain
        pulse = Detection(beam, downsampling, time, dm, snr)
        if rest == [_HIDDEN]:
            return cls(pulse, hidden=True)
        if rest == [_DOUBLE]:
            return cls(pulse, double=True)
        row = cls(pulse, ClusterOutcome(rest[0]) if rest else None)
        if len(rest) < 2:
            return row
        file, snr, time, downsampling, probability = rest[1:]
        line = ListedCandidate(cb, snr, dm, time, downsampling, beam, probability)
        return replace(row, file=file, listed=line)


class ClusterTable:
    """Clusters of one observation.

    :param memory: memory of the service, with rows under `PREFIX` and key; rows of an earlier
        version, or of other settings, may have other keys
    :param cb: compound beam
    """

    def __init__(self, memory: Mapping[str, Any], cb: int, boxes: ClusterBoxes) -> None:
        self._boxes = boxes
        self._rows: dict[str, ClusterRow] = {}
        self._windows: defaultdict[int, set[str]] = defaultdict(set)
        self._others: set[str] = set()  # obsolete keys in memory
        self.fates = Counter[ClusterOutcome]()
        self._n_hidden = 0
        known = rows_under(memory, PREFIX)
        remembered = {key: ClusterRow.from_plain(plain, cb) for key, plain in known.items()}
        kept: dict[str, ClusterRow] = {}
        moved: dict[str, ClusterRow] = {}
        keys = boxes.keys(_records(remembered.values()))
        for (stored, row), key in zip(remembered.items(), keys, strict=True):
            if stored == key:
                kept[key] = row
                continue
            self._others.add(stored)
            if key not in moved or _is_better(row.pulse, moved[key].pulse):
                moved[key] = row
        for key, row in moved.items():
            # The row under the current key is the more recent one.
            if key not in kept or _is_better(row.pulse, kept[key].pulse):
                kept[key] = row
        self.enter(kept)

    def __len__(self) -> int:
        return len(self._rows) - self._n_hidden

    def __getitem__(self, key: str) -> ClusterRow:
        return self._rows[key]

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def items(self) -> Iterator[tuple[str, ClusterRow]]:
        """Return keys and rows of clusters."""
        return ((key, row) for key, row in self._rows.items() if row.is_listed)

    @property
    def n_open(self) -> int:
        """Number of clusters without an outcome."""
        return len(self) - self.fates.total()

    def changes(
        self, clusters: Records, beyond: Records | None = None
    ) -> tuple[dict[str, ClusterRow], int]:
        """Return the rows that clusters add or replace, and the number of clusters above the limit.

        :param clusters: CLUSTER records within the limits
        :param beyond: CLUSTER records of boxes whose best candidate is beyond the limits
        """
        both = clusters if beyond is None else np.concatenate((clusters, beyond))
        better: dict[str, ClusterRow] = {}
        keys = self._boxes.keys(both)
        for number, (key, record) in enumerate(zip(keys, both, strict=True)):
            pulse = pulse_of(record)
            known = better.get(key) or self._rows.get(key)
            if known is None or _is_better(pulse, known.pulse):
                better[key] = ClusterRow(pulse, hidden=number >= len(clusters))
        changed = self._with_doubles(better, set(self._boxes.windows(both)))
        # Rows that are not listed have a limit of their own.
        room = {True: MAX_CLUSTERS - len(self), False: MAX_CLUSTERS - self._n_hidden}
        changes: dict[str, ClusterRow] = {}
        n_too_many = 0
        for key, row in changed.items():
            is_new = key not in self._rows
            if is_new and room[row.is_listed] <= 0:
                n_too_many += row.is_listed
                continue
            room[row.is_listed] -= is_new
            changes[key] = row
        return changes, n_too_many

    def _with_doubles(
        self, better: Mapping[str, ClusterRow], windows: set[int]
    ) -> dict[str, ClusterRow]:
        """Add the rows in these windows and their neighbours whose `double` changes."""
        near = {one + step for one in windows for step in (-1, 0, 1)}
        rows = self._rows_of({one + step for one in near for step in (-1, 0, 1)}, better)
        records = _records(rows.values())
        is_near = [window in near for window in self._boxes.windows(records)]
        faint = dict(compress(rows.items(), is_near))
        doubles = self._boxes.doubles(records[is_near], records)
        changed = dict(better)
        for (key, row), is_double in zip(faint.items(), doubles.tolist(), strict=True):
            if not row.hidden and row.double != is_double:
                changed[key] = ClusterRow(row.pulse, double=is_double)
        return changed

    def _rows_of(
        self, windows: set[int], better: Mapping[str, ClusterRow]
    ) -> dict[str, ClusterRow]:
        """Return all rows of several windows, including pending changes."""
        keys = (key for one in windows for key in self._windows.get(one, ()))
        return {key: self._rows[key] for key in keys} | dict(better)

    def enter(self, rows: Mapping[str, ClusterRow]) -> None:
        """Add or replace rows."""
        windows = self._boxes.windows(_records(rows.values()))
        for (key, row), window in zip(rows.items(), windows, strict=True):
            known = self._rows.get(key)
            if known and known.fate:
                self.fates[known.fate] -= 1
            if row.fate:
                self.fates[row.fate] += 1
            was_hidden = known is not None and not known.is_listed
            self._n_hidden += (not row.is_listed) - was_hidden
            self._rows[key] = row
            self._windows[window].add(key)

    def names(self, file: str, but: str) -> bool:
        """Whether a file belongs to another row than `but`."""
        return any(row.file == file for key, row in self._rows.items() if key != but)

    @staticmethod
    def memory(rows: Mapping[str, ClusterRow]) -> dict[str, Any]:
        """Convert rows to entries of the service's memory."""
        return {PREFIX + key: row.to_plain() for key, row in rows.items()}

    def forgotten(self) -> dict[str, Any]:
        """Return the update that removes all rows from the service's memory."""
        return {PREFIX + key: None for key in (*self._rows, *self._others)}


def _records(rows: Iterable[ClusterRow]) -> Records:
    """Convert the pulses of rows to CANDIDATE records."""
    pulses = (row.pulse for row in rows)
    plain = [(one.beam, one.downsampling, one.time, one.dm, one.snr) for one in pulses]
    return np.array(plain, dtype=CANDIDATE)


def _is_better(pulse: Detection, known: Detection) -> bool:
    return _rank(pulse) < _rank(known)


def _rank(pulse: Detection) -> tuple[float, ...]:
    return (-pulse.snr, pulse.time, pulse.downsampling, pulse.beam, pulse.dm)
