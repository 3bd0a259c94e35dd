"""The journal: what is in the queues, on disk, so that no death loses or doubles anything.

One SQLite file in WAL mode with one writer. It survives the SIGKILL of any process; a power cut may
cost the last second. A batch that several queues hold is stored once.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darc.queues.messages import (
    Commit,
    Depth,
    Entry,
    FencedError,
    FullError,
    Kind,
    OutOfStepError,
    Put,
    QueueError,
)
from darc.queues.plain import MAX_MESSAGE_BYTES, pack, unpack
from darc.queues.room import Room
from darc.queues.schema import open_database

#: The most that is dropped in one transaction: the others wait for it.
CLEAR_ENTRIES = 50
CLEAR_BYTES = 16 * 2**20
#: Of one entry: it must fit into a message of the queues to come out again.
MAX_CONTENT_BYTES = MAX_MESSAGE_BYTES // 2
_ENTRY_COLUMNS = "body.id, kind, content, body.observation, stamp, held_at, written, read"


class Journal:
    """The queues on disk. All methods may be called from any thread.

    When it is full, the reserve is given up, so that what is there can be completed; nothing new is
    taken in until :meth:`look` finds that there is room again.

    :param path: the file, on a local disk
    :param max_bytes: the most that the file may hold
    :param reserve_bytes: kept free on disk beside it
    :raises sqlite3.DatabaseError: the file is no journal, or the disk fails
    """

    def __init__(self, path: Path, max_bytes: int = 2**40, reserve_bytes: int = 2**20) -> None:
        self._lock = threading.Lock()
        self._database = open_database(path)
        self._room = Room(self._database, path, max_bytes, reserve_bytes, self._holds_most)

    def close(self) -> None:
        with self._lock:
            self._database.close()

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
            except BaseException as error:
                # SQLite has ended the transaction itself after some errors (a full disk)
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                    self._room.run_out()
                    raise FullError("the journal is full") from error
                raise

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._database.execute(query, parameters).fetchall()

    # -- holders -------------------------------------------------------------------------------

    def attach(self, service: str) -> tuple[int, int]:
        """Make the caller the holder of a service's work; any earlier holder is fenced off.

        :return: the holder's number, and the sequence number of its last commit (0)
        """
        with self._transaction() as database:
            database.execute(
                "INSERT INTO holder VALUES (?, 1, 0)"
                " ON CONFLICT (service) DO UPDATE SET number = number + 1, sequence = 0",
                (service,),
            )
            return self._holder(database, service)

    def check_holder(self, service: str, number: int) -> int:
        """Return the sequence number of the holder's last commit.

        :raises FencedError: another one holds the service's work
        """
        with self._lock:
            held, sequence = self._holder(self._database, service)
        if held != number:
            raise FencedError(f"{service}: holder {number} was replaced by {held}")
        return sequence

    @staticmethod
    def _holder(database: sqlite3.Connection, service: str) -> tuple[int, int]:
        row = database.execute(
            "SELECT number, sequence FROM holder WHERE service = ?", (service,)
        ).fetchone()
        if row is None:
            raise QueueError(f"{service}: nobody has attached yet")
        return int(row[0]), int(row[1])

    # -- entries -------------------------------------------------------------------------------

    def take(self, queue: str, after: int, max_entries: int, max_bytes: int) -> list[Entry]:
        """The oldest entries of a queue behind entry ``after``; they stay until completed.

        At least one is returned where there is one, whatever its size.
        """
        entries: list[Entry] = []
        size = 0
        with self._lock:
            for number, kind, content, observation, *times in self._database.execute(
                f"SELECT {_ENTRY_COLUMNS} FROM entry JOIN body ON body.id = entry.body"
                " WHERE queue = ? AND entry.body > ? ORDER BY entry.body LIMIT ?",
                (queue, after, max_entries),
            ):
                size += len(content)
                if entries and size > max_bytes:
                    break
                entries.append(Entry(number, Kind(kind), content, observation, *times))
        return entries

    def commit(self, service: str, holder: int, sequence: int, commit: Commit) -> bool:
        """Do a service's step in one transaction.

        :param sequence: one more than the holder's last; a repeated one is ignored
        :return: False when this step had been done before
        :raises FencedError: another one holds the service's work
        :raises OutOfStepError: its progress does not start where the last one ended
        :raises FullError: there is no room; nothing was done
        """
        with self._transaction() as database:
            # What is only remembered is little, and what is there could not be completed without.
            if self._room.full and commit.puts and not commit.completed:
                raise FullError("the journal is full")
            held, done = self._holder(database, service)
            if held != holder:
                raise FencedError(f"{service}: holder {holder} was replaced by {held}")
            if sequence == done:
                return False
            if sequence != done + 1:
                raise OutOfStepError(f"{service}: commit {sequence} after {done}")
            self._advance(database, commit)
            self._complete(database, service, commit.completed)  # first, as it makes room
            for put in commit.puts:
                self._put(database, put)
            database.executemany(
                "INSERT OR REPLACE INTO memory VALUES (?, ?, ?, ?)",
                [
                    (service, commit.observation, key, pack(value))
                    for key, value in commit.memory.items()
                    if value is not None
                ],
            )
            database.executemany(
                "DELETE FROM memory WHERE service = ? AND observation = ? AND key = ?",
                [
                    (service, commit.observation, key)
                    for key, value in commit.memory.items()
                    if value is None
                ],
            )
            database.execute(
                "UPDATE holder SET sequence = ? WHERE service = ?", (sequence, service)
            )
        return True

    @staticmethod
    def _advance(database: sqlite3.Connection, commit: Commit) -> None:
        for step in commit.progress:
            row = database.execute(
                "SELECT held FROM progress WHERE observation = ? AND source = ?",
                (commit.observation, step.source),
            ).fetchone()
            held = row[0] if row else 0
            if step.start != held:
                raise OutOfStepError(f"{step.source}: put from byte {step.start}, held to {held}")
            database.execute(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?)",
                (commit.observation, step.source, step.end),
            )

    @staticmethod
    def _put(database: sqlite3.Connection, put: Put) -> None:
        if len(put.content) > MAX_CONTENT_BYTES:
            raise QueueError(f"{len(put.content)} bytes, the limit is {MAX_CONTENT_BYTES}")
        body = database.execute(
            "INSERT INTO body (observation, kind, stamp, held_at, content, written, read)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(put.observation, str(put.kind), put.stamp, time.time(), put.content),
                *(put.written, put.read),
            ),
        ).lastrowid
        database.executemany(
            "INSERT INTO entry VALUES (?, ?)", [(queue, body) for queue in put.queues]
        )

    @staticmethod
    def _complete(database: sqlite3.Connection, queue: str, completed: Sequence[int]) -> None:
        database.executemany(
            "DELETE FROM entry WHERE queue = ? AND body = ?",
            [(queue, number) for number in completed],
        )
        database.executemany(
            "DELETE FROM body WHERE id = ?1"
            " AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.body = ?1)",
            [(number,) for number in completed],
        )

    def put(self, put: Put) -> None:
        """Put without a holder: what a person does."""
        if self._room.full:
            raise FullError("the journal is full")
        with self._transaction() as database:
            self._put(database, put)

    def remove(self, queue: str, completed: Sequence[int]) -> None:
        """Complete without a holder: what a person does."""
        with self._transaction() as database:
            self._complete(database, queue, completed)

    # -- what is remembered --------------------------------------------------------------------

    def progress(self, observation: str) -> dict[str, int]:
        """How far each file of an observation is held, in bytes."""
        return dict(
            self._rows("SELECT source, held FROM progress WHERE observation = ?", (observation,))
        )

    def recall(self, service: str, observation: str) -> dict[str, Any]:
        """What a service committed to memory for an observation."""
        rows = self._rows(
            "SELECT key, value FROM memory WHERE service = ? AND observation = ?",
            (service, observation),
        )
        return {key: unpack(value) for key, value in rows}

    def memories(self, observation: str) -> dict[str, dict[str, Any]]:
        """What all services committed to memory for an observation."""
        rows = self._rows(
            "SELECT service, key, value FROM memory WHERE observation = ?", (observation,)
        )
        memories: dict[str, dict[str, Any]] = {}
        for service, key, value in rows:
            memories.setdefault(service, {})[key] = unpack(value)
        return memories

    def remember(self, service: str, observation: str, key: str, value: object) -> None:
        """Remember outside a commit; the master's own notes."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO memory VALUES (?, ?, ?, ?)",
                (service, observation, key, pack(value)),
            )

    # -- observations --------------------------------------------------------------------------

    def observations(self) -> set[str]:
        """The observations that have entries in any queue."""
        return {row[0] for row in self._rows("SELECT DISTINCT observation FROM body")}

    def remembered(self) -> set[str]:
        """The observations of which progress or memory is kept."""
        return {
            row[0]
            for row in self._rows(
                "SELECT observation FROM memory UNION SELECT observation FROM progress"
            )
        }

    def clear(self, queue: str, observation: str) -> int:
        """Drop a queue's entries of an observation, some at a time; returns how many."""
        count = after = 0
        while True:
            numbers: list[int] = []
            size = 0
            with self._transaction() as database:
                for number, content_bytes in database.execute(
                    "SELECT id, length(content) FROM entry JOIN body ON body.id = entry.body"
                    " WHERE queue = ? AND observation = ? AND entry.body > ?"
                    " ORDER BY entry.body LIMIT ?",
                    (queue, observation, after, CLEAR_ENTRIES),
                ):
                    numbers.append(number)
                    size += content_bytes
                    if size > CLEAR_BYTES:
                        break
                self._complete(database, queue, numbers)
            if not numbers:
                return count
            count += len(numbers)
            after = numbers[-1]
            time.sleep(0.001)  # who waits for the lock would not get it otherwise

    def forget(self, observation: str) -> None:
        """Drop progress and memory of an observation that is over."""
        with self._transaction() as database:
            database.execute("DELETE FROM progress WHERE observation = ?", (observation,))
            database.execute("DELETE FROM memory WHERE observation = ?", (observation,))

    def depths(self) -> list[Depth]:
        """How full each queue is; empty ones are left out."""
        with self._lock:
            return self._depths()

    def _depths(self) -> list[Depth]:
        rows = self._database.execute(
            "SELECT queue, count(*), sum(length(content)), min(held_at)"
            " FROM entry JOIN body ON body.id = entry.body GROUP BY queue ORDER BY queue"
        )
        return [Depth(*row) for row in rows]

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
