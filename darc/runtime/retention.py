"""Removal of old files, and of partial files left by killed processes."""

from __future__ import annotations

import heapq
import logging
import os
import re
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)

#: Longer than any `paths.write_whole` takes, and than clocks differ (s).
UNFINISHED_SECONDS = 3600.0
_UNFINISHED = re.compile(r"\..*\.[0-9a-f]{12}\.new", re.DOTALL)


def remove_unfinished(directory: Path) -> None:
    """Remove the hidden files of processes that were killed in `paths.write_whole`.

    :raises OSError: the directory cannot be read, or a file not removed
    """
    try:
        with os.scandir(directory) as found:
            names = [one.name for one in found if _UNFINISHED.fullmatch(one.name)]
    except FileNotFoundError:
        return
    for name in names:
        path = directory / name
        try:
            if path.lstat().st_mtime < time.time() - UNFINISHED_SECONDS:
                path.unlink()
        except FileNotFoundError:
            continue  # it was renamed or removed meanwhile


class NewestFiles:
    """Retention of the newest files of a directory, in a thread, as the directory may hang.

    :param pattern: glob pattern of the files, whose names sort by age
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._added = 0
        self._thread: threading.Thread | None = None

    def added(self, directory: Path, kept: int) -> None:
        """Note a new file, and remove the oldest once there are 1 % more than `kept`.

        :param kept: number of files to keep
        """
        self._added += 1
        if self._thread is None or (self._added > kept // 100 and not self._thread.is_alive()):
            self._added = 0
            self._thread = threading.Thread(
                target=self._remove, args=(directory, kept), name="retention", daemon=True
            )
            self._thread.start()

    def _remove(self, directory: Path, kept: int) -> None:
        try:
            with os.scandir(directory) as found:
                names = [one.name for one in found if self._pattern.fullmatch(one.name)]
            oldest = heapq.nsmallest(len(names) - kept, names)
            for name in oldest:
                (directory / name).unlink(missing_ok=True)
        except OSError as error:
            log.error("old files cannot be removed: %s", error)
        else:
            if oldest:
                log.info(
                    "%d files removed from %s, %s to %s: at most %d are kept",
                    len(oldest),
                    directory,
                    oldest[0],
                    oldest[-1],
                    kept,
                )
