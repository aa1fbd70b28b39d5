"""The addresses where one peer may be reached, and what we know of its NAT and of ours.

    its card        addresses it claims, its NAT
    others          addresses they saw it at, kept apart for each source (`ReportedAddresses`),
                    and ports that it has opened for us
    on our link     addresses it was heard at
    from before     addresses that carried a path
    our own side    how servers see us, our NAT

Rules:
- Nothing here is proved: `candidates.targets` decides what may be checked, the budget how often.
- One source never replaces what another reports: a liar adds addresses to check, within the
  budget, and takes none away.
- Reports of servers and of the peer itself come before those of mutual peers, and those of a
  public address before others; of the same kind the fresher comes first.  The others take turns:
  at each attempt another one follows the first.
- A report is kept for `REPORT_KEPT_S`, and the last one until there is another.
- A server at a public address that sees the peer at a private one stands in the peer's network, and
  the peer may be reached where the server is, at its own port: unless the server sees us there,
  too, because then it sees a proxy.
"""

from dataclasses import dataclass, replace
from itertools import zip_longest

from natd.core.base.scope import is_public
from natd.core.base.surroundings import Surroundings
from natd.core.base.types import (
    LAST_GOOD_LIMIT,
    LOWEST_PORT,
    SURE,
    Address,
    Allocation,
    Candidate,
    CandidateKind,
    Mapping,
    NatReport,
    PathKind,
    PeerId,
)
from natd.core.checks.candidates import path_kind, targets
from natd.core.prediction.anchors import MOST_ANCHORS
from natd.core.prediction.sequences import PREDICTED_PORTS
from natd.core.prediction.strategy import Situation

Source = Address | PeerId | None
"""Who reports: a server, a mutual peer, or (None) the peer itself."""

REPORT_KEPT_S = 120.0
"""Longer than the longest wait between two attempts, each of which asks again."""

MOST_SOURCES = 16
"""As many servers as a configuration lists; the oldest report makes room for a mutual peer's."""

MOST_REPORTED = 8
"""A server reports the samples, freshest first, and the address of the lease's flow."""

LEAST_LOAD_PER_S = 1.0
"""Assumed load of a sequence where less was measured: a household opens that many flows, and an
unneeded sample costs one packet."""

TRAVEL_RTTS = 1.5
"""From sending a sample to the check that follows it, in round trips to our server: one for the
answer, and half of one for the introduction, if the peer's way is about as long as ours."""


@dataclass(frozen=True, slots=True)
class _Report:
    addresses: tuple[Address, ...]
    said_at: float
    since: float
    """When the source first reported the same."""


class ReportedAddresses:
    """Where servers and peers report to have seen the peer.

    tell ─► a report for each source ─► seen          the best one
                                   └──► in_turn()     the first address of each, the second …
    """

    def __init__(self) -> None:
        self._reports: dict[Source, _Report] = {}  # the freshest last
        self._said: dict[Source, tuple[Address, ...]] = {}
        self._turn = 0

    def tell(self, source: Source, addresses: tuple[Address, ...], now: float) -> bool:
        """`source` reports these addresses, freshest first.  True if it has reported others since
        the peer was last reached: a sign that the peer is alive."""
        addresses = addresses[:MOST_REPORTED]
        last = self._reports.pop(source, None)
        since = now if last is None or last.addresses != addresses else last.since
        self._reports = {
            s: report for s, report in self._reports.items() if now - report.said_at < REPORT_KEPT_S
        }
        self._reports[source] = _Report(addresses, now, since)
        if len(self._reports) > MOST_SOURCES:
            del self._reports[min(self._reports, key=_is_first_hand)]
        before = self._said.get(source)
        self._said = {s: said for s, said in self._said.items() if s in self._reports}
        self._said[source] = addresses
        return before is not None and before != self._said[source]

    def reached(self) -> None:
        """A path was found."""
        self._said.clear()

    def take_turns(self) -> None:
        """Another attempt begins."""
        self._turn += 1

    @property
    def seen(self) -> tuple[Address, ...]:
        """The addresses of the best report, freshest first."""
        ranked = self._ranked()
        return ranked[0].addresses if ranked else ()

    @property
    def seen_since(self) -> float | None:
        """When `seen` was first reported; None: no report."""
        ranked = self._ranked()
        return ranked[0].since if ranked else None

    def in_turn(self) -> tuple[Address, ...]:
        """The addresses of all reports, likeliest first, each once."""
        leading, *others = [report.addresses for report in self._ranked()] or [()]
        at = self._turn % len(others) if others else 0
        rows = zip_longest(leading, *others[at:], *others[:at])
        return tuple(dict.fromkeys(a for row in rows for a in row if a is not None))

    def _ranked(self) -> list[_Report]:
        freshest_first = reversed(self._reports.items())
        ranked = sorted(freshest_first, key=_rank, reverse=True)
        return [report for _, report in ranked]

    @property
    def by_servers(self) -> tuple[tuple[Address, tuple[Address, ...]], ...]:
        """What each server reports."""
        return tuple(
            (source, report.addresses)
            for source, report in self._reports.items()
            if isinstance(source, Address)
        )


