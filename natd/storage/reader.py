"""Reading while the daemon runs: on a thread of its own, so that a disk that hangs stops nobody.

    loop:    await read(sql, parameters)  ─►  thread: its own connection  ─►  rows

One question after the other, in order: pages by index, of few rows.  A search that may take long
has a thread to itself (`Store.query_apart`).
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from natd.storage.database import connect_again

Rows = list[tuple[Any, ...]]


class Reader:
    """See the top of this file.  The thread starts with the first question."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._questions: queue.SimpleQueue[tuple[str, Sequence[Any], asyncio.Future[Rows]] | None]
        self._questions = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False

    def read(self, sql: str, parameters: Sequence[Any]) -> "asyncio.Future[Rows]":
        """The rows; sqlite3.Error or OSError where it can't be read."""
        if self._is_closed:
            raise sqlite3.ProgrammingError("it is closed")
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._serve, args=(loop,), name="reader", daemon=True
            )
            self._thread.start()
        future: asyncio.Future[Rows] = loop.create_future()
        self._questions.put((sql, parameters, future))
        return future

    def close(self) -> None:
        """Don't wait for it: the disk may hang."""
        self._is_closed = True
        self._questions.put(None)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (question := self._questions.get()) is not None:
            sql, parameters, future = question
            try:
                rows, error = self._rows(sql, parameters), None
            except (sqlite3.Error, OSError) as caught:
                rows, error = [], caught
            try:
                loop.call_soon_threadsafe(_answer, future, rows, error)
            except RuntimeError:  # The loop has ended.
                break
        if self._connection is not None:
            self._connection.close()

    def _rows(self, sql: str, parameters: Sequence[Any]) -> Rows:
        if self._connection is None:
            self._connection = connect_again(self._path)
        return self._connection.execute(sql, parameters).fetchall()


def _answer(future: "asyncio.Future[Rows]", rows: Rows, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(rows)
    else:
        future.set_exception(error)
