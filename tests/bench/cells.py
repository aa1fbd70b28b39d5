"""The cells of the matrix: who stands behind what, what is wanted, and what physics allows.

A *row* is one line of the published table and has one or more *cells*, one for each ordered pair
of NATs; a row's figures are those of its worst cell.  The resident is there first and has
settled; the newcomer joins, speaks at once, and the clock runs until the resident has read it.

Physical limits, for 25 ms one way at each access, so that a round trip between any two takes
100 ms, and one server:

     0  the newcomer's REGISTER leaves
    50  the server has it, knows where the newcomer is seen, and introduces the two
   100  either side knows where the other is seen, and may send
   150  what either sent has arrived

- *150 ms* where the newcomer's first packet is let in: the resident is seen at the port that it
  was introduced with (open, or endpoint-independent mapping), and its filter admits the newcomer:
  it asks for nothing, or for an address that it has itself sent to at 100, or for an address and
  port that the newcomer keeps.  So a newcomer with a hard NAT reaches the open, the full-cone and
  the address-restricted in 150.  A port that the router maps is such a port, too.
- *200 ms* where the resident's NAT is hard and the newcomer's filter is not by port: nobody can
  know the resident's new port before its check has come to the newcomer, at 150; what the newcomer
  says then needs 50 more.
- *150 ms, by luck* where a hard NAT meets a filter by port, or another hard NAT: a port has to be
  guessed, and the limit is that of a first guess that is right.  How long a search takes is
  another matter; these rows have targets of their own.
- *100 ms and what the LANs take* where the two are on one LAN or behind one carrier's NAT: the
  last crossing is not of the internet.  (Who finds the other by multicast needs no server, and may
  be there sooner.)
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import product

from natd.core.verdict import VerdictCode
from tests.fabric import ACCESS_DELAY_S, LAN_DELAY_S, Weather
from tests.nat import (
    ADDRESS_DEPENDENT,
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    Dependence,
    Hairpin,
    NatPolicy,
    Ports,
)

INTRODUCED_S = 4 * ACCESS_DELAY_S
CROSSING_S = 2 * ACCESS_DELAY_S

LAN_HOPS = 4
"""Of a path, at most, where it goes through two layers of NAT at either end."""

OVER_LIMIT_S = 0.040
"""What a median may take above the limit where the target is the limit."""

ATTEMPT_S = 15.0
"""Within which a first attempt has ended, one way or the other."""

OTHERS_SHARE = 0.3
"""Of the ports of a sequence that other users hold already."""


class Place(StrEnum):
    """Where the two stand towards one another."""

    APART = "apart"
    """Each behind a NAT of its own on the internet."""
    LAN = "same LAN"
    CARRIER = "same carrier NAT"
    """Each behind a NAT of its own on the LAN of one carrier's NAT."""
    NESTED = "nested"
    """Each behind a NAT of its own behind a carrier's NAT of its own."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two, and what it is behind."""

    name: str
    policy: NatPolicy | None = None
    """None: a public address."""
    mapped_by: str | None = None
    """The protocol by which the router maps its port; None: it maps nothing."""
    ipv6: bool = False
    """It has IPv6, too, behind a stateful firewall."""
    blocks_udp: bool = False

    @property
    def is_hard(self) -> bool:
        """Whether a new destination sees another port."""
        return self.policy is not None and self.policy.mapping is not Dependence.INDEPENDENT

    @property
    def filters_by_port(self) -> bool:
        policy = self.policy
        return policy is not None and policy.filtering is Dependence.ADDRESS_AND_PORT

    @property
    def is_linux(self) -> bool:
        return self.policy is not None and self.policy.conntrack


