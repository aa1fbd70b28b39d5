"""How a NAT gives out external ports, judged from a few that it gave us.

Four samples arrive with the first registration, in one round trip; hard NATs are sampled more
(`allocation_survey`).  Each explanation is weighed by how likely it makes exactly these ports:

    every port kept            preserving        the external port is the local one
    steps small and forward    sequential        stride = what the steps are multiples of
    all in one small block     block             an aligned power of two (RFC 6888, RFC 7753),
                                                 else wherever the samples lie
    else                       random            over 1024+, 32768+ or 49152+

Rules:
- Few samples can mislead: each rule has a confidence, and `predict` orders ports by likelihood
  instead of naming one.
- A *burst* is a set of packets that left at one instant.  How many ports others took between two
  bursts is unknown, so a stride is read off the steps inside of bursts only.
- A block learned from n ports is too small by half with probability 2^-(n-1): that gives its
  confidence, and `predict` puts the neighbouring ports right after the block.
- Parity (RFC 4787, section 4.2.2) is believed when eight ports have it, of a sequence only when
  local ports of both parities were seen: a stride of two looks the same.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from natd.core.base.types import LOWEST_PORT, Allocation

HIGHEST_PORT = 65535
RANGE_LOWS = (49152, 32768, 1024)
"""RFC 6056's dynamic range, Linux's and everything: where random ports begin in practice."""

STRIDES = (1, 2, 4)

TAKEN_SHARES = ((0.02, 0.4), (0.3, 0.35), (0.6, 0.2), (0.9, 0.05))
"""Share of a sequence's next ports that other users hold already, and how common that share is:
the steps between our samples are geometric with it."""

STRAY_SHARE = 0.01
"""Share of a sequence's steps that wrap around or jump over a reserved range."""

BLOCK_SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
UNALIGNED_SHARE = 0.02
"""Share of carriers whose blocks begin anywhere: deterministic NAT
(RFC 7422) divides a range by the number of subscribers."""

LEAST_PARITY = 8
"""Ports that must agree: by chance they do in one of 256 NATs."""

PRIORS = {Allocation.SEQUENTIAL: 0.3, Allocation.BLOCK: 0.2, Allocation.RANDOM: 0.5}

FALLS_SHARES = (0.98, 0.018, 0.002)
"""Probability of one, two, three falls among a burst's ports from a sequence, as a ring in the
order of asking.  There is always one fall; more if packets overtook each other or were repeated."""

FARTHEST = 0x4000
"""The most that a sequence moves between two samples: 250 other mappings a second, for a minute."""

_PORTS = HIGHEST_PORT + 1 - LOWEST_PORT


@dataclass(frozen=True, slots=True)
class PortSample:
    """One new mapping: our local port and the external port that it got."""

    local_port: int | None
    """None: unknown."""
    external_port: int
    burst: int = 0
    """The same for samples that left at one instant, in the order of asking."""


@dataclass(frozen=True, slots=True)
class PortRule:
    """How external ports are picked, as far as the samples show."""

    allocation: Allocation = Allocation.UNKNOWN
    stride: int = 0
    """Sequential: the distance between two ports that follow each other; else 0."""
    low: int = LOWEST_PORT
    high: int = HIGHEST_PORT
    """The range of expected ports, both ends included."""
    confidence: float = 0.0
    """0 to 1: how sure we are of the allocation with its stride or its block."""
    keeps_parity: bool = False
    """An even local port gets an even external one, an odd one an odd one."""

    def allows(self, port: int, last: int) -> bool:
        """Whether the mapping after the one at `last` may get `port`.  An unknown rule allows every
        port, and so does a random one."""
        if self.allocation is Allocation.BLOCK:
            return self.low <= port <= self.high
        if self.allocation is Allocation.SEQUENTIAL:
            return (port - last) % _PORTS <= FARTHEST
        return True


KEPT = PortRule(Allocation.PRESERVING, confidence=1.0 - 1.0 / _PORTS)
"""The external port is the local one."""


