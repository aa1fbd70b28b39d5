"""The cells of the matrix: who stands behind what, what is wanted, and what physics allows.

A *row* is one line of the published table and has one or more *cells*, one for each ordered pair
of NATs; a row's figures are those of its worst cell.  The resident is there first and has
settled; the newcomer joins, speaks at once, and the clock runs until the resident has read it.

Both are in one open network, as `natctl join demo --server ...` makes it.  A *variant* of a cell
is the same pair elsewhere: in a network with a secret, met by an early packet, with no router
between the two NATs, or at another distance.

Physical limits, for 25 ms one way at each access, so that a round trip between any two takes
100 ms, and one server, which is always 25 ms away from the middle:

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

from dataclasses import dataclass, field
from enum import StrEnum

from natd.core.base.verdict import VerdictCode
from tests.internet.fabric import ACCESS_DELAY_S, LAN_DELAY_S, Weather
from tests.internet.nat import PORT_RESTRICTED, Dependence, NatPolicy, Ports

SERVER_DELAY_S = ACCESS_DELAY_S

HOPS = 2
"""Routers between two NATs: each has its provider's."""

SEGMENT_DELAY_S = 0.0001
"""One way, where two NATs are on one segment: half of it at either end."""
SEGMENT_JITTER_S = SEGMENT_DELAY_S / 5

SETTLED_S = 3.0
"""Of the virtual resident, before the newcomer starts.  After 20 s it knows whom its NAT lets in,
too."""

LAN_HOPS = 4
"""Of a path, at most, where it goes through two layers of NAT at either end."""

OVER_LIMIT = 1.10
"""How many times the limit a median may take where the target is the limit."""

LATER_S = 0.040
"""How much later than the limit it may be in other rows that need no guess."""

ATTEMPT_S = 15.0
"""Within which a first attempt has ended, one way or the other."""


EARLY, NO_HOP, SECRET = "early packet", "no hop between", "secret network"
"""Variants that the table has columns for."""


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
    """None: by the limit, or nothing where `is_timed` is false."""
    later_s: float | None = None
    """So much later than the limit; None: `OVER_LIMIT` times the limit."""
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
    is_secret: bool = False
    """Whether the network has a secret."""
    delay_s: float = ACCESS_DELAY_S
    """One way, between either side's NAT (or its host) and the middle of the internet."""
    hops: int = HOPS
    """Routers between the two."""
    more_jitter_s: float = 0.0
    """Beside what the row has."""
    settled_s: float = SETTLED_S

    @property
    def variant(self) -> str:
        """What is other than in the table's own cell; "" where nothing is."""
        is_plain_distance = self.hops == 0 and self.delay_s == SEGMENT_DELAY_S / 2
        parts = {
            EARLY: self.is_early,
            NO_HOP: is_plain_distance,
            SECRET: self.is_secret,
            f"{self.hops} hops": self.hops != HOPS and not is_plain_distance,
            f"{self.delay_s * 1000:g} ms": self.delay_s != ACCESS_DELAY_S and not is_plain_distance,
            f"{self.more_jitter_s * 1000:g} ms more jitter": self.more_jitter_s > 0.0,
            f"settled {self.settled_s:g} s": self.settled_s != SETTLED_S,
        }
        return ", ".join(part for part, is_so in parts.items() if is_so)

    @property
    def name(self) -> str:
        pair = f"{self.row}: {self.resident.name} x {self.newcomer.name}"
        return f"{pair}, {self.variant}" if self.variant else pair

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
        introduced_s = 2 * (self.delay_s + SERVER_DELAY_S)
        crossing_s = 2 * self.delay_s
        if self.place in (Place.LAN, Place.CARRIER):
            return introduced_s + LAN_HOPS * LAN_DELAY_S
        resident, newcomer = self.resident, self.newcomer
        if resident.mapped_by or (resident.ipv6 and newcomer.ipv6):
            return introduced_s + crossing_s
        if newcomer.mapped_by and resident.is_hard:
            return introduced_s + 2 * crossing_s
        if resident.is_hard and not newcomer.filters_by_port:
            return introduced_s + 2 * crossing_s
        return introduced_s + crossing_s

    @property
    def median_target_s(self) -> float | None:
        if self.wants_verdict or not self.target.is_timed:
            return None
        later_s = self.target.later_s
        by_limit_s = self.limit_s * OVER_LIMIT if later_s is None else self.limit_s + later_s
        return self.target.median_s or by_limit_s

    @property
    def weather(self) -> Weather:
        return Weather(jitter_s=self.jitter_s + self.more_jitter_s)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    cells: tuple[Cell, ...]
    early_cells: tuple[Cell, ...] = field(default=())
    """The cells with a Linux side once more, with an early packet."""
    no_hop_cells: tuple[Cell, ...] = field(default=())
    """Those that Linux routers can play once more, on one segment; with Linux sides that accept
    what comes to themselves, too."""

    @property
    def all_cells(self) -> tuple[Cell, ...]:
        return (*self.cells, *self.early_cells, *self.no_hop_cells)
