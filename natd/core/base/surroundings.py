"""What an attempt to reach a peer needs to know of our own side."""

from collections.abc import Collection
from dataclasses import dataclass, field

from natd.core.base.scope import is_loopback
from natd.core.base.types import Address, NatReport
from natd.core.base.verdict import Verdict


def family_missing(held: Collection[str], servers: Collection[str]) -> str | None:
    """`IPv4` or `IPv6`, if all these servers have only that and none of our addresses is of it."""
    ours, theirs = ({":" in host for host in hosts} for hosts in (held, servers))
    if not ours or len(theirs) != 1 or ours & theirs or any(map(is_loopback, servers)):
        return None
    return "IPv6" if True in theirs else "IPv4"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an attempt needs to know of our own side."""

    ours: tuple[Address, ...] = ()
    """Our addresses as servers see them: public ones, where any server sees one."""
    servers: frozenset[Address] = frozenset()
    nat: NatReport = field(default_factory=NatReport)
    rtt_s: float | None = None
    """Round trip to the nearest server; None when unknown."""
    mapped: tuple[Address, ...] = ()
    """Where a router maps our port."""
    is_registered: bool = True
    """Whether a server has us on its list."""
    servers_are_silent: bool = False
    """Whether there are servers and none has answered for long enough."""
    refusal: Verdict | None = None
    """Why a server that answers does not have us on its list; None: one has us, or none answers."""
    udp_works: bool = True
    """Whether another host than our servers has answered in the last minute, or a peer is here."""
    is_offline: bool = False
    """Whether no packet can leave this machine."""
    held: frozenset[str] = frozenset()
    """The addresses of our interfaces."""
    has_address_pool: bool = False
    """Whether our NAT shows our main socket at several IPv4 addresses."""
    sampled_at: float | None = None
    """When the samples that servers pass on to peers were taken; None: there are none."""
    is_sampling: bool = False
    """Whether servers have still to say how they see us."""
    inside: frozenset[str] = frozenset()
    """The private, shared, link-local and loopback hosts at which servers see us."""
    meets_inside: bool = False
    """Whether a peer of this network is connected at a private address."""
    doubtful: frozenset[str] = frozenset()
    """Hosts of servers that don't show where a server is (`registration/places.py`)."""

    @property
    def family_missing(self) -> str | None:
        """See the function of that name."""
        return family_missing(self.held, [address.host for address in self.servers])
