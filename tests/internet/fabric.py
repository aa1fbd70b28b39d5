"""Moving packets between hosts: links, routers, NATs, and what goes wrong on the way.

The fabric is a queue of packets in flight and knows no clock: the caller says what time it
is.  `tests/internet/net.py` drives it in virtual time with cores at its ends, `tests/natlab` in
real time with TUN devices at its ends; the NATs are the same.

    host --LAN-- NAT --access-- router -- router --access-- NAT --LAN-- host

Every NAT and router takes one from the hop limit, and a packet that has none left dies there
without a word, before a mapping is made.  Between two attachments to the internet there are
two routers unless they have fewer `hops`, so that a low-TTL opener can leave its own NAT and never
reach the other; between two with none it does, since who delivers a packet does not forward it.
What a strict limit adds (`overflows`) ends it there, too.  Loss, jitter,
reordering, duplication and bit flips happen on the way across the internet, never on a LAN.
"""

import heapq
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from natd.core.base.types import Address
from tests.internet.conntrack import CONNTRACK_STREAM_TIMEOUT_S, ConntrackNat
from tests.internet.nat import Hairpin, Nat, NatPolicy, TableNat

ACCESS_DELAY_S = 0.025
"""One way, of one attachment to the internet: a round trip between two is 100 ms."""

LAN_DELAY_S = 0.0002

DEFAULT_TTL = 64

MOST_OVERFLOWS = 15
"""Of a time-stamp option, which has four bits to count them."""

REORDERING_DELAY_S = 0.03
"""How much a packet that is chosen for reordering comes late: more than a burst is long."""


class Packet(NamedTuple):
    """One UDP datagram on its way."""

    source: Address
    destination: Address
    data: bytes
    ttl: int = DEFAULT_TTL
    overflows: int | None = None
    """Of its time-stamp option (RFC 791); None: it has no option."""


@dataclass(slots=True)
class Weather:
    """What goes wrong between two attachments, per packet and direction."""

    loss: float = 0.0
    jitter_s: float = 0.0
    """Up to this much is added to the delay, evenly; packets may overtake one another."""
    reordering: float = 0.0
    duplication: float = 0.0
    bit_flips: float = 0.0


class Attachment:
    """A host or a NAT: something with an uplink."""

    def __init__(self, name: str, behind: "Gateway | None", delay_s: float, hops: int) -> None:
        self.name = name
        self.behind = behind
        self.delay_s = delay_s
        self.hops = hops
        """Routers between this attachment and the middle of the internet."""
        self.addresses: tuple[str, ...] = ()
        self.connected = True
        """False: the cable is out."""
        self.most_bytes: int | None = None
        self.most_bytes_ipv6: int | None = None
        """The largest IP packets of its uplink; larger ones are lost without a word.  None: any."""


class Host(Attachment):
    """An end: packets for it come out of the fabric."""

    def __init__(self, name: str, behind: "Gateway | None", delay_s: float, hops: int) -> None:
        super().__init__(name, behind, delay_s, hops)
        self.sent = 0
        self.received = 0

    @property
    def address(self) -> str:
        """Its own IPv4 address, private behind a NAT."""
        return self.addresses[0]

    @property
    def ipv6(self) -> str | None:
        return next((a for a in self.addresses if ":" in a), None)


class Gateway(Attachment):
    """A NAT for IPv4; for IPv6, if its LAN has it, a router with a stateful firewall."""

    def __init__(
        self, name: str, behind: "Gateway | None", delay_s: float, hops: int, lan: str
    ) -> None:
        super().__init__(name, behind, delay_s, hops)
        self.lan = lan
        """The first three bytes of its LAN, as text: `192.168.7`."""
        self.nat: Nat
        self.blocks_udp = False
        """Nothing passes, as on a network that blocks UDP."""
        self.ipv6_firewall = True
        self.ipv6_flows: dict[tuple[Address, Address], float] = {}

    def reboot(self) -> None:
        """Every mapping is forgotten; the addresses stay."""
        self.nat.reboot()
        self.ipv6_flows.clear()