def judge(samples: Sequence[PortSample]) -> PortRule:
    """The rule behind the samples, oldest first; UNKNOWN for fewer than three that differ.

    Ports below 1024 are ignored: no NAT gives them out, so a server that reports one lies.
    """
    samples = [sample for sample in samples if sample.external_port >= LOWEST_PORT]
    if not samples:
        return PortRule()
    kept = sum(sample.local_port == sample.external_port for sample in samples)
    if kept * 2 > len(samples):
        return KEPT
    ports = list(dict.fromkeys(sample.external_port for sample in samples))
    if len(ports) < 3:
        return PortRule()
    sequences = {stride: _sequence(samples, stride) for stride in STRIDES}
    low, high, block, block_sure = _block(ports)
    scores = {
        Allocation.SEQUENTIAL: _sum(sequences.values()) - math.log(len(STRIDES)),
        Allocation.BLOCK: block + _unsorted(samples),
        Allocation.RANDOM: _random(ports) + _unsorted(samples),
    }
    for allocation, prior in PRIORS.items():
        scores[allocation] += math.log(prior)
    best = max(scores, key=lambda allocation: scores[allocation])
    sure = min(1.0, math.exp(scores[best] - _sum(scores.values())))
    parity = _keeps_parity(samples, best)
    if best is Allocation.SEQUENTIAL:
        stride = max(sequences, key=lambda stride: sequences[stride])
        sure *= math.exp(sequences[stride] - _sum(sequences.values()))
        return PortRule(best, stride, confidence=sure, keeps_parity=parity)
    if best is Allocation.BLOCK:
        return PortRule(best, 0, low, high, sure * block_sure, parity)
    return PortRule(best, 0, _range_low(ports), HIGHEST_PORT, sure, parity)


def predict(rule: PortRule, last: int, limit: int) -> list[int]:
    """The ports that the next mapping most likely gets, best first, at most `limit`.

    `last` is the newest known port.  For random rules the order means nothing: shuffle it.
    """
    return list(itertools.islice(_predicted(rule, last), limit))


def candidates_in_range(rule: PortRule) -> range:
    """All ports that a random or block rule may give out."""
    return range(rule.low, rule.high + 1)


def _predicted(rule: PortRule, last: int) -> Iterator[int]:
    if rule.allocation is Allocation.SEQUENTIAL:
        span = rule.high - rule.low + 1
        for step in itertools.count(1):
            if step * rule.stride >= span:
                return
            yield rule.low + (last + step * rule.stride - rule.low) % span
    elif rule.allocation is Allocation.BLOCK:
        size = rule.high - rule.low + 1
        yield from range(rule.low, rule.high + 1)
        for neighbour in (rule.high + 1, rule.low - size):
            if neighbour >= LOWEST_PORT and neighbour + size - 1 <= HIGHEST_PORT:
                yield from range(neighbour, neighbour + size)
    else:
        yield from candidates_in_range(rule)


# --- log-likelihoods of exactly these external ports, one function for each explanation


