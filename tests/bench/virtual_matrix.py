"""A cell of the matrix in the virtual internet: real nodes, virtual time, a seed a run.

Same cell and same seed, same run.  What is counted of a run is counted from the newcomer's start
on: entries of the NAT tables on each side's way, and packets that each side sends in any second.
After the message a second more is watched, for an escalation has to stop when a path stands.
"""

from collections.abc import Sequence
from dataclasses import replace

from natd.core.base import events
from natd.core.base.types import Address
from natd.core.base.verdict import VerdictCode
from natd.core.keys.secrets import network_key
from tests.bench.cells import Cell, Side
from tests.bench.figures import Run
from tests.bench.grounds import hit_by_early, keep_distance, lay_out, way_out
from tests.core.world.village import Member, Village
from tests.internet.fabric import Gateway, Host, Packet
from tests.internet.net import Internet, Sent

OPEN_KEY = network_key("demo", b"")
SECRET_KEY = network_key("demo", b"0123456789abcdef")

HELPER_SOCKETS = 256
ROUTER_S = 0.003
"""How long a real router took to map a port by NAT-PMP or PCP."""

EARLY_AT_S = 0.040
"""After the newcomer's first packet; it then comes when both are just being introduced."""

AFTERWARDS_S = 1.0

IDLE_AFTER_S = 60.0
"""From here on a pair is at rest: what it learns of its NATs it has begun to learn."""
IDLE_S = 600.0


def play(cell: Cell, seed: int, *, looks_at_rest: bool = False) -> Run:
    """One meeting; and then, if asked for, eleven minutes of silence."""
    meeting = _Meeting(cell, seed)
    meeting.begin()
    run = meeting.watch()
    if looks_at_rest and run.took_s is not None:
        return replace(run, idle_a_minute=meeting.packets_at_rest())
    return run


class _Meeting:
    """Alice is the resident, Bob the newcomer."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self._cell = cell
        self._seed = seed
        self._village = Village(seed, cell.weather)
        self._internet: Internet = self._village.internet
        ends = lay_out(self._internet, cell)
        self._alice = self._member("alice", ends[0], cell.resident, 40000)
        self._bob = self._member("bob", ends[1], cell.newcomer, 40001)
        hosts = (self._alice.host, self._bob.host)
        self._ways = [way_out(host) for host in hosts]
        keep_distance(cell, hosts)
        self._began = 0.0
        self._entries = [0, 0]

    def begin(self) -> None:
        """Up to the newcomer's first packet."""
        internet, cell = self._internet, self._cell
        self._start(self._alice)
        if cell.resident.mapped_by:
            self._alice.map_port()
        internet.run(cell.settled_s)
        self._entries = [_entries(way) for way in self._ways]
        internet.trace = []
        self._began = internet.now
        if cell.newcomer.blocks_udp:
            self._ways[1][0].blocks_udp = True
        self._start(self._bob)
        self._bob.send("hello")
        if cell.newcomer.mapped_by:
            internet.at(self._began + ROUTER_S, self._bob.map_port)
        if cell.is_early:
            internet.at(self._began + EARLY_AT_S, self._send_early)

    def watch(self) -> Run:
        """What comes of it."""
        internet, cell = self._internet, self._cell
        came = internet.run_until(self._is_over, cell.target.within_s)
        is_direct = self._alice.texts() == ["hello"]
        took_s = internet.now - self._began if came and is_direct else None
        if took_s is not None:
            internet.run(AFTERWARDS_S)
        entries = [
            _entries(way) - before for way, before in zip(self._ways, self._entries, strict=True)
        ]
        packets = [
            most_in_a_second(internet.trace or [], member.host)
            for member in (self._alice, self._bob)
        ]
        connected = self._bob.connected.get(self._alice.peer)
        return Run(
            took_s=took_s,
            verdict_s=self._verdict_s(),
            entries=max(entries),
            packets_a_second=max(packets),
            technique=connected.path.technique if connected and is_direct else "",
            codes=() if is_direct else tuple(str(code) for _, code in self._told()),
        )

    def packets_at_rest(self) -> float:
        """A minute, both ways, once the pair has met; the server's are not counted."""
        internet = self._internet
        internet.run(IDLE_AFTER_S)
        trace: list[Sent] = []
        internet.trace = trace
        internet.run(IDLE_S)
        server = self._village.server_host
        of_pair = [
            sent
            for sent in trace
            if sent.host is not server and sent.datagram.address.host != server.address
        ]
        return len(of_pair) / (IDLE_S / 60.0)

    # --- private

    def _member(self, name: str, gateway: Gateway | None, side: Side, port: int) -> Member:
        key = SECRET_KEY if self._cell.is_secret else OPEN_KEY
        return self._village.member(name, gateway, key=key, port=port, ipv6=side.ipv6)

    def _start(self, member: Member) -> None:
        member.start()
        member.node.set_limits(helper_sockets=HELPER_SOCKETS, fill_blocks=self._cell.fill_blocks)

    def _is_over(self) -> bool:
        if self._cell.wants_verdict and self._verdict_s() is not None:
            return True
        return self._alice.texts() == ["hello"]

    def _verdict_s(self) -> float | None:
        """When all peers that can get a verdict had the right one; a blocked peer gets none."""
        cell = self._cell
        if not cell.wants_verdict:
            return None
        told = self._told()
        if len(told) < (1 if cell.newcomer.blocks_udp else 2):
            return None
        if any(code is not cell.truth for _, code in told):
            return None
        return max(at for at, _ in told) - self._began

    def _told(self) -> list[tuple[float, VerdictCode]]:
        """What each side was told last, and when; those who were told anything."""
        last = []
        for member in (self._alice, self._bob):
            told = [
                (at, event.code)
                for at, event in member.attached.events
                if isinstance(event, events.VerdictReached | events.ServerLost)
                and event.code is not None
                and at >= self._began
            ]
            last += told[-1:]
        return last

    def _send_early(self) -> None:
        sides = (self._alice, self._bob)
        hit = hit_by_early(self._cell, self._seed)
        target, sender = external_address(sides[hit]), sides[1 - hit]
        packet = Packet(_inside(sender), target, b"early")
        self._internet.send(sender.host, packet, self._internet.now)


def external_address(member: Member) -> Address:
    """How a member behind a NAT that keeps ports is seen from outside."""
    gateway = member.host.behind
    assert gateway is not None
    return _inside(member)._replace(host=gateway.addresses[0])


def most_in_a_second(trace: Sequence[Sent], host: Host) -> int:
    """The most datagrams that left a host in any second."""
    instants = [sent.at for sent in trace if sent.host is host]
    most = first = 0
    for last, at in enumerate(instants):
        while instants[first] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def _inside(member: Member) -> Address:
    return member.internet.address_of(member.host)


def _entries(way: Sequence[Gateway]) -> int:
    return max((gateway.nat.entries_made for gateway in way), default=0)
