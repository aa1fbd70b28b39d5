"""Whom our NAT lets in (RFC 4787, section 5): what trials tell of it, and when to make them.

In a *trial* a fresh socket asks one port of a server, and is answered from there, so that the
question is known to have come and the way back to be open; and also from elsewhere, whence nobody
was asked (RFC 5780, section 4.4):

                              from another port        from another host
    independent               comes                    comes
    by address                comes                    does not
    by address and port       does not                 does not

What it decides: towards an easy side that does not filter by port nobody guesses ports before
plain checks have failed (`natd.core.prediction.strategy`).  The rest is for `natctl doctor`.

Rules:
- What comes is a proof.  What does not may have been lost, so it takes a row of trials to be sure
  of a class that nothing comes through.
- Where no other host can answer, independent and by address are as likely as each other.
- A round of trials ends with the first that says what is known for sure; one that says something
  else is the first of a new picture, and the old one counts no more.
- While ports are guessed, and each of ours counts, none is taken for it.
- What is known is of the NAT that showed us at one address, and of no other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from natd.core.base.local_ports import FILTER_TRIALS
from natd.core.base.types import SURE, Filtering, SocketId

FILTERINGS = (Filtering.DEPENDENT, Filtering.ADDRESS_DEPENDENT, Filtering.INDEPENDENT)
"""The strictest first: of two that are as likely as each other it claims less."""

LOST = 0.5
"""Of the answers from elsewhere on a bad path, whose other answers came: four or five silent
trials are needed to be sure, of which a path that loses one packet in twenty makes one mistake in
100,000."""

STRAY = 1e-6
"""That something comes which the class would not let in: it repeats eight random bytes of ours."""

TRIALS = 8
"""Of a round: five, and three whose question or plain answer was lost."""

FIRST_WAIT_S = 4.0
"""After the registration, when what it was for, and the survey of a sequence, is over: each trial's
socket takes a port of the NAT's."""

AGAIN_WAIT_S = 600.0
"""A NAT hardly ever changes its mind; one datagram of ours in this time notices, or the next one
where what would have told of it was lost."""

PUT_OFF_S = 2.0
"""After an attempt that counts on each port of our NAT's has last been seen to run."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came in one; None: nothing was sent from there, as far as is known."""

    from_port: bool | None = None
    from_host: bool | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What trials have told."""

    filtering: Filtering = Filtering.UNKNOWN
    confidence: float = 0.0
    """0 to 1."""
    host: str = ""
    """Of ours, as the server saw it."""

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host


def judge(trials: Iterable[Trial]) -> tuple[Filtering, float]:
    """The likeliest class, and how likely it is; unknown where nothing was answered."""
    weights = dict.fromkeys(FILTERINGS, 1.0)
    is_told = False
    for trial in trials:
        for came, host in ((trial.from_port, False), (trial.from_host, True)):
            if came is not None:
                is_told = True
                for filtering in FILTERINGS:
                    let_in = 1.0 - LOST if lets_in(filtering, host=host) else STRAY
                    weights[filtering] *= let_in if came else 1.0 - let_in
    if not is_told:
        return Filtering.UNKNOWN, 0.0
    best = max(FILTERINGS, key=lambda filtering: weights[filtering])
    return best, weights[best] / sum(weights.values())


def lets_in(filtering: Filtering, *, host: bool) -> bool:
    """Whether a packet of another port, or of another host, than we have sent to comes in."""
    if host:
        return filtering is Filtering.INDEPENDENT
    return filtering in (Filtering.INDEPENDENT, Filtering.ADDRESS_DEPENDENT)


def are_enough(known: Known, trials: Sequence[Trial], *, asks_hosts: bool) -> bool:
    """Whether those of a round so far confirm what is known; `asks_hosts`: whether another host is
    to answer, which tells two classes apart."""
    needs_host = asks_hosts and known.filtering is not Filtering.DEPENDENT
    telling = [trial for trial in trials if trial.from_host is not None or not needs_host]
    return bool(telling) and all(confirms(known, trial) for trial in trials)


def confirms(known: Known, trial: Trial) -> bool:
    """Whether it says what is known, and nothing that is not."""
    if known.confidence < SURE and (trial.from_host is not None or not trial.from_port):
        return False
    seen = ((trial.from_port, False), (trial.from_host, True))
    told = [(came, host) for came, host in seen if came is not None]
    return bool(told) and all(came == lets_in(known.filtering, host=host) for came, host in told)


class FilterWatch:
    """What is known of whom our NATs let in, and when to ask."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Another network: nothing is known."""
        self._known: list[Known] = []
        """One for each NAT, the newest last."""
        self.round_at: float | None = None
        """When to call `take_round`; None: nobody to ask has been met."""

    def plan(self, now: float) -> None:
        """A server has just seen us, elsewhere or otherwise than before: ask soon."""
        soon = now + FIRST_WAIT_S
        self.round_at = soon if self.round_at is None else min(soon, self.round_at)

    def put_off(self, now: float) -> None:
        """An attempt runs that counts on each port of ours: a round would take one."""
        if self.round_at is not None:
            self.round_at = max(self.round_at, now + PUT_OFF_S)

    def take_round(self, main_port: int, now: float) -> SocketId | None:
        """The socket for a round of trials, as an id that names a local port; None: not yet.
        Drains."""
        if self.round_at is None or now < self.round_at:
            return None
        self.round_at = now + AGAIN_WAIT_S
        # By the clock, so that two rounds differ even where the daemon was restarted in between.
        return SocketId(FILTER_TRIALS[(main_port + int(now)) % len(FILTER_TRIALS)])

    def known_at(self, host: str) -> Known:
        """Of the NAT that shows us there."""
        return next((known for known in self._known if known.host == host), Known())

    def conclude(self, known: Known) -> None:
        """What a round has told; a NAT that has shown us elsewhere before is another one."""
        self._known = [each for each in self._known if each.is_ipv6 != known.is_ipv6]
        self._known.append(known)
