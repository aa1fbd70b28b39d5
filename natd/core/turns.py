"""One expensive attempt at a time for the whole daemon, and the sockets that it may open.

An attempt that opens hundreds of flows would fill the table of a home router if several ran side
by side.  Whoever has the turn keeps it until the attempt is over, but not for longer than
`LONGEST_S`; the others ask again with their next round.  What an attempt has taken of our block
of ports counts for all of them until it is surely forgotten.

Where to guess is a server's word, and it may name anybody.  So a host that has not answered gets
two attempts' worth of packets and then no more than plain checks would send it, over all peers and
networks; and all hosts together get what one attempt a minute takes.
"""

from natd.core.pace import Pace
from natd.core.schedule import Allowance
from natd.core.types import SocketId

LONGEST_S = 30.0
HELPER_SOCKETS = 256
FIRST_HELPER = 0x100000
"""Above every socket id that asks for a port, and above those of single fresh sockets."""

HOST_RATE, HOST_BURST = 1.0, 3_840.0
"""Packets a second to a host that has not answered, and at once: twice what one wave may send."""

ALL_RATE, ALL_BURST = 34.0, 8_192.0
"""The same to all of them: what a NAT remembers of it for half a minute fills half of a home
router's table of 16,384."""

MOST_HOSTS = 1_024

REMEMBERED_S = 125.0
"""How long a port of our block counts as taken after our last packet from it: a NAT is asked to
remember a flow for two minutes at least (RFC 4787, section 4.3)."""


class Turns:
    """Shared by all attempts of a daemon."""

    def __init__(self) -> None:
        self.helper_sockets = HELPER_SOCKETS
        """How many fresh sockets an attempt may open; twice as many where a block is filled."""
        self.fills_whole_blocks = False
        """Whether all ports of a block of ours may be used up, which starves its other users."""
        self.spares_blocks = False
        """Whether a port block of ours may not be used up at all, not even by half."""
        self.pace = Pace()
        """Of guesses and checks together."""
        self._blocks: dict[object, tuple[int, float]] = {}  # ports taken, and until when
        self._holder: object | None = None  # None: free
        self._until = 0.0
        self._last_socket = FIRST_HELPER
        self._hosts: dict[str, Allowance] = {}
        self._all = Allowance(ALL_RATE, ALL_BURST)

    def take(self, who: object, now: float) -> bool:
        """Whether it is this attempt's turn now."""
        if not self.is_free(who, now):
            return False
        self._holder, self._until = who, now + LONGEST_S
        return True

    def is_free(self, who: object, now: float) -> bool:
        """Whether `take` would give it the turn: asked before a plan is made, which costs 5 ms."""
        return self._holder is None or self._holder is who or now >= self._until

    @property
    def block_sockets(self) -> int:
        """How many fresh sockets may open from a block of ours: one is one port of it."""
        return self.helper_sockets * (2 if self.fills_whole_blocks else 1)

    def take_ports(self, who: object, count: int, now: float) -> None:
        """This attempt has sent from `count` ports of our block, the last of them now."""
        self._blocks[who] = (count, now + REMEMBERED_S)

    def ports_taken(self, now: float) -> int:
        """How many ports of our block some attempt or other may still hold."""
        self._blocks = {who: taken for who, taken in self._blocks.items() if taken[1] > now}
        return sum(count for count, _ in self._blocks.values())

    def give_back(self, who: object) -> None:
        if self._holder is who:
            self._holder = None

    def may_send(self, host: str, now: float) -> bool:
        """Whether one more packet may go to this host; takes it if so."""
        allowance = self._hosts.get(host)
        if allowance is None:
            if len(self._hosts) >= MOST_HOSTS:
                self._hosts = {h: left for h, left in self._hosts.items() if not left.is_full(now)}
            if len(self._hosts) >= MOST_HOSTS:
                return False
            allowance = self._hosts[host] = Allowance(HOST_RATE, HOST_BURST)
        return allowance.take(now) and self._all.take(now)

    def found(self, host: str) -> None:
        """A path stands to this host: there is a peer, and it wants our packets."""
        self._hosts.pop(host, None)

    def fresh_sockets(self, count: int) -> tuple[SocketId, ...]:
        """Ids that nobody has used, of sockets on any port."""
        first = self._last_socket + 1
        self._last_socket += count
        return tuple(SocketId(number) for number in range(first, first + count))
