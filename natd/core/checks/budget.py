"""How much may be sent to addresses that have not answered yet.

Cards and introductions are claims: anybody could name a third party's address and make us flood
it.  Three limits hold over all peers and networks, in any window of a minute:

    one IP address     packets, bytes and pace, and a silence once they are spent   `TargetBudget`
    one IPv6 network   packets                                                      `TotalBudget`
    all of them        packets                                                      `TotalBudget`

The last two exist because cards of made-up members can name thousands of addresses: without them
640 messages of one member of an open network made us send 100,000 packets in 40 s.

Rules:
- A check of ours that follows a peer's check is not counted: that check was as large.  So two peers
  find each other even while somebody floods us.
- An address is forgotten as soon as nothing counts against it.
"""

import ipaddress
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from natd.core.base.timers import TokenBucket
from natd.core.base.types import Address
from natd.core.checks.host_proofs import ANSWERED_FOR_S
from natd.core.checks.limits import MINUTE_S
from natd.core.checks.meetings import Meetings
from natd.core.checks.turns import Turns
from natd.core.checks.unproved_hosts import UnprovedHosts

BURST_PACKETS = 10
BURST_S = 0.1
PACKETS_A_SECOND = 10
PACKETS_A_MINUTE = 60
BYTES_A_MINUTE = 6_000
RESERVED_PACKETS = 10
RESERVED_BYTES = 1_000
"""Packets that can wait leave so much of a minute's budget to a peer that is introduced or sends a
check in it: one dense ladder of checks."""

BULK_BYTES_A_MINUTE = 3_000
"""One first flight with a message in it; the rest is for 35 checks, without which the flight would
be useless."""

CALLED_BULK_BYTES_A_MINUTE = 5_500
"""For an address that a check of the peer has come from in this minute: the peer can read a flight
there, and the first copy may have gone to a wrong port of its NAT, so a second one may follow."""

CARD_BYTES_A_MINUTE = 4_500
"""For a card, whatever else was sent: four greetings, or our answer, a first flight and a greeting
of our own.  A restarted peer can read neither flights nor checks before it has our card; after a
loss each way two peers would otherwise stay apart for the rest of the minute."""

SILENCES_S = (30.0, 60.0, 300.0)
"""How long we send nothing after a minute's budget went unanswered: longer each time, so that a
victim that never answers gets less and less."""

RETURN_EVERY_S = 300.0
"""Least time between two silences that a newer card ends: as long as the longest silence."""

MOST_IPS = 12_288
"""More than can be begun in a minute (`TOTAL_RATE`), so that nobody fills the table."""

SWEEP_S = 1.0
"""How often a full table is searched for addresses that need no counting any more."""

MOST_CALLS = 10
"""How many checks of a peer may pay for checks of ours; otherwise they could be saved up."""

TRUSTED_FOR_S = 600.0
"""How long an authenticated answer lifts the budget.  Nobody else is likely to be at an address
where a peer was a moment ago, and after a few restarts we must still be able to check it."""


TOTAL_RATE, TOTAL_BURST = 128.0, 4_096.0
"""Packets a second to all addresses together, and at once: a network of 200 that comes back
together takes 2,500."""

NETWORK_BITS = 64
NETWORK_RATE, NETWORK_BURST = 4.0, 256.0
"""The same towards one IPv6 network: 20 members on one link that begin at once."""

MOST_NETWORKS = 1_024


