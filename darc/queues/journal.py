"""The journal: what is in the queues, on disk, so that no death loses or doubles anything.

One SQLite file in WAL mode with one writer. It survives the SIGKILL of any process, and a loss of
power but for what :mod:`darc.queues.write_behind` had not brought to the disk yet. A batch that
several queues hold is stored once. Observations are named by the key of their run.
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
from darc.runtime.clock import Instant, Since

#: The most that is dropped in one transaction: the others wait for it.
CLEAR_ENTRIES = 50
CLEAR_BYTES = 16 * 2**20
CLEAR_ROWS = 1000
#: Between two of these, for who waits: it would not get the lock otherwise (s).
CLEAR_PAUSE = 0.001
#: Of memory, in one answer.
PAGE_ROWS = 5000
PAGE_BYTES = 2**20
_ENTRY_COLUMNS = (
    "body.id, kind, content, body.observation, stamp, held_at, written, read, sender, boot, clock"
)
# A jump from one observation to the next, in place of a look at every row.
_OBSERVATIONS = """
WITH RECURSIVE found (name) AS (
    SELECT min(observation) FROM {table} WHERE {where}
    UNION ALL
    SELECT (SELECT min(observation) FROM {table} WHERE {where} AND observation > found.name)
    FROM found WHERE found.name IS NOT NULL
) SELECT name FROM found WHERE name IS NOT NULL
"""


class Journal(JournalStore):
    """The queues on disk; :class:`~darc.queues.journal_store.JournalStore` has file and limits."""

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

    def take(self, queue: str, after: int, max_entries: int, max_bytes: int) -> list[QueueEntry]:
        """The oldest entries of a queue behind entry ``after``; they stay until completed.

        At least one is returned where there is one, whatever its size.
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

    def recall(
        self, service: str, observation: str, after: str | None = None
    ) -> list[tuple[str, Any]]:
        """Some of what a service committed to memory for an observation, in order.

        :param after: the last key known; None: from the first one
        :return: keys and values; none: that was all
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
        """All that a service committed to memory for an observation."""
        found: dict[str, Any] = {}
        page = self.recall(service, observation)
        while page:
            found.update(page)
            page = self.recall(service, observation, page[-1][0])
        return found

    def memories(self, observation: str) -> dict[str, dict[str, Any]]:
        """What all services committed to memory for an observation."""
        found = {service: self.memory(service, observation) for service in self._services()}
        return {service: memory for service, memory in found.items() if memory}

    def _services(self) -> list[str]:
        """All that have ever attached."""
        return [row[0] for row in self._rows("SELECT service FROM holder")]

    def remember(self, service: str, observation: str, key: str, value: object) -> None:
        """Remember outside a commit; the master's own notes."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO memory VALUES (?, ?, ?, ?)",
                (service, observation, key, pack(value)),
            )

    # -- observations --------------------------------------------------------------------------

    def adopt(self, observation: str, key: str) -> None:
        """Have what an earlier version kept under an observation's name be of a run of it."""
        with self._transaction() as database:
            for table in ("body", "progress", "memory"):
                database.execute(
                    f"UPDATE {table} SET observation = ? WHERE observation = ?", (key, observation)
                )

    def observations(self) -> set[str]:
        """The observations that have entries in any queue, or of which anything is kept."""
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
        """Drop the entries of an observation, some at a time.

        :param kept: queues that are left alone
        :return: how many were dropped, by queue
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
        """Drop progress and memory of an observation that is over, some at a time."""
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
    stamp: float,
    held_at: float,
    written: float,
    read: float,
    sender: str,
    boot: str,
    clock: float,
) -> QueueEntry:
    since = Since(held_at, boot, Instant(clock))
    times = stamp, held_at, written, read, since
    return QueueEntry(number, ContentKind(kind), content, observation, *times, sender)
