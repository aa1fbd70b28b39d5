"""What must outlive the daemon: one SQLite file, written in groups by one thread.

    loop:    submit(write) ... submit(write) -> one group
    writer:  BEGIN, write.apply(transaction) for each, COMMIT (synced to the disk)
    loop:    write.committed() for each, in order; then on_commit() once

Rules that a change must not break:

- `committed` is called only after the disk has the group; what it releases (a reply, an
  acknowledgement) is therefore durable.
- One group is on its way at a time and the next gathers meanwhile: an idle store commits at
  once, a busy one in groups.  A group costs one hop to the thread and back.
- A group that can't be written leaves nothing behind.  Each of its writes is asked, by
  `failed`, whether it gives up (a send: refused with the reason) or stays (an arrival: not
  acknowledged, tried again until the disk takes it).
- `apply` runs on the writer's thread and touches nothing but the transaction and its own
  write; it may run again after a failure.
- The file is never deleted or replaced: what can't be read is refused with the reason, and so
  is what others can read.

Each statement lets the interpreter's lock go, and a busy loop takes milliseconds to give it
back.  So a transaction gathers rows and inserts many with one statement.
"""

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from natd.host.directories import require_private
from natd.host.errors import EXIT_CANNOT_RUN, NatdError, StartError
from natd.storage.schema import APPLICATION_ID, INDEXES, SCHEMA, SCHEMA_VERSION

logger = logging.getLogger(__name__)

PRUNED_A_COMMIT = 500
"""A delete of many rows would keep the messages behind it waiting."""

FILE_NAME = "natd.db"

ROWS_A_STATEMENT = 50
"""Rows inserted with one statement: 13 columns stay under SQLite's old limit of 999."""

GROUP_LIMIT = 2000
"""Writes in one commit: more would keep the first ones waiting."""

RETRY_S = 1.0
"""Between attempts at a disk that took nothing; a send is an attempt of its own."""

KEPT_LIMIT = 20_000
"""Writes that wait for a disk that takes nothing; arrivals are bounded by their windows, so
what goes first is old news of presence."""

QUICK_CHECK_BYTES = 4 * 1024 * 1024
"""Files up to this size are checked whole at every start (about 5 ms)."""

CACHE_KIB = 1024
"""SQLite's page cache for each connection: the working set is a few pages."""

_DATA_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ValueError,
    OverflowError,
)
"""Errors caused by one write; the rest of its group is written without it."""


class StoreError(NatdError):
    """The disk did not take it (or can't be read); the text says why, in one line."""


class RowRefusedError(StoreError):
    """SQLite can't hold this row, whatever the state of the disk: there is no second try."""


class Write(Protocol):
    """One change, whole or not at all."""

    def apply(self, transaction: "Transaction") -> None:
        """Put it into the transaction; on the writer's thread."""

    def committed(self) -> None:
        """Called in the loop once the write is on disk."""

    def failed(self, error: StoreError) -> bool:
        """Called in the loop when the write failed; the answer tells whether to keep trying."""


