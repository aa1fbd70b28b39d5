"""Meeting behind NATs that give each subscriber a block of ports, and draw from it at random.

Between two blocks the attempt is *concentrated*: one side opens from as many ports of its block as
allowed towards one port of the other's.  The other side sprays the first side's block, one packet
from each of its own ports, until it gets that port:

    P = share opened x share taken          against 1 - e^(-product) for random pairing

The smaller block opens.  Where only half of a block may be used, all is sent once and in this
order, and again with each wave:

    opener   ████████████
    sprayer               ████████████

A host that has never answered gets a bounded number of packets, and a wave of fresh draws is worth
more than a second copy of the last one.  Where blocks are filled, one wave has to do, and the spray
begins when half of the other's openers have left: it takes a port of its own block at a random
moment, and half the time the port that it would meet is open by then.  What was sent too early for
that is sent again:

    opener   ████████████
    sprayer        ████████████ ██████ ██████…     all, the first half again, then all again from
                                                   fresh sockets

A NAT may lend a port to several flows that go to different places, as Linux does.  There the spray
takes the one port that matters only with P = 1 - 1/e, and each fresh socket draws anew.

Towards a sequence only the block has to be filled.  The sequential side knows exactly which ports
it has opened towards one port of the block (`anchors`).  The other side sends all its packets to
these, and the one that leaves from that port of its block is let in:

    P = share of the block that is taken

Rules:
- Half a block is left to its other users, unless we may fill it; the ports that we take stay the
  same for as long as the NAT may remember them (see `plan`).
- Ports that the other side is known to use are neither sprayed nor used for meeting.
- Openers come first: a packet that reaches a NAT before its opener could poison the port.
"""

from collections.abc import Sequence
from itertools import chain, islice
from random import Random

from natd.core.base.types import NatReport
from natd.core.checks.limits import MOST_WAVE_PACKETS, RATE
from natd.core.checks.turns import Turns
from natd.core.prediction.plan import Plan, PlannedPacket, Technique

SCOUTS = 16
"""Openers while it is unknown whether the peer is easy: a block has few ports."""

SCOUTS_WAIT_S = 0.03
"""The report that tells is mostly there a moment after the first: a scout's port can be spent only
once, and would be missing where a block is to be filled."""

EASY_HELPERS = 32
"""Towards an easy peer, which probes the whole block: one opening suffices, many are quicker."""

ROUNDS = 2
ROUND_PAUSE_S = 0.3
"""Where the first wave mostly decides, it is sent twice: a lost packet costs its share of it."""

OPENED_FIRST = 0.5
"""Share of the openers that has left when the spray begins, where blocks are filled."""

CLEARLY = 1.5
"""How much smaller a block has to be to open for that reason: the limits of a block that is not
aligned are an estimate, and both sides must judge alike."""

FRESH_ROWS = 4
"""How many times the packets of a spray are sent in all, where blocks are filled."""

LEAD_S = 0.3
"""How much earlier than the peer we may begin: two peers introduced at one instant differ by at
most a round trip."""

FORGOTTEN_AFTER_S = 32.0
"""Most NATs keep an unanswered entry for 30 s (Linux, and the initial timeout of carrier NATs).
Those that keep it longer give a later wave the same ports as before."""


