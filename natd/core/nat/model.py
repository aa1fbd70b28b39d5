"""What our own NAT does, learned from what servers and peers say they saw of us.

Every server port that answers is one *observation*: from this local socket, towards that
destination, we appeared as that address.  Ports of one server are different destinations, so
one registration, which asks four of them at once, tells most of the mapping class in one round
trip; a second host tells the rest (`mapping_class`).  Every external port that was not seen
before is a sample of the allocation (`port_watch`).  Whom the NAT lets in is found out from fresh
sockets (`filtering`), and unknown until then, even where there is no NAT.

Rules:
- The newest observation of a destination replaces the older one; none is believed for longer
  than `OBSERVATION_LIFETIME_S` while servers answer.  Their silence changes nothing that they
  said before.
- A destination that sees us elsewhere than before, on a NAT that kept one mapping per socket,
  tells that the mapping is gone: what others saw of it is then of no use, and contradicts.
- An answer that the class does not expect is a *doubt*: the owner asks all ports of that server
  at once (`take_doubt`).  If what they say makes another class, everything older is dropped.
- A server that sees us at an address of ours says nothing of a NAT that another one tells of.
- Peers lie: a peer's word counts only from a host that is neither a server's nor ours, only where
  it names the address that servers see us at, only of a socket that a server has seen, too, and
  never against two servers' hosts.  No port that a peer names is a sample of the allocation.
- IPv4 and IPv6 are two different NATs; the report speaks of IPv4 where we have seen it.
- *Poisoning*: on a NAT known to keep one mapping per socket, a destination asked just now shows
  another port than the lease's own flow.  The flow lives on, but everything new leaves from
  the wrong port, and only a fresh local socket helps.
"""

import ipaddress
from dataclasses import dataclass

from natd.core.base.types import (
    LOWEST_ANY_PORT_SOCKET,
    MAIN_SOCKET,
    Address,
    Mapping,
    NatReport,
    SocketId,
)
from natd.core.nat.filtering import FilterWatch, Known
from natd.core.nat.lifetime import Lifetimes
from natd.core.nat.mapping_class import View, contradicts, likeliest, weigh
from natd.core.nat.port_watch import PortWatch

OBSERVATION_LIFETIME_S = 180.0
"""Longer than the interval at which every sampling port comes round again, shorter than a
common UDP timeout of a carrier NAT (RFC 4787 asks for two minutes at least)."""

MOST_OBSERVATIONS = 64
"""A socket talks to a handful of servers with four ports each; more is not worth the memory."""

MOVED_WITHIN_S = 10.0
"""Answers that tell of one and the same move come in this time: all are asked at once."""

DOUBT_SPACING_S = 10.0
"""A server that answers at random costs us one round of samples in this time."""

LIKELY = 0.8
"""Of a class: below that of an independent one that a single host tells of, above that of one
that rests on a peer's word."""

ENOUGH_FRESH = 3
"""Ports of one host: that many fresh answers outweigh all that was known before."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One destination's word on how we appear."""

    socket: SocketId
    destination: Address
    observed: Address
    at: float

    @property
    def view(self) -> View:
        return View(self.destination, self.observed)


