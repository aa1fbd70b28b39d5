"""What share of pairs of users meet directly, by the measured cells and the published shares.

    python -m tests.bench.population FILE...      files of `tests.bench.matrix --json`

Each user is behind one kind of NAT.  A pair is two users drawn independently; its probability of
meeting is the measured share of its cell, and the score is the sum over all ordered pairs whose
networks both let UDP out, each with the product of its two weights.  The share of all pairs stands
beside it.  Nothing is in the score that was not measured: a pair whose cell is not in the files
counts as one that never meets, and is listed.

Published, each with what was read to confirm it:

- hard mapping, `HARD_SHARE`: under 2 % of the tests with home routers, 11 % of the fixed-line
  carriers that have a NAT, and about 40 % of the cellular ones (Richter et al., "A
  Multi-perspective Analysis of Carrier-Grade NAT Deployment", IMC 2016, arXiv:1605.05606).  The
  paper counts carriers, by autonomous system; that as many of their users are behind a hard NAT is
  assumed.  Its own text was not at hand: the three figures are as others cite them, independently
  of one another;
- UDP blocked: 3 to 5 % of networks (RFC 9308, section 2), of which `ACCESS` has the worse.  Of the
  video clients that tried QUIC 4.4 % could not use it, because it or UDP was blocked or the path
  too narrow (Langley et al., "The QUIC Transport Protocol", SIGCOMM 2017, section 7.2).  Both as
  others quote them;
- IPv6: 42 % of users are capable of it by APNIC's measurement, 50 % of Google's users have it
  (APNIC blog, "Google hits 50% IPv6", 28 April 2026; read).  The lower one counts, `IPV6_SHARE`.
  It helps a pair only where both have it, and both are taken to be behind firewalls, as in the
  measured cell;
- routers that map ports: fewer than half of 120,000 homes (DiCioccio et al., "Probe and Pray: Using
  UPnP for Home Network Measurements", PAM 2012; its abstract: in the majority of homes UPnP gave no
  data at all).  What share of the rest grants a port is not in it; a third of homes is assumed:
  `MAPPING_SHARE`.  No carrier's NAT is asked.

Not published, and assumed here:

- how many users are on each kind of access: `ACCESS`; half of them at home behind a NAT of their
  own, a fifth behind a fixed line's carrier NAT, a fifth on cellular, a twentieth with a public
  address, and the rest without UDP;
- what the hard ones are: at home one that picks ports at random; at carriers half of them draw
  from a port block (RFC 7422, RFC 7753) and half at random from all ports, `ALL_PORTS_SHARE`.  The
  table has the score for none and for all of them, too;
- what the easy ones are: the strictest filter, by address and port, for all of them but the
  cellular ones, a third of which is an address-dependent filter;
- IPv6 and the kind of NAT are independent of one another.  Cellular carriers have more of it than
  others (the Internet Society's "State of IPv6 Deployment 2018" has 57 to 93 % for the four of the
  USA, 87 % for Jio), and they are where the hard NATs are: so this is too low rather than too high;
- nobody shares a LAN or a carrier's NAT.

For comparison: libp2p's DCUtR, 70 % ± 7.1 over 4.4 million attempts (Trautwein et al.,
arXiv:2510.27500, 2025; its abstract was read), of the stage in which two that are behind NATs punch
holes; so pairs with a public address are left out of a second score.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from tests.bench.figures import Figures, load_all
from tests.bench.record import Figure, add_record_option, record

DCUTR = "70 % ± 7.1"

ACCESS = {"home": 0.50, "fixed carrier": 0.20, "cellular": 0.20, "public": 0.05, "no UDP": 0.05}
"""Assumed; see the top of this file."""

HARD_SHARE = {"home": 0.02, "fixed carrier": 0.11, "cellular": 0.40}
"""Published; of carriers, not of their users."""

IPV6_SHARE, IPV6_SHARE_OF_GOOGLE = 0.42, 0.50
"""Published."""

MAPPING_SHARE = 1.0 / 3.0
"""Of homes.  Published is that it is under a half."""

ALL_PORTS_SHARE = 0.5
"""Of carriers' hard NATs, those that draw from all ports at random.  Assumed."""

OPEN, ADDRESS, PORT = "open", "address-restricted", "port-restricted"
RANDOM, BLOCK, BLOCKED = "random", "block", "UDP blocked"

EASY_KINDS = {
    "home": {PORT: 1.0},
    "fixed carrier": {PORT: 1.0},
    "cellular": {PORT: 2.0 / 3.0, ADDRESS: 1.0 / 3.0},
}

CERTAINLY_NOT = frozenset({(RANDOM, RANDOM), (RANDOM, BLOCK), (BLOCK, RANDOM)})
"""Pairs that are known to be hopeless: 0 without a measurement."""

