"""Where the kernel would send a packet: the question `ip route get ADDRESS`.

    host ─► RTM_GETROUTE ─► RTM_NEWROUTE ─► Route(interface, gateway, source)      rtnetlink(7)
                       └──► an error, or a route that refuses ─► None: no way there

Rules:
- The kernel is asked for one destination at a time and never for its table, which on a router has
  a million entries; so metrics, several tables and rules are its business, not ours.
- Where that question is refused, a socket is connected instead, which sends nothing and shows our
  own address towards the destination.
- Where the system lets us open nothing, that is raised: it says nothing about routes.
- `INTERNET` is only asked about.  Nothing is ever sent there.
"""

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from natd.host.descriptors import is_shortage, passing_over_refusals

INTERNET = ("198.41.0.4", "2001:503:ba3e::2:30")
"""The first of the root name servers: a route that leads to the internet leads there, and no
router refuses it as it may refuse the networks that are kept for documentation."""

_HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""

_ROUTE = struct.Struct("=8BI")
"""rtmsg: family, destination's and source's length, TOS, table, protocol, scope, type; flags."""

_ATTRIBUTE = struct.Struct("=HH")
"""rtattr: length and type; padded to four bytes."""

_GETROUTE, _NEWROUTE, _REQUEST = 26, 24, 1
_DST, _OIF, _GATEWAY, _PREFSRC, _VIA = 1, 4, 5, 7, 18
_UNICAST, _LOCAL = 1, 2

_ANSWER_S = 1.0
"""The kernel answers while it is asked; this only bounds what can't happen."""

KERNEL_ANSWER_BYTES = 4096

ROUTES = Path("/proc/self/net/route")
"""The IPv4 routes, a line each (proc(5))."""

_ROUTES_IPV6 = Path("/proc/self/net/ipv6_route")
_UP, _VIA_GATEWAY, _REJECT = 0x1, 0x2, 0x200
"""Flags of a route (route.h)."""

TABLE_BYTES = 65536
"""Some hundred routes: a machine with more is a router, and its default routes come first."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way of a packet out of this machine."""

    interface: int
    """Its number; 0 where the system does not tell."""
    gateway: str
    """Empty for a neighbour."""
    source: str
    """Which of our addresses it would come from."""


def routes_to(hosts: Iterable[str]) -> dict[str, Route | None]:
    """The way to each host; None where there is none.  OSError where nobody can be asked."""
    found: dict[str, Route | None] = {}
    with contextlib.ExitStack() as stack:
        asked = _open()
        if asked is not None:
            stack.enter_context(asked)
        for host in hosts:
            found[host] = _connected(host) if asked is None else _ask(asked, host)
    return found


def gateway_interfaces() -> list[str]:
    """The interfaces of routes that lead past our own links, default routes first, then by metric
    (proc(5)).  Only the beginning of a long table is read."""
    found = [(*row, name) for row, name in (*_ipv4_gateways(ROUTES), *_ipv6_gateways(_ROUTES_IPV6))]
    return list(dict.fromkeys(name for _, _, name in sorted(found)))


def encode_question(host: str) -> bytes:
    """RTM_GETROUTE for one destination."""
    ip = ipaddress.ip_address(host)
    family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
    body = _ROUTE.pack(family, ip.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(ip.packed), _DST) + ip.packed
    return _HEADER.pack(_HEADER.size + len(body), _GETROUTE, _REQUEST, 1, 0) + body


def decode_answer(data: bytes) -> Route | None:
    """The route in the kernel's answer; None if it is an error or a route that refuses."""
    if len(data) < _HEADER.size + _ROUTE.size:
        return None
    length, kind, *_ = _HEADER.unpack_from(data)
    if kind != _NEWROUTE or data[_HEADER.size + 7] not in (_UNICAST, _LOCAL):
        return None
    interface, gateway, source = 0, "", ""
    for attribute, value in _attributes(data[_HEADER.size + _ROUTE.size : length]):
        if attribute == _OIF and len(value) == 4:
            (interface,) = struct.unpack("=I", value)
        elif attribute == _GATEWAY:
            gateway = _text(value)
        elif attribute == _VIA:  # a gateway of the other family (RFC 5549)
            gateway = _text(value[2:])
        elif attribute == _PREFSRC:
            source = _text(value)
    return Route(interface, gateway, source)


def _ipv4_gateways(listed: Path) -> Iterator[tuple[tuple[bool, int], str]]:
    for row in _rows(listed)[1:]:
        name, destination, _, flags, _, _, metric, mask, *_ = row
        is_default = destination == mask == "00000000"
        if _leads_out(int(flags, 16), is_default=is_default):
            yield (not is_default, int(metric)), name


def _ipv6_gateways(listed: Path) -> Iterator[tuple[tuple[bool, int], str]]:
    for row in _rows(listed):
        _, length, *_, metric, _, _, flags, name = row
        is_default = int(length, 16) == 0
        if _leads_out(int(flags, 16), is_default=is_default):
            yield (not is_default, int(metric, 16)), name


def _rows(listed: Path) -> list[list[str]]:
    """The complete rows at the beginning of a table."""
    text = ""
    with passing_over_refusals(), listed.open("rb") as table:
        text = table.read(TABLE_BYTES).decode("ascii")
    return [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]


def _leads_out(flags: int, *, is_default: bool) -> bool:
    return bool(flags & _UP) and not flags & _REJECT and (is_default or bool(flags & _VIA_GATEWAY))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed)) if len(packed) in (4, 16) else ""


def _open() -> socket.socket | None:
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except AttributeError:
        return None
    except OSError as error:
        if is_shortage(error):
            raise
        return None
    opened.settimeout(_ANSWER_S)
    return opened


def _ask(asked: socket.socket, host: str) -> Route | None:
    try:
        asked.sendto(encode_question(host), (0, 0))
        return decode_answer(asked.recv(KERNEL_ANSWER_BYTES))
    except OSError:
        return _connected(host)


def _connected(host: str) -> Route | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with passing_over_refusals(), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return Route(0, "", str(probe.getsockname()[0]))
    return None
