"""What share of pairs of users meet directly, by the measured cells and the published shares.

    python -m tests.bench.population FILE...      files of `tests.bench.matrix --json`

Each user is behind one kind of NAT.  A pair is two users drawn independently; its probability of
meeting is the measured share of its cell, and the score is the sum over all ordered pairs, each
with the product of its two weights.  Nothing is in the score that was not measured: a pair whose
cell is not in the files counts as one that never meets, and is listed.

Published (Richter et al., "A Multi-perspective Analysis of Carrier-Grade NAT Deployment", IMC
2016; the share of networks without UDP is that of the measurements of QUIC's deployment):

- hard mapping: under 2 % of home NATs, 11 % of fixed-line carrier NATs, about 40 % of cellular
  carrier NATs;
- UDP blocked: 3 to 5 % of networks.

Not published, and assumed here:

- how many users are on each kind of access: `ACCESS`; half of them at home behind a NAT of their
  own, a fifth behind a fixed line's carrier NAT, a fifth on cellular, a twentieth with a public
  address, and the rest without UDP (of 3 to 5 % the worse);
- what the hard ones are: at home one that picks ports at random; at carriers half of them draw
  from a port block (RFC 7422, RFC 7753) and half at random from all ports, so that the hopeless
  pair counts as often as the possible one;
- what the easy ones are: the strictest filter, by address and port, for all of them but the
  cellular ones, a third of which is an address-dependent filter;
- no pair has IPv6, a mapped port or a common LAN: whatever these add comes on top.

For comparison: libp2p's DCUtR, 70 % ± 7.1 over 4.4 million attempts (2025), of pairs in which
both are behind a NAT; so pairs with a public address are left out of a second score.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.bench.figures import Figures, load_all
from tests.bench.record import Figure, add_record_option, record

DCUTR = "70 % ± 7.1"

ACCESS = {"home": 0.50, "fixed carrier": 0.20, "cellular": 0.20, "public": 0.05, "no UDP": 0.05}
"""Assumed; see the top of this file."""

HARD_SHARE = {"home": 0.02, "fixed carrier": 0.11, "cellular": 0.40}
"""Published."""

OPEN, ADDRESS, PORT = "open", "address-restricted", "port-restricted"
RANDOM, BLOCK, BLOCKED = "random", "block", "UDP blocked"

HARD_KINDS = {
    "home": {RANDOM: 1.0},
    "fixed carrier": {RANDOM: 0.5, BLOCK: 0.5},
    "cellular": {RANDOM: 0.5, BLOCK: 0.5},
}
EASY_KINDS = {
    "home": {PORT: 1.0},
    "fixed carrier": {PORT: 1.0},
    "cellular": {PORT: 2.0 / 3.0, ADDRESS: 1.0 / 3.0},
}

CERTAINLY_NOT = frozenset({(RANDOM, RANDOM), (RANDOM, BLOCK), (BLOCK, RANDOM)})
"""Pairs that are known to be hopeless: 0 without a measurement, as is every pair with no UDP."""

ROWS_THAT_COUNT = ("easy", "random", "birthday", "block", "block, easy", "two blocks, half")
"""Of cells with the same two sides those of a user who changes no setting, has no router that
maps ports, and waits for one attempt."""


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of pairs, 0 to 1."""

    all_pairs: float
    both_behind_nat: float
    """Of pairs in which nobody has a public address."""
    missing: tuple[tuple[str, str], ...]
    """Pairs without a measured cell, which count as never."""


def population() -> dict[str, float]:
    """Kinds of NAT and their weights; they add up to 1."""
    weights: dict[str, float] = {OPEN: ACCESS["public"], BLOCKED: ACCESS["no UDP"]}
    for access, hard_share in HARD_SHARE.items():
        for kinds, share in (
            (HARD_KINDS[access], hard_share),
            (EASY_KINDS[access], 1.0 - hard_share),
        ):
            for kind, part in kinds.items():
                weights[kind] = weights.get(kind, 0.0) + ACCESS[access] * share * part
    return weights


def measured_shares(figures: Iterable[Figures]) -> dict[tuple[str, str], float]:
    """Of each ordered pair, the resident first, the share that met; where several laboratories
    have measured it, the worst."""
    shares: dict[tuple[str, str], float] = {}
    for cell in figures:
        row, _, pair = cell.cell.partition(": ")
        resident, _, newcomer = pair.partition(" x ")
        wanted = {OPEN, ADDRESS, PORT, RANDOM, BLOCK}
        if cell.early or cell.target_share is None or not {resident, newcomer} <= wanted:
            continue
        if row not in ROWS_THAT_COUNT:
            continue
        share = cell.direct / cell.runs
        shares[resident, newcomer] = min(share, shares.get((resident, newcomer), 1.0))
    return shares


def score(weights: Mapping[str, float], shares: Mapping[tuple[str, str], float]) -> Score:
    """See the top of this file."""
    total = natted = natted_weight = 0.0
    missing = []
    for pair in product(weights, weights):
        weight = weights[pair[0]] * weights[pair[1]]
        share = 0.0
        if BLOCKED not in pair and pair not in CERTAINLY_NOT:
            found = shares.get(pair)
            if found is None:
                missing.append(pair)
            share = found or 0.0
        total += weight * share
        if OPEN not in pair:
            natted += weight * share
            natted_weight += weight
    return Score(total, natted / natted_weight if natted_weight else 0.0, tuple(missing))


def table(weights: Mapping[str, float], result: Score) -> str:
    """For a terminal, and for tests/bench/README.md."""
    kinds = ", ".join(f"{kind} {weight * 100:.1f} %" for kind, weight in weights.items())
    lines = [
        f"users: {kinds}",
        f"pairs that meet directly: {result.all_pairs * 100:.1f} %",
        f"of pairs in which both are behind a NAT or a firewall: "
        f"{result.both_behind_nat * 100:.1f} % (published for DCUtR: {DCUTR})",
    ]
    lines += [f"not measured, counted as never: {a} x {b}" for a, b in result.missing]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="the share of pairs of users who meet directly")
    parser.add_argument("file", type=Path, nargs="+")
    add_record_option(parser)
    parsed = parser.parse_args(arguments)
    weights = population()
    result = score(weights, measured_shares(load_all(parsed.file)))
    print(table(weights, result))
    if parsed.record:
        figures = {
            "population: pairs that meet directly": result.all_pairs,
            "population: of those behind NATs on both sides": result.both_behind_nat,
        }
        shares = {name: Figure(share, "of 1", "more") for name, share in figures.items()}
        record(parsed.record, shares)
    return 1 if result.missing else 0


if __name__ == "__main__":
    sys.exit(main())
