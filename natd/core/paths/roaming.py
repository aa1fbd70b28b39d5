"""Addresses that authentic datagrams of a peer came from, and that are no paths yet.

Rules:
- The datagram may be a replay with a forged source.  So such an address gets only checks, few of
  them, within the budget of a stranger.
- Few addresses are remembered; the oldest is forgotten first.
"""

from dataclasses import dataclass, field

from natd.core.base.types import Address, Datagram, SocketId
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import Checks

MOST_ROAMING = 8
ROAMING_SPACING_S = 0.05


@dataclass(slots=True)
class UnprovedAddress:
    """A source of authentic datagrams that no check of ours has proved yet."""

    since: float
    checked_at: float | None = None  # None: not yet
    by_data: bool = False
    """Whether session data came from there: the peer uses this path."""


@dataclass(slots=True)
class Roaming:
    """See the top of this file."""

    _checks: Checks
    _budget: TargetBudget
    _places: dict[tuple[Address, SocketId], UnprovedAddress] = field(default_factory=dict)

    def heard(
        self, address: Address, socket: SocketId, now: float, *, is_data: bool
    ) -> Datagram | None:
        """An authentic packet came from this address; gives the check that is due, if any."""
        place = self._places.get((address, socket))
        if place is None:
            if len(self._places) >= MOST_ROAMING:
                self._places.pop(next(iter(self._places)))
            place = self._places[address, socket] = UnprovedAddress(now)
        place.by_data = place.by_data or is_data
        if place.checked_at is not None and now - place.checked_at < ROAMING_SPACING_S:
            return None
        place.checked_at = now
        check = self._checks.request(address, socket, now)
        return check if self._budget.allow(address, len(check.data), now) else None

    def proved(self, address: Address, socket: SocketId) -> UnprovedAddress | None:
        """A check of ours was answered from this address: it is a path from now on."""
        return self._places.pop((address, socket), None)

    def clear(self) -> None:
        self._places.clear()

    def __len__(self) -> int:
        return len(self._places)
