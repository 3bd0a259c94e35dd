"""Injections of observations that were listed, for another run of the same observation.

What is committed with a run ends with it. The same observation may be started again when the list
is gone, and its injections are not to be announced then either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from darc.candidates.injections import Injection, injections_of, packages_of
from darc.model.observation import Observation

log = logging.getLogger(__name__)

#: Prefix of their keys in the memory of the service.
INJECTED = "injected "
#: Observations at most; the oldest go.
MOST_OBSERVATIONS = 100


class KnownInjections:
    """Lists of observations, by what is the same in all runs: name and start."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[float, Any]] = {}  # since when (Unix s), and a package, by key

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Restore what earlier processes have committed."""
        found = {key: value for key, value in memory.items() if key.startswith(INJECTED)}
        self._rows = {key: (float(since), plain) for key, (since, plain) in found.items()}

    def of(self, observation: Observation) -> list[Injection]:
        """Return those of an observation."""
        name = _name(observation)
        found: list[Injection] = []
        for key, (_, plain) in self._rows.items():
            if key.startswith(name):
                try:
                    found += injections_of(plain)
                except ValueError as error:  # saved by another version
                    log.error("injections of an earlier run are unreadable, and ignored: %s", error)
        return found

    def add(self, observation: Observation, found: Sequence[Injection]) -> dict[str, Any]:
        """Add what was listed; return the memory to commit."""
        name, now = _name(observation), time.time()
        number = sum(key.startswith(name) for key in self._rows)
        new = {f"{name}{number + n}": (now, plain) for n, plain in enumerate(packages_of(found))}
        self._rows |= new
        memory: dict[str, Any] = {key: list(row) for key, row in new.items()}
        latest: dict[str, float] = {}
        for key, (since, _) in self._rows.items():
            one = key.rpartition(" ")[0]
            latest[one] = max(since, latest.get(one, since))
        oldest = sorted(latest, key=lambda one: latest[one])[:-MOST_OBSERVATIONS]
        for key in [key for key in self._rows if key.rpartition(" ")[0] in oldest]:
            del self._rows[key]
            memory[key] = None
        return memory


def _name(observation: Observation) -> str:
    return f"{INJECTED}{observation.task_id} {observation.start:.3f} "
