"""Files of an observation's candidate source, which are found as they appear."""

from __future__ import annotations

import contextlib
import heapq
import logging
import math
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from darc.runtime.untrusted_files import open_regular
from darc.trigger_files.candidate_source import (
    CandidateSource,
    FileOfSeries,
    SourceContext,
    make_source,
)
from darc.trigger_files.trigger_file import EARLIER_SECONDS, LAST_BYTES, TriggerFile

log = logging.getLogger(__name__)

#: A directory that changed so recently may change again in the same tick of its clock (s).
SAME_TICK_SECONDS = 2.0
#: Files of an earlier observation whose sizes are remembered.
KEPT_EARLIER = 100_000
#: Of the latest of them, their last bytes too, by which one that was written anew is known.
KEPT_ENDS = 1000
#: A file that another one follows, and that got nothing for so long, has ended (s).
ENDED_SECONDS = 10.0
#: It is looked at so often (s).
LOOK_AT_ENDED_SECONDS = 30.0
#: Keys in the memory of an observation.
_STATE, _LEFT_ALONE = "state ", "left alone"


class FollowedFiles:
    """The files of one observation.

    Files that were last written before the observation began are left alone. One of them that
    grows is read from the size at which it was found, if it still has its last bytes there; else it
    was written anew, and is read from its start.

    :param start: of the observation, Unix s
    :param latest: latest arrival time of a candidate, since the start (s)
    :param progress: by file, how far it was read by an earlier process (bytes)
    :param memory: what that has committed
    """

    def __init__(
        self,
        source: CandidateSource,
        *,
        start: float,
        latest: float,
        progress: Mapping[str, int],
        memory: Mapping[str, Any],
    ) -> None:
        self._source = source
        self._start = start if source.may_have_earlier_files else -math.inf
        self._latest = latest
        self._progress = progress
        self._recalled = memory
        self._files: dict[str, TriggerFile] = {}
        self._committed: dict[str, Any] = {}  # states of files
        # Size, inode and last bytes; an earlier version kept the size alone.
        self._left_alone: dict[str, list[Any]] = {
            name: [kept, 0, b""] if isinstance(kept, int) else list(kept)
            for name, kept in memory.get(_LEFT_ALONE, {}).items()
        }
        self.left_changed = False  # since the last `memory`
        self._refused: set[str] = set()
        self._told: set[str] = set()
        self._names: dict[tuple[int, ...], str] = {}  # by inode, as of the last look
        self._scanned: tuple[int, ...] = ()
        self._newest: dict[str, float] = {}  # by series, begin of its last file (s)
        self._places: dict[str, FileOfSeries] = {}  # by name
        self._ended: set[str] = set()
        self._look_at_ended = 0.0  # monotonic (s)
        #: Names of files that cannot be read, with the reason; taken by the caller.
        self.refused: dict[str, str] = {}
        #: Number of files of earlier observations found since the caller last looked.
        self.newly_left_alone = 0
        #: Paths of files of earlier observations that were written anew; taken by the caller.
        self.written_anew: list[Path] = []
        for path in source.expected():
            self._add(path)
        for key in memory:
            name = key.removeprefix(_STATE)
            if key.startswith(_STATE) and name not in self._files and source.accepts(name):
                self._add(source.directory / name)

    def __iter__(self) -> Iterator[TriggerFile]:
        return iter(list(self._files.values()))

    def __len__(self) -> int:
        return len(self._files)

    def due(self) -> list[TriggerFile]:
        """Return the files that may have grown: all but those that have ended, and these rarely."""
        now = time.monotonic()
        if now >= self._look_at_ended:
            self._look_at_ended = now + LOOK_AT_ENDED_SECONDS
            self._ended.clear()
            return list(self)
        going = {name: file for name, file in self._files.items() if name not in self._ended}
        self._ended |= {name for name, file in going.items() if self._has_ended(name, file)}
        return [file for name, file in going.items() if name not in self._ended]

    def _has_ended(self, name: str, file: TriggerFile) -> bool:
        place = self._places.get(name)
        has_next = place is not None and place.begin < self._newest[place.series]
        return has_next and file.is_read and time.time() - file.written > ENDED_SECONDS

    def missing(self) -> list[str]:
        """Return the expected files that do not exist, or the directory where none is found."""
        names = map(str, self._source.expected())
        # One that cannot be looked at is missing, too.
        expected = [name for name in names if not os.path.exists(name)]  # noqa: PTH110
        if self._source.has_new_files and not self._files:
            expected.append(self._source.awaited)
        return expected

    def find(self, *, check: bool = False) -> None:
        """Look for new files.

        :param check: also whether earlier files grow, and whatever the directory's time says
        :raises OSError: the directory cannot be read
        """
        if not self._source.has_new_files:
            return
        directory = self._source.directory
        try:
            status = directory.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._scanned = ()
            return
        looked = status.st_dev, status.st_ino, status.st_mtime_ns
        if looked == self._scanned and not check:
            return
        is_quiet = abs(time.time() - status.st_mtime) > SAME_TICK_SECONDS
        self._scanned = looked if is_quiet else ()
        with os.scandir(directory) as entries:
            found = [entry for entry in entries if self._is_new(entry.name, check)]
        if found:
            for name, file in self._files.items():
                self._names.update(dict.fromkeys(file.inodes, name))
        left: dict[str, float] = {}  # when they were written (s)
        for entry in sorted(found, key=lambda entry: entry.name):
            self._look_at(entry, left)
        room = KEPT_ENDS - sum(bool(end) for _, _, end in self._left_alone.values())
        for name in heapq.nlargest(max(0, room), left, key=lambda name: left[name]):
            with contextlib.suppress(OSError):  # the inode has to do
                self._left_alone[name][2] = _end_of(directory / name, self._left_alone[name][0])

    def _is_new(self, name: str, check: bool) -> bool:
        known = name in self._files or name in self._refused
        return not known and (check or name not in self._left_alone) and self._source.accepts(name)

    def _look_at(self, entry: os.DirEntry[str], left: dict[str, float]) -> None:
        """Follow a file, or leave it alone and add to `left` when it was written (s)."""
        path = self._source.directory / entry.name
        try:
            if is_alias(path, self._source):
                return
            status = entry.stat()
        except FileNotFoundError:
            if entry.is_symlink():
                self._tell(entry.name, f"is a link to nothing: {path.readlink()}; looked at again")
                self._add(path)
            return
        except OSError:
            # It hides no other file; its reader tells why, and tries again.
            if entry.name not in self._left_alone:
                self._add(path)
            return
        if self._has_other_name(path, status):
            return
        before = self._left_alone.get(entry.name)
        is_known = f"{_STATE}{entry.name}" in self._recalled or entry.name in self._progress
        if status.st_mtime < self._start - EARLIER_SECONDS and not is_known:
            kept = [status.st_size, status.st_ino]
            if before is None and len(self._left_alone) >= KEPT_EARLIER:
                return
            if before is None or before[:2] not in (kept, [status.st_size, 0]):
                self._left_alone[entry.name] = [*kept, b""]
                self.left_changed = True
                self.newly_left_alone += before is None
                left[entry.name] = status.st_mtime
            return
        if before is not None:
            del self._left_alone[entry.name]
            self.left_changed = True
            if not _goes_on(path, status, *before):
                self.written_anew.append(path)
                before = None
        self._add(path, before[0] if before else 0)

    def _has_other_name(self, path: Path, status: os.stat_result) -> bool:
        """Whether a file is followed under another name; one that was renamed is read on here."""
        inode = status.st_dev, status.st_ino
        other = self._files.get(self._names.get(inode, ""))
        self._names.setdefault(inode, path.name)
        if other is None or not stat.S_ISREG(status.st_mode):
            return False
        try:
            now = other.path.stat()
            if (now.st_dev, now.st_ino) == inode:
                self._tell(path.name, f"is {other.path.name}, too, and is not read twice")
                return True
        except OSError:  # it was renamed, or removed
            log.debug("%s is gone", other.path)
        try:
            state = other.state_elsewhere(path, inode)
        except OSError:  # its reader reports it
            return False
        self._names[inode] = path.name
        if state is None:
            return False
        other.is_renamed = True
        self._tell(path.name, f"was {other.path.name}: it is read from byte {state['begin']} on")
        self._add(path, state=state)
        return True

    def _tell(self, name: str, text: str) -> None:
        """Log what is odd about a file, once."""
        if name not in self._told:
            self._told.add(name)
            log.warning("%s/%s %s", self._source.directory, name, text)

    def _add(self, path: Path, begin: int = 0, state: Mapping[str, Any] | None = None) -> None:
        state = state or self._recalled.get(f"{_STATE}{path.name}")
        try:
            reader = self._source.line_reader(path, state)
        except ValueError as error:
            self._refused.add(path.name)
            self.refused[path.name] = str(error)
            return
        if place := self._source.series(path.name):
            self._places[path.name] = place
            self._newest[place.series] = max(self._newest.get(place.series, -math.inf), place.begin)
        self._files[path.name] = TriggerFile(
            path,
            reader,
            latest=self._latest,
            start=self._start,
            progress=self._progress,
            state=state,
            skip=begin,
        )

    def forget(self, file: TriggerFile) -> None:
        """Drop a file that is needed no more."""
        self._files.pop(file.path.name, None)
        self._places.pop(file.path.name, None)
        self._refused.add(file.path.name)

    def memory(self) -> dict[str, Any]:
        """Return the state that the next process needs, as far as it has changed."""
        states: dict[str, Any] = {}
        for name, file in self._files.items():
            key = f"{_STATE}{name}"
            known = self._committed.get(key) if name in self._ended else None
            states[key] = known or file.state()
        gone = {key: None for key in self._committed if key not in states}
        changed = {key: state for key, state in states.items() if self._committed.get(key) != state}
        self._committed = states
        left = {_LEFT_ALONE: dict(self._left_alone)} if self.left_changed else {}
        self.left_changed = False
        return {**changed, **gone, **left}


