"""How much the journal may hold, and what is done when that is reached."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

log = logging.getLogger(__name__)

#: There is room again when less than this part of the limit is used.
ENOUGH = 0.9


class Reserve:
    """A file that keeps room on disk for the time when there is none."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self.size = size
        self.there = False

    def take(self) -> bool:
        """Occupy it; False when the disk has no room for it."""
        try:
            with self._path.open("ab") as file:
                if self.size:
                    os.posix_fallocate(file.fileno(), 0, self.size)
        except OSError as error:
            log.debug("%s: %s", self._path, error)
            self._path.unlink(missing_ok=True)
            return False
        self.there = True
        return True

    def give_up(self) -> None:
        self._path.unlink(missing_ok=True)
        self.there = False


class Room:
    """The limit of a database, and its reserve. To be called with the database's lock held.

    When the limit or the end of the disk is reached, the reserve is given up, so that what is there
    can be completed; nothing new is taken in until the reserve is back in its place.

    :param reserve_bytes: also what may be used beyond ``max_bytes`` meanwhile
    """

    def __init__(
        self, database: sqlite3.Connection, reserve: Path, max_bytes: int, reserve_bytes: int
    ) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._reserve = Reserve(reserve, reserve_bytes)
        self._page_bytes = self._pragma("page_size")
        self.full = False
        self._limit()
        self.look()

    def set_max_bytes(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._limit()
        self.look()

    def look(self) -> None:
        """See whether there is room again."""
        if not self.full and self._reserve.there:
            return
        if self._used_bytes() < ENOUGH * self._max_bytes and self._reserve.take():
            if self.full:
                log.warning("the journal has room again")
            self.full = False
            self._limit()

    def run_out(self) -> None:
        """There is no room any more."""
        if not self.full:
            log.error("the journal is full: nothing new is taken in until there is room")
        self.full = True
        self._reserve.give_up()
        self._limit()

    def _limit(self) -> None:
        extra = self._reserve.size if self.full else 0
        self._database.execute(
            f"PRAGMA max_page_count={(self._max_bytes + extra) // self._page_bytes}"
        )

    def _used_bytes(self) -> int:
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._page_bytes

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
