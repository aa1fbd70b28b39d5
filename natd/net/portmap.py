"""A port at the router for the main socket: the shell around `natd.core.portmap`.

Rules that a change must not break:

- Nothing waits for it.  Failures are logged at DEBUG and shown by `summary`.
- One gateway at a time, that of the default route.  A change of network begins anew; what was
  mapped at the old router can't be reached any more and ends by itself.
- A machine with a public address has no router to ask.
- At a stop mappings are taken back, within `STOP_S`.
"""

import asyncio
import contextlib
import logging
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from natd.core.base.scope import is_private
from natd.core.base.types import ANY_HOST, MAIN_SOCKET, Address, SocketId
from natd.core.portmap.client import (
    ANNOUNCEMENTS,
    ANNOUNCEMENTS_SOCKET,
    MappingsChanged,
    PortMapping,
    UpnpUnwanted,
    UpnpWanted,
)
from natd.host.descriptors import passing_over_refusals
from natd.net.routes import ROUTES
from natd.net.udp import DATAGRAM_BYTES
from natd.net.upnp import Upnp, UpnpAnswer

logger = logging.getLogger(__name__)

STOP_S = 0.6
"""For the router's confirmation; a clean stop as a whole takes less than 2 s."""

MULTICAST_HOPS = 2
"""UPnP Device Architecture 1.1, section 1.3.2."""

_GATEWAY_FLAG = 0x2

OFF = "none: paths.port_mapping is false in the configuration"
NO_ROUTER = "none: there is no IPv4 router"
NOT_NOW = "none so far: natd can open no more files"
PUBLIC = "none: this machine's address is public"
ASKING = "none so far: the router is being asked"
NONE_OFFERED = "none: the router offers no UPnP, NAT-PMP or PCP"


class PortMap:
    """See the top of this file."""

    def __init__(self, nonce: bytes, on_change: Callable[[tuple[Address, ...]], None]) -> None:
        """`nonce`: see `PortMapping`; `on_change` gets the external addresses, best first."""
        self._nonce = nonce
        self._on_change = on_change
        self._port = 0
        self._seen_hosts: frozenset[str] = frozenset()
        self._reason = OFF  # why nobody is asked, while `_asked` is None
        self._asked: _Asked | None = None
        self._dropped: Counter[str] = Counter()  # by routers that are not asked any more

    def follow(self, port: int, *, wanted: bool) -> None:
        """At start, when the machine's addresses have changed and when the configuration has."""
        self._port = port
        try:
            place = _find_router() if wanted else None
        except OSError:  # nothing can be opened: no reason to leave a router
            if self._asked is None:
                self._reason = NOT_NOW
            return
        if self._asked is not None:
            if self._asked.place == (place, port):
                return
            self._drop(take_back=not wanted)
        if not wanted:
            self._reason = OFF
        elif place is None:
            self._reason = NO_ROUTER
        elif not is_private(place[0]):
            self._reason = PUBLIC
        else:
            self._ask(place, port)

    def seen_at(self, addresses: tuple[Address, ...]) -> None:
        """How servers see us: from another host than before, the router may be another."""
        hosts = frozenset(address.host for address in addresses)
        if hosts != self._seen_hosts:
            self._seen_hosts = hosts
            self.look_again()

    def look_again(self) -> None:
        """Something suggests that the router is another, or has started anew."""
        if self._asked is not None or self._reason in (NO_ROUTER, NOT_NOW):
            self.follow(self._port, wanted=True)
        if self._asked is not None:
            self._asked.look_again()

    async def stop(self) -> None:
        """Take back what is mapped."""
        if self._asked is not None:
            asked, self._asked = self._asked, None
            self._dropped += asked.core.dropped
            await asked.release()

    @property
    def externals(self) -> tuple[Address, ...]:
        return () if self._asked is None else self._asked.core.externals

    @property
    def dropped(self) -> Counter[str]:
        """Datagrams that were not an answer of the router's, counted by reason."""
        asked = Counter() if self._asked is None else self._asked.core.dropped
        return self._dropped + asked

    def summary(self) -> str:
        """One line: `UPnP, 203.0.113.5:40000`, `UPnP, port 40000`, or `none: ` and why."""
        return self._reason if self._asked is None else _summary(self._asked.core)

    def _ask(self, place: tuple[str, str], port: int) -> None:
        client, gateway = place
        core = PortMapping(
            port=port,
            client=client,
            gateway=gateway,
            nonce=self._nonce,
            random=random.SystemRandom(),
        )
        try:
            self._asked = _Asked(core, place, port, self._on_change)
        except OSError as error:
            self._reason = f"none: the router can't be asked: {error.strerror}"
            logger.debug("port mapping: %s", error)

    def _drop(self, *, take_back: bool) -> None:
        """Leave a router; what was mapped there is no address of ours any more."""
        assert self._asked is not None
        had = self._asked.core.externals
        self._asked.abandon(take_back=take_back)
        self._dropped += self._asked.core.dropped
        self._asked = None
        if had:
            self._on_change(())


