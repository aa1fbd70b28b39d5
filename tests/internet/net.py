"""The virtual internet: real cores behind modelled NATs, in virtual time, from a seed.

    internet = Internet(seed=7)
    nat = internet.add_nat(PORT_RESTRICTED)
    host = internet.add_host(behind=nat)
    internet.attach(host, core)
    internet.run_until(lambda: core.is_done, limit_s=5.0)

Time starts at 1000.0 and jumps from one thing due to the next, so a day of idling costs what
its packets cost.  After every input a core is drained: its datagrams go on their way, its
events to `events` (and to `on_event`, the test's own shell), its timer is remembered.  A
command that the test itself gives to a core needs no call here: every run begins by draining
all cores.  NATs and what goes wrong on the way: `nat.py` and `fabric.py` beside this file.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple, Protocol

from natd.core.base.types import MAIN_SOCKET, Address, Datagram, SocketId
from natd.net.udp import USED_S
from tests.internet.fabric import DEFAULT_TTL, MOST_OVERFLOWS, Fabric, Host, Packet, Weather

START = 1000.0

UNIX_START_S = 1_800_000_000.0
"""What wall clocks show then."""

EPHEMERAL_PORTS = (32768, 60999)
"""Linux's default range for ports that a program did not choose."""

SPIN_LIMIT = 1000
"""Timers of one core at one instant, after which it is said to spin."""


class AnyCore(Protocol):
    """A core, by the part of its contract that is used here.

    `receive_datagram` is called with a fourth argument, the socket, for any but the main one.
    """

    @property
    def receive_datagram(self) -> Callable[..., Any]: ...

    def handle_timer(self, now: float) -> None: ...

    def datagrams_to_send(self) -> Sequence[Datagram]: ...

    def next_event(self) -> Any | None: ...

    def get_timer(self) -> float | None: ...


class Sent(NamedTuple):
    """One line of the trace: a datagram as it left its host."""

    at: float
    host: Host
    socket: SocketId
    datagram: Datagram


@dataclass(slots=True, eq=False)
class Attached:
    """A core on its host."""

    host: Host
    core: AnyCore
    on_event: Callable[[Any, float], None] | None
    ports: dict[SocketId, int]
    sockets: dict[int, SocketId]
    used: dict[int, float] = field(default_factory=dict)
    """Ports of sockets that were closed, and when."""
    timer: float | None = None
    events: list[tuple[float, Any]] = field(default_factory=list)

    def events_of(self, kind: type) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def first(self, kind: type) -> float | None:
        """When the first event of a kind came; None if it has not."""
        return next((at for at, event in self.events if isinstance(event, kind)), None)


def unix_s(now: float) -> float:
    """What a wall clock that is right shows."""
    return UNIX_START_S + now - START


def tell_clock(core: object, now: float) -> None:
    """Tell that to a core, if it is one that wants to know."""
    if (set_clock := getattr(core, "set_clock", None)) is not None:
        set_clock(unix_s(now), now)


