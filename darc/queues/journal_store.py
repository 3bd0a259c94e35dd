"""What the journal is kept in: transactions, room, how full the queues are, what the disk has."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darc.queues.depth_counter import DepthCounter
from darc.queues.journal_limit import JournalLimit
from darc.queues.journal_schema import is_damage, open_database
from darc.queues.messages import Depth, FullError, Put, QueueError
from darc.queues.plain_connection import MAX_MESSAGE_BYTES
from darc.queues.write_behind import WriteBehind
from darc.runtime.clock import Since

log = logging.getLogger(__name__)

#: Of one entry: it must fit into a message of the queues to come out again.
MAX_CONTENT_BYTES = MAX_MESSAGE_BYTES // 2


class JournalStore:
    """What a journal is kept in. All methods may be called from any thread.

    When it is full, the reserve is given up, so that what is there can be completed; nothing new is
    taken in until :meth:`look` finds that there is room again.

    :param path: the file, on a local disk
    :param max_bytes: the most that the file may hold
    :param reserve_bytes: kept free on disk beside it
    :raises sqlite3.DatabaseError: the file is no journal, or the disk fails
    """

    def __init__(self, path: Path, max_bytes: int = 2**40, reserve_bytes: int = 2**20) -> None:
        self._lock = threading.Lock()
        #: Where the journal before is, if it was damaged: what waited in it is lost.
        self.aside: Path | None
        self._database, self.aside = open_database(path)
        self._tally = DepthCounter(self._database)
        self._disk = WriteBehind(path.with_name(f"{path.name}-wal"))
        # Another one each time: what is put from now on is told from what was lost with the power.
        self._sender = uuid.uuid4().hex
        self._room = JournalLimit(self._database, path, max_bytes, reserve_bytes, self._holds_most)

    def close(self) -> None:
        with self._lock:
            self._disk.close()
            self._database.close()

    def flush(self) -> None:
        """Wait until all that was committed outlives a loss of power."""
        self._disk.flush()

    # -- room ----------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Nothing new is taken in."""
        return self._room.full

    def set_max_bytes(self, max_bytes: int) -> None:
        """Change the most that the file may hold; what it holds already stays."""
        with self._lock:
            self._room.set_max_bytes(max_bytes)

    def look(self) -> None:
        """Take things in again once there is room."""
        with self._lock:
            self._room.look()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
                self._tally.committed()
                self._disk.note()
            except BaseException as error:
                self._tally.rolled_back()
                # SQLite has ended the transaction itself after some errors (a full disk)
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                self._end_if_damaged(error)
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                    self._room.run_out()
                    raise FullError("the journal is full") from error
                raise

    def _rows(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._database.execute(query, parameters).fetchall()
            except sqlite3.DatabaseError as error:
                self._end_if_damaged(error)
                raise

    @staticmethod
    def _end_if_damaged(error: BaseException) -> None:
        """The next process looks through the file, and sets it aside."""
        if is_damage(error):
            log.critical("the journal is damaged, so this process ends: %s", error)
            logging.shutdown()
            os._exit(1)

    # -- entries, in a transaction -----------------------------------------------------------------

    def _put(self, database: sqlite3.Connection, put: Put) -> None:
        if len(put.content) > MAX_CONTENT_BYTES:
            raise QueueError(f"{len(put.content)} bytes, the limit is {MAX_CONTENT_BYTES}")
        since = Since.now(put.waited)
        body = database.execute(
            "INSERT INTO body (observation, kind, stamp, held_at, content, written, read,"
            " sender, boot, clock) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(put.observation, str(put.kind), put.stamp, time.time(), put.content),
                *(put.written, put.read, self._sender, since.boot, since.instant.seconds),
            ),
        ).lastrowid
        for queue in put.queues:
            database.execute("INSERT INTO entry VALUES (?, ?)", (queue, body))
            self._tally.note(queue, 1, len(put.content))

    def _complete(self, database: sqlite3.Connection, queue: str, completed: Sequence[int]) -> None:
        for number in completed:
            held = database.execute(
                "SELECT length(content) FROM entry JOIN body ON body.id = entry.body"
                " WHERE queue = ? AND entry.body = ?",
                (queue, number),
            ).fetchone()
            if held is None:
                continue
            self._tally.note(queue, -1, -held[0])
            database.execute("DELETE FROM entry WHERE queue = ? AND body = ?", (queue, number))
            database.execute(
                "DELETE FROM body WHERE id = :body"
                " AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.body = :body)",
                {"body": number},
            )

    # -- how full it is ------------------------------------------------------------------------

    def depths(self) -> list[Depth]:
        """How full each queue is; empty ones are left out."""
        with self._lock:
            return self._depths()

    def _depths(self) -> list[Depth]:
        return [Depth(*row, self._oldest(row[0])) for row in self._tally.items()]

    def _oldest(self, queue: str) -> float | None:
        row = self._database.execute(
            "SELECT held_at FROM body WHERE id = (SELECT min(body) FROM entry WHERE queue = ?)",
            (queue,),
        ).fetchone()
        return float(row[0]) if row else None

    def _holds_most(self) -> str:
        """Where to look when there is no room. To be called with the lock held."""
        depths = self._depths()
        if not depths:
            return "all queues are empty"
        most = max(depths, key=lambda depth: depth.content_bytes)
        return (
            f"{most.queue} holds most, {most.entries} entries with"
            f" {most.content_bytes / 2**20:.1f} MiB"
        )
