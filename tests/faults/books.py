"""What an observation came to, and whether it adds up."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from faults.alert_record import Announced
from faults.outside import Reached
from faults.processing import Processed
from msgspec import Struct, field

from darc.master.observation_summaries import MASTER, RUN


class Books(Struct):
    """What an observation came to."""

    lines: int = 0
    listener: dict[str, int] = field(default_factory=dict)
    clustering: dict[str, int] = field(default_factory=dict)
    triggers: dict[str, list[str]] = field(default_factory=dict)  # kind → window/DM bin
    asked: dict[str, int] = field(default_factory=dict)  # by dada_trigger: → how often
    outcomes: set[str] = field(default_factory=set)  # of these
    processed: Processed = field(default_factory=Processed)
    reached: Reached = field(default_factory=Reached)
    announced: Announced = field(default_factory=Announced)
    again: Counter[str] = field(default_factory=Counter)  # sent once more, as the node counted

    @property
    def candidates(self) -> int:
        return self.listener.get("candidates", 0)

    def problems(self) -> list[str]:
        """What does not add up."""
        found = self.unaccounted()
        if sorted(self.asked) != sorted(self.triggers.get("iquv", [])):
            found.append(f"decided {self.triggers.get('iquv')}, asked for {sorted(self.asked)}")
        if not self.outcomes <= {"sent", "sent, not confirmed"}:
            found.append(f"dumps: {self.outcomes}")
        return found + self.processed.problems(self.candidates) + self.announced.problems()

    def unaccounted(self) -> list[str]:
        """Lines and candidates of which nobody knows what became."""
        found = []
        rejected = sum(n for key, n in self.listener.items() if key.startswith("rejected"))
        accounted = self.candidates + self.listener.get("headers", 0) + rejected
        if self.listener.get("lines") != self.lines or accounted != self.lines:
            found.append(f"{self.lines} lines written, {self.listener} accounted for")
        rejected = sum(n for key, n in self.clustering.items() if key.startswith("rejected"))
        if self.clustering.get("clustered", 0) + rejected != self.candidates:
            found.append(f"{self.candidates} candidates handed on, {self.clustering} accounted for")
        return found


def are_of_run(path: Path, run: str) -> bool:
    """Whether a node has written the books of this run: those of one before may be there first."""
    try:
        return bool(json.loads(path.read_text())[MASTER][RUN] == run)
    except FileNotFoundError:
        return False


def read_books(path: Path) -> tuple[Books, dict[str, int]]:
    """Read what a node keeps of an observation, and what its processor has counted.

    :raises AssertionError: it is not all there
    """
    try:
        books: dict[str, Any] = json.loads(path.read_text())
        memory = books["amber_clustering"]
    except (ValueError, KeyError) as error:
        raise AssertionError(f"{path}: no books: {error!r}") from error
    dumps = {
        key: row for key, row in books.get("dada_trigger", {}).items() if key.startswith("dump ")
    }
    triggers: dict[str, list[str]] = {}
    for key, value in memory.items():
        if key.startswith("window "):
            for kind, dm_bins in value["passed on"].items():
                triggers.setdefault(kind, []).extend(f"{key[7:]}/{dm}" for dm in dm_bins)
    found = Books(
        listener=books["amber_listener"].get("counts", {}),
        clustering=memory.get("counts", {}),
        triggers={kind: sorted(identities) for kind, identities in triggers.items()},
        asked={key.split("/", 1)[1]: row["asked"] for key, row in dumps.items()},
        outcomes={row["outcome"] for row in dumps.values()},
    )
    return found, books["processor"].get("counts", {})
