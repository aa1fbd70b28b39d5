"""Where a first flight goes while nobody knows where the peer is.

Rules:
- Into the unknown goes little and once: the budget of an unproved address is for checks.
- A NAT that maps each destination anew has no port for us where a server saw one.  Nothing but one
  row of checks goes there, which opens our own NAT to its address; the flight waits for the
  peer's first check, which comes from the right one.
- What the budget refuses while the peer is heard from there is sent with the peer's next check.
"""

from collections import deque

from natd.core.types import Address, Candidate, CandidateKind, NatReport, SocketId

FIRST_FLIGHT_TARGETS = 2
"""A first flight is three datagrams: to every candidate it would eat the budget of the checks."""

FLIGHT_WINDOW_S = 0.15
"""Into the unknown a flight goes once, with the messages that are given in the same breath.
What the library would repeat has its turn when the peer is heard: until then each repetition
is paid for by checks, which are thirty times smaller and more likely to be answered."""


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
) -> list[tuple[Address, SocketId]]:
    """Of what the attempt checks, best first, the places that are worth a flight."""
    if theirs.is_hard:
        guesses = (CandidateKind.SERVER_REFLEXIVE, CandidateKind.FORWARDED)
        targets = tuple(c for c in targets if c.kind not in guesses)
    best = targets[:FIRST_FLIGHT_TARGETS]
    if best and best[0].kind is CandidateKind.MAPPED:
        # Open to anybody: a second copy would only eat what the budget has for messages.
        best = best[:1]
    return [(candidate.address, socket) for candidate in best]


class Unsent:
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