@dataclass(slots=True)
class _HostBudget:
    sent_at: "array[float]" = field(default_factory=lambda: array("d"))  # in the last minute
    sizes: "array[int]" = field(default_factory=lambda: array("H"))
    bulk: "array[int]" = field(default_factory=lambda: array("H"))  # sizes of other packets
    burst_until: float = 0.0
    silent_until: float = 0.0
    silences: int = 0
    trusted_until: float = 0.0
    may_return_at: float = 0.0
    calls: int = 0
    """Checks from this address that still pay for one packet of ours each."""
    called_at: float = -MINUTE_S

    def age(self, now: float) -> None:
        """Forget what is more than a minute old."""
        old = bisect_right(self.sent_at, now - MINUTE_S)
        if old:
            del self.sent_at[:old], self.sizes[:old], self.bulk[:old]

    def has_room(self, size_bytes: int) -> bool:
        return (
            len(self.sent_at) < PACKETS_A_MINUTE and sum(self.sizes) + size_bytes <= BYTES_A_MINUTE
        )

    def take(self, size_bytes: int, now: float, *, is_bulk: bool = False) -> None:
        if not self.sent_at:
            self.burst_until = now + BURST_S
        self.sent_at.append(now)
        self.sizes.append(size_bytes)
        self.bulk.append(size_bytes if is_bulk else 0)

    @property
    def bulk_bytes(self) -> int:
        return sum(self.bulk)


class TotalBudget:
    """The budget of all unproved addresses together, and of each IPv6 network."""

    def __init__(self) -> None:
        self._all = TokenBucket(TOTAL_RATE, TOTAL_BURST)
        self._networks: dict[str, TokenBucket] = {}

    def take(self, host: str, now: float) -> bool:
        """Whether one more packet may go to this host; takes it if so."""
        if ":" in host and not self._of_network(host, now):
            return False
        return self._all.take(now)

    def _of_network(self, host: str, now: float) -> bool:
        ip = ipaddress.IPv6Address(host)
        if ip.is_link_local:
            return True  # link-local: only hosts on our own link can be reached
        network = str(ipaddress.ip_network((int(ip), NETWORK_BITS), strict=False))
        bucket = self._networks.get(network)
        if bucket is None:
            if len(self._networks) >= MOST_NETWORKS:
                self._networks = {n: a for n, a in self._networks.items() if not a.is_full(now)}
            if len(self._networks) >= MOST_NETWORKS:
                return False
            bucket = self._networks[network] = TokenBucket(NETWORK_RATE, NETWORK_BURST)
        return bucket.take(now)


