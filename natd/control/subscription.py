"""One client's place in the event log, and how much it is ready to take.

    credit > 0  ->  `next_events`  ->  each sent and told by `sent`  ->  `page_sent`
    credit = 0  ->  nothing: the log keeps it

Rules:
- The place moves only over what was handed to the connection, so an event is never skipped
  because there was no room.
- What the log no longer holds is one event of type `gap` with the ids `from` and `to`; its own
  id is the last of those, so that it can be acknowledged like any other.
- A cursor moves forward only: a second client on the same name never sets the first one back.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from natd.host.errors import CommandError

CREDIT_LIMIT = 4096
"""Events that may be under way to one client."""

NAME_LIMIT_CHARACTERS = 64

Json = dict[str, Any]


class Page(Protocol):
    """Some events, and how far they go."""

    @property
    def events(self) -> list[Json]:
        """In order."""

    @property
    def end(self) -> int:
        """The last event that was looked at; those of other types are left out."""


class EventLog(Protocol):
    """What the control socket wants of the store.  Ids grow by one and survive restarts."""

    def last_event_id(self) -> int:
        """0 when there never was one."""

    def oldest_event_id(self) -> int:
        """The oldest that is still there; one past the last when none is."""

    def next_page(self, after: int, limit: int, types: frozenset[str] | None) -> Page | None:
        """Up to `limit` events with ids above `after`, in order; types None: of every type.

        None: they are being read, and the control socket is woken when they are there.
        """

    async def save_cursor(self, name: str, event_id: int) -> None:
        """Returns once it is on disk."""

    def load_cursor(self, name: str) -> int | None:
        """None when no cursor has that name."""


@dataclass(slots=True)
class Subscription:
    log: EventLog
    after: int
    """The last event that was sent or passed over."""
    types: frozenset[str] | None
    """None: every type."""
    cursor: str | None
    """None: the client's position is forgotten when it disconnects."""
    credit: int
    _page_end: int = 0
    _is_waiting: bool = False

    @property
    def is_behind(self) -> bool:
        """There is something to send and room for it."""
        has_more = self.after != self.log.last_event_id()
        return self.credit > 0 and has_more and not self._is_waiting

    def next_events(self, limit: int) -> list[Json]:
        """Up to `limit` events, no more than there is credit for."""
        limit = min(limit, self.credit)
        if limit == 0:
            return []
        last = self.log.last_event_id()
        oldest = self.log.oldest_event_id()
        self._page_end = 0
        if self.after > last:
            return [_gap(oldest - 1, last + 1, "this is a new event log; ids start again")]
        if self.after < oldest - 1:
            return [_gap(oldest - 1, self.after + 1, "older events are no longer kept")]
        page = self.log.next_page(self.after, limit, self.types)
        self._is_waiting = page is None
        if page is None:
            return []
        self._page_end = page.end
        return page.events

    def sent(self, event: Json) -> None:
        self.credit -= 1
        self.after = event["id"]

    def page_sent(self) -> None:
        """All that `next_events` gave was sent: what its filter left out is passed over."""
        self.after = max(self.after, self._page_end)

    def add_credit(self, events: int) -> None:
        self.credit = min(CREDIT_LIMIT, self.credit + events)

    async def open(self) -> None:
        """Put a new cursor on disk: what comes before its first acknowledgement is its own."""
        if self.cursor is not None and self.log.load_cursor(self.cursor) is None:
            await self.log.save_cursor(self.cursor, self.after)

    async def acknowledge(self, event_id: int) -> None:
        """Returns once the cursor, if there is one, is on disk."""
        if self.cursor is None:
            return
        saved = self.log.load_cursor(self.cursor)
        if saved is None or saved < event_id or saved > self.log.last_event_id():
            await self.log.save_cursor(self.cursor, event_id)


def subscription_of(request: Json, log: EventLog) -> Subscription:
    """The selection that a `subscribe` asks for; CommandError when it is malformed.

    It begins after `since`, else after the cursor, else now.
    """
    since = _whole(request, "since")
    types = request.get("types")
    if types is not None and not _is_texts(types):
        raise CommandError("usage", "types is a list of event types, or null for all")
    cursor = request.get("cursor")
    if cursor is not None and not _is_name(cursor):
        text = f"a cursor has a name of 1 to {NAME_LIMIT_CHARACTERS} printable characters"
        raise CommandError("usage", text)
    after = since
    if after is None and cursor is not None:
        after = log.load_cursor(cursor)
    if after is None:
        after = log.last_event_id()
    wanted = None if types is None else frozenset(types)
    subscription = Subscription(log, after, wanted, cursor, 0)
    subscription.add_credit(_whole(request, "credit") or 0)
    return subscription


def credit_of(request: Json, subscription: Subscription) -> tuple[int, int | None]:
    """How many more events a `credit` allows, and which it acknowledges, if any."""
    acknowledged = _whole(request, "ack")
    if acknowledged is not None and acknowledged > subscription.after:
        text = f"event {acknowledged} has not been sent: nothing to acknowledge"
        raise CommandError("usage", text)
    return _whole(request, "n") or 0, acknowledged


def _whole(request: Json, key: str) -> int | None:
    value = request.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise CommandError("usage", f"{key} is a whole number, 0 or more")
    return value


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_name(value: object) -> bool:
    return (
        isinstance(value, str) and 0 < len(value) <= NAME_LIMIT_CHARACTERS and value.isprintable()
    )


def _gap(event_id: int, first: int, reason: str) -> Json:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    return {
        "v": 1,
        "id": event_id,
        "ts": now,
        "type": "gap",
        "network": None,
        "from": first,
        "to": event_id,
        "reason": reason,
    }
