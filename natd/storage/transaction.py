"""One group of writes on its way into the file; on the writer's thread.

Each statement lets the interpreter's lock go, and a busy loop takes milliseconds to give it
back.  So a transaction gathers rows and inserts many with one statement.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

ROWS_A_STATEMENT = 50
"""Rows inserted with one statement: 13 columns stay under SQLite's old limit of 999."""


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