class _Asked:
    """One router that is asked: sockets, timer, pump."""

    def __init__(
        self,
        core: PortMapping,
        place: tuple[str, str],
        port: int,
        on_change: Callable[[tuple[Address, ...]], None],
    ) -> None:
        self.core = core
        self.place = (place, port)
        self._port = port
        self._on_change: Callable[[tuple[Address, ...]], None] | None = on_change
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # None: the core wants none
        self._done = asyncio.Event()
        self._upnp = Upnp(*place, self._upnp_answered, self._upnp_released)
        self._sockets = {MAIN_SOCKET: _open_socket(place[0])}
        with contextlib.suppress(OSError):  # somebody else listens alone there
            self._sockets[ANNOUNCEMENTS_SOCKET] = _open_announcements()
        for name, each in self._sockets.items():
            self._loop.add_reader(each, self._drain, name, each)
        core.start(time.monotonic())
        self._pump()

    def look_again(self) -> None:
        self.core.look_again(time.monotonic())
        self._pump()

    async def release(self) -> None:
        self._on_change = None
        self.core.stop(time.monotonic())
        self._pump()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._done.wait()
        self._close()

    def abandon(self, *, take_back: bool) -> None:
        """Leave at once, without a confirmation."""
        self._on_change = None
        if take_back:
            self.core.stop(time.monotonic())
            self._pump()
        self._close()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for each in self._sockets.values():
            self._loop.remove_reader(each)
            each.close()
        self._sockets.clear()
        self._upnp.end()

    # --- inputs

    def _drain(self, name: SocketId, source: socket.socket) -> None:
        try:
            data, (host, port) = source.recvfrom(DATAGRAM_BYTES)
        except OSError:
            return
        self.core.receive_datagram(data, Address(host, port), time.monotonic(), name)
        self._pump()

    def _upnp_answered(self, answer: UpnpAnswer) -> None:
        logger.debug("UPnP: %s", answer)
        self.core.upnp_answered(
            answer.external, answer.lifetime_s, answer.refusal, time.monotonic()
        )
        self._pump()

    def _upnp_released(self) -> None:
        self.core.upnp_released()
        self._pump()

    def _handle_timer(self) -> None:
        self._timer = None
        self.core.handle_timer(time.monotonic())
        self._pump()

    # --- the pump

    def _pump(self) -> None:
        """Carry out what the core wants.  Called after every input, and nowhere else."""
        if not self._sockets:
            return
        for data, address, *_ in self.core.datagrams_to_send():
            with contextlib.suppress(OSError):  # the network has gone, or never was
                self._sockets[MAIN_SOCKET].sendto(data, address)
        while (event := self.core.next_event()) is not None:
            match event:
                case MappingsChanged():
                    logger.debug("port mapping: %s", _summary(self.core))
                    if self._on_change is not None:
                        self._on_change(self.core.externals)
                case UpnpWanted(location, external_ports, lifetime_s):
                    self._upnp.map(location, self._port, external_ports, lifetime_s)
                case UpnpUnwanted():
                    self._upnp.release()
        if self.core.is_done:
            self._done.set()
        if self._timer is not None:
            self._timer.cancel()
        at = self.core.get_timer()
        self._timer = None if at is None else self._loop.call_at(at, self._handle_timer)


def _summary(core: PortMapping) -> str:
    held: dict[Address, list[str]] = {}
    for report in core.reports:
        if report.external is not None:
            held.setdefault(report.external, []).append(report.protocol)
    if held:
        return "; ".join(f"{', '.join(by)}, {_place(at)}" for at, by in held.items())
    if any(report.is_asking for report in core.reports):
        return ASKING
    refused = [f"{each.protocol}: {each.refusal}" for each in core.reports if each.refusal]
    return f"none: the router refuses ({'; '.join(refused)})" if refused else NONE_OFFERED


def _place(external: Address) -> str:
    """The external address, or only the port where the router does not tell its own."""
    return f"port {external.port}" if external.host == ANY_HOST else str(external)


def _find_router() -> tuple[str, str] | None:
    """Our address towards the IPv4 default gateway, and the gateway's; None when there is none.
    OSError where nothing can be opened."""
    gateway = default_gateway()
    if gateway is None:
        return None
    with passing_over_refusals(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((gateway, ANNOUNCEMENTS.port))
        return probe.getsockname()[0], gateway
    return None


def default_gateway(routes: Path = ROUTES) -> str | None:
    """The gateway of the best IPv4 default route, as the kernel lists them (proc(5))."""
    best: tuple[int, str] | None = None
    lines: list[str] = []
    with passing_over_refusals():
        lines = routes.read_text("ascii").splitlines()[1:]
    for line in lines:
        _, destination, gateway, flags, _, _, metric, mask, *_ = line.split()
        if destination == mask == "00000000" and int(flags, 16) & _GATEWAY_FLAG:
            found = (int(metric), socket.inet_ntoa(struct.pack("=I", int(gateway, 16))))
            best = found if best is None else min(best, found)
    return None if best is None else best[1]


def _open_socket(client: str) -> socket.socket:
    """For requests and their answers.  PCP wants them to come from the very address they name."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(client))
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, MULTICAST_HOPS)
        opened.bind((client, 0))
    except OSError:
        opened.close()
        raise
    return opened


def _open_announcements() -> socket.socket:
    """For what routers multicast; shared with other programs on this machine."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(ANNOUNCEMENTS)
    except OSError:
        opened.close()
        raise
    return opened
