"""A coordination server with two addresses on the virtual internet: one core, two hosts.

What the core sends by the sockets of its second address leaves from the second host, whichever of
the two has heard what it answers.
"""

from collections.abc import Sequence
from random import Random

from natd.core.base.types import Address, Datagram, SocketId
from natd.core.coordinator.coordinator import Coordinator
from tests.core.world.village import SERVER_PORT, Village
from tests.internet.fabric import Host
from tests.internet.net import Internet, tell_clock

PORTS = 4


class TwoAddresses(Village):
    """A village whose server has two."""

    def start_server(self) -> None:
        self.other = self.internet.add_host(name="the server's second address")
        hosts = (self.server_host, self.other)
        self.coordinator = Coordinator(
            bytes(32), Random(self.seed), hosts=tuple(host.address for host in hosts)
        )
        open_doors(self.internet, self.coordinator, hosts)


def open_doors(internet: Internet, coordinator: Coordinator, hosts: Sequence[Host]) -> None:
    """Let the hosts be the addresses of the coordinator, in this order."""
    tell_clock(coordinator, internet.now)
    doors = [Door(internet, coordinator, row) for row in range(len(hosts))]
    for door, host in zip(doors, hosts, strict=True):
        door.hosts = hosts
        internet.attach(host, door, ports=range(SERVER_PORT, SERVER_PORT + PORTS))


class Door:
    """One address of a coordinator that has several, as a host of the virtual internet."""

    def __init__(self, internet: Internet, coordinator: Coordinator, row: int) -> None:
        self.hosts: Sequence[Host] = ()
        self._internet = internet
        self._coordinator = coordinator
        self._row = row

    def receive_datagram(self, data: bytes, address: Address, now: float, socket: int = 0) -> None:
        self._coordinator.receive_datagram(data, address, now, self._row * PORTS + socket)

    def datagrams_to_send(self) -> list[Datagram]:
        """Those that leave by another door are sent there."""
        ours = []
        for datagram in self._coordinator.datagrams_to_send():
            row, column = divmod(datagram.socket, PORTS)
            here = datagram._replace(socket=SocketId(column))
            if row == self._row:
                ours.append(here)
            else:
                self._internet._send(self._internet._attached[self.hosts[row]], here)
        return ours

    def next_event(self) -> None:
        return

    def handle_timer(self, now: float) -> None:
        self._coordinator.handle_timer(now)

    def get_timer(self) -> float | None:
        return None
