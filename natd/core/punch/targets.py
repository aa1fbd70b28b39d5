"""What an attempt checks: addresses, each from one of our sockets, and the packets that it takes.

    places ─────────────► targets of the attempt's socket ─┐
    rounds ─────────────► targets of agreed ports ─────────┼─► checks ─► budget ─► datagrams
    the peer's checks ──► peer-reflexive targets ──────────┘

Rules:
- Until `full_ttl_at` public addresses get low-TTL openers only.
- We must be able to answer an absent peer when it returns: what is checked again, and what agreed
  ports cost, never touches the reserve of an address' budget.
- A target of an agreed port outlives its round, for an answer may be on its way.
"""

from collections.abc import Sequence

from natd.core.base.timers import earliest
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Candidate,
    CandidateKind,
    Datagram,
    NatReport,
    SocketId,
)
from natd.core.checks.budget import TargetBudget
from natd.core.checks.candidates import is_private
from natd.core.checks.checks import LOW_TTL, Checks
from natd.core.punch.attempt import (
    CHECK_LADDER_S,
    DOUBTFUL_LADDER_S,
    FORWARDED_LADDER_S,
    RETRY_LADDER_S,
    Target,
)
from natd.core.punch.derived_ports import (
    call_from_agreed_port,
    keeps_ports,
    lets_in_at_old_address,
    meet,
    public_places,
)

AGREED_ROUNDS = 6
"""A minute in all.  No NAT remembers an early packet for so long, and but one socket is kept open
for somebody who is away, and that only while no server answers: two who come back to the old
addresses at instants of their own are each the other's early packet, every minute anew."""

MOST_KEPT = 16
"""Of the targets from agreed ports, those of the last two rounds, for which an answer may be on
its way."""

MOST_TRIED = 256
"""Places that are remembered as checked before: somebody may introduce an absent peer at ever new
ones, all day long."""

MOST_PEER_REFLEXIVE = 8
TRIGGER_SPACING_S = 0.015
"""A check of the peer's triggers one of ours, but not one for each of a burst."""


