"""Follows the trigger files that AMBER writes, and hands their candidates on.

What is put carries a stamp: all lines written before that time are in this entry or an earlier
one. amber_clustering closes its windows by these stamps alone, so what it decides does not depend
on who was killed or stopped when. When a window could close and no new line has come, an entry
without candidates carries the stamp.
"""

from __future__ import annotations

import errno
import logging
import select
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from inotify_simple import INotify, flags

from darc.model.candidate import records_to_bytes
from darc.model.observation import Observation
from darc.model.settings import AmberListenerSettings
from darc.node.log import about
from darc.queues.messages import Commit, Entry, Kind, Put
from darc.services.base import ENDED, LOOP_SECONDS, Service
from darc.services.trigger_file import CHUNK_BYTES, Chunk, TriggerFile, count_chunks

log = logging.getLogger(__name__)

READERS = ("amber_clustering", "processor")
# Network file systems do not notify: look anyway.
RECHECK_SECONDS = 1.0
# A line that is being written when the observation is stopped gets this long to become whole.
FLUSH_SECONDS = 1.0
KEPT_COUNTS = 10
_WATCHED = flags.CREATE | flags.MODIFY | flags.MOVED_TO


class Following:
    """An observation's files, and what is known of them.

    :param memory: what an earlier process committed about this observation
    """

    def __init__(
        self,
        observation: Observation,
        batch_length_s: float,
        progress: dict[str, int],
        memory: dict[str, Any],
    ) -> None:
        self.observation = observation
        self.files = [
            TriggerFile(
                Path(path),
                batch_length_s=batch_length_s,
                tsamp=observation.tsamp,
                offset=progress.get(Path(path).name, 0),
                state=memory.get(f"state {Path(path).name}"),
            )
            for path in observation.trigger_files()
        ]
        self.counts: Counter[str] = Counter(memory.get("counts", {}))
        self.stamps_due: deque[float] = deque()
        # Candidates were put that no stamp has followed yet, perhaps by an earlier process.
        self.stamp_owed = bool(progress)
        self.missing_said = False
        self.unreadable: set[Path] = set()
        self.stopped_at: float | None = None

    @property
    def directory(self) -> Path:
        return Path(self.observation.amber_dir)

    def memory(self) -> dict[str, Any]:
        """What the next process has to know."""
        states = {f"state {file.path.name}": file.state() for file in self.files}
        return {"counts": dict(self.counts), **states}


