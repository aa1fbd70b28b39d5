"""The rows of the published table, as cells.

Of a row with several pairs all ordered ones are played, in either of whose sides who was there
first; the table shows the worst of them.  What is not in the table's wording is decided here:
ports of a sequence that others hold (`OTHERS_SHARE`), which side maps a port, what the two of one
LAN are behind.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product

from tests.bench.cells import (
    LATER_S,
    SEGMENT_DELAY_S,
    SEGMENT_JITTER_S,
    Cell,
    Place,
    Row,
    Side,
    Target,
)
from tests.internet.nat import (
    ADDRESS_DEPENDENT,
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    Hairpin,
    NatPolicy,
)

OTHERS_SHARE = 0.3
"""Of the ports of a sequence that other users hold already."""

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


def _block_at(first: int, size: int, *, lends_ports: bool = False) -> Side:
    """A block that is nowhere else than here."""
    policy = replace(
        SYMMETRIC_BLOCK,
        port_range=(first, first + size - 1),
        block_size=size,
        lends_ports=lends_ports,
    )
    lent = ", lent" if lends_ports else ""
    return Side(f"block of {size} at {first}{lent}", policy)


BLOCK_LENT = _block_at(20480, 512, lends_ports=True)
"""One port serves flows to different places, as of Linux masquerading to a range."""
_BLOCK_512, _BLOCK_256 = _block_at(20480, 512), _block_at(20480, 256)
_BLOCK_1024 = _block_at(40960, 1024)

LINUX_ROUTERS = frozenset({LINUX_SIDE, LINUX_OPEN_INPUT, RANDOM, BLOCK, BLOCK_LENT})
"""What nftables can play on either side."""

UPNP, NAT_PMP, PCP = "UPnP", "NAT-PMP", "PCP"

ALL = Target(share=1.0)
ALL_SOON = Target(share=1.0, later_s=LATER_S)
"""Hard NATs send more before the first message, and other ways have more to cross."""
NEARLY_ALL = 0.99
SOON_ON_ONE_SEGMENT_S = 0.090
"""The limit is 50 ms there, and what the daemons need does not shrink with it."""
CROSSING = Target(share=0.95, median_s=3.0)
"""Of two Linux routers on one segment that accept what comes to themselves: no opener dies between
them, and one packet too early spoils a port.  A sequence sends it before its port can be known."""
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
    return Row(name, title, cells, early, tuple(dict.fromkeys(_on_one_segment(cells))))


def _on_one_segment(cells: Iterable[Cell]) -> Iterator[Cell]:
    """The pairs of Linux routers with no router between; once more with an accepting INPUT."""
    for cell in cells:
        sides = (cell.resident, cell.newcomer)
        if cell.place not in (Place.APART, Place.NESTED) or not set(sides) <= LINUX_ROUTERS:
            continue
        if sides == (BLOCK, BLOCK):
            continue  # nftables gives one port to two destinations
        near = replace(cell, hops=0, delay_s=SEGMENT_DELAY_S / 2, jitter_s=SEGMENT_JITTER_S)
        if near.target in (ALL, ALL_SOON):
            near = replace(near, target=replace(ALL, median_s=SOON_ON_ONE_SEGMENT_S))
        accepting = [LINUX_OPEN_INPUT if side is LINUX_SIDE else side for side in sides]
        if LINUX_OPEN_INPUT not in sides:
            yield near
        if LINUX_OPEN_INPUT in accepting and cell.place is Place.APART:
            yield replace(near, resident=accepting[0], newcomer=accepting[1], target=CROSSING)


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
        ALL_SOON,
    ),
    _row(
        "random",
        "random full-range × open, full-cone, address-restricted",
        _both_ways((RANDOM,), NOT_BY_PORT),
        ALL_SOON,
    ),
    _row(
        "birthday",
        "random full-range × port-restricted or Linux",
        _both_ways((RANDOM,), (PORT, LINUX_SIDE)),
        Target(share=NEARLY_ALL, median_s=1.0, p95_s=6.0),
    ),
    _row(
        "birthday by address",
        "address-dependent random × port-restricted or Linux, one server with one address",
        _both_ways((BY_ADDRESS,), (PORT, LINUX_SIDE)),
        Target(share=NEARLY_ALL, median_s=1.3, p95_s=6.0),
    ),
    _row(
        "sequence",
        "sequential (stride 1 and 2, others take 30 % of ports) × port-restricted",
        _both_ways(SEQUENCES, (PORT,)),
        SOON,
    ),
    _row(
        "sequence, accepting",
        "the same × Linux with accepting INPUT",
        _both_ways(SEQUENCES, (LINUX_OPEN_INPUT,)),
        CROSSING,
    ),
    _row(
        "two sequences",
        "sequential × sequential, same load",
        tuple(product(SEQUENCES, SEQUENCES)),
        Target(share=0.95, median_s=0.7),
    ),
    _row(
        "two blocks, full",
        "block of 512 × block of 512, whole block allowed",
        ((BLOCK, BLOCK),),
        Target(share=0.95, median_s=6.0),
        fill_blocks="full",
    ),
    _row(
        "two blocks, elsewhere",
        "the same at other ports, of other sizes, and lent",
        (
            (_BLOCK_512, _BLOCK_512),
            (BLOCK_LENT, BLOCK_LENT),
            (_BLOCK_256, _BLOCK_1024),
            (_BLOCK_1024, _BLOCK_256),
        ),
        Target(share=0.95, median_s=4.0),
        fill_blocks="full",
    ),
    _row(
        "two blocks, half",
        "block of 512 × block of 512 at the default `half`, first attempt",
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
        "block × port-restricted or Linux",
        _both_ways((BLOCK,), (PORT, LINUX_SIDE, LINUX_OPEN_INPUT)),
        SOON,
    ),
    _row(
        "block, easy",
        "block × open, full-cone, address-restricted",
        _both_ways((BLOCK,), NOT_BY_PORT),
        ALL_SOON,
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
            for other in (RANDOM, SEQUENCES[0], BLOCK)
            for pair in ((_mapped(RANDOM, PCP), other), (other, _mapped(RANDOM, PCP)))
        ),
        WITHIN_A_SECOND,
    ),
    _row(
        "IPv6",
        "the same where both have IPv6 behind firewalls",
        ((_WITH_IPV6, _WITH_IPV6),),
        ALL_SOON,
    ),
    _row("same LAN", "same LAN", ((PORT, PORT), (RANDOM, RANDOM)), ALL_SOON, place=Place.LAN),
    _row(
        "hairpin",
        "same carrier NAT with hairpin",
        ((_HOME, _HOME),),
        ALL_SOON,
        place=Place.CARRIER,
        carrier=replace(PORT_RESTRICTED, hairpin=Hairpin.EXTERNAL_SOURCE),
    ),
    _row(
        "nested",
        "nested NAT",
        ((PORT, PORT), (LINUX_SIDE, LINUX_SIDE)),
        ALL_SOON,
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
