"""The coordination server's sockets, and at which of the machine's addresses each was asked.

Sockets are numbered for the core: port 0 of the first bound address, its port 1, ..., port 0 of
the second address, ...  One that is bound to every address hears at several, and an answer must
leave from the one that was asked: a NAT lets nothing else in.  So each local address that such
a socket is asked at gets a row of numbers of its own, as if it had been bound to:

    --bind 192.0.2.1 --bind 192.0.2.2, 4 ports    0-3 | 4-7
    every address, 4 ports                        0-3 | asked at 192.0.2.1: 4-7 | ...

A server that is bound to every address is told which of the machine's own are of use to a client
beside one another (`name`), whenever they change.  The core names the hosts of these rows.

Rules that a change must not break:

- The core never learns of rows: whatever number a question came with, its answer goes out by.
- Rows are made by packets that came in, so there are at most `ROWS_LIMIT`; beyond them the
  system's routes choose the source address.
- Nothing that the network does raises: what can't be sent is counted by the name of its errno.
"""

import errno
import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

from natd.core.base.types import Address, Datagram, canonical_host
from natd.host.errors import StartError
from natd.net.udp import DATAGRAM_BYTES, DRAIN_LIMIT, RECEIVE_BUFFER_BYTES, let_routers_split

ROWS_LIMIT = 1024
"""Addresses of one machine; a whole prefix may be routed to it (`ip route add local`)."""

CACHE_ENTRIES = 4096
"""Converted addresses that are kept; a flood from spoofed sources empties the cache, no more."""

_MAPPED_PREFIX = "::ffff:"
_IP_PKTINFO = 8
"""Linux' number: Python's socket module names it from 3.14 on only."""

_INFO_BYTES = socket.CMSG_SPACE(20)
"""Room for the longer of the two: an IPv6 address and the number of an interface."""

_EVERY_ADDRESS = ("::", "0.0.0.0")

_Control = list[tuple[int, int, bytes]]


class _Exit(NamedTuple):
    """How the answer to a question with this number leaves."""

    sock: socket.socket
    control: _Control
    """Names the source address; empty where the socket is bound to it."""


