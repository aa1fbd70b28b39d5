"""A coordinator and its peers in virtual time, on a network that can lose what a test says."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import pytest

from natd.core.base.events import ServerAnswered
from natd.core.base.timers import WallClock
from natd.core.base.types import Address, NetworkId
from natd.core.coordinator.coordinator import Coordinator
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.nat.lifetime import Lifetimes
from natd.core.registration.events import Introduced
from natd.core.registration.registration import Registration
from tests.internet.net import tell_clock, unix_s

SERVER = Address("198.51.100.1", 8080)
OTHER = Address("198.51.100.2", 8080)
"""Its second address, where a test gives it one."""

SERVER_IPV6 = Address("2001:db8:5::1", 8080)
PORTS = 4
NETWORK = NetworkId(b"network-of-tests")
ONE_WAY_S = 0.025
ROUND_TRIP_S = 2 * ONE_WAY_S
CARD = b"sealed card" + bytes(239)
"""As long as a usual card."""


class Sent(NamedTuple):
    at: float
    source: Address
    destination: Address
    data: bytes


@dataclass
class Guest:
    """One registration and the address that its NAT gives it."""

    identity: Identity
    registration: Registration
    address: Address
    one_way_s: float = ONE_WAY_S
    events: list[Any] = field(default_factory=list)
    event_times: list[float] = field(default_factory=list)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def first(self, kind: type) -> float:
        """When it came; StopIteration if it has not."""
        return next(
            at
            for at, event in zip(self.event_times, self.events, strict=True)
            if isinstance(event, kind)
        )

    def met(self) -> set[bytes]:
        return {event.peer for event in self.of(Introduced)}


class Meeting:
    def __init__(self, seed: int = 1, *, hosts: tuple[str, ...] = ()) -> None:
        self.now = 1000.0
        self.hosts = hosts
        self.random = Random(seed)
        self.coordinator = self.new_coordinator()
        self.guests: list[Guest] = []
        self.sent: list[Sent] = []
        self.loses: Callable[[Sent], bool] = lambda sent: False
        self.server_is_up = True
        self._flying: list[tuple[float, int, Sent]] = []
        self._count = 0

    def new_coordinator(self) -> Coordinator:
        coordinator = Coordinator(self.random.randbytes(16), self.random, hosts=self.hosts)
        tell_clock(coordinator, self.now)
        return coordinator

    def restart_server(self) -> None:
        self.coordinator = self.new_coordinator()

    def invite(
        self,
        name: str,
        *,
        network: NetworkId = NETWORK,
        address: Address | None = None,
        server: Address = SERVER,
        others: tuple[Address, ...] = (),
        one_way_s: float = ONE_WAY_S,
        ahead_s: float = 0.0,
    ) -> Guest:
        """`ahead_s`: its clock, of the true time."""
        number = len(self.guests) + 1
        identity = Identity(name.encode().ljust(32, b"."))
        registration = Registration(
            network=network,
            membership=MembershipKey(network),
            identity=identity,
            server=server,
            others=others,
            prefix=number.to_bytes(4, "big"),
            lifetimes=Lifetimes(),
            random=Random(number),
            clock=clock_at(self.now, ahead_s),
        )
        address = address or Address(f"203.0.{number // 200}.{number % 200 + 1}", 40000 + number)
        guest = Guest(identity, registration, address, one_way_s)
        self.guests.append(guest)
        return guest

    def start(self, guest: Guest, card: bytes = CARD, sequence: int = 1) -> None:
        guest.registration.start(card, sequence, self.now)
        self._drain(guest)

    def register(self, name: str, **how: Any) -> Guest:
        """A guest that has been registered and listed, and waited a second."""
        guest = self.invite(name, **how)
        self.start(guest)
        self.run(1.1)
        return guest

    def run(self, for_s: float, *, until: Callable[[], bool] = lambda: False) -> None:
        end = self.now + for_s
        for guest in self.guests:
            self._drain(guest)
        while not until():
            timers = [
                (timer, index)
                for index, guest in enumerate(self.guests)
                if (timer := guest.registration.get_timer()) is not None
            ]
            next_timer = min(timers, default=(end + 1, -1))
            next_flight = self._flying[0][0] if self._flying else end + 1
            server_timer = self.coordinator.get_timer()
            due = min(next_timer[0], next_flight, end + 1 if server_timer is None else server_timer)
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            if next_flight <= due:
                self._deliver(heapq.heappop(self._flying)[2])
            elif next_timer[0] <= due:
                guest = self.guests[next_timer[1]]
                guest.registration.handle_timer(self.now)
                self._drain(guest)
            else:
                self.coordinator.handle_timer(self.now)

    def tell_server(
        self, data: bytes, source: Address, *, port_index: int = 0
    ) -> list[tuple[Address, bytes]]:
        """A datagram from a stranger; what the server sends because of it."""
        self.coordinator.receive_datagram(data, source, self.now, port_index)
        return [(sent.address, sent.data) for sent in self.coordinator.datagrams_to_send()]

    def _deliver(self, sent: Sent) -> None:
        if sent.destination.host in (SERVER.host, SERVER_IPV6.host, *self.hosts):
            if self.server_is_up:
                port_index = sent.destination.port - SERVER.port
                if sent.destination.host == OTHER.host:
                    port_index += PORTS
                self.coordinator.receive_datagram(sent.data, sent.source, self.now, port_index)
                self._drain_server()
            return
        for guest in self.guests:
            if guest.address == sent.destination:
                guest.registration.receive_datagram(sent.data, sent.source, self.now)
                self._drain(guest)

    def _drain(self, guest: Guest) -> None:
        for datagram in guest.registration.datagrams_to_send():
            self._send(datagram.data, guest.address, datagram.address, guest.one_way_s)
        while (event := guest.registration.next_event()) is not None:
            guest.events.append(event)
            guest.event_times.append(self.now)

    def _drain_server(self) -> None:
        for datagram in self.coordinator.datagrams_to_send():
            host = SERVER_IPV6.host if datagram.address.is_ipv6 else SERVER.host
            row, offset = divmod(datagram.socket, PORTS)
            source = Address(OTHER.host if row else host, SERVER.port + offset)
            guest = next((g for g in self.guests if g.address == datagram.address), None)
            one_way_s = ONE_WAY_S if guest is None else guest.one_way_s
            self._send(datagram.data, source, datagram.address, one_way_s)

    def _send(self, data: bytes, source: Address, destination: Address, one_way_s: float) -> None:
        sent = Sent(self.now, source, destination, data)
        self.sent.append(sent)
        if not self.loses(sent):
            self._count += 1
            heapq.heappush(self._flying, (self.now + one_way_s, self._count, sent))


def clock_at(now: float, ahead_s: float = 0.0) -> WallClock:
    """One that is right, or ahead of the true time."""
    clock = WallClock()
    clock.set(unix_s(now) + ahead_s, now)
    return clock


def answered(guest: Guest) -> ServerAnswered:
    """What is told of a first answer, or of one that sees us elsewhere."""
    rtt_s: Any = pytest.approx(ROUND_TRIP_S)
    return ServerAnswered(NETWORK, SERVER, guest.address, rtt_s)
