"""Where one peer may be, and what is known of its NAT and of ours: all that was ever told.

    its card        addresses it claims, its NAT
    others          addresses it was seen at, each one's word kept apart (`Sightings`), and ports
                    that it has opened for us
    on our link     addresses it was heard at
    from before     addresses that carried a path
    our own side    how servers see us, our NAT

Rules:
- Nothing here is proved; what may be checked is decided by `targets`, and how often by its budget.
- Nobody's word takes the place of another's: a liar adds places to look at, within the budget, and
  takes none away.
- What servers and the peer itself say leads what mutual peers say; of the same kind the fresher
  word does.  Of those that do not lead, others come first at each attempt.
- A word is kept for `WORD_S`, and the last one until there is another.
"""

from dataclasses import dataclass, replace
from itertools import zip_longest

from natd.core.base.surroundings import Surroundings
from natd.core.base.types import (
    SURE,
    Address,
    Allocation,
    Candidate,
    CandidateKind,
    NatReport,
    PathKind,
    PeerId,
)
from natd.core.checks.candidates import LOWEST_PORT, path_kind, targets
from natd.core.prediction.anchors import MOST_ANCHORS
from natd.core.prediction.sequences import PREDICTED_PORTS
from natd.core.prediction.strategy import Situation

Source = Address | PeerId | None
"""Who says so: a server, a mutual peer, or the peer itself."""

WORD_S = 120.0
"""Longer than the longest wait between two attempts, at which the same is asked for anew."""

MOST_SOURCES = 16
"""More servers than anybody lists, and more mutual peers than are asked in that time."""

MOST_OF_A_WORD = 8
"""Samples, freshest first, and the address that the server is spoken to from."""

LAST_GOOD_LIMIT = 4

LEAST_LOAD_PER_S = 1.0
"""Of a sequence, where little or nothing was measured: a household opens that many flows, and a
sample too many costs a packet."""

TRAVEL_RTTS = 1.5
"""From a sample's leaving to the check that leaves after it: the answer, and half or all of the
introduction that tells of it, by a way that is about as long as ours."""


@dataclass(frozen=True, slots=True)
class _Word:
    addresses: tuple[Address, ...]
    said_at: float
    since: float
    """When the same was said first."""


class Sightings:
    """Where others say that the peer was seen.

    tell ─► a word for each source ─► seen          the one that leads
                                 └──► in_turn()     of each word the first address, the second …
    """

    def __init__(self) -> None:
        self._words: dict[Source, _Word] = {}  # the freshest last
        self._said: dict[Source, tuple[Address, ...]] = {}
        self._turn = 0

    def tell(self, source: Source, addresses: tuple[Address, ...], now: float) -> bool:
        """The peer was seen there, freshest first; gives whether `source` has said otherwise
        since the peer was last reached: then it lives."""
        addresses = addresses[:MOST_OF_A_WORD]
        last = self._words.pop(source, None)
        since = now if last is None or last.addresses != addresses else last.since
        self._words = {s: word for s, word in self._words.items() if now - word.said_at < WORD_S}
        self._words[source] = _Word(addresses, now, since)
        if len(self._words) > MOST_SOURCES:
            del self._words[min(self._words, key=_is_first_hand)]
        before = self._said.get(source)
        self._said = {s: said for s, said in self._said.items() if s in self._words}
        self._said[source] = addresses
        return before is not None and before != self._said[source]

    def reached(self) -> None:
        """A path stands."""
        self._said.clear()

    def take_turns(self) -> None:
        """Another attempt begins."""
        self._turn += 1

    @property
    def seen(self) -> tuple[Address, ...]:
        """What leads, freshest first."""
        ranked = self._ranked()
        return ranked[0].addresses if ranked else ()

    @property
    def seen_since(self) -> float | None:
        """When that was heard first; None: nothing was."""
        ranked = self._ranked()
        return ranked[0].since if ranked else None

    def in_turn(self) -> tuple[Address, ...]:
        """What everybody says, likeliest first, each address once."""
        leading, *others = [word.addresses for word in self._ranked()] or [()]
        at = self._turn % len(others) if others else 0
        rows = zip_longest(leading, *others[at:], *others[:at])
        return tuple(dict.fromkeys(a for row in rows for a in row if a is not None))

    def _ranked(self) -> list[_Word]:
        freshest_first = reversed(self._words)
        ranked = sorted(freshest_first, key=_is_first_hand, reverse=True)
        return [self._words[source] for source in ranked]


