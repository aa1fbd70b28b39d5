"""The file itself: opened, made, brought up to date; whether it is sound, and still in its place.

Rules:
- It is never deleted or replaced: what can't be read is refused with the reason, and so is what
  others can read.
- A file that was moved or removed under us takes no more writes: they would be on a disk
  where the next start does not look.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

from natd.storage.schema import (
    APPLICATION_ID,
    ASKED_TABLE,
    FROM_VERSION_1,
    NOTE,
    SCHEMA,
    SCHEMA_VERSION,
)

CHECKED_AT_START_BYTES = 64 * 1024 * 1024
"""Files up to this size are checked whole before anything is read (about 0.1 s); larger ones while
the daemon runs."""

CACHE_KIB = 1024
"""SQLite's page cache for each connection: the working set is a few pages."""

BUSY_S = 5.0
"""How long SQLite waits for a lock that another program holds."""


class MovedError(OSError):
    """The file is not where it was opened."""


class Place:
    """Where a database file and its log were, to see whether they still are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._file = _identity(path)
        self._log_file = _identity(self._log)

    def require(self) -> None:
        """MovedError unless both files are in their place."""
        if _identity(self._path) != self._file:
            raise MovedError(f"{self._path} was moved or removed")
        if _identity(self._log) != self._log_file:
            raise MovedError(f"{self._log} was moved or removed")


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, making an empty one where there is none; sqlite3.Error, OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    return _connect(path)


def connect_again(path: Path) -> sqlite3.Connection:
    """One more connection, for reading; sqlite3.Error, OSError where it is not there any more."""
    os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
    connection = _connect(path)
    try:
        connection.execute("PRAGMA query_only = 1")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path, owner: str | None) -> bool:
    """Make the tables in a new file, refuse a foreign or damaged one; write once, to know.

    `owner` is the id of the identity that it is used with: there is only one for a file.  The
    answer: whether it was small enough to be looked at whole.  sqlite3.DatabaseError says what is
    wrong.
    """
    mark, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version")
    )
    if version > SCHEMA_VERSION:
        raise sqlite3.DatabaseError("it was written by a newer natd")
    size = path.stat().st_size
    if mark != APPLICATION_ID and (mark or version or size):
        raise sqlite3.DatabaseError("it was not made by natd")
    is_checked = size <= CHECKED_AT_START_BYTES
    if is_checked and (damage := check(connection)) is not None:
        raise sqlite3.DatabaseError(damage)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 4194304")
    connection.execute("BEGIN IMMEDIATE")
    if version < SCHEMA_VERSION:
        for statement in (SCHEMA if version == 0 else FROM_VERSION_1).split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute(ASKED_TABLE)
    connection.execute(NOTE, ("opened_by", os.getpid()))
    if owner is not None:
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('identity', ?)", (owner,))
        if (found := noted(connection, "identity")) != owner:
            connection.execute("ROLLBACK")
            raise sqlite3.DatabaseError(f"it belongs to the identity {found}, not to {owner}")
    connection.execute("COMMIT")
    return is_checked


def noted(connection: sqlite3.Connection, name: str) -> Any:
    """What an earlier run has noted under this name; None for nothing; sqlite3.Error."""
    found = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if found is None else found[0]


def check(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the file, in SQLite's words; None where it is sound."""
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    return None if verdict == "ok" else f"it is damaged: {' '.join(str(verdict).split())}"


def damage_of(path: Path) -> str | None:
    """The same for a file that is in use; it may take long."""
    try:
        connection = connect_again(path)
        try:
            return check(connection)
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        return f"it can't be read: {error}"


def used_bytes(connection: sqlite3.Connection) -> int:
    """What rows take of the file; deleted ones leave room for others."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino
