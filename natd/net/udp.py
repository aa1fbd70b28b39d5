"""The daemon's UDP sockets: one for everything, and short-lived helpers beside it.

Rules that a change must not break:

- Addresses are canonical on our side of this door: the dual-stack socket's IPv4-mapped form
  (`::ffff:192.0.2.1`) is undone on the way in and done on the way out.
- Where the machine has no IPv6, the sockets are IPv4 only, and an IPv6 destination counts as
  unreachable.
- Nothing that the network does raises: a datagram that can't be sent is dropped and counted
  under the name of its errno, as a network would drop it.
- A wake-up reads at most `DRAIN_LIMIT` datagrams of a socket, so that a flood can't keep the
  loop from its other work; `on_drained` follows once for the whole wake-up.
- IP_RECVERR stays off: ICMP errors of one destination must not become errors of the socket
  that all of them share.
"""

import asyncio
import errno
import os
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from natd.core.base.types import LOWEST_ANY_PORT_SOCKET, MAIN_SOCKET, Address, Datagram, SocketId

RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
"""Half a second of junk at 20,000 small packets a second fits while the loop is busy; the
kernel grants less where rmem_max says so."""

DRAIN_LIMIT = 64
"""Datagrams read at one wake-up: beyond this the gain is nothing, and timers come late."""

DATAGRAM_BYTES = 2048
"""Ours are at most 1,200; what is longer arrives cut off and is refused by its decoder."""

ADDRESS_CACHE_ENTRIES = 4096
"""Converted addresses that are kept; a flood from spoofed sources empties the cache, no more."""

USED_S = 180.0
"""For so long a closed helper's port is not drawn again: NATs may still have its mappings, and one
that is old, or spoilt by an early packet, is what a fresh socket is to be free of."""

FORBIDDEN_TOLD_S = 60.0
"""A refusal of this system is told for so long: an idle daemon sends more often."""

_FORBIDDING = (errno.EPERM, errno.EACCES)
_PORT_TRIES = 16
_MAPPED_PREFIX = "::ffff:"
_HOP_LIMIT = struct.Struct("i")

_RETOPTS = 7
"""IP_RETOPTS of ip(7): as a control message, the IP options of one packet."""
_FULL_TIMESTAMP = bytes([68, 4, 5])
"""Type, length and pointer of a time-stamp option with no room (RFC 791, section 3.1).  Each router
counts one overflow in the byte that follows, and a packet that can't be counted is an error there.
So it ends at the same router as by its TTL, and also where that router is its destination: there
the TTL of 1 is enough, and a Linux NAT would take the packet for a flow of its own."""
_MOST_OVERFLOWS = 15
_OPTION_REFUSED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOPROTOOPT)
"""What a system without IP options says, as a user-space kernel may."""
_PKTINFO = 8
"""IP_PKTINFO of ip(7), which Python's socket module does not name on this version."""
_PACKET_INFO = struct.Struct("i4s4s")


_MTU_DISCOVER, _MAY_BE_SPLIT = 10, 0
"""IP_MTU_DISCOVER and IP_PMTUDISC_DONT of ip(7)."""


def let_routers_split(sock: socket.socket) -> None:
    """Let routers split our IPv4 datagrams instead of dropping them.

    QUIC asks for the opposite (RFC 9000, section 14), to know that a path carries 1,200 bytes in
    one piece.  We need the path more than that knowledge: with the don't-fragment bit, a tunnel
    of 1,200 bytes whose ICMP is filtered is a hole, and without it most such tunnels work.  (What
    drops fragments as well is found by checks of full size.)
    """
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _MAY_BE_SPLIT)


