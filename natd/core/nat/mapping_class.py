"""How probable each mapping class (RFC 4787, section 4.1) is, given where hosts and ports see us.

Any two destinations of one socket are a comparison: do both see the same port?

                       two ports of one host        two hosts
    independent        the same                     the same
    by address         the same                     another
    by address and port        another              another

Rules:
- No comparison is certain: a mapping may have ended between two answers, an early packet may have
  spoilt one of two, and a second NAT in front of the first can mix two classes.
- A NAT that kept our port is almost surely easy to reach, whatever its class: it will keep the
  port towards the next destination, too.
- A peer's report is a comparison of two hosts that may be a lie.  It counts less than a server's,
  and not at all where two servers' hosts were compared or where the NAT keeps our port.  (There, a
  peer that sees another port shows that an early packet clashed, and says nothing of the class.)
"""

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass

from natd.core.base.types import Address, Mapping

MAPPINGS = (Mapping.INDEPENDENT, Mapping.ADDRESS_DEPENDENT, Mapping.DEPENDENT)

KEPT_PRIORS = (0.95, 0.01, 0.04)
CHANGED_PRIORS = (0.5, 0.1, 0.4)
"""In the order of `MAPPINGS`: for NATs that kept our local port, and for those that changed it.
The latter are mostly carrier NATs, half of them easy (Richter 2016); those that map by address
are the rarest."""

SURPRISE = 0.02
"""Probability that a comparison contradicts the class."""

LIE = 0.1
"""The same for a peer's report."""


@dataclass(frozen=True, slots=True)
class View:
    """Where one destination sees a socket of ours."""

    destination: Address
    observed: Address


def class_probabilities(
    views: Iterable[View], echoes: Sequence[bool] = (), *, kept: bool
) -> dict[Mapping, float]:
    """The probability of each class, given how servers saw one socket, oldest first.

    `echoes`: for each peer's host, whether it sees a socket where a server does.  `kept`: whether
    the NAT was seen to keep our local port.
    """
    weights = dict(zip(MAPPINGS, KEPT_PRIORS if kept else CHANGED_PRIORS, strict=True))
    for same_host, same_port, surprise in _comparisons(tuple(views), echoes, kept):
        for mapping in MAPPINGS:
            expected = _expects_same(mapping, same_host) == same_port
            weights[mapping] *= 1.0 - surprise if expected else surprise
    total = sum(weights.values())
    return {mapping: weight / total for mapping, weight in weights.items()}


def likeliest(weights: Table[Mapping, float]) -> tuple[Mapping, float]:
    best = max(weights, key=lambda mapping: weights[mapping])
    return best, weights[best]


def contradicts(mapping: Mapping, fresh: View, other: View) -> bool:
    """Whether this class does not explain the two views."""
    same_host = fresh.destination.host == other.destination.host
    return mapping in MAPPINGS and _expects_same(mapping, same_host) != (
        fresh.observed == other.observed
    )


def _comparisons(
    views: tuple[View, ...], echoes: Sequence[bool], kept: bool
) -> Iterable[tuple[bool, bool, float]]:
    """For each pair: whether it is of one host, whether it agrees, and the error probability."""
    of_host: dict[str, list[View]] = {}
    for view in views:
        of_host.setdefault(view.destination.host, []).append(view)
    hosts = sorted(of_host.values(), key=len, reverse=True)
    for seen in hosts:
        for number, view in enumerate(seen[1:], 1):
            agrees = any(view.observed == earlier.observed for earlier in seen[:number])
            yield True, agrees, SURPRISE
    for others in hosts[1:]:
        yield False, _agree(hosts[0], others), SURPRISE
    if echoes and len(hosts) == 1 and not kept:
        # All peers together count as one witness: a liar may have any number of hosts.
        yield False, sum(echoes) * 2 >= len(echoes), LIE


def _agree(some: list[View], others: list[View]) -> bool:
    return bool({view.observed for view in some} & {view.observed for view in others})


def _expects_same(mapping: Mapping, same_host: bool) -> bool:
    return mapping is Mapping.INDEPENDENT or (mapping is Mapping.ADDRESS_DEPENDENT and same_host)
