"""The journal: the queues on disk, such that no crash loses or duplicates an entry.

One SQLite file in WAL mode with one writer. It survives the SIGKILL of any process, and a loss of
power except for what :mod:`darc.queues.write_behind` has not written to disk yet. A batch on
several queues is stored once. Observations are identified by the key of their run.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from darc.queues.journal_store import JournalStore
from darc.queues.messages import (
    Commit,
    ContentKind,
    FencedError,
    FullError,
    OutOfStepError,
    Put,
    QueueEntry,
    QueueError,
)
from darc.queues.plain_connection import pack, unpack
from darc.runtime.clock import Since

#: Most entries to drop in one transaction, as other transactions wait for it.
CLEAR_ENTRIES = 50
CLEAR_BYTES = 16 * 2**20
CLEAR_ROWS = 1000
#: Pause between two such transactions, so that others get the lock (s).
CLEAR_PAUSE = 0.001
#: Most stored values in one reply.
PAGE_ROWS = 5000
PAGE_BYTES = 2**20
_ENTRY_COLUMNS = (
    "body.id, kind, content, body.observation, stamp, held_at, written, read, sender, boot, clock"
)
# Steps from one observation to the next instead of scanning all rows.
_OBSERVATIONS = """
WITH RECURSIVE found (name) AS (
    SELECT min(observation) FROM {table} WHERE {where}
    UNION ALL
    SELECT (SELECT min(observation) FROM {table} WHERE {where} AND observation > found.name)
    FROM found WHERE found.name IS NOT NULL
) SELECT name FROM found WHERE name IS NOT NULL
"""


class Journal(JournalStore):
    """Queues on disk; :class:`~darc.queues.journal_store.JournalStore` has file and limits."""

    # -- holders -------------------------------------------------------------------------------

    def attach(self, service: str) -> tuple[int, int]:
        """Make the caller the holder of a service's queue; any earlier holder is fenced.

        :return: holder number, and sequence number of its last commit (0)
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

        :raises FencedError: another process is the holder
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
            raise QueueError(f"{service}: has never attached")
        return int(row[0]), int(row[1])

    # -- entries -------------------------------------------------------------------------------

    def take(self, queue: str, after: int, max_entries: int, max_bytes: int) -> list[QueueEntry]:
        """Return the oldest entries of a queue after entry ``after``; they stay until acknowledged.

        At least one entry is returned if there is one, whatever its size.
        """
        entries: list[QueueEntry] = []
        size = 0
        with self._lock:
            for row in self._database.execute(
                f"SELECT {_ENTRY_COLUMNS} FROM entry JOIN body ON body.id = entry.body"
                " WHERE queue = ? AND entry.body > ? ORDER BY entry.body LIMIT ?",
                (queue, after, max_entries),
            ):
                entry = _entry(*row)
                size += len(entry.content)
                if entries and size > max_bytes:
                    break
                entries.append(entry)
        return entries

    def commit(self, service: str, holder: int, sequence: int, commit: Commit) -> bool:
        """Commit a step of a service in one transaction.

        :param holder: holder number
        :param sequence: one more than the holder's last; a repeated one is ignored
        :return: False if this step had been committed before
        :raises FencedError: another process is the holder
        :raises OutOfStepError: its progress does not continue the last one
        :raises FullError: there is no room; nothing was changed
        """
        with self._transaction() as database:
            # Stored values alone are small, and needed to acknowledge the entries that are there.
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
            self._complete(database, service, commit.completed)  # first: this frees space
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

    def put(self, put: Put) -> None:
        """Put an entry without a holder, for interactive clients.

        :raises FullError: there is no room
        """
        if self._room.full:
            raise FullError("the journal is full")
        with self._transaction() as database:
            self._put(database, put)

    def remove(self, queue: str, completed: Sequence[int]) -> None:
        """Acknowledge entries without a holder, for interactive clients."""
        with self._transaction() as database:
            self._complete(database, queue, completed)

    # -- stored values and progress ------------------------------------------------------------

    def progress(self, observation: str) -> dict[str, int]:
        """How far each file of an observation is held, in bytes."""
        return dict(
            self._rows("SELECT source, held FROM progress WHERE observation = ?", (observation,))
        )

    def recall(
        self, service: str, observation: str, after: str | None = None
    ) -> list[tuple[str, Any]]:
        """Return a part of what a service has stored for an observation, in order of keys.

        :param after: last key of the previous part; None: start with the first key
        :return: keys and values; empty after the last part
        """
        rows = []
        size = 0
        wanted = {"service": service, "observation": observation, "after": after, "rows": PAGE_ROWS}
        with self._lock:
            for key, value in self._database.execute(
                "SELECT key, value FROM memory WHERE service = :service"
                " AND observation = :observation AND (:after IS NULL OR key > :after)"
                " ORDER BY key LIMIT :rows",
                wanted,
            ):
                rows.append((key, value))
                size += len(value)
                if size > PAGE_BYTES:
                    break
        return [(key, unpack(value)) for key, value in rows]

    def memory(self, service: str, observation: str) -> dict[str, Any]:
        """Return all values that a service has stored for an observation."""
        found: dict[str, Any] = {}
        page = self.recall(service, observation)
        while page:
            found.update(page)
            page = self.recall(service, observation, page[-1][0])
        return found

    def memories(self, observation: str) -> dict[str, dict[str, Any]]:
        """Return the values of all services for an observation."""
        found = {service: self.memory(service, observation) for service in self._services()}
        return {service: memory for service, memory in found.items() if memory}

    def _services(self) -> list[str]:
        """Return all services that have ever attached."""
        return [row[0] for row in self._rows("SELECT service FROM holder")]

    def remember(self, service: str, observation: str, key: str, value: object) -> None:
        """Store a value outside a commit, for the master."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO memory VALUES (?, ?, ?, ?)",
                (service, observation, key, pack(value)),
            )

    # -- observations --------------------------------------------------------------------------

    def adopt(self, observation: str, key: str) -> None:
        """Assign what an earlier version stored under a task id to the key of a run."""
        with self._transaction() as database:
            for table in ("body", "progress", "memory"):
                database.execute(
                    f"UPDATE {table} SET observation = ? WHERE observation = ?", (key, observation)
                )

    def observations(self) -> set[str]:
        """Return the observations that have entries, progress or stored values."""
        found = {
            row[0]
            for table in ("body", "progress")
            for row in self._rows(_OBSERVATIONS.format(table=table, where="true"))
        }
        for service in self._services():
            query = _OBSERVATIONS.format(table="memory", where="service = :service")
            found.update(row[0] for row in self._rows(query, {"service": service}))
        return found

    def clear(self, observation: str, kept: Sequence[str] = ()) -> dict[str, int]:
        """Drop the entries of an observation, in batches.

        :param kept: queues to leave unchanged
        :return: number of dropped entries, by queue
        """
        dropped: Counter[str] = Counter()
        after = 0
        while True:
            size = 0
            with self._transaction() as database:
                bodies = database.execute(
                    "SELECT id, length(content) FROM body WHERE observation = ? AND id > ?"
                    " ORDER BY id LIMIT ?",
                    (observation, after, CLEAR_ENTRIES),
                ).fetchall()
                for number, content_bytes in bodies:
                    for (queue,) in database.execute(
                        "SELECT queue FROM entry WHERE body = ?", (number,)
                    ).fetchall():
                        if queue not in kept:
                            self._complete(database, queue, [number])
                            dropped[queue] += 1
                    after = number
                    size += content_bytes
                    if size > CLEAR_BYTES:
                        break
            if not bodies:
                return dict(dropped)
            time.sleep(CLEAR_PAUSE)

    def forget(self, observation: str) -> None:
        """Drop progress and stored values of a finished observation, in batches."""
        with self._transaction() as database:
            database.execute("DELETE FROM progress WHERE observation = ?", (observation,))
        for service in self._services():
            which = {"service": service, "observation": observation, "rows": CLEAR_ROWS}
            left = CLEAR_ROWS
            while left == CLEAR_ROWS:
                with self._transaction() as database:
                    left = database.execute(
                        "DELETE FROM memory WHERE service = :service"
                        " AND observation = :observation AND key IN (SELECT key FROM memory"
                        " WHERE service = :service AND observation = :observation LIMIT :rows)",
                        which,
                    ).rowcount
                time.sleep(CLEAR_PAUSE)


def _entry(
    number: int,
    kind: str,
    content: bytes,
    observation: str,
    watermark: float,
    held_at: float,
    written: float,
    read: float,
    sender: str,
    boot: str,
    clock: float,
) -> QueueEntry:
    times = watermark, held_at, written, read, Since(held_at, boot, clock)
    return QueueEntry(number, ContentKind(kind), content, observation, *times, sender)
