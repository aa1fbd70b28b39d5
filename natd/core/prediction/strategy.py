"""What to do when plain checks cannot meet: a plan that follows from the two NAT reports alone.

"Easy" is a mapping that does not depend on the destination, "hard" one that does (RFC 4787,
section 4.1).  Each side makes its own half of the plan without signalling:

    we \\ peer        easy            sequential        block             random
    easy             (ladder)        predict           probe its block   probe its range
    sequential       (ladder)        steps             anchors           nothing
    block            open helpers    all to anchors    open | spray      nothing
    random           open helpers    nothing           nothing           nothing

- *probe*: ports of the peer, in random order, from our one socket: a birthday attempt against the
  many openings of the peer's helper sockets.
- *open helpers*: one low-TTL opener from each of many fresh sockets, so that many of our ports
  let the peer in.  They must not arrive: an easy NAT that accepts them would record the flows
  and then map the peer's own probes to other ports.
- *predict*, *steps*: see `sequences`; *open*, *spray*, *all to anchors*: see `blocks`.

Where all of a block or the likely ports of a sequence were tried in vain, the easy side's socket is
probably spoilt, and the same is done from a fresh one (`punch`); the openers of a block follow it.

A side may only seem easy: a single server has seen it, or no server answers that could confirm it.
It counts as easy until the first round of checks has failed, and as random after that, unless the
other side is hard.  If both only seem easy, each opens helpers and probes, because one of the two
may be easy.

A side may only seem to map by address, because peers report so and no second server does.  It
counts as hard until the first round of checks has failed.  After that, if two hard sides would be
hopeless, it counts as easy: so a peer that lies about us can't part us from a third.

Where an easy side's NAT does not filter by port, plain checks meet a hard side, too: nothing is
guessed until a round of them has failed, as it does if the filter has changed.  A filter by address
is no help if the hard side has several: nobody knows from which its packets come.  Towards a
resident with such a NAT a newcomer makes 5 NAT entries for 59 behind a random NAT, 14 for 46 behind
a block, and the two send half to two thirds of the packets (tests/bench/README.md).

Sources: RFC 5128 section 3.6, Guha and Francis 2005 (prediction), Ford et al. 2005.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from natd.core.base.types import SURE, Allocation, Filtering, Mapping, NatReport
from natd.core.checks.limits import MOST_WAVE_PACKETS
from natd.core.checks.turns import Turns
from natd.core.prediction.birthday import RANDOM_HELPERS, find_again, openings, probe
from natd.core.prediction.blocks import (
    EASY_HELPERS,
    SCOUTS,
    SCOUTS_WAIT_S,
    allowance,
    open_blocks,
    opens_first,
    reach_anchors,
    spray_block,
)
from natd.core.prediction.plan import Plan, Technique
from natd.core.prediction.sequences import reach_sequence, step_towards, stride_of

OPENERS_ROUNDS = 3
OPENERS_PAUSE_S = 12.0
"""Less than the shortest time for which NATs keep an unanswered flow (15 s)."""


SURE_SIZES = range(64, MOST_WAVE_PACKETS // 2 + 1)
"""Of blocks that are probed again from a fresh socket: it takes as many entries once more, and who
claims to have a smaller one could make us open sockets for few packets."""

FOUND = NatReport(Mapping.INDEPENDENT, confidence=1.0)
"""The NAT at the end of an established path: its address is known."""


def as_unpredictable(report: NatReport) -> NatReport:
    """The same NAT, as if the port of a new flow could not be predicted."""
    is_known = report.allocation in (Allocation.RANDOM, Allocation.BLOCK)
    ranged = report if is_known else NatReport(allocation=Allocation.RANDOM)
    return replace(ranged, mapping=Mapping.DEPENDENT, confidence=1.0)


@dataclass(frozen=True, slots=True)
class Situation:
    """The facts that both halves of a plan follow from."""

    ours: NatReport
    theirs: NatReport
    have_checks_failed: bool = False
    """Whether a round of plain checks has found no path between two that seemed easy."""
    has_address_pool: bool = False
    """Whether either side was seen at several IPv4 addresses."""
    is_alone: bool = False
    """Whether no server can tell either side where the other is now."""

    @property
    def is_hearsay(self) -> bool:
        """Whether the pair would be hopeless, and one side is hard only by peers' reports."""
        would_be_given_up = self._are_hard_by_report and self._has_no_plan
        rests_on_peers = _seems_hard(self.ours) or _seems_hard(self.theirs)
        return would_be_given_up and rests_on_peers and self.have_checks_failed

    @property
    def is_doubtful(self) -> bool:
        """Whether no side is known to be hard, and both may be."""
        if self.is_hearsay:
            return _seems_hard(self.ours) and _seems_hard(self.theirs)
        return _seems_easy(self.ours) and _seems_easy(self.theirs) and self.have_checks_failed

    @property
    def we_are_hard(self) -> bool:
        return self._counts_as_hard(self.ours, self.theirs)

    @property
    def they_are_hard(self) -> bool:
        return self._counts_as_hard(self.theirs, self.ours)

    @property
    def are_both_hard(self) -> bool:
        return self._are_hard_by_report and not self.is_hearsay

    @property
    def is_let_in(self) -> bool:
        """Whether one side is hard, and the other's NAT lets it in by whatever port it comes."""
        if self.have_checks_failed or self.ours.is_hard == self.theirs.is_hard:
            return False
        easy = self.theirs if self.ours.is_hard else self.ours
        is_easy = easy.mapping is not Mapping.UNKNOWN and not easy.may_be_hard
        if easy.filtering is Filtering.ADDRESS_DEPENDENT and self.has_address_pool:
            return False
        return is_easy and easy.lets_any_port_in

    @property
    def wants_plan(self) -> bool:
        if self.is_let_in:
            return False
        return self.is_doubtful or self.we_are_hard or self.they_are_hard

    @property
    def wants_samples(self) -> bool:
        """Whether both sides must guess a port, each from a fresh sample."""
        kinds = {self.ours.allocation, self.theirs.allocation}
        return self.are_both_hard and kinds == {Allocation.SEQUENTIAL}

    @property
    def predicts(self) -> bool:
        """Whether our side is easy and guesses the next port of a sequence."""
        is_sequence = self.theirs.allocation is Allocation.SEQUENTIAL
        return is_sequence and self.theirs.is_hard and not self.are_both_hard

    @property
    def is_early(self) -> bool:
        """Whether our side would predict as an easy one, and it is not known yet if it is."""
        is_unknown = self.ours.mapping is Mapping.UNKNOWN
        return self.predicts and is_unknown and not self.have_checks_failed

    @property
    def wants_anchors(self) -> bool:
        """Whether our half is to open anchors for the peer's block (see `anchors`)."""
        kinds = (self.ours.allocation, self.theirs.allocation)
        return self.are_both_hard and kinds == (Allocation.SEQUENTIAL, Allocation.BLOCK)

    @property
    def is_premature(self) -> bool:
        """Whether the blocks are not known well enough yet to fill them, or our sequence to measure
        it: ports spent on half a block, or on a block that looks like a sequence, can't be spent
        again."""
        if self.wants_anchors:
            spent_on = [self.ours]
        else:
            spent_on = [r for r in (self.ours, self.theirs) if r.allocation is Allocation.BLOCK]
        are_sure = all(report.allocation_confidence >= SURE for report in spent_on)
        return self.are_both_hard and not (are_sure or self.have_checks_failed)

    @property
    def is_hopeless(self) -> bool:
        """Whether there is no plan: only a relay, a mapped port or IPv6 would connect the two."""
        return self.are_both_hard and self._has_no_plan

    @property
    def _are_hard_by_report(self) -> bool:
        return self.ours.is_hard and self.theirs.is_hard

    @property
    def _has_no_plan(self) -> bool:
        """Whether two such sides, if both are hard, can't guess each other's ports."""
        kinds = {self.ours.allocation, self.theirs.allocation}
        return not kinds <= {Allocation.SEQUENTIAL, Allocation.BLOCK}

    def _counts_as_hard(self, one: NatReport, other: NatReport) -> bool:
        if self.is_hearsay:
            return not _seems_hard(one)
        return one.is_hard or (
            self.have_checks_failed and one.may_be_hard and not other.may_be_hard
        )


