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
- Once it runs, nothing is read on the loop: a disk that hangs stops neither `status` nor a stop.
- A disk that has not answered for long accepts nothing more, and `problem` says so.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from natd.host.directories import require_private
from natd.host.errors import EXIT_CANNOT_RUN, NatdError, StartError
from natd.storage.database import (
    MovedError,
    Place,
    connect,
    connect_again,
    damage_of,
    noted,
    prepare,
    used_bytes,
)
from natd.storage.own_time import OwnTime
from natd.storage.reader import Reader
from natd.storage.schema import NOTE
from natd.storage.transaction import Transaction

logger = logging.getLogger(__name__)

PRUNED_A_COMMIT = 500
"""A delete of many rows would keep the messages behind it waiting."""

FILE_NAME = "natd.db"

GROUP_LIMIT = 2000
"""Writes in one commit: more would keep the first ones waiting."""

RETRY_S = 1.0
"""Between attempts at a disk that took nothing; a send is an attempt of its own."""

KEPT_LIMIT = 20_000
"""Writes that wait for a disk that takes nothing: beyond it old news of presence goes."""

HANGS_AFTER_S = 6.0
"""A disk that has not answered for so long is told of, and nothing more is accepted until it does:
SQLite itself waits five seconds for another program."""

_DATA_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ValueError,
    OverflowError,
)
"""Errors caused by one write; the rest of its group is written without it."""


FREE_SPACE = "free some space on the disk, or repair it"


class StoreError(NatdError):
    """The disk did not take it (or can't be read); the text says why, in one line."""

    hint = FREE_SPACE
    """What to do."""


class RowRefusedError(StoreError):
    """SQLite can't hold this row, whatever the state of the disk: there is no second try."""


class Write(Protocol):
    """One change, whole or not at all."""

    is_news: bool
    """Whether it can be done without, where the disk takes nothing for long."""

    def apply(self, transaction: Transaction) -> None:
        """Put it into the transaction; on the writer's thread."""

    def committed(self) -> None:
        """Called in the loop once the write is on disk."""

    def failed(self, error: StoreError) -> bool:
        """Called in the loop when the write failed; the answer tells whether to keep trying."""