def _sequence(samples: Sequence[PortSample], stride: int) -> float:
    """For a sequence with this stride; one burst follows another."""
    total = -math.log(_PORTS)
    last: int | None = None  # None: the first burst may begin at any port
    for ports in _bursts(samples):
        steps = _steps(ports)
        if last is not None:
            # Others may have taken any number of ports; every order of magnitude is equally likely.
            total -= math.log(((min(ports) - last) % _PORTS or 1) * math.log(_PORTS))
        last = max(ports)
        shares = []
        for taken, common in TAKEN_SHARES:
            likely = math.log(common)
            for step in steps:
                regular = 0.0
                if step % stride == 0:
                    regular = (1.0 - taken) * taken ** (step // stride - 1)
                stray = STRAY_SHARE / _PORTS
                likely += math.log((1.0 - STRAY_SHARE) * regular + stray)
            shares.append(likely)
        total += _sum(shares)
        if len(ports) > 2:
            total += math.log(FALLS_SHARES[min(_falls(ports), len(FALLS_SHARES)) - 1])
    return total


def _unsorted(samples: Sequence[PortSample]) -> float:
    """For the order of the ports if they have none."""
    total = 0.0
    for ports in _bursts(samples):
        if len(ports) > 2:
            falls = min(_falls(ports), len(FALLS_SHARES))
            least = _falls_by_chance(len(ports), falls)
            if falls == len(FALLS_SHARES):
                least = 1.0 - sum(_falls_by_chance(len(ports), fewer) for fewer in range(1, falls))
            total += math.log(least)
    return total


def _random(ports: Sequence[int]) -> float:
    """For random ports from one of the usual ranges."""
    lowest, count = min(ports), len(ports)
    sizes = [HIGHEST_PORT + 1 - low for low in RANGE_LOWS if lowest >= low]
    return _sum(-count * math.log(size) - math.log(len(RANGE_LOWS)) for size in sizes)


def _block(ports: Sequence[int]) -> tuple[int, int, float, float]:
    """Lowest and highest port of the likeliest block, the likelihood of these ports if the NAT has
    blocks, and the probability of exactly this block, given that there is one."""
    lowest, highest = min(ports), max(ports)
    count = len(ports)
    scores: dict[tuple[int, int], float] = {}
    for size in BLOCK_SIZES:
        low = lowest // size * size
        if highest < low + size:
            # One of `_PORTS / size` blocks, and each port one of `size`.
            likely = math.log(size / _PORTS) - count * math.log(size)
            block = max(LOWEST_PORT, low), low + size - 1
            scores[block] = likely + math.log(1.0 - UNALIGNED_SHARE)
    span = highest - lowest + 1
    if span <= BLOCK_SIZES[-1]:
        # All sizes and starts of blocks that hold the ports, with size weighted by its inverse;
        # on average the block extends beyond the samples by one gap between them on each side.
        likely = math.log(span / _PORTS) - count * math.log(span) - math.log(count * (count - 1))
        likely += math.log(len(BLOCK_SIZES) / math.log(BLOCK_SIZES[-1] / BLOCK_SIZES[0]))
        margin = span // (count - 1)
        whole = max(LOWEST_PORT, lowest - margin), min(HIGHEST_PORT, highest + margin)
        scores[whole] = _sum(
            (scores.get(whole, -math.inf), likely + math.log(UNALIGNED_SHARE)),
        )
    if not scores:
        return LOWEST_PORT, HIGHEST_PORT, -math.inf, 0.0
    best = max(scores, key=lambda block: scores[block])
    total = _sum(scores.values())
    return *best, total - math.log(len(BLOCK_SIZES)), math.exp(scores[best] - total)


def _keeps_parity(samples: Sequence[PortSample], allocation: Allocation) -> bool:
    known = [(s.local_port, s.external_port) for s in samples if s.local_port is not None]
    if len(known) < LEAST_PARITY or any((ours - seen) % 2 for ours, seen in known):
        return False
    return allocation is not Allocation.SEQUENTIAL or len({ours % 2 for ours, _ in known}) == 2


def _bursts(samples: Sequence[PortSample]) -> list[list[int]]:
    bursts: dict[int, list[int]] = {}
    for sample in samples:
        ports = bursts.setdefault(sample.burst, [])
        if sample.external_port not in ports:
            ports.append(sample.external_port)
    return list(bursts.values())


def _steps(ports: Sequence[int]) -> list[int]:
    """The distances between the sorted ports, taken as a ring, without the longest."""
    rising = sorted(ports)
    steps = [after - before for before, after in itertools.pairwise(rising)]
    steps.append(rising[0] + _PORTS - rising[-1])
    steps.remove(max(steps))
    return steps


def _falls(ports: Sequence[int]) -> int:
    """How often the next port is lower, taken as a ring."""
    around = (*ports, ports[0])
    return sum(after < before for before, after in itertools.pairwise(around))


@cache
def _falls_by_chance(count: int, falls: int) -> float:
    """The probability of so many falls for `count` ports in random order (Eulerian numbers)."""
    return _eulerian(count - 1, falls - 1) / math.factorial(count - 1)


def _eulerian(count: int, falls: int) -> int:
    """The number of permutations of `count` items with so many falls."""
    if falls < 0 or falls >= count:
        return 1 if count == falls == 0 else 0
    return (count - falls) * _eulerian(count - 1, falls - 1) + (falls + 1) * _eulerian(
        count - 1, falls
    )


def _range_low(ports: Sequence[int]) -> int:
    """The start of the usual range that the ports suggest, if a wider range would give such ports
    in less than 1 of 200 cases."""
    lowest = min(ports)
    for low in RANGE_LOWS:
        share = (HIGHEST_PORT + 1 - low) / _PORTS
        if lowest >= low and (low == LOWEST_PORT or share ** len(ports) < 0.005):
            return low
    return LOWEST_PORT


def _sum(logarithms: Iterable[float]) -> float:
    """The logarithm of the sum of the exponentials of these (log-sum-exp)."""
    terms = list(logarithms)
    highest = max(terms)
    if highest == -math.inf:
        return -math.inf
    return highest + math.log(sum(math.exp(term - highest) for term in terms))
