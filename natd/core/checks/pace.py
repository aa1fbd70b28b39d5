"""How many packets a second go to addresses that have not answered: guesses and checks together.

Requests to servers count as checks: each unreachable member makes us ask for introductions.

Rules:
- No second in which a guess leaves has more than `MOST` packets, whatever their cause.  With
  packets to servers and on paths that stays below 500.
- Guesses make room for checks, which are fewer and likelier to arrive; but if made-up members cause
  checks without end, guesses keep most of the second.
- Without guesses nothing is held back here: `budget` limits each address and their total.
"""

from collections import deque

SECOND_S = 1.0

MOST = 485
"""The rest of 500 is for leases at servers, calls on our link, and established paths."""

MOST_WITH_A_GUESS = 455
"""With guesses among them: leaves the rest of `MOST` for checks at the same moment."""

MOST_CHECKS = 128
"""While guesses wait or leave: the long-term rate of all addresses (`budget.TOTAL_RATE`)."""

REMEMBERED = 1_024
"""Packets remembered; more than `MOST`, beyond which counting makes no difference."""


class Pace:
    """See the top of this file."""

    def __init__(self) -> None:
        self._checks: deque[float] = deque(maxlen=REMEMBERED)
        self._guesses: deque[float] = deque(maxlen=REMEMBERED)
        # When a guess last left or waited; None: never.
        self._wanted_at: float | None = None

    def room(self, now: float) -> int:
        """How many guesses may leave now; some are waiting."""
        self._wanted_at = now
        return max(0, MOST_WITH_A_GUESS - self._in_this_second(now))

    def guessed(self, now: float) -> None:
        self._guesses.append(now)

    def may_check(self, now: float) -> bool:
        """Whether one more check or request to a server may leave now."""
        if self._wanted_at is None or now - self._wanted_at >= SECOND_S:
            return True
        return self._in_this_second(now) < MOST and len(self._checks) < MOST_CHECKS

    def checked(self, now: float, count: int = 1) -> None:
        """These packets have left."""
        self._checks.extend([now] * count)

    def _in_this_second(self, now: float) -> int:
        for instants in (self._checks, self._guesses):
            while instants and instants[0] <= now - SECOND_S:
                instants.popleft()
        return len(self._checks) + len(self._guesses)
