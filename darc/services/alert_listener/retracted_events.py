"""Events that were retracted: notices of them that come after that are not acted upon.

Partitions of a topic are read beside each other, so that a retraction may come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darc.model.memory_rows import rows_under
from darc.services.alert_listener.use_book import REMEMBERED_SECONDS

RETRACTED = "retracted "
#: Of more, the oldest are forgotten.
MOST_RETRACTED = 2000


class RetractedEvents:
    """Retracted events by their key, the oldest first, with the time of the retraction (Unix s)."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Restore what `add` has returned."""
        kept = sorted((float(at), key) for key, at in rows_under(memory, RETRACTED).items())
        self._at |= {key: at for at, key in kept}

    def __contains__(self, key: str) -> bool:
        return key in self._at

    def add(self, key: str, now: float) -> dict[str, Any]:
        """Note a retraction; return the memory to commit, without what cannot come again.

        :param now: Unix s
        """
        if key in self._at:
            return {}
        memory: dict[str, Any] = {}
        for old, at in list(self._at.items()):
            if at > now - REMEMBERED_SECONDS and len(self._at) < MOST_RETRACTED:
                break
            del self._at[old]
            memory[RETRACTED + old] = None
        self._at[key] = now
        return memory | {RETRACTED + key: now}
