"""Who is registered where: the coordination server's only lasting state.

    network --> member (peer id, card, samples) --> lease per address family (address, socket)

Rules that a change must not break:

- Only a proved address gets here, and what is refused leaves no trace.
- A full table refuses new entries; no live one is ever evicted to make room.  Who has had a share
  of it is refused sooner (`shares`).
- Every lease lasts equally long, so the order of renewal is the order of expiry, and expiry
  costs nothing per lease that stays.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from natd.core.base.types import MAIN_SOCKET, Address, NetworkId, PeerId, SocketId
from natd.core.codec.rendezvous import ErrorCode
from natd.core.coordinator.shares import LEASES_LIMIT, Shares, has_place, source_of, units_of

LEASE_S = 75.0
"""Three refreshes of 20 s + 25 %: two may be lost."""


class Refusal(Enum):
    """Why a registration was not accepted."""

    FULL = "this server is full"
    NETWORK_FULL = "this network is full"
    SOURCE_FULL = "too many registrations from your address"
    STALE = "a newer card of this peer is registered, as after restoring an old state directory"

    @property
    def code(self) -> ErrorCode:
        return ErrorCode[self.name]


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
    def sources(self) -> tuple[str, ...]:
        return tuple(lease.source for lease in self.leases)

    @property
    def observed(self) -> tuple[Address, ...]:
        return tuple(lease.address for lease in self.leases)

    def lease_of_family(self, address: Address) -> "Lease | None":
        return self.ipv6 if address.is_ipv6 else self.ipv4

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
    source: str
    """See `shares.source_of`."""
    units: int
    """What it takes of the share of its source."""
    # What each REGISTER sets, from here on.
    socket: SocketId = MAIN_SOCKET
    """The socket of ours that it talks to: its NAT lets answers in only from there."""
    transaction: bytes = b""
    """That of its latest REGISTER."""
    sent_at_unix_ms: int = 0
    """By the peer's clock, when it sent its latest REGISTER."""
    rtt_s: float | None = None
    """The least time between a challenge and its answer; None until one was timed."""
    expires_at: float = 0.0


class Registry:
    """All leases of one server.  `now` is on the caller's monotonic clock."""

    def __init__(self) -> None:
        self._networks: dict[NetworkId, dict[PeerId, Member]] = {}
        self._leases: OrderedDict[bytes, Lease] = OrderedDict()
        self._shares = Shares()

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def network_count(self) -> int:
        return len(self._networks)

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
        sent_at_unix_ms: int,
        rtt_s: float | None,
        now: float,
    ) -> Lease | Refusal:
        """Grant or renew the lease of a proved address.

        A renewal from the same address keeps its lease id; `lease_id` is for a new one.
        """
        member = self.member(network, peer)
        if member is not None and sequence < member.sequence:
            return Refusal.STALE
        source, units = source_of(address), units_of(card)
        lease = None if member is None else member.lease_of_family(address)
        refusal = self._refusal(network, member, lease, source, units)
        if refusal is not None:
            return refusal
        if member is None:
            member = Member(network, peer, sequence, card)
        member.sequence, member.card = sequence, card
        if lease is not None and lease.address != address:
            self._forget(lease)
            member.moved_from, lease = (lease.address,), None
        if lease is None:
            lease = Lease(lease_id, member, address, source, units)
            self._remember(lease)
        else:
            self._count_anew(lease, units)
        lease.transaction, lease.socket = transaction, socket
        lease.sent_at_unix_ms = sent_at_unix_ms
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

    def _refusal(
        self, network: NetworkId, member: Member | None, old: Lease | None, source: str, units: int
    ) -> Refusal | None:
        if member is None:
            members = self._networks.get(network, {})
            if not has_place(len(members), (m.sources for m in members.values()), source):
                return Refusal.NETWORK_FULL
        has = None if old is None else (old.source, old.units)
        if has == (source, units):
            return None
        if self._shares.total + units - (0 if has is None else has[1]) > LEASES_LIMIT:
            return Refusal.FULL
        return None if self._shares.has_room(source, units, has) else Refusal.SOURCE_FULL

    def _count_anew(self, lease: Lease, units: int) -> None:
        if lease.units != units:
            self._shares.take_back(lease.source, lease.units)
            self._shares.give(lease.source, units)
            lease.units = units

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
        self._shares.give(lease.source, lease.units)

    def _forget(self, lease: Lease) -> None:
        if lease.address.is_ipv6:
            lease.member.ipv6 = None
        else:
            lease.member.ipv4 = None
        del self._leases[lease.lease_id]
        self._shares.take_back(lease.source, lease.units)
