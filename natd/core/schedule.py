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