def relevant_part(situation: Situation) -> Situation:
    """The situation without details that change no plan, so that news of them restarts none."""
    is_hearsay = situation.is_hearsay
    doubt_matters = is_hearsay or not (situation.ours.is_hard or situation.theirs.is_hard)
    ours = _relevant_part_of(situation.ours, is_hearsay)
    if ours.allocation is not Allocation.BLOCK:
        nothing_known = NatReport()
        ours = replace(ours, low=nothing_known.low, high=nothing_known.high)
    theirs = _relevant_part_of(situation.theirs, is_hearsay)
    theirs = replace(theirs, stride=stride_of(situation.theirs))
    if not situation.is_alone and situation.we_are_hard is not situation.they_are_hard:
        if situation.we_are_hard:
            ours, theirs = _as_planned_for(ours), _as_easy(theirs, beside=ours)
        else:
            ours, theirs = _as_easy(ours, beside=theirs), _as_planned_for(theirs)
    have_checks_failed = situation.have_checks_failed and doubt_matters
    return Situation(ours, theirs, have_checks_failed, is_alone=situation.is_alone)


def make_plan(
    situation: Situation,
    *,
    their_ports: Sequence[int],
    known_ports: Sequence[int],
    anchors: Sequence[int] = (),
    drift: float = 0.0,
    we_are_lower: bool,
    turns: Turns,
    random: Random,
    now: float,
) -> Plan | None:
    """Our half of the plan; None: wait for the peer's half, or give up.

    `turns` says what the user allows; `their_ports` are the peer's external ports as servers see
    them, `known_ports` all that they ever saw, `anchors` those that it has opened for us, `drift`
    how many steps others have taken of its sequence since; `we_are_lower` is true on one of the
    two sides, and decides where the halves would be the same.
    """
    ours, theirs = situation.ours, situation.theirs
    if situation.are_both_hard:
        plan = _both_hard(
            situation, their_ports, known_ports, anchors, drift, we_are_lower, turns, random, now
        )
        if plan is not None and ours.mapping is Mapping.ADDRESS_DEPENDENT:
            return _from_own_sockets(plan, turns)
        return plan
    if situation.is_doubtful and situation.is_alone:
        return find_again(theirs, min(RANDOM_HELPERS, turns.helper_sockets), random)
    if situation.is_doubtful:
        opened = openings(min(RANDOM_HELPERS, turns.helper_sockets))
        probes = probe(theirs, MOST_WAVE_PACKETS - len(opened), random)
        return Plan(Technique.BIRTHDAY, opened + probes, is_careful=True, opens_at_once=True)
    if situation.they_are_hard:
        if situation.predicts and their_ports:
            return reach_sequence(theirs, their_ports, drift)
        probes = probe(theirs, MOST_WAVE_PACKETS, random)
        is_all = len(probes) == theirs.high - theirs.low + 1
        is_sure = is_all and theirs.allocation is Allocation.BLOCK and len(probes) in SURE_SIZES
        return Plan(Technique.BIRTHDAY, probes, is_careful=True, is_sure=is_sure)
    if situation.we_are_hard:
        return _open_to_easy(ours, theirs, turns)
    return None


