"""What is known of an observation's clusters: a row for each, which outlives the process.

A cluster is the best candidate of its box (time window and DM bin). One that is better may come
late, and then takes its place: so in the end there are the same clusters, however lines came. For
that, a box whose best candidate is beyond the limits has a row, too, which nobody is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from darc.model.candidate import Records
from darc.model.processed import Fate, ListedCandidate, Pulse
from darc.processing.clusters import pulse_of

#: Before the key of a row.
PREFIX = "cluster "
_HIDDEN = "hidden"  # in place of a fate
#: Of an observation; more are interference, and could not be extracted in time anyway.
MAX_CLUSTERS = 50_000


@dataclass(frozen=True, slots=True)
class Row:
    """A cluster.

    :param fate: None: not known yet
    :param file: name of the candidate's file, if it was kept
    :param hidden: it is beyond the limits, so there is no cluster
    """

    pulse: Pulse
    fate: Fate | None = None
    file: str = ""
    listed: ListedCandidate | None = None
    hidden: bool = False

    def to_plain(self) -> list[Any]:
        """As a short list: there may be many."""
        pulse = self.pulse
        plain: list[Any] = [pulse.beam, pulse.downsampling, pulse.time, pulse.dm, pulse.snr]
        if self.hidden:
            return [*plain, _HIDDEN]
        if self.fate:
            plain.append(str(self.fate))
        if self.listed:
            listed = self.listed
            numbers = listed.snr, listed.time, listed.downsampling, listed.probability
            plain += [self.file, *numbers]
        return plain

    @classmethod
    def from_plain(cls, plain: list[Any], cb: int) -> Row:
        """The way back from `to_plain`."""
        beam, downsampling, time, dm, snr, *rest = plain
        pulse = Pulse(beam, downsampling, time, dm, snr)
        if rest == [_HIDDEN]:
            return cls(pulse, hidden=True)
        row = cls(pulse, Fate(rest[0]) if rest else None)
        if len(rest) < 2:
            return row
        file, snr, time, downsampling, probability = rest[1:]
        line = ListedCandidate(cb, snr, dm, time, downsampling, beam, probability)
        return replace(row, file=file, listed=line)


class Book:
    """The clusters of one observation.

    :param memory: of the service, in which rows are by `PREFIX` and key
    """

    def __init__(self, memory: Mapping[str, Any], cb: int) -> None:
        self._rows = {
            key.removeprefix(PREFIX): Row.from_plain(plain, cb)
            for key, plain in memory.items()
            if key.startswith(PREFIX)
        }
        self.fates = Counter(row.fate for row in self._rows.values() if row.fate)
        self._n_hidden = sum(row.hidden for row in self._rows.values())

    def __len__(self) -> int:
        return len(self._rows) - self._n_hidden

    def __getitem__(self, key: str) -> Row:
        return self._rows[key]

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def items(self) -> Iterator[tuple[str, Row]]:
        """Keys and rows of clusters."""
        return ((key, row) for key, row in self._rows.items() if not row.hidden)

    @property
    def n_open(self) -> int:
        """Clusters of which it is not known yet what becomes of them."""
        return len(self) - self.fates.total()

    def news(self, clusters: Records, beyond: Records | None = None) -> tuple[dict[str, Row], int]:
        """Rows that some clusters would make or replace, and how many there is no room for.

        :param beyond: best candidates beyond the limits
        """
        news: dict[str, Row] = {}
        n_too_many = 0
        # What is beyond the limits takes no room from what may become a candidate.
        room = {False: MAX_CLUSTERS - len(self), True: MAX_CLUSTERS - self._n_hidden}
        hidden = () if beyond is None else beyond
        both = [(record, False) for record in clusters] + [(record, True) for record in hidden]
        for record, is_hidden in both:
            key = f"{int(record['window'])}.{int(record['dm_bin'])}"
            pulse = pulse_of(record)
            known = news.get(key) or self._rows.get(key)
            if known is None and room[is_hidden] <= 0:
                n_too_many += not is_hidden
            elif known is None or _is_better(pulse, known.pulse):
                room[is_hidden] -= known is None
                news[key] = Row(pulse, hidden=is_hidden)
        return news, n_too_many

    def enter(self, rows: Mapping[str, Row]) -> None:
        """Make or replace rows."""
        for key, row in rows.items():
            known = self._rows.get(key)
            if known and known.fate:
                self.fates[known.fate] -= 1
            if row.fate:
                self.fates[row.fate] += 1
            self._n_hidden += row.hidden - (known is not None and known.hidden)
            self._rows[key] = row

    def names(self, file: str, but: str) -> bool:
        """Whether a file belongs to another row than one."""
        return any(row.file == file for key, row in self._rows.items() if key != but)

    @staticmethod
    def memory(rows: Mapping[str, Row]) -> dict[str, Any]:
        """Rows as the service remembers them."""
        return {PREFIX + key: row.to_plain() for key, row in rows.items()}

    def forgotten(self) -> dict[str, Any]:
        """What makes the service forget all rows."""
        return {PREFIX + key: None for key in self._rows}


def _is_better(pulse: Pulse, known: Pulse) -> bool:
    return _rank(pulse) < _rank(known)


def _rank(pulse: Pulse) -> tuple[float, ...]:
    return (-pulse.snr, pulse.time, pulse.downsampling, pulse.beam, pulse.dm)
