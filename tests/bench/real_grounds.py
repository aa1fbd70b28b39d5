"""A cell's NATs in the TUN internet: those of `tests/internet/nat.py`, or the kernel's own.

The kernel plays what it can: no NAT, plain masquerade, with and without an accepting INPUT, one
that gives every destination a random port (`fully-random`), the same within a range, two layers,
and, as its ports have to be mapped by a real miniupnpd, every side with port mapping.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from natd.core.base.types import Address
from tests.bench.cells import Cell, Place, Side
from tests.bench.grounds import (
    CARRIERS_LAN,
    hit_by_early,
    keep_distance,
    lay_out,
    policy_of,
    way_out,
)
from tests.bench.rows import BLOCK, BLOCK_LENT
from tests.bench.segment import Segment
from tests.internet.fabric import Host, Packet
from tests.internet.nat import Dependence, Hairpin, NatPolicy, Ports
from tests.natlab.port_mapper import PortMapper
from tests.natlab.tun_internet import TunInternet

NAMES = ("alice", "bob")
"""The resident's namespace, and the newcomer's."""

PORTS = (40000, 40001)
"""Their daemons', so that an early packet knows where to go."""

EARLY_AFTER_S = 0.040
"""As in the virtual internet: it then comes when both are just being introduced."""

KERNEL_BLOCK = "to :20480-20991 fully-random"
"""As many ports as a block of the table has, but lent: two destinations may share one."""

SQUATTED_LAN = "45.200.0"
"""Of a carrier whose subscribers map ports: miniupnpd maps nothing for a router whose own address
is private, so this carrier numbers them from a block that is not."""


@dataclass(slots=True)
class Ground:
    """A laboratory with the two in it."""

    lab: TunInternet | Segment
    cell: Cell
    devices: list[str] = field(default_factory=list)
    """The hosts of the fabric by which the resident's and the newcomer's packets come."""
    external: list[str] = field(default_factory=list)
    """The two's addresses as the internet sees them."""
    routers: list[str] = field(default_factory=list)
    """The kernel's NATs."""
    forget_userspace: Callable[[], None] = lambda: None
    mappers: list[PortMapper] = field(default_factory=list)

    def start(self, directory: Path) -> None:
        """Everything; what miniupnpd needs is kept in `directory`."""
        self.lab.start()
        for name, side in zip(NAMES, (self.cell.resident, self.cell.newcomer), strict=True):
            if side.mapped_by:
                mapper = PortMapper(self.lab, _router_of(name), directory, side.mapped_by)
                mapper.start()
                self.mappers.append(mapper)

    def forget(self) -> None:
        """Every NAT's table, and every mapped port."""
        self.forget_userspace()
        for mapper in self.mappers:
            mapper.reboot()
        for router in self.routers:
            self.lab.run(router, ["conntrack", "-F"])

    def entries(self) -> dict[str, int]:
        """By NAT: made so far; of the kernel's, what is there."""
        counted: dict[str, int] = dict(self.lab.counts()["entries"])
        for router in self.routers:
            counted[router] = int(self.lab.run(router, ["conntrack", "-C"]))
        return counted

    def arrange_early(self, run: int) -> None:
        """Have an early packet sent in this run."""
        assert isinstance(self.lab, TunInternet)
        hit = hit_by_early(self.cell, run)
        sender = self.lab.fabric_host(self.devices[1 - hit])
        packet = Packet(
            Address(sender.address, PORTS[1 - hit]),
            Address(self.external[hit], PORTS[hit]),
            b"early",
        )
        self.lab.send_after(self.devices[1], sender.name, packet, EARLY_AFTER_S)


def flavour_of(cell: Cell, side: Side) -> str | None:
    """How nft has to masquerade for this side; None where the kernel can't play it."""
    policy = policy_of(cell, side)
    if policy is None or policy.conntrack:
        return ""
    if policy.ports is Ports.RANDOM and policy.mapping is Dependence.ADDRESS_AND_PORT:
        return "fully-random"
    if side in (BLOCK, BLOCK_LENT):
        return KERNEL_BLOCK
    if cell.place is not Place.APART and policy.ports is Ports.PRESERVING:
        return ""  # apart, this pair is played by the Linux sides already
    return None


def plays(cell: Cell) -> bool:
    """Whether the kernel's NATs can play a cell, and it is another one than with userspace NATs."""
    sides = (cell.resident, cell.newcomer)
    if cell.only_virtual or cell.place is Place.LAN or any(s.ipv6 or s.blocks_udp for s in sides):
        return False
    if needs_miniupnpd(cell) or all(side.policy is None for side in sides):
        return False
    if cell.is_early and any(side.is_hard for side in sides):
        return False  # nobody can tell from which port the early packet would have to come
    if cell.place is Place.CARRIER and cell.carrier.hairpin is not Hairpin.NONE:
        return False
    if all(side == BLOCK for side in sides):
        return False  # its two halves may not share ports
    return all(flavour_of(cell, side) is not None for side in sides)


