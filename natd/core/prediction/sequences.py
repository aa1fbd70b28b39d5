"""Meeting behind NATs that count their ports up.

    *predict*   towards a sequence: its next ports, most likely first, from our one socket
    *steps*     between two: both send rows of packets to the other's next ports, one side to
                every second port, the other several times to every tenth (baby-step giant-step),
                so that whatever few ports others took in between, two packets meet

Rules:
- A guess begins where the sequence should be by now: since the sample, others have taken about
  `drift` ports, give or take its square root (Poisson) and the uncertainty of the sample's time.
- A NAT that keeps parity gives a socket only every second port: the others are left out.  All our
  sockets have the parity of the main one, so that the peer expects the right ports.

Sources: RFC 5128 section 3.6, Guha and Francis 2005.
"""

import math
from collections.abc import Sequence

from natd.core.base.types import LOWEST_PORT, NatReport
from natd.core.nat.port_allocation import HIGHEST_PORT, PortRule, predict
from natd.core.prediction.plan import Plan, PlannedPacket, Technique

PREDICTED_PORTS = 64
"""Ports guessed of a sequence: more than others take during an introduction."""

MOST_PREDICTED = 512
"""At any drift: a second's worth of packets.  Beyond it a fresher sample is better."""

SPREADS = 2.0
"""Standard deviations on either side of the expected drift: right in 19 of 20 cases."""

TIME_SHARE = 0.5
"""A sample's time of travel may differ by this share of the assumed one."""

BURST = 1_024
"""Most ports between two samples of one burst, whose answers come in any order."""

_SPAN = HIGHEST_PORT + 1 - LOWEST_PORT

MOST_DRIFT = 4_096
"""Steps.  A card may claim any load; beyond this a guess would be far too wide anyway."""

STEPS = 200
SMALL_STEP = 2
GIANT_STEP = 10
GIANT_WIDTH = 8
"""Packets of a giant step, each from another socket.  Of all patterns of this length these meet
most often (8 of 10 times) when the first few ports are lost to checks and others hold anything
between none and a third of the rest."""


def reach_sequence(theirs: NatReport, their_ports: Sequence[int], drift: float = 0.0) -> Plan:
    """Our plan if we are easy: one of these ports is the source of the peer's own checks.

    `drift` is how many steps others have likely taken between the sample and those checks."""
    likeliest, spread = _moved(drift)
    first = max(0, likeliest - spread)
    behind = _next_ports(theirs, their_ports, first, likeliest + spread + PREDICTED_PORTS)
    steps = sorted(range(len(behind)), key=lambda step: abs(first + step - likeliest))
    ports = [behind[step] for step in steps[:MOST_PREDICTED]]
    packets = tuple(PlannedPacket(0, port) for port in ports if port >= LOWEST_PORT)
    return Plan(Technique.PREDICTION, packets, is_careful=True, is_sure=True)


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
    """The latest of a sequence's ports; the first of them belongs to the last burst.

    Ports far from the first are older: a server's list ends with the address of the peer's lease,
    which may be from another time.
    """
    behind_first = {port: (port - ports[0]) % _SPAN for port in ports}
    return max(ports, key=lambda port: behind_first[port] if behind_first[port] <= BURST else -1)


def stride_of(report: NatReport) -> int:
    """Distance from one port of a socket to the next port that it gets."""
    return report.stride * (2 if report.keeps_parity and report.stride % 2 else 1)


def rule(report: NatReport) -> PortRule:
    stride = stride_of(report)
    return PortRule(report.allocation, stride, report.low, report.high, report.confidence)


def _moved(drift: float) -> tuple[int, int]:
    """The likeliest number of steps, and its uncertainty to either side."""
    steps = min(MOST_DRIFT, max(0.0, drift))
    return round(steps), math.ceil(SPREADS * math.sqrt(steps) + TIME_SHARE * steps)


def _next_ports(theirs: NatReport, their_ports: Sequence[int], first: int, end: int) -> list[int]:
    """The ports of the peer's sequence between two steps after its newest port."""
    return predict(rule(theirs), newest(their_ports), end)[first:]
