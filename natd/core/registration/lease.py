"""Getting a lease from a server, and renewing it.

A lease says how long the server keeps us on its list.  To get one:

    begin --ladder--> give up --> retry later, one at a time, with growing waits --> end
                 \\-- a challenge begins the ladder again --/

To keep it:

    begin ─► wait ─► refresh ─► answered: wait again
                        └─► refresh again on a ladder ─► silent: the server is lost
"""

from enum import Enum, auto
from random import Random

from natd.core.base.timers import Ladder, backed_off, jittered

REGISTER_LADDER_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 2.7)
"""Waits between transmissions: dense at first, so that one loss is not noticed; nine seconds
together, because after ten a user wants to know that no server answers."""

RETRY_LIMIT_S = 15.0
"""Without a server we find no new peers, so its return should be noticed soon; a padded REGISTER
this often is 70 bytes a second."""

RETRY_JITTER = 0.3

RETRY_FIRST_S = 1.0
REFUSED_FIRST_S = 5.0
"""A server that refused us will hardly accept us a second later."""

RESTART_SPREAD_S = 1.0
"""Refreshes are spread over 10 s already; this separates those that fell together."""

CHALLENGES_IN_A_ROW = 3
"""So many are answered at once; further challenges are answered on the ladder."""

MOMENT_S = 0.003
"""Answers to datagrams that left together arrive this close to each other."""

REFRESH_LADDER_S = (1.0, 2.0, 4.0)
"""Waits for the answer to a refresh, and how many may go unanswered."""

REFRESH_S = 20.0
REFRESH_JITTER = 0.25
"""Below the 30 s after which the most impatient NATs forget a mapping (RFC 4787 asks for 120)."""

REFRESHES_PER_SAMPLE = 3
"""A fresh mapping a minute shows drift and poisoning, and costs one small packet."""


class RegisterAction(Enum):
    REGISTER = auto()
    GIVE_UP = auto()
    """The ladder has ended without an answer."""


class RegisterRetries:
    """When to send a REGISTER: on a dense ladder first, then with growing waits."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.ladder = Ladder(REGISTER_LADDER_S)
        self.paused_until: float | None = None
        """When to go on; None: the ladder runs, or nothing is due."""
        self._first_wait_s: float | None = None
        """First wait of the retries; None: we have not given up."""
        self._retries = 0
        self._challenges = 0

    def use(self, waits_s: tuple[float, ...]) -> None:
        """Of several addresses each is asked once on the ladder."""
        self.ladder = Ladder(waits_s)

    def begin(self, now: float) -> None:
        """A REGISTER was sent: repeat it on the ladder."""
        self._challenges = 0
        self._start_ladder(now)

    def begin_soon(self, now: float, *, is_restart: bool) -> None:
        """The server knows us no longer; after its restart all its peers come back at once."""
        wait_s = self._random.uniform(0.0, RESTART_SPREAD_S) if is_restart else 0.0
        self._challenges = 0
        self.ladder.stop()
        self._first_wait_s = None
        self.paused_until = now + wait_s

    def challenged(self, now: float) -> None:
        """Answer a challenge after `MOMENT_S`: the samples requested with it are just arriving, so
        the card in our answer can include what they show of our NAT."""
        self._challenges += 1
        if self._challenges <= CHALLENGES_IN_A_ROW:
            self.ladder.stop()
            self._first_wait_s = None
            self.paused_until = now + MOMENT_S

    def retry_later(self, now: float, *, is_refused: bool) -> None:
        """Give up for now; waits grow."""
        self._give_up(REFUSED_FIRST_S if is_refused else RETRY_FIRST_S, now)

    def _give_up(self, first_wait_s: float, now: float) -> None:
        self.ladder.stop()
        self._first_wait_s = first_wait_s
        wait_s = backed_off(self._retries, first_wait_s, RETRY_LIMIT_S)
        self._retries += 1
        self.paused_until = now + min(RETRY_LIMIT_S, jittered(wait_s, RETRY_JITTER, self._random))

    def forget_failures(self) -> None:
        """Start counting failures from zero."""
        self._retries = self._challenges = 0

    def end(self) -> None:
        """Registered, or stopped: nothing is due."""
        self.forget_failures()
        self.ladder.stop()
        self._first_wait_s = self.paused_until = None

    def take_due(self, now: float) -> RegisterAction | None:
        """What to do at `now`; sets the next wait."""
        if self.paused_until is not None and self.paused_until <= now:
            self.paused_until = None
            if self._first_wait_s is None:
                self.ladder.start(now)
            else:
                self._give_up(self._first_wait_s, now)
            return RegisterAction.REGISTER
        if self.ladder.is_due(now):
            return RegisterAction.REGISTER if self.ladder.climb(now) else RegisterAction.GIVE_UP
        return None

    def _start_ladder(self, now: float) -> None:
        self._first_wait_s = self.paused_until = None
        self.ladder.start(now)


class LeaseAction(Enum):
    """What to do to keep a lease."""

    REFRESH = auto()
    REFRESH_AND_SAMPLE = auto()
    GIVE_UP = auto()
    """No refresh was answered."""


class Lease:
    """The lease at one server."""

    def __init__(self, random: Random) -> None:
        self.lease_id: bytes | None = None
        """None: there is no lease."""
        self._random = random
        self.ladder = Ladder(REFRESH_LADDER_S)
        self.refresh_at: float | None = None
        self._refreshes = 0

    def begin(self, lease_id: bytes, now: float) -> None:
        self.lease_id = lease_id
        self.renewed(now)

    def renewed(self, now: float) -> None:
        """The server has answered."""
        self.ladder.stop()
        self.refresh_at = now + jittered(REFRESH_S, REFRESH_JITTER, self._random)

    def end(self) -> None:
        self.lease_id = self.refresh_at = None
        self.ladder.stop()

    def take_due(self, now: float) -> LeaseAction | None:
        """What to do at `now`; sets the next wait."""
        if self.refresh_at is not None and self.refresh_at <= now:
            self.refresh_at = None
            self.ladder.start(now)
            self._refreshes += 1
            samples = self._refreshes % REFRESHES_PER_SAMPLE == 0
            return LeaseAction.REFRESH_AND_SAMPLE if samples else LeaseAction.REFRESH
        if self.ladder.is_due(now):
            return LeaseAction.REFRESH if self.ladder.climb(now) else LeaseAction.GIVE_UP
        return None
