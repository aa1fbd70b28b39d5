"""Keeping one UDP port of ours mapped at the router, by UPnP, NAT-PMP and PCP side by side.

Rules that a change must not break:

- All three are asked at once and each keeps what it was granted: none waits for another, and the
  loss of one leaves the others.
- All ask for the same external port, our own, so that a router which speaks several makes only one
  mapping.
- Only the gateway's own datagrams count.  What is multicast to everybody, which anybody on the LAN
  can forge, makes us ask again, rarely, and is believed in nothing else.
- A router that grants the port and names no external address, or one that can't be ours, has
  granted it all the same: the address is then `ANY_HOST`, and the port is tried where we are seen.
- A router whose epoch departs from our clock has restarted and lost its mappings: it is asked again
  at once.  Its epoch is checked every minute, and when it announces itself.
- At the end every mapping that exists, or may exist, is removed.

UPnP is only found here (by SSDP).  Talking to it takes a library that blocks: `UpnpWanted` asks
the owner to do it, `upnp_answered` is the answer.
"""

from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network
from random import Random

from natd.core.base.timers import Ladder, earliest
from natd.core.base.types import ANY_HOST, MAIN_SOCKET, Address, Datagram, DecodeError, SocketId
from natd.core.portmap import natpmp, pcp, ssdp
from natd.core.portmap.grant import Epoch, Grant

GATEWAY_PORT = 5351
ANNOUNCEMENTS = Address("224.0.0.1", 5350)
"""Where a router that has just started says so (RFC 6886, section 3.2.1)."""
ANNOUNCEMENTS_SOCKET = SocketId(ANNOUNCEMENTS.port)

LIFETIME_S = 3600
UPNP_LIFETIME_S = 1800
"""UPnP has no epoch, so only a renewal notices that a router has restarted."""
CHECK_UP_S = 60.0
"""Between looks at the epoch: one small packet to a neighbour."""

SPREAD_S = 0.3
"""All hosts of a LAN hear a router start; they should not ask at the same instant."""
HASTE_PAUSE_S = 5.0
"""At most this often do announcements make us ask: anybody in the LAN can forge them."""
HINT_PAUSE_S = 60.0
"""The same for hints of our owner, which are vaguer: UPnP costs the router some requests."""

RELEASE_LADDER_S = (0.15, 0.3)

_THIS_NETWORK = ip_network("0.0.0.0/8")
"""Nobody's addresses (RFC 1122, section 3.2.1.3)."""

NO_PORT = "the router grants no port"

OTHER_PORTS = 3
"""More external ports for UPnP to try if ours is taken."""


class Protocol(StrEnum):
    PCP = "PCP"
    NAT_PMP = "NAT-PMP"
    UPNP = "UPnP"


@dataclass(frozen=True, slots=True)
class MappingsChanged:
    """`externals` has changed."""


@dataclass(frozen=True, slots=True)
class UpnpWanted:
    """Map our port at the router that `location` describes, to the first of `external_ports`
    that is free.  The owner answers with `upnp_answered`."""

    location: str
    external_ports: tuple[int, ...]
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class UpnpUnwanted:
    """Remove the UPnP mapping; the owner answers with `upnp_released`."""


PortMappingEvent = MappingsChanged | UpnpWanted | UpnpUnwanted


@dataclass(frozen=True, slots=True)
class MappingReport:
    """How we stand with one protocol."""

    protocol: Protocol
    external: Address | None
    refusal: str | None
    """The router's reason; None: it granted the mapping, or has not answered."""
    is_asking: bool


