"""How many packets a second go to addresses that have not answered: guesses and checks together.

Words to servers count as checks: members that nobody reaches have us ask for them, each of them.

Rules:
- No second in which a guess leaves has more than `MOST` of them, whatever made us send.  With what
  goes to servers and over paths, that stays below 500.
- Guesses make room for checks, which are fewer and likelier to arrive; but where made-up members
  have us check without end, guesses keep most of the second.
- Without guesses nothing is held back here: each address and all of them have budgets of their own.
"""

from collections import deque

SECOND_S = 1.0

MOST = 485
"""The rest of 500 is for leases at servers, calls on our link, and paths that stand."""

MOST_WITH_A_GUESS = 455
"""Guesses leave this much room for the checks of the same moment."""

MOST_CHECKS = 128
"""While guesses wait or leave: as many as all addresses get for long (`budget`)."""

REMEMBERED = 1_024
"""More than is asked for: beyond `MOST` nothing is counted any further."""


class Pace:
    """See the top of this file."""

    def __init__(self) -> None:
        self._checks: deque[float] = deque(maxlen=REMEMBERED)
        self._guesses: deque[float] = deque(maxlen=REMEMBERED)
        # When a guess last left or had to wait; None: never.
        self._wanted_at: float | None = None

    def room(self, now: float) -> int:
        """How many guesses may leave at this instant; some are wanted."""
        self._wanted_at = now
        return max(0, MOST_WITH_A_GUESS - self._in_this_second(now))

    def guessed(self, now: float) -> None:
        self._guesses.append(now)

    def may_check(self, now: float) -> bool:
        """Whether one more check, or word to a server, may leave at this instant."""
        if self._wanted_at is None or now - self._wanted_at >= SECOND_S:
            return True
        return self._in_this_second(now) < MOST and len(self._checks) < MOST_CHECKS

    def checked(self, now: float, count: int = 1) -> None:
        """These have left."""
        self._checks.extend([now] * count)

    def _in_this_second(self, now: float) -> int:
        for instants in (self._checks, self._guesses):
            while instants and instants[0] <= now - SECOND_S:
                instants.popleft()
        return len(self._checks) + len(self._guesses)
