"""What need not be kept for ever: files of which there are many, and what killed writers left."""

from __future__ import annotations

import heapq
import logging
import os
import re
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)

#: `files.write_whole` writes for less than this (s), also where clocks differ.
UNFINISHED_SECONDS = 3600.0
_UNFINISHED = re.compile(r"\..*\.[0-9a-f]{12}\.new", re.DOTALL)


def remove_unfinished(directory: Path) -> None:
    """Remove the hidden files that processes have left which were killed in `files.write_whole`.

    :raises OSError: the directory cannot be read, or one of them not removed
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
            continue  # it was finished, or another process was quicker


class NewestFiles:
    """Keeps the newest files of a directory, in a thread: it may have many, and hang.

    :param pattern: of the names of the files that count; they sort by age
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._added = 0
        self._thread: threading.Thread | None = None

    def added(self, directory: Path, kept: int) -> None:
        """Note that there is another file. It may be `kept` and a hundredth more.

        :param kept: of so many files, the oldest go
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
            log.error("older files are not removed: %s", error)
        else:
            if oldest:
                log.info(
                    "%d files removed from %s, %s to %s: more than %d are not kept",
                    *(len(oldest), directory, oldest[0], oldest[-1], kept),
                )