class Fabric:
    """All hosts and NATs, and the packets between them."""

    def __init__(self, seed: int, weather: Weather | None = None) -> None:
        self.weather = weather or Weather()
        self.dropped: Counter[str] = Counter()
        self._seed = seed
        self._random = Random(f"fabric {seed}")
        self._attachments: dict[Gateway | None, dict[str, Attachment]] = {None: {}}
        self._ipv6_hosts: dict[str, Host] = {}
        self._queue: list[tuple[float, int, Attachment, Packet, bool]] = []
        self._queued = 0
        self._made = 0

    # --- building ---

    def add_nat(
        self,
        policy: NatPolicy,
        parent: Gateway | None = None,
        *,
        delay_s: float | None = None,
        hops: int = 1,
        lan: str | None = None,
        name: str | None = None,
        addresses: tuple[str, ...] = (),
    ) -> Gateway:
        """A NAT on the internet, or on the LAN of another.  Two may have the same `lan`."""
        number = self._next_number()
        delay_s = delay_s if delay_s is not None else LAN_DELAY_S if parent else ACCESS_DELAY_S
        gateway = Gateway(name or f"nat{number}", parent, delay_s, hops, lan or f"192.168.{number}")
        self._attachments[gateway] = {}
        gateway.addresses = addresses or tuple(
            self._address(parent, number)
            for number in [number, *(self._next_number() for _ in range(policy.addresses - 1))]
        )
        for address in gateway.addresses:
            self._attachments[parent][address] = gateway
        kind = ConntrackNat if policy.conntrack else TableNat
        gateway.nat = kind(policy, gateway.addresses, Random(f"{gateway.name} {self._seed}"))
        return gateway

    def add_host(
        self,
        behind: Gateway | None = None,
        *,
        delay_s: float | None = None,
        hops: int = 1,
        ipv6: bool = False,
        name: str | None = None,
        address: str | None = None,
    ) -> Host:
        number = self._next_number()
        delay_s = delay_s if delay_s is not None else LAN_DELAY_S if behind else ACCESS_DELAY_S
        host = Host(name or f"host{number}", behind, delay_s, hops)
        host.addresses = (address or self._address(behind, number),)
        self._attachments[behind][host.address] = host
        if ipv6:
            host.addresses += (f"2001:db8::{number:x}",)
            self._ipv6_hosts[host.addresses[1]] = host
        return host

    def add_address(self, host: Host) -> str:
        """A second IPv4 address for a host."""
        address = self._address(host.behind, self._next_number())
        host.addresses += (address,)
        self._attachments[host.behind][address] = host
        return address

    def hosts(self) -> list[Host]:
        return [a for a in self._all() if isinstance(a, Host)]

    def gateways(self) -> list[Gateway]:
        return [a for a in self._all() if isinstance(a, Gateway)]

    def _all(self) -> list[Attachment]:
        found = (a for network in self._attachments.values() for a in network.values())
        return list(dict.fromkeys(found))

    def renumber(self, gateway: Gateway) -> None:
        """The provider gives the NAT another external address, and its table is lost."""
        network = self._attachments[gateway.behind]
        for address in gateway.addresses:
            del network[address]
        gateway.addresses = tuple(
            self._address(gateway.behind, self._next_number()) for _ in gateway.addresses
        )
        for address in gateway.addresses:
            network[address] = gateway
        gateway.nat.reboot(gateway.addresses)

    def move(self, host: Host, behind: Gateway | None) -> None:
        """The host changes its network, and with that its IPv4 address."""
        del self._attachments[host.behind][host.address]
        host.delay_s = LAN_DELAY_S if behind else ACCESS_DELAY_S
        host.behind = behind
        host.addresses = (self._address(behind, self._next_number()), *host.addresses[1:])
        self._attachments[behind][host.address] = host

    # --- running ---

    def send(self, host: Host, packet: Packet, now: float) -> None:
        host.sent += 1
        self._leave(host, packet, now)

    def next_at(self) -> float | None:
        """When the next packet in flight gets somewhere; None when there is none."""
        return self._queue[0][0] if self._queue else None

    def arrivals(self, now: float) -> list[tuple[float, Host, Packet]]:
        """Move everything that is due, in order; what has come to a host, and when."""
        arrived: list[tuple[float, Host, Packet]] = []
        while self._queue and self._queue[0][0] <= now:
            at, _, attachment, packet, outbound = heapq.heappop(self._queue)
            is_large = not outbound and _is_too_large(packet, attachment)
            if is_large or not attachment.connected:
                self.dropped["too large" if is_large else "disconnected"] += 1
            elif isinstance(attachment, Host):
                attachment.received += 1
                arrived.append((at, attachment, packet))
            elif isinstance(attachment, Gateway):
                if attachment.blocks_udp:
                    self.dropped["UDP blocked"] += 1
                elif outbound:
                    self._from_inside(attachment, packet, at)
                else:
                    self._from_outside(attachment, packet, at)
        return arrived

    # --- one packet, from its host on ---

    def _leave(self, attachment: Attachment, packet: Packet, now: float) -> None:
        """From an attachment into the network that its uplink is on."""
        is_large = _is_too_large(packet, attachment)
        if is_large or not attachment.connected:
            self.dropped["too large" if is_large else "disconnected"] += 1
            return
        network = self._attachments[attachment.behind]
        if _is_multicast(packet.destination.host):
            for other in list(network.values()) if attachment.behind else ():
                if other is not attachment and isinstance(other, Host):
                    self._put(now + attachment.delay_s + other.delay_s, other, packet)
        elif attachment.behind is None:
            self._cross(attachment, packet, now)
        elif (on_link := self._on_link(attachment.behind, packet.destination)) is not None:
            self._put(now + attachment.delay_s + on_link.delay_s, on_link, packet)
        else:
            self._put(now + attachment.delay_s, attachment.behind, packet, outbound=True)

    def _on_link(self, gateway: Gateway, destination: Address) -> Attachment | None:
        if destination.is_ipv6:
            host = self._ipv6_hosts.get(destination.host)
            return host if host is not None and host.behind is gateway else None
        return self._attachments[gateway].get(destination.host)

    def _cross(self, attachment: Attachment, packet: Packet, now: float) -> None:
        """Over the internet, from one attachment to another."""
        target: Attachment | None = self._attachments[None].get(packet.destination.host)
        if packet.destination.is_ipv6:
            target = self._ipv6_hosts.get(packet.destination.host)
            while target is not None and target.behind is not None:
                target = target.behind
        if target is None:
            self.dropped["no route"] += 1
            return
        ttl = packet.ttl - attachment.hops - target.hops
        if ttl < 1:
            self.dropped["hop limit"] += 1
            return
        packet = packet._replace(ttl=ttl)
        weather, random = self.weather, self._random
        if weather.loss and random.random() < weather.loss:
            self.dropped["loss"] += 1
            return
        copies = 1
        if weather.duplication and random.random() < weather.duplication:
            copies = 2
        for _ in range(copies):
            at = now + attachment.delay_s + target.delay_s
            if weather.jitter_s:
                at += weather.jitter_s * random.random()
            if weather.reordering and random.random() < weather.reordering:
                at += REORDERING_DELAY_S
            if weather.bit_flips and packet.data and random.random() < weather.bit_flips:
                data = bytearray(packet.data)
                data[random.randrange(len(data))] ^= 1 << random.randrange(8)
                packet = packet._replace(data=bytes(data))
            self._put(at, target, packet)

    def _from_inside(self, gateway: Gateway, packet: Packet, now: float) -> None:
        if packet.ttl <= 1:
            self.dropped["hop limit"] += 1
            return
        packet = packet._replace(ttl=packet.ttl - 1)
        if packet.destination.is_ipv6:
            gateway.ipv6_flows[packet.destination, packet.source] = now
            self._leave(gateway, packet, now)
            return
        hairpin = packet.destination.host in gateway.addresses
        policy = gateway.nat.policy
        if policy.refuses_options and packet.overflows is not None:
            self.dropped["option"] += 1
            return
        counted = _count_overflow(packet)
        if counted is None:
            self.dropped["overflow"] += 1
            return
        packet = counted
        if hairpin and policy.hairpin is Hairpin.NONE:
            self.dropped["no hairpin"] += 1
            return
        external = gateway.nat.outbound(packet.source, packet.destination, now)
        if external is None:
            self.dropped["table full"] += 1
        elif not hairpin:
            self._leave(gateway, packet._replace(source=external), now)
        else:
            inside = packet.source
            self._from_outside(gateway, packet._replace(source=external), now, hairpin_of=inside)

    def _from_outside(
        self, gateway: Gateway, packet: Packet, now: float, hairpin_of: Address | None = None
    ) -> None:
        if packet.destination.is_ipv6:
            self._into_ipv6(gateway, packet, now)
            return
        counted = _count_overflow(packet)
        if counted is None:
            self.dropped["overflow"] += 1
            return
        packet = counted
        inside = gateway.nat.inbound(packet.source, packet.destination, now)
        if inside is None:
            self.dropped["filtered"] += 1
            return
        if packet.ttl <= 1:
            self.dropped["hop limit"] += 1
            return
        if hairpin_of is not None and gateway.nat.policy.hairpin is Hairpin.INTERNAL_SOURCE:
            packet = packet._replace(source=hairpin_of)
        target = self._attachments[gateway].get(inside.host)
        if target is None:
            self.dropped["no route"] += 1
            return
        packet = packet._replace(destination=inside, ttl=packet.ttl - 1)
        self._put(now + target.delay_s, target, packet)

    def _into_ipv6(self, gateway: Gateway, packet: Packet, now: float) -> None:
        key = (packet.source, packet.destination)
        opened_at = gateway.ipv6_flows.get(key)
        if gateway.ipv6_firewall:
            if opened_at is None or now - opened_at > CONNTRACK_STREAM_TIMEOUT_S:
                self.dropped["filtered"] += 1
                return
            gateway.ipv6_flows[key] = now
        target: Attachment | None = self._ipv6_hosts.get(packet.destination.host)
        while target is not None and target.behind is not gateway:
            target = target.behind
        if target is None or packet.ttl <= 1:
            self.dropped["no route" if target is None else "hop limit"] += 1
            return
        self._put(now + target.delay_s, target, packet._replace(ttl=packet.ttl - 1))

    # --- helpers ---

    def _put(
        self, at: float, attachment: Attachment, packet: Packet, *, outbound: bool = False
    ) -> None:
        self._queued += 1
        heapq.heappush(self._queue, (at, self._queued, attachment, packet, outbound))

    def _next_number(self) -> int:
        self._made += 1
        return self._made

    def _address(self, behind: Gateway | None, number: int) -> str:
        # Addresses of the internet are from blocks that no router here would take for
        # private, multicast or reserved for documentation.
        if behind is None:
            return f"45.{1 + number // 250}.{number % 250}.10"
        return f"{behind.lan}.{2 + len(self._attachments[behind])}"


def _count_overflow(packet: Packet) -> Packet | None:
    """The packet after a router has read its option (RFC 1812, section 4.2.2.6), as Linux does it
    before it knows for whom the packet is; None: that was an error, and it goes no further."""
    if packet.overflows is None:
        return packet
    if packet.overflows >= MOST_OVERFLOWS:
        return None
    return packet._replace(overflows=packet.overflows + 1)


def _is_too_large(packet: Packet, at: Attachment) -> bool:
    size = len(packet.data) + (48 if packet.destination.is_ipv6 else 28)
    most = (packet.destination.is_ipv6 and at.most_bytes_ipv6) or at.most_bytes
    return most is not None and size > most


def _is_multicast(host: str) -> bool:
    return host.startswith("ff") if ":" in host else 224 <= int(host.partition(".")[0]) <= 239
