"""Where peers may reach a port that a router has opened for us.

A router that grants the port may name a stale external address, one of its own network, or none at
all.  So the port is tried at every address where servers see us; what the router names comes first
only if it is one of these, or private: then another NAT is above, and peers beneath the same one
reach us there.
"""

from collections.abc import Iterable

from natd.core.base.scope import is_private, is_public
from natd.core.base.types import ANY_HOST, CANDIDATES_OF_A_KIND_LIMIT, Address


def mapped_places(mapped: Iterable[Address], seen: Iterable[Address]) -> tuple[Address, ...]:
    """Where peers may reach the ports that a router has opened for us, likeliest first; `mapped` is
    what the router tells, `seen` where we are seen."""
    hosts = list(dict.fromkeys(a.host for a in seen if not a.is_ipv6 and is_public(a.host)))
    places: list[Address] = []
    for external in mapped:
        # A private one is not wrong: another NAT is above, and some pass all ports on.
        is_sound = external.host in hosts or is_private(external.host)
        elsewhere = [external._replace(host=host) for host in hosts]
        places += [external, *elsewhere] if is_sound else [*elsewhere, external]
    named = (place for place in dict.fromkeys(places) if place.host != ANY_HOST)
    return tuple(named)[:CANDIDATES_OF_A_KIND_LIMIT]