class UdpSockets:
    """The main socket and the helpers; `on_datagram(data, address, socket)` for each arrival."""

    def __init__(
        self,
        on_datagram: Callable[[bytes, Address, SocketId], None],
        on_drained: Callable[[], None],
        *,
        most_helpers: int = sys.maxsize,
    ) -> None:
        """`most_helpers` sockets may be open beside the main one: the process needs others."""
        self.errors: Counter[str] = Counter()
        """Datagrams that could not be sent, by errno name."""
        self._forbidden_at: float | None = None
        self._most_helpers = most_helpers
        self._on_datagram = on_datagram
        self._on_drained = on_drained
        self._sockets: dict[SocketId, socket.socket] = {}
        self._used: dict[int, float] = {}  # ports of closed helpers, and when they were closed
        self._family = socket.AF_INET6
        self._addresses: dict[tuple[Any, ...], Address] = {}
        self._has_options = sys.platform == "linux"
        self._destinations: dict[Address, tuple[Any, ...]] = {}

    @property
    def port(self) -> int:
        """The main socket's port."""
        port: int = self._sockets[MAIN_SOCKET].getsockname()[1]
        return port

    @property
    def is_forbidden(self) -> bool:
        """Whether this system itself has refused to send within the last minute."""
        at = self._forbidden_at
        return at is not None and time.monotonic() < at + FORBIDDEN_TOLD_S

    @property
    def has_ipv6(self) -> bool:
        return self._family == socket.AF_INET6

    @property
    def count(self) -> int:
        return len(self._sockets)

    def open(self, port: int, *, ipv6: bool = True) -> None:
        """Open the main socket on `port` (0: any) and read it from the running loop.

        OSError when the port is taken.
        """
        if ipv6 and socket.has_ipv6:
            try:
                self._add(MAIN_SOCKET, port)
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
            else:
                return
        self._family = socket.AF_INET
        self._add(MAIN_SOCKET, port)

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """Send each, in order; an unknown socket id opens a helper, on the port that it names."""
        for data, address, ttl, socket_id, is_strict in datagrams:
            try:
                sock = self._sockets.get(socket_id) or self._add_helper(socket_id)
                destination = self._destinations.get(address) or self._destination(address)
                if ttl is None:
                    sock.sendto(data, destination)
                else:
                    controls = self._hop_limits(address, ttl, is_strict=is_strict)
                    self._send_limited(sock, data, controls, destination)
            except OSError as error:
                self._count(error)

    def send_from_link(self, data: bytes, group: Address, interface: int) -> None:
        """Send to a multicast group out of one interface, from the main socket, and no further
        than the link: the system's hop limit for that is 1."""
        sock = self._sockets[MAIN_SOCKET]
        try:
            if group.is_ipv6:
                sock.sendto(data, (group.host, group.port, 0, interface))
            else:
                info = _PACKET_INFO.pack(interface, bytes(4), bytes(4))
                control = [(socket.IPPROTO_IP, _PKTINFO, info)]
                sock.sendmsg([data], control, 0, self._destination(group))
        except OSError as error:
            self._count(error)

    def _count(self, error: OSError) -> None:
        self.errors[errno.errorcode.get(error.errno or 0, "UNKNOWN")] += 1
        if error.errno in _FORBIDDING:
            self._forbidden_at = time.monotonic()

    def drop(self, socket_id: SocketId) -> None:
        """Close a helper; the main socket stays until `close`."""
        if socket_id == MAIN_SOCKET or socket_id not in self._sockets:
            return
        if socket_id >= LOWEST_ANY_PORT_SOCKET:
            now = asyncio.get_running_loop().time()
            port = self._sockets[socket_id].getsockname()[1]
            self._used.pop(port, None)
            self._used[port] = now
            while self._used and next(iter(self._used.values())) < now - USED_S:
                del self._used[next(iter(self._used))]
        self._close(socket_id)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets.values():
            loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def _close(self, socket_id: SocketId) -> None:
        sock = self._sockets.pop(socket_id)
        asyncio.get_running_loop().remove_reader(sock)
        sock.close()

    def _add_helper(self, socket_id: SocketId) -> socket.socket:
        """On the port that the id asks for, or on any when that one is taken."""
        if len(self._sockets) > self._most_helpers:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if socket_id < LOWEST_ANY_PORT_SOCKET:
            try:
                return self._add(socket_id, int(socket_id))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        for _ in range(_PORT_TRIES):
            sock = self._add(socket_id, 0)
            if sock.getsockname()[1] not in self._used:
                return sock
            self._close(socket_id)
        return self._add(socket_id, 0)

    def _add(self, socket_id: SocketId, port: int) -> socket.socket:
        sock = socket.socket(self._family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            let_routers_split(sock)
            if self._family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if socket_id == MAIN_SOCKET:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            sock.bind(("", port))
        except OSError:
            sock.close()
            raise
        self._sockets[socket_id] = sock
        asyncio.get_running_loop().add_reader(sock, self._drain, socket_id, sock)
        return sock

    def _drain(self, socket_id: SocketId, sock: socket.socket) -> None:
        receive, known, deliver = sock.recvfrom, self._addresses, self._on_datagram
        for _ in range(DRAIN_LIMIT):
            try:
                data, source = receive(DATAGRAM_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                self._count(error)
                break
            deliver(data, known.get(source) or self._source(source), socket_id)
        self._on_drained()

    def _source(self, source: tuple[Any, ...]) -> Address:
        if len(self._addresses) >= ADDRESS_CACHE_ENTRIES:
            self._addresses.clear()
        host: str = source[0]
        if host.startswith(_MAPPED_PREFIX) and "." in host:
            host = host[len(_MAPPED_PREFIX) :]
        address = self._addresses[source] = Address(host, source[1])
        return address

    def _destination(self, address: Address) -> tuple[Any, ...]:
        """The socket's form of an address; OSError when this socket has none for it."""
        if len(self._destinations) >= ADDRESS_CACHE_ENTRIES:
            self._destinations.clear()
        destination: tuple[Any, ...]
        if self._family == socket.AF_INET:
            if address.is_ipv6:
                raise OSError(errno.EAFNOSUPPORT, "this machine has no IPv6")
            destination = (address.host, address.port)
        elif address.is_ipv6:
            host, _, scope = address.host.partition("%")
            destination = (host, address.port, 0, _scope_id(scope))
        else:
            destination = (_MAPPED_PREFIX + address.host, address.port, 0, 0)
        self._destinations[address] = destination
        return destination

    def _hop_limits(
        self, address: Address, ttl: int, *, is_strict: bool
    ) -> list[tuple[int, int, bytes]]:
        """The control messages for one packet's TTL; a mapped address leaves as IPv4."""
        if address.is_ipv6:
            return [(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, _HOP_LIMIT.pack(ttl))]
        limit = (socket.IPPROTO_IP, socket.IP_TTL, _HOP_LIMIT.pack(ttl))
        if not is_strict or not self._has_options:
            return [limit]
        overflows = _MOST_OVERFLOWS + 1 - ttl
        option = _FULL_TIMESTAMP + bytes([overflows << 4])
        return [limit, (socket.IPPROTO_IP, _RETOPTS, option)]

    def _send_limited(
        self,
        sock: socket.socket,
        data: bytes,
        controls: list[tuple[int, int, bytes]],
        destination: tuple[Any, ...],
    ) -> None:
        """Where the system has no IP options, the TTL alone has to do."""
        try:
            sock.sendmsg([data], controls, 0, destination)
        except OSError as error:
            if len(controls) == 1 or error.errno not in _OPTION_REFUSED:
                raise
            self._has_options = False
            sock.sendmsg([data], controls[:1], 0, destination)


def _scope_id(scope: str) -> int:
    """The interface's number for `%eth0` or `%2`; OSError when there is no such interface."""
    if not scope:
        return 0
    return int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
