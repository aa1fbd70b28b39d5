"""Everything that one daemon's event log tells, with the instant at which it told."""

import asyncio
import contextlib
import time
from typing import Any

from natd.ipc import Client, UnreachableError

Event = dict[str, Any]


class NotToldError(Exception):
    """An event did not come in time; the text says which, and what came last."""


class Witness:
    """Listens to the event log from its beginning, and can be asked afterwards."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._told: list[tuple[float, Event]] = []
        self._more = asyncio.Condition()

    async def start(self, client: Client) -> "asyncio.Task[None]":
        """Listen until the task is cancelled or the daemon goes away."""
        return asyncio.create_task(self._listen(client))

    async def wait_for(self, kind: str, limit_s: float, **wanted: Any) -> tuple[float, Event]:
        """The first event of a kind with these values, and when it came.  NotToldError."""
        async with self._more:
            try:
                async with asyncio.timeout(limit_s):
                    await self._more.wait_for(lambda: self.first(kind, **wanted) is not None)
            except TimeoutError:
                pass
            found = self.first(kind, **wanted)
        if found is None:
            last = self._told[-1][1]["type"] if self._told else "nothing"
            raise NotToldError(
                f"{self.name}'s daemon reported no `{kind}` within {limit_s:g} s; "
                f"the last it told was `{last}`"
            )
        return found

    def first(self, kind: str, **wanted: Any) -> tuple[float, Event] | None:
        """The first such event that has come, if one has."""
        for at, event in self._told:
            if event["type"] == kind and all(event.get(k) == v for k, v in wanted.items()):
                return at, event
        return None

    def all_of(self, kind: str) -> list[Event]:
        return [event for _, event in self._told if event["type"] == kind]

    async def _listen(self, client: Client) -> None:
        with contextlib.suppress(UnreachableError):
            async for event in client.events(since=0, reconnect=False):
                async with self._more:
                    self._told.append((time.monotonic(), event))
                    self._more.notify_all()
