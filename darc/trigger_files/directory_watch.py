"""Notification of changes in directories by inotify."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from inotify_simple import INotify, flags

log = logging.getLogger(__name__)

_WATCHED = flags.CREATE | flags.MODIFY | flags.MOVED_TO


class DirectoryWatch:
    """Directories watched by inotify.

    If inotify is unavailable (instances per user are limited), or a directory cannot be watched,
    there are no notifications; an error is logged once.
    """

    def __init__(self) -> None:
        self._watches: dict[Path, int] = {}
        self._said: set[Path] = set()
        self._inotify: INotify | None = None
        try:
            self._inotify = INotify()
        except OSError as error:
            log.error("inotify is unavailable, files are polled every second: %s", error)

    @property
    def descriptor(self) -> int | None:
        """Descriptor that is readable after a change; None: no notifications."""
        return self._inotify.fileno() if self._inotify else None

    def changed(self) -> bool:
        """Whether there was a change since the last call."""
        if self._inotify is None:
            return False
        events = self._inotify.read(timeout=0)
        # A removed directory is no longer watched, even if it exists again.
        dead = {event.wd for event in events if event.mask & flags.IGNORED}
        self._watches = {path: watch for path, watch in self._watches.items() if watch not in dead}
        return bool(events)

    def watch(self, directory: Path, *, exists: bool) -> None:
        """Watch a directory as soon as it exists."""
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
                log.error("%s: cannot be watched, polled every second: %s", directory, error)

    def forget(self, directory: Path) -> None:
        watch = self._watches.pop(directory, None)
        self._said.discard(directory)
        if watch is None or self._inotify is None:
            return
        try:
            self._inotify.rm_watch(watch)
        except OSError as error:
            log.debug("%s: not watched any more: %s", directory, error)
