"""A plan, and the reports of NATs that it is made of."""

from random import Random

from natd.core.base.types import Allocation, Mapping, NatReport
from natd.core.checks.turns import Turns
from natd.core.prediction.strategy import Situation, make_plan

START = 1000.0
EASY = NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING, confidence=0.95)
SEEMS_EASY = NatReport(Mapping.INDEPENDENT, confidence=0.8)
BY_ADDRESS = NatReport(Mapping.ADDRESS_DEPENDENT)
UNKNOWN = NatReport()
SEQUENTIAL = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=1)
EVEN = NatReport(Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=2)
BLOCK = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, low=20_480, high=20_991)
RANDOM = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM)
ALL = (EASY, SEEMS_EASY, BY_ADDRESS, UNKNOWN, SEQUENTIAL, EVEN, BLOCK, RANDOM)
PORTS = (30_000, 29_998)
ANCHORS = (30_010, 30_012)


def plan_of(
    ours, theirs, *, failed=False, lower=True, ports=PORTS, anchors=(), drift=0.0, taken=0, **limits
):
    turns = Turns()
    for name, value in limits.items():
        setattr(turns, name, value)
    turns.take_ports("another attempt", taken, START)
    return make_plan(
        Situation(ours, theirs, failed),
        their_ports=ports,
        known_ports=ports,
        anchors=anchors,
        drift=drift,
        we_are_lower=lower,
        turns=turns,
        random=Random(1),
        now=START,
    )


def ports_of(plan):
    return [packet.port for packet in plan.packets]
