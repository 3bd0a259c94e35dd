"""Depths of the queues, counted with each change, so that reading them is cheap."""

from __future__ import annotations

import sqlite3
from collections import defaultdict


class DepthCounter:
    """Entries and bytes of each queue.

    Changes within a transaction take effect when it is committed.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._noted: list[tuple[str, int, int]] = []
        for queue, entries, content_bytes in database.execute(
            "SELECT queue, count(*), sum(length(content))"
            " FROM entry JOIN body ON body.id = entry.body GROUP BY queue"
        ):
            self._counts[queue] = [entries, content_bytes]

    def note(self, queue: str, entries: int, content_bytes: int) -> None:
        """Add a change of the current transaction."""
        self._noted.append((queue, entries, content_bytes))

    def committed(self) -> None:
        """Apply the changes of the transaction."""
        for queue, entries, content_bytes in self._noted:
            count = self._counts[queue]
            count[0] += entries
            count[1] += content_bytes
        self._noted.clear()

    def rolled_back(self) -> None:
        """Discard the changes of the transaction."""
        self._noted.clear()

    def items(self) -> list[tuple[str, int, int]]:
        """Return name, entries and bytes of each queue that is not empty, by name."""
        return [
            (queue, entries, content_bytes)
            for queue, (entries, content_bytes) in sorted(self._counts.items())
            if entries
        ]
