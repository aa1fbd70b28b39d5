"""Who is registered where: the coordination server's only lasting state.

    network --> member (peer id, card, samples) --> lease per address family (address, socket)

Rules that a change must not break:

- Only a proved address gets here, and what the caps refuse leaves no trace.
- A full table refuses new entries; no live one is ever evicted to make room.
- Every lease lasts equally long, so the order of renewal is the order of expiry, and expiry
  costs nothing per lease that stays.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from natd.core.base.types import Address, NetworkId, PeerId, SocketId

LEASE_S = 75.0
"""Three refreshes of 20 s + 25 %: two may be lost."""

LEASES_LIMIT = 200_000
"""Some 200 MiB (`tests/bench/server.py`): more than one process answers for in time."""

MEMBERS_LIMIT = 256
"""Members of one network: as many peers as a daemon keeps."""

LEASES_PER_SOURCE_LIMIT = 2_048
"""From one IPv4 address or IPv6 /64: a carrier's NAT may stand before many, but no one
source shall fill the registry."""


class Refusal(Enum):
    """Why a registration was not accepted."""

    FULL = "this server is full"
    NETWORK_FULL = "this network is full"
    SOURCE_FULL = "too many registrations from your address"
    STALE = "a newer card of this peer is registered, as after restoring an old state directory"


@dataclass(slots=True, eq=False)
class Member:
    """One peer in one network, reachable by at least one lease."""

    network: NetworkId
    peer: PeerId
    sequence: int
    card: bytes
    samples: tuple[Address, ...] = ()
    """Where other ports see it: see `introduction.useful_samples`."""
    moved_from: tuple[Address, ...] = ()
    """Its address before its latest move; its own samples may still name that one."""
    ipv4: "Lease | None" = None
    """None: not registered over IPv4."""
    ipv6: "Lease | None" = None

    @property
    def leases(self) -> tuple["Lease", ...]:
        return tuple(lease for lease in (self.ipv4, self.ipv6) if lease is not None)

    @property
    def observed(self) -> tuple[Address, ...]:
        return tuple(lease.address for lease in self.leases)

    def lease_towards(self, address: Address) -> "Lease":
        """Its lease for news of a peer at `address`: of the same family if possible."""
        same, other = (self.ipv6, self.ipv4) if address.is_ipv6 else (self.ipv4, self.ipv6)
        lease = same if same is not None else other
        assert lease is not None, "a member without a lease is removed"
        return lease


@dataclass(slots=True, eq=False)
class Lease:
    """A proved address of a member, for a while."""

    lease_id: bytes
    member: Member
    address: Address
    socket: SocketId
    """The socket of ours that it talks to: its NAT lets answers in only from there."""
    transaction: bytes
    """That of its latest REGISTER."""
    rtt_s: float | None
    """The least time between a challenge and its answer; None until one was timed."""
    expires_at: float


class Registry:
    """All leases of one server.  `now` is on the caller's monotonic clock."""

    def __init__(self) -> None:
        self._networks: dict[NetworkId, dict[PeerId, Member]] = {}
        self._leases: OrderedDict[bytes, Lease] = OrderedDict()
        self._per_source: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def network_count(self) -> int:
        return len(self._networks)

    def refusal(self, network: NetworkId, peer: PeerId, address: Address) -> Refusal | None:
        """Why `register` would be refused; None: it would not."""
        members = self._networks.get(network, {})
        member = members.get(peer)
        if member is None and len(members) >= MEMBERS_LIMIT:
            return Refusal.NETWORK_FULL
        old = None if member is None else _lease_of_family(member, address)
        if old is None and len(self._leases) >= LEASES_LIMIT:
            return Refusal.FULL
        source = source_of(address)
        if old is not None and source_of(old.address) == source:
            return None
        if self._per_source[source] >= LEASES_PER_SOURCE_LIMIT:
            return Refusal.SOURCE_FULL
        return None

    def register(
        self,
        network: NetworkId,
        peer: PeerId,
        address: Address,
        *,
        lease_id: bytes,
        socket: SocketId,
        sequence: int,
        card: bytes,
        transaction: bytes,
        rtt_s: float | None,
        now: float,
    ) -> Lease | Refusal:
        """Grant or renew the lease of a proved address.

        A renewal from the same address keeps its lease id; `lease_id` is for a new one.
        """
        member = self.member(network, peer)
        if member is not None and sequence < member.sequence:
            return Refusal.STALE
        refusal = self.refusal(network, peer, address)
        if refusal is not None:
            return refusal
        if member is None:
            member = Member(network, peer, sequence, card)
        member.sequence, member.card = sequence, card
        lease = _lease_of_family(member, address)
        if lease is not None and lease.address != address:
            self._forget(lease)
            member.moved_from, lease = (lease.address,), None
        if lease is None:
            lease = Lease(lease_id, member, address, socket, transaction, rtt_s, now + LEASE_S)
            self._remember(lease)
        lease.transaction, lease.socket = transaction, socket
        lease.rtt_s = min((rtt for rtt in (lease.rtt_s, rtt_s) if rtt is not None), default=None)
        self.renew(lease, now)
        return lease

    def renew(self, lease: Lease, now: float) -> None:
        lease.expires_at = now + LEASE_S
        self._leases.move_to_end(lease.lease_id)

    def release(self, lease: Lease) -> None:
        """Forget a lease, its member with its last lease, a network with its last member."""
        self._forget(lease)
        member = lease.member
        if member.leases:
            return
        members = self._networks[member.network]
        del members[member.peer]
        if not members:
            del self._networks[member.network]

    def expire(self, now: float) -> int:
        """Release leases that were not renewed in time; gives their number."""
        expired = 0
        while self._leases:
            lease = next(iter(self._leases.values()))
            if lease.expires_at > now:
                break
            self.release(lease)
            expired += 1
        return expired

    def next_expiry(self) -> float | None:
        """None when there are no leases."""
        if not self._leases:
            return None
        return next(iter(self._leases.values())).expires_at

    def lease(self, lease_id: bytes) -> Lease | None:
        return self._leases.get(lease_id)

    def member(self, network: NetworkId, peer: PeerId) -> Member | None:
        return self._networks.get(network, {}).get(peer)

    def others(self, network: NetworkId, peer: PeerId) -> Iterator[Member]:
        """All members except `peer`, the latest first: they are the likeliest to be alive."""
        members = self._networks.get(network, {})
        return (member for member in reversed(members.values()) if member.peer != peer)

    def _remember(self, lease: Lease) -> None:
        member = lease.member
        members = self._networks.setdefault(member.network, {})
        members.pop(member.peer, None)
        members[member.peer] = member
        if lease.address.is_ipv6:
            member.ipv6 = lease
        else:
            member.ipv4 = lease
        self._leases[lease.lease_id] = lease
        self._per_source[source_of(lease.address)] += 1

    def _forget(self, lease: Lease) -> None:
        if lease.address.is_ipv6:
            lease.member.ipv6 = None
        else:
            lease.member.ipv4 = None
        del self._leases[lease.lease_id]
        source = source_of(lease.address)
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]


def source_of(address: Address) -> str:
    """The unit that limits count as one sender: an IPv4 address or an IPv6 /64."""
    if not address.is_ipv6:
        return address.host
    return address.ip.exploded[:19]


def _lease_of_family(member: Member, address: Address) -> Lease | None:
    return member.ipv6 if address.is_ipv6 else member.ipv4