class RemoteCandidates:
    """All that we know of where one peer may be."""

    def __init__(self) -> None:
        self.surroundings = Surroundings()
        self.their_nat = NatReport()
        self.has_news = False
        """Whether the peer's card came after the last attempt began."""
        self.in_use: Address | None = None
        """Where the path in use leads; None: there is none."""
        self.anchors: tuple[int, ...] = ()
        """Ports that the peer has opened for us."""
        self._reported = ReportedAddresses()
        self._claimed: tuple[Candidate, ...] = ()
        self._last_good: tuple[Address, ...] = ()
        self._on_link: tuple[Address, ...] = ()

    def describe_peer(self, candidates: tuple[Candidate, ...], nat: NatReport) -> None:
        """What the peer's newest card claims."""
        self.has_news = self.has_news or candidates != self._claimed
        self._claimed, self.their_nat = candidates, nat

    def expect(self) -> None:
        """The peer was restarted, or unblocked."""
        self.has_news = True
        self.anchors = ()

    def introduce(
        self, source: Source, seen: tuple[Address, ...], anchors: tuple[int, ...], now: float
    ) -> bool:
        """`source` reports addresses, freshest first; True if it had reported others before."""
        self.anchors = anchors or self.anchors
        return self._reported.tell(source, seen, now)

    def take_turns(self) -> None:
        """Another attempt begins: where reports differ, another one follows the best."""
        self._reported.take_turns()

    def remember(self, last_good: tuple[Address, ...]) -> None:
        """Addresses that carried a path before."""
        self._last_good = last_good[:LAST_GOOD_LIMIT]

    def reached(self, address: Address) -> None:
        """A path to this address was found."""
        self._reported.reached()
        self._last_good = _first(address, self._last_good)

    def found_on_link(self, address: Address) -> None:
        self._on_link = _first(address, self._on_link)

    @property
    def seen(self) -> tuple[Address, ...]:
        """Where the peer was seen by the best report, freshest first."""
        return self._reported.seen

    @property
    def seen_since(self) -> float | None:
        """When `seen` was first reported; None: no report."""
        return self._reported.seen_since

    def is_far_off(self, now: float) -> bool:
        """Whether our NAT's sequence has run so far since servers sampled it that the peer can no
        longer predict our next port from that."""
        ours, sampled_at = self.surroundings.nat, self.surroundings.sampled_at
        if sampled_at is None or not ours.is_hard or ours.allocation is not Allocation.SEQUENTIAL:
            return False
        load_per_s = max(ours.load_per_s, LEAST_LOAD_PER_S)
        return load_per_s * (now - sampled_at) > PREDICTED_PORTS / 2

    def drift(self, now: float) -> float:
        """How many steps of the peer's sequence others have likely taken since it was sampled,
        including the time that the report travelled."""
        seen_since = self.seen_since
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
            seen=(*self._reported.in_turn(), *self._beside_servers()),
            last_good=last_good,
            on_link=self._on_link,
            ours=self.surroundings.ours,
            inside=self.surroundings.inside,
            servers=self.surroundings.servers,
            doubtful=self.surroundings.doubtful,
            held=self.surroundings.held,
        )

    @property
    def places(self) -> tuple[Address, ...]:
        """Where another peer may reach this one, likeliest first.

        Our path may lead to another socket of the peer than its main one.  Then the main one is at
        the same host, at the port it had before or at its local port.
        """
        known = self._last_good if self.in_use is None else (self.in_use,)
        lan = (c.address for c in self._claimed if c.kind is CandidateKind.LAN)
        ports = [a.port for a in (*self.seen[:1], *lan) if a.port >= LOWEST_PORT]
        moved = [address._replace(port=port) for port in ports for address in known]
        return tuple(dict.fromkeys((*known, *moved, *self.seen)))

    @property
    def may_have_moved(self) -> bool:
        """Whether the peer's port or ours may be another since it was reached, so that plain
        checks find nobody and only a server could tell: both NATs show all destinations one
        port, and at least one of them is not known to keep ours."""
        last = next(iter(self._last_good), None)
        nats = (self.surroundings.nat, self.their_nat)
        are_easy = not any(nat.is_hard for nat in nats)
        keep_ports = all(nat.allocation is Allocation.PRESERVING for nat in nats)
        return (
            last is not None
            and not last.is_ipv6
            and is_public(last.host)
            and are_easy
            and not keep_ports
        )

    @property
    def last_place(self) -> Address | None:
        """Where the peer was reached last; None: nowhere yet."""
        return self.in_use or next(iter(self._last_good), None)

    def situation(self, *, have_checks_failed: bool, is_alone: bool = False) -> Situation:
        """`is_alone`: no server answers, so nobody can tell us if a NAT was replaced or has moved
        us to another port.  Its class is then only a guess, and so are its next ports."""
        ours, theirs = self.surroundings.nat, self.their_nat
        if is_alone:
            ours, theirs = _doubted(ours), _doubted(theirs)
            if ours.is_hard != theirs.is_hard:
                ours, theirs = _anywhere(ours), _anywhere(theirs)
            elif not ours.is_hard:
                ours, theirs = _moved(ours), _moved(theirs)
        hosts = {a.host for a in self.seen if not a.is_ipv6 and is_public(a.host)}
        has_address_pool = self.surroundings.has_address_pool or len(hosts) > 1
        return Situation(ours, theirs, have_checks_failed, has_address_pool, is_alone)

    def _beside_servers(self) -> list[Address]:
        """Where the peer may be if it is in a server's own network."""
        local = [c.address.port for c in self._claimed if c.kind is CandidateKind.LAN]
        places = []
        for server, addresses in self._reported.by_servers:
            if not is_public(server.host) or any(is_public(a.host) for a in addresses):
                continue
            ports = [a.port for a in addresses if a.host not in self.surroundings.inside]
            places += [server._replace(port=port) for port in (*local[:1], *ports) if ports]
        return places

    def kind_of(self, address: Address) -> PathKind:
        """The kind of a path to an address that no source has named."""
        reflexive = Candidate(CandidateKind.PEER_REFLEXIVE, address)
        return path_kind(reflexive, self.surroundings.ours)


