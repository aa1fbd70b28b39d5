"""What the node keeps of its own side of the world: its sockets, and what waits to be sent.

The main socket carries everything.  Another exists only while some peer needs it, and the one
that hears the group of the link (`natd/core/link.py`) is never sent from.
"""

from collections import deque

from natd.core import events
from natd.core.types import LOWEST_ANY_PORT_SOCKET, Address, Datagram, SocketId


class Outgoing:
    """What waits to be drained."""

    def __init__(self) -> None:
        self.datagrams: list[Datagram] = []
        self.events: deque[events.Event] = deque()


class OurSockets:
    """Which sockets there are besides the main one, what the main one is bound to, where the
    router has mapped it, and whether the group of the link is heard."""

    def __init__(self) -> None:
        self.live: set[SocketId] = set()
        self.local: tuple[tuple[str, ...], int] = ((), 0)
        self.mapped: tuple[Address, ...] = ()
        self.hears_link = False
        self._last = LOWEST_ANY_PORT_SOCKET

    def fresh(self) -> SocketId:
        """The id of a socket of ours that did not exist yet."""
        self._last += 1
        socket = SocketId(self._last)
        self.live.add(socket)
        return socket
