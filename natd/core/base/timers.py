"""When to do things: the earliest of several timers, jitter, waits that grow, rates, Unix time."""

import heapq
from random import Random
from typing import Generic, TypeVar

_Key = TypeVar("_Key")

TIMER_QUEUE_SLACK = 64
"""A heap is swept when more than this and three quarters of it are out of date."""


def earliest(*timers: float | None) -> float | None:
    """The first of several instants; None stands for never."""
    first: float | None = None
    for timer in timers:
        if timer is not None and (first is None or timer < first):
            first = timer
    return first


def jittered(wait_s: float, share: float, random: Random) -> float:
    """`wait_s`, changed at random by up to `share` of itself, so that many don't act at once."""
    return wait_s * (1.0 + share * (2.0 * random.random() - 1.0))


def backed_off(attempt: int, first_s: float, limit_s: float) -> float:
    """The wait before retry number `attempt` (0, 1, ...): doubling up to `limit_s`."""
    return min(limit_s, first_s * 2.0 ** min(attempt, 32))


class Ladder:
    """When to ask again: waits that begin dense and end; `due_at` is None when none runs."""

    def __init__(self, waits_s: tuple[float, ...]) -> None:
        self._waits_s = waits_s
        self._step = 0
        self.due_at: float | None = None

    def start(self, now: float) -> None:
        self._step = 0
        self.due_at = now + self._waits_s[0]

    def stop(self) -> None:
        self.due_at = None

    def is_due(self, now: float) -> bool:
        return self.due_at is not None and self.due_at <= now

    def climb(self, now: float) -> bool:
        """Begin the next wait; False if that was the last one and the ladder has stopped."""
        self._step += 1
        if self._step == len(self._waits_s):
            self.due_at = None
            return False
        self.due_at = now + self._waits_s[self._step]
        return True


class TokenBucket:
    """A token bucket: `rate` a second, and at most `burst` that were saved up."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._left = burst
        self._counted_at = 0.0

    def take(self, now: float) -> bool:
        """Take one token; False if there is none."""
        self._count(now)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def left(self, now: float) -> float:
        self._count(now)
        return self._left

    def is_full(self, now: float) -> bool:
        """Whether it is full again, so that a new bucket would be the same."""
        self._count(now)
        return self._left == self._burst

    def _count(self, now: float) -> None:
        since_s, self._counted_at = now - self._counted_at, now
        self._left = min(self._burst, self._left + since_s * self._rate)


class KeyedTokenBuckets:
    """A token bucket for each of many keys, so that no key uses up the tokens of others."""

    def __init__(self, rate: float, burst: float, most: int) -> None:
        """`most` keys are remembered; while so many have taken tokens lately, other keys get
        none."""
        self._rate, self._burst, self._most = rate, burst, most
        self._of: dict[str | bytes, TokenBucket] = {}

    def take(self, key: str | bytes, now: float) -> bool:
        """Take one token of `key`; False if there is none."""
        bucket = self._of.get(key)
        if bucket is None:
            if len(self._of) >= self._most:
                self._of = {k: a for k, a in self._of.items() if not a.is_full(now)}
            if len(self._of) >= self._most:
                return False
            bucket = self._of[key] = TokenBucket(self._rate, self._burst)
        return bucket.take(now)


class TimerQueue(Generic[_Key]):
    """Many timers, of which one changes at a time: costs log n, not n."""

    def __init__(self) -> None:
        self._at: dict[_Key, float] = {}
        self._heap: list[tuple[float, int, _Key]] = []  # outdated entries are skipped
        self._entries = 0

    def set(self, key: _Key, at: float | None) -> None:
        """The timer of `key` is at that instant from here on; None for never."""
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            self._push(key, at)
            if len(self._heap) > 4 * len(self._at) + TIMER_QUEUE_SLACK:
                self._heap.clear()
                for each, its in self._at.items():
                    self._push(each, its)

    def due(self, now: float) -> list[_Key]:
        """The keys whose timers are due, in order of their instants; each counts as fired."""
        fired: list[_Key] = []
        while (at := self.get_timer()) is not None and at <= now:
            key = self._heap[0][2]
            del self._at[key]
            fired.append(key)
        return fired

    def get_timer(self) -> float | None:
        """The earliest of all."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _push(self, key: _Key, at: float) -> None:
        self._entries += 1
        heapq.heappush(self._heap, (at, self._entries, key))


class WallClock:
    """Unix time, as the shell tells it: a core reads no clock.

    It decides one thing, whether a REGISTER may be of this moment (`coordinator/freshness.py`), and
    there a wrong clock costs one round trip.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None  # None: the shell has not told it

    def set(self, unix_s: float, now: float) -> None:
        self._offset_s = unix_s - now

    def unix_ms(self, now: float) -> int:
        """0 while it was not told."""
        return 0 if self._offset_s is None else max(0, round((now + self._offset_s) * 1000))
