"""Meeting behind NATs that count their ports up.

    *predict*   towards a sequence: its next ports, most likely first, from our one socket
    *steps*     between two: both send rows of packets to the other's next ports, one side to
                every second port, the other several times to every tenth (baby-step giant-step),
                so that whatever few ports others took in between, two packets meet

Sources: RFC 5128 section 3.6, Guha and Francis 2005.
"""

from collections.abc import Sequence

from natd.core.allocation import LOWEST_PORT, PortRule, predict
from natd.core.shots import Plan, Shot, Technique
from natd.core.types import NatReport

PREDICTED_PORTS = 64
"""Of a sequence: more than the ports that others take in the time of an introduction."""

STEPS = 200
SMALL_STEP = 2
GIANT_STEP = 10
GIANT_WIDTH = 8
"""Packets of a giant step, each from another socket.  Of all patterns of this length these meet
most often (8 of 10 times) when the first few ports are lost to checks and others hold anything
between none and a third of the rest."""


def reach_sequence(theirs: NatReport, their_ports: Sequence[int]) -> Plan:
    """From an easy side: one of these is the port that the peer's own checks come from."""
    ports = predict(rule(theirs), newest(their_ports), PREDICTED_PORTS)
    shots = tuple(Shot(0, port) for port in ports if port >= LOWEST_PORT)
    return Plan(Technique.PREDICTION, shots, is_careful=True)


def step_towards(
    theirs: NatReport, their_ports: Sequence[int], *, we_are_lower: bool, most_helpers: int
) -> Plan:
    """Our half between two sequences: small steps, or giant ones."""
    ports = predict(rule(theirs), newest(their_ports), STEPS * SMALL_STEP)
    if we_are_lower:
        shots = tuple(Shot(0, port) for port in ports[::SMALL_STEP])
    else:
        sockets = range(1, min(GIANT_WIDTH, most_helpers) + 1) or (0,)
        rows = ports[: STEPS * GIANT_STEP // GIANT_WIDTH : GIANT_STEP]
        shots = tuple(Shot(socket, port) for port in rows for socket in sockets)
    return Plan(Technique.PREDICTION, shots)


def newest(ports: Sequence[int]) -> int:
    """Of a sequence's ports, given in any order, the one that came last.

    The highest, unless the sequence has just wrapped around.
    """
    highest, lowest = max(ports), min(ports)
    if highest - lowest > 0x8000:
        return max(port for port in ports if port - LOWEST_PORT < 0x8000)
    return highest


def rule(report: NatReport) -> PortRule:
    return PortRule(report.allocation, report.stride, report.low, report.high, report.confidence)
