"""Where a first flight goes while nobody knows where the peer is.

Rules:
- Into the unknown goes little and once: the budget of an unproved address is for checks.
"""

from natd.core.types import Address, Candidate, CandidateKind, SocketId

FIRST_FLIGHT_TARGETS = 2
"""A first flight is three datagrams: to every candidate it would eat the budget of the checks."""

FLIGHT_WINDOW_S = 0.15
"""Into the unknown a flight goes once, with the messages that are given in the same breath.
What the library would repeat has its turn when the peer is heard: until then each repetition
is paid for by checks, which are thirty times smaller and more likely to be answered."""


def flight_places(
    targets: tuple[Candidate, ...], socket: SocketId
) -> list[tuple[Address, SocketId]]:
    """Of what the attempt checks, best first, the places that are worth a flight."""
    best = targets[:FIRST_FLIGHT_TARGETS]
    if best and best[0].kind is CandidateKind.MAPPED:
        # Open to anybody: a second copy would only eat what the budget has for messages.
        best = best[:1]
    return [(candidate.address, socket) for candidate in best]