def _relevant_part_of(report: NatReport, is_hearsay: bool) -> NatReport:
    is_sure = report.confidence >= SURE if is_hearsay else report.is_hard or not report.may_be_hard
    return NatReport(
        report.mapping,
        allocation=report.allocation,
        confidence=1.0 if is_sure else 0.0,
        stride=report.stride,
        low=report.low,
        high=report.high,
    )


def _as_planned_for(hard: NatReport) -> NatReport:
    """Until its rule is known, a hard side is planned for as if it drew its ports at random."""
    if hard.allocation is Allocation.UNKNOWN:
        return replace(hard, allocation=Allocation.RANDOM)
    return hard


def _as_easy(report: NatReport, *, beside: NatReport) -> NatReport:
    """An easy side beside a hard one: which ports it gives is no matter, and whether it is known
    to be easy is one only to a block."""
    is_unknown = report.mapping is Mapping.UNKNOWN and beside.allocation is Allocation.BLOCK
    return NatReport(
        Mapping.UNKNOWN if is_unknown else Mapping.INDEPENDENT,
        confidence=0.0 if is_unknown else 1.0,
    )


def _open_to_easy(ours: NatReport, theirs: NatReport, turns: Turns) -> Plan | None:
    if ours.is_hard and ours.allocation is Allocation.SEQUENTIAL:
        return None  # the peer predicts the mapping that our checks make
    wanted, is_block, wait_s = RANDOM_HELPERS, ours.allocation is Allocation.BLOCK, 0.0
    if is_block and theirs.mapping is Mapping.UNKNOWN:
        wanted, wait_s = SCOUTS, SCOUTS_WAIT_S
    elif is_block:
        wanted = EASY_HELPERS
    opened = openings(min(wanted, turns.helper_sockets))
    if not opened:
        return None
    return Plan(
        Technique.BIRTHDAY,
        opened,
        begins_after_s=wait_s,
        follows=is_block and 2 * len(opened) <= allowance(ours, turns),
        rounds=OPENERS_ROUNDS,
        pause_s=OPENERS_PAUSE_S,
        opens_at_once=not is_block,  # the peer's next report may show a better use of its ports
    )


