"""Where we are seen from outside: at which address, by whom, since when.

    servers, STUN servers ─► observations ─┬─► where_seen      our external addresses
    peers             ─► PeerSightings ────┴─► worth_telling   those that our card has to name

Rules:
- A private, shared, link-local or loopback sighting gives way to a public one of its family: a
  server behind a proxy, in a container or in our own network sees less than others.
- An address where nobody has seen us since another one appeared is where we were before a move.
  Several that are seen side by side are several uplinks, or a NAT with a pool of addresses
  (RFC 4787, section 4.1): peers may reach us at each.
- A server tells peers where it sees us.  The card names the public addresses only where our
  servers don't agree, or see none: for peers these are claims, and get plain checks.
- The router's word counts for the port that it has opened (`natd/core/network/mapped.py`).
- Peers may lie: what one of them reports counts only where servers see us and none of them at a
  public address, and only in our card.  (Where no server answers, peers introduce us to others
  themselves.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from natd.core.base.scope import is_public
from natd.core.base.types import CANDIDATES_OF_A_KIND_LIMIT, MAIN_SOCKET, Address, SocketId
from natd.core.nat.mapping_class import View

MOVED_IN_S = 3.0
"""Servers answer within this time when we start: an address that was last seen so shortly before
another one appeared need not be an older one."""

MOST_PEERS = 8
"""Peers whose report is kept."""

BELIEVED_FOR_S = 60.0
"""A peer can't make us write another card more often than this."""


@dataclass(frozen=True, slots=True)
class Observation:
    """How one of our sockets appears to one destination."""

    socket: SocketId
    destination: Address
    observed: Address
    at: float
    since: float
    """When that destination first saw us at this host."""

    @property
    def view(self) -> View:
        return View(self.destination, self.observed)


def public_first(seen: Sequence[Observation]) -> list[Observation]:
    """Those at public addresses; all of them where there is none.  For one family.

    A server that sees us at its own address is in our network, or behind a balancer: what others
    see goes first.
    """
    public = [each for each in seen if is_public(each.observed.host)]
    elsewhere = [each for each in public if each.observed.host != each.destination.host]
    return elsewhere or public or list(seen)


def where_seen(seen: Sequence[Observation]) -> tuple[Address, ...]:
    """Our external addresses, one for each host: IPv4 first, then the host that appeared last.

    `seen` are the observations of one socket, oldest first.
    """
    return tuple(
        each.observed
        for is_ipv6 in (False, True)
        for each in _newest_of_each_host(seen, is_ipv6=is_ipv6)
    )


def are_several(seen: Sequence[Observation], *, is_ipv6: bool = False) -> bool:
    """Whether we are seen at several public addresses of this family at once and have not just
    moved from one to another: all appeared together, or each was seen again after the last one."""
    hosts = _newest_of_each_host(seen, is_ipv6=is_ipv6)
    last_move = max((each.since for each in hosts), default=0.0)
    stay = [e for e in hosts if e.at >= last_move or e.since >= last_move - MOVED_IN_S]
    return len(stay) > 1 and is_public(stay[0].observed.host)


def worth_telling(
    seen: Sequence[Observation], told_by_peers: Iterable[Address] = ()
) -> tuple[Address, ...]:
    """The public addresses that our card has to name, because a peer may not hear of them from the
    server that introduces it to us."""
    told = []
    for is_ipv6 in (False, True):
        hosts = {each.observed.host for each in seen if each.observed.is_ipv6 is is_ipv6}
        places = [each.observed for each in _newest_of_each_host(seen, is_ipv6=is_ipv6)]
        public = [place for place in places if is_public(place.host)]
        if public and len(hosts) > 1:
            told += public
        elif hosts and not public:
            told += [place for place in told_by_peers if place.is_ipv6 is is_ipv6]
    return tuple(told[:CANDIDATES_OF_A_KIND_LIMIT])


class PeerSightings:
    """Where peers report to see our main socket."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Address, float]] = {}

    def is_news(self, socket: SocketId, peer: Address, observed: Address, now: float) -> bool:
        """Whether a peer at this address tells something by reporting to see `socket` there."""
        if socket != MAIN_SOCKET:
            return False
        last = self._told.get(peer.host)
        if last is not None and (last[0] == observed or now < last[1] + BELIEVED_FOR_S):
            return False
        if last is None and len(self._told) >= MOST_PEERS and observed in self.places:
            return False  # enough have said so
        return is_public(observed.host) and is_public(peer.host)

    def tell(self, peer: Address, observed: Address, now: float) -> None:
        """A peer at this address reports to see our main socket."""
        self._told.pop(peer.host, None)
        self._told[peer.host] = (observed, now)
        while len(self._told) > MOST_PEERS:
            del self._told[next(iter(self._told))]

    def clear(self) -> None:
        self._told.clear()

    @property
    def places(self) -> tuple[Address, ...]:
        """Newest first, one for each host."""
        newest: dict[str, Address] = {}
        for place, _ in reversed(self._told.values()):
            newest.setdefault(place.host, place)
        return tuple(newest.values())


def _newest_of_each_host(seen: Sequence[Observation], *, is_ipv6: bool) -> list[Observation]:
    """The freshest observation at each host of a family, `since` the first one there, unless we
    have moved away; the host that appeared last comes first."""
    alike = public_first([each for each in seen if each.observed.is_ipv6 is is_ipv6])
    newest = {each.observed.host: each for each in sorted(alike, key=_at)}
    since: dict[str, float] = {}
    for each in alike:
        host = each.observed.host
        since[host] = min(each.since, since.get(host, each.since))
    last_move = max(since.values(), default=0.0)
    current = [
        replace(each, since=since[host])
        for host, each in newest.items()
        if each.at >= last_move - MOVED_IN_S
    ]
    return sorted(current, key=_since, reverse=True)


def _at(each: Observation) -> float:
    return each.at


def _since(each: Observation) -> float:
    return each.since
