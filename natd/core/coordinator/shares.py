"""How much of a server one source may have: a share, also where it comes first.

                          IPv4 or IPv6 /64    /56      /48
    of 200,000 leases          2,048         8,192   32,768
    of a network's 256            64           128            where fewer than 64 are free

A lease counts once for each 320 bytes of its card: so the shares are of memory, too.
While a quarter of a network's places is free, a source takes what it likes of the others.

Rules that a change must not break:

- A source that has its share is refused, and what it has stays.
- Nothing is kept for a source that has no lease.
"""

from collections import Counter
from collections.abc import Iterable

from natd.core.base.types import Address

LEASES_LIMIT = 200_000
"""At most 220 MB (`tests/bench/server.py`), whatever their cards: the unit of the service allows
256 MiB."""

SHARES = (2_048, 8_192, 32_768)
"""Of all leases: an IPv4 address or IPv6 /64, a /56, a /48.  A carrier's NAT may stand before a
thousand peers; who rents one server is given a /64 or a /56, an office a /48."""

MEMBERS_LIMIT = 256
"""Members of one network: as many peers as a daemon keeps."""

FREE_PLACES = 64
"""A quarter of them: the last places, of which each source has a share."""

SHARES_OF_PLACES = (64, 128)
"""Of a network's places: an IPv4 address or /64, a /56."""

UNIT_BYTES = 320
"""Of a card: usual ones have 240 to 300 bytes."""

_PREFIXES = (19, 17, 14)
"""Characters of an IPv6 address in full that tell its /64, /56 and /48."""


def source_of(address: Address) -> str:
    """The unit that limits count as one sender: an IPv4 address or an IPv6 /64."""
    return address.ip.exploded[: _PREFIXES[0]] if address.is_ipv6 else address.host


def wider(source: str) -> tuple[str, ...]:
    """A source itself, and the IPv6 /56 and /48 that it is part of."""
    return tuple(source[:length] for length in _PREFIXES) if ":" in source else (source,)


def units_of(card: bytes) -> int:
    """What a lease with this card takes of a share."""
    return max(1, -(-len(card) // UNIT_BYTES))


def has_place(count: int, members: Iterable[tuple[str, ...]], newcomer: str) -> bool:
    """Whether a network of so many has a place for one more, at this source; `members` are the
    sources of each, and are asked for only where the places are few."""
    if not MEMBERS_LIMIT - FREE_PLACES <= count < MEMBERS_LIMIT:
        return count < MEMBERS_LIMIT
    taken_at = tuple(members)
    for scope, share in zip(wider(newcomer), SHARES_OF_PLACES, strict=False):
        taken = sum(any(scope in wider(each) for each in sources) for sources in taken_at)
        if taken >= share:
            return False
    return True


class Shares:
    """What each source has of the leases, in units."""

    def __init__(self) -> None:
        self.total = 0
        self._taken: Counter[str] = Counter()

    def has_room(self, source: str, units: int, instead_of: tuple[str, int] | None) -> bool:
        """Whether this source may have so many, in place of what another, or the same, has."""
        freed = {} if instead_of is None else dict.fromkeys(wider(instead_of[0]), instead_of[1])
        return all(
            self._taken[scope] - freed.get(scope, 0) + units <= share
            for scope, share in zip(wider(source), SHARES, strict=False)
        )

    def give(self, source: str, units: int) -> None:
        self.total += units
        for scope in wider(source):
            self._taken[scope] += units

    def take_back(self, source: str, units: int) -> None:
        self.total -= units
        for scope in wider(source):
            self._taken[scope] -= units
            if not self._taken[scope]:
                del self._taken[scope]
