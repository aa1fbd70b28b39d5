"""What the node keeps of its own side of the world: its sockets, and what waits to be sent.

The main socket carries everything.  Another exists only while some peer needs it, and the one
that hears the group of the link (`natd/core/network/multicast.py`) is never sent from.
"""

from collections import deque

from natd.core.base import events
from natd.core.base.local_ports import FRESH_ALIKE
from natd.core.base.types import LOWEST_ANY_PORT_SOCKET, Address, Datagram, SocketId


class Outgoing:
    """What waits to be drained."""

    def __init__(self) -> None:
        self.datagrams: list[Datagram] = []
        self.events: deque[events.Event] = deque()


class LocalSockets:
    """Which sockets there are besides the main one, what the main one is bound to, where the
    router has mapped it, and whether the group of the link is heard."""

    def __init__(self) -> None:
        self.live: set[SocketId] = set()
        self.local: tuple[tuple[str, ...], int] = ((), 0)
        self.mapped: tuple[Address, ...] = ()
        self.hears_link = False
        self._last = LOWEST_ANY_PORT_SOCKET
        self._alike = 0

    def fresh(self, *, is_alike: bool = False) -> SocketId:
        """The id of a socket of ours that did not exist yet; `is_alike`: on a port of the main
        one's parity that has not been used for a while."""
        if is_alike:
            self._alike = (self._alike + 2) % len(FRESH_ALIKE)
            socket = SocketId(FRESH_ALIKE[self._alike + self.local[1] % 2])
        if not is_alike or socket in self.live:
            self._last += 1
            socket = SocketId(self._last)
        self.live.add(socket)
        return socket