@dataclass(frozen=True, slots=True)
class Target:
    """What a row has to show."""

    share: float | None = None
    """Of the runs that become direct; None: it is a verdict that is wanted."""
    median_s: float | None = None
    """None: the limit and `OVER_LIMIT_S`, or nothing where `is_timed` is false."""
    p95_s: float | None = None
    is_timed: bool = True
    within_s: float = ATTEMPT_S
    """Later than this after the newcomer's first packet does not count."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One ordered pair of NATs."""

    row: str
    resident: Side
    newcomer: Side
    target: Target
    place: Place = Place.APART
    carrier: NatPolicy = PORT_RESTRICTED
    jitter_s: float = 0.0
    fill_blocks: str = "half"
    is_early: bool = False
    """One packet of the peer's comes to a Linux side's NAT before that has sent there itself, and
    its INPUT accepts: the flow that it leaves behind clashes with our punch."""
    only_virtual: bool = False

    @property
    def name(self) -> str:
        early = ", early packet" if self.is_early else ""
        return f"{self.row}: {self.resident.name} x {self.newcomer.name}{early}"

    @property
    def wants_verdict(self) -> bool:
        return self.target.share is None

    @property
    def truth(self) -> VerdictCode:
        """What keeps the two apart, by the policies alone, in a cell that wants a verdict."""
        assert self.wants_verdict
        if self.newcomer.blocks_udp:
            return VerdictCode.UDP_BLOCKED
        if self.place is Place.CARRIER:
            return VerdictCode.NO_HAIRPIN
        kinds = {side.policy.ports for side in (self.resident, self.newcomer) if side.policy}
        assert Ports.RANDOM in kinds
        return VerdictCode.BOTH_RANDOM if kinds == {Ports.RANDOM} else VerdictCode.SEQUENTIAL_RANDOM

    @property
    def limit_s(self) -> float:
        """See the top of this file."""
        if self.place in (Place.LAN, Place.CARRIER):
            return INTRODUCED_S + LAN_HOPS * LAN_DELAY_S
        resident, newcomer = self.resident, self.newcomer
        if resident.mapped_by or (resident.ipv6 and newcomer.ipv6):
            return INTRODUCED_S + CROSSING_S
        if newcomer.mapped_by and resident.is_hard:
            return INTRODUCED_S + 2 * CROSSING_S
        if resident.is_hard and not newcomer.filters_by_port:
            return INTRODUCED_S + 2 * CROSSING_S
        return INTRODUCED_S + CROSSING_S

    @property
    def median_target_s(self) -> float | None:
        if self.wants_verdict or not self.target.is_timed:
            return None
        return self.target.median_s or self.limit_s + OVER_LIMIT_S

    @property
    def weather(self) -> Weather:
        return Weather(jitter_s=self.jitter_s)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    cells: tuple[Cell, ...]
    early_cells: tuple[Cell, ...] = field(default=())
    """The cells with a Linux side once more, with an early packet."""


OPEN = Side("open")
CONE = Side("full-cone", FULL_CONE)
ADDRESS = Side("address-restricted", ADDRESS_RESTRICTED)
PORT = Side("port-restricted", PORT_RESTRICTED)
LINUX_SIDE = Side("linux", LINUX)
LINUX_OPEN_INPUT = Side("linux accepting", LINUX_ACCEPTING)
BY_ADDRESS = Side("address-dependent", ADDRESS_DEPENDENT)
RANDOM = Side("random", SYMMETRIC_RANDOM)
_LOADED = replace(SYMMETRIC_SEQUENTIAL, taken_share=OTHERS_SHARE)
SEQUENCES = (
    Side("sequential", _LOADED),
    Side("every second", replace(_LOADED, stride=2)),
)
BLOCK = Side("block", SYMMETRIC_BLOCK)

EASY = (OPEN, CONE, ADDRESS, PORT, LINUX_SIDE)
NOT_BY_PORT = (OPEN, CONE, ADDRESS)

UPNP, NAT_PMP, PCP = "UPnP", "NAT-PMP", "PCP"

ALL = Target(share=1.0)
NEARLY_ALL = 0.99
SOON = Target(share=NEARLY_ALL, median_s=0.6)
WITHIN_A_SECOND = Target(share=NEARLY_ALL, median_s=1.0)
VERDICT = Target()
BLOCKED_VERDICT = Target(within_s=10.0)


def _row(
    name: str,
    title: str,
    pairs: tuple[tuple[Side, Side], ...],
    target: Target,
    *,
    place: Place = Place.APART,
    carrier: NatPolicy = PORT_RESTRICTED,
    jitter_s: float = 0.0,
    fill_blocks: str = "half",
    only_virtual: bool = False,
) -> Row:
    """A row of ordered pairs, the resident first."""
    cells = tuple(
        Cell(
            name,
            resident,
            newcomer,
            target,
            place=place,
            carrier=carrier,
            jitter_s=jitter_s,
            fill_blocks=fill_blocks,
            only_virtual=only_virtual,
        )
        for resident, newcomer in pairs
    )
    early = tuple(
        replace(cell, is_early=True)
        for cell in cells
        if cell.place is Place.APART and (cell.resident.is_linux or cell.newcomer.is_linux)
    )
    return Row(name, title, cells, early)


def _both_ways(left: tuple[Side, ...], right: tuple[Side, ...]) -> tuple[tuple[Side, Side], ...]:
    return tuple(product(left, right)) + tuple(product(right, left))


def _mapped(side: Side, protocol: str) -> Side:
    return replace(side, name=f"{side.name} with {protocol}", mapped_by=protocol)


_WITH_IPV6 = replace(RANDOM, name="random with IPv6", ipv6=True)
_BLOCKED = replace(PORT, name="UDP blocked", blocks_udp=True)
_HOME = replace(PORT, name="home")

