"""Ports that both sides know from the pair's keys, to be met at without a server's help.

A socket that an early packet has spoilt is of no more use behind its NAT; one on an agreed port
is fresh, and where NATs keep ports the peer knows where it appears.

    one side fresh     agreed port ── check ──► old address      after the openers of the other
    both sides fresh   opener ── low TTL ──► │ ◄── call ── caller    `MEETING_LEAD_S` later

Rules:
- A call never leaves before the other side's openers surely have: it would spoil that port, too.
- Behind a NAT that would make another mapping for it nothing is opened for the peer's calls.
- Only hosts behind which a NAT may stand are met, and few of them: a card names them freely.
- Rounds take the ports in turn; the two sides count their rounds apart.
"""

from collections.abc import Iterable

from natd.core.base.types import (
    Address,
    Allocation,
    Candidate,
    CandidateKind,
    NatReport,
    SocketId,
)
from natd.core.checks.candidates import is_loopback, is_private
from natd.core.checks.checks import LOW_TTL, Checks
from natd.core.punch.attempt import Target

OPENER_LEAD_S = 0.1
"""How far openers go ahead of the checks from agreed ports: more than two clocks that were set
by the same introduction differ."""

MEETING_LEAD_S = 0.25
"""The same between two fresh sockets, where an early call spoils the meeting for good: more than
two escalations differ that began with one introduction but count with their own round trip."""

MEETING_OPENERS_S = (0.0, 0.5)

MOST_AGREED_HOSTS = 2

AGREED_LADDER_S = (0.0, 0.16)
"""From an agreed port, in each round: the openers before them cost as much again."""


def keeps_ports(nat: NatReport) -> bool:
    """Whether behind this a port agreed on is the port to be met at, as far as is known."""
    if nat.allocation is Allocation.UNKNOWN:
        return not nat.may_be_hard
    return nat.allocation is Allocation.PRESERVING


def lets_in_at_old_address(ours: NatReport) -> bool:
    """Whether what our main socket opens is open at the address that the peer knows: a call to
    there comes in by no other mapping, and each that we make takes one more port of a block."""
    return keeps_ports(ours) or not ours.is_hard


def public_places(places: Iterable[Candidate]) -> list[Candidate]:
    """One candidate for each host behind whose NAT agreed ports may be kept."""
    chosen: dict[str, Candidate] = {}
    for place in places:
        host = place.address.host
        if not place.address.is_ipv6 and not is_private(host) and not is_loopback(host):
            chosen.setdefault(host, place)
    return list(chosen.values())[:MOST_AGREED_HOSTS]


def call_from_agreed_port(place: Candidate, checks: Checks, turn: int, now: float) -> Target:
    """Checks from the port whose turn it is to where the peer was known before."""
    socket = SocketId(checks.our_ports[turn % len(checks.our_ports)])
    return Target(place, socket, AGREED_LADDER_S, at=now + OPENER_LEAD_S)


def meet(host: str, checks: Checks, turn: int, now: float) -> list[Target]:
    """Both main sockets may be spoilt: meet with a fresh one at either end, of which one
    opens its NAT at once and the other calls when that is surely done.  One pair of ports
    is called in each round, and all are opened."""
    pairs = checks.meeting_ports
    opens = checks.we_open
    turn %= len(pairs)
    return [
        Target(
            Candidate(CandidateKind.PEER_REFLEXIVE, Address(host, theirs)),
            SocketId(ours),
            MEETING_OPENERS_S if opens else AGREED_LADDER_S,
            ttl=LOW_TTL if opens else None,
            at=now if opens else now + MEETING_LEAD_S,
        )
        for ours, theirs in (pairs if opens else pairs[turn : turn + 1])
    ]