class NatModel:
    """Collects observations and judges them."""

    def __init__(self) -> None:
        self.has_changed = False
        """Whether the report or our addresses have changed by what was seen; set back by its
        reader."""
        self.ports = PortWatch()
        """What is known of the ports that it gives out, and when to ask for more."""
        self.lifetimes = Lifetimes()
        """How long it keeps a mapping, as those who watch flows have told."""
        self._observations: dict[tuple[SocketId, Address], Observation] = {}
        self._echoes: dict[tuple[SocketId, Address], Observation] = {}  # what peers say
        self._asked: set[SocketId] = set()  # those that a peer's word had us ask a server about
        self.filters = FilterWatch()
        """What is known of whom our NATs let in, and when to ask."""
        self._keeps = False  # whether the NAT has kept our port, in this network
        self._settled = Mapping.UNKNOWN  # the last class that was likely
        self._doubted: Address | None = None  # the server port that surprised us; None: none did
        self._doubted_at: float | None = None  # None: nothing ever did
        self._local_addresses: frozenset[str] = frozenset()
        self._local_port = 0
        self._report: NatReport | None = None  # None: to be made anew

    # --- inputs

    def set_local_addresses(self, addresses: tuple[str, ...], port: int) -> None:
        """Our interface addresses and the main socket's port.  A change of network makes
        everything observed before worthless."""
        if (frozenset(addresses), port) != (self._local_addresses, self._local_port):
            self._observations.clear()
            self._echoes.clear()
            self._asked.clear()
            self.ports.clear()
            self.filters.clear()
            self.lifetimes.clear()
            self._keeps = False
            self._settled = Mapping.UNKNOWN
            self._doubted = None
            self._report = None
        self._local_addresses = frozenset(addresses)
        self._local_port = port

    def observe(
        self, socket: SocketId, destination: Address, observed: Address, now: float
    ) -> bool:
        """Take a server's word; True if the report or our addresses changed by it."""
        before = (self.report(), self.observed())
        last = self._observations.pop((socket, destination), None)
        fresh = Observation(socket, destination, observed, now)
        if socket == MAIN_SOCKET:
            self._look_for_doubt(fresh, last, before[0].mapping)
        if last is not None and last.observed != observed:
            self._forget_mapping(socket, last.observed, now)
        if last is None or last.observed != observed:
            self._note_port(fresh)
        self._observations[socket, destination] = fresh
        self._keeps = self._keeps or self._is_kept(fresh)
        self._report = None
        self._settle_doubt(fresh, before[0].mapping)
        self._forget(now)
        self._settle(now)
        self.ports.plan_survey(self.report(), now)
        changed = before != (self.report(), self.observed())
        self.has_changed = self.has_changed or changed
        return changed

    def observe_by_peer(
        self, socket: SocketId, peer: Address, observed: Address, now: float
    ) -> bool:
        """Take a peer's word; True if the report changed by it."""
        seen = self._main_views()
        ours = {view.observed.host for view in seen}
        if peer.host in ours | {view.destination.host for view in seen}:
            return False
        if observed.host not in ours:
            return False
        before = self.report()
        self._echoes.pop((socket, peer), None)
        self._echoes[socket, peer] = Observation(socket, peer, observed, now)
        self._report = None
        self._forget_echoes(now)
        changed = before != self.report()
        self.has_changed = self.has_changed or changed
        return changed

    def forget_socket(self, socket: SocketId) -> None:
        self._asked.discard(socket)
        self._report = None
        for table in (self._observations, self._echoes):
            for key in [key for key in table if key[0] == socket]:
                del table[key]

    def take_doubt(self) -> Address | None:
        """The server port whose answer does not fit; None: nothing is to be asked.  Drains."""
        doubted, self._doubted = self._doubted, None
        return doubted

    def take_question(self, socket: SocketId) -> bool:
        """Whether a server should be asked about a socket that a peer has told of, because the
        two together would settle the class; once for each socket.  Drains."""
        report = self.report()
        if socket in self._asked or report.is_hard or not report.may_be_hard:
            return False
        if self._of(socket) or not any(key[0] == socket for key in self._echoes):
            return False
        self._asked.add(socket)
        return True

    def take_survey(self, now: float) -> tuple[SocketId, ...]:
        """Further sockets to ask a server from, to learn the allocation of a hard NAT; once for
        each class, not before `ports.survey_at`.  Drains."""
        return self.ports.take_survey(self.report(), self._local_port, now)

    def take_filter_round(self, now: float) -> SocketId | None:
        """A further socket to ask servers from, to learn whom the NAT lets in; None: not before
        `filters.round_at`.  Drains."""
        return self.filters.take_round(self._local_port, now)

    def conclude_filtering(self, known: Known) -> None:
        """What a round of questions has told."""
        before = self.report()
        self.filters.conclude(known)
        self._report = None
        self.has_changed = self.has_changed or before != self.report()

    # --- what follows from them

    def observed(self, socket: SocketId = MAIN_SOCKET) -> tuple[Address, ...]:
        """How we appear from `socket`: the freshest address of each family, IPv4 first."""
        newest: dict[bool, Address] = {}
        for observation in self._of(socket):
            newest[observation.observed.is_ipv6] = observation.observed
        return tuple(newest[family] for family in sorted(newest))

    def samples(self, limit: int = 3) -> tuple[Address, ...]:
        """How the main socket appeared to the destinations asked last, freshest first."""
        seen = [o.observed for o in self._of(MAIN_SOCKET) if not o.observed.is_ipv6]
        return tuple(dict.fromkeys(reversed(seen)))[:limit]

    def report(self) -> NatReport:
        if self._report is None:
            self._report = self._judge()
        return self._report

    def is_ours(self, host: str) -> bool:
        """Whether nobody stands between us and a server that sees us there."""
        return host in self._local_addresses or ipaddress.ip_address(host).is_loopback

    def is_poisoned(self, lease: Address, fresh: Address) -> bool:
        """Whether a sample taken just now betrays an early-inbound clash on the main socket.

        `lease` is how the server's old flow sees us, `fresh` how a destination does that had
        no flow before.  Tells only on a NAT that keeps our port, or whose earlier samples agreed.
        """
        if lease.host != fresh.host or lease.port == fresh.port:
            return False
        if lease.port == self._local_port:
            return True
        older = [o.observed for o in self._of(MAIN_SOCKET) if o.observed != fresh]
        return len(older) >= 2 and len(set(older)) == 1

    # --- private: judging

    def _judge(self) -> NatReport:
        seen = self._main_views()
        if not seen:
            return NatReport()
        filters = self.filters.known_at(seen[-1].observed.host)
        if all(self.is_ours(view.observed.host) for view in seen):
            confidence = 1.0 - 2.0 ** -len(seen)
            return NatReport(
                Mapping.OPEN,
                filters.filtering,
                confidence=confidence,
                filtering_confidence=filters.confidence,
            )
        rule = self.ports.rule(is_ipv6=seen[0].observed.is_ipv6)
        mapping, confidence = Mapping.UNKNOWN, 0.0
        if len(seen) > 1:
            echoes = self._agreeing_echoes(seen)
            mapping, confidence = likeliest(weigh(seen, echoes, kept=self._keeps))
        return NatReport(
            mapping=mapping,
            filtering=filters.filtering,
            allocation=rule.allocation,
            confidence=confidence,
            stride=rule.stride,
            low=rule.low,
            high=rule.high,
            allocation_confidence=rule.confidence,
            keeps_parity=rule.keeps_parity,
            load_per_s=self.ports.load_per_s,
            taken_ports=self.ports.taken,
            filtering_confidence=filters.confidence,
        )

    def _main_views(self) -> list[View]:
        """What servers said of the main socket, oldest first, of the NAT that is reported."""
        seen = [o.view for o in self._of(MAIN_SOCKET)]
        seen = [view for view in seen if not view.observed.is_ipv6] or seen
        outside = [view for view in seen if not self.is_ours(view.observed.host)]
        return outside or seen

    def _agreeing_echoes(self, seen: list[View]) -> list[bool]:
        """For each peer's host that told of a socket which servers have seen, too: whether they
        agree."""
        told: dict[tuple[SocketId, str], set[Address]] = {}
        for (socket, peer), echo in self._echoes.items():
            if echo.observed.is_ipv6 == seen[0].observed.is_ipv6:
                told.setdefault((socket, peer.host), set()).add(echo.observed)
        agreeing = []
        for (socket, _), observed in told.items():
            by_servers = {o.observed for o in self._of(socket)}
            if by_servers:
                agreeing.append(bool(by_servers & observed))
        return agreeing

    def _is_kept(self, seen: Observation) -> bool:
        return seen.socket == MAIN_SOCKET and seen.observed.port == self._local_port

    def _note_port(self, fresh: Observation) -> None:
        if any(o.observed == fresh.observed for o in self._of(fresh.socket)):
            return  # of a mapping that another destination has shown already
        local_port: int | None = self._local_port
        if fresh.socket != MAIN_SOCKET:
            local_port = int(fresh.socket) if fresh.socket < LOWEST_ANY_PORT_SOCKET else None
        self.ports.add(fresh.socket, local_port, fresh.destination, fresh.observed, fresh.at)

    # --- private: changing one's mind

    def _look_for_doubt(self, fresh: Observation, last: Observation | None, known: Mapping) -> None:
        """Note an answer that the class does not expect, unless it is one of those asked for
        because of such an answer."""
        older = [o for o in self._alike(fresh) if o.at < fresh.at - MOVED_WITHIN_S]
        moved = last is not None and last.observed != fresh.observed and known in _SINGLE
        of_host = [o for o in older if o.destination.host == fresh.destination.host]
        surprises = moved or any(contradicts(known, fresh.view, o.view) for o in of_host)
        spaced = self._doubted_at is None or fresh.at >= self._doubted_at + DOUBT_SPACING_S
        if surprises and spaced:
            self._doubted, self._doubted_at = fresh.destination, fresh.at

    def _settle_doubt(self, fresh: Observation, known: Mapping) -> None:
        """Once enough ports of a host have spoken anew, forget what another class was seen by."""
        if fresh.socket != MAIN_SOCKET:
            return
        since = fresh.at - MOVED_WITHIN_S
        alike = self._alike(fresh)
        older = [o for o in alike if o.at < since]
        anew = [o.view for o in alike if o.at >= since]
        anew = [view for view in anew if view.destination.host == fresh.destination.host]
        if not older or len(anew) < ENOUGH_FRESH:
            return
        mapping, _ = likeliest(weigh(anew, kept=self._keeps))
        if mapping is not known and any(contradicts(known, anew[-1], view) for view in anew[:-1]):
            for observation in older:
                del self._observations[observation.socket, observation.destination]

    def _settle(self, now: float) -> None:
        """Once another class is likely, the ports that came of the former one are no samples."""
        report = self.report()
        if report.mapping is Mapping.UNKNOWN or report.confidence < LIKELY:
            return
        if self._settled not in (Mapping.UNKNOWN, report.mapping):
            since = now - MOVED_WITHIN_S
            self.ports.forget_before(since)
            self.filters.plan(now)
            self._echoes = {key: e for key, e in self._echoes.items() if e.at >= since}
            self._keeps = any(self._is_kept(o) for o in self._of(MAIN_SOCKET))
            self._report = None
        self._settled = report.mapping

    def _alike(self, fresh: Observation) -> list[Observation]:
        """Observations of the same socket and family."""
        family = fresh.observed.is_ipv6
        return [o for o in self._of(fresh.socket) if o.observed.is_ipv6 == family]

    def _forget_mapping(self, socket: SocketId, gone: Address, now: float) -> None:
        """Drop what was seen of a mapping that is gone, if the NAT kept but one per socket."""
        before = [
            key
            for key, o in self._observations.items()
            if key[0] == socket
            and o.observed.is_ipv6 == gone.is_ipv6
            and o.at < now - MOVED_WITHIN_S
        ]
        if all(self._observations[key].observed == gone for key in before):
            for key in before:
                del self._observations[key]

    def _of(self, socket: SocketId) -> list[Observation]:
        return [o for key, o in self._observations.items() if key[0] == socket]

    def _forget(self, now: float) -> None:
        old = now - OBSERVATION_LIFETIME_S
        for key in [key for key, o in self._observations.items() if o.at < old]:
            del self._observations[key]
        while len(self._observations) > MOST_OBSERVATIONS:
            del self._observations[next(iter(self._observations))]
        self._forget_echoes(now)

    def _forget_echoes(self, now: float) -> None:
        old = now - OBSERVATION_LIFETIME_S
        for key in [key for key, echo in self._echoes.items() if echo.at < old]:
            del self._echoes[key]
        while len(self._echoes) > MOST_OBSERVATIONS:
            del self._echoes[next(iter(self._echoes))]


_SINGLE = (Mapping.OPEN, Mapping.INDEPENDENT, Mapping.ADDRESS_DEPENDENT)
"""The classes by which a port of a host never sees us elsewhere than before."""
