"""Logs of one node: their files, their entries, and new entries."""

from __future__ import annotations

import heapq
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice, takewhile
from pathlib import Path

from inotify_simple import INotify, flags

from darc.cli.log_files import (
    FollowedLog,
    file_size,
    lines_backwards,
    lines_forwards,
    open_files,
    whole_size,
)
from darc.cli.log_records import LogRecord, records, records_backwards
from darc.config.config import Config
from darc.config.records import Struct, field
from darc.node.process_names import MASTER, MONITOR

SUPERVISORD = "supervisord"
_WATCHED = flags.MODIFY | flags.CREATE | flags.MOVED_TO


class LogFilter(Struct, frozen=True):
    """Selection of entries.

    :param last: number of latest entries; None: all
    :param since: earliest time, Unix s; None: no limit
    :param text: text that they contain, ignoring case
    """

    last: int | None
    since: float | None
    text: str

    def takes(self, record: LogRecord) -> bool:
        if self.since is not None and record.key < self.since:
            return False
        return self.text.casefold() in record.text.casefold()


def log_paths(config: Config) -> dict[str, Path]:
    """The log of each service there is or was, by name."""
    names = [*config.services(), MASTER, MONITOR, SUPERVISORD]
    end = f".{config.hostname}.log"
    directory = Path(config.master.log_dir)
    if directory.is_dir():
        found = sorted(path.name.removesuffix(end) for path in directory.glob(f"*{end}"))
        names += [name for name in found if name not in names]
    paths = {name: Path(config.log_file(name)) for name in names}
    # supervisord's own log is configured in its section.
    return paths | {SUPERVISORD: directory / f"{SUPERVISORD}{end}"}


class NodeLogs(Struct):
    """Logs of this node, read once or followed.

    :param paths: paths of logs, by service
    """

    paths: dict[str, Path]
    _stack: ExitStack = field(default_factory=ExitStack)
    _followed: dict[str, FollowedLog] = field(default_factory=dict)
    _was_shown: dict[str, bool] = field(default_factory=dict)
    _inotify: INotify | None = None
    _watched: set[Path] = field(default_factory=set)

    def close(self) -> None:
        self._stack.close()
        for followed in self._followed.values():
            followed.close()

    def history(self, selection: LogFilter, follow: bool) -> list[LogRecord] | Iterator[LogRecord]:
        """Return existing entries in order of time.

        :param follow: keep the logs open for :meth:`new_records`
        """
        if follow:
            self._watch()
        # Read from the end, as far as needed.
        backwards = selection.last is not None or selection.since is not None
        since = -math.inf if selection.since is None else selection.since
        streams: list[Iterator[LogRecord]] = []
        for service, path in self.paths.items():
            files = open_files(path)
            for file in files:
                self._stack.callback(file.close)
            size = 0
            if files:
                size = whole_size(files[0]) if follow else file_size(files[0])
            if follow:
                self._followed[service] = FollowedLog(path, files, size)
            if backwards:
                stream = records_backwards(lines_backwards(files, size), service)
                streams.append(takewhile(lambda record: record.key >= since, stream))
            else:
                lines = lines_forwards(files, size)
                streams.append(records(lines, service))
        if not backwards:
            return filter(selection.takes, heapq.merge(*streams, key=lambda record: record.key))
        merged = heapq.merge(*streams, key=lambda record: -record.key)
        return list(islice(filter(selection.takes, merged), selection.last))[::-1]

    def _watch(self) -> None:
        """Watch the logs by inotify; without it, they are only polled."""
        if self._inotify is None:
            try:
                self._inotify = INotify()
            except OSError as error:
                print(f"darc: inotify: {error.strerror}: polling once a second", file=sys.stderr)
                return
            self._stack.callback(self._inotify.close)
        for directory in {path.parent for path in self.paths.values()} - self._watched:
            if directory.is_dir():
                self._inotify.add_watch(str(directory), _WATCHED)
                self._watched.add(directory)

    def fileno(self) -> int | None:
        """Descriptor that is readable if there may be new entries; None: poll."""
        return self._inotify.fileno() if self._inotify else None

    def new_records(self, selection: LogFilter) -> list[LogRecord]:
        """Return new entries since the last call, in order of time."""
        if self._inotify:
            self._inotify.read(timeout=0)
            self._watch()
        found: list[LogRecord] = []
        for service, followed in self._followed.items():
            found += self._shown(service, records(followed.read(), service), selection)
        return sorted(found, key=lambda record: record.key)

    def _shown(
        self, service: str, new: Iterable[LogRecord], selection: LogFilter
    ) -> Iterator[LogRecord]:
        for record in new:
            # Lines outside any entry continue the previous one.
            if record.time is not None:
                self._was_shown[service] = selection.takes(record)
            if self._was_shown.get(service, not selection.text):
                yield record
