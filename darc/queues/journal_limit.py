"""How much the journal may hold, and what is done when that is reached."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

#: There is room again when less than this part of the limit is used.
ENOUGH = 0.9
# What is given back to the disk in one look: little at a time, as the queues wait meanwhile.
STEP_PAGES = 256
STEPS_SECONDS = 0.1


class DiskReserve:
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

    def disk_free(self) -> int:
        """What the disk has beside it, in bytes."""
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def give_up(self) -> None:
        self._path.unlink(missing_ok=True)
        self.there = False


class JournalLimit:
    """The limit of a database, and its reserve. To be called with the database's lock held.

    When the limit or the end of the disk is reached, the reserve is given up, so that what is there
    can be completed. Something new is taken in again when less than ``ENOUGH`` of the limit is used
    and there is twice the reserve: on the disk, of which the reserve takes its part then, or in the
    file, as what is completed leaves free pages there. What was given up is not enough for either,
    so that it does not go to and fro. Without its reserve the file does not grow.

    :param path: of the database
    :param reserve_bytes: also what may be used beyond ``max_bytes`` meanwhile
    :param holds_most: tells which queue to look at when there is no room
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        path: Path,
        max_bytes: int,
        reserve_bytes: int,
        holds_most: Callable[[], str],
    ) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._log_file = path.with_name(f"{path.name}-wal")
        self._reserve = DiskReserve(path.with_suffix(".reserve"), reserve_bytes)
        self._holds_most = holds_most
        self._page_bytes = self._pragma("page_size")
        self.full = False
        if self._reserve.take():
            self._limit()
        else:
            self.run_out()
            self.look()

    def set_max_bytes(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._limit()
        self.look()

    def look(self) -> None:
        """See whether there is room again."""
        if not self.full and self._reserve.there:
            return
        self._give_back()
        if self._used_bytes() < ENOUGH * self._max_bytes:
            if not self._reserve.there and self._disk_has_room():
                self._reserve.take()
            if self.full and (self._reserve.there or self._file_has_room()):
                log.warning("the journal has room again")
                self.full = False
        self._limit()

    def run_out(self) -> None:
        """There is no room any more."""
        was_full, self.full = self.full, True
        self._reserve.give_up()
        self._limit()
        if not was_full:
            log.error(
                "the journal is full: nothing new is taken in until there is room; %s",
                self._holds_most(),
            )

    def _disk_has_room(self) -> bool:
        return self._reserve.disk_free() >= 2 * self._reserve.size

    def _file_has_room(self) -> bool:
        """Free pages are room only where SQLite can write its log of a change to them."""
        log_bytes = self._log_file.stat().st_size if self._log_file.exists() else 0
        return (
            self._free_bytes() >= 2 * self._reserve.size
            and self._reserve.disk_free() + log_bytes >= self._reserve.size
        )

    def _give_back(self) -> None:
        """Shrink the file until the disk has room, but for what stands in for the reserve."""
        deadline = time.monotonic() + STEPS_SECONDS
        try:
            while not self._disk_has_room():
                # This also shrinks the file, and lets the log begin anew. The log keeps its place
                # on the disk: nothing could be completed when somebody else took that.
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                before = self._free_bytes()
                if before <= self._reserve.size or time.monotonic() > deadline:
                    return
                # execute() would do a single page
                self._database.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")
                if self._free_bytes() == before:
                    return  # a file from before it could shrink
        except sqlite3.OperationalError as error:
            log.debug("nothing given back to the disk: %s", error)

    def _limit(self) -> None:
        pages = self._max_bytes // self._page_bytes
        if self.full:
            pages = (self._max_bytes + self._reserve.size) // self._page_bytes
        elif not self._reserve.there:
            pages = min(pages, self._pragma("page_count"))
        self._database.execute(f"PRAGMA max_page_count={pages}")

    def _used_bytes(self) -> int:
        return self._pragma("page_count") * self._page_bytes - self._free_bytes()

    def _free_bytes(self) -> int:
        return self._pragma("freelist_count") * self._page_bytes

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
