"""The event log: everything that happened, numbered 1, 2, 3, ... across restarts.

An event is one JSON object as `natctl events --json` shows it:

    {"v": 1, "id": 4712, "ts": "2026-01-31T12:00:00.123Z", "type": "message", ...}

Rules that a change must not break:

- An id is given by the commit, so ids have no holes and a reader never sees an event that a
  crash could take back.
- Readers come with the id they have seen and get what follows; the newest events are read
  from memory, older ones from the disk, page by page (`natd.storage.event_pages`).
- Pruning leaves the newest event, so that ids go on from there.
- The text of a message stands in the table of messages, and is put into its event when that is
  read.  If the message has been deleted since, the text is empty.
"""

import json
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from natd.storage.event_pages import TEXT_KEY, EventPages, Page
from natd.storage.store import PRUNED_A_COMMIT, Store, StoreError
from natd.storage.transaction import Transaction

RECENT_EVENTS = 1024
"""Newest events kept in memory, for readers that are up to date."""

RECENT_BYTES = 1024 * 1024
"""And their texts together, since one may have 16 KiB."""

_INTO = "events (id, at_unix_ms, type, network, body, kept_at_s, message)"
_LAST_ID = "SELECT max(id) FROM events"
_MESSAGES_AFTER = "SELECT network, id FROM events WHERE type = 'message' AND id > ? ORDER BY id"


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
        self._pages = EventPages(store)
        # Events of type `message` that no cursor has passed yet, by network; of those before the
        # first cursor nobody asks.
        self._unread: dict[str, array[int]] = {}
        if self._cursors:
            self._count_unread(store.query(_MESSAGES_AFTER, (self._seen,)))
        # The second of the last event, as text: thousands of events share it.
        self._second = (0, "")

    def entry(self, type_: str, fields: Mapping[str, Any]) -> "EventEntry":
        """An event of now, to be submitted by itself or within another write."""
        second, ms = divmod(time.time_ns() // 1_000_000, 1000)
        if second != self._second[0]:
            self._second = (second, f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}")
        event = {"v": 1, "id": 0, "ts": f"{self._second[1]}.{ms:03d}Z", "type": type_, **fields}
        at_unix_ms = second * 1000 + ms
        return EventEntry(self, event, at_unix_ms, self._store.own_time.now_s)

    def append(self, type_: str, fields: Mapping[str, Any]) -> None:
        """Log an event with the next group."""
        self._store.submit(self.entry(type_, fields))

    def last_event_id(self) -> int:
        """0 before the first event."""
        return self._last_id

    def oldest_event_id(self) -> int:
        """The oldest that can still be read; one more than the last when there is none."""
        return min(self._oldest_id, self._last_id + 1)

    def on_page(self, wake: Callable[[], None]) -> None:
        """`wake` is called when `next_page`, which gave None, can be asked again."""
        self._pages.wake = wake

    def next_page(self, after: int, limit: int, types: frozenset[str] | None = None) -> Page | None:
        """Up to `limit` events with ids above `after`, oldest first; `types`: None is every type.

        None: they are being read from the disk.
        """
        page = self._recent_page(after, limit, types)
        return page or self._pages.take((after, limit, types), self._last_id)

    async def read_events(
        self, after: int, limit: int, types: frozenset[str] | None = None
    ) -> list[dict[str, Any]]:
        """The same, for those who can wait; StoreError."""
        page = self._recent_page(after, limit, types)
        if page is None:
            page, _ = await self._pages.read((after, limit, types), self._last_id)
        return page.events

    def _recent_page(self, after: int, limit: int, types: frozenset[str] | None) -> Page | None:
        """None where it is not in memory."""
        if after >= self._last_id:
            return Page([], self._last_id)
        if not self._recent or after < self._recent[0]["id"] - 1:
            return None
        start = max(0, after + 1 - self._recent[0]["id"])
        recent = islice(self._recent, start, None)
        chosen = (event for event in recent if types is None or event["type"] in types)
        events = list(islice(chosen, limit))
        return Page(events, events[-1]["id"] if len(events) == limit else self._last_id)

    async def save_cursor(self, name: str, event_id: int) -> None:
        """Remember how far `name` has read; StoreError when the disk does not take it."""
        is_first, seen = not self._cursors, self._seen
        self._cursors[name] = event_id
        await self._store.execute(
            "INSERT INTO cursors VALUES (?, ?) ON CONFLICT DO UPDATE SET id = excluded.id",
            (name, event_id),
        )
        if is_first or self._seen < seen:
            rows = await self._store.read(_MESSAGES_AFTER, (self._seen,))
            self._unread.clear()
            self._count_unread(rows)

    def load_cursor(self, name: str) -> int | None:
        return self._cursors.get(name)

    def unread(self, network: str) -> int:
        """Messages of a network that no reader with a cursor has acknowledged yet; 0 where
        nobody reads by a cursor: the chat doesn't."""
        ids = self._unread.get(network)
        return 0 if ids is None else len(ids) - bisect_right(ids, self._seen)

    @property
    def _seen(self) -> int:
        """How far the furthest reader with a cursor is."""
        return max(self._cursors.values(), default=self._last_id)

    def _count_unread(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for network, event_id in rows:
            ids = self._unread.setdefault(network or "", array("q"))
            if not ids or event_id > ids[-1]:
                ids.append(event_id)

    async def prune(self, before_s: int) -> None:
        """Delete what was logged before this instant of own time, except the newest event."""
        for ids in self._unread.values():
            del ids[: bisect_right(ids, self._seen)]
        sql = "SELECT id FROM events WHERE kept_at_s >= ? ORDER BY id LIMIT 1"
        young = await self._store.read(sql, (before_s,))
        end = min(young[0][0] if young else self._last_id, self._last_id)
        while self._oldest_id < end:
            before = self._oldest_id
            self._oldest_id = min(end, before + PRUNED_A_COMMIT)  # readers are told of a gap first
            try:
                await self._store.execute("DELETE FROM events WHERE id < ?", (self._oldest_id,))
            except StoreError:
                self._oldest_id = before
                raise

    def take(self, event: dict[str, Any], size_bytes: int) -> None:
        """A commit has numbered this event; called in the order of their ids."""
        self._last_id = event["id"]
        if event["type"] == "message" and self._cursors:
            self._count_unread([(event.get("network"), event["id"])])
        self._recent.append(event)
        self._recent_bytes += size_bytes
        if len(self._recent) >= 2 * RECENT_EVENTS or self._recent_bytes > 2 * RECENT_BYTES:
            self._recent = self._recent[len(self._recent) // 2 :]
            self._recent_bytes //= 2


class EventEntry:
    """A write: one event."""

    __slots__ = ("_at_unix_ms", "_kept_at_s", "_log", "_size_bytes", "event")

    is_news = True

    def __init__(
        self, log: EventLog, event: dict[str, Any], at_unix_ms: int, kept_at_s: int
    ) -> None:
        self.event = event
        self._log = log
        self._at_unix_ms = at_unix_ms
        self._kept_at_s = kept_at_s
        self._size_bytes = 0

    def apply(self, transaction: Transaction, message: int | None = None) -> None:
        """`message` is the row that has the event's text."""
        event = self.event
        event["id"] = event_id = transaction.take_number("events", _LAST_ID)
        told = event
        if message is not None:
            told = {key: value for key, value in event.items() if key != TEXT_KEY}
        body = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        self._size_bytes = len(body) + len(event.get(TEXT_KEY, ""))
        type_, network = event["type"], event.get("network")
        transaction.insert(
            _INTO, (event_id, self._at_unix_ms, type_, network, body, self._kept_at_s, message)
        )

    def committed(self) -> None:
        self._log.take(self.event, self._size_bytes)

    def failed(self, _error: StoreError) -> bool:
        return True