@dataclass(slots=True)
class TargetBudget:
    """The budget of each IP address that has not authenticated itself."""

    turns: Turns = field(default_factory=Turns)
    """Turns for attempts that cost more than this budget, one at a time."""
    meetings: Meetings = field(default_factory=Meetings)
    """Those of all networks."""
    _unproved: UnprovedHosts = field(default_factory=UnprovedHosts)
    _total: TotalBudget = field(default_factory=TotalBudget)
    _spent: dict[str, _HostBudget] = field(default_factory=dict)
    _swept_at: float = 0.0

    def allow(
        self, address: Address, size_bytes: int, now: float, *, is_unproved: bool = False
    ) -> bool:
        """Take one check of `size_bytes` from the address's budget; False if the budget is spent,
        which begins a silence.  `is_unproved`: see `unproved_hosts`."""
        spent = self._of(address, now)
        if spent is None:
            return False
        if now < spent.trusted_until:
            self.turns.pace.checked(now)
            return True
        if not self.turns.pace.may_check(now):
            self._forget_if_new(spent, address.host)
            return False
        spent.age(now)
        if spent.calls:
            spent.calls -= 1
            self.turns.pace.checked(now)
            return True
        if now >= spent.silent_until and self._is_in_pace(spent, now):
            if is_unproved and not self._unproved.take(address.host, size_bytes, now):
                self._forget_if_new(spent, address.host)
                return False
            if spent.has_room(size_bytes):
                return self._take(spent, address.host, size_bytes, now)
            if spent.sent_at[0] >= spent.silent_until:
                spent.silent_until = now + SILENCES_S[min(spent.silences, len(SILENCES_S) - 1)]
                spent.silences += 1
        return False

    def allow_bulk(
        self, address: Address, size_bytes: int, now: float, *, is_card: bool = False
    ) -> bool:
        """The same for part of a first flight or for a card.  If it does not fit it is left out,
        and the checks go on."""
        spent = self._of(address, now)
        if spent is None:
            return False
        if now < spent.trusted_until:
            return True
        spent.age(now)
        is_called = now - spent.called_at < MINUTE_S
        most_bytes = CARD_BYTES_A_MINUTE if is_card else BULK_BYTES_A_MINUTE
        if is_called:
            most_bytes = CALLED_BULK_BYTES_A_MINUTE
        if now < spent.silent_until or not spent.has_room(size_bytes):
            return False
        if spent.bulk_bytes + size_bytes > most_bytes:
            return False
        if not self.turns.pace.may_check(now):
            self._forget_if_new(spent, address.host)
            return False
        if not self._is_in_pace(spent, now):
            if not spent.calls:
                return False
            spent.calls -= 1
        return self._take(spent, address.host, size_bytes, now, is_bulk=True)

    def can_spare(self, address: Address, now: float) -> bool:
        """Whether one more check would leave the reserve untouched.  Ask before `allow` for checks
        that are not urgent, so that they never cause a silence."""
        spent = self._spent.get(address.host)
        if spent is None or now < spent.trusted_until:
            return True
        spent.age(now)
        return (
            len(spent.sent_at) < PACKETS_A_MINUTE - RESERVED_PACKETS
            and sum(spent.sizes) < BYTES_A_MINUTE - RESERVED_BYTES
        )

    def answered(self, address: Address, now: float) -> None:
        """An authenticated answer came from this address: a peer is there and wants our packets."""
        spent = self._of(address, now)
        if spent is not None:
            spent.trusted_until = now + TRUSTED_FOR_S
            spent.silences, spent.silent_until = 0, 0.0
            self.turns.answered(address.host, now + ANSWERED_FOR_S, now)

    def called(self, address: Address, now: float) -> None:
        """A new authentic check came from this address.  It pays for one check of ours even if the
        budget is spent, and never for more than it brought: its source may be forged."""
        spent = self._of(address, now)
        if spent is not None:
            spent.calls = min(spent.calls + 1, MOST_CALLS)
            spent.called_at = now

    def returned(self, address: Address, now: float) -> None:
        """A peer that may be at this address has made a newer card, so it is alive: end the
        silence, if that is not too often; the minute's count goes on."""
        spent = self._spent.get(address.host)
        if spent is not None and spent.may_return_at <= now < spent.silent_until:
            spent.may_return_at = now + RETURN_EVERY_S
            spent.silent_until = now

    def _of(self, address: Address, now: float) -> _HostBudget | None:
        """None when too many addresses are being counted already."""
        spent = self._spent.get(address.host)
        if spent is None and len(self._spent) >= MOST_IPS and now >= self._swept_at + SWEEP_S:
            self._sweep(now)
        if spent is None and len(self._spent) < MOST_IPS:
            spent = self._spent[address.host] = _HostBudget()
        return spent

    def _take(
        self, spent: _HostBudget, host: str, size_bytes: int, now: float, *, is_bulk: bool = False
    ) -> bool:
        if not self._total.take(host, now):
            self._forget_if_new(spent, host)
            return False
        self.turns.pace.checked(now)
        self.turns.strangers.checked(host, now)
        spent.take(size_bytes, now, is_bulk=is_bulk)
        return True

    def _forget_if_new(self, spent: _HostBudget, host: str) -> None:
        """Keep no state for hosts that we sent nothing to."""
        if spent == _HostBudget():
            del self._spent[host]

    def _is_in_pace(self, spent: _HostBudget, now: float) -> bool:
        if now < spent.burst_until:
            return len(spent.sent_at) < BURST_PACKETS
        since = max(now - 1.0, spent.burst_until)
        return len(spent.sent_at) - bisect_left(spent.sent_at, since) < PACKETS_A_SECOND

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        for host, spent in list(self._spent.items()):
            spent.age(now)
            if not spent.sent_at and now >= max(spent.silent_until, spent.trusted_until):
                del self._spent[host]
