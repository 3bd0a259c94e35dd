"""Hears of changes in directories, where the system has that to give."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from inotify_simple import INotify, flags

log = logging.getLogger(__name__)

_WATCHED = flags.CREATE | flags.MODIFY | flags.MOVED_TO


class DirectoryWatch:
    """Directories that are watched by inotify.

    Without an instance of inotify, of which a user has only so many, or where a directory cannot be
    watched, nothing is heard; that is said once.
    """

    def __init__(self) -> None:
        self._watches: dict[Path, int] = {}
        self._said: set[Path] = set()
        self._inotify: INotify | None = None
        try:
            self._inotify = INotify()
        except OSError as error:
            log.error("inotify cannot be had, so files are looked at every second: %s", error)

    @property
    def descriptor(self) -> int | None:
        """Readable when something has changed; None: nothing is heard."""
        return self._inotify.fileno() if self._inotify else None

    def changed(self) -> bool:
        """Whether something has changed since this was last asked."""
        if self._inotify is None:
            return False
        events = self._inotify.read(timeout=0)
        # A directory that was removed is not watched any more, even if it is there again.
        dead = {event.wd for event in events if event.mask & flags.IGNORED}
        self._watches = {path: watch for path, watch in self._watches.items() if watch not in dead}
        return bool(events)

    def watch(self, directory: Path, *, exists: bool) -> None:
        """Have a directory watched once it is there.

        :param exists: whether it can be seen just now
        """
        if self._inotify is None:
            return
        if directory in self._watches:
            if not exists:
                del self._watches[directory]
            return
        try:
            self._watches[directory] = self._inotify.add_watch(str(directory), _WATCHED)
            self._said.discard(directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR) and directory not in self._said:
                self._said.add(directory)
                log.error("%s: cannot be watched, looking every second: %s", directory, error)

    def forget(self, directory: Path) -> None:
        """Watch a directory no more."""
        watch = self._watches.pop(directory, None)
        self._said.discard(directory)
        if watch is None or self._inotify is None:
            return
        try:
            self._inotify.rm_watch(watch)
        except OSError as error:
            log.debug("%s: not watched any more: %s", directory, error)
