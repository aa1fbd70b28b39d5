"""What our own NAT does, learned from how servers and peers report to see us.

Every answer of a server port is one *observation*: this local socket appears to that destination
at this address.  Ports of one server are different destinations.  So one registration, which asks
four of them at once, shows most of the mapping class in one round trip; a second host shows the
rest (`mapping_class`).  Every new external port is a sample of the allocation (`port_watch`).
The filtering class is learned from fresh sockets (`filtering`), and unknown until then, even where
there is no NAT.

Rules:
- The newest observation of a destination replaces the older one; none is believed for longer
  than `OBSERVATION_LIFETIME_S` while servers answer.  While they are silent, nothing expires.
- On a NAT that kept one mapping per socket, a destination that sees us at another address than
  before shows that the mapping has ended: older observations of it are dropped, because they would
  contradict the new one.
- An answer that contradicts the class is a *doubt*: the owner asks all ports of that server at
  once (`take_doubt`).  If their answers fit another class, everything older is dropped.
- A server that sees us at one of our own addresses proves nothing about a NAT that another server
  has shown.
- Peers may lie.  A peer's report counts only from a host that is neither a server's nor ours, only
  if it names the host at which servers see us, only about a socket that a server has seen, too,
  and never against two servers' hosts.  A port that a peer names is no sample of the allocation.
- IPv4 and IPv6 are two different NATs; the report describes IPv4 if we have seen it.
- *Poisoning*: on a NAT known to keep one mapping per socket, a new destination sees another port
  than the lease's flow.  The old flow lives on, but every new one leaves from the wrong port; only
  a fresh local socket helps.
"""

from dataclasses import replace

from natd.core.base.scope import is_loopback, is_public
from natd.core.base.types import (
    LOWEST_ANY_PORT_SOCKET,
    MAIN_SOCKET,
    Address,
    Mapping,
    NatReport,
    SocketId,
)
from natd.core.nat.answers import Answers
from natd.core.nat.filtering import FilterWatch, Known
from natd.core.nat.lifetime import Lifetimes
from natd.core.nat.mapping_class import View, class_probabilities, contradicts, likeliest
from natd.core.nat.port_watch import PortWatch
from natd.core.nat.sightings import (
    Observation,
    PeerSightings,
    are_several,
    public_first,
    where_seen,
    worth_telling,
)

OBSERVATION_LIFETIME_S = 180.0
"""Longer than the interval at which each sampling port is asked again, shorter than a
common UDP timeout of a carrier NAT (RFC 4787 asks for two minutes at least)."""

MOST_OBSERVATIONS = 64
"""A socket talks to a handful of servers with four ports each; more is not worth the memory."""

MOVED_WITHIN_S = 10.0
"""Answers that show the same move come within this time, because all ports are asked at once."""

DOUBT_SPACING_S = 10.0
"""A server that gives random answers costs us at most one round of samples in this time."""

LIKELY = 0.8
"""A class this probable is acted upon: an independent one shown by a single host is above it, one
that rests on a peer's report is below."""

ENOUGH_FRESH = 3
"""So many fresh answers of one host's ports outweigh all older observations."""


