"""A cell's NATs, laid out on a fabric: the same for virtual and for real time."""

from collections.abc import Sequence

from tests.bench.cells import Cell, Place, Side
from tests.internet.fabric import Fabric, Gateway, Host
from tests.internet.nat import LINUX_ACCEPTING, NatPolicy

CARRIERS_LAN = "100.64"
"""RFC 6598: what a carrier numbers its subscribers from."""


def lay_out(fabric: Fabric, cell: Cell) -> tuple[Gateway | None, Gateway | None]:
    """The NAT that the resident is behind, and the newcomer's; None for a public address."""
    match cell.place:
        case Place.APART:
            return _nat(fabric, cell, cell.resident), _nat(fabric, cell, cell.newcomer)
        case Place.LAN:
            nat = _nat(fabric, cell, cell.resident)
            return nat, nat
        case Place.CARRIER:
            carrier = fabric.add_nat(cell.carrier, lan=f"{CARRIERS_LAN}.0")
            return (
                _nat(fabric, cell, cell.resident, carrier),
                _nat(fabric, cell, cell.newcomer, carrier),
            )
        case Place.NESTED:
            carriers = [fabric.add_nat(cell.carrier, lan=f"{CARRIERS_LAN}.{n}") for n in range(2)]
            return (
                _nat(fabric, cell, cell.resident, carriers[0]),
                _nat(fabric, cell, cell.newcomer, carriers[1]),
            )


def policy_of(cell: Cell, side: Side) -> NatPolicy | None:
    """What a side is behind in this cell."""
    return LINUX_ACCEPTING if cell.is_early and side.is_linux else side.policy


def hit_by_early(cell: Cell, run: int) -> int:
    """Which side's NAT an early packet comes to, 0 being the resident's: the Linux one, and by
    turns where both are."""
    if cell.resident.is_linux and cell.newcomer.is_linux:
        return run % 2
    return 0 if cell.resident.is_linux else 1


def way_out(host: Host) -> list[Gateway]:
    """The NATs between a host and the internet, the nearest first."""
    way, gateway = [], host.behind
    while gateway is not None:
        way.append(gateway)
        gateway = gateway.behind
    return way


def _nat(fabric: Fabric, cell: Cell, side: Side, parent: Gateway | None = None) -> Gateway | None:
    policy = policy_of(cell, side)
    return None if policy is None else fabric.add_nat(policy, parent)


def keep_distance(cell: Cell, hosts: Sequence[Host]) -> None:
    """Both sides (the resident's host first) as far from the middle of the internet as the cell
    has it, whichever NATs they are behind."""
    ends = [[host, *way_out(host)][-1] for host in hosts]
    for number, end in enumerate(dict.fromkeys(ends)):
        end.delay_s = cell.delay_s
        end.hops = (cell.hops + number) // 2
