"""What to do when plain checks cannot meet: a plan that follows from the two NAT reports alone.

"Easy" is a mapping that does not depend on the destination, "hard" one that does (RFC 4787,
section 4.1).  Each side makes its own half of the plan and needs no word of the other's:

    we \\ peer        easy            sequential        block             random
    easy             (ladder)        predict           probe its block   probe its range
    sequential       (ladder)        steps             spray its block   nothing
    block            open helpers    open helpers      open | spray      nothing
    random           open helpers    nothing           nothing           nothing

- *predict*: the peer's next ports, most likely first.
- *probe*: ports of the peer's, in random order, from our one socket: a birthday attempt against
  the many openings that the peer's helper sockets make.
- *open helpers*: one low-TTL opener from each of many fresh sockets, so that many of our ports
  let the peer in.  They must not arrive: an easy NAT that accepts them would record the flows
  and then map the peer's own probes to other ports.
- *steps*: both send rows of packets to the other's next ports, one side every port and the other
  every second one (baby-step giant-step), so that whatever few ports others took in between,
  two packets meet.
- *spray* and *open* between two blocks are concentrated: all openings of one side lead to one
  port of the other's block, and the other side takes ports of its block, one with each packet,
  until it owns that one.  P = share opened x share taken, not 1 - e^(-product).

Sources: RFC 5128 section 3.6, Guha and Francis 2005 (prediction), Ford et al. 2005.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from natd.core.allocation import LOWEST_PORT, PortRule, predict
from natd.core.turns import Turns
from natd.core.types import Allocation, Mapping, NatReport

MOST_PROBES = 2_048
"""Of one attempt: conntrack tables of home routers hold 16,384 flows and more."""

PROBES_A_SECOND = 500
PREDICTED_PORTS = 64
"""Of a sequence: more than the ports that others take in the time of an introduction."""

STEPS = 64
RANDOM_HELPERS = 256
"""With 1,000 probes over the full range: 98 %."""

BLOCK_HELPERS = 32
"""Against an easy peer, who probes the whole block: one opening would do, many are quicker."""

MEETING_STEP = 16
"""Where in its sequence a sequential peer is awaited: past what others take meanwhile."""


class Technique(StrEnum):
    """What a path is said to have been opened by."""

    PREDICTION = "prediction"
    BIRTHDAY = "birthday"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class Shot:
    """One packet of a plan."""

    helper: int
    """0: the socket of the attempt; 1, 2, ...: fresh sockets."""
    port: int | None
    """At the peer's address; None: the port that the peer is seen at."""
    is_opener: bool = False
    """Low TTL: opens our NAT and is not meant to arrive."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Our half of an escalation."""

    technique: Technique
    shots: tuple[Shot, ...]
    refresh: bool = False
    """Openers are repeated while the attempt lasts, or the NAT would forget them."""

    @property
    def helpers(self) -> int:
        """How many fresh sockets it takes."""
        return max((shot.helper for shot in self.shots), default=0)


def is_hard(report: NatReport) -> bool:
    return report.mapping is Mapping.DEPENDENT


def make_plan(
    ours: NatReport,
    theirs: NatReport,
    *,
    their_ports: Sequence[int],
    we_are_lower: bool,
    turns: Turns,
    random: Random,
) -> Plan | None:
    """Our half, or None where waiting for the peer's half, or giving up, is all there is.

    `turns` says what the user allows it to cost; `their_ports` are the peer's external ports as servers saw them; `we_are_lower` compares the
    two peer ids, where the two halves differ for no other reason.
    """
    if is_hard(theirs):
        if not is_hard(ours):
            return _reach_hard(theirs, their_ports, random)
        return _both_hard(ours, theirs, their_ports, we_are_lower, turns, random)
    if is_hard(ours):
        return _open_to_easy(ours, turns)
    return None