class Internet(Fabric):
    """A fabric with a clock of its own and cores at its ends."""

    def __init__(self, seed: int = 0, weather: Weather | None = None) -> None:
        super().__init__(seed, weather)
        self.now = START
        self.trace: list[Sent] | None = None
        """Set to a list to have every datagram that is sent noted in it."""
        self._attached: dict[Host, Attached] = {}
        self._actions: list[tuple[float, int, Callable[[], None]]] = []
        self._ports = Random(f"ports {seed}")
        self._fired = (START, 0)

    def attach(
        self,
        host: Host,
        core: AnyCore,
        *,
        ports: Sequence[int] = (),
        on_event: Callable[[Any, float], None] | None = None,
    ) -> Attached:
        """Let `core` own `host`; an earlier core of that host is gone, as after kill -9.

        `ports[i]` is the port of SocketId(i); sockets without one get a port when they are
        first used.  `on_event(event, now)` may give commands to the core.
        """
        attached = Attached(host, core, on_event, {}, {})
        self._attached[host] = attached
        tell_clock(core, self.now)
        for index, port in enumerate(ports or (self._free_port(attached),)):
            self._open(attached, SocketId(index), port)
        return attached

    def detach(self, host: Host) -> None:
        """The host's program is killed: it says nothing, and packets for it are lost."""
        del self._attached[host]

    def address_of(self, host: Host, socket: SocketId = MAIN_SOCKET) -> Address:
        """The local address of a socket of an attached core."""
        return Address(host.address, self._attached[host].ports[socket])

    def close_socket(self, host: Host, socket: SocketId) -> None:
        """What the shell does with a `SocketDropped`."""
        attached = self._attached[host]
        if socket in attached.ports:
            port = attached.ports.pop(socket)
            del attached.sockets[port]
            attached.used[port] = self.now

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something to the world, or give a command, at an instant to come."""
        heapq.heappush(self._actions, (when, len(self._actions) + self._next_number(), action))

    def run(self, duration_s: float) -> None:
        self.run_until(lambda: False, duration_s)

    def run_until(self, predicate: Callable[[], bool], limit_s: float) -> bool:
        """Let time pass until the predicate holds; False when `limit_s` passed before that."""
        limit = self.now + limit_s
        for attached in list(self._attached.values()):
            self._pump(attached)
        while not predicate():
            due = self._next_due()
            if due is None or due > limit:
                self.now = limit
                return False
            self.now = max(self.now, due)
            self._step()
        return True

    def _next_due(self) -> float | None:
        due = [a.timer for a in self._attached.values() if a.timer is not None]
        if (packet_at := self.next_at()) is not None:
            due.append(packet_at)
        if self._actions:
            due.append(self._actions[0][0])
        return min(due, default=None)

    def _step(self) -> None:
        """Everything that is due at this instant."""
        for _, host, packet in self.arrivals(self.now):
            self._deliver(host, packet)
        while self._actions and self._actions[0][0] <= self.now:
            heapq.heappop(self._actions)[2]()
            for attached in list(self._attached.values()):
                self._pump(attached)
        for attached in list(self._attached.values()):
            if attached.timer is not None and attached.timer <= self.now:
                self._guard_against_spinning(attached)
                attached.core.handle_timer(self.now)
                self._pump(attached)

    def _deliver(self, host: Host, packet: Packet) -> None:
        attached = self._attached.get(host)
        socket = attached.sockets.get(packet.destination.port) if attached else None
        if attached is None or socket is None:
            self.dropped["port closed"] += 1
            return
        if socket == MAIN_SOCKET:
            attached.core.receive_datagram(packet.data, packet.source, self.now)
        else:
            attached.core.receive_datagram(packet.data, packet.source, self.now, socket)
        self._pump(attached)

    def _pump(self, attached: Attached) -> None:
        """What the shell does after every input."""
        core = attached.core
        while True:
            for datagram in core.datagrams_to_send():
                self._send(attached, datagram)
            event = core.next_event()
            if event is None:
                break
            attached.events.append((self.now, event))
            if attached.on_event is not None:
                attached.on_event(event, self.now)
        attached.timer = core.get_timer()

    def _send(self, attached: Attached, datagram: Datagram) -> None:
        host = attached.host
        if datagram.socket not in attached.ports:
            wanted = int(datagram.socket) if datagram.socket < 0x10000 else None
            if wanted is None or wanted in attached.sockets:
                wanted = self._free_port(attached)
            self._open(attached, datagram.socket, wanted)
        if self.trace is not None:
            self.trace.append(Sent(self.now, host, datagram.socket, datagram))
        source = host.ipv6 if datagram.address.is_ipv6 else host.address
        if source is None:
            self.dropped["no IPv6"] += 1
            return
        port = attached.ports[datagram.socket]
        ttl = DEFAULT_TTL if datagram.ttl is None else datagram.ttl
        overflows = MOST_OVERFLOWS + 1 - ttl if datagram.is_strict else None
        data = bytes(datagram.data)
        packet = Packet(Address(source, port), datagram.address, data, ttl, overflows)
        self.send(host, packet, self.now)

    def _open(self, attached: Attached, socket: SocketId, port: int) -> None:
        attached.ports[socket] = port
        attached.sockets[port] = socket

    def _free_port(self, attached: Attached) -> int:
        """A port that the shell would draw: not taken, and not used a while ago."""
        while True:
            port = self._ports.randint(*EPHEMERAL_PORTS)
            used_at = attached.used.get(port)
            if port not in attached.sockets and (used_at is None or self.now - used_at > USED_S):
                return port

    def _guard_against_spinning(self, attached: Attached) -> None:
        at, count = self._fired
        self._fired = (self.now, count + 1 if at == self.now else 1)
        if self._fired[1] > SPIN_LIMIT * max(1, len(self._attached)):
            raise AssertionError(f"the timer of {attached.core!r} does not move on")
