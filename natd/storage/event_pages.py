"""Older events, read from the disk page by page, for readers that can't wait in place.

    reader ─► take: None ─► the disk is asked ─► `wake` ─► reader ─► take: the page

Rules:
- A page says how far it goes: what was committed after the question is not in it.
- What is ready and not fetched is bounded: a page that has to go is read again.
- An event whose row can't be read is one `gap`, under its own id.
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from natd.storage.store import Store, StoreError

logger = logging.getLogger(__name__)

TEXT_KEY = "text"
"""The one field of an event that is kept with its message."""

READY_BYTES = 4 * 1024 * 1024
"""Of pages that nobody has fetched yet."""

PAGE_AGAIN_S = 1.0
"""After the disk could not be read."""

_PAGE = (
    "SELECT events.id, events.body, events.message, messages.body FROM events "
    "LEFT JOIN messages ON messages.id = events.message WHERE events.id > ?"
)

Event = dict[str, Any]
Question = tuple[int, int, frozenset[str] | None]
"""After which event, how many at most, of which types; None: of all."""


class Page(NamedTuple):
    events: list[Event]
    end: int
    """The last event that was looked at, whether it is in the page or was left out by its type."""


class EventPages:
    """See the top of this file."""

    def __init__(self, store: Store) -> None:
        self.wake: Callable[[], None] = lambda: None
        """Called when something is ready."""
        self._store = store
        self._ready: OrderedDict[Question, tuple[Page, int]] = OrderedDict()
        self._asked: dict[Question, asyncio.Task[None]] = {}
        self._ready_bytes = 0
        self._has_failed = False

    def take(self, question: Question, last_id: int) -> Page | None:
        """The page if it is ready; else it is asked for.  `last_id`: of what is committed now."""
        found = self._ready.pop(question, None)
        if found is not None:
            self._ready_bytes -= found[1]
            return found[0]
        if question not in self._asked:
            task = asyncio.get_running_loop().create_task(self._fetch(question, last_id))
            self._asked[question] = task
        return None

    async def read(self, question: Question, last_id: int) -> tuple[Page, int]:
        """The page, and its size; StoreError."""
        after, limit, types = question
        sql = _PAGE
        values: list[Any] = [after]
        if types is not None:
            sql += f" AND +events.type IN ({','.join('?' * len(types))})"
            values += sorted(types)
        rows = await self._store.read(f"{sql} ORDER BY events.id LIMIT ?", [*values, limit])
        size = sum(len(str(body)) + len(str(text or "")) for _, body, _, text in rows)
        # One that came after `last_id` may be there, and others before it may not be.
        rows = [row for row in rows if row[0] <= last_id]
        end = rows[-1][0] if len(rows) == limit else last_id
        return Page([_event(*row) for row in rows], end), size

    async def _fetch(self, question: Question, last_id: int) -> None:
        try:
            page, size = await self.read(question, last_id)
        except StoreError as error:
            if not self._has_failed:
                logger.warning("events wait for the disk: %s", error)
            self._has_failed = True
            await asyncio.sleep(PAGE_AGAIN_S)
        else:
            self._has_failed = False
            self._ready[question] = page, size
            self._ready_bytes += size
            while self._ready_bytes > READY_BYTES and len(self._ready) > 1:
                self._ready_bytes -= self._ready.popitem(last=False)[1][1]
        finally:
            del self._asked[question]
        self.wake()


def _event(event_id: int, body: str, message: int | None, text: str | None) -> Event:
    try:
        event = json.loads(body)
        event["id"] = event_id
    except (ValueError, TypeError):
        return damaged_event(event_id)
    if message is not None:
        event[TEXT_KEY] = text or ""
    return dict(event)


def damaged_event(event_id: int) -> Event:
    """In the place of one that can't be read."""
    return {
        "v": 1,
        "id": event_id,
        "ts": "1970-01-01T00:00:00.000Z",
        "type": "gap",
        "network": None,
        "from": event_id,
        "to": event_id,
        "reason": "this event can't be read: its row in natd.db is damaged",
    }