def anchors_in(seen: tuple[Address, ...], mark: int | None) -> tuple[tuple[int, ...], int]:
    """The ports that a peer says it has opened for us, as an introduction begins with them up to
    the pair's mark, and how many of its first addresses are therefore not to be checked."""
    ports = [address.port for address in seen[: MOST_ANCHORS + 1]]
    if mark is None or mark not in ports:
        return (), 0
    marked_at = ports.index(mark)
    return tuple(ports[:marked_at]), marked_at + 1


def _is_first_hand(source: Source) -> bool:
    """Whether a server or the peer itself reports, and not a mutual peer."""
    return not isinstance(source, bytes)


def _rank(reported: tuple[Source, _Report]) -> tuple[bool, bool]:
    source, report = reported
    return _is_first_hand(source), any(is_public(a.host) for a in report.addresses)


def _doubted(report: NatReport) -> NatReport:
    return replace(report, confidence=min(report.confidence, SURE / 2))


def _anywhere(report: NatReport) -> NatReport:
    """The NAT as if its next ports were unknown: its sequence or block is outdated, but an easy
    side can still guess over the full range."""
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


def _moved(report: NatReport) -> NatReport:
    """A NAT that may have given its side another port, drawn from the range that it is known to
    use."""
    allocation = report.allocation
    if allocation not in (Allocation.RANDOM, Allocation.PRESERVING):
        # That it keeps ports would have shown in the first answer, however few there were.
        is_seen = report.mapping is Mapping.INDEPENDENT
        allocation = Allocation.RANDOM if is_seen else Allocation.UNKNOWN
    moved = NatReport(Mapping.INDEPENDENT, allocation=allocation)
    if report.allocation is Allocation.RANDOM:
        moved = replace(moved, low=report.low, high=report.high)
    return moved


def _first(address: Address, others: tuple[Address, ...]) -> tuple[Address, ...]:
    return (address, *(other for other in others if other != address))[:LAST_GOOD_LIMIT]
