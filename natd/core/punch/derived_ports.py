"""Agreed ports: both sides derive them from the pair's keys, to meet without a server's help.

A socket that an early packet has poisoned is useless behind its NAT.  A socket on an agreed port is
fresh, and where NATs keep ports the peer knows its external port.

    one side fresh     agreed port ── check ──► old address      after the openers of the other
    both sides fresh   opener ── low TTL ──► │ ◄── call ── caller    `MEETING_LEAD_S` later

Rules:
- A call leaves only when the other side's openers surely have: else it would poison that port, too.
- Behind a NAT that would give the openers another mapping, nothing is opened for the peer's calls.
- Only hosts that may be NATs are tried, and few of them: a card may name any host.
- Rounds use the ports in turn; each side counts its own rounds.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from natd.core.base.scope import is_public
from natd.core.base.types import (
    Address,
    Allocation,
    Candidate,
    CandidateKind,
    NatReport,
    SocketId,
)
from natd.core.checks.checks import Checks, Opener
from natd.core.punch.attempt import Target

_Port = TypeVar("_Port")

OPENER_LEAD_S = 0.1
"""How far openers precede the checks from agreed ports: more than the clocks of two sides differ
after one introduction."""

MEETING_LEAD_S = 0.25
"""The same between two fresh sockets, where an early call spoils the meeting for good: more than
two escalations differ that begin with one introduction but count with their own round trips."""

MEETING_OPENERS_S = (0.0, 0.5)

_DEEP, _FAR, _NEAR, _NEARLY = Opener.DEEP, Opener.FAR, Opener.NEAR, Opener.NEARLY
CALL_OPENERS = (_DEEP, _FAR, _NEAR, _DEEP, _FAR, _NEAR)
MEETING_OPENERS = (_NEAR, _NEAR, _NEARLY, _NEAR, _DEEP, _FAR)
"""For the ports of the rounds in turn.  Which opener is right depends on what is between, which
nobody tells us; the wrong one leaves the port closed or spoils it, so each port is for one of them.
One layer of NAT is the likeliest, and calls are of no use where both main sockets are spoilt."""

OPENED_AHEAD = 3
"""Ports that are open at once, from this round's on: each side counts its own rounds."""

MOST_AGREED_HOSTS = 2

AGREED_LADDER_S = (0.0, 0.16)
"""Checks from an agreed port in each round: the openers before them cost as much again."""


def keeps_ports(nat: NatReport) -> bool:
    """Whether, as far as we know, an agreed port is also the external port behind this NAT."""
    if nat.allocation is Allocation.UNKNOWN:
        return not nat.may_be_hard
    return nat.allocation is Allocation.PRESERVING


def lets_in_at_old_address(ours: NatReport) -> bool:
    """Whether openers from our main socket open it at the address that the peer knows.  A call to
    that address can use no other mapping, and each new mapping takes one more port of a block."""
    return keeps_ports(ours) or not ours.is_hard


def public_places(places: Iterable[Candidate]) -> list[Candidate]:
    """One candidate for each host behind whose NAT agreed ports may be kept."""
    chosen: dict[str, Candidate] = {}
    for place in places:
        host = place.address.host
        if not place.address.is_ipv6 and is_public(host):
            chosen.setdefault(host, place)
    return list(chosen.values())[:MOST_AGREED_HOSTS]


def in_turn(ports: Sequence[_Port], turn: int, count: int) -> list[_Port]:
    """So many of these from this round's on."""
    return [ports[(turn + ahead) % len(ports)] for ahead in range(count)]


def first_turn(checks: Checks, port: int, socket: SocketId) -> int:
    """The round to begin with after a path between `socket` and the peer's `port` was lost: ports
    that an early packet may have spoilt since are left out.  Both sides know the same path."""
    if not checks.ready:
        return 0
    if (socket, port) in checks.meeting_ports:
        return checks.meeting_ports.index((socket, port)) + 1
    for ports, used in ((checks.our_ports, socket), (checks.their_ports, port)):
        if used in ports:
            return ports.index(used) + 1
    return 0


def call_from_agreed_port(place: Candidate, checks: Checks, turn: int, now: float) -> Target:
    """Checks from the next agreed port to the peer's known addresses."""
    socket = SocketId(checks.our_ports[turn % len(checks.our_ports)])
    return Target(place, socket, AGREED_LADDER_S, at=now + OPENER_LEAD_S)


def meet(host: str, checks: Checks, turn: int, now: float) -> list[Target]:
    """Both main sockets may be poisoned: meet between two fresh ones.  One side opens its NAT at
    once, the other calls when that is surely done.  Each round calls one pair of ports and opens
    a few."""
    pairs = list(zip(checks.meeting_ports, MEETING_OPENERS, strict=True))
    opens = checks.we_open
    return [
        Target(
            Candidate(CandidateKind.PEER_REFLEXIVE, Address(host, theirs)),
            SocketId(ours),
            MEETING_OPENERS_S if opens else AGREED_LADDER_S,
            opener=opener if opens else None,
            at=now if opens else now + MEETING_LEAD_S,
        )
        for (ours, theirs), opener in in_turn(pairs, turn, OPENED_AHEAD if opens else 1)
    ]