def is_hopeless(ours: NatReport, theirs: NatReport) -> bool:
    """Whether no plan is known: nothing short of a relay, a mapped port or IPv6 connects."""
    kinds = {ours.allocation, theirs.allocation}
    return (
        is_hard(ours) and is_hard(theirs) and not kinds <= {Allocation.SEQUENTIAL, Allocation.BLOCK}
    )


def _reach_hard(theirs: NatReport, their_ports: Sequence[int], random: Random) -> Plan:
    if theirs.allocation is Allocation.SEQUENTIAL and their_ports:
        ports = predict(_rule(theirs), newest(their_ports), PREDICTED_PORTS)
        return Plan(Technique.PREDICTION, _probes(ports))
    span = range(theirs.low, theirs.high + 1)
    if theirs.allocation is Allocation.BLOCK:
        ports = random.sample(span, len(span))
        return Plan(Technique.BIRTHDAY, _probes(ports[:MOST_PROBES]))
    return Plan(Technique.BIRTHDAY, _probes(random.sample(span, min(MOST_PROBES, len(span)))))


def _open_to_easy(ours: NatReport, turns: Turns) -> Plan | None:
    if ours.allocation is Allocation.SEQUENTIAL:
        return None  # the ladder's own mapping is the one that the peer predicts
    wanted = BLOCK_HELPERS if ours.allocation is Allocation.BLOCK else RANDOM_HELPERS
    return Plan(Technique.BIRTHDAY, _openings(min(wanted, turns.helper_sockets), None), True)


def _both_hard(
    ours: NatReport,
    theirs: NatReport,
    their_ports: Sequence[int],
    we_are_lower: bool,
    turns: Turns,
    random: Random,
) -> Plan | None:
    if is_hopeless(ours, theirs) or not their_ports:
        return None
    if ours.allocation is theirs.allocation is Allocation.SEQUENTIAL:
        ports = predict(_rule(theirs), newest(their_ports), STEPS * 2)
        return Plan(Technique.PREDICTION, _probes(ports[:STEPS] if we_are_lower else ports[1::2]))
    opens = ours.allocation is Allocation.BLOCK and (
        theirs.allocation is Allocation.SEQUENTIAL or we_are_lower
    )
    if opens:
        meeting = (
            meeting_port(theirs)
            if theirs.allocation is Allocation.BLOCK
            else predict(_rule(theirs), newest(their_ports), MEETING_STEP)[-1]
        )
        return Plan(Technique.BLOCKS, _openings(_fill(ours, turns), meeting), True)
    span = range(theirs.low, theirs.high + 1)
    ports = random.sample(span, len(span))
    most = MOST_PROBES if ours.allocation is Allocation.SEQUENTIAL else _fill(ours, turns)
    return Plan(Technique.BLOCKS, _probes(ports[:most]))


def meeting_port(report: NatReport) -> int:
    """The port of a block that both sides agree on without a word: its middle."""
    return (report.low + report.high + 1) // 2


def newest(ports: Sequence[int]) -> int:
    """Of a sequence's ports, given in any order, the one that came last.

    The highest, unless the sequence has just wrapped around.
    """
    highest, lowest = max(ports), min(ports)
    if highest - lowest > 0x8000:
        return max(port for port in ports if port - LOWEST_PORT < 0x8000)
    return highest


def _fill(ours: NatReport, turns: Turns) -> int:
    """How many ports of our own block an attempt may take."""
    size = ours.high - ours.low + 1
    return min(size if turns.fills_whole_blocks else size // 2, MOST_PROBES)


def _rule(report: NatReport) -> PortRule:
    return PortRule(report.allocation, report.stride, report.low, report.high, report.confidence)


def _probes(ports: Sequence[int]) -> tuple[Shot, ...]:
    return tuple(Shot(0, port) for port in ports if port >= LOWEST_PORT)


def _openings(helpers: int, port: int | None) -> tuple[Shot, ...]:
    return tuple(Shot(helper, port, is_opener=True) for helper in range(1, helpers + 1))