def is_alias(path: Path, source: CandidateSource) -> bool:
    """Whether a path is a link to another file that the source has in the same directory.

    :raises OSError: it cannot be followed
    """
    if not path.is_symlink():
        return False
    target = Path(os.path.realpath(path, strict=True))  # which tells of loops by an OSError
    return target.parent == path.parent.resolve() and source.accepts(target.name)


def _end_of(path: Path, size: int) -> bytes:
    """Return the last bytes before a size.

    :raises OSError: they cannot be read
    """
    with open_regular(path) as file:
        file.seek(max(0, size - LAST_BYTES))
        return file.read(min(size, LAST_BYTES))


def _goes_on(path: Path, status: os.stat_result, size: int, inode: int, end: bytes) -> bool:
    """Whether a file is that of before, and perhaps has grown.

    Its content says so, as a copy under the same name is the same; where that is unknown, the
    inode. Its reader reports what cannot be read now, and retries.
    """
    if not size or status.st_size < size:
        return not size
    if not end:
        return inode in (0, status.st_ino)
    try:
        return _end_of(path, size) == end
    except OSError:
        return True


def finished_files(context: SourceContext) -> tuple[list[TriggerFile], list[str]]:
    """Return the files of a finished observation, in order of their names.

    As while it ran, files that were last written before it began are left alone; so are those whose
    names say that they began after it.

    :return: the files, and the names of those that are left alone
    :raises OSError: the directory cannot be read, or its candidates came by a connection
    """
    source = make_source(context)
    paths = list(source.expected())
    if source.has_new_files:
        if not source.keeps_files:
            raise OSError(f"{context.name}: candidates that came by a connection are not kept")
        paths = sorted(path for path in source.directory.iterdir() if source.accepts(path.name))
    latest = math.inf if context.name == "amber" else context.observation.duration
    found: list[TriggerFile] = []
    left: list[str] = []
    inodes: set[tuple[int, int]] = set()
    for path in paths:
        if source.has_new_files and _is_of_other(source, path, latest):
            left.append(path.name)
            continue
        if source.has_new_files and _is_second_name(path, source, inodes):
            log.warning("%s is another one of these files, and is not read twice", path)
            continue
        try:
            reader = source.line_reader(path, None)
        except ValueError as error:
            log.error("%s is not read: %s", path, error)
            continue
        found.append(TriggerFile(path, reader, latest=latest))
    return found, left


def _is_second_name(path: Path, source: CandidateSource, inodes: set[tuple[int, int]]) -> bool:
    """Whether a file has been met under another name.

    :param inodes: of the files so far; this one's is added
    """
    try:
        status = path.stat()
        inode = status.st_dev, status.st_ino
        if inode in inodes or is_alias(path, source):
            return True
    except OSError:  # its reader reports it
        return False
    inodes.add(inode)
    return False


def _is_of_other(source: CandidateSource, path: Path, latest: float) -> bool:
    """Whether a file is another observation's: written before this one, or begun after it."""
    place = source.series(path.name)
    if place is not None and place.begin > latest:
        return True
    try:
        written = path.stat().st_mtime
    except OSError:  # its reader reports it
        return False
    return written < source.context.observation.start - EARLIER_SECONDS
