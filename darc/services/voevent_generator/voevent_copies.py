"""Copies of VOEvents, written in a thread: their directory may hang, and no burst waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

from darc.config.records import Struct
from darc.model.trigger import Trigger
from darc.runtime.log import about
from darc.runtime.paths import write_whole
from darc.runtime.retention import NewestFiles
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

#: Copies that wait for the directory at most; further ones are not kept.
MOST_WAITING = 1000


class _Copy(Struct, frozen=True):
    path: Path
    content: bytes
    files_kept: int
    identity: str
    observation: str


class VOEventCopies:
    """Copies of what is sent; the events themselves are sent from the journal."""

    def __init__(self) -> None:
        self._files = NewestFiles(r"\d{4}-\d{2}-\d{2}[^/]*\.xml")
        self._waiting: SimpleQueue[_Copy] = SimpleQueue()
        self._problems: SimpleQueue[tuple[str, str]] = SimpleQueue()
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
        self._waiting.put(_Copy(Path(directory) / name, xml, files_kept, *origin))
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

    def _write(self, one: _Copy) -> None:
        try:
            one.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(one.path, one.content, durable=False)
        except (OSError, ValueError) as error:  # a time may contain any character in the middle
            self._failed(one.identity, str(error))
        else:
            self._files.added(one.path.parent, one.files_kept)

    def _failed(self, identity: str, why: str) -> None:
        log.error("no file of the VOEvent kept: %s", why)
        self._problems.put((identity, why))
