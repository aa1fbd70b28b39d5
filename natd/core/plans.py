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
- *steps*: both send rows of packets to the other's next ports: one side to every second port,
  the other several times to every tenth (baby-step giant-step), so that whatever few ports
  others took in between, two packets meet.
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

STEPS = 200
SMALL_STEP = 2
GIANT_STEP = 10
GIANT_WIDTH = 8
"""Packets of a giant step, each from another socket.  Of all patterns of this length these meet
most often (8 of 10 times) when the first few ports are lost to checks and others hold anything
between none and a third of the rest."""

SCOUTS = 8
"""Of openers while nobody knows yet whether the peer is easy: ports of a block are few."""

RANDOM_HELPERS = 256
"""With 1,000 probes over the full range: 98 %."""

BLOCK_HELPERS = 32
"""Against an easy peer, who probes the whole block: one opening would do, many are quicker."""

MEETING_STEP = 64
"""Where in its sequence a sequential peer is awaited: past what others and its own checks take
until its spray begins, well before that ends."""

OPENERS_REPEAT_S = 12.0
"""Less than the shortest time for which a NAT remembers a flow that nobody answered (15 s)."""

SPRAY_REPEAT_S = 0.1


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
    repeat_after_s: float | None = None
    """All of it is sent again after this pause, which takes no further ports of ours: openers,
    or the NAT would forget them, and a spray, whose first packets came before the peer's
    openers.  None: once is enough."""

    @property
    def helpers(self) -> int:
        """How many fresh sockets it takes."""
        return max((shot.helper for shot in self.shots), default=0)


def is_hard(report: NatReport) -> bool:
    return report.is_hard


def is_guessable(
    ours: NatReport, theirs: NatReport, ours_are_news: bool, theirs_are_news: bool
) -> bool:
    """Between two hard NATs a sequence is worth guessing at only from a sample of this round."""
    if not (is_hard(ours) and is_hard(theirs)):
        return True
    ours_are_known = ours.allocation is not Allocation.SEQUENTIAL or ours_are_news
    return ours_are_known and (theirs.allocation is not Allocation.SEQUENTIAL or theirs_are_news)


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

    `turns` says what the user allows it to cost; `their_ports` are the peer's external ports as
    servers saw them; `we_are_lower` is true on one side of the two, where the halves differ for
    no other reason.
    """
    if is_hard(theirs):
        if not is_hard(ours):
            return _reach_hard(theirs, their_ports, random)
        return _both_hard(ours, theirs, their_ports, we_are_lower, turns, random)
    if is_hard(ours):
        return _open_to_easy(ours, theirs, turns)
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


def _open_to_easy(ours: NatReport, theirs: NatReport, turns: Turns) -> Plan | None:
    if ours.allocation is Allocation.SEQUENTIAL:
        return None  # the ladder's own mapping is the one that the peer predicts
    wanted = RANDOM_HELPERS
    if ours.allocation is Allocation.BLOCK:
        wanted = SCOUTS if theirs.mapping is Mapping.UNKNOWN else BLOCK_HELPERS
    openings = _openings(min(wanted, turns.helper_sockets), None)
    return Plan(Technique.BIRTHDAY, openings, OPENERS_REPEAT_S)


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
    if ours.allocation is Allocation.BLOCK and turns.spares_blocks:
        return None
    if ours.allocation is theirs.allocation is Allocation.SEQUENTIAL:
        ports = predict(_rule(theirs), newest(their_ports), STEPS * SMALL_STEP)
        if we_are_lower:
            return Plan(Technique.PREDICTION, _probes(ports[::SMALL_STEP]))
        return Plan(Technique.PREDICTION, _giant_steps(ports))
    opens = ours.allocation is Allocation.BLOCK and (
        theirs.allocation is Allocation.SEQUENTIAL or we_are_lower
    )
    if opens:
        meeting = (
            meeting_port(theirs)
            if theirs.allocation is Allocation.BLOCK
            else predict(_rule(theirs), newest(their_ports), MEETING_STEP)[-1]
        )
        return Plan(Technique.BLOCKS, _openings(_fill(ours, turns), meeting), OPENERS_REPEAT_S)
    span = range(theirs.low, theirs.high + 1)
    ports = random.sample(span, len(span))
    most = MOST_PROBES if ours.allocation is Allocation.SEQUENTIAL else _fill(ours, turns)
    return Plan(Technique.BLOCKS, _probes(ports[:most]), SPRAY_REPEAT_S)


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


def _giant_steps(ports: Sequence[int]) -> tuple[Shot, ...]:
    """`GIANT_WIDTH` packets to one port, each from another socket, then on to the next."""
    rows = ports[: STEPS * GIANT_STEP // GIANT_WIDTH : GIANT_STEP]
    return tuple(Shot(helper, port) for port in rows for helper in range(1, GIANT_WIDTH + 1))


def _openings(helpers: int, port: int | None) -> tuple[Shot, ...]:
    return tuple(Shot(helper, port, is_opener=True) for helper in range(1, helpers + 1))
