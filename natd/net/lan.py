"""The ear on our own link: a multicast group that members call out to.

    calls of the node ─► main socket, out of every link        (`natd/core/network/multicast.py`)
    calls of others   ─► two sockets on the group's port ─► node, as of LINK_SOCKET

Rules that a change must not break:

- The group's sockets only hear.  What is sent leaves from the main socket, one link after the
  other, since a multicast without a link named goes to that of the default route alone.
- The IPv4 socket is bound to the group itself, and only a source on one of our links counts, an
  IPv6 one only if it is link-local: nothing that came through a router gets in here, and no forged
  source makes us answer past one.
- The port is shared with the daemons of other users of this machine; each hears every call.
- Where there is no multicast this is said once, and everything else goes on.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable

from natd.core.base.types import Address, SocketId
from natd.core.network.multicast import GROUP, GROUP_IPV6, LINK_SOCKET
from natd.net.network_interfaces import Link, multicast_links
from natd.net.udp import DATAGRAM_BYTES, UdpSockets

logger = logging.getLogger(__name__)

LINK_DRAIN_LIMIT = 16
"""Calls read at one wake-up.  A flood of them is the link's own business; the loop's is not to be
kept from its other work."""

MOST_LINKS = 8
"""A machine with many containers has hundreds of interfaces; real ones come first."""

_MULTICAST_ALL = 49
"""IP_MULTICAST_ALL of ip(7), which Python's socket module does not name."""

_MEMBERSHIP = struct.Struct("4s4si")
"""struct ip_mreqn: group, local address (any), interface."""

_MEMBERSHIP_IPV6 = struct.Struct("16si")


class Lan:
    """See the top of this file."""

    def __init__(
        self,
        on_datagram: Callable[[bytes, Address, SocketId], None],
        on_drained: Callable[[], None],
        look: Callable[[], tuple[Link, ...]] = multicast_links,
    ) -> None:
        self._on_datagram = on_datagram
        self._on_drained = on_drained
        self._look = look
        self._ears: dict[int, socket.socket] = {}  # by family
        self._links: tuple[Link, ...] = ()
        self._joined: set[tuple[int, int]] = set()  # family and interface
        self._on_link: tuple[tuple[int, int], ...] = ()  # network and mask of each link
        self._has_complained = False
        self.dropped: Counter[str] = Counter()
        """Calls that no neighbour can have sent."""

    def follow(self, *, wanted: bool, ipv6: bool) -> bool:
        """At start, when the machine's addresses have changed and when the configuration has.
        True if calls of others are heard from here on."""
        if not wanted:
            self.close()
            return False
        with contextlib.suppress(OSError):  # nothing can be opened: those from before remain
            self._links = self._look()[:MOST_LINKS]
        networks = {network for link in self._links for network in link.networks}
        self._on_link = tuple((int(n.network_address), int(n.netmask)) for n in networks)
        families = (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,)
        problems: dict[str, None] = {}
        for family in families:
            try:
                self._listen(family)
            except OSError as error:
                if error.errno != errno.EAFNOSUPPORT:
                    problems[error.strerror or str(error)] = None
        heard = self._ears.keys() & {family for family, _ in self._joined}
        if not heard and not self._has_complained:
            self._has_complained = True
            reason = ", ".join(problems) or "there is no link that carries multicast"
            logger.info("natd does not look for members on this link: %s", reason)
        return bool(heard)

    def call(self, data: bytes, sockets: UdpSockets) -> None:
        """Send a call out of every link, from the main socket."""
        for link in self._links:
            if (socket.AF_INET, link.index) in self._joined:
                sockets.send_from_link(data, GROUP, link.index)
            if (socket.AF_INET6, link.index) in self._joined:
                sockets.send_from_link(data, GROUP_IPV6, link.index)

    def close(self) -> None:
        """Hear nothing more."""
        loop = asyncio.get_running_loop()
        for ear in self._ears.values():
            loop.remove_reader(ear)
            ear.close()
        self._ears.clear()
        self._joined.clear()

    def _listen(self, family: int) -> None:
        """Hear the group on every link of this family; OSError where that can't be."""
        present = {(family, link.index) for link in self._links if link.has(family)}
        # An interface that is gone took its membership with it.
        self._joined -= {place for place in self._joined if place[0] == family} - present
        for place in present - self._joined:
            ear = self._ears.get(family) or self._open(family)
            try:
                _join(ear, family, place[1])
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.ENODEV):
                    raise
                if error.errno == errno.ENODEV:
                    continue
            self._joined.add(place)

    def _open(self, family: int) -> socket.socket:
        ear = socket.socket(family, socket.SOCK_DGRAM)
        try:
            ear.setblocking(False)
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                ear.bind(("::", GROUP_IPV6.port))
            else:
                ear.setsockopt(socket.IPPROTO_IP, _MULTICAST_ALL, 0)
                ear.bind((GROUP.host, GROUP.port))
        except OSError:
            ear.close()
            raise
        self._ears[family] = ear
        asyncio.get_running_loop().add_reader(ear, self._drain, ear)
        return ear

    def _drain(self, ear: socket.socket) -> None:
        for _ in range(LINK_DRAIN_LIMIT):
            try:
                data, source = ear.recvfrom(DATAGRAM_BYTES)
            except OSError:
                # EAGAIN: all read.  Whatever else it is, the next call comes in a minute.
                break
            if self._is_neighbour(ear.family, source[0]):
                self._on_datagram(data, Address(source[0], source[1]), LINK_SOCKET)
            else:
                self.dropped["call-from-off-the-link"] += 1
        self._on_drained()

    def _is_neighbour(self, family: int, host: str) -> bool:
        if family == socket.AF_INET6:
            return ipaddress.ip_address(host).is_link_local
        number = int.from_bytes(socket.inet_aton(host))
        return any(number & mask == network for network, mask in self._on_link)


def _join(ear: socket.socket, family: int, interface: int) -> None:
    if family == socket.AF_INET6:
        group = socket.inet_pton(family, GROUP_IPV6.host)
        membership = _MEMBERSHIP_IPV6.pack(group, interface)
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
    else:
        group = socket.inet_pton(family, GROUP.host)
        membership = _MEMBERSHIP.pack(group, bytes(4), interface)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
