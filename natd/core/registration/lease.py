"""A lease: for how long the server keeps us on its list, and when to ask it to.

begin ─► wait ─► refresh ─► answered: wait again
                    └─► refresh again on a ladder ─► silent: the server is lost
"""

from enum import Enum, auto
from random import Random

from natd.core.base.timers import Ladder, earliest, jittered

REFRESH_LADDER_S = (1.0, 2.0, 4.0)
"""Waits for the answer to a refresh, and how many may go unanswered."""

REFRESH_S = 20.0
REFRESH_JITTER = 0.25
"""Below the 30 s after which the most impatient NATs forget a mapping (RFC 4787 asks for 120)."""

REFRESHES_PER_SAMPLE = 3
"""A fresh mapping a minute shows drift and poisoning, and costs one small packet."""


class Renewal(Enum):
    """What a lease asks for."""

    REFRESH = auto()
    REFRESH_AND_SAMPLE = auto()
    GIVE_UP = auto()
    """No refresh was answered."""


class Tenure:
    """The lease at one server."""

    def __init__(self, random: Random) -> None:
        self.lease_id: bytes | None = None
        """None: there is no lease."""
        self._random = random
        self._ladder = Ladder(REFRESH_LADDER_S)
        self._refresh_at: float | None = None
        self._refreshes = 0

    @property
    def due_at(self) -> float | None:
        return earliest(self._refresh_at, self._ladder.due_at)

    def begin(self, lease_id: bytes, now: float) -> None:
        self.lease_id = lease_id
        self.renewed(now)

    def renewed(self, now: float) -> None:
        """The server has answered."""
        self._ladder.stop()
        self._refresh_at = now + jittered(REFRESH_S, REFRESH_JITTER, self._random)

    def end(self) -> None:
        self.lease_id = self._refresh_at = None
        self._ladder.stop()

    def take_due(self, now: float) -> Renewal | None:
        """What is to be done at `now`, and the next wait."""
        if self._refresh_at is not None and self._refresh_at <= now:
            self._refresh_at = None
            self._ladder.start(now)
            self._refreshes += 1
            samples = self._refreshes % REFRESHES_PER_SAMPLE == 0
            return Renewal.REFRESH_AND_SAMPLE if samples else Renewal.REFRESH
        if self._ladder.is_due(now):
            return Renewal.REFRESH if self._ladder.climb(now) else Renewal.GIVE_UP
        return None