def open_blocks(
    entries: int, ours: NatReport, theirs: NatReport, known: Sequence[int], turns: Turns
) -> Plan:
    """Openers from so many ports of our block to one port of theirs, or to as few as our sockets
    allow."""
    sockets = _sockets(min(entries, turns.block_sockets))
    ports = meeting_ports(theirs, known, -(-entries // len(sockets)))
    packets = [PlannedPacket(socket, port, is_opener=True) for port in ports for socket in sockets]
    return Plan(
        Technique.BLOCKS,
        tuple(packets[:entries]),
        rounds=_rounds(entries) if turns.fills_whole_blocks else 1,
        pause_s=ROUND_PAUSE_S,
        waves_s=_period_s(ours, theirs),
    )


def spray_block(
    entries: int,
    ours: NatReport,
    theirs: NatReport,
    known: Sequence[int],
    turns: Turns,
    random: Random,
) -> Plan:
    """Packets from so many ports of our block, each to another port of theirs."""
    in_use = frozenset(known)
    span = [port for port in range(theirs.low, theirs.high + 1) if port not in in_use]
    opened = allowance(theirs, turns)
    # If our block is larger than theirs, go over theirs again from other sockets.
    packets, socket = _rows(span, entries, 0, turns, random)
    begins_after_s = opened / RATE + LEAD_S
    if turns.fills_whole_blocks:
        begins_after_s = OPENED_FIRST * opened / RATE + LEAD_S
        most = min(FRESH_ROWS * len(packets), MOST_WAVE_PACKETS)
        too_early = round((1.0 - OPENED_FIRST) * opened)
        packets += packets[: min(too_early, most - len(packets))]
        packets += _rows(span, most - len(packets), socket, turns, random)[0]
    return Plan(
        Technique.BLOCKS,
        tuple(packets),
        begins_after_s=begins_after_s,
        waves_s=_period_s(ours, theirs),
    )


def reach_anchors(entries: int, anchors: Sequence[int], turns: Turns) -> Plan:
    """Packets from so many ports of our block to the anchors of a sequential peer."""
    sockets = _sockets(min(-(-entries // len(anchors)), turns.block_sockets))
    packets = [PlannedPacket(socket, port) for socket in sockets for port in anchors]
    return Plan(
        Technique.BLOCKS,
        tuple(packets[:entries]),
        rounds=_rounds(entries),
        pause_s=ROUND_PAUSE_S,
        waves_s=FORGOTTEN_AFTER_S + _rounds(entries) * entries / RATE + ROUND_PAUSE_S,
    )


def opens_first(ours: NatReport, theirs: NatReport, *, we_are_lower: bool) -> bool:
    """Whether we are the one who opens, and the peer sprays."""
    if _size(ours) * CLEARLY < _size(theirs):
        return True
    return we_are_lower and not _size(theirs) * CLEARLY < _size(ours)


def meeting_ports(report: NatReport, known: Sequence[int], count: int) -> tuple[int, ...]:
    """The ports of a block to which the peer opens: from its middle on, without ports in use
    unless all are in use."""
    middle = (report.low + report.high + 1) // 2
    in_use = frozenset(known)
    ports = chain(range(middle, report.high + 1), range(report.low, middle))
    free = (port for port in ports if port not in in_use)
    return tuple(islice(free, count)) or (middle,)


def allowance(report: NatReport, turns: Turns) -> int:
    """How many ports of a block an attempt may use."""
    size = _size(report)
    return min(size if turns.fills_whole_blocks else size // 2, MOST_WAVE_PACKETS)


def _rows(
    span: Sequence[int], most: int, first: int, turns: Turns, random: Random
) -> tuple[list[PlannedPacket], int]:
    """Packets to every port of the span, from as many sockets as that takes, one after another;
    and the first socket that is left."""
    packets: list[PlannedPacket] = []
    socket = first
    while socket <= turns.helper_sockets and len(packets) < most and span:
        row = random.sample(span, min(len(span), most - len(packets)))
        packets += (PlannedPacket(socket, port) for port in row)
        socket += 1
    return packets, socket


def _rounds(entries: int) -> int:
    return min(ROUNDS, MOST_WAVE_PACKETS // max(1, entries))


def _sockets(helpers: int) -> Sequence[int]:
    """So many fresh sockets; the attempt's own if none are allowed."""
    return range(1, helpers + 1) if helpers else (0,)


def _period_s(ours: NatReport, theirs: NatReport) -> float:
    """Time from wave to wave, the same at both sides whatever they may fill: all packets of a wave,
    and then silence."""
    sizes = sum(min(_size(report), MOST_WAVE_PACKETS) for report in (ours, theirs))
    return FORGOTTEN_AFTER_S + LEAD_S + sizes / RATE


def _size(report: NatReport) -> int:
    return report.high - report.low + 1