ROWS_THAT_COUNT = ("easy", "random", "birthday", "block", "block, easy")
"""Of cells with the same two sides those of a user who changes no setting."""

TWO_BLOCKS = {"first attempt": "two blocks, half", "within 6 min": "two blocks, half, 6 min"}
"""The pair that may need more than one attempt, and how long it is waited for."""

MAPPED_ROW, IPV6_ROW = "hopeless, mapped", "IPv6"

LEAST_SHOWN = 0.00005
"""Of the pairs that do not meet: what is not shown as 0.00 %."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a user is behind."""

    nat: str
    maps_ports: bool = False
    has_ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is known or assumed of the users."""

    ipv6_share: float = 0.0
    mapping_share: float = 0.0
    all_ports_share: float = ALL_PORTS_SHARE
    patience: str = "first attempt"
    """A key of `TWO_BLOCKS`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Shares of runs that met, 0 to 1."""

    by_pair: Mapping[tuple[str, str], float]
    """Of ordered pairs of NATs, the resident first."""
    mapped: float | None = None
    """Where one side's router maps its port, whatever the other is behind."""
    ipv6: float | None = None
    """Where both have IPv6, behind firewalls."""


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of pairs, 0 to 1."""

    direct: float
    """Of those whose networks both let UDP out."""
    of_all: float
    both_behind_nat: float
    """Of those that let UDP out and in which nobody has a public address."""
    lost: Mapping[tuple[str, str], float]
    """Of those that let UDP out, what does not meet, by unordered pair of NATs; the most first."""
    unmeasured: tuple[tuple[str, str], ...]
    """Pairs without a measured cell, which count as never."""


PLAIN = Inputs()
AS_PUBLISHED = Inputs(ipv6_share=IPV6_SHARE, mapping_share=MAPPING_SHARE)

TARGETS = {PLAIN: 0.98, replace(AS_PUBLISHED, patience="within 6 min"): 0.99}
"""Of pairs whose networks let UDP out."""


def population(inputs: Inputs = PLAIN) -> dict[Kind, float]:
    """Kinds of users and their weights; they add up to 1."""
    weights: dict[Kind, float] = {}
    for access, nat, weight in _nats(inputs):
        mapping_share = inputs.mapping_share if access == "home" else 0.0
        for maps, has_ipv6 in product((False, True), repeat=2):
            part = mapping_share if maps else 1.0 - mapping_share
            part *= inputs.ipv6_share if has_ipv6 else 1.0 - inputs.ipv6_share
            if part > 0.0:
                kind = Kind(nat, maps, has_ipv6)
                weights[kind] = weights.get(kind, 0.0) + weight * part
    return weights


def measured(figures: Iterable[Figures], patience: str = PLAIN.patience) -> Measured:
    """Of each pair the share that met; where several laboratories have measured it, the worst."""
    by_pair: dict[tuple[str, str], float] = {}
    others: dict[str, float] = {}
    counted = {*ROWS_THAT_COUNT, TWO_BLOCKS[patience]}
    for cell in figures:
        if cell.variant or cell.target_share is None:
            continue
        share = cell.direct / cell.runs
        if cell.row in (MAPPED_ROW, IPV6_ROW):
            others[cell.row] = min(share, others.get(cell.row, 1.0))
        resident, _, newcomer = cell.cell.partition(": ")[2].partition(" x ")
        pair = resident, newcomer
        if cell.row in counted and {*pair} <= {OPEN, ADDRESS, PORT, RANDOM, BLOCK}:
            by_pair[pair] = min(share, by_pair.get(pair, 1.0))
    return Measured(by_pair, others.get(MAPPED_ROW), others.get(IPV6_ROW))


def score(weights: Mapping[Kind, float], found: Measured) -> Score:
    """See the top of this file."""
    passing = {kind: weight for kind, weight in weights.items() if kind.nat != BLOCKED}
    direct = natted = natted_weight = 0.0
    lost: dict[tuple[str, str], float] = {}
    nats = list(dict.fromkeys(kind.nat for kind in passing))
    unmeasured = tuple(
        (a, b) for a in nats for b in nats if (a, b) not in {*found.by_pair, *CERTAINLY_NOT}
    )
    let_out = sum(passing.values()) ** 2
    for a, b in product(passing, repeat=2):
        weight = passing[a] * passing[b] / let_out
        share = _share(a, b, found)
        direct += weight * share
        low, high = sorted((a.nat, b.nat))
        lost[low, high] = lost.get((low, high), 0.0) + weight * (1.0 - share)
        if OPEN not in (a.nat, b.nat):
            natted += weight * share
            natted_weight += weight
    return Score(
        direct,
        direct * let_out,
        natted / natted_weight if natted_weight else 0.0,
        dict(sorted(lost.items(), key=lambda item: -item[1])),
        unmeasured,
    )


def told(figures: Sequence[Figures]) -> str:
    """The table of tests/bench/README.md, and what is missing, by share."""
    scenarios: dict[str, Inputs] = {
        "neither IPv6 nor mapped ports": PLAIN,
        f"IPv6 {_percent(IPV6_SHARE)} (APNIC), a third of homes map ports": AS_PUBLISHED,
        f"IPv6 {_percent(IPV6_SHARE_OF_GOOGLE)} (Google), a third of homes map ports": replace(
            AS_PUBLISHED, ipv6_share=IPV6_SHARE_OF_GOOGLE
        ),
    }
    lines = [
        "| users | hard carriers that draw from all ports | two blocks get | direct, of pairs "
        "whose networks let UDP out | of all pairs | of pairs behind NATs on both sides |",
        "|---|---|---|---|---|---|",
    ]
    for name, inputs in scenarios.items():
        for patience, share in product(TWO_BLOCKS, (0.0, 0.5, 1.0)):
            varied = replace(inputs, patience=patience, all_ports_share=share)
            result = score(population(varied), measured(figures, patience))
            columns = [name, _percent(share), patience, _percent(result.direct, 2)]
            columns += [_percent(result.of_all, 1), _percent(result.both_behind_nat, 1)]
            lines.append(f"| {' | '.join(columns)} |")
    for name, inputs in list(scenarios.items())[:2]:
        result = score(population(inputs), measured(figures))
        named = [
            f"{a} × {b} {_percent(share, 2)}"
            for (a, b), share in result.lost.items()
            if share >= LEAST_SHOWN
        ]
        lines += [
            "",
            f"Missing with {name}, at the first attempt: {', '.join(named) or 'nothing'}.",
        ]
        if result.unmeasured:
            pairs = ", ".join(f"{a} × {b}" for a, b in result.unmeasured)
            lines += [f"Not measured, counted as never: {pairs}."]
    weights = population()
    users = ", ".join(f"{kind.nat} {_percent(weight, 1)}" for kind, weight in weights.items())
    lines += ["", f"Users: {users}. DCUtR has published {DCUTR} of pairs behind NATs."]
    return "\n".join(lines) + "\n"


def missed(figures: Sequence[Figures]) -> list[str]:
    """The targets that the score does not have."""
    results = {
        inputs: score(population(inputs), measured(figures, inputs.patience)) for inputs in TARGETS
    }
    return [
        f"{_percent(result.direct, 2)} direct, {_percent(TARGETS[inputs])} wanted"
        for inputs, result in results.items()
        if result.direct < TARGETS[inputs]
    ]


def _nats(inputs: Inputs) -> Iterator[tuple[str, str, float]]:
    """Access, NAT, weight."""
    yield "public", OPEN, ACCESS["public"]
    yield "no UDP", BLOCKED, ACCESS["no UDP"]
    for access, hard_share in HARD_SHARE.items():
        all_ports_share = 1.0 if access == "home" else inputs.all_ports_share
        for nat, part in ((RANDOM, all_ports_share), (BLOCK, 1.0 - all_ports_share)):
            yield access, nat, ACCESS[access] * hard_share * part
        for nat, part in EASY_KINDS[access].items():
            yield access, nat, ACCESS[access] * (1.0 - hard_share) * part


def _share(a: Kind, b: Kind, found: Measured) -> float:
    """How often two such users meet: by whichever way does best."""
    ways = [found.by_pair.get((a.nat, b.nat), 0.0) if (a.nat, b.nat) not in CERTAINLY_NOT else 0.0]
    if (a.maps_ports or b.maps_ports) and found.mapped is not None:
        ways.append(found.mapped)
    if a.has_ipv6 and b.has_ipv6 and found.ipv6 is not None:
        ways.append(found.ipv6)
    return max(ways)


def _percent(share: float, digits: int = 0) -> str:
    return f"{share * 100:.{digits}f} %"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="the share of pairs of users who meet directly")
    parser.add_argument("file", type=Path, nargs="+")
    add_record_option(parser)
    parsed = parser.parse_args(arguments)
    figures = load_all(parsed.file)
    print(told(figures), end="")
    if parsed.record:
        plain, published = (
            score(population(inputs), measured(figures)) for inputs in (PLAIN, AS_PUBLISHED)
        )
        shares = {
            "population: pairs that meet directly": plain.direct,
            "population: of those behind NATs on both sides": plain.both_behind_nat,
            "population: with IPv6 and mapped ports": published.direct,
        }
        record(parsed.record, {name: Figure(s, "of 1", "more") for name, s in shares.items()})
    below = missed(figures)
    for line in below:
        print(line, file=sys.stderr)
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