def _both_hard(
    situation: Situation,
    their_ports: Sequence[int],
    known_ports: Sequence[int],
    anchors: Sequence[int],
    drift: float,
    we_are_lower: bool,
    turns: Turns,
    random: Random,
    now: float,
) -> Plan | None:
    ours, theirs = situation.ours, situation.theirs
    if situation.is_hopeless or not their_ports:
        return None
    if ours.allocation is Allocation.SEQUENTIAL:
        if theirs.allocation is Allocation.BLOCK:
            return None  # anchors are measured, not planned
        return step_towards(
            theirs,
            their_ports,
            drift,
            we_are_lower=we_are_lower,
            most_helpers=turns.helper_sockets,
        )
    entries = allowance(ours, turns) - turns.ports_taken(now)
    if turns.spares_blocks or entries <= 0:
        return None
    if theirs.allocation is Allocation.SEQUENTIAL:
        return reach_anchors(entries, anchors, turns) if anchors else None
    if opens_first(ours, theirs, we_are_lower=we_are_lower):
        return open_blocks(entries, ours, theirs, known_ports, turns)
    return spray_block(entries, ours, theirs, known_ports, turns, random)


def _from_own_sockets(plan: Plan, turns: Turns) -> Plan:
    """Each packet from its own socket: a NAT that maps by address gives a socket the same port
    towards all ports of the peer."""
    packets = plan.packets[: turns.block_sockets]
    return replace(
        plan,
        packets=tuple(replace(packet, helper=number + 1) for number, packet in enumerate(packets)),
    )


def _seems_easy(report: NatReport) -> bool:
    return report.may_be_hard and not report.is_hard


def _seems_hard(report: NatReport) -> bool:
    return report.mapping is Mapping.ADDRESS_DEPENDENT and report.confidence < SURE
