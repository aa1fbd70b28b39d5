"""At which of its addresses a server is asked: a name has several, and some of them are dead.

    asked ──(no answer for NEXT_ADDRESS_S)──► the next is asked, and so on in turn
      └──(the first answer from any that was asked)──► settled there ──(silence)──► asked in turn

Rules:
- All addresses share one ladder, of which each rung asks the next: a dead name gets no more than
  a dead address (one packet more, once, if it has eight addresses of one family).
- Who answers first keeps us: what others answer later is dropped.
- The families don't wait for each other (RFC 8305): each has its own ladder (`Servers`), because
  peers need to know where we are seen by IPv4 as well as by IPv6.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from natd.core.base.scope import is_public
from natd.core.base.timers import TokenBucket
from natd.core.base.types import Address, NamedServer
from natd.core.registration.lease import REGISTER_LADDER_S

NEXT_ADDRESS_S = 0.25
"""How long to wait for an answer before the next address is asked, too (RFC 8305, section 8)."""


MOVES_RATE, MOVES_BURST = 1.0 / 60.0, 4.0
"""How often a name that gives other addresses begins a dense ladder at them, and at once."""


class ServerKey(NamedTuple):
    """What one registration is for."""

    name: str | None
    """None: an address was given."""
    place: Address | str
    """The address, or the family of the name's addresses."""


def each_once(servers: Iterable[Address | NamedServer]) -> dict[ServerKey, tuple[Address, ...]]:
    """The servers with their addresses, those of a name apart by family.  What two of them share
    belongs to the one that has the fewest: two leases at one address would end each other."""
    found: dict[ServerKey, tuple[Address, ...]] = {}
    for each in servers:
        if isinstance(each, Address):
            found[ServerKey(None, each)] = (each,)
            continue
        for family in ("IPv4", "IPv6"):
            members = tuple(a for a in each.addresses if a.is_ipv6 is (family == "IPv6"))
            found[ServerKey(each.name, family)] = members
    taken: set[Address] = set()
    for key in sorted(found, key=lambda key: len(found[key])):
        found[key] = tuple(address for address in found[key] if address not in taken)
        taken.update(found[key])
    return {key: addresses for key, addresses in found.items() if addresses}


class Places:
    """The addresses of one server, of one family."""

    def __init__(self, addresses: tuple[Address, ...]) -> None:
        self.all = addresses
        self.asked = addresses[0]
        """The address that is asked, or that has answered."""
        self.is_settled = False
        """Whether it has answered."""
        self._asked_once = False
        self._moves = TokenBucket(MOVES_RATE, MOVES_BURST)

    @property
    def ladder_s(self) -> tuple[float, ...]:
        """Waits between REGISTERs: the first address is asked twice where the budget allows it,
        then each once, then all in turn with growing waits."""
        count, rungs = len(self.all), len(REGISTER_LADDER_S)
        if count == 1 or self.is_settled:
            return REGISTER_LADDER_S
        again_s = REGISTER_LADDER_S[0]
        waits_s = [again_s, NEXT_ADDRESS_S - again_s] if self._asks_twice else [NEXT_ADDRESS_S]
        waits_s += [NEXT_ADDRESS_S] * (count - 2)
        wait_s = NEXT_ADDRESS_S
        while len(waits_s) < rungs - 1:
            wait_s *= 2.0
            waits_s.append(wait_s)
        return (*waits_s, sum(REGISTER_LADDER_S) - sum(waits_s))

    @property
    def hosts(self) -> frozenset[str]:
        """From where an answer may come."""
        return frozenset((self.asked.host,) if self.is_settled else (a.host for a in self.all))

    def replace(self, addresses: tuple[Address, ...]) -> bool:
        """The name has these addresses.  True if the one in use is no longer among them, or if
        none has answered and there are new ones: then begin anew."""
        new = [address for address in addresses if address not in self.all]
        self.all = addresses
        if self.asked in addresses and (self.is_settled or not new):
            return False
        self.asked = new[0] if new else addresses[0]
        self.is_settled = False
        return True

    def may_begin(self, now: float) -> bool:
        """Whether a dense ladder may begin at new addresses.  Who owns the name may point it at
        anybody, so beyond the first times they are asked at the pace of a lost server's retries."""
        return self._moves.take(now)

    def begin(self) -> None:
        """A ladder begins at the address that is asked."""
        self._asked_once = False

    def next(self) -> Address:
        """The address for the next REGISTER."""
        if not self.is_settled and (self._asked_once or not self._asks_twice):
            self.asked = self.all[(self.all.index(self.asked) + 1) % len(self.all)]
        self._asked_once = True
        return self.asked

    def settle(self, address: Address) -> bool:
        """An answer came from there; False if another address was quicker."""
        if not self.is_settled and address in self.all:
            self.asked, self.is_settled = address, True
        return address == self.asked

    def unsettle(self) -> None:
        """It has fallen silent, or refuses us."""
        self.is_settled = False
        self._asked_once = True

    @property
    def _asks_twice(self) -> bool:
        return len(self.all) < len(REGISTER_LADDER_S)


def doubtful_hosts(servers: Mapping[ServerKey, Places]) -> frozenset[str]:
    """Private and loopback hosts that are told by the name of a server on the internet, and that
    have not answered.  Who owns the name may add any, so they don't show that a server of ours is
    in our network or on this machine."""
    on_the_internet = {
        key.name for key, places in servers.items() if any(is_public(a.host) for a in places.all)
    }
    return frozenset(
        address.host
        for key, places in servers.items()
        if key.name is not None and key.name in on_the_internet
        for address in places.all
        if not is_public(address.host) and not (places.is_settled and address == places.asked)
    )
