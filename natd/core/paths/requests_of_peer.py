"""What a check of the peer's asks for besides its answer, and when it is granted.

    ANSWER-AFTER n   the answer, n seconds later: does the asker's NAT still let it in by then?
    GUESS-US         probes over the range of the asker's NAT, for a flow to take the place of one
    OPEN-TO port     a low-TTL opener to that port of the asker's host, which it is to send from

Rules:
- A favour is worth one small packet, as large as the one that asked for it, to the host that asked.
- An opener goes only where the path in use shows that host to be the peer's, and each one to
  another port is another entry in our NAT's table: no more go out than spare flows ask for.
- Guesses go to the host of the path in use, within the budgets of an escalation (`turns`), and a
  wave of them is not granted again before its allowance is back.
- A check that was here before buys nothing.
- Answers that wait are few; beyond `MOST_LATER` the asker gets none.
"""

from collections import deque

from natd.core.base.timers import Allowance, earliest
from natd.core.base.types import Address, Datagram, SocketId
from natd.core.checks.candidates import LOWEST_PORT
from natd.core.checks.checks import ANSWER_AFTER, GUESS_US, LOW_TTL, OPEN_TO, Checks
from natd.core.codec import stun

MOST_LATER = 4
"""A spare flow and a retired one ask for one at a time; twice that for a peer that is restarted."""

LONGEST_LATER_S = 300

OPENERS_RATE, OPENERS_BURST = 1.0, 8.0
"""A second and at once: a spare flow asks three times, and another one seconds later."""

GUESSES_RATE, GUESSES_BURST = 1.0 / 15.0, 3.0
"""A second and at once: who needs it does so twice a minute, and asks again if that was lost."""

RECENT_CHECKS = 256
"""How many checks of the peer's are remembered."""


def seconds(value: int) -> bytes:
    """The value of an attribute that counts seconds, or names a port."""
    return value.to_bytes(2, "big")


class Favours:
    """See the top of this file."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._openers = Allowance(OPENERS_RATE, OPENERS_BURST)
        self._guesses = Allowance(GUESSES_RATE, GUESSES_BURST)
        self._later: list[tuple[float, Datagram]] = []
        self._recent: deque[bytes] = deque(maxlen=RECENT_CHECKS)  # their transactions
        self._datagrams: list[Datagram] = []

    def is_new(self, message: stun.StunMessage) -> bool:
        """Whether this check was not here before; from now on it was."""
        if message.transaction in self._recent:
            return False
        self._recent.append(message.transaction)
        return True

    def answer(self, message: stun.StunMessage, response: Datagram, now: float) -> bool:
        """Send the answer to a check of the peer's, now or later; False where the check asks to
        be answered and nothing else."""
        delay = number(message, ANSWER_AFTER)
        if not delay:
            self._datagrams.append(response)
        elif delay <= LONGEST_LATER_S and len(self._later) < MOST_LATER:
            self._later.append((now + delay, response))
        return delay is None

    def open(self, message: stun.StunMessage, in_use: tuple[Address, SocketId], now: float) -> None:
        """The path in use brought this check: grant what it asks for besides the answer."""
        port = number(message, OPEN_TO)
        if port is not None and port >= LOWEST_PORT and self._openers.take(now):
            address = in_use[0]._replace(port=port)
            self._datagrams.append(self._checks.request(address, in_use[1], now, LOW_TTL))

    def grants_guesses(self, message: stun.StunMessage, now: float) -> bool:
        """The path in use brought this check: whether it asks us to guess, and may."""
        return message.get(GUESS_US) is not None and self._guesses.take(now)

    def clear(self) -> None:
        self._later.clear()

    def handle_timer(self, now: float) -> None:
        due = [answer for at, answer in self._later if at <= now]
        if due:
            self._later = [(at, answer) for at, answer in self._later if at > now]
            self._datagrams += due

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def get_timer(self) -> float | None:
        return earliest(*(at for at, _ in self._later))

    @property
    def sockets(self) -> frozenset[SocketId]:
        """Those that an answer is still to leave from."""
        return frozenset(answer.socket for _, answer in self._later)


def number(message: stun.StunMessage, attribute: int) -> int | None:
    """The value of an attribute of two bytes; None without one."""
    value = message.get(attribute)
    return int.from_bytes(value, "big") if value is not None and len(value) == 2 else None