class AMBERListener(Service[AmberListenerSettings]):
    """Reads trigger files while they grow."""

    name = "amber_listener"
    settings_type = AmberListenerSettings
    attributes: ClassVar[tuple[str, ...]] = ("counts", "found_by_recheck")

    def prepare(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}  # by observation, the last ones
        self.found_by_recheck = 0
        self._following: dict[str, Following] = {}
        self._inotify = INotify()
        self._watches: dict[Path, int] = {}
        self._notified = False
        self._next_check = 0.0
        self._next_beat = 0.0

    # -- observations --------------------------------------------------------------------------

    def start_observation(self, observation: Observation, memory: dict[str, Any]) -> None:
        batch = self.config.instrument.batch_length_samples * observation.tsamp
        following = Following(observation, batch, self.progress(observation), memory)
        self._following[observation.task_id] = following
        if not following.files:
            log.error("no trigger files to read: %s names no beam", observation.config_file)
        for file in following.files:
            log.info("%s: from byte %d", file.path, file.offset)
        self._next_check = 0.0

    def stop_observation(self, observation: Observation) -> None:
        self._following[observation.task_id].stopped_at = time.time()

    def abort_observation(self, observation: Observation) -> None:
        self._forget(observation.task_id)

    def _forget(self, task_id: str) -> None:
        following = self._following.pop(task_id, None)
        if following is None:
            return
        used = {other.directory for other in self._following.values()}
        watch = self._watches.pop(following.directory, None)
        if watch is not None and following.directory in used:
            self._watches[following.directory] = watch
        elif watch is not None:
            try:
                self._inotify.rm_watch(watch)
            except OSError as error:
                log.debug("%s: not watched any more: %s", following.directory, error)

    # -- the loop ------------------------------------------------------------------------------

    def wait(self) -> list[Entry]:
        """Wait for files to change, for orders, or until a stamp is due."""
        now = time.time()
        if now >= self._next_beat:
            self._link.beat()
            self._next_beat = now + LOOP_SECONDS
        due = [
            following.stamps_due[0]
            for following in self._following.values()
            if following.stamps_due
        ]
        timeout = min([LOOP_SECONDS, *(moment - now for moment in due)])
        poll = select.poll()
        poll.register(self._inotify.fileno(), select.POLLIN)
        poll.register(self._ear.descriptor, select.POLLIN)
        poll.poll(max(0.0, timeout) * 1000)
        self._notified = bool(self._inotify.read(timeout=0))
        return []

    def idle(self) -> None:
        now = time.time()
        check = now >= self._next_check
        if check:
            self._next_check = now + RECHECK_SECONDS
        for following in list(self._following.values()):
            with about(following.observation.task_id):
                if check:
                    self._watch(following)
                due = bool(following.stamps_due) and following.stamps_due[0] <= now
                if check or due or self._notified or following.stopped_at is not None:
                    self._read(following)
                if following.stopped_at is not None:
                    self._end(following)

    def _watch(self, following: Following) -> None:
        """Have the directory watched once it is there, and say so when files stay away."""
        directory = following.directory
        if directory not in self._watches:
            try:
                self._watches[directory] = self._inotify.add_watch(str(directory), _WATCHED)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    log.error("%s: cannot be watched, looking every second: %s", directory, error)
        elif not _exists(directory):
            del self._watches[directory]
        missing = [str(file.path) for file in following.files if not _exists(file.path)]
        late = time.time() > following.observation.start + self.settings.start_timeout
        if missing and late and not following.missing_said:
            following.missing_said = True
            log.error(
                "not there %.0f s after the start: %s",
                *(self.settings.start_timeout, ", ".join(missing)),
            )

    def _read(self, following: Following) -> None:
        """Read all files to where they end now, and put what was found."""
        stamp = time.time()  # taken before the sizes: what is written later comes later
        limits = [(file, self._size(following, file)) for file in following.files]
        chunks: list[Chunk] = []
        for file, limit in limits:
            while chunk := self._read_chunk(following, file, limit):
                chunks.append(chunk)
                if sum(chunk.progress.end - chunk.progress.start for chunk in chunks) > CHUNK_BYTES:
                    self._put(following, chunks, 0.0)
                    chunks = []
        stamp_due = bool(following.stamps_due) and following.stamps_due[0] <= stamp
        if chunks or stamp_due or following.stamp_owed:
            self._put(following, chunks, stamp)

    def _size(self, following: Following, file: TriggerFile) -> int:
        try:
            return file.size()
        except (OSError, ValueError) as error:
            self._unreadable(following, file, error)
            return file.offset

    def _unreadable(self, following: Following, file: TriggerFile, error: Exception) -> None:
        if file.path not in following.unreadable:
            following.unreadable.add(file.path)
            log.error("cannot be read, trying again every second: %s", error)

    def _read_chunk(self, following: Following, file: TriggerFile, limit: int) -> Chunk | None:
        try:
            chunk = file.read(limit)
        except OSError as error:
            self._unreadable(following, file, error)
            return None
        if file.shrunk_to is None:
            if chunk:
                following.unreadable.discard(file.path)
        elif file.path not in following.unreadable:
            following.unreadable.add(file.path)
            log.error("%s shrank to %d bytes, %d were read", file.path, file.shrunk_to, file.offset)
        return chunk

    def _put(
        self, following: Following, chunks: list[Chunk], stamp: float, *, end: bool = False
    ) -> None:
        count_chunks(chunks, following.counts)
        candidates = [chunk.candidates for chunk in chunks if len(chunk.candidates)]
        for chunk in chunks:
            if chunk.first_rejected:
                log.warning("%s; rejected: %s", chunk.first_rejected, dict(chunk.rejected))
        task_id = following.observation.task_id
        readers = tuple(name for name in READERS if name in self.config.services())
        content = records_to_bytes(np.concatenate(candidates)) if candidates else b""
        puts = []
        if content:
            puts.append(Put(readers, Kind.CANDIDATES, content, task_id, stamp))
        elif stamp and not end:  # a stamp alone concerns those only who close windows
            puts.append(Put(readers[:1], Kind.CANDIDATES, b"", task_id, stamp))
        if end:
            puts.append(Put(readers, Kind.END, b"", task_id, stamp))
        self.commit(
            Commit(
                task_id,
                puts=tuple(put for put in puts if put.queues),
                progress=tuple(chunk.progress for chunk in chunks),
                memory=following.memory() | ({ENDED: True} if end else {}),
            )
        )
        self._account(following)
        if chunks and not self._notified:
            self.found_by_recheck += 1
        following.stamp_owed |= bool(content)
        if not stamp:
            return
        while following.stamps_due and following.stamps_due[0] <= stamp:
            following.stamps_due.popleft()
        if following.stamp_owed:
            following.stamps_due.append(stamp + self._gather_interval)
            following.stamp_owed = False

    @property
    def _gather_interval(self) -> float:
        """When amber_clustering may close a window that these lines open (s)."""
        return self.config.amber_clustering.interval

    def _end(self, following: Following) -> None:
        """All that was written is read: say so."""
        half = any(file.offset < self._size(following, file) for file in following.files)
        if half and following.stopped_at and time.time() < following.stopped_at + FLUSH_SECONDS:
            return
        rest: list[Chunk] = []
        for file in following.files:
            limit = self._size(following, file)
            while chunk := self._read_chunk(following, file, limit):
                rest.append(chunk)
            try:
                chunk = file.read_rest(limit)
            except OSError as error:
                log.error("%d bytes not read: %s", limit - file.offset, error)
            rest += [chunk] if chunk else []
        self._put(following, rest, time.time(), end=True)
        log.info("read: %s", dict(following.counts))
        self._forget(following.observation.task_id)
        self.finish(following.observation)

    def _account(self, following: Following) -> None:
        task_id = following.observation.task_id
        self.counts.pop(task_id, None)
        self.counts[task_id] = dict(following.counts)
        while len(self.counts) > KEPT_COUNTS:
            del self.counts[next(iter(self.counts))]


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


if __name__ == "__main__":
    AMBERListener.main()
