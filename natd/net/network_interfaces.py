"""This machine's addresses, and when to look at them again.

The kernel's route socket (rtnetlink(7)) is only a signal: what it says is thrown away and
the addresses are listed anew, once a burst of changes is over.  Where that socket is
refused, the list is looked at from time to time instead.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

SETTLE_S = 0.25
"""One change of network is dozens of messages (link, addresses, routes) over some tenths of a
second; the first look waits until they pause."""

SETTLE_LIMIT_S = 1.0
"""A network that never stops changing is looked at this often all the same."""

POLL_S = 15.0
"""How often to look where the kernel gives no signal."""

VIRTUAL_PREFIXES = ("docker", "veth", "br-", "virbr", "lxc", "cni", "podman", "vmnet", "vboxnet")
"""Interfaces that rarely lead to another machine: their addresses come last."""

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
class Link:
    """An interface on which others hear what is multicast."""

    name: str
    index: int
    has_ipv4: bool
    has_ipv6: bool

    def has(self, family: int) -> bool:
        return self.has_ipv6 if family == socket.AF_INET6 else self.has_ipv4


def multicast_links() -> tuple[Link, ...]:
    """The interfaces that are up and carry multicast, real ones first; loopback is none."""
    import psutil

    links = []
    addresses = psutil.net_if_addrs()
    for name, state in psutil.net_if_stats().items():
        flags = state.flags.split(",")
        if not state.isup or "multicast" not in flags or "loopback" in flags:
            continue
        families = {entry.family for entry in addresses.get(name, ())}
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            continue
        links.append(Link(name, index, socket.AF_INET in families, socket.AF_INET6 in families))
    return tuple(
        sorted(links, key=lambda link: (link.name.startswith(VIRTUAL_PREFIXES), link.name))
    )


def local_addresses() -> tuple[str, ...]:
    """Canonical unicast addresses of the interfaces that are up, likeliest to be useful first.

    Without loopback and link-local ones: neither means anything in another machine's card.
    """
    import psutil

    up = psutil.net_if_stats()
    found = {}
    for name, entries in psutil.net_if_addrs().items():
        if name in up and not up[name].isup:
            continue
        for entry in entries:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                ip = ipaddress.ip_address(entry.address.partition("%")[0])
                if not (ip.is_loopback or ip.is_link_local or ip.is_multicast):
                    found[str(ip)] = (name.startswith(VIRTUAL_PREFIXES), ip.version, name)
    return tuple(sorted(found, key=lambda host: (found[host], host)))


class NetworkWatch:
    """Calls `on_change(addresses)` when the machine's addresses are no longer the same."""

    def __init__(
        self,
        on_change: Callable[[tuple[str, ...]], None],
        look: Callable[[], tuple[str, ...]] = local_addresses,
    ) -> None:
        self.addresses: tuple[str, ...] = ()
        self._on_change = on_change
        self._look = look
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look_by: float | None = None
        """The latest instant for the look that is due; None when none is."""

    def start(self) -> None:
        """List the addresses now, and watch from the running loop."""
        self._socket = _open_route_socket()
        self.addresses = self._look()
        loop = asyncio.get_running_loop()
        if self._socket is not None:
            loop.add_reader(self._socket, self._drain)
        else:
            self._timer = loop.call_later(POLL_S, self._look_again)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

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
        addresses = self._look()
        if addresses != self.addresses:
            self.addresses = addresses
            self._on_change(addresses)


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
