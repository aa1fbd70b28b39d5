"""A session's datagrams while there is no path: where they go, and when.

Rules:
- During a restraint nothing leaves, so that nothing arrives before the peer's own NAT is open.  An
  introduction asks for it and may lie, so restraints do not follow each other at once.
- Addresses where the peer was not heard get few datagrams, once: their budget is for checks.  Those
  that a server tells before the peer has proved them get none (`checks/unproved_hosts.py`).
- A NAT that maps by destination is not open to us at the port that a server saw.  Only one ladder
  of checks goes there, to open our own NAT to its host; the flight waits for the peer's first
  check, which comes from the real port.
- Where the peer is heard first gets the flight; other places do only if that was in vain.
- The rest of a flight that the budget has cut short goes by the path as soon as there is one.
- Datagrams that the budget refuses at an address where the peer was heard are sent with the peer's
  next check.
"""

from collections import deque

from natd.core.base.types import Address, Candidate, CandidateKind, Datagram, NatReport, SocketId
from natd.core.checks.budget import TargetBudget
from natd.core.checks.host_proofs import HostProofs

Place = tuple[Address, SocketId]
"""The peer's address, and the socket of ours that it knows."""

FIRST_FLIGHT_TARGETS = 2
"""A first flight is three datagrams: to every candidate it would eat the budget of the checks."""

FLIGHT_WINDOW_S = 0.15
"""How long after its begin an attempt sends a flight to unproved addresses: once, with the messages
given at the same time.  Repetitions wait until the peer is heard: until then they would cost
checks, which are thirty times smaller and likelier to be answered."""

HOLD_AGAIN_S = 0.7
"""Least time from one restraint to the next: honest rounds are a second apart."""

STAYS_S = 0.15
"""A peer with several addresses is heard from all of them at once.  The flight goes where it was
heard first; if nothing comes of that, to where it is heard after this time."""

MOST_UNSENT = 8
"""Two flights of four datagrams: older ones are outdated."""


def worth_checking(targets: tuple[Candidate, ...], theirs: NatReport) -> tuple[Candidate, ...]:
    """The targets for plain checks.  Of a hard NAT's ports that others have seen, only the first
    at each of its hosts; its local port only if there is no better target."""
    if not theirs.is_hard:
        return tuple(c for c in targets if c.kind is not CandidateKind.FORWARDED)
    seen = [c for c in targets if c.kind is CandidateKind.SERVER_REFLEXIVE]
    first = {c.address.host: c for c in reversed(seen)}
    elsewhere = set(seen).difference(first.values())
    return tuple(candidate for candidate in targets if candidate not in elsewhere)


def flight_places(
    targets: tuple[Candidate, ...], socket: SocketId, theirs: NatReport
) -> list[Place]:
    """The targets that are worth a flight, best first."""
    if theirs.is_hard:
        guesses = (CandidateKind.SERVER_REFLEXIVE, CandidateKind.FORWARDED)
        targets = tuple(c for c in targets if c.kind not in guesses)
    best = targets[:FIRST_FLIGHT_TARGETS]
    if best and best[0].kind is CandidateKind.MAPPED:
        # Open to anybody: a second copy would only take the budget for messages.  Several are one
        # port at the addresses where its router may be: then the second copy goes elsewhere.
        others = [c for c in targets if c.kind is not CandidateKind.MAPPED]
        best = (best[0], *others[:1]) if CandidateKind.MAPPED in _kinds(best[1:]) else best[:1]
    return [(candidate.address, socket) for candidate in best]


def _kinds(candidates: tuple[Candidate, ...]) -> set[CandidateKind]:
    return {candidate.kind for candidate in candidates}


