"""This machine's addresses and its ways out, and when to look at them again.

The kernel's route socket (rtnetlink(7)) is only a signal: what it says is thrown away and
addresses and routes are looked at anew, once a burst of changes is over.  Where that socket is
refused, they are looked at from time to time instead.

Where the system lets us open nothing, every look raises OSError; `NetworkWatch` keeps what it knew
and looks again soon.
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from natd.host.descriptors import is_shortage, passing_over_refusals
from natd.net.local_addresses import LocalAddress, in_order, interface_rank, lasting_public
from natd.net.routes import INTERNET, Route, gateway_interfaces, routes_to

SETTLE_S = 0.25
"""One change of network is dozens of messages (link, addresses, routes) over some tenths of a
second; the first look waits until they pause."""

SETTLE_LIMIT_S = 1.0
"""A network that never stops changing is looked at this often all the same."""

RESUME_LOOK_S = 2.0
"""How often to look if the machine was suspended.  Our timers stand still meanwhile, and NATs
forget us; a cable that stays in its socket gives no signal of that."""

ASLEEP_S = 5.0
"""A suspension shorter than this changes nothing: no NAT forgets so soon."""

POLL_S = 15.0
"""How often to look where the kernel gives no signal."""

SHORTAGE_LOOK_S = 1.0
"""How soon to look again where nothing could be opened."""

_IF_INET6 = Path("/proc/self/net/if_inet6")
_TEMPORARY, _OPTIMISTIC, _DAD_FAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x04, 0x08, 0x20, 0x40
"""Flags of an IPv6 address (if_addr.h)."""

_WHOLE_MASKS = ("255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
"""Of an address that has no neighbours."""

_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV4_ROUTE = 0x1, 0x10, 0x40
_RTMGRP_IPV6_IFADDR, _RTMGRP_IPV6_ROUTE = 0x100, 0x400
_CHANGES = (
    _RTMGRP_LINK
    | _RTMGRP_IPV4_IFADDR
    | _RTMGRP_IPV4_ROUTE
    | _RTMGRP_IPV6_IFADDR
    | _RTMGRP_IPV6_ROUTE
)


@dataclass(frozen=True, slots=True)
class OwnNetwork:
    """How this machine is connected."""

    addresses: tuple[str, ...] = ()
    """See `local_addresses`."""
    routes: Mapping[str, Route | None] = field(default_factory=dict)
    """Host -> the way there; None where there is none."""

    @property
    def is_offline(self) -> bool:
        """Whether no packet can leave: neither to the internet nor to a host that matters."""
        return not any(self.routes.values())

    def has_moved(self, before: "OwnNetwork") -> bool:
        """Whether packets leave by another way than before.  A way that is lost is no other: there
        is nothing to be done until the next one comes."""
        return any(
            route is not None and before.routes.get(host, route) != route
            for host, route in self.routes.items()
        )


@dataclass(frozen=True, slots=True)
class Link:
    """An interface on which others hear what is multicast."""

    name: str
    index: int
    has_ipv4: bool
    has_ipv6: bool
    networks: tuple[ipaddress.IPv4Network, ...] = ()
    """Where its IPv4 neighbours are."""

    def has(self, family: int) -> bool:
        return self.has_ipv6 if family == socket.AF_INET6 else self.has_ipv4


def multicast_links() -> tuple[Link, ...]:
    """The interfaces that are up and carry multicast, those that lead furthest first; loopback is
    none."""
    import psutil

    links = []
    addresses, states = psutil.net_if_addrs(), {}
    with passing_over_refusals():  # a sandbox may hide /proc/net
        states = psutil.net_if_stats()
    for name, state in states.items():
        flags = state.flags.split(",")
        if not state.isup or "multicast" not in flags or "loopback" in flags:
            continue
        own = addresses.get(name, ())
        families = {entry.family for entry in own}
        networks = tuple(
            ipaddress.IPv4Network(f"{each.address}/{each.netmask}", strict=False)
            for each in own
            if each.family == socket.AF_INET and each.netmask
        )
        has_ipv4, has_ipv6 = socket.AF_INET in families, socket.AF_INET6 in families
        with passing_over_refusals():
            index = socket.if_nametoindex(name)
            links.append(Link(name, index, has_ipv4, has_ipv6, networks))
    ways_out = _ways_out(routes_to(INTERNET))
    return tuple(sorted(links, key=lambda link: interface_rank(link.name, ways_out)))


def local_addresses() -> tuple[str, ...]:
    """Canonical unicast addresses of the interfaces that are up, likeliest to be useful first.

    Without loopback and link-local ones: neither means anything in another machine's card.
    """
    return look_around(()).addresses


def second_addresses() -> tuple[str, ...]:
    """The addresses of this machine that a server may use beside one another."""
    return lasting_public(_addresses(ipv6=True)[0], _ways_out(routes_to(INTERNET)))


def look_around(hosts: Iterable[str], *, ipv6: bool = True) -> OwnNetwork:
    """This machine's addresses, and its ways to the internet and to these hosts."""
    internet = [host for host in INTERNET if ipv6 or ":" not in host]
    routes = routes_to(dict.fromkeys((*internet, *hosts)))
    found, down = _addresses(ipv6=ipv6)
    # A cable that is out leaves its routes behind.
    routes = {h: None if r is not None and r.interface in down else r for h, r in routes.items()}
    to_internet = {host: routes[host] for host in internet}
    sources = [route.source for route in to_internet.values() if route is not None]
    return OwnNetwork(in_order(found, _ways_out(to_internet), sources), routes)


