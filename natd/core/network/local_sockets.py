"""Our own sockets, and the datagrams that wait to be sent.

The main socket carries everything.  Another one exists only while a peer needs it; the socket that
hears the link's multicast group (`natd/core/network/multicast.py`) never sends.
"""

from collections import deque
from dataclasses import replace

from natd.core.base import events
from natd.core.base.local_ports import FRESH_ALIKE
from natd.core.base.surroundings import Surroundings
from natd.core.base.types import LOWEST_ANY_PORT_SOCKET, Address, Datagram, SocketId


class Outgoing:
    """What waits to be drained."""

    def __init__(self) -> None:
        self.datagrams: list[Datagram] = []
        self.events: deque[events.Event] = deque()


class LocalSockets:
    """The sockets besides the main one, the main one's address and its mapping at the router, and
    whether the link's multicast group is heard."""

    def __init__(self) -> None:
        self.live: set[SocketId] = set()
        self.local: tuple[tuple[str, ...], int] = ((), 0)
        self.mapped: tuple[Address, ...] = ()
        self.hears_link = False
        self.is_offline = False
        """Whether no packet can leave this machine."""
        self._last = LOWEST_ANY_PORT_SOCKET
        self._alike = 0

    def describe(self, found: Surroundings) -> Surroundings:
        """What servers have found, and what this machine knows of itself."""
        held = frozenset(self.local[0])
        return replace(found, mapped=self.mapped, held=held, is_offline=self.is_offline)

    def fresh(self, *, is_alike: bool = False) -> SocketId:
        """The id of a new socket; `is_alike`: on a port of the main socket's parity that has not
        been used for a while."""
        if is_alike:
            self._alike = (self._alike + 2) % len(FRESH_ALIKE)
            socket = SocketId(FRESH_ALIKE[self._alike + self.local[1] % 2])
        if not is_alike or socket in self.live:
            self._last += 1
            socket = SocketId(self._last)
        self.live.add(socket)
        return socket
