"""The event log: everything that happened, numbered 1, 2, 3, ... across restarts.

An event is one JSON object as `natctl events --json` shows it:

    {"v": 1, "id": 4712, "ts": "2026-01-31T12:00:00.123Z", "type": "message", ...}

Rules that a change must not break:

- An id is given by the commit, so ids have no holes and a reader never sees an event that a
  crash could take back.
- Readers come with the id they have seen and get what follows; the newest events are read
  from memory, older ones from the disk.
- Pruning leaves the newest event, so that ids go on from there.
"""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from natd.storage.store import PRUNED_A_COMMIT, Store, StoreError, Transaction

RECENT_EVENTS = 1024
"""Newest events kept in memory, for readers that are up to date."""

RECENT_BYTES = 1024 * 1024
"""And their texts together, since one may have 16 KiB."""

_INTO = "events (id, at_unix_ms, type, network, body)"
_LAST_ID = "SELECT max(id) FROM events"


def utc_text(unix_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.123Z`."""
    second, ms = divmod(unix_ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


class EventLog:
    """What the control socket reads from; see the module's head."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: list[dict[str, Any]] = []
        self._recent_bytes = 0
        self._last_id: int = store.query(_LAST_ID)[0][0] or 0
        self._oldest_id: int = store.query("SELECT min(id) FROM events")[0][0] or 1
        self._cursors: dict[str, int] = dict(store.query("SELECT name, id FROM cursors"))
        # The second of the last event, as text: thousands of events share it.
        self._second = (0, "")

    def entry(self, type_: str, fields: Mapping[str, Any]) -> "EventEntry":
        """An event of now, to be submitted by itself or within another write."""
        second, ms = divmod(time.time_ns() // 1_000_000, 1000)
        if second != self._second[0]:
            self._second = (second, f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}")
        event = {"v": 1, "id": 0, "ts": f"{self._second[1]}.{ms:03d}Z", "type": type_, **fields}
        return EventEntry(self, event, second * 1000 + ms)

    def append(self, type_: str, fields: Mapping[str, Any]) -> None:
        """Log an event with the next group."""
        self._store.submit(self.entry(type_, fields))

    def last_event_id(self) -> int:
        """0 before the first event."""
        return self._last_id

    def oldest_event_id(self) -> int:
        """The oldest that can still be read; one more than the last when there is none."""
        return min(self._oldest_id, self._last_id + 1)

    def read_events(
        self, after: int, limit: int, types: frozenset[str] | None = None
    ) -> list[dict[str, Any]]:
        """Up to `limit` events with ids above `after`, oldest first; None is every type."""
        if after >= self._last_id:
            return []
        if self._recent and after >= self._recent[0]["id"] - 1:
            start = max(0, after + 1 - self._recent[0]["id"])
            if types is None:
                return self._recent[start : start + limit]
            chosen = (e for e in self._recent[start:] if e["type"] in types)
            return [event for event, _ in zip(chosen, range(limit), strict=False)]
        return self._read_from_disk(after, limit, types)

    async def save_cursor(self, name: str, event_id: int) -> None:
        """Remember how far `name` has read; StoreError when the disk does not take it."""
        self._cursors[name] = event_id
        await self._store.execute(
            "INSERT INTO cursors VALUES (?, ?) ON CONFLICT DO UPDATE SET id = excluded.id",
            (name, event_id),
        )

    def load_cursor(self, name: str) -> int | None:
        return self._cursors.get(name)

    def unread(self, network: str) -> int:
        """Messages of a network that no reader with a cursor has acknowledged yet; 0 where
        nobody reads by a cursor: the chat doesn't."""
        seen = max(self._cursors.values(), default=self._last_id)
        sql = "SELECT count(*) FROM events WHERE type = 'message' AND network = ? AND id > ?"
        count: int = self._store.query(sql, (network, seen))[0][0]
        return count

    async def prune(self, before_unix_ms: int) -> None:
        """Delete what is older, except the newest event."""
        sql = "SELECT id FROM events WHERE at_unix_ms >= ? ORDER BY id LIMIT 1"
        young = self._store.query(sql, (before_unix_ms,))
        end = min(young[0][0] if young else self._last_id, self._last_id)
        while self._oldest_id < end:
            self._oldest_id = min(end, self._oldest_id + PRUNED_A_COMMIT)
            await self._store.execute("DELETE FROM events WHERE id < ?", (self._oldest_id,))

    def take(self, event: dict[str, Any], size_bytes: int) -> None:
        """A commit has numbered this event; called in the order of their ids."""
        self._last_id = event["id"]
        self._recent.append(event)
        self._recent_bytes += size_bytes
        if len(self._recent) >= 2 * RECENT_EVENTS or self._recent_bytes > 2 * RECENT_BYTES:
            self._recent = self._recent[len(self._recent) // 2 :]
            self._recent_bytes //= 2

    def _read_from_disk(
        self, after: int, limit: int, types: frozenset[str] | None
    ) -> list[dict[str, Any]]:
        if types is None:
            sql = "SELECT id, body FROM events WHERE id > ? ORDER BY id LIMIT ?"
            rows = self._store.query(sql, (after, limit))
        else:
            places = ",".join("?" * len(types))
            sql = (
                f"SELECT id, body FROM events WHERE id > ? AND +type IN ({places}) "
                "ORDER BY id LIMIT ?"
            )
            rows = self._store.query(sql, (after, *sorted(types), limit))
        return [{**json.loads(body), "id": event_id} for event_id, body in rows]


class EventEntry:
    """A write: one event."""

    __slots__ = ("_at_unix_ms", "_log", "_size_bytes", "event")

    def __init__(self, log: EventLog, event: dict[str, Any], at_unix_ms: int) -> None:
        self.event = event
        self._log = log
        self._at_unix_ms = at_unix_ms
        self._size_bytes = 0

    def apply(self, transaction: Transaction) -> None:
        event = self.event
        event["id"] = transaction.take_number("events", _LAST_ID)
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        self._size_bytes = len(body)
        transaction.insert(
            _INTO, (event["id"], self._at_unix_ms, event["type"], event.get("network"), body)
        )

    def committed(self) -> None:
        self._log.take(self.event, self._size_bytes)

    def failed(self, _error: StoreError) -> bool:
        return True
