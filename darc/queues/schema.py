"""The tables of the journal, and how its file is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_SCHEMA = """
-- AUTOINCREMENT: a reader's cursor must never meet a number for the second time
CREATE TABLE IF NOT EXISTS body (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    observation TEXT NOT NULL,
    kind TEXT NOT NULL,
    stamp REAL NOT NULL,
    held_at REAL NOT NULL,
    content BLOB NOT NULL,
    written REAL NOT NULL DEFAULT 0,
    read REAL NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS entry (
    queue TEXT NOT NULL,
    body INTEGER NOT NULL,
    PRIMARY KEY (queue, body)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_body ON entry (body);
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
#: Those that a journal of an earlier version lacks.
_NEW_COLUMNS = ("written", "read")
WAL_BYTES = 64 * 2**20


def open_database(path: Path) -> sqlite3.Connection:
    """Open a journal's file; one that is not there is made, one of an earlier version completed.

    :raises sqlite3.DatabaseError: the file is no journal, or the disk fails
    """
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # Before anything is written: what is completed can then be given back to a full disk.
    database.execute("PRAGMA auto_vacuum=INCREMENTAL")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    # What a burst of traffic has made of the log beside the file is given back afterwards.
    database.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
    database.executescript(_SCHEMA)
    present = {row[1] for row in database.execute("PRAGMA table_info(body)")}
    for name in _NEW_COLUMNS:
        if name not in present:
            database.execute(f"ALTER TABLE body ADD {name} REAL NOT NULL DEFAULT 0")
    return database