class Listeners:
    """A socket for each port of each bound address; close it, or use it as a context."""

    def __init__(
        self, port: int, binds: tuple[str, ...], sample_ports: int, own: tuple[str, ...] = ()
    ) -> None:
        """StartError when one of them can't be opened; then none is."""
        self.undelivered: Counter[str] = Counter()
        self.ports = tuple(range(port, port + 1 + sample_ports))
        self.hosts: tuple[str, ...] = ()
        """By row: the bound addresses, where `::` and `0.0.0.0` stand for all of their family, and
        those that were named; "" is a row that is named to nobody."""
        self._exits: list[_Exit] = []
        self._numbers: list[dict[bytes, int]] = []
        """For each socket: what the system tells of a datagram -> its number."""
        self._rows: dict[tuple[int, bytes], int] = {}
        self._sources: dict[tuple[Any, ...], Address] = {}
        self._destinations: dict[tuple[Address, int], tuple[Any, ...]] = {}
        with ExitStack() as opened:
            for host in binds or (_any_host(),):
                dual_stack = host == "::" and len(binds) <= 1
                for offset in range(len(self.ports)):
                    sock = _open_socket(host, port, offset, dual_stack=dual_stack)
                    opened.enter_context(sock)
                    self._exits.append(_Exit(sock, []))
                    self._numbers.append({})
            opened.pop_all()
        self.sockets = [one.sock for one in self._exits]
        self.hosts = tuple(
            canonical_host(sock.getsockname()[0]) for sock in self.sockets[:: len(self.ports)]
        )
        self._bound = self.hosts
        if not binds:
            self.name(own)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()

    def receive(self, index: int) -> list[tuple[bytes, Address, int]]:
        """What has come in on socket number `index`, at most `DRAIN_LIMIT` datagrams: each with
        its source and the number to give to the core."""
        receive, known, numbers = self.sockets[index].recvmsg, self._sources, self._numbers[index]
        room = _INFO_BYTES if self.hosts[index // len(self.ports)] in _EVERY_ADDRESS else 0
        received: list[tuple[bytes, Address, int]] = []
        for _ in range(DRAIN_LIMIT):
            try:
                data, told, _flags, source = receive(DATAGRAM_BYTES, room)
            except OSError:
                break
            number = index
            if told:
                info = told[0][2]
                number = numbers.get(info) or self._number(index, info)
            received.append((data, known.get(source) or self._source(source), number))
        return received

    def send(self, datagrams: Iterable[Datagram]) -> None:
        for data, address, _, number, _ in datagrams:
            sock, control = self._exits[number]
            place = (address, sock.family)
            destination = self._destinations.get(place) or self._destination(*place)
            try:
                if control:
                    sock.sendmsg((data,), control, 0, destination)
                else:
                    sock.sendto(data, destination)
            except OSError as error:
                self.undelivered[errno.errorcode.get(error.errno or 0, "unknown error")] += 1

    def name(self, own: Iterable[str]) -> None:
        """Name these addresses, and no others beside the bound ones; each keeps its row."""
        family = self.sockets[0].family
        named: dict[int, str] = {}
        for host in own:
            ip = ipaddress.ip_address(host)
            if family == socket.AF_INET6:
                mapped = _MAPPED_PREFIX + host if ip.version == 4 else host
                info = ipaddress.IPv6Address(mapped).packed + bytes(4)
            elif ip.version == 4:
                info = bytes(4) + ip.packed + bytes(4)
            else:
                continue
            named[self._number(0, info) // len(self.ports)] = host
        unbound = range(len(self._bound), len(self._exits) // len(self.ports))
        self.hosts = self._bound + tuple(named.get(row, "") for row in unbound)

    # --- private

    def _number(self, index: int, info: bytes) -> int:
        """The number of port `index` in the row of the address that the system told of."""
        control = _control(self.sockets[index].family, info)
        first, offset = divmod(index, len(self.ports))
        key = (first, control[0][2])
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= ROWS_LIMIT:
                return index
            row = self._rows[key] = len(self._exits) // len(self.ports)
            begin = first * len(self.ports)
            for sock in self.sockets[begin : begin + len(self.ports)]:
                self._exits.append(_Exit(sock, control))
        number = self._numbers[index][info] = row * len(self.ports) + offset
        return number

    def _source(self, source: tuple[Any, ...]) -> Address:
        if len(self._sources) >= CACHE_ENTRIES:
            self._sources.clear()
        address = self._sources[source] = address_of(source)
        return address

    def _destination(self, address: Address, family: int) -> tuple[Any, ...]:
        if len(self._destinations) >= CACHE_ENTRIES:
            self._destinations.clear()
        destination: tuple[Any, ...]
        if address.is_ipv6:
            host, _, scope = address.host.partition("%")
            destination = (host, address.port, 0, int(scope or 0))
        else:
            mapped = _MAPPED_PREFIX if family == socket.AF_INET6 else ""
            destination = (mapped + address.host, address.port)
        self._destinations[address, family] = destination
        return destination


def address_of(source: Any) -> Address:
    """The canonical form of what the socket calls a source."""
    host: str = source[0]
    if host.startswith(_MAPPED_PREFIX) and "." in host:
        return Address(host[len(_MAPPED_PREFIX) :], source[1])
    if len(source) == 4 and source[3] and "%" not in host:
        host = f"{host}%{source[3]}"
    return Address(host, source[1])


def _control(family: int, info: bytes) -> _Control:
    """Turn the control data of a received datagram into that of its answer.

    struct in6_pktinfo is an address (IPv4 in its mapped form) and an interface; in_pktinfo an
    interface, our address, and the one in the header (RFC 3542, section 6.2; ip(7)).  The
    interface is left to the routes, except where an address means nothing without it.
    """
    if family == socket.AF_INET6:
        scoped = ipaddress.IPv6Address(info[:16]).is_link_local
        told = info if scoped else info[:16] + bytes(4)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, told)]
    return [(socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + info[4:8] + bytes(4))]


def _any_host() -> str:
    """Every address of this machine, IPv6 and IPv4 where there is IPv6."""
    if socket.has_ipv6:
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.bind(("::", 0))
        except OSError:
            return "0.0.0.0"
        return "::"
    return "0.0.0.0"


def _open_socket(host: str, port: int, offset: int, *, dual_stack: bool) -> socket.socket:
    number = port + offset
    try:
        ((family, kind, _, _, place),) = socket.getaddrinfo(
            host, number, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        raise StartError(f"can't bind to {host!r}: expected an IP address") from error
    try:
        sock = socket.socket(family, kind)
    except OSError as error:
        raise _bind_error(error, host, number, port, offset) from error
    try:
        sock.setblocking(False)
        let_routers_split(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.bind(place)
    except OSError as error:
        sock.close()
        raise _bind_error(error, host, number, port, offset) from error
    return sock


def _bind_error(error: OSError, host: str, number: int, port: int, offset: int) -> StartError:
    if error.errno == errno.EADDRINUSE and offset:
        return StartError(
            f"UDP port {number} on {host} is in use, and a server on port {port} needs it as an "
            "extra port",
            "choose another port, or fewer extra ports with --sample-ports",
        )
    if error.errno == errno.EADDRINUSE:
        return StartError(
            f"UDP port {number} on {host} is in use",
            f"`ss -ulpn sport = {number}` shows which program uses it; or choose another port",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return StartError(
            f"{host} is not an address of this machine", "`ip address` lists those that are"
        )
    if error.errno == errno.EACCES:
        return StartError(f"not allowed to use UDP port {number}", "choose a port of 1024 or above")
    return StartError(f"can't listen on UDP port {number} of {host}: {error.strerror}")
