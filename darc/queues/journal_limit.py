"""Size limit of the journal, and the disk reserve for when it is reached."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

#: The journal accepts entries again when less than this fraction of the limit is used.
ENOUGH = 0.9
# Space returned to the disk per check: little, as the queues wait meanwhile.
STEP_PAGES = 256
STEPS_SECONDS = 0.1


class DiskReserve:
    """A file that reserves disk space for when the disk is full."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self.size = size
        self.there = False

    def take(self) -> bool:
        """Allocate the reserve; False if the disk has no room for it."""
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
        """Return the free space of the disk, bytes."""
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def give_up(self) -> None:
        self._path.unlink(missing_ok=True)
        self.there = False


class JournalLimit:
    """Size limit and reserve of a database. Methods are called with the database's lock held.

    When the limit is reached or the disk is full, the reserve is released, so that existing entries
    can be acknowledged. New entries are accepted again when less than ``ENOUGH`` of the limit is
    used and twice the reserve is free: on the disk, where the reserve is then allocated again, or
    in the file, where acknowledged entries leave free pages. The released reserve alone is not
    enough for either, so the state does not oscillate. Without its reserve the file does not grow.

    :param path: file of the database
    :param reserve_bytes: size of the reserve, by which ``max_bytes`` may be exceeded meanwhile
    :param largest_queue: describes the queue that uses most space, for messages
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        path: Path,
        max_bytes: int,
        reserve_bytes: int,
        largest_queue: Callable[[], str],
    ) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._log_file = path.with_name(f"{path.name}-wal")
        self._reserve = DiskReserve(path.with_suffix(".reserve"), reserve_bytes)
        self._largest_queue = largest_queue
        self._page_bytes = self._pragma("page_size")
        self.full = False
        if self._reserve.take():
            self._limit()
        else:
            self.run_out()
            self.check_room()

    def set_max_bytes(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._limit()
        self.check_room()

    def check_room(self) -> None:
        """Accept new entries again if there is room."""
        if not self.full and self._reserve.there:
            return
        self._return_space()
        used = self._pragma("page_count") * self._page_bytes - self._free_bytes()
        if used < ENOUGH * self._max_bytes:
            if not self._reserve.there and self._disk_has_room():
                self._reserve.take()
            if self.full and (self._reserve.there or self._file_has_room()):
                log.warning("the journal has room again")
                self.full = False
        self._limit()

    def run_out(self) -> None:
        """Refuse new entries from now on, and release the reserve."""
        was_full, self.full = self.full, True
        self._reserve.give_up()
        self._limit()
        if not was_full:
            log.error(
                "the journal is full and refuses new entries until there is room; %s",
                self._largest_queue(),
            )

    def _disk_has_room(self) -> bool:
        return self._reserve.disk_free() >= 2 * self._reserve.size

    def _file_has_room(self) -> bool:
        """Whether free pages suffice; SQLite also needs disk space to log changes to them."""
        log_bytes = self._log_file.stat().st_size if self._log_file.exists() else 0
        return (
            self._free_bytes() >= 2 * self._reserve.size
            and self._reserve.disk_free() + log_bytes >= self._reserve.size
        )

    def _return_space(self) -> None:
        """Shrink the file until the disk has room, but keep free pages in place of the reserve."""
        deadline = time.monotonic() + STEPS_SECONDS
        try:
            while not self._disk_has_room():
                # This also shrinks the file, and restarts the log. The log keeps its disk space:
                # nothing could be acknowledged if another program took it.
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                before = self._free_bytes()
                if before <= self._reserve.size or time.monotonic() > deadline:
                    return
                # execute() would free a single page only
                self._database.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")
                if self._free_bytes() == before:
                    return  # a file of an early version, which cannot shrink
        except sqlite3.OperationalError as error:
            log.debug("no space returned to the disk: %s", error)

    def _limit(self) -> None:
        pages = self._max_bytes // self._page_bytes
        if self.full:
            pages = (self._max_bytes + self._reserve.size) // self._page_bytes
        elif not self._reserve.there:
            pages = min(pages, self._pragma("page_count"))
        self._database.execute(f"PRAGMA max_page_count={pages}")

    def _free_bytes(self) -> int:
        return self._pragma("freelist_count") * self._page_bytes

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
