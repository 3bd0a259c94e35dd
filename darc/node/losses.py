"""What a service has lost for good: counted, remembered, and told to people.

A service names the kinds in its class, and calls :meth:`darc.services.base.Service.lost`. What is
lost is on the status page for :data:`TOLD_SECONDS`, an alarm, and a counter for Prometheus.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darc.runtime.clock import Since
from darc.runtime.log import observation_now

log = logging.getLogger(__name__)

#: Key in a service's memory, and in what it tells.
LOSSES = "losses"
#: For so long people are told of the last one of a kind.
TOLD_SECONDS = 86400.0
#: Of each kind, those of which it is known what they were.
KEPT = 10
MAX_CHARACTERS = 200
#: What a dead process has noted as lost, and not given up any more, comes again this soon.
AGAIN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class LossKind:
    """Something that may be lost.

    :param id: of the kind, in metrics
    :param title: for people: what was lost
    :param to_do: for people: what to do against it
    """

    id: str
    title: str
    to_do: str


#: Of any service that reads entries.
ENTRIES_DROPPED = LossKind(
    "entries_dropped",
    "entries of the queue could not be read, and were dropped",
    "What put them is wrong, or of another version: see the log of the service.",
)


@dataclass(frozen=True, slots=True)
class _Lost:
    since: Since
    observation: str
    what: str
    why: str

    def is_same(self, other: _Lost) -> bool:
        return (self.observation, self.what) == (other.observation, other.what)

    def to_plain(self) -> list[Any]:
        return [self.since.to_plain(), self.observation, self.what, self.why]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> _Lost:
        since, observation, what, why = plain
        return cls(Since.from_plain(since), str(observation), str(what), str(why))


@dataclass(frozen=True, slots=True)
class _OfKind:
    """How much of a kind was lost, and the last ones, the latest last."""

    number: int
    last: tuple[_Lost, ...]


class Losses:
    """The losses of a service, over deaths of its process too.

    :param kinds: those that there may be
    """

    def __init__(self, kinds: Sequence[LossKind]) -> None:
        self._kinds = {kind.id: kind for kind in kinds}
        # Replaced as a whole: it is told in another thread.
        self._known: Mapping[str, _OfKind] = {}
        self._of_before: dict[str, list[_Lost]] = {}

    def add(self, kind: LossKind, what: str, why: str, number: int = 1) -> bool:
        """Count a loss; False where the process of before has counted it, and then died.

        :param number: of things lost at once
        """
        self._kinds.setdefault(kind.id, kind)
        new = _Lost(Since.now(), observation_now(), _short(what), _short(why))
        for old in self._of_before.get(kind.id, []):
            if old.is_same(new) and old.since.age() < AGAIN_SECONDS:
                self._of_before[kind.id].remove(old)
                return False
        known = self._known.get(kind.id, _OfKind(0, ()))
        changed = _OfKind(known.number + number, (*known.last, new)[-KEPT:])
        self._known = {**self._known, kind.id: changed}
        return True

    def numbers(self) -> dict[str, int]:
        """How much was lost, by kind."""
        known = {kind: one.number for kind, one in self._known.items()}
        return dict.fromkeys(self._kinds, 0) | known

    def told(self) -> dict[str, Any]:
        """For people and for the overview, by kind: those of which there are any."""
        return {
            kind: {
                **self._words(kind),
                "number": one.number,
                "recent": bool(one.last) and one.last[-1].since.age() < TOLD_SECONDS,
                "last": [
                    {
                        **{"time": round(lost.since.unix, 3), "observation": lost.observation},
                        **{"what": lost.what, "why": lost.why},
                    }
                    for lost in one.last
                ],
            }
            for kind, one in self._known.items()
        }

    def _words(self, kind: str) -> dict[str, str]:
        """What another version has remembered is told by its identifier."""
        known = self._kinds.get(kind) or LossKind(kind, f"lost: {kind}", "")
        return {"title": known.title, "to_do": known.to_do}

    # -- over deaths of the process ----------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        return {
            kind: [one.number, [lost.to_plain() for lost in one.last]]
            for kind, one in self._known.items()
        }

    def recall(self, plain: Any) -> None:
        """Go on from there; None: nothing was remembered."""
        if plain is None:
            return
        try:
            self._known = {
                str(kind): _OfKind(int(number), tuple(map(_Lost.from_plain, last)))
                for kind, (number, last) in plain.items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            log.error("what was lost before cannot be read, and is counted anew: %r", error)
        self._of_before = {kind: list(one.last) for kind, one in self._known.items()}


def _short(text: str) -> str:
    text = text.encode(errors="backslashreplace").decode()  # a file's name may be any bytes
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 4]} ..."
