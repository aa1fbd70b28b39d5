"""What a router granted for our port by one protocol: when to ask, and when it is gone.

    asking --granted--> held --half its lifetime--> asking again ... --expired--> asking
       `--no answer, refused--> resting 1, 2, 4 ... 15 min --> asking

Silence takes nothing away before its time; a refusal does.
"""

from natd.core.base.timers import Ladder, backed_off, earliest
from natd.core.base.types import Address

LONGEST_LIFETIME_S = 86400
SHORTEST_RENEWAL_S = 15.0

MAP_LADDER_S = (0.25, 0.5, 1.0, 2.0)
"""Waits for an answer: RFC 6886 begins so.  The router is near; one that says nothing for
four seconds has nothing to say."""

REST_FIRST_S = 60.0
REST_LONGEST_S = 900.0
"""A router that was updated or switched on later is found all the same."""

EPOCH_SHARE = 0.125
EPOCH_SLACK_S = 2.0
"""How far the router's clock may leave ours (RFC 6886, section 3.6; RFC 6887, section 8.5)."""


class Grant:
    """One protocol's mapping: when to ask for it and when it is gone."""

    def __init__(self) -> None:
        self.external: Address | None = None  # None: nothing is mapped
        self.last: Address | None = None  # what was mapped before; None: nothing ever
        self.refusal: str | None = None  # None: yes, or silence
        self.awaits_owner = False
        self._ladder = Ladder(MAP_LADDER_S)
        self._ask_at: float | None = None  # None: asking, or ended
        self._expires_at: float | None = None  # None: nothing is mapped
        self._failures = 0

    @property
    def is_asking(self) -> bool:
        return self._ladder.due_at is not None or self.awaits_owner

    def begin(self, now: float) -> None:
        self._ask_at = None
        self._ladder.start(now)

    def take_due(self, now: float) -> bool:
        """Whether to send a request now."""
        if self._expires_at is not None and self._expires_at <= now:
            self._drop()
        if self._ask_at is not None and self._ask_at <= now:
            self.begin(now)
            return True
        if self._ladder.is_due(now):
            if self._ladder.climb(now):
                return True
            self._rest(now)
        return False

    def await_owner(self) -> None:
        self._ladder.stop()
        self.awaits_owner = True

    def hold(self, external: Address, lifetime_s: int, now: float) -> None:
        self._stop_asking()
        lifetime = min(max(lifetime_s, 2 * SHORTEST_RENEWAL_S), LONGEST_LIFETIME_S)
        self.external = self.last = external
        self.refusal = None
        self._failures = 0
        self._expires_at = now + lifetime
        self._ask_at = now + lifetime / 2

    def refused(self, reason: str | None, now: float) -> None:
        """`reason` None: the router does not know the protocol."""
        self._drop()
        self.refusal = reason
        self._rest(now)

    def hasten(self, at: float) -> None:
        """Ask again at `at`, if not before."""
        if self._ask_at is not None:
            self._ask_at = min(self._ask_at, at)

    def end(self) -> None:
        self._stop_asking()
        self._drop()
        self._ask_at = None

    def get_timer(self) -> float | None:
        return earliest(self._ladder.due_at, self._ask_at, self._expires_at)

    def _rest(self, now: float) -> None:
        self._stop_asking()
        wait_s = backed_off(self._failures, REST_FIRST_S, REST_LONGEST_S)
        self._failures += 1
        if self._expires_at is not None:
            wait_s = min(wait_s, max(SHORTEST_RENEWAL_S, (self._expires_at - now) / 2))
        self._ask_at = now + wait_s

    def _stop_asking(self) -> None:
        self._ladder.stop()
        self.awaits_owner = False

    def _drop(self) -> None:
        self.external = self._expires_at = None


class Epoch:
    """A router's clock beside ours (RFC 6886, section 3.6; RFC 6887, section 8.5)."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None  # epoch and our instant; None: never heard

    def jumps(self, epoch_s: int, now: float) -> bool:
        """Whether this is not the clock of before: the router has restarted, or we slept."""
        departs = self.departs(epoch_s, now)
        self._last = (epoch_s, now)
        return departs

    def departs(self, epoch_s: int, now: float) -> bool:
        """The same of a clock that is not to be kept."""
        if self._last is None:
            return False
        passed_s = now - self._last[1]
        drift_s = epoch_s - self._last[0] - passed_s
        return abs(drift_s) > passed_s * EPOCH_SHARE + EPOCH_SLACK_S
