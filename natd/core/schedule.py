"""When to do things next: the earliest of several timers, jitter, and growing waits."""

from random import Random


def earliest(*timers: float | None) -> float | None:
    """The first of several instants; None stands for never."""
    return min((timer for timer in timers if timer is not None), default=None)


def jittered(wait_s: float, share: float, random: Random) -> float:
    """`wait_s`, moved by up to `share` of itself either way, so that many do not act as one."""
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
        """On to the next wait; False when that was the last one, and the ladder has stopped."""
        self._step += 1
        if self._step == len(self._waits_s):
            self.due_at = None
            return False
        self.due_at = now + self._waits_s[self._step]
        return True