def needs_miniupnpd(cell: Cell) -> bool:
    return bool(cell.resident.mapped_by or cell.newcomer.mapped_by)


def on_segment(cell: Cell) -> Ground:
    """The kernel's NATs with nothing between them."""
    flavours = {}
    for name, side in zip(NAMES, (cell.resident, cell.newcomer), strict=True):
        policy, flavour = policy_of(cell, side), flavour_of(cell, side)
        assert policy is not None
        assert flavour is not None
        flavours[name] = flavour, policy.accepts_early_inbound
    lab = Segment(cell, flavours)
    return Ground(lab, cell, devices=list(NAMES), routers=lab.routers)


def ground_of(lab_name: str, cell: Cell, seed: int) -> Ground:
    """A cell's laboratory, its two sides and the server in it; for the caller to start and close.
    `lab_name` is `real` or `kernel`."""
    if lab_name == "kernel" and cell.hops == 0:
        return on_segment(cell)
    lab = TunInternet(seed, cell.weather)
    ground = (kernel if lab_name == "kernel" else userspace)(lab, cell)
    keep_distance(cell, [lab.fabric_host(name) for name in ground.devices])
    lab.fabric.add_host(name="server")
    return ground


def userspace(lab: TunInternet, cell: Cell) -> Ground:
    """NATs of `tests/internet/nat.py`, but for sides whose ports have to be mapped."""
    if needs_miniupnpd(cell):
        return kernel(lab, cell)
    ground = Ground(lab, cell)
    gateways = lay_out(lab.fabric, cell)
    hosts = [
        lab.fabric.add_host(gateway, name=name, ipv6=side.ipv6)
        for name, gateway, side in zip(NAMES, gateways, (cell.resident, cell.newcomer), strict=True)
    ]
    nats = {gateway.name: gateway for host in hosts for gateway in way_out(host)}
    if cell.newcomer.blocks_udp:
        way_out(hosts[1])[0].blocks_udp = True

    def forget() -> None:
        for nat in nats.values():
            lab.reboot(nat)

    ground.forget_userspace = forget
    ground.devices = list(NAMES)
    ground.external = [[host, *way_out(host)][-1].addresses[0] for host in hosts]
    return ground


def kernel(lab: TunInternet, cell: Cell) -> Ground:
    """The kernel's NATs; a side that they can't play is behind one of `tests/internet/nat.py`."""
    ground = Ground(lab, cell)
    sides = (cell.resident, cell.newcomer)
    if cell.place is Place.CARRIER:
        carrier = _uplink(ground, "carrier")
        ground.devices *= 2
        ground.external *= 2
        for name in NAMES:
            lan = SQUATTED_LAN if needs_miniupnpd(cell) else f"{CARRIERS_LAN}.0"
            lab.put_behind_kernel_nat(_router_of(name), carrier, lan=lan)
        ground.routers.append(carrier)
    elif cell.place is Place.NESTED:
        for number, name in enumerate(NAMES):
            carrier = _uplink(ground, f"carrier-{name}")
            lan = f"{CARRIERS_LAN}.{number}"
            lab.put_behind_kernel_nat(_router_of(name), carrier, lan=lan)
            ground.routers.append(carrier)
    for name, side in zip(NAMES, sides, strict=True):
        policy, flavour = policy_of(cell, side), flavour_of(cell, side)
        if flavour is None or policy is None:
            _put_in_fabric(ground, name, policy)
            continue
        if cell.place is Place.APART:
            _uplink(ground, _router_of(name))
        lab.put_behind_kernel_nat(
            name, _router_of(name), flavour, accepts_input=policy.accepts_early_inbound
        )
        ground.routers.append(_router_of(name))
    return ground


def _put_in_fabric(ground: Ground, name: str, policy: NatPolicy | None) -> None:
    lab = ground.lab
    assert isinstance(lab, TunInternet)
    gateway = None if policy is None else lab.fabric.add_nat(policy)
    host = lab.fabric.add_host(gateway, name=name)
    ground.devices.append(name)
    ground.external.append((gateway or host).addresses[0])
    if gateway is not None:
        ground.forget_userspace = lambda: lab.reboot(gateway)


def _uplink(ground: Ground, name: str) -> str:
    """A host of the fabric that will be a router of the kernel's."""
    assert isinstance(ground.lab, TunInternet)
    host: Host = ground.lab.fabric.add_host(name=name)
    ground.devices.append(name)
    ground.external.append(host.address)
    return name


def _router_of(name: str) -> str:
    return f"nat-{name}"