class Transaction:
    """The results of the writes of one group."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.memory: dict[Any, Any] = {}
        """Numbers given out, kept from group to group and forgotten when one fails."""
        self._connection = connection
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._updates: dict[Any, tuple[str, tuple[Any, ...]]] = {}

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement now, before all inserts and updates of the group."""
        return self._connection.execute(sql, parameters).fetchall()

    def insert(self, into: str, row: tuple[Any, ...]) -> None:
        """Insert a row, `into` being `table (columns)`; many go with one statement."""
        rows = self._rows.get(into)
        if rows is None:
            self._rows[into] = [row]
        else:
            rows.append(row)

    def update(self, key: Any, sql: str, parameters: tuple[Any, ...]) -> None:
        """Run a statement after the inserts; the last one of a `key` stands for all."""
        self._updates[key] = (sql, parameters)

    def take_number(self, key: Any, sql: str, parameters: Sequence[Any] = ()) -> int:
        """1, 2, 3, ... for a key, going on from what the query gives."""
        number: int = self.memory.get(key) or self.execute(sql, parameters)[0][0] or 0
        self.memory[key] = number + 1
        return number + 1

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def flush(self) -> None:
        """Put the gathered rows into their tables, for `execute` to see them."""
        for into, rows in self._rows.items():
            for start in range(0, len(rows), ROWS_A_STATEMENT):
                portion = rows[start : start + ROWS_A_STATEMENT]
                places = "(" + ",".join("?" * len(portion[0])) + ")"
                self._connection.execute(
                    f"INSERT INTO {into} VALUES " + ",".join([places] * len(portion)),
                    [value for row in portion for value in row],
                )
        self._rows.clear()

    def commit(self) -> None:
        self.flush()
        for sql, parameters in self._updates.values():
            self._connection.execute(sql, parameters)
        self._updates.clear()
        self._connection.execute("COMMIT")

    def roll_back(self) -> None:
        self.memory.clear()
        self._rows.clear()
        self._updates.clear()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class Store:
    """The daemon's SQLite file: reads on the loop, writes through the writer thread."""

    def __init__(self, directory: Path) -> None:
        """Open the file in `directory`, making it when there is none; StartError says why not."""
        self.path = directory / FILE_NAME
        self.problem: str | None = None
        """Why the disk takes nothing; None while it does."""
        with contextlib.ExitStack() as refused:
            try:
                self._writer = _connect(self.path)
                refused.callback(self._writer.close)
                _prepare(self._writer, self.path)
                require_private(self.path, "our networks' keys")
                self._reader = _connect(self.path)
                refused.callback(self._reader.close)
                self._reader.execute("PRAGMA query_only = 1")
            except (sqlite3.Error, OSError) as error:
                raise StartError(
                    f"{self.path} can't be used: {error}",
                    "check the disk and who owns the file; natd never deletes it by itself",
                ) from error
            refused.pop_all()
        self._transaction = Transaction(self._writer)
        self._groups: queue.SimpleQueue[list[Write] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_commit: Callable[[], None] = lambda: None
        self._gathering: list[Write] = []
        self._kept: list[Write] = []
        self._is_writing = False
        self._is_due = False
        self._idle = asyncio.Event()

    def start(self, on_commit: Callable[[], None]) -> None:
        """Begin writing, from the running loop; `on_commit` follows each group."""
        self._loop = asyncio.get_running_loop()
        self._on_commit = on_commit
        self._thread = threading.Thread(target=self._write_groups, name="store", daemon=True)
        self._thread.start()
        self._hand_over_soon()

    def submit(self, write: Write) -> None:
        """Write it with the next group."""
        self._gathering.append(write)
        if not self._is_due and not self._is_writing:
            self._hand_over_soon()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> "asyncio.Future[None]":
        """Write one statement with the next group; the future ends with the commit."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.submit(_Statement(sql, parameters, future))
        return future

    def post(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Write one statement with the next group that the disk takes."""
        self.submit(_Statement(sql, parameters, None))

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read what is committed, on the loop: for queries by index, of few rows."""
        try:
            return self._reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} can't be read: {error}") from error

    async def query_apart(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read on another thread, through a connection of its own: for searches."""
        return await asyncio.to_thread(self._query_apart, sql, parameters)

    async def flush(self) -> None:
        """Wait until what was submitted is on disk, or the disk has refused it."""
        if self._gathering or self._is_writing:
            self._idle.clear()
            await self._idle.wait()

    async def close(self) -> None:
        """Write what is left, once, and close the file."""
        if self._thread is not None:
            await self.flush()
            self._groups.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._reader.close()
        self._writer.close()

    def _hand_over_soon(self) -> None:
        if self._loop is not None:
            self._is_due = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._is_due = False
        if self._is_writing or not (self._gathering or self._kept):
            return
        waiting = self._kept + self._gathering
        group, self._gathering = waiting[:GROUP_LIMIT], waiting[GROUP_LIMIT:]
        self._kept = []
        self._is_writing = True
        self._groups.put(group)

    def _finished(self, group: list[Write], errors: list[StoreError | None]) -> None:
        """Back on the loop: first the next group on its way, then what this one releases."""
        self._is_writing = False
        disk_error = None
        for write, error in zip(group, errors, strict=True):
            if error is None:
                continue
            stays = write.failed(error)
            if not isinstance(error, RowRefusedError):
                disk_error = error
                if stays:
                    self._kept.append(write)
        self._note_problem(disk_error)
        if disk_error is not None and self._loop is not None:
            # What gathered meanwhile would fare no better: it is not kept waiting for that.
            self._kept += [write for write in self._gathering if write.failed(disk_error)]
            self._kept = self._kept[-KEPT_LIMIT:]
            self._gathering = []
            self._loop.call_later(RETRY_S, self._hand_over)
        elif self._gathering or self._kept:
            self._hand_over()
        if not self._is_writing:
            self._idle.set()
        for write, error in zip(group, errors, strict=True):
            if error is None:
                write.committed()
        self._on_commit()

    def _note_problem(self, error: StoreError | None) -> None:
        text = None if error is None else str(error)
        if text is not None and self.problem is None:
            logger.warning("%s; trying again until it can be written", text)
        elif text is None and self.problem is not None:
            logger.warning("%s can be written again", self.path)
        self.problem = text

    def _write_groups(self) -> None:
        """The writer's thread."""
        assert self._loop is not None
        try:
            while (group := self._groups.get()) is not None:
                errors = self._write(group)
                self._loop.call_soon_threadsafe(self._finished, group, errors)
        except BaseException:
            # Nothing could be accepted any more: better to end, and be started again.
            self._loop.call_soon_threadsafe(_end_process)
            raise

    def _write(self, group: list[Write]) -> list[StoreError | None]:
        transaction = self._transaction
        try:
            transaction.begin()
            for write in group:
                write.apply(transaction)
            transaction.commit()
        except _DATA_ERRORS as error:
            self._roll_back()
            if len(group) > 1:
                return [self._write([write])[0] for write in group]
            logger.exception("a row that SQLite does not take")
            return [RowRefusedError(f"{self.path} can't hold this: {error}")]
        except (sqlite3.Error, OSError) as error:
            self._roll_back()
            return [StoreError(f"{self.path} can't be written: {error}")] * len(group)
        return [None] * len(group)

    def _roll_back(self) -> None:
        try:
            self._transaction.roll_back()
        except sqlite3.Error:
            logger.debug("SQLite had rolled back by itself", exc_info=True)

    def _query_apart(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            connection = _connect(self.path)
            try:
                return connection.execute(sql, parameters).fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} can't be read: {error}") from error


class _Statement:
    """`future` is None when nobody waits: then it is tried until it is written."""

    def __init__(
        self, sql: str, parameters: Sequence[Any], future: "asyncio.Future[None] | None"
    ) -> None:
        self._sql = sql
        self._parameters = parameters
        self._future = future

    def apply(self, transaction: Transaction) -> None:
        transaction.flush()
        transaction.execute(self._sql, self._parameters)

    def committed(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def failed(self, error: StoreError) -> bool:
        if self._future is not None and not self._future.done():
            self._future.set_exception(error)
        return self._future is None


def _end_process() -> None:
    raise SystemExit(EXIT_CANNOT_RUN)


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, timeout=5.0, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new file, refuse a foreign or damaged one; write once, to know."""
    mark, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version")
    )
    if version > SCHEMA_VERSION:
        raise sqlite3.DatabaseError("it was written by a newer natd")
    if mark != APPLICATION_ID and (mark or version or path.stat().st_size):
        raise sqlite3.DatabaseError("it was not made by natd")
    if path.stat().st_size <= QUICK_CHECK_BYTES:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"it is damaged: {verdict}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 4194304")
    connection.execute("BEGIN IMMEDIATE")
    if version == 0:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute(INDEXES)
    connection.execute(
        "INSERT INTO meta VALUES ('opened_by', ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        (os.getpid(),),
    )
    connection.execute("COMMIT")
