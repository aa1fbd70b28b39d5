"""Where else to ask a server how our main socket looks, and what was seen from there.

Every port is a new destination to our NAT.  Four answers in the first round trip show whether
it maps by destination; one more now and then shows drift and poisoning.  A server with a second
address is asked there, too: only that tells a NAT that maps by address from one that does not.

The other address is the server's word, and may be somebody else's: it is asked at two ports, at
most three times each, and another one is believed once a minute.
"""

from natd.core.base.timers import Ladder
from natd.core.base.types import Address
from natd.core.codec.rendezvous import SAMPLES_LIMIT

SAMPLE_LADDER_S = (0.2, 0.4, 0.8)
"""For the ports that have not answered: after this a port counts as closed to us."""

ASSUMED_PORTS = 3
"""Before the server has told its ports: those after its own."""

OTHER_KEPT_S = 60.0

LOWEST_OTHER_PORT = 1024
"""Below are services that a lie could have us ask; the server's own port may be there, too."""


class Sampling:
    """The places of one server that tell us where they see us."""

    def __init__(self, server: Address) -> None:
        first = server.port + 1
        self._server = server
        self._own = _ports_of(server, range(first, first + ASSUMED_PORTS))
        self.other: Address | None = None
        """The server's second address; None while we know none."""
        self._others: tuple[Address, ...] = ()
        self._others_kept_until: float | None = None  # None: there never was another address
        self.ladder = Ladder(SAMPLE_LADDER_S)
        self._unanswered: set[Address] = set()
        self._turn = 0
        self.began_at: float | None = None
        """When what the server tells others of us was sampled; None: never."""
        self._seen: dict[Address, Address] = {}

    def begin(self, now: float) -> tuple[Address, ...]:
        """Forget what was seen; the places to ask at once."""
        self.began_at = now
        self._seen.clear()
        self._unanswered = {*self._own, *self._others}
        if self._unanswered:
            self.ladder.start(now)
        return (*self._own, *self._others)

    def learn(
        self, ports: tuple[int, ...], other: Address | None, now: float
    ) -> tuple[Address, ...]:
        """What the server says of itself; the places that are new and to be asked at once."""
        self._own = _ports_of(self._server, ports)
        if other is not None and not _may_be_other(other, self._server):
            other = None
        if other == self.other or now < (self._others_kept_until or now):
            return ()
        self._others_kept_until, self.other = now + OTHER_KEPT_S, other
        self._others = () if other is None else (other, *_ports_of(other, ports[:1]))
        self._unanswered.update(self._others)
        if self._others:
            self.ladder.start(now)
        return self._others

    def again(self, now: float) -> list[Address]:
        """When the ladder is due: the places to ask again."""
        if not self._unanswered:
            self.ladder.stop()
        elif self.ladder.climb(now):
            return sorted(self._unanswered)
        return []

    @property
    def probed_place(self) -> Address | None:
        """The one that is asked from fresh sockets, always the same, so that what comes from any
        other has not been let in by ourselves; None when the server has no sampling port."""
        return self._own[0] if self._own else None

    def next_place(self) -> Address | None:
        """The server's own ports in turn; None when it has none."""
        if not self._own:
            return None
        self._turn += 1
        return self._own[self._turn % len(self._own)]

    def next_places(self) -> list[Address]:
        """One of each address of the server, in turn."""
        place = self.next_place()
        places = [] if place is None else [place]
        return [*places, self._others[self._turn % len(self._others)]] if self._others else places

    def add(self, place: Address, observed: Address) -> None:
        """What was seen of the main socket from there."""
        self._unanswered.discard(place)
        self._seen.pop(place, None)
        self._seen[place] = observed

    def freshest(self) -> tuple[Address, ...]:
        """Distinct addresses, the freshest last."""
        newest_first = dict.fromkeys(reversed(self._seen.values()))
        return tuple(newest_first)[:SAMPLES_LIMIT][::-1]


def _ports_of(server: Address, ports: tuple[int, ...] | range) -> tuple[Address, ...]:
    return tuple(Address(server.host, port) for port in ports if port < 65536)


def _may_be_other(other: Address, server: Address) -> bool:
    """Whether both are of one family and one kind: a server on the internet has no second
    address on our LAN, on our loopback interface, or for a group."""
    if other.host == server.host:
        return False
    if other.port < LOWEST_OTHER_PORT and other.port != server.port:
        return False
    return _kind(other) == _kind(server)


def _kind(address: Address) -> tuple[object, ...]:
    ip = address.ip
    return (
        ip.version,
        ip.is_loopback,
        ip.is_link_local,
        ip.is_multicast,
        ip.is_unspecified,
        ip.is_private and not ip.is_loopback,
        ip.is_reserved,
    )
