"""Tables of the journal, and opening its file."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import stat
import time
from pathlib import Path

from darc.node.state_format import STATE_FORMAT
from darc.runtime.paths import DAMAGED

log = logging.getLogger(__name__)

_SCHEMA = """
-- AUTOINCREMENT: a number is never used twice, as readers keep it as their position
CREATE TABLE IF NOT EXISTS body (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    observation TEXT NOT NULL,
    kind TEXT NOT NULL,
    stamp REAL NOT NULL,  -- the watermark: as the first version named it
    held_at REAL NOT NULL,
    content BLOB NOT NULL,
    written REAL NOT NULL DEFAULT 0,
    read REAL NOT NULL DEFAULT 0,
    -- when it was put: boot of the machine, and s of its clock; '': only held_at is known
    boot TEXT NOT NULL DEFAULT '',
    clock REAL NOT NULL DEFAULT 0,
    -- id of the opening of the journal in which it was put; '': by an earlier version
    sender TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS entry (
    queue TEXT NOT NULL,
    body INTEGER NOT NULL,
    PRIMARY KEY (queue, body)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_body ON entry (body);
CREATE INDEX IF NOT EXISTS body_observation ON body (observation);
CREATE TABLE IF NOT EXISTS holder (
    service TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    sequence INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (
    observation TEXT NOT NULL,
    source TEXT NOT NULL,
    held INTEGER NOT NULL,
    PRIMARY KEY (observation, source)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memory (
    service TEXT NOT NULL,
    observation TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (service, observation, key)
) WITHOUT ROWID;
"""
#: Columns that a journal of an earlier version lacks.
_NEW_COLUMNS = {
    "written": "REAL NOT NULL DEFAULT 0",
    "read": "REAL NOT NULL DEFAULT 0",
    "boot": "TEXT NOT NULL DEFAULT ''",
    "clock": "REAL NOT NULL DEFAULT 0",
    "sender": "TEXT NOT NULL DEFAULT ''",
}
WAL_BYTES = 64 * 2**20


#: Above this size, pages are not checked at each start: that would take minutes (bytes).
CHECKED_BYTES = 2**30
#: SQLite errors of a damaged file, as opposed to a failing or full disk.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def open_database(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    """Open a journal's file; a missing one is created, a damaged one set aside.

    :return: the connection, and the new path of a damaged file
    :raises sqlite3.DatabaseError: the disk fails
    :raises OSError: not a regular file, or one of another user
    """
    _check_file(path)
    database = None
    try:
        database = _open(path)
        check_database(database, path)
        return database, None
    except sqlite3.DatabaseError as error:
        if database is not None:
            database.close()
        if not is_damage(error):
            raise
        aside = set_aside(path)
        log.critical(
            "%s is damaged (%s) and was renamed to %s: its queue entries are lost, and files are"
            " read from their start again",
            path,
            error,
            aside,
        )
    return _open(path), aside


def _check_file(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file; move it away", str(path))
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, "cannot be read and written", str(path))


def is_damage(error: BaseException) -> bool:
    """Whether the error means a damaged file, not a full or failing disk."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED


def check_database(database: sqlite3.Connection, path: Path) -> None:
    """Check the pages, unless there are too many.

    :raises sqlite3.DatabaseError: a page is damaged
    """
    if path.stat().st_size > CHECKED_BYTES:
        return
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        error = sqlite3.DatabaseError(str(found).splitlines()[-1])
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def set_aside(path: Path) -> Path:
    """Rename a damaged journal and its logs, and return the new path."""
    aside = path.with_name(path.name + DAMAGED + time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    return aside


def _open(path: Path) -> sqlite3.Connection:
    """Open a file; one of an earlier version is migrated.

    :raises sqlite3.DatabaseError: the file is damaged, or the disk fails
    """
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # Before anything is written: freed pages can then be returned to a full disk.
    database.execute("PRAGMA auto_vacuum=INCREMENTAL")
    database.execute("PRAGMA journal_mode=WAL")
    # darc.queues.write_behind syncs commits to disk; this makes checkpoints safe.
    database.execute("PRAGMA synchronous=NORMAL")
    # A log that has grown in a burst of traffic is truncated afterwards.
    database.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
    database.executescript(_SCHEMA)
    present = {row[1] for row in database.execute("PRAGMA table_info(body)")}
    for name, kind in _NEW_COLUMNS.items():
        if name not in present:
            database.execute(f"ALTER TABLE body ADD {name} {kind}")
    database.execute(f"PRAGMA user_version={STATE_FORMAT}")
    return database
