"""An asyncio event loop without sockets, threads or a clock of its own.

    loop = VirtualLoop(lambda: now)
    with loop.running():
        loop.create_task(...)
    loop.turn()              run whatever is ready or due
    loop.due_at()            when `turn` is wanted next

Its time is what the caller says.  Work for other threads is done at once, in place.
"""

import asyncio
import math
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MOST_TURNS = 10_000
"""At one instant; beyond that something calls itself again and again."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the top of this file."""

    # What asyncio keeps for its own loops, and tells no types of.
    _ready: deque[Any]
    _scheduled: list[asyncio.TimerHandle]
    _run_once: Callable[[], None]

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._selector = _NoSelector()
        self.failures: list[str] = []
        """What was raised and caught by nobody."""
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._now()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the running loop for calls from outside."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(before)

    def turn(self) -> None:
        """Run until nothing is ready and nothing due."""
        with self.running():
            # Nothing comes early, or it would come again at the same instant.
            self._clock_resolution = math.ulp(self.time())
            for _ in range(MOST_TURNS):
                due = self.due_at()
                if not self._ready and (due is None or due > self.time()):
                    return
                self._run_once()
        raise AssertionError("an event loop does not come to rest")

    def due_at(self) -> float | None:
        """When the next timer is due; None when there is none."""
        if self._ready:
            return self.time()
        return min((h.when() for h in self._scheduled if not h.cancelled()), default=None)

    def run_in_executor(  # type: ignore[override]  # a future as good as any
        self, _executor: Any, work: Callable[..., Any], *arguments: Any
    ) -> "asyncio.Future[Any]":
        future = self.create_future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    # --- what BaseEventLoop asks of a real loop

    def _process_events(self, _events: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failures.append(f"{context.get('message')}: {error!r}")


class _NoSelector:
    def select(self, _timeout: float | None) -> list[Any]:
        return []
