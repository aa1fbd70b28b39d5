"""Which of our own addresses are likeliest to reach us: they go first into the card.

    every address ─► in_order ─► the card, which takes a few of each kind

Rules:
- By route, not by name: first the interface that packets to the internet leave by, then those
  that lead to another gateway, then the rest.  Names only part what is left: bridges and tunnels of
  containers come last, and are never dropped.
- Interfaces take turns, so that one with twenty addresses leaves room for the others.
- Behind all others come addresses that nobody can answer to: deprecated ones (RFC 4862), and those
  with no neighbours, as a cluster gives them to its services.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from natd.core.base.scope import is_public

VIRTUAL_PREFIXES = (
    "docker",
    "veth",
    "br-",
    "virbr",
    "lxc",
    "lxd",
    "cni",
    "cali",
    "flannel",
    "cilium",
    "podman",
    "vmnet",
    "vboxnet",
    "vnet",
)
"""Interfaces that rarely lead to another machine, unless a route says so."""


MOST_SECOND = 4
"""Of each family: a server needs two."""


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """One unicast address of an interface that is up."""

    host: str
    interface: str
    has_neighbours: bool = True
    """Whether its prefix holds another address."""
    is_temporary: bool = False
    """A privacy address (RFC 8981)."""
    is_deprecated: bool = False


def lasting_public(found: Iterable[LocalAddress], ways_out: Sequence[str]) -> tuple[str, ...]:
    """The lasting public addresses of the interface that leads to the internet, `ways_out[0]`, of
    each family in which it has two or more; those of all interfaces where none leads there.

    The addresses of a container's bridge, of one LAN and of another uplink are no second address:
    who came by a public one can't reach the first two, and what leaves from the last may be dropped
    by the provider of the first.
    """
    hosts = [
        each.host
        for each in found
        if is_public(each.host)
        and not (each.is_temporary or each.is_deprecated)
        and (not ways_out or each.interface == ways_out[0])
    ]
    families = [[host for host in hosts if (":" in host) == ipv6] for ipv6 in (False, True)]
    return tuple(host for family in families if len(family) > 1 for host in family[:MOST_SECOND])


def in_order(
    found: Iterable[LocalAddress], ways_out: Sequence[str], sources: Iterable[str] = ()
) -> tuple[str, ...]:
    """Every address once, the likeliest first.

    `ways_out` are the interfaces that lead somewhere, best first; `sources` are the addresses that
    our packets to the internet come from: towards these a firewall lets the answers in.
    """
    sources = frozenset(sources)
    groups: dict[tuple[int, bool, str, bool], list[LocalAddress]] = {}
    for each in found:
        group = (*interface_rank(each.interface, ways_out), ":" in each.host)
        groups.setdefault(group, []).append(each)
    for members in groups.values():
        members.sort(key=lambda each: (each.host not in sources, each.is_temporary))
    turns = zip_longest(*(groups[key] for key in sorted(groups)))
    likeliest = [each for turn in turns for each in turn if each is not None]
    likeliest.sort(key=lambda each: each.host not in sources and not _can_be_answered(each))
    return tuple(dict.fromkeys(each.host for each in likeliest))


def interface_rank(name: str, ways_out: Sequence[str]) -> tuple[int, bool, str]:
    """Sort key of interfaces, those that lead furthest first."""
    if name in ways_out:
        return ways_out.index(name), False, name
    return len(ways_out), name.startswith(VIRTUAL_PREFIXES), name


def _can_be_answered(each: LocalAddress) -> bool:
    return each.has_neighbours and not each.is_deprecated
