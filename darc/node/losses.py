"""Permanent losses of a service: counted, stored and reported.

A service declares the kinds in its class, and calls :meth:`darc.services.base.Service.lost`. A loss
is on the status page for :data:`TOLD_SECONDS`, raises an alarm, and is counted for Prometheus.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from darc.config.records import Struct, convert
from darc.config.typed import to_plain
from darc.runtime.clock import Since
from darc.runtime.log import observation_now

log = logging.getLogger(__name__)

#: Key in a service's stored values, and in its reports.
LOSSES = "losses"
#: For how long the last loss of a kind is reported (s).
TOLD_SECONDS = 86400.0
#: Losses of each kind that are kept with their description.
KEPT = 10
MAX_CHARACTERS = 200
#: Time in which a loss is counted again if the process exited before committing it (s).
AGAIN_SECONDS = 600.0


class LossKind(Struct, frozen=True):
    """A kind of loss.

    :param id: identifier, in metrics
    :param title: description of what was lost
    :param to_do: what an operator can do about it
    """

    id: str
    title: str
    to_do: str


#: For every service that reads a queue.
ENTRIES_DROPPED = LossKind(
    "entries_dropped",
    "entries of the queue could not be read, and were dropped",
    "Their sender is faulty, or of another version: see the log of the service.",
)

#: For every service that goes by a list of known sources.
SOURCES_UNKNOWN = LossKind(
    "sources_unknown",
    "a list of known sources could not be read: without them, bursts are taken for new ones",
    "Mend the file that is named (source_file, match_files). It is read when an"
    " observation is started, and at `darc reload`.",
)


class _LossEntry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    since: Since
    observation: str
    what: str
    why: str

    def is_same(self, other: _LossEntry) -> bool:
        return (self.observation, self.what) == (other.observation, other.what)


class _KindLosses(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Number of losses of a kind, and the most recent ones, oldest first."""

    number: int
    last: tuple[_LossEntry, ...]


class Losses:
    """Losses of a service, kept across restarts of its process.

    :param kinds: declared kinds
    """

    def __init__(self, kinds: Sequence[LossKind]) -> None:
        self._kinds = {kind.id: kind for kind in kinds}
        # Replaced as a whole, as another thread reads it.
        self._known: Mapping[str, _KindLosses] = {}
        self._of_before: dict[str, list[_LossEntry]] = {}

    def add(self, kind: LossKind, what: str, why: str, number: int = 1) -> bool:
        """Count a loss; False if an earlier process has counted it, and then exited.

        :param what: what was lost
        :param why: reason
        :param number: number of things lost at once
        """
        self._kinds.setdefault(kind.id, kind)
        new = _LossEntry(Since.now(), observation_now(), _short(what), _short(why))
        for old in self._of_before.get(kind.id, []):
            if old.is_same(new) and old.since.age() < AGAIN_SECONDS:
                self._of_before[kind.id].remove(old)
                return False
        known = self._known.get(kind.id, _KindLosses(0, ()))
        changed = _KindLosses(known.number + number, (*known.last, new)[-KEPT:])
        self._known = {**self._known, kind.id: changed}
        return True

    def numbers(self) -> dict[str, int]:
        """Return the number of losses by kind."""
        known = {kind: one.number for kind, one in self._known.items()}
        return dict.fromkeys(self._kinds, 0) | known

    def summaries(self) -> dict[str, Any]:
        """Return the losses by kind, for the overview; kinds without losses are left out."""
        return {
            kind: {
                "title": self._kind(kind).title,
                "to_do": self._kind(kind).to_do,
                "number": one.number,
                "recent": bool(one.last) and one.last[-1].since.age() < TOLD_SECONDS,
                "last": [
                    {
                        "time": round(lost.since.unix, 3),
                        "observation": lost.observation,
                        "what": lost.what,
                        "why": lost.why,
                    }
                    for lost in one.last
                ],
            }
            for kind, one in self._known.items()
        }

    def _kind(self, kind: str) -> LossKind:
        """Return a kind by its identifier; one of another version has no other title."""
        return self._kinds.get(kind) or LossKind(kind, f"lost: {kind}", "")

    # -- across restarts ----------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self._known)
        return plain

    def recall(self, plain: Any) -> None:
        """Restore from stored values; None: there are none."""
        if plain is None:
            return
        try:
            self._known = convert(plain, dict[str, _KindLosses])
        except ValueError as error:
            log.error("stored losses cannot be read; counting starts at 0: %r", error)
        self._of_before = {kind: list(one.last) for kind, one in self._known.items()}


def _short(text: str) -> str:
    text = text.encode(errors="backslashreplace").decode()  # a file name may be any bytes
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 4]} ..."