class PortMapping:
    """One port at one gateway."""

    def __init__(
        self, *, port: int, client: str, gateway: str, nonce: bytes, random: Random
    ) -> None:
        """`client` is our own address towards `gateway`, both IPv4.  `nonce` (12 bytes) proves
        to PCP that a mapping is ours: the same in each run, or a router refuses a restarted
        daemon its own port until the old mapping ends."""
        self.dropped: Counter[str] = Counter()
        self._port = port
        self._client = client
        self._gateway = gateway
        self._nonce = nonce
        self._random = random
        self._grants = {protocol: Grant() for protocol in Protocol}
        self._external_host: str | None = None  # None: NAT-PMP has not told
        self._awaits_host = False  # whether NAT-PMP has granted a port before telling the address
        self._location: str | None = None  # None: the UPnP router is to be searched
        self._just_found = False
        self._epochs = {Protocol.PCP: Epoch(), Protocol.NAT_PMP: Epoch()}
        self._check_up_at: float | None = None  # None: no mapping to look after
        self._hasty_until = self._hinted_until = 0.0
        self._release: _Release | None = None  # None: not stopping
        self._reported: tuple[Address, ...] = ()
        self._datagrams: list[Datagram] = []
        self._events: deque[PortMappingEvent] = deque()

    # --- inputs

    def start(self, now: float) -> None:
        """Ask."""
        self._hasty_until, self._hinted_until = now + HASTE_PAUSE_S, now + HINT_PAUSE_S
        for protocol, grant in self._grants.items():
            grant.begin(now)
            self._ask(protocol)

    def receive_datagram(
        self, data: bytes, address: Address, now: float, socket: SocketId = MAIN_SOCKET
    ) -> None:
        if address.host != self._gateway:
            self.dropped["not-the-gateway"] += 1
            return
        is_pcp = data[:1] == bytes((pcp.PCP_VERSION,))
        try:
            if socket == ANNOUNCEMENTS_SOCKET:
                self._announced(pcp.decode(data) if is_pcp else natpmp.decode(data), now)
            elif address.port != GATEWAY_PORT:
                self._found(ssdp.decode_location(data, self._gateway))
            elif is_pcp:
                self._receive_pcp(pcp.decode(data), now)
            else:
                self._receive_natpmp(natpmp.decode(data), now)
        except DecodeError:
            self.dropped["malformed"] += 1
        self._settle(now)

    def look_again(self, now: float) -> None:
        """The router may have changed or restarted: ask it soon."""
        if now >= self._hinted_until:
            self._hinted_until = now + HINT_PAUSE_S
            self._hasten(now)

    def upnp_answered(
        self, external: Address | None, lifetime_s: int, refusal: str, now: float
    ) -> None:
        """The result of `UpnpWanted`; `refusal` counts if `external` is None."""
        grant = self._grants[Protocol.UPNP]
        if self._release is not None:
            return
        if external is not None:
            self._take(grant, external, lifetime_s, now)
        elif self._just_found:
            grant.refused(refusal, now)
        else:
            # It may have moved to another port of the router's, as it does by restarting.
            self._location = None
            grant.begin(now)
            self._ask(Protocol.UPNP)
        if grant.external is None:
            self._location = None
        self._settle(now)

    def upnp_released(self) -> None:
        """`UpnpUnwanted` was carried out, or could not be."""
        if self._release is not None:
            self._release.waiting.discard(Protocol.UPNP)

    def stop(self, now: float) -> None:
        """Remove all mappings.  `is_done` when that is confirmed, which may never happen."""
        held = {each for each, grant in self._grants.items() if grant.external is not None}
        asked = {each for each, grant in self._grants.items() if grant.is_asking}
        if self._grants[Protocol.UPNP].awaits_owner or Protocol.UPNP in held:
            held.add(Protocol.UPNP)
            self._events.append(UpnpUnwanted())
        for grant in self._grants.values():
            grant.end()
        self._check_up_at = None
        self._release = _Release(held, Ladder(RELEASE_LADDER_S))
        self._release.ladder.start(now)
        self._send_releases(held | asked)
        self._settle(now)

    def handle_timer(self, now: float) -> None:
        if self._release is not None:
            if self._release.ladder.is_due(now) and self._release.ladder.climb(now):
                self._send_releases(self._release.waiting)
            return
        for protocol, grant in self._grants.items():
            if grant.take_due(now):
                self._ask(protocol)
        if self._check_up_at is not None and self._check_up_at <= now:
            self._check_up_at = now + CHECK_UP_S
            self._check_up()
        self._settle(now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self) -> PortMappingEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        if self._release is not None:
            return self._release.ladder.due_at
        return earliest(self._check_up_at, *(each.get_timer() for each in self._grants.values()))

    @property
    def externals(self) -> tuple[Address, ...]:
        """The external addresses of our port, on the internet or inside the next NAT; at
        `ANY_HOST` where the router tells only the port."""
        held = (grant.external for grant in self._grants.values())
        return tuple(dict.fromkeys(external for external in held if external is not None))

    @property
    def reports(self) -> tuple[MappingReport, ...]:
        return tuple(
            MappingReport(protocol, grant.external, grant.refusal, grant.is_asking)
            for protocol, grant in self._grants.items()
        )

    @property
    def is_done(self) -> bool:
        """Whether after `stop` nothing is left to wait for."""
        return self._release is not None and not self._release.waiting

    # --- private: asking

    def _ask(self, protocol: Protocol) -> None:
        last = self._grants[protocol].last
        wish = last or Address(ANY_HOST, self._port)
        match protocol:
            case Protocol.PCP:
                self._send(
                    pcp.encode_map_request(self._client, self._nonce, self._port, wish, LIFETIME_S)
                )
            case Protocol.NAT_PMP:
                self._send(natpmp.encode_address_request())
                self._send(natpmp.encode_map_request(self._port, wish.port, LIFETIME_S))
            case Protocol.UPNP if self._location is not None:
                self._just_found = False
                self._order(self._location)
            case Protocol.UPNP:
                gateway = Address(self._gateway, ssdp.PORT)
                searches = [Datagram(ssdp.encode_search(ssdp.VERSIONS[0], gateway), gateway)]
                searches += [
                    Datagram(ssdp.encode_search(version), ssdp.SSDP_GROUP)
                    for version in ssdp.VERSIONS
                ]
                self._datagrams += searches

    def _order(self, location: str) -> None:
        """Have the owner talk to the UPnP router; it answers when it has an answer."""
        grant = self._grants[Protocol.UPNP]
        grant.await_owner()
        first = self._port if grant.last is None else grant.last.port
        others = (self._random.randint(1024, 65535) for _ in range(OTHER_PORTS))
        self._events.append(UpnpWanted(location, (first, *others), UPNP_LIFETIME_S))

    def _check_up(self) -> None:
        if self._grants[Protocol.PCP].external is not None:
            self._send(pcp.encode_announce_request(self._client))
        elif self._grants[Protocol.NAT_PMP].external is not None:
            self._send(natpmp.encode_address_request())

    def _send_releases(self, protocols: set[Protocol]) -> None:
        if Protocol.PCP in protocols:
            self._send(pcp.encode_map_request(self._client, self._nonce, self._port, None, 0))
        if Protocol.NAT_PMP in protocols:
            self._send(natpmp.encode_map_request(self._port, 0, 0))

    def _send(self, data: bytes) -> None:
        self._datagrams.append(Datagram(data, Address(self._gateway, GATEWAY_PORT)))

    # --- private: answers

    def _found(self, location: str) -> None:
        grant = self._grants[Protocol.UPNP]
        if grant.is_asking and not grant.awaits_owner:
            self._location = location
            self._just_found = True
            self._order(location)

    def _announced(self, answer: pcp.Answer | natpmp.Answer, now: float) -> None:
        """Ask again if the router says that it has restarted or has another address, or while we
        have no mapping."""
        match answer:
            case pcp.Announcement(epoch_s):
                protocol, has_moved = Protocol.PCP, False
            case natpmp.AddressAnswer(epoch_s, host):
                protocol, has_moved = Protocol.NAT_PMP, host != self._external_host
            case _:
                self.dropped["not-an-announcement"] += 1
                return
        restarted = self._epochs[protocol].departs(epoch_s, now)
        if restarted or has_moved or self._grants[protocol].external is None:
            self._ask_again(now)

    def _receive_natpmp(self, answer: natpmp.Answer, now: float) -> None:
        grant = self._grants[Protocol.NAT_PMP]
        self._look_at_epoch(Protocol.NAT_PMP, answer.epoch_s, now)
        match answer:
            case natpmp.AddressAnswer(_, host):
                self._know_host(grant, host)
            case natpmp.AddressRefusal():
                # Only the map request tells if it grants ports; the address may come from others.
                self._know_host(grant, ANY_HOST)
            case natpmp.MapAnswer(_, port, _, 0) if port == self._port:
                self._released(Protocol.NAT_PMP)
            case natpmp.MapAnswer(_, port, external_port, lifetime_s) if port == self._port:
                # The address was asked first; if its answer was lost, the next rung asks again.
                if grant.is_asking and (self._external_host is not None or self._awaits_host):
                    host = self._external_host or ANY_HOST
                    self._take(grant, Address(host, external_port), lifetime_s, now)
                self._awaits_host = True
            case natpmp.Refusal(_, reason):
                self._refused(Protocol.NAT_PMP, reason, now)
            case natpmp.OtherVersion() if self._grants[Protocol.PCP].is_asking:
                self._grants[Protocol.PCP].refused(None, now)

    def _receive_pcp(self, answer: pcp.Answer, now: float) -> None:
        grant = self._grants[Protocol.PCP]
        self._look_at_epoch(Protocol.PCP, answer.epoch_s, now)
        match answer:
            case pcp.MapAnswer(_, nonce, port, external, lifetime_s):
                if nonce != self._nonce or port != self._port:
                    self.dropped["of-another-mapping"] += 1
                elif lifetime_s == 0:
                    self._released(Protocol.PCP)
                elif grant.is_asking:
                    self._take(grant, external, lifetime_s, now)
            case pcp.Refusal(_, nonce, reason) if nonce == self._nonce:
                self._refused(Protocol.PCP, reason, now)

    def _take(self, grant: Grant, external: Address, lifetime_s: int, now: float) -> None:
        if external.port == 0:
            grant.refused(NO_PORT, now)
        else:
            grant.hold(self._told(external), lifetime_s, now)

    def _know_host(self, grant: Grant, host: str) -> None:
        """The router tells its external address to NAT-PMP: for the first time, or another."""
        self._external_host = host
        if grant.external is not None:
            grant.external = grant.last = self._told(grant.external._replace(host=host))

    def _told(self, external: Address) -> Address:
        """What a router names, with `ANY_HOST` for what can't be its external address."""
        ip, is_inside = external.ip, external.host in (self._gateway, self._client)
        is_none = ip.version != 4 or ip in _THIS_NETWORK or ip.is_loopback or ip.is_link_local
        is_nobody = is_none or ip.is_multicast or ip.is_reserved
        return external._replace(host=ANY_HOST) if is_nobody or is_inside else external

    def _look_at_epoch(self, protocol: Protocol, epoch_s: int, now: float) -> None:
        """Ask again if the router has restarted."""
        if self._epochs[protocol].jumps(epoch_s, now):
            self._ask_again(now)

    def _ask_again(self, now: float) -> None:
        if now >= self._hasty_until:
            self._hasty_until = now + HASTE_PAUSE_S
            self._hasten(now)

    def _hasten(self, now: float) -> None:
        if self._release is None:
            self._location = None
            for grant in self._grants.values():
                grant.hasten(now + SPREAD_S * self._random.random())

    def _refused(self, protocol: Protocol, reason: str, now: float) -> None:
        if self._grants[protocol].is_asking:
            self._grants[protocol].refused(reason, now)
        # Another protocol has taken over this mapping meanwhile: it is not ours to remove.
        self._released(protocol)

    def _released(self, protocol: Protocol) -> None:
        if self._release is not None:
            self._release.waiting.discard(protocol)

    def _settle(self, now: float) -> None:
        """Report changes to the owner."""
        externals = self.externals
        if externals != self._reported:
            self._reported = externals
            self._events.append(MappingsChanged())
        if self._release is not None:
            return
        if all(self._grants[each].external is None for each in self._epochs):
            self._check_up_at = None
        elif self._check_up_at is None:
            self._check_up_at = now + CHECK_UP_S


@dataclass(slots=True)
class _Release:
    waiting: set[Protocol]
    ladder: Ladder