class Store:
    """The daemon's SQLite file; see the module's head."""

    def __init__(self, directory: Path, owner: str | None = None) -> None:
        """Open the file in `directory`, making it when there is none; StartError says why not.

        `owner`: see `database.prepare`.
        """
        self.path = directory / FILE_NAME
        with contextlib.ExitStack() as refused:
            try:
                self._writer = connect(self.path)
                refused.callback(self._writer.close)
                self._is_checked = prepare(self._writer, self.path, owner)
                require_private(self.path, "our networks' keys")
                self._place = Place(self.path)
                self.used_bytes = used_bytes(self._writer)
                """What it takes on disk, as of the last commit."""
                own_time = noted(self._writer, "own_time")
            except (sqlite3.Error, OSError) as error:
                raise StartError(
                    f"{self.path} can't be used: {error}",
                    "check the disk and who owns the file, or put a backup of the whole directory "
                    "in its place; natd never deletes it by itself",
                ) from error
            refused.pop_all()
        self.own_time = OwnTime(own_time if isinstance(own_time, int) else None)
        self._reader = Reader(self.path)
        self._transaction = Transaction(self._writer)
        self._groups: queue.SimpleQueue[list[Write] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_commit: Callable[[], None] = lambda: None
        self._gathering: list[Write] = []
        self._kept: list[Write] = []
        self._handed_at: float | None = None  # when the group went that is being written
        self._is_due = False
        self._idle = asyncio.Event()
        self._failure: StoreError | None = None

    @property
    def problem(self) -> StoreError | None:
        """Why the disk takes nothing; None while it does."""
        if self.is_hanging:
            assert self._handed_at is not None
            silent_s = time.monotonic() - self._handed_at
            return StoreError(f"{self.path}: the disk has not answered for {silent_s:.0f} s")
        return self._failure

    @property
    def is_hanging(self) -> bool:
        at = self._handed_at
        return at is not None and time.monotonic() - at > HANGS_AFTER_S

    def start(self, on_commit: Callable[[], None]) -> None:
        """Begin writing, from the running loop; `on_commit` follows each group."""
        self._loop = asyncio.get_running_loop()
        # Loaded here: later it may be that no file can be opened.
        self._loop.set_default_executor(ThreadPoolExecutor())
        self._on_commit = on_commit
        self._thread = threading.Thread(target=self._write_groups, name="store", daemon=True)
        self._thread.start()
        self._hand_over_soon()

    def submit(self, write: Write) -> None:
        """Write it with the next group."""
        self._gathering.append(write)
        if not self._is_due and self._handed_at is None:
            self._hand_over_soon()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> "asyncio.Future[None]":
        """Write one statement with the next group; the future ends with the commit."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.submit(_Statements([(sql, parameters)], future))
        return future

    def execute_all(
        self, statements: Sequence[tuple[str, Sequence[Any]]]
    ) -> "asyncio.Future[None]":
        """Several statements, all or none of them."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.submit(_Statements(statements, future))
        return future

    def post(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Write one statement with the next group that the disk takes."""
        self.submit(_Statements([(sql, parameters)], None))

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read before `start`, by the one connection that there is."""
        try:
            return self._writer.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} can't be read: {error}") from error

    def noted(self, name: str) -> Any:
        """What `note` has kept under this name, before `start`; None for nothing."""
        try:
            return noted(self._writer, name)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} can't be read: {error}") from error

    def note(self, name: str, value: str | int) -> None:
        """Keep one value of the daemon's own, in place of the one before."""
        self.post(NOTE, (name, value))

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read what is committed: for questions by index, of few rows."""
        try:
            return await self._reader.read(sql, parameters)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path} can't be read: {error}") from error

    async def query_apart(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read on another thread, through a connection of its own: for searches."""
        return await asyncio.to_thread(self._query_apart, sql, parameters)

    async def look_for_damage(self) -> str | None:
        """What is wrong with the file, if it was too large to be looked at before the start."""
        return None if self._is_checked else await asyncio.to_thread(damage_of, self.path)

    async def flush(self) -> None:
        """Wait until what was submitted is on disk, or the disk has refused it."""
        if self._gathering or self._handed_at is not None:
            self._idle.clear()
            await self._idle.wait()

    async def close(self) -> None:
        """Write what is left, once, and close the file."""
        self._reader.close()
        if self._thread is not None:
            await self.flush()
            self._groups.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._writer.close()

    def _hand_over_soon(self) -> None:
        if self._loop is not None:
            self._is_due = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._is_due = False
        if self._handed_at is not None or not (self._gathering or self._kept):
            return
        waiting = self._kept + self._gathering
        group, self._gathering = waiting[:GROUP_LIMIT], waiting[GROUP_LIMIT:]
        self._kept = []
        self._handed_at = time.monotonic()
        self._groups.put(group)

    def _finished(self, group: list[Write], errors: list[StoreError | None]) -> None:
        """Back on the loop: first the next group on its way, then what this one releases."""
        self._handed_at = None
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
            self._let_news_go()
            self._gathering = []
            self._loop.call_later(RETRY_S, self._hand_over)
        elif self._gathering or self._kept:
            self._hand_over()
        if self._handed_at is None:
            self._idle.set()
        for write, error in zip(group, errors, strict=True):
            if error is None:
                write.committed()
        self._on_commit()

    def _let_news_go(self) -> None:
        """What is no news is bounded by its makers, and nothing behind it may come before it."""
        surplus = len(self._kept) - KEPT_LIMIT
        if surplus > 0:
            news = [write for write in self._kept if write.is_news][:surplus]
            gone = set(map(id, news))
            self._kept = [write for write in self._kept if id(write) not in gone]

    def _note_problem(self, error: StoreError | None) -> None:
        if error is not None and self._failure is None:
            logger.warning("%s; trying again until it can be written", error)
        elif error is None and self._failure is not None:
            logger.warning("%s can be written again", self.path)
        self._failure = error

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
            self._place.require()
            transaction.begin()
            for write in group:
                write.apply(transaction)
            transaction.update("own_time", NOTE, ("own_time", self.own_time.now_s))
            transaction.commit()
            self.used_bytes = used_bytes(self._writer)
        except _DATA_ERRORS as error:
            self._roll_back()
            if len(group) > 1:
                return [self._write([write])[0] for write in group]
            logger.exception("a row that SQLite does not take")
            return [RowRefusedError(f"{self.path} can't hold this: {error}")]
        except MovedError as error:
            moved = StoreError(str(error))
            moved.hint = "put it back where it was; or stop natd, and start it anew"
            return [moved] * len(group)
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
            connection = connect_again(self.path)
            try:
                return connection.execute(sql, parameters).fetchall()
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path} can't be read: {error}") from error


class _Statements:
    """`future` is None when nobody waits: then it is tried until it is written."""

    is_news = False

    def __init__(
        self,
        statements: Sequence[tuple[str, Sequence[Any]]],
        future: "asyncio.Future[None] | None",
    ) -> None:
        self._statements = statements
        self._future = future

    def apply(self, transaction: Transaction) -> None:
        transaction.flush()
        for sql, parameters in self._statements:
            transaction.execute(sql, parameters)

    def committed(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def failed(self, error: StoreError) -> bool:
        if self._future is not None and not self._future.done():
            self._future.set_exception(error)
        return self._future is None


def _end_process() -> None:
    raise SystemExit(EXIT_CANNOT_RUN)