class NatModel:
    """Collects observations and judges them."""

    def __init__(self) -> None:
        self.has_changed = False
        """Whether an observation has changed the report or our addresses; the reader resets it."""
        self.ports = PortWatch()
        """What we know of the ports that it gives out, and when to sample more."""
        self.lifetimes = Lifetimes()
        """How long it keeps a mapping, as learned from our flows."""
        self.answers = Answers()
        self._observations: dict[tuple[SocketId, Address], Observation] = {}
        self._echoes: dict[tuple[SocketId, Address], Observation] = {}  # what peers say
        self._asked: set[SocketId] = set()  # a server was asked after a peer's report
        self.peer_sightings = PeerSightings()
        self.filters = FilterWatch()
        """What we know of the filtering of our NATs, and when to run trials."""
        self._keeps = False  # whether the NAT has kept our port, in this network
        self._settled = Mapping.UNKNOWN  # the last class that was likely
        self._doubted: Address | None = None  # the server port that surprised us; None: none did
        self._doubted_at: float | None = None  # None: nothing ever did
        self._local_addresses: frozenset[str] = frozenset()
        self._local_port = 0
        self._report: NatReport | None = None  # None: to be computed

    # --- inputs

    def set_local_addresses(self, addresses: tuple[str, ...], port: int) -> None:
        """Our interface addresses and the main socket's port.  Another network drops all
        observations."""
        if (frozenset(addresses), port) != (self._local_addresses, self._local_port):
            self.network_changed()
        self._local_addresses = frozenset(addresses)
        self._local_port = port

    def network_changed(self) -> None:
        """We may be behind another NAT: drop all observations."""
        self._observations.clear()
        self._echoes.clear()
        self._asked.clear()
        self.peer_sightings.clear()
        self.ports.clear()
        self.filters.clear()
        self.lifetimes.clear()
        self._keeps = False
        self._settled = Mapping.UNKNOWN
        self._doubted = None
        self._report = None

    def observe(
        self, socket: SocketId, destination: Address, observed: Address, now: float
    ) -> bool:
        """Take a server's observation; True if the report or our addresses changed."""
        self.answers.heard(destination.host, now)
        before = (self.report(), self.observed(), self.worth_telling())
        last = self._observations.pop((socket, destination), None)
        stays = last if last is not None and last.observed.host == observed.host else None
        since = now if stays is None else stays.since
        fresh = Observation(socket, destination, observed, now, since)
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
        changed = before != (self.report(), self.observed(), self.worth_telling())
        self.has_changed = self.has_changed or changed
        return changed

    def observe_by_peer(
        self, socket: SocketId, peer: Address, observed: Address, now: float
    ) -> bool:
        """Take a peer's observation; True if the report or our addresses changed."""
        if self.peer_sightings.is_news(socket, peer, observed, now):
            told = self.worth_telling()
            self.peer_sightings.tell(peer, observed, now)
            self.has_changed = self.has_changed or told != self.worth_telling()
        key = (socket, peer)
        if key in self._echoes and self._echoes[key].observed == observed:
            self._echoes[key] = replace(self._echoes.pop(key), at=now)
            return False
        seen = self._main_views()
        ours = {view.observed.host for view in seen}
        theirs = {view.destination.host for view in seen}
        if peer.host in ours | theirs or observed.host not in ours:
            return False
        before = self.report()
        self._echoes.pop(key, None)
        self._echoes[key] = Observation(socket, peer, observed, now, now)
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
        """The server port whose answer contradicts the class; None: no doubt.  Drains."""
        doubted, self._doubted = self._doubted, None
        return doubted

    def take_question(self, socket: SocketId) -> bool:
        """Whether to ask a server about a socket that a peer has reported, because both together
        would settle the class; once for each socket.  Drains."""
        report = self.report()
        if socket in self._asked or report.is_hard or not report.may_be_hard:
            return False
        if self._of(socket) or not any(key[0] == socket for key in self._echoes):
            return False
        self._asked.add(socket)
        return True

    def take_survey(self, now: float) -> tuple[SocketId, ...]:
        """The sockets of a survey of a hard NAT's allocation; once for each class, not before
        `ports.survey_at`.  Drains."""
        return self.ports.take_survey(self.report(), self._local_port, now)

    def take_filter_round(self, now: float) -> SocketId | None:
        """A fresh socket for a round of filter trials; None: not before `filters.round_at`.
        Drains."""
        return self.filters.take_round(self._local_port, now)

    def conclude_filtering(self, known: Known) -> None:
        """The result of a round of filter trials."""
        before = self.report()
        self.filters.conclude(known)
        self._report = None
        self.has_changed = self.has_changed or before != self.report()

    # --- outputs

    def observed(self, socket: SocketId = MAIN_SOCKET) -> tuple[Address, ...]:
        """How we appear from `socket` to servers: one address for each host, IPv4 first."""
        return where_seen(self._of(socket))

    @property
    def inside(self) -> frozenset[str]:
        """The hosts at which servers see us that mean nothing elsewhere."""
        hosts = {o.observed.host for o in self._of(MAIN_SOCKET)}
        return frozenset(host for host in hosts if not is_public(host))

    def worth_telling(self) -> tuple[Address, ...]:
        """Public addresses of ours that peers may not hear of from a server."""
        return worth_telling(self._of(MAIN_SOCKET), self.peer_sightings.places)

    def samples(self, limit: int = 3) -> tuple[Address, ...]:
        """How the main socket appeared to the latest destinations, freshest first."""
        seen = public_first([o for o in self._of(MAIN_SOCKET) if not o.observed.is_ipv6])
        return tuple(dict.fromkeys(o.observed for o in reversed(seen)))[:limit]

    @property
    def has_address_pool(self) -> bool:
        """Whether it shows our main socket at several IPv4 addresses."""
        return sum(not address.is_ipv6 for address in self.observed()) > 1

    @property
    def is_seen_at_several(self) -> bool:
        """The same beyond doubt, for people: no move of ours explains it."""
        return are_several(self._of(MAIN_SOCKET))

    def report(self) -> NatReport:
        if self._report is None:
            self._report = self._judge()
        return self._report

    def is_ours(self, host: str) -> bool:
        """Whether no NAT is between us and a server that sees us at this address."""
        return host in self._local_addresses or is_loopback(host)

    def is_poisoned(self, lease: Address, fresh: Address) -> bool:
        """Whether a new sample shows that an early inbound packet has poisoned the main socket.

        `lease` is our address on the server's old flow, `fresh` our address at a destination that
        had no flow before.  Only meaningful on a NAT that keeps our port, or whose earlier samples
        agreed.
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
            mapping, confidence = likeliest(class_probabilities(seen, echoes, kept=self._keeps))
        if mapping is Mapping.INDEPENDENT:
            rule = self.ports.rule_of_sockets(rule, is_ipv6=seen[0].observed.is_ipv6)
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
        """How servers see the main socket, oldest first, for the NAT that the report describes."""
        seen = self._of(MAIN_SOCKET)
        seen = public_first([o for o in seen if not o.observed.is_ipv6] or seen)
        outside = [o.view for o in seen if not self.is_ours(o.observed.host)]
        return outside or [o.view for o in seen]

    def _agreeing_echoes(self, seen: list[View]) -> list[bool]:
        """For each peer's host that reported a socket which servers have seen, too: whether they
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
            return  # the same mapping as another destination has shown
        local_port: int | None = self._local_port
        if fresh.socket != MAIN_SOCKET:
            local_port = int(fresh.socket) if fresh.socket < LOWEST_ANY_PORT_SOCKET else None
        self.ports.add(fresh.socket, local_port, fresh.destination, fresh.observed, fresh.at)

    # --- private: revising the class

    def _look_for_doubt(self, fresh: Observation, last: Observation | None, known: Mapping) -> None:
        """Note an answer that contradicts the class, unless we asked for it because of a doubt."""
        older = [o for o in self._alike(fresh) if o.at < fresh.at - MOVED_WITHIN_S]
        moved = last is not None and last.observed != fresh.observed and known in _SINGLE
        of_host = [o for o in older if o.destination.host == fresh.destination.host]
        surprises = moved or any(contradicts(known, fresh.view, o.view) for o in of_host)
        spaced = self._doubted_at is None or fresh.at >= self._doubted_at + DOUBT_SPACING_S
        if surprises and spaced:
            self._doubted, self._doubted_at = fresh.destination, fresh.at

    def _settle_doubt(self, fresh: Observation, known: Mapping) -> None:
        """Once enough ports of a host have answered again, forget observations of another class."""
        if fresh.socket != MAIN_SOCKET:
            return
        since = fresh.at - MOVED_WITHIN_S
        alike = self._alike(fresh)
        older = [o for o in alike if o.at < since]
        anew = [o.view for o in alike if o.at >= since]
        anew = [view for view in anew if view.destination.host == fresh.destination.host]
        if not older or len(anew) < ENOUGH_FRESH:
            return
        mapping, _ = likeliest(class_probabilities(anew, kept=self._keeps))
        if mapping is not known and any(contradicts(known, anew[-1], view) for view in anew[:-1]):
            for observation in older:
                del self._observations[observation.socket, observation.destination]

    def _settle(self, now: float) -> None:
        """Once another class is likely, ports seen under the former one are no samples."""
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
        """Drop observations of an ended mapping, if the NAT kept one mapping per socket."""
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
"""The classes under which all ports of one host see us at the same address."""
