"""One NAT: who may send what through it, under which address and port.

A NAT here is two functions of pairs of addresses and of time, `outbound` and `inbound`; what
moves the packets (`tests/internet/fabric.py`) knows nothing of the tables.  `TableNat` follows the
terms of RFC 4787: mapping and filtering each endpoint-independent (EI), address-dependent
(AD) or address-and-port-dependent (APD), and a rule by which external ports are given out.
Linux is another kind: `tests/internet/conntrack.py`.

Same seed and same calls, same answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from math import exp
from random import Random

from natd.core.base.types import Address

RANDOM_PORT_ATTEMPTS = 64
"""Random ports tried before a nearly full range is searched in order."""

FULL_RANGE = (1024, 65535)


class Dependence(StrEnum):
    """RFC 4787, sections 4.1 and 5: what a mapping, or a filter, depends on."""

    INDEPENDENT = "EI"
    ADDRESS = "AD"
    ADDRESS_AND_PORT = "APD"


class Ports(StrEnum):
    """How the external port of a new mapping is picked."""

    PRESERVING = "preserving"
    OVERLOADING = "preserving with overload"
    """As PRESERVING, but a port is shared by inside hosts that talk to different remotes."""
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    BLOCK = "block"
    """Random within a block of ports that belongs to the inside host."""


class Hairpin(StrEnum):
    NONE = "none"
    INTERNAL_SOURCE = "internal source"
    EXTERNAL_SOURCE = "external source"


@dataclass(frozen=True, slots=True)
class NatPolicy:
    """What a NAT does.  The defaults make a port-restricted one."""

    mapping: Dependence = Dependence.INDEPENDENT
    filtering: Dependence = Dependence.ADDRESS_AND_PORT
    ports: Ports = Ports.PRESERVING
    port_range: tuple[int, int] = FULL_RANGE
    conntrack: bool = False
    """Linux masquerading.  Mapping and filtering then follow from the flow table; of the
    port rules PRESERVING is plain `masquerade` and RANDOM is `masquerade random`."""
    accepts_early_inbound: bool = False
    """Conntrack only: INPUT accepts, so an inbound packet of no flow makes one and clashes."""
    refuses_options: bool = False
    """A packet from inside with an IP option goes no further."""
    stride: int = 1
    """SEQUENTIAL: distance between two ports given out."""
    keeps_parity: bool = False
    """SEQUENTIAL: an even inside port gets an even external one."""
    load_per_s: float = 0.0
    """SEQUENTIAL: mappings a second that other users make (Poisson)."""
    taken_share: float = 0.0
    """Share of ports that other users hold already, skipped when it comes to them."""
    block_size: int = 512
    block_aligned: bool = True
    lends_ports: bool = False
    """One external port serves flows to different places, as Linux has it: a new flow may get any
    port that no other flow uses towards the same place."""
    addresses: int = 1
    """External addresses in the pool."""
    paired: bool = True
    """With several: one inside host keeps one of them (RFC 4787, section 4.1, "paired")."""
    timeout_s: float = 120.0
    unanswered_s: float | None = None
    """Timeout of a mapping that nothing has come in by yet; None: as of any other."""
    inbound_refreshes: bool = True
    absolute_age_s: float | None = None
    """A mapping ends at this age whatever its traffic; None for never."""
    hairpin: Hairpin = Hairpin.NONE
    capacity: int = 65536
    """Entries in the table; a packet that needs one more is dropped."""


FULL_CONE = NatPolicy(filtering=Dependence.INDEPENDENT)
ADDRESS_RESTRICTED = NatPolicy(filtering=Dependence.ADDRESS)
PORT_RESTRICTED = NatPolicy()
LINUX = NatPolicy(conntrack=True)
LINUX_ACCEPTING = replace(LINUX, accepts_early_inbound=True)
LINUX_RANDOM = replace(LINUX, ports=Ports.RANDOM)
ADDRESS_DEPENDENT = NatPolicy(mapping=Dependence.ADDRESS, ports=Ports.RANDOM)
SYMMETRIC_RANDOM = NatPolicy(mapping=Dependence.ADDRESS_AND_PORT, ports=Ports.RANDOM)
SYMMETRIC_SEQUENTIAL = replace(SYMMETRIC_RANDOM, ports=Ports.SEQUENTIAL)
SYMMETRIC_BLOCK = replace(SYMMETRIC_RANDOM, ports=Ports.BLOCK, unanswered_s=30.0)
"""Who gives out few ports takes them back soon: 30 s is the initial timeout of a carrier's NAT and
of Linux masquerading to a range."""


class Nat:
    """What both kinds share: the pool of external addresses and what is counted."""

    def __init__(self, policy: NatPolicy, addresses: tuple[str, ...], random: Random) -> None:
        self.policy = policy
        """May be replaced while packets flow: a change of class in mid-session."""
        self.addresses = addresses
        self.entries_made = 0
        self._random = random

    def outbound(self, source: Address, destination: Address, now: float) -> Address | None:
        """The external source of a packet from inside; None when it is dropped."""
        raise NotImplementedError

    def inbound(self, source: Address, destination: Address, now: float) -> Address | None:
        """The inside destination of a packet from outside; None when it goes no further."""
        raise NotImplementedError

    def reboot(self, addresses: tuple[str, ...] | None = None) -> None:
        """Forget every entry, and perhaps come back under other addresses."""
        self.addresses = addresses or self.addresses
        self._flush()

    def _flush(self) -> None:
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class _Mapping:
    inside: Address
    external: Address
    key: tuple[object, ...]
    made_at: float
    used_at: float
    permitted: dict[object, float]
    """By what the filter depends on: when we last sent there."""
    answered: bool = False


class TableNat(Nat):
    """Mappings and filters by the terms of RFC 4787."""

    def __init__(self, policy: NatPolicy, addresses: tuple[str, ...], random: Random) -> None:
        super().__init__(policy, addresses, random)
        self._flush()

    def _flush(self) -> None:
        self._mappings: dict[tuple[object, ...], _Mapping] = {}
        self._by_external: dict[Address, list[_Mapping]] = {}
        self._blocks: dict[str, int] = {}
        self._full_until: dict[str, float] = {}
        """By inside host: before this instant no port of its block comes free."""
        self._last_port = self._random.randint(*self.policy.port_range)
        self._last_port_at: float | None = None

    def outbound(self, source: Address, destination: Address, now: float) -> Address | None:
        key = (source, _depends_on(self.policy.mapping, destination))
        mapping = self._mappings.get(key)
        if mapping is not None and not self._lives(mapping, now):
            self._forget(mapping)
            mapping = None
        if mapping is None:
            mapping = self._make(key, source, destination, now)
            if mapping is None:
                return None
        mapping.used_at = now
        mapping.permitted[_depends_on(self.policy.filtering, destination)] = now
        return mapping.external

    def inbound(self, source: Address, destination: Address, now: float) -> Address | None:
        remote = _depends_on(self.policy.filtering, source)
        for mapping in self._by_external.get(destination, ()):
            permitted_at = mapping.permitted.get(remote)
            if permitted_at is None or not self._lives(mapping, now):
                continue
            if now - permitted_at > self.policy.timeout_s:
                continue
            mapping.answered = True
            if self.policy.inbound_refreshes:
                mapping.used_at = now
                mapping.permitted[remote] = now
            return mapping.inside
        return None

    def _lives(self, mapping: _Mapping, now: float) -> bool:
        age_s = self.policy.absolute_age_s
        if age_s is not None and now - mapping.made_at > age_s:
            return False
        timeout_s = self.policy.timeout_s
        if not mapping.answered and self.policy.unanswered_s is not None:
            timeout_s = min(timeout_s, self.policy.unanswered_s)
        return now - mapping.used_at <= timeout_s

    def _ends_at(self, mapping: _Mapping) -> float:
        """When it ends, if it is not used again."""
        ends_at = mapping.used_at + self.policy.timeout_s
        if self.policy.absolute_age_s is None:
            return ends_at
        return min(ends_at, mapping.made_at + self.policy.absolute_age_s)

    def _make(
        self, key: tuple[object, ...], source: Address, destination: Address, now: float
    ) -> _Mapping | None:
        if len(self._mappings) >= self.policy.capacity:
            for old in [m for m in self._mappings.values() if not self._lives(m, now)]:
                self._forget(old)
            if len(self._mappings) >= self.policy.capacity:
                return None
        if now < self._full_until.get(source.host, 0.0):
            return None
        host = self._pool_address(source)
        for port in self._ports_in_order(source, now):
            external = Address(host, port)
            if self._free(external, source, destination, now):
                break
        else:
            if self.policy.ports is Ports.BLOCK:
                mine = [m for m in self._mappings.values() if m.inside.host == source.host]
                self._full_until[source.host] = min(self._ends_at(m) for m in mine)
            return None
        self._last_port, self._last_port_at = port, now
        mapping = _Mapping(source, external, key, now, now, {})
        self._mappings[key] = mapping
        self._by_external.setdefault(external, []).append(mapping)
        self.entries_made += 1
        return mapping

    def _pool_address(self, source: Address) -> str:
        if self.policy.paired:
            return self.addresses[hash_of(source.host) % len(self.addresses)]
        return self._random.choice(self.addresses)

    def _free(self, external: Address, source: Address, destination: Address, now: float) -> bool:
        holders = self._by_external.get(external, [])
        for holder in [h for h in holders if not self._lives(h, now)]:
            self._forget(holder)
        if self.policy.lends_ports:
            remote = _depends_on(self.policy.filtering, destination)
            return not any(remote in holder.permitted for holder in holders)
        if self.policy.ports is Ports.OVERLOADING:
            remote = _depends_on(self.policy.filtering, destination)
            return not any(h.inside != source and remote in h.permitted for h in holders)
        return not holders

    def _ports_in_order(self, source: Address, now: float) -> Iterator[int]:
        """Ports to try for a new mapping, best first."""
        low, high = self.policy.port_range
        size = high - low + 1
        match self.policy.ports:
            case Ports.PRESERVING | Ports.OVERLOADING:
                if low <= source.port <= high:
                    yield source.port
            case Ports.SEQUENTIAL:
                step = self.policy.stride
                port = self._last_port + step * self._others_since(now)
                for _ in range(size):
                    port += step
                    if self.policy.keeps_parity and (port - source.port) % 2:
                        port += 1
                    if not self._random.random() < self.policy.taken_share:
                        yield low + (port - low) % size
                return
            case Ports.BLOCK:
                low, size = self._block(source.host), self.policy.block_size
            case Ports.RANDOM:
                pass
        for _ in range(RANDOM_PORT_ATTEMPTS):
            yield low + self._random.randrange(size)
        yield from range(low, low + size)

    def _others_since(self, now: float) -> int:
        if self._last_port_at is None or not self.policy.load_per_s:
            return 0
        return _poisson(self.policy.load_per_s * (now - self._last_port_at), self._random)

    def _block(self, host: str) -> int:
        if host not in self._blocks:
            low, high = self.policy.port_range
            size = self.policy.block_size
            step = size if self.policy.block_aligned else 1
            starts = range(-(-low // step) * step, high - size + 2, step)
            held = set(self._blocks.values())
            free = [s for s in starts if all(abs(s - other) >= size for other in held)]
            self._blocks[host] = self._random.choice(free)
        return self._blocks[host]

    def _forget(self, mapping: _Mapping) -> None:
        del self._mappings[mapping.key]
        holders = self._by_external[mapping.external]
        holders.remove(mapping)
        if not holders:
            del self._by_external[mapping.external]


class ForwardingNat(Nat):
    """A NAT with one port forwarded: who comes in by it is answered from it."""

    def __init__(self, nat: Nat, inside: Address, external: Address) -> None:
        super().__init__(nat.policy, nat.addresses, Random())
        self._nat = nat
        self._inside = inside
        self._external = external
        self._visitors: set[Address] = set()

    def inbound(self, source: Address, destination: Address, now: float) -> Address | None:
        if destination != self._external:
            return self._nat.inbound(source, destination, now)
        self._visitors.add(source)
        return self._inside

    def outbound(self, source: Address, destination: Address, now: float) -> Address | None:
        if source == self._inside and destination in self._visitors:
            return self._external
        before = self._nat.entries_made
        external = self._nat.outbound(source, destination, now)
        self.entries_made += self._nat.entries_made - before
        return external

    def _flush(self) -> None:
        self._nat.reboot(self.addresses)
        self._visitors.clear()


def hash_of(text: str) -> int:
    """A hash that is the same in every run."""
    return sum(byte * 131**index for index, byte in enumerate(text.encode()))


def _depends_on(dependence: Dependence, remote: Address) -> object:
    match dependence:
        case Dependence.INDEPENDENT:
            return None
        case Dependence.ADDRESS:
            return remote.host
        case Dependence.ADDRESS_AND_PORT:
            return remote


def _poisson(mean: float, random: Random) -> int:
    if mean > 50.0:
        return max(0, round(random.gauss(mean, mean**0.5)))
    limit, count, product = exp(-mean), 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count
