"""Copies of VOEvents, written in a thread: their directory may hang, and no burst waits for it.

What waits for the directory is in the memory of the service, and is written by the next process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from darc.config.records import Struct
from darc.model.trigger import Trigger
from darc.runtime.log import about
from darc.runtime.paths import write_whole
from darc.runtime.retention import NewestFiles
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

#: Copies that wait for the directory at most; further ones are not kept.
MOST_WAITING = 1000
#: Prefix of their keys in the memory of the service.
COPY = "copy "


class _Copy(Struct, frozen=True):
    path: Path
    content: bytes
    files_kept: int
    identity: str
    observation: str

    @property
    def key(self) -> str:
        return f"{COPY}{self.path}"

    def to_plain(self) -> list[Any]:
        return [str(self.path), self.content, self.files_kept, self.identity, self.observation]

    @classmethod
    def from_plain(cls, plain: Any) -> _Copy:
        path, content, files_kept, identity, observation = plain
        return cls(Path(path), bytes(content), int(files_kept), str(identity), str(observation))


class VOEventCopies:
    """Copies of what is sent; the events themselves are sent from the journal.

    The service's loop alone calls it; each copy is written, or given up, in a thread.
    """

    def __init__(self) -> None:
        self._files = NewestFiles(r"\d{4}-\d{2}-\d{2}[^/]*\.xml")
        self._waiting: SimpleQueue[_Copy] = SimpleQueue()
        self._problems: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self._done: SimpleQueue[_Copy] = SimpleQueue()
        self._new: dict[str, _Copy] = {}  # by key, those that are not in the memory yet
        self._kept: dict[str, _Copy] = {}  # likewise, those that are
        self._thread: threading.Thread | None = None

    def keep(
        self, directory: str, files_kept: int, trigger: Trigger, number: int, xml: bytes
    ) -> None:
        """Have a copy written.

        :param files_kept: number of files to keep in the directory
        :param number: of the notice
        """
        name = f"{trigger.utc}.xml" if number == 1 else f"{trigger.utc}.{number}.xml"
        origin = trigger.identity, trigger.observation
        if self._waiting.qsize() >= MOST_WAITING:
            self._failed(trigger.identity, f"{directory} does not answer: {MOST_WAITING} wait")
            return
        one = _Copy(Path(directory) / name, xml, files_kept, *origin)
        self._new[one.key] = one
        self._write_soon(one)

    def recover(self, memory: Mapping[str, Any]) -> None:
        """Have the copies written that an earlier process has not."""
        for key, plain in memory.items():
            if not key.startswith(COPY):
                continue
            try:
                one = _Copy.from_plain(plain)
            except (ValueError, TypeError) as error:
                # It stays on the disk: a later version may have written it.
                log.error("no file of the VOEvent kept: %s cannot be read: %r", key, error)
                continue
            self._kept[key] = one
            self._write_soon(one)

    def to_commit(self) -> dict[str, Any]:
        """Return what has changed in the memory: copies that wait, and those that do no more."""
        gone: dict[str, Any] = {}
        while not self._done.empty():
            one = self._done.get()
            # Another one of the same name may wait by now.
            if self._new.get(one.key) is one:
                del self._new[one.key]
            if self._kept.get(one.key) is one:
                del self._kept[one.key]
                gone[one.key] = None
        new, self._new = self._new, {}
        self._kept |= new
        return gone | {key: one.to_plain() for key, one in new.items()}

    def _write_soon(self, one: _Copy) -> None:
        self._waiting.put(one)
        if self._thread is None:
            self._thread = vital("copies of VOEvents", self._run, or_exit=True)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the triggers whose copies were not kept since the last call, and why."""
        while not self._problems.empty():
            yield self._problems.get()

    def _run(self) -> None:
        while True:
            one = self._waiting.get()
            with about(one.observation):
                self._write(one)
            self._done.put(one)

    def _write(self, one: _Copy) -> None:
        try:
            one.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(one.path, one.content, durable=False)
        # A time may contain any character in the middle; and a defect must not end the service at
        # each start, which finds the copy again.
        except Exception as error:
            expected = isinstance(error, OSError | ValueError)
            why = str(error) if expected else f"{type(error).__name__}: {error}"
            self._failed(one.identity, why)
        else:
            self._files.added(one.path.parent, one.files_kept)

    def _failed(self, identity: str, why: str) -> None:
        log.error("no file of the VOEvent kept: %s", why)
        self._problems.put((identity, why))
