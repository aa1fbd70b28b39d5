"""What our own NAT does, learned from what servers say they saw of us.

Every server port that answers is one *observation*: from this local socket, towards that
destination, we appeared as that address.  Ports of one server are different destinations, so
one registration, which asks four of them at once, tells the mapping class (RFC 4787,
section 4.1) in one round trip.

Rules:
- The newest observation of a destination replaces the older one; none is believed for longer
  than `OBSERVATION_LIFETIME_S`.
- A destination that sees us elsewhere than before, on a NAT that kept one mapping per socket,
  tells that the mapping is gone: what others saw of it is then of no use, and contradicts.
- IPv4 and IPv6 are two different NATs; the report speaks of IPv4 where we have seen it.
- *Poisoning*: on a NAT known to keep one mapping per socket, a destination asked just now shows
  another port than the lease's own flow.  The flow lives on, but everything new leaves from
  the wrong port, and only a fresh local socket helps.
"""

import ipaddress
from dataclasses import dataclass

from natd.core.allocation import PortRule, PortSample, judge
from natd.core.types import (
    MAIN_SOCKET,
    Address,
    Filtering,
    Mapping,
    NatReport,
    SocketId,
)

OBSERVATION_LIFETIME_S = 180.0
"""Longer than the interval at which every sampling port comes round again, shorter than a
common UDP timeout of a carrier NAT (RFC 4787 asks for two minutes at least)."""

MOST_OBSERVATIONS = 64
"""A socket talks to a handful of servers with four ports each; more is not worth the memory."""


ONE_HOST_CONFIDENCE = 0.8
"""All ports of one host saw one and the same port, which is not ours: most such NATs map
independently of the destination, but one that maps by address would look the same."""

MOVED_WITHIN_S = 10.0
"""Answers that tell of one and the same move come in this time: all are asked at once."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One server port's word on how we appear."""

    socket: SocketId
    destination: Address
    observed: Address
    at: float


