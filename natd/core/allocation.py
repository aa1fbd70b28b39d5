"""How a NAT gives out external ports, judged from a few that it gave us.

The samples are in the order in which their mappings were made, each with the local port behind
it.  Four arrive with the first registration, in one round trip; escalations add more.

    every port kept            preserving        the external port is the local one
    steps small and forward    sequential        stride = what all steps are multiples of
    all in one small block     block             aligned power of two (RFC 6888, RFC 7753)
    else                       random            over 1024+, 32768+ or 49152+

Rules:
- Few samples can mislead: each verdict says how sure it is, and `predict` orders ports by
  likelihood instead of naming one.
- A block learnt from n ports is too small by half with probability 2^-(n-1), so its neighbours
  come right after it in what is predicted.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from natd.core.types import Allocation

LOWEST_PORT = 1024
HIGHEST_PORT = 65535
RANGE_LOWS = (49152, 32768, 1024)
"""RFC 6056's dynamic range, Linux's and everything: where random ports begin in practice."""

LARGEST_STEP = 64
"""Between two samples of one burst; 64 other mappings in a millisecond are a busy carrier."""

STRIDES = (4, 2, 1)
LARGEST_BLOCK = 4096
SMALLEST_BLOCK = 64


@dataclass(frozen=True, slots=True)
class PortSample:
    """One new mapping: what we sent from and what came out."""

    local_port: int
    external_port: int


@dataclass(frozen=True, slots=True)
class PortRule:
    """How external ports are picked, as far as the samples tell."""

    allocation: Allocation = Allocation.UNKNOWN
    stride: int = 0
    """Sequential: the distance between two ports that follow each other; else 0."""
    low: int = LOWEST_PORT
    high: int = HIGHEST_PORT
    """New ports are expected within, both included."""
    confidence: float = 0.0


def judge(samples: Sequence[PortSample]) -> PortRule:
    """The rule behind the samples, oldest first; UNKNOWN for fewer than two."""
    if not samples:
        return PortRule()
    kept = sum(sample.local_port == sample.external_port for sample in samples)
    if kept * 2 > len(samples):
        return PortRule(Allocation.PRESERVING, confidence=1.0 - 2.0**-kept)
    ports = [sample.external_port for sample in samples]
    distinct = list(dict.fromkeys(ports))
    if len(distinct) < 3:
        return PortRule()
    sure = 1.0 - 2.0 ** -(len(distinct) - 1)
    stride = _stride(distinct)
    if stride:
        return PortRule(Allocation.SEQUENTIAL, stride, confidence=sure)
    low, high = _block(distinct)
    if high - low < LARGEST_BLOCK and len(distinct) >= 4:
        return PortRule(Allocation.BLOCK, 0, low, high, sure)
    return PortRule(Allocation.RANDOM, 0, _range_low(distinct), HIGHEST_PORT, sure)


def predict(rule: PortRule, last: int, limit: int) -> list[int]:
    """The ports that the next new mapping most likely gets, best first, `limit` at most.

    `last` is the newest one known.  For random rules the order means nothing: shuffle it.
    """
    return list(itertools.islice(_predicted(rule, last), limit))


def candidates_in_range(rule: PortRule) -> range:
    """All ports that a random or block rule may give out."""
    return range(rule.low, rule.high + 1)


def hit_probability(openings: int, probes: int, ports: int) -> float:
    """That one of `probes` distinct ports meets one of `openings` random ones among `ports`.

    1 - e^(-N·M/P), the birthday bound.
    """
    return 1.0 - math.exp(-openings * min(probes, ports) / ports)


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


def _stride(ports: Sequence[int]) -> int:
    """0 unless the ports go forward in small steps; one step may be a wrap-around or a jump."""
    steps = [after - before for before, after in itertools.pairwise(ports)]
    small = [step for step in steps if 0 < step <= LARGEST_STEP]
    if len(small) < 2 or len(small) * 4 < len(steps) * 3 - 1:
        return 0
    divisor = math.gcd(*small)
    return next(stride for stride in STRIDES if divisor % stride == 0)


def _block(ports: Iterable[int]) -> tuple[int, int]:
    """The smallest aligned power of two, 64 at least, that holds all ports."""
    lowest, highest = min(ports), max(ports)
    size = SMALLEST_BLOCK
    while lowest // size != highest // size:
        size *= 2
    low = lowest // size * size
    return low, low + size - 1


def _range_low(ports: Sequence[int]) -> int:
    """The start of the usual range that the ports suggest, if they are enough to tell it from
    a wider one by chance (less than 1 in 200)."""
    lowest = min(ports)
    for low in RANGE_LOWS:
        share = (HIGHEST_PORT + 1 - low) / (HIGHEST_PORT + 1 - LOWEST_PORT)
        if lowest >= low and (low == LOWEST_PORT or share ** len(ports) < 0.005):
            return low
    return LOWEST_PORT