def _addresses(*, ipv6: bool) -> tuple[list[LocalAddress], set[int]]:
    """Every unicast address of the interfaces that are up, and the numbers of those that are
    not."""
    import psutil

    stats, flags = {}, _ipv6_flags()
    with passing_over_refusals():  # a sandbox may hide /proc/net
        stats = psutil.net_if_stats()
    found, down = [], set()
    for name, entries in psutil.net_if_addrs().items():
        if name in stats and not stats[name].isup:
            with passing_over_refusals():
                down.add(socket.if_nametoindex(name))
            continue
        for entry in entries:
            if entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            ip = ipaddress.ip_address(entry.address.partition("%")[0])
            if (
                ip.is_loopback
                or ip.is_link_local
                or ip.is_multicast
                or (ip.version == 6 and not ipv6)
            ):
                continue
            its = flags.get(str(ip), 0)
            if its & (_TENTATIVE | _DAD_FAILED) and not its & _OPTIMISTIC:
                continue
            found.append(
                LocalAddress(
                    str(ip),
                    name,
                    has_neighbours=entry.netmask not in _WHOLE_MASKS,
                    is_temporary=bool(its & _TEMPORARY),
                    is_deprecated=bool(its & _DEPRECATED),
                )
            )
    return found, down


def _ways_out(routes: Mapping[str, Route | None]) -> list[str]:
    """The interfaces that lead to the internet or to another gateway, best first."""
    names = []
    for route in routes.values():
        if route is not None and route.interface:
            with passing_over_refusals():
                names.append(socket.if_indextoname(route.interface))
    return list(dict.fromkeys((*names, *gateway_interfaces())))


def _ipv6_flags(listed: Path = _IF_INET6) -> dict[str, int]:
    """Address -> its flags, as the kernel lists them (if_addr.h); empty where it does not."""
    lines: list[str] = []
    with passing_over_refusals():
        lines = listed.read_text("ascii").splitlines()
    rows = [line.split() for line in lines]
    return {str(ipaddress.IPv6Address(int(row[0], 16))): int(row[4], 16) for row in rows}


class NetworkWatch:
    """Calls `on_change(network, has_moved)` when the machine's network is no longer the same."""

    def __init__(
        self,
        on_change: Callable[[OwnNetwork, bool], None],
        look: Callable[[], OwnNetwork] = lambda: look_around(()),
        slept_s: Callable[[], float] | None = None,
    ) -> None:
        """`slept_s` tells how long the machine has been suspended in all."""
        self.network = OwnNetwork()
        self._on_change = on_change
        self._look = look
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asleep_s = slept_s or asleep_s
        self._was_asleep_s = 0.0
        self._resume_timer: asyncio.TimerHandle | None = None
        self._look_by: float | None = None
        """The latest instant for the look that is due; None when none is."""

    def start(self) -> None:
        """Look now, and watch from the running loop."""
        self._socket = _open_route_socket()
        self._look_anew()
        self._was_asleep_s = self._asleep_s()
        loop = asyncio.get_running_loop()
        self._resume_timer = loop.call_later(RESUME_LOOK_S, self._notice_resume)
        if self._socket is not None:
            loop.add_reader(self._socket, self._drain)
        elif self._timer is None:
            self._timer = loop.call_later(POLL_S, self._look_again)

    def close(self) -> None:
        for timer in (self._timer, self._resume_timer):
            if timer is not None:
                timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _notice_resume(self) -> None:
        loop, slept_s = asyncio.get_running_loop(), self._asleep_s()
        self._resume_timer = loop.call_later(RESUME_LOOK_S, self._notice_resume)
        before_s, self._was_asleep_s = self._was_asleep_s, slept_s
        if slept_s - before_s >= ASLEEP_S and self._look_anew():
            self._on_change(self.network, not self.network.is_offline)

    def _drain(self) -> None:
        assert self._socket is not None
        try:
            while self._socket.recv(65536):
                pass
        except OSError:
            # EAGAIN: all read.  ENOBUFS: the kernel lost messages, which is a change as well.
            pass
        loop = asyncio.get_running_loop()
        if self._look_by is None:
            self._look_by = loop.time() + SETTLE_LIMIT_S
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(min(loop.time() + SETTLE_S, self._look_by), self._look_again)

    def _look_again(self) -> None:
        self._look_by = None
        self._timer = None
        if self._socket is None:
            self._timer = asyncio.get_running_loop().call_later(POLL_S, self._look_again)
        self.look_now()

    def look_now(self) -> None:
        """Also when hosts that matter were added: their routes are compared from here on."""
        before = self.network
        if self._look_anew() and self.network != before:
            self._on_change(self.network, self.network.has_moved(before))

    def _look_anew(self) -> bool:
        """False where nothing can be opened: another look follows soon."""
        try:
            self.network = self._look()
        except OSError as error:
            if not is_shortage(error):
                raise
            if self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(SHORTAGE_LOOK_S, self._look_again)
            return False
        return True


def asleep_s() -> float:
    """The clock that runs on during a suspension, less the one that doesn't (clock_gettime(2))."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _open_route_socket() -> socket.socket | None:
    """None where the system has no such socket or does not let us have it."""
    try:
        route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except (AttributeError, OSError):
        return None
    try:
        route.setblocking(False)
        route.bind((0, _CHANGES))
    except OSError:
        route.close()
        return None
    return route
