"""Syncing of commits to disk: soon, or before a caller continues.

SQLite (WAL, synchronous NORMAL) leaves a commit to the kernel, which writes it later; a loss of
power would lose everything since the last checkpoint. The log beside the database is written in
the order of the commits, so that one fdatasync of it covers all earlier commits.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from darc.runtime.paths import sync_directory
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

#: Delay of the sync of commits that no caller waits for (s).
WINDOW_SECONDS = 0.1


class WriteBehind:
    """Background sync of a database's log.

    A failing disk ends the process, as its content is unknown then.

    :param log_file: log of the database, which must exist
    :raises OSError: it does not exist
    """

    def __init__(self, log_file: Path) -> None:
        self._path = log_file
        self._file = os.open(log_file, os.O_RDWR | os.O_CLOEXEC)
        sync_directory(log_file.parent)  # the directory entry must be on disk, too
        self._changed = threading.Condition()
        self._committed = 0
        self._on_disk = 0
        self._syncing = False
        self._closed = False
        vital("write-behind", self._run, or_exit=True, stoppable=True)

    def note(self) -> None:
        """Note that a commit was written; to be called in the order of the commits."""
        with self._changed:
            self._committed += 1
            if self._committed == self._on_disk + 1:
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all commits are on disk."""
        with self._changed:
            wanted = self._committed
            while self._on_disk < wanted:
                if self._syncing:
                    self._changed.wait()
                else:
                    self._sync()

    def close(self) -> None:
        """Sync all commits, and stop the thread."""
        if self._closed:
            return
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._syncing)
            os.close(self._file)

    def _sync(self) -> None:
        """Sync all commits, for all waiting threads. To be called with the lock held."""
        self._syncing = True
        reached = self._committed
        self._changed.release()
        try:
            os.fdatasync(self._file)
        except OSError as error:
            log.critical(
                "%s: cannot be synced to disk, so this process exits: %s", self._path, error
            )
            logging.shutdown()
            os._exit(1)
        finally:
            self._changed.acquire()
            self._syncing = False
        self._on_disk = reached
        self._changed.notify_all()

    def _run(self) -> None:
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._closed or self._committed > self._on_disk)
                if not self._closed:
                    # One sync then covers the commits that arrive meanwhile, too.
                    self._changed.wait_for(lambda: self._closed, WINDOW_SECONDS)
                if self._closed:
                    return
                if self._committed > self._on_disk and not self._syncing:
                    self._sync()
