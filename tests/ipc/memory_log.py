"""An event log in memory, with the interface that the control socket wants of the store."""

from dataclasses import dataclass, field
from typing import Any

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

    def read_events(self, after: int, limit: int, types: frozenset[str] | None) -> list[Json]:
        start = max(0, after + 1 - self.first_id)
        if types is None:
            return self.events[start : start + limit]
        return [event for event in self.events[start:] if event["type"] in types][:limit]

    async def save_cursor(self, name: str, event_id: int) -> None:
        self.cursors[name] = event_id

    def load_cursor(self, name: str) -> int | None:
        return self.cursors.get(name)
