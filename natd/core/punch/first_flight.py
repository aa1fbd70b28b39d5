"""What a session wants to send while there is no path to the peer: where it goes, and when.

Rules:
- While a restraint runs nothing leaves: the peer is not to hear from us before its own NAT is open.
  An introduction asks for it, and may lie, so one restraint does not follow the last at once.
- Into the unknown goes little and once: the budget of an unproved address is for checks.
- A NAT that maps each destination anew has no port for us where a server saw one.  Nothing but one
  row of checks goes there, which opens our own NAT to its address; the flight waits for the
  peer's first check, which comes from the right one.
- What the budget refuses while the peer is heard from there is sent with the peer's next check.
"""

from collections import deque

from natd.core.base.types import Address, Candidate, CandidateKind, Datagram, NatReport, SocketId
from natd.core.checks.budget import TargetBudget

Place = tuple[Address, SocketId]
"""The peer's address, and the socket of ours that it knows."""

FIRST_FLIGHT_TARGETS = 2
"""A first flight is three datagrams: to every candidate it would eat the budget of the checks."""

FLIGHT_WINDOW_S = 0.15
"""Into the unknown a flight goes once, with the messages that are given in the same breath.
What the library would repeat has its turn when the peer is heard: until then each repetition
is paid for by checks, which are thirty times smaller and more likely to be answered."""

HOLD_AGAIN_S = 0.7
"""From one restraint to the next: honest rounds are a second apart."""

MOST_UNSENT = 8
"""A flight is four datagrams; what is more than two of them is old."""


def worth_checking(targets: tuple[Candidate, ...], theirs: NatReport) -> tuple[Candidate, ...]:
    """Of all that is known, what plain checks should go to: of the ports that others were seen to
    be mapped to, the first alone; and its own port only where there is no better way."""
    if not theirs.is_hard:
        return tuple(c for c in targets if c.kind is not CandidateKind.FORWARDED)
    elsewhere = [c for c in targets if c.kind is CandidateKind.SERVER_REFLEXIVE][1:]
    return tuple(candidate for candidate in targets if candidate not in elsewhere)


def flight_places(
    targets: tuple[Candidate, ...], socket: SocketId, theirs: NatReport
) -> list[Place]:
    """Of what the attempt checks, best first, the places that are worth a flight."""
    if theirs.is_hard:
        guesses = (CandidateKind.SERVER_REFLEXIVE, CandidateKind.FORWARDED)
        targets = tuple(c for c in targets if c.kind not in guesses)
    best = targets[:FIRST_FLIGHT_TARGETS]
    if best and best[0].kind is CandidateKind.MAPPED:
        # Open to anybody: a second copy would only eat what the budget has for messages.
        best = best[:1]
    return [(candidate.address, socket) for candidate in best]


class FirstFlight:
    """See the top of this file."""

    def __init__(self, budget: TargetBudget) -> None:
        self.heard_from: Place | None = None
        """Where the peer was last heard while there was no path; None: nowhere yet."""
        self.held_until: float | None = None
        """The restraint's end; None: there is none."""
        self._budget = budget
        self._may_hold_at = 0.0
        self._wanted_until = 0.0  # worth its share of the budget without a sign of the peer
        self._unsent = UnsentFlight()

    def restraint_s(self, start_in_s: float, now: float) -> float:
        """How long nothing but openers leaves, where somebody says `start_in_s`."""
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
        self._wanted_until = now + start_in_s + FLIGHT_WINDOW_S

    def is_held(self, now: float) -> bool:
        return self.held_until is not None and self.held_until > now

    def take_due(self, now: float) -> bool:
        """Whether a restraint has just ended.  Drains."""
        if self.held_until is None or self.held_until > now:
            return False
        self.held_until = None
        return True

    def heard(self, place: Place) -> bool:
        """The peer is there, at this instant; whether that is news."""
        is_news = self.heard_from != place
        self.heard_from = place
        return is_news

    def stop(self) -> None:
        """Nothing more is to be sent without a path."""
        self.held_until = self.heard_from = None

    def reached(self) -> None:
        """A path stands and works."""
        self.stop()
        self._unsent.take()

    def take_unsent(self) -> list[bytes]:
        """What the budget has refused, to be sent again: what is refused again is kept again."""
        return self._unsent.take()

    def send(
        self, data: bytes, in_use: Place | None, guesses: list[Place], now: float
    ) -> list[Datagram]:
        """To the path in doubt and where the peer was heard, else, soon after the beginning, to
        the guesses."""
        known = (in_use, self.heard_from)
        places = list(dict.fromkeys(place for place in known if place is not None))
        if not places and now <= self._wanted_until:
            places = guesses
        datagrams = []
        for place in places:
            address, socket = place
            if self._budget.allow_bulk(address, len(data), now):
                datagrams.append(Datagram(data, address, None, socket))
            elif place == self.heard_from:
                self._unsent.keep(data)
        return datagrams


class UnsentFlight:
    """What a session gave us for a place that the peer was heard from, and the budget refused."""

    def __init__(self) -> None:
        self._datagrams: deque[bytes] = deque(maxlen=MOST_UNSENT)

    def keep(self, data: bytes) -> None:
        """Once, however often the session repeats it."""
        if data not in self._datagrams:
            self._datagrams.append(data)

    def take(self) -> list[bytes]:
        """All of it, oldest first: what is refused again is kept again."""
        datagrams = list(self._datagrams)
        self._datagrams.clear()
        return datagrams
