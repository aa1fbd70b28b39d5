"""An event log in memory, with the interface that the control socket wants of the store."""

from dataclasses import dataclass, field
from typing import Any

from natd.storage.event_pages import Page

Json = dict[str, Any]


@dataclass(slots=True)
class MemoryLog:
    events: list[Json] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    first_id: int = 1

    def append(self, type_: str, **fields: Any) -> Json:
        event = {
            "v": 1,
            "id": self.last_event_id() + 1,
            "ts": "2026-01-02T03:04:05.678Z",
            "type": type_,
            **fields,
        }
        self.events.append(event)
        return event

    def drop_before(self, event_id: int) -> None:
        """Forget the oldest, as the store does after `history_days`."""
        self.events = [event for event in self.events if event["id"] >= event_id]
        self.first_id = event_id

    def last_event_id(self) -> int:
        return self.first_id + len(self.events) - 1

    def oldest_event_id(self) -> int:
        return self.first_id

    def next_page(self, after: int, limit: int, types: frozenset[str] | None) -> Page:
        events = self.events[max(0, after + 1 - self.first_id) :]
        chosen = [event for event in events if types is None or event["type"] in types][:limit]
        return Page(chosen, chosen[-1]["id"] if len(chosen) == limit else self.last_event_id())

    async def save_cursor(self, name: str, event_id: int) -> None:
        self.cursors[name] = event_id

    def load_cursor(self, name: str) -> int | None:
        return self.cursors.get(name)