class NatModel:
    """Collects observations and judges them."""

    def __init__(self) -> None:
        self._observations: dict[tuple[SocketId, Address], Observation] = {}
        self._local_addresses: frozenset[str] = frozenset()
        self._local_port = 0

    # --- inputs

    def set_local_addresses(self, addresses: tuple[str, ...], port: int) -> None:
        """Our interface addresses and the main socket's port.  A change of network makes
        everything observed before worthless."""
        if (frozenset(addresses), port) != (self._local_addresses, self._local_port):
            self._observations.clear()
        self._local_addresses = frozenset(addresses)
        self._local_port = port

    def observe(
        self, socket: SocketId, destination: Address, observed: Address, now: float
    ) -> bool:
        """Take one observation; True if the report or our addresses changed by it."""
        before = (self.report(), self.observed())
        last = self._observations.pop((socket, destination), None)
        if last is not None and last.observed != observed:
            self._forget_mapping(socket, last.observed, now)
        self._observations[socket, destination] = Observation(socket, destination, observed, now)
        self._forget(now)
        return before != (self.report(), self.observed())

    def forget_socket(self, socket: SocketId) -> None:
        for key in [key for key in self._observations if key[0] == socket]:
            del self._observations[key]

    # --- what follows from them

    def observed(self, socket: SocketId = MAIN_SOCKET) -> tuple[Address, ...]:
        """How we appear from `socket`: the freshest address of each family, IPv4 first."""
        newest: dict[bool, Address] = {}
        for observation in self._of(socket):
            newest[observation.observed.is_ipv6] = observation.observed
        return tuple(newest[family] for family in sorted(newest))

    def samples(self, limit: int = 3) -> tuple[Address, ...]:
        """How the main socket appeared to the destinations asked last, freshest first."""
        seen = [o.observed for o in self._of(MAIN_SOCKET) if not o.observed.is_ipv6]
        return tuple(dict.fromkeys(reversed(seen)))[:limit]

    def report(self) -> NatReport:
        seen = self._of(MAIN_SOCKET)
        seen = [o for o in seen if not o.observed.is_ipv6] or seen
        if not seen:
            return NatReport()
        destinations = len({o.destination for o in seen})
        hosts = {o.destination.host for o in seen}
        rule = self._rule(seen)
        if all(self._is_ours(o.observed.host) for o in seen):
            mapping = Mapping.OPEN
        elif destinations < 2:
            mapping = Mapping.UNKNOWN
        elif len({o.observed for o in seen}) == 1:
            mapping = Mapping.INDEPENDENT
        elif len({(o.destination.host, o.observed) for o in seen}) == len(hosts) < destinations:
            mapping = Mapping.ADDRESS_DEPENDENT
        else:
            mapping = Mapping.DEPENDENT
        confidence = 0.0 if mapping is Mapping.UNKNOWN else 1.0 - 2.0**-destinations
        if mapping is Mapping.INDEPENDENT and len(hosts) < 2 and not self._is_kept(seen):
            confidence = min(confidence, ONE_HOST_CONFIDENCE)
        return NatReport(
            mapping=mapping,
            filtering=Filtering.INDEPENDENT if mapping is Mapping.OPEN else Filtering.UNKNOWN,
            allocation=rule.allocation,
            confidence=confidence,
            stride=rule.stride,
            low=rule.low,
            high=rule.high,
        )

    def is_poisoned(self, lease: Address, fresh: Address) -> bool:
        """Whether a sample taken just now betrays an early-inbound clash on the main socket.

        `lease` is how the server's old flow sees us, `fresh` how a destination does that had
        no flow before.  Tells only on a NAT that keeps our port, or whose earlier samples agreed.
        """
        if lease.host != fresh.host or lease.port == fresh.port:
            return False
        if lease.port == self._local_port:
            return True
        older = [o.observed for o in self._of(MAIN_SOCKET) if o.observed != fresh]
        return len(older) >= 2 and len(set(older)) == 1

    # --- private

    def _rule(self, seen: list[Observation]) -> PortRule:
        """Ports of one server are asked in their order, so that is how the mappings were made.
        Those of several come in another; they are taken together where a NAT gives one port
        for all ports of a server."""
        of_host: dict[str, list[Observation]] = {}
        for observation in seen:
            of_host.setdefault(observation.destination.host, []).append(observation)
        most = max(of_host.values(), key=lambda observations: len(observations))
        ordered = sorted(most, key=lambda o: o.destination.port)
        if len({o.observed for o in ordered}) == 1 < len(of_host):
            ordered = seen
        return judge([PortSample(self._local_port, o.observed.port) for o in ordered])

    def _is_ours(self, host: str) -> bool:
        """Whether nobody stands between us and a server that sees us there."""
        return host in self._local_addresses or ipaddress.ip_address(host).is_loopback

    def _is_kept(self, seen: list[Observation]) -> bool:
        return all(o.observed.port == self._local_port for o in seen)

    def _forget_mapping(self, socket: SocketId, gone: Address, now: float) -> None:
        """Drop what was seen of a mapping that is gone, if the NAT kept but one per socket."""
        before = [
            key
            for key, o in self._observations.items()
            if key[0] == socket
            and o.observed.is_ipv6 == gone.is_ipv6
            and o.at < now - MOVED_WITHIN_S
        ]
        if all(self._observations[key].observed == gone for key in before):
            for key in before:
                del self._observations[key]

    def _of(self, socket: SocketId) -> list[Observation]:
        return [o for key, o in self._observations.items() if key[0] == socket]

    def _forget(self, now: float) -> None:
        old = now - OBSERVATION_LIFETIME_S
        for key in [key for key, o in self._observations.items() if o.at < old]:
            del self._observations[key]
        while len(self._observations) > MOST_OBSERVATIONS:
            del self._observations[next(iter(self._observations))]
