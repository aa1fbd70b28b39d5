"""Requests in the peer's checks for more than an answer, and when we grant them.

    ANSWER-AFTER n   the answer, n seconds later: does the asker's NAT still let it in by then?
    GUESS-US         probes over the range of the asker's NAT, for a flow to take the place of one
    OPEN-TO port     a low-TTL opener to that port of the asker's host, which it is to send from

Rules:
- An answer or an opener is one small packet, as large as the check that asked, to the same host.
- An opener goes only to the host of the path in use, and each other port is another entry in our
  NAT's table: no more are sent than spare flows need.
- Between neighbours an opener arrives, whatever its TTL.  It asks for an answer and nothing else,
  or either side would keep a spare flow as a path.
- Guesses go to the host of the path in use, within the budgets of an escalation (`turns`), and a
  token bucket limits their waves.
- At most `MOST_LATER` delayed answers wait; further requests get none.
"""

from natd.core.base.timers import TokenBucket
from natd.core.base.types import LOWEST_PORT, Datagram, SocketId
from natd.core.checks.checks import LOW_TTL, NO_DELAY, Check, Checks

MOST_LATER = 4
"""A spare and a retired flow ask for one answer at a time; doubled for a restarted peer."""

LONGEST_LATER_S = 300

OPENERS_RATE, OPENERS_BURST = 1.0, 8.0
"""Openers a second, and at once: a spare flow asks three times, another one seconds later."""

GRANTS_RATE, GRANTS_BURST = 1.0 / 15.0, 3.0
"""Waves of guesses a second and at once: a peer that needs one asks twice a minute, and asks again
if that was lost."""


class RequestsOfPeer:
    """See the top of this file."""

    def __init__(self, checks: Checks) -> None:
        self.due_at: float | None = None
        """When the next delayed answer leaves; None: none waits."""
        self._checks = checks
        self._openers = TokenBucket(OPENERS_RATE, OPENERS_BURST)
        self._guesses = TokenBucket(GRANTS_RATE, GRANTS_BURST)
        self._later: list[tuple[float, Datagram]] = []

    def answer_later(self, check: Check, now: float) -> None:
        """Keep the answer to this check until it is wanted."""
        wait_s = check.answer_after_s or 0
        if wait_s <= LONGEST_LATER_S and len(self._later) < MOST_LATER:
            self._later.append((now + wait_s, check.answer))
            self._set_timer()

    def open(self, check: Check, now: float) -> list[Datagram]:
        """The opener that a check on the path in use asks for."""
        port = check.open_to
        if port is None or port < LOWEST_PORT or not self._openers.take(now):
            return []
        address, socket = check.key
        place = address._replace(port=port)
        return [self._checks.request(place, socket, now, LOW_TTL, NO_DELAY)]

    def grants_guesses(self, now: float) -> bool:
        """Whether to grant a wave of guesses now to the peer, which asked on the path in use."""
        return self._guesses.take(now)

    def drop(self) -> None:
        """The peer is gone: drop its delayed answers."""
        self._later.clear()
        self._set_timer()

    def take_due(self, now: float) -> list[Datagram]:
        """The answers that leave now.  Drains."""
        due = [answer for at, answer in self._later if at <= now]
        self._later = [(at, answer) for at, answer in self._later if at > now]
        self._set_timer()
        return due

    @property
    def sockets(self) -> frozenset[SocketId]:
        """Sockets from which delayed answers will leave."""
        return frozenset(answer.socket for _, answer in self._later)

    def _set_timer(self) -> None:
        self.due_at = min((at for at, _ in self._later), default=None)