class Whereabouts:
    """See the top of this file."""

    def __init__(self) -> None:
        self.surroundings = Surroundings()
        self.their_nat = NatReport()
        self.has_news = False
        """Whether the peer's card came after the last attempt began."""
        self.in_use: Address | None = None
        """Where the path in use leads; None: there is none."""
        self.anchors: tuple[int, ...] = ()
        """Ports that the peer has opened for us."""
        self._sightings = Sightings()
        self._claimed: tuple[Candidate, ...] = ()
        self._last_good: tuple[Address, ...] = ()
        self._on_link: tuple[Address, ...] = ()

    def describe_peer(self, candidates: tuple[Candidate, ...], nat: NatReport) -> None:
        """What the peer's newest card claims."""
        self.has_news = self.has_news or candidates != self._claimed
        self._claimed, self.their_nat = candidates, nat

    def expect(self) -> None:
        """The peer has been started again, or is wanted again."""
        self.has_news = True
        self.anchors = ()

    def introduce(
        self, source: Source, seen: tuple[Address, ...], anchors: tuple[int, ...], now: float
    ) -> bool:
        """Somebody names its addresses, freshest first; gives whether it named others before."""
        self.anchors = anchors or self.anchors
        return self._sightings.tell(source, seen, now)

    def take_turns(self) -> None:
        """Another attempt begins: where those who say where the peer is differ, another one's
        word comes before the rest."""
        self._sightings.take_turns()

    def remember(self, last_good: tuple[Address, ...]) -> None:
        """Addresses that carried a path before."""
        self._last_good = last_good[:LAST_GOOD_LIMIT]

    def reached(self, address: Address) -> None:
        """A path stands to there."""
        self._sightings.reached()
        self._last_good = _first(address, self._last_good)

    def found_on_link(self, address: Address) -> None:
        self._on_link = _first(address, self._on_link)

    @property
    def seen(self) -> tuple[Address, ...]:
        """Where the peer was seen, freshest first, in the word that counts most."""
        return self._sightings.seen

    def is_far_off(self, now: float) -> bool:
        """Whether our sequence has run so far since servers saw us that nobody finds our next port
        by what they tell of us."""
        ours, sampled_at = self.surroundings.nat, self.surroundings.sampled_at
        if sampled_at is None or not ours.is_hard or ours.allocation is not Allocation.SEQUENTIAL:
            return False
        load_per_s = max(ours.load_per_s, LEAST_LOAD_PER_S)
        return load_per_s * (now - sampled_at) > PREDICTED_PORTS / 2

    def drift(self, now: float) -> float:
        """How many steps of the peer's sequence others have likely taken since it was seen there:
        as we were told, and as that was on its way."""
        seen_since = self._sightings.seen_since
        if seen_since is None:
            return 0.0
        on_its_way_s = TRAVEL_RTTS * (self.surroundings.rtt_s or 0.0)
        return self.their_nat.load_per_s * (now - seen_since + on_its_way_s)

    @property
    def is_on_link(self) -> bool:
        """Whether it was ever heard on a link of ours."""
        return bool(self._on_link)

    def targets(self) -> tuple[Candidate, ...]:
        """The addresses worth a check, best first."""
        last_good = self._last_good
        if self.in_use is not None:
            last_good = (self.in_use, *(place for place in last_good if place != self.in_use))
        return targets(
            self._claimed,
            seen=self._sightings.in_turn(),
            last_good=last_good,
            on_link=self._on_link,
            ours=self.surroundings.ours,
            servers=self.surroundings.servers,
        )

    @property
    def places(self) -> tuple[Address, ...]:
        """Where a third may find the peer, likeliest first.

        The path that we have may be one of another socket of the peer's; then its main one is at
        the same host, under the port that it had before or under its own.
        """
        known = self._last_good if self.in_use is None else (self.in_use,)
        lan = (c.address for c in self._claimed if c.kind is CandidateKind.LAN)
        ports = [a.port for a in (*self.seen[:1], *lan) if a.port >= LOWEST_PORT]
        moved = [address._replace(port=port) for port in ports for address in known]
        return tuple(dict.fromkeys((*known, *moved, *self.seen)))

    def situation(self, *, have_checks_failed: bool, is_alone: bool = False) -> Situation:
        """`is_alone`: no server answers.  Then nobody can tell that a NAT has become another one
        since, or has moved us to another port: what it was is no more than a guess, and where its
        next ports were expected none was found before."""
        ours, theirs = self.surroundings.nat, self.their_nat
        if is_alone:
            ours, theirs = _doubted(ours), _doubted(theirs)
            if ours.is_hard != theirs.is_hard:
                ours, theirs = _anywhere(ours), _anywhere(theirs)
        return Situation(ours, theirs, have_checks_failed)

    def kind_of(self, address: Address) -> PathKind:
        """What a path to there is called, if that was not named by anybody."""
        reflexive = Candidate(CandidateKind.PEER_REFLEXIVE, address)
        return path_kind(reflexive, self.surroundings.ours)


def anchors_in(seen: tuple[Address, ...], mark: int | None) -> tuple[tuple[int, ...], int]:
    """The ports in an introduction that a peer says it has opened for us, and how many of the
    addresses that it begins with are none to be checked."""
    ports = [address.port for address in seen[: MOST_ANCHORS + 1]]
    if mark is None or mark not in ports:
        return (), 0
    marked_at = ports.index(mark)
    return tuple(ports[:marked_at]), marked_at + 1


def _is_first_hand(source: Source) -> bool:
    """Not said by a mutual peer."""
    return not isinstance(source, bytes)


def _doubted(report: NatReport) -> NatReport:
    return replace(report, confidence=min(report.confidence, SURE / 2))


def _anywhere(report: NatReport) -> NatReport:
    """Where the ports that follow are known, but the NAT has gone on elsewhere: a single other
    side can still guess."""
    if not report.is_hard or report.allocation not in (Allocation.SEQUENTIAL, Allocation.BLOCK):
        return report
    nothing_known = NatReport()
    return replace(
        report,
        allocation=Allocation.RANDOM,
        stride=0,
        low=nothing_known.low,
        high=nothing_known.high,
    )


def _first(address: Address, others: tuple[Address, ...]) -> tuple[Address, ...]:
    return (address, *(other for other in others if other != address))[:LAST_GOOD_LIMIT]
