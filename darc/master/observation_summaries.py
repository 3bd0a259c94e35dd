"""Summary of an observation: the counters of each service, written to a file when it is over."""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from darc.master.durable_files import DurableFiles
from darc.master.master_losses import BOOKS_NOT_KEPT
from darc.model.counters import in_words
from darc.node.losses import LossKind
from darc.queues.journal import Journal
from darc.runtime.log import about
from darc.runtime.paths import write_whole
from darc.runtime.untrusted_files import MAX_TEXT, read_regular
from darc.runtime.vital_threads import vital

log = logging.getLogger(__name__)

#: Key under which a summary states the run that it is of.
MASTER, RUN = "darc_master", "run"
#: Between attempts to write a summary (s).
PAUSES = (1.0, 2.0, 4.0, 8.0)
#: Name of an observation's directory, which sorts by time: start and source.
OBSERVATION = re.compile(r"(\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d)\.(.+)", re.ASCII)


def books_file(directory: Path, hostname: str) -> Path:
    """Return the path of the summary; it differs by node, as nodes may share a home directory."""
    return directory / f"books.{hostname}.json"


class ObservationSummaries:
    """Writer of the summary of each run that is over; the journal then deletes its memory.

    Pending summaries are recorded on disk, so that they survive an exit of the master. One thread
    writes them in turn, as the network file system that they are written to may hang.

    :param directory: for the records of pending summaries
    :param kept: returns how many observations to keep; the oldest are removed
    :param lost: called where a summary cannot be written
    """

    def __init__(
        self,
        directory: Path,
        journal: Journal,
        kept: Callable[[], int],
        lost: Callable[[LossKind, str, str], None],
    ) -> None:
        self._notes = DurableFiles(directory)
        self._journal = journal
        self._kept = kept
        self._lost = lost
        self._open: dict[str, Path] = {}  # path of the summary, by key
        self._changed = threading.Condition()
        vital("books", self._run)

    @property
    def open(self) -> set[str]:
        """Keys of the runs whose summary is not written yet."""
        with self._changed:
            return set(self._open)

    def go_on(self) -> None:
        """Resume the pending summaries of an earlier process."""
        for note, plain in self._notes.load():
            try:
                key, path = plain
                self._add(str(key), Path(path))
            except (ValueError, TypeError) as error:
                self._notes.set_aside(note, error)

    def close(self, key: str, path: Path) -> None:
        """Write the summary of a run that is over.

        :param path: see `books_file`
        """
        self._notes.save(key, [key, str(path)])
        self._add(key, path)

    def _add(self, key: str, path: Path) -> None:
        with self._changed:
            self._open[key] = path
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._open)
                key, path = next(iter(self._open.items()))
            with about(key):
                try:
                    self._keep(key, path)
                # The summaries of other runs have to be written, too.
                except Exception:
                    log.exception("no books kept in %s", path)
            with self._changed:
                del self._open[key]

    def _keep(self, key: str, path: Path) -> None:
        memories = self._journal.memories(key)
        if memories:  # otherwise written by a previous process
            try:
                _write_books(path, key, memories)
            except OSError as error:
                log.error("the books cannot be written, given up: %s", error)
                self._lost(BOOKS_NOT_KEPT, str(path), str(error))
        self._journal.forget(key)
        self._notes.remove(key)
        prune(path.parents[1], self._kept())


def _keep_earlier(path: Path, key: str) -> None:
    """Rename the summary of an earlier run of the same observation."""
    try:
        earlier = str(json.loads(read_regular(path, MAX_TEXT))[MASTER][RUN])
        if earlier != key:
            path.replace(path.with_suffix(f".{earlier.rpartition('#')[2]}.json"))
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s: replaced, as it does not say of which run it is: %s", path, error)


def prune(directory: Path, kept: int) -> None:
    """Remove the oldest observations beyond the number to keep, and nothing else."""
    found = sorted(path for path in directory.iterdir() if OBSERVATION.fullmatch(path.name))
    for path in found[: max(0, len(found) - kept)]:
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue  # another node that shares the directory has removed it
        except OSError as error:
            log.error("cannot be removed: %s", error)
        else:
            log.info("%s removed: more than %d observations are kept", path, kept)


def _write_books(path: Path, key: str, memories: Mapping[str, Mapping[str, Any]]) -> None:
    memories = {service: _for_people(memory) for service, memory in memories.items()}
    text = json.dumps({**memories, MASTER: {RUN: key}}, indent=1, default=str) + "\n"
    pauses = iter(PAUSES)
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _keep_earlier(path, key)
            write_whole(path, text)
            break
        except OSError as error:
            pause = next(pauses, None)
            if pause is None:
                raise
            log.error("the books cannot be written, trying again in %.0f s: %s", pause, error)
            time.sleep(pause)
    for service, memory in memories.items():
        if "counts" in memory:
            log.info("%s: %s", service, memory["counts"])


def _for_people(memory: Mapping[str, Any]) -> Mapping[str, Any]:
    counts = memory.get("counts")
    return {**memory, "counts": in_words(counts)} if isinstance(counts, Mapping) else memory