class Targets:
    """See the top of this file."""

    def __init__(self, checks: Checks, budget: TargetBudget) -> None:
        self.socket: SocketId = MAIN_SOCKET
        """Of ours, that what is added is checked from."""
        self.full_ttl_at = 0.0
        self._checks = checks
        self._budget = budget
        self._targets: dict[tuple[Address, SocketId], Target] = {}
        self._tried: set[tuple[Address, SocketId]] = set()
        self._datagrams: list[Datagram] = []

    # --- inputs

    def forget_tried(self) -> None:
        """What failed before may succeed."""
        self.socket = MAIN_SOCKET
        self._tried.clear()

    def begin(self, places: Sequence[Candidate], theirs: NatReport, now: float) -> dict[str, float]:
        """Check these from now on; gives the instants of what is still to be met there from
        agreed ports, the last for each host."""
        kept = {key: t for key, t in self._targets.items() if t.socket != self.socket}
        self._targets.clear()
        self.add(places, theirs, now)
        hosts = {place.address.host for place in places}
        kept = dict([(key, t) for key, t in kept.items() if key[0].host in hosts][-MOST_KEPT:])
        self._targets |= kept
        meetings: dict[str, float] = {}
        for (address, _), target in kept.items():
            if target.at is not None:
                meetings[address.host] = max(target.at, meetings.get(address.host, target.at))
        return meetings

    def add(self, places: Sequence[Candidate], theirs: NatReport, now: float) -> None:
        """Check these, too; `theirs` is the NAT that the peer is behind."""
        for candidate in places:
            key = (candidate.address, self.socket)
            ladder: tuple[float, ...] = CHECK_LADDER_S
            if candidate.kind is CandidateKind.FORWARDED:
                ladder = FORWARDED_LADDER_S
            elif key in self._tried:
                ladder = RETRY_LADDER_S
            elif theirs.may_be_hard and candidate.kind is CandidateKind.SERVER_REFLEXIVE:
                ladder = DOUBTFUL_LADDER_S
            if key not in self._targets:
                self._targets[key] = Target(candidate, self.socket, ladder, at=now)
            self._tried.add(key)
        if len(self._tried) > MOST_TRIED:
            self._tried = {(place.address, self.socket) for place in places}

    def climb_again(self, now: float) -> None:
        """Another round begins for what is checked from the attempt's socket."""
        for target in self._of_socket():
            if target.ladder is not FORWARDED_LADDER_S:
                target.ladder = RETRY_LADDER_S
            target.step, target.at = 0, now

    def use_agreed_ports(
        self,
        places: Sequence[Candidate],
        nats: tuple[NatReport, NatReport],
        turn: int,
        now: float,
        *,
        is_alone: bool = False,
    ) -> None:
        """Meet on ports that no early packet can have spoilt; one of ours in each round.

        `is_alone`: no server will say when to begin.
        """
        old = [key for key, target in self._targets.items() if target.socket != self.socket]
        is_late = turn >= AGREED_ROUNDS
        for key in old if is_late else old[:-MOST_KEPT]:
            del self._targets[key]
        if is_late and not is_alone:
            return
        ours, theirs = map(keeps_ports, nats)
        for place in public_places(places):
            host = place.address.host
            if theirs and turn and lets_in_at_old_address(nats[0]):
                self._open_to_agreed_ports(host, now)
            if ours:
                call = call_from_agreed_port(place, self._checks, turn, now)
                self._targets[call.key] = call
            if ours and theirs and not is_late:
                meeting = meet(host, self._checks, turn, now)
                self._targets |= {target.key: target for target in meeting}
                self.rest(host)

    def open_to_agreed_ports(
        self, places: Sequence[Candidate], nats: tuple[NatReport, NatReport], now: float
    ) -> None:
        """Let in what the peer sends from its agreed ports, before anything of it comes; `nats`
        are our report and the peer's."""
        if keeps_ports(nats[1]) and lets_in_at_old_address(nats[0]):
            for place in public_places(places):
                self._open_to_agreed_ports(place.address.host, now)

    def check_received(self, address: Address, socket: SocketId, now: float) -> None:
        """A valid check of the peer's came from `address`: worth one of ours at once."""
        target = self._targets.get((address, socket))
        if target is None:
            kinds = [t.candidate.kind for t in self._targets.values()]
            if kinds.count(CandidateKind.PEER_REFLEXIVE) >= MOST_PEER_REFLEXIVE:
                return
            candidate = Candidate(CandidateKind.PEER_REFLEXIVE, address)
            target = Target(candidate, socket, CHECK_LADDER_S)
            self._targets[address, socket] = target
        if not target.proved and now - target.last_sent >= TRIGGER_SPACING_S:
            if target.ttl is not None:
                target.ttl, target.ladder = None, CHECK_LADDER_S
            target.step = min(target.step, 1)
            self._check(target, now, urgent=True)

    def prove(self, address: Address, socket: SocketId) -> Candidate | None:
        """A check to there was answered; None where none was awaited any more."""
        target = self._targets.get((address, socket))
        if target is None or target.proved:
            return None
        target.proved, target.at = True, None
        return target.candidate

    def rest(self, host: str) -> None:
        """What the attempt's socket could do there it has done: the budget of a second is for the
        fresh ones."""
        for target in self._of_socket():
            if target.candidate.address.host == host:
                target.at = None

    def pause(self) -> None:
        """What goes on from other sockets is not spoilt by what this one has suffered."""
        for target in self._of_socket():
            target.at = None

    def clear(self) -> None:
        self._targets.clear()

    def handle_timer(self, now: float) -> None:
        for target in tuple(self._targets.values()):
            if target.at is not None and target.at <= now:
                self._check(target, now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def get_timer(self) -> float | None:
        return earliest(*(target.at for target in self._targets.values()))

    def __contains__(self, key: tuple[Address, SocketId]) -> bool:
        """Whether this address is checked from this socket."""
        return key in self._targets

    @property
    def sockets(self) -> frozenset[SocketId]:
        """All that something is checked from, and the attempt's own."""
        return frozenset({self.socket, *(target.socket for target in self._targets.values())})

    # --- private

    def _of_socket(self) -> list[Target]:
        return [target for target in self._targets.values() if target.socket == self.socket]

    def _open_to_agreed_ports(self, host: str, now: float) -> None:
        for port in self._checks.their_ports:
            self._send(Address(host, port), MAIN_SOCKET, LOW_TTL, now, urgent=False)

    def _check(self, target: Target, now: float, *, urgent: bool = False) -> None:
        """Send the check that is due, and set the instant of the next."""
        address = target.candidate.address
        early = now < self.full_ttl_at and not is_private(address.host)
        urgent = urgent or target.ladder in (CHECK_LADDER_S, DOUBTFUL_LADDER_S)
        ttl = LOW_TTL if early else target.ttl
        self._send(address, target.socket, ttl, now, urgent=urgent)
        target.last_sent = now
        if early:
            target.at = self.full_ttl_at
            return
        target.climb(now)

    def _send(
        self, address: Address, socket: SocketId, ttl: int | None, now: float, *, urgent: bool
    ) -> None:
        if not urgent and not self._budget.can_spare(address, now):
            return
        datagram = self._checks.request(address, socket, now, ttl=ttl)
        if self._budget.allow(address, len(datagram.data), now):
            self._datagrams.append(datagram)
