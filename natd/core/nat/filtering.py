"""What our NAT lets in (RFC 4787, section 5): how trials tell, and when to make them.

In a *trial* a fresh socket asks one port of a server and is answered from there, which shows that
the question has arrived and that the way back is open; and also from places that the socket has
sent nothing to (RFC 5780, section 4.4):

                                 from another port      from another host
    endpoint-independent         arrives                arrives
    address-dependent            arrives                does not
    address-and-port-dependent   does not               does not

What it decides: towards an easy side that does not filter by port nobody guesses ports before
plain checks have failed (`natd.core.prediction.strategy`).  The rest is for `natctl doctor`.

Rules:
- An answer that arrives is proof.  One that does not may have been lost, so it takes several
  trials to be sure of a class that nothing gets through.
- Where no other host can answer, endpoint-independent and address-dependent are equally likely.
- A round ends with its first trial if that confirms what is known.  If it contradicts, the round
  goes on, and its result replaces what was known.
- No trial is made while ports are being guessed: each would take a port of our NAT.
- A result is about the NAT with one external address, and about no other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from natd.core.base.local_ports import FILTER_TRIALS
from natd.core.base.types import SURE, Filtering, SocketId

FILTERINGS = (Filtering.DEPENDENT, Filtering.ADDRESS_DEPENDENT, Filtering.INDEPENDENT)
"""The strictest first: where two are equally likely, it claims less."""

LOST = 0.5
"""The assumed share of answers from elsewhere that are lost, far more than on a bad path.  So it
takes four or five silent trials to be sure, and a path that loses one packet in twenty causes one
mistake in 100,000."""

STRAY = 1e-6
"""The chance that an answer arrives although the class keeps it out: it would have to repeat eight
random bytes of ours."""

TRIALS = 8
"""At most in a round: five, and three more for lost questions and plain answers."""

FIRST_WAIT_S = 4.0
"""After the registration: by then the first introductions and a survey of ports are over, which a
trial would disturb by taking a port of the NAT."""

AGAIN_WAIT_S = 600.0
"""Between rounds: a filter hardly ever changes, and one question is enough to notice."""

PUT_OFF_S = 2.0
"""After an attempt that guesses ports was last seen to run."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What arrived in one; None: nothing was sent from there, as far as we know."""

    from_port: bool | None = None
    from_host: bool | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The result of a round."""

    filtering: Filtering = Filtering.UNKNOWN
    confidence: float = 0.0
    """0 to 1."""
    host: str = ""
    """Our external address, as the server saw it."""


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
    """Whether a packet arrives from another port, or from another host, than we have sent to."""
    if host:
        return filtering is Filtering.INDEPENDENT
    return filtering in (Filtering.INDEPENDENT, Filtering.ADDRESS_DEPENDENT)


def are_enough(known: Known, trials: Sequence[Trial], *, asks_hosts: bool) -> bool:
    """Whether the trials of a round so far confirm what is known.  `asks_hosts`: whether another
    host is asked to answer, which tells two classes apart."""
    needs_host = asks_hosts and known.filtering is not Filtering.DEPENDENT
    telling = [trial for trial in trials if trial.from_host is not None or not needs_host]
    return bool(telling) and all(confirms(known, trial) for trial in trials)


def confirms(known: Known, trial: Trial) -> bool:
    """Whether the trial agrees with what is known, and adds nothing to it."""
    if known.confidence < SURE and (trial.from_host is not None or not trial.from_port):
        return False
    seen = ((trial.from_port, False), (trial.from_host, True))
    told = [(came, host) for came, host in seen if came is not None]
    return bool(told) and all(came == lets_in(known.filtering, host=host) for came, host in told)


class FilterWatch:
    """What is known of our NATs' filters, and when to ask."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Another network: nothing is known."""
        self._known: dict[bool, Known] = {}  # by whether it is of IPv6
        self.round_at: float | None = None
        """When to call `take_round`; None: no server has answered yet."""

    def plan(self, now: float) -> None:
        """A server has just seen us at another address, or our mapping class has changed: ask
        soon."""
        soon = now + FIRST_WAIT_S
        self.round_at = soon if self.round_at is None else min(soon, self.round_at)

    def put_off(self, now: float) -> None:
        """An attempt that guesses ports runs: a round would take one."""
        if self.round_at is not None:
            self.round_at = max(self.round_at, now + PUT_OFF_S)

    def take_round(self, main_port: int, now: float) -> SocketId | None:
        """The socket for a round of trials, as an id that names a local port; None: not yet.
        Drains."""
        if self.round_at is None or now < self.round_at:
            return None
        self.round_at = now + AGAIN_WAIT_S
        # By the clock, so that two rounds differ even if the daemon was restarted in between.
        return SocketId(FILTER_TRIALS[(main_port + int(now)) % len(FILTER_TRIALS)])

    def known_at(self, host: str) -> Known:
        """About the NAT with this external address."""
        known = self._known.get(":" in host, Known())
        return known if known.host == host else Known()

    def conclude(self, known: Known) -> None:
        """What a round has told; it replaces what was known of a NAT with another address."""
        self._known[":" in known.host] = known
