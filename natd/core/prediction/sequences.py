"""Meeting behind NATs that count their ports up.

    *predict*   towards a sequence: its next ports, most likely first, from our one socket
    *steps*     between two: both send rows of packets to the other's next ports, one side to
                every second port, the other several times to every tenth (baby-step giant-step),
                so that whatever few ports others took in between, two packets meet

Rules:
- A guess begins where the sequence has come to by now: behind the sample lie the ports that others
  are likely to have taken since, `drift` steps give or take its square root (Poisson), and what
  the time of the sample is not known by.
- A NAT that keeps parity gives one socket every second port: the others are left out.  So that
  it gives all of ours ports that the peer expects, they are alike to the main one.

Sources: RFC 5128 section 3.6, Guha and Francis 2005.
"""

import math
from collections.abc import Sequence

from natd.core.base.types import NatReport
from natd.core.nat.port_allocation import HIGHEST_PORT, LOWEST_PORT, PortRule, predict
from natd.core.prediction.plan import Plan, PlannedPacket, Technique

PREDICTED_PORTS = 64
"""Of a sequence: more than the ports that others take in the time of an introduction."""

MOST_PREDICTED = 512
"""However far others have taken it: a second's worth of packets; a fresher sample tells more."""

SPREADS = 2.0
"""Standard deviations to either side of what others are likely to have taken: 19 of 20 times."""

TIME_SHARE = 0.5
"""The way of a word from the peer to us may be longer or shorter than supposed by that."""

BURST = 1_024
"""Ports that lie between those of one burst at most, for its answers come in any order."""

_SPAN = HIGHEST_PORT + 1 - LOWEST_PORT

MOST_DRIFT = 4_096
"""Steps.  A card may say anything of its NAT; beyond this a guess would be far too wide, anyway."""

STEPS = 200
SMALL_STEP = 2
GIANT_STEP = 10
GIANT_WIDTH = 8
"""Packets of a giant step, each from another socket.  Of all patterns of this length these meet
most often (8 of 10 times) when the first few ports are lost to checks and others hold anything
between none and a third of the rest."""


def reach_sequence(theirs: NatReport, their_ports: Sequence[int], drift: float = 0.0) -> Plan:
    """From an easy side: one of these is the port that the peer's own checks come from.

    `drift` is how many steps others have likely taken between the sample and those checks."""
    likeliest, spread = _moved(drift)
    first = max(0, likeliest - spread)
    behind = _next_ports(theirs, their_ports, first, likeliest + spread + PREDICTED_PORTS)
    steps = sorted(range(len(behind)), key=lambda step: abs(first + step - likeliest))
    ports = [behind[step] for step in steps[:MOST_PREDICTED]]
    packets = tuple(PlannedPacket(0, port) for port in ports if port >= LOWEST_PORT)
    return Plan(Technique.PREDICTION, packets, is_careful=True)


def step_towards(
    theirs: NatReport,
    their_ports: Sequence[int],
    drift: float = 0.0,
    *,
    we_are_lower: bool,
    most_helpers: int,
) -> Plan:
    """Our half between two sequences: small steps, or giant ones; `drift` as above."""
    likeliest, spread = _moved(drift)
    first = max(0, likeliest - spread)
    ports = _next_ports(theirs, their_ports, first, first + STEPS * SMALL_STEP)
    if we_are_lower:
        packets = tuple(PlannedPacket(0, port) for port in ports[::SMALL_STEP])
    else:
        sockets = range(1, min(GIANT_WIDTH, most_helpers) + 1) or (0,)
        rows = ports[: STEPS * GIANT_STEP // GIANT_WIDTH : GIANT_STEP]
        packets = tuple(PlannedPacket(socket, port) for port in rows for socket in sockets)
    return Plan(Technique.PREDICTION, packets)


def newest(ports: Sequence[int]) -> int:
    """Of a sequence's ports, of which the first is one of the last burst, the one that came last.

    What is far from the first is older, wherever the sequence has come to since: a word of a peer
    ends with where a server is spoken to from, and that may be of another time.
    """
    behind_first = {port: (port - ports[0]) % _SPAN for port in ports}
    return max(ports, key=lambda port: behind_first[port] if behind_first[port] <= BURST else -1)


def stride_of(report: NatReport) -> int:
    """From a port of a socket to the next that the same socket gets."""
    return report.stride * (2 if report.keeps_parity and report.stride % 2 else 1)


def rule(report: NatReport) -> PortRule:
    stride = stride_of(report)
    return PortRule(report.allocation, stride, report.low, report.high, report.confidence)


def _moved(drift: float) -> tuple[int, int]:
    """The likeliest number of steps, and how far off it may be to either side."""
    steps = min(MOST_DRIFT, max(0.0, drift))
    return round(steps), math.ceil(SPREADS * math.sqrt(steps) + TIME_SHARE * steps)


def _next_ports(theirs: NatReport, their_ports: Sequence[int], first: int, end: int) -> list[int]:
    """Of the peer's sequence after its newest port, those from one step up to another."""
    return predict(rule(theirs), newest(their_ports), end)[first:]
