"""Samples: asking a server's other ports where they see our main socket.

Every port is a new destination for our NAT.  Four answers in the first round trip show if it maps
by destination; a sample now and then shows drift and poisoning.  A server with a second address is
asked there, too: only that shows if a NAT maps by address.

The server names its second address itself, and may name a third party's.  So we ask it at two
ports, at most three times each, and accept another address once a minute.  A server that loses us
and takes us back, or answers from one of its addresses after the other, has us begin anew: beyond
the first times it is asked once a minute then, too.
"""

from natd.core.base.scope import is_loopback, is_private, is_public
from natd.core.base.timers import Ladder, TokenBucket
from natd.core.base.types import Address
from natd.core.codec.rendezvous import SAMPLES_LIMIT

SAMPLE_LADDER_S = (0.2, 0.4, 0.8)
"""Waits for ports that do not answer: after these a port counts as closed."""

ASSUMED_PORTS = 3
"""Until the server has named its sampling ports: so many after its own."""

OTHER_KEPT_S = 60.0

OTHER_ASKED_RATE, OTHER_ASKED_BURST = 1.0 / OTHER_KEPT_S, 3.0
"""How often the second address is asked, and at once: a start, and two changes of network."""

LOWEST_OTHER_PORT = 1024
"""A lying server could make us send to the services below; only its own port may be there."""


class Sampling:
    """The addresses of one server that we sample, and their answers."""

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
        """When the samples that the server passes on to peers were taken; None: never."""
        self._seen: dict[Address, Address] = {}
        self._others_asked = TokenBucket(OTHER_ASKED_RATE, OTHER_ASKED_BURST)

    def moved_to(self, server: Address) -> "Sampling":
        """The same server is asked at another of its addresses."""
        moved = Sampling(server)
        moved._others_asked = self._others_asked
        return moved

    def begin(self, now: float) -> tuple[Address, ...]:
        """Forget all samples; gives the addresses to ask at once."""
        self.began_at = now
        self._seen.clear()
        others = self._others if self._others and self._others_asked.take(now) else ()
        self._unanswered = {*self._own, *others}
        if self._unanswered:
            self.ladder.start(now)
        return (*self._own, *others)

    def learn(
        self, ports: tuple[int, ...], other: Address | None, now: float
    ) -> tuple[Address, ...]:
        """Take the server's ports and other address; gives the new addresses to ask at once."""
        self._own = _ports_of(self._server, ports)
        if other is not None and not _may_be_other(other, self._server):
            other = None
        if other == self.other or now < (self._others_kept_until or now):
            return ()
        if other is not None and not self._others_asked.take(now):
            return ()
        self._others_kept_until, self.other = now + OTHER_KEPT_S, other
        self._others = () if other is None else (other, *_ports_of(other, ports[:1]))
        self._unanswered.update(self._others)
        if self._others:
            self.ladder.start(now)
        return self._others

    def again(self, now: float) -> list[Address]:
        """The addresses to ask again when the ladder is due."""
        if not self._unanswered:
            self.ladder.stop()
        elif self.ladder.climb(now):
            return sorted(self._unanswered)
        return []

    @property
    def is_awaited(self) -> bool:
        """Whether answers are still to be expected."""
        return bool(self._unanswered) and self.ladder.due_at is not None

    @property
    def probed_place(self) -> Address | None:
        """The port that fresh sockets ask, always the same one, so that we never open our NAT for
        the others; None: the server has no sampling port."""
        return self._own[0] if self._own else None

    def next_place(self) -> Address | None:
        """The next sampling port of the server's main address; None: it has none."""
        if not self._own:
            return None
        self._turn += 1
        return self._own[self._turn % len(self._own)]

    def next_places(self) -> list[Address]:
        """The next port of each address of the server."""
        place = self.next_place()
        places = [] if place is None else [place]
        return [*places, self._others[self._turn % len(self._others)]] if self._others else places

    def add(self, place: Address, observed: Address) -> None:
        """This address saw the main socket as `observed`."""
        self._unanswered.discard(place)
        self._seen.pop(place, None)
        self._seen[place] = observed

    def freshest(self) -> tuple[Address, ...]:
        """The distinct observed addresses, the freshest last."""
        newest_first = dict.fromkeys(reversed(self._seen.values()))
        return tuple(newest_first)[:SAMPLES_LIMIT][::-1]


def _ports_of(server: Address, ports: tuple[int, ...] | range) -> tuple[Address, ...]:
    return tuple(Address(server.host, port) for port in ports if port < 65536)


def _may_be_other(other: Address, server: Address) -> bool:
    """Whether both are of one family and scope: a server on the internet has no second address on
    our LAN, on loopback, or in a multicast group."""
    if other.host == server.host:
        return False
    if other.port < LOWEST_OTHER_PORT and other.port != server.port:
        return False
    return _kind(other) == _kind(server)


def _kind(address: Address) -> tuple[object, ...]:
    ip, host = address.ip, address.host
    scopes = is_public(host), is_private(host), is_loopback(host)
    return (ip.version, *scopes, ip.is_link_local, ip.is_reserved)
