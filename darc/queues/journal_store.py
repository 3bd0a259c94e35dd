"""Storage of the journal: transactions, size limit, queue depths, syncing to disk."""

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

#: Largest content of an entry: it must fit into a message of the queues.
MAX_CONTENT_BYTES = MAX_MESSAGE_BYTES // 2


class JournalStore:
    """Storage of a journal. All methods may be called from any thread.

    When it is full, the reserve is released, so that existing entries can be acknowledged; new ones
    are refused until :meth:`check_room` finds that there is room again.

    :param path: the file, on a local disk
    :param max_bytes: largest size of the file
    :param reserve_bytes: size of the disk reserve
    :raises sqlite3.DatabaseError: the file is not a journal, or the disk fails
    """

    def __init__(self, path: Path, max_bytes: int = 2**40, reserve_bytes: int = 2**20) -> None:
        self._lock = threading.Lock()
        #: New path of the previous journal if it was damaged; its entries are lost.
        self.aside: Path | None
        self._database, self.aside = open_database(path)
        self._depth_counter = DepthCounter(self._database)
        self._disk = WriteBehind(path.with_name(f"{path.name}-wal"))
        # Unique: distinguishes new entries from those lost with a loss of power.
        self._sender = uuid.uuid4().hex
        self._room = JournalLimit(
            self._database, path, max_bytes, reserve_bytes, self._largest_queue
        )

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
        """Whether new entries are refused."""
        return self._room.full

    def set_max_bytes(self, max_bytes: int) -> None:
        """Change the largest size of the file; existing entries stay."""
        with self._lock:
            self._room.set_max_bytes(max_bytes)

    def check_room(self) -> None:
        """Accept new entries again if there is room."""
        with self._lock:
            self._room.check_room()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
                self._depth_counter.committed()
                self._disk.note()
            except BaseException as error:
                self._depth_counter.rolled_back()
                # After some errors (a full disk) SQLite has ended the transaction itself
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                self._exit_if_damaged(error)
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                    self._room.run_out()
                    raise FullError("the journal is full") from error
                raise

    def _rows(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._database.execute(query, parameters).fetchall()
            except sqlite3.DatabaseError as error:
                self._exit_if_damaged(error)
                raise

    @staticmethod
    def _exit_if_damaged(error: BaseException) -> None:
        """Exit if the file is damaged: the next process checks it and sets it aside."""
        if is_damage(error):
            log.critical("the journal is damaged, so this process exits: %s", error)
            logging.shutdown()
            os._exit(1)

    # -- entries, in a transaction -------------------------------------------------------------

    def _put(self, database: sqlite3.Connection, put: Put) -> None:
        if len(put.content) > MAX_CONTENT_BYTES:
            raise QueueError(f"{len(put.content)} bytes, the limit is {MAX_CONTENT_BYTES}")
        since = Since.now(put.waited)
        body = database.execute(
            "INSERT INTO body (observation, kind, stamp, held_at, content, written, read,"
            " sender, boot, clock) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                put.observation,
                str(put.kind),
                put.watermark,
                time.time(),
                put.content,
                put.written,
                put.read,
                self._sender,
                since.boot,
                since.seconds,
            ),
        ).lastrowid
        for queue in put.queues:
            database.execute("INSERT INTO entry VALUES (?, ?)", (queue, body))
            self._depth_counter.note(queue, 1, len(put.content))

    def _complete(self, database: sqlite3.Connection, queue: str, completed: Sequence[int]) -> None:
        for number in completed:
            held = database.execute(
                "SELECT length(content) FROM entry JOIN body ON body.id = entry.body"
                " WHERE queue = ? AND entry.body = ?",
                (queue, number),
            ).fetchone()
            if held is None:
                continue
            self._depth_counter.note(queue, -1, -held[0])
            database.execute("DELETE FROM entry WHERE queue = ? AND body = ?", (queue, number))
            database.execute(
                "DELETE FROM body WHERE id = :body"
                " AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.body = :body)",
                {"body": number},
            )

    # -- depths --------------------------------------------------------------------------------

    def depths(self) -> list[Depth]:
        """How full each queue is; empty ones are left out."""
        with self._lock:
            return self._depths()

    def _depths(self) -> list[Depth]:
        return [Depth(*row, self._oldest(row[0])) for row in self._depth_counter.items()]

    def _oldest(self, queue: str) -> float | None:
        row = self._database.execute(
            "SELECT held_at FROM body WHERE id = (SELECT min(body) FROM entry WHERE queue = ?)",
            (queue,),
        ).fetchone()
        return float(row[0]) if row else None

    def _largest_queue(self) -> str:
        """Return a description of the largest queue. To be called with the lock held."""
        depths = self._depths()
        if not depths:
            return "all queues are empty"
        most = max(depths, key=lambda depth: depth.content_bytes)
        return (
            f"{most.queue} holds most, {most.entries} entries with"
            f" {most.content_bytes / 2**20:.1f} MiB"
        )