class FirstFlight:
    """See the top of this file."""

    def __init__(self, budget: TargetBudget, proofs: HostProofs) -> None:
        self.heard_from: Place | None = None
        """Where the peer was last heard while there was no path; None: not yet."""
        self.held_until: float | None = None
        """When the restraint ends; None: there is none."""
        self._budget = budget
        self._proofs = proofs
        self._heard_at = 0.0  # when it was heard at another place than before
        self._may_hold_at = 0.0
        self._wanted_until = 0.0  # until then flights go to unproved addresses
        self._unsent = UnsentFlight()
        self._sent_at: dict[Place, float] = {}  # when a datagram last left for there
        self._rest: tuple[Place | None, list[bytes]] = (None, [])  # refused there until now

    def restraint_s(self, start_in_s: float, now: float) -> float:
        """How long to send only openers, if an introduction asks for `start_in_s`."""
        if self.is_held(now):
            assert self.held_until is not None
            return self.held_until - now
        if now < self._may_hold_at or start_in_s <= 0.0:
            return 0.0
        self._may_hold_at = now + start_in_s + HOLD_AGAIN_S
        return start_in_s

    def begin(self, start_in_s: float, now: float) -> None:
        """An attempt begins, after this restraint."""
        self.held_until = now + start_in_s if start_in_s > 0.0 else None
        self._sent_at.clear()
        self._rest = None, []
        self._wanted_until = now + start_in_s + FLIGHT_WINDOW_S

    def is_held(self, now: float) -> bool:
        return self.held_until is not None and self.held_until > now

    def take_due(self, now: float) -> bool:
        """Whether a restraint has just ended.  Drains."""
        if self.held_until is None or self.held_until > now:
            return False
        self.held_until = None
        return True

    def heard(self, place: Place, now: float) -> bool:
        """The peer was heard at this place; True if the flight is to be sent there."""
        is_news = self.heard_from != place
        if self.heard_from is not None and is_news and now < self._heard_at + STAYS_S:
            return False
        self.heard_from = place
        if is_news:
            self._heard_at = now
        return is_news

    def has_flown(self, place: Place, since: float) -> bool:
        """Whether a datagram has left for there since that instant, when a check left that has been
        answered: then it has come through, too."""
        return self._sent_at.get(place, float("-inf")) >= since

    def take_rest(self, place: Place) -> list[bytes]:
        """What the budget had refused there when the path was found."""
        (refused_at, rest), self._rest = self._rest, (None, [])
        return rest if refused_at == place else []

    def stop(self) -> None:
        """Send nothing more without a path."""
        self.held_until = self.heard_from = None

    def reached(self) -> None:
        """A path was found and works."""
        if unsent := self._unsent.take():
            self._rest = self.heard_from, unsent
        self.stop()

    def take_unsent(self) -> list[bytes]:
        """Datagrams that the budget refused, to send again; refused ones are kept again."""
        return self._unsent.take()

    def send(
        self, data: bytes, in_use: Place | None, guesses: list[Place], now: float
    ) -> list[Datagram]:
        """Send to the path in doubt and where the peer was heard; else, soon after the begin of an
        attempt, to those `guesses` that do not wait for a proof."""
        known = (in_use, self.heard_from)
        places = list(dict.fromkeys(place for place in known if place is not None))
        if not places and now <= self._wanted_until:
            places = [p for p in guesses if not self._proofs.are_wanting(p[0].host, now)]
        datagrams = []
        for place in places:
            address, socket = place
            if self._budget.allow_bulk(address, len(data), now):
                datagrams.append(Datagram(data, address, None, socket))
                self._sent_at[place] = now
            elif place == self.heard_from:
                self._unsent.keep(data)
        return datagrams


class UnsentFlight:
    """Session datagrams for places where the peer was heard, refused by the budget."""

    def __init__(self) -> None:
        self._datagrams: deque[bytes] = deque(maxlen=MOST_UNSENT)

    def keep(self, data: bytes) -> None:
        """Keep a datagram, only once however often the session repeats it."""
        if data not in self._datagrams:
            self._datagrams.append(data)

    def take(self) -> list[bytes]:
        """All datagrams, oldest first; refused ones are kept again."""
        datagrams = list(self._datagrams)
        self._datagrams.clear()
        return datagrams