ROWS: tuple[Row, ...] = (
    _row(
        "easy",
        "any two of open, full-cone, address-restricted, port-restricted, Linux",
        tuple(product(EASY, EASY)),
        ALL,
    ),
    _row(
        "accepting",
        "Linux with accepting INPUT and 20 ms jitter, both sides",
        ((LINUX_OPEN_INPUT, LINUX_OPEN_INPUT),),
        Target(share=1.0, median_s=1.0),
        jitter_s=0.020,
    ),
    _row(
        "by address",
        "address-dependent mapping × open, full-cone, address-restricted",
        _both_ways((BY_ADDRESS,), NOT_BY_PORT),
        ALL,
    ),
    _row(
        "random",
        "random full-range × open, full-cone, address-restricted",
        _both_ways((RANDOM,), NOT_BY_PORT),
        ALL,
    ),
    _row(
        "birthday",
        "random full-range, or address-dependent random, × port-restricted or Linux",
        _both_ways((RANDOM, BY_ADDRESS), (PORT, LINUX_SIDE)),
        Target(share=NEARLY_ALL, median_s=1.5, p95_s=6.0),
    ),
    _row(
        "sequence",
        "sequential (stride 1 and 2, others take 30 % of ports) × port-restricted",
        _both_ways(SEQUENCES, (PORT,)),
        SOON,
    ),
    _row(
        "two sequences",
        "sequential × sequential, same load",
        tuple(product(SEQUENCES, SEQUENCES)),
        Target(share=0.95, median_s=2.0),
    ),
    _row(
        "two blocks, full",
        "block of 512 × block of 512, whole block allowed",
        ((BLOCK, BLOCK),),
        Target(share=0.95, median_s=6.0),
        fill_blocks="full",
    ),
    _row(
        "two blocks, half",
        "the same at the default `half`, first attempt",
        ((BLOCK, BLOCK),),
        Target(share=0.20, is_timed=False),
    ),
    _row(
        "two blocks, half, 6 min",
        "the same within 6 min",
        ((BLOCK, BLOCK),),
        Target(share=0.90, is_timed=False, within_s=360.0),
        only_virtual=True,
    ),
    _row(
        "block and sequence, full",
        "block × sequential, whole block allowed",
        _both_ways((BLOCK,), SEQUENCES[:1]),
        Target(share=0.90, median_s=6.0),
        fill_blocks="full",
    ),
    _row(
        "block and sequence, half",
        "the same at the default `half`, first attempt",
        _both_ways((BLOCK,), SEQUENCES[:1]),
        Target(share=0.40, median_s=6.0),
    ),
    _row(
        "block and sequence, half, 3 min",
        "the same within 3 min",
        _both_ways((BLOCK,), SEQUENCES[:1]),
        Target(share=0.95, is_timed=False, within_s=180.0),
        only_virtual=True,
    ),
    _row(
        "block",
        "block × port-restricted",
        _both_ways((BLOCK,), (PORT,)),
        SOON,
    ),
    _row(
        "block, easy",
        "block × open, full-cone, address-restricted",
        _both_ways((BLOCK,), NOT_BY_PORT),
        ALL,
    ),
    _row(
        "hopeless",
        "random full-range both sides, or sequential × random",
        ((RANDOM, RANDOM), *_both_ways((RANDOM,), SEQUENCES)),
        VERDICT,
    ),
    _row(
        "hopeless, mapped",
        "the same where either side has port mapping",
        tuple(
            pair
            for other in (RANDOM, SEQUENCES[0])
            for pair in ((_mapped(RANDOM, PCP), other), (other, _mapped(RANDOM, PCP)))
        ),
        WITHIN_A_SECOND,
    ),
    _row(
        "IPv6",
        "the same where both have IPv6 behind firewalls",
        ((_WITH_IPV6, _WITH_IPV6),),
        ALL,
    ),
    _row("same LAN", "same LAN", ((PORT, PORT), (RANDOM, RANDOM)), ALL, place=Place.LAN),
    _row(
        "hairpin",
        "same carrier NAT with hairpin",
        ((_HOME, _HOME),),
        ALL,
        place=Place.CARRIER,
        carrier=replace(PORT_RESTRICTED, hairpin=Hairpin.EXTERNAL_SOURCE),
    ),
    _row(
        "nested",
        "nested NAT",
        ((PORT, PORT), (LINUX_SIDE, LINUX_SIDE)),
        ALL,
        place=Place.NESTED,
    ),
    *(
        _row(
            protocol,
            f"real miniupnpd, {protocol} alone, random full-range × the same",
            ((_mapped(RANDOM, protocol), _mapped(RANDOM, protocol)),),
            WITHIN_A_SECOND,
        )
        for protocol in (UPNP, NAT_PMP, PCP)
    ),
    _row(
        "homes, mapped",
        "two homes under one carrier NAT without hairpin, inner routers map ports",
        ((_mapped(_HOME, PCP), _mapped(_HOME, PCP)),),
        WITHIN_A_SECOND,
        place=Place.CARRIER,
    ),
    _row(
        "homes",
        "the same without port mapping",
        ((_HOME, _HOME),),
        VERDICT,
        place=Place.CARRIER,
    ),
    _row("blocked", "UDP blocked", ((PORT, _BLOCKED),), BLOCKED_VERDICT),
)
