"""What an attempt checks: addresses, each from one of our sockets, and the check packets.

    places ─────────────► targets of the attempt's socket ─┐
    rounds ─────────────► targets of agreed ports ─────────┼─► checks ─► budget ─► datagrams
    the peer's checks ──► peer-reflexive targets ──────────┘

Rules:
- Until `full_ttl_at` public addresses get low-TTL openers only.
- We must be able to answer an absent peer when it returns: repeated checks, and checks from agreed
  ports, never touch the reserve of an address's budget.
- Where nobody can guess the other's port, what servers see of it is checked densely once: the pace
  of its host is needed for a port that its router may still map.
- A target of an agreed port outlives its round, because an answer may be on its way.
"""

from collections.abc import Sequence

from natd.core.base.scope import is_private
from natd.core.base.timers import earliest
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Candidate,
    CandidateKind,
    Datagram,
    Mapping,
    NatReport,
    PathKind,
    SocketId,
)
from natd.core.checks.budget import TargetBudget
from natd.core.checks.candidates import path_kind
from natd.core.checks.checks import Checks, Opener
from natd.core.checks.host_proofs import HostProofs
from natd.core.punch.attempt import (
    CHECK_LADDER_S,
    DOUBTFUL_LADDER_S,
    FORWARDED_LADDER_S,
    RETRY_LADDER_S,
    Target,
)
from natd.core.punch.derived_ports import (
    CALL_OPENERS,
    OPENED_AHEAD,
    call_from_agreed_port,
    first_turn,
    in_turn,
    keeps_ports,
    lets_in_at_old_address,
    meet,
    public_places,
)

AGREED_ROUNDS = 6
"""A minute in all: no NAT remembers an early packet for so long.  After it one socket is kept open
for an absent peer, and only while no server answers: two peers that come back at different times
poison each other's mappings again in every minute.  Where a server introduces the two they are both
there, and begin at the same instant: then the same ports are tried again, but not more often than
a NAT needs to forget the last time (`AGREED_AGAIN_S`)."""

AGREED_AGAIN_S = 55.0
"""Later rounds are a minute apart, give or take; and what is spent on a peer behind a firewall that
lets nothing through shall stay small."""

MOST_KEPT = 16
"""Targets from agreed ports that are kept: those of the last two rounds, whose answers may be on
their way."""

MOST_TRIED = 256
"""Addresses remembered as checked before: an absent peer may be introduced at ever new addresses
all day long."""

MOST_HEARD = 8
"""Addresses that are checked only because a check of the peer came from there."""
GIVES_WAY_AFTER_S = 3.0
"""How long nothing was sent to one that then gives way to the next: any answer is back by then."""

TRIGGER_SPACING_S = 0.015
"""A check of the peer triggers one of ours, but not one for each check of a burst."""


class Targets:
    """See the top of this file."""

    def __init__(
        self, checks: Checks, budget: TargetBudget, proofs: HostProofs | None = None
    ) -> None:
        self.socket: SocketId = MAIN_SOCKET
        """Our socket from which added targets are checked."""
        self.full_ttl_at = 0.0
        self.is_hopeless = False
        """Whether a whole round has failed and only a mapped or forwarded port would help."""
        self._checks = checks
        self._budget = budget
        self._proofs = proofs or HostProofs()
        self._targets: dict[tuple[Address, SocketId], Target] = {}
        self._tried: set[tuple[Address, SocketId]] = set()
        self._first_turn = 0  # of the agreed ports
        self._met_again_at = float("-inf")
        self._datagrams: list[Datagram] = []

    # --- inputs

    def forget_tried(self) -> None:
        """Targets that failed before may succeed now: check them like new ones."""
        self.socket = MAIN_SOCKET
        self._tried.clear()

    def begin(
        self,
        places: Sequence[Candidate],
        theirs: NatReport,
        now: float,
        call_at: float | None = None,
    ) -> dict[str, float]:
        """Check these from now on; gives for each host the last instant at which it is still to be
        met from agreed ports.  A call between two of those waits until `call_at`, once: the peer
        may begin only now, and a call before its opener would spoil the pair."""
        if call_at is not None:
            self._put_calls_off(call_at)
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
        """Check these, too; `theirs` is the peer's NAT."""
        for candidate in places:
            key = (candidate.address, self.socket)
            ladder: tuple[float, ...] = CHECK_LADDER_S
            if candidate.kind is CandidateKind.FORWARDED:
                ladder = FORWARDED_LADDER_S
            elif key in self._tried or (
                self.is_hopeless and candidate.kind is CandidateKind.SERVER_REFLEXIVE
            ):
                ladder = RETRY_LADDER_S
            elif theirs.may_be_hard and candidate.kind is CandidateKind.SERVER_REFLEXIVE:
                ladder = DOUBTFUL_LADDER_S
            if key not in self._targets:
                self._targets[key] = Target(candidate, self.socket, ladder, at=now)
            self._tried.add(key)
        if len(self._tried) > MOST_TRIED:
            self._tried = {(place.address, self.socket) for place in places}

    def climb_again(self, now: float) -> None:
        """Begin another round for all targets of the attempt's socket."""
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
        is_introduced: bool = False,
    ) -> None:
        """Meet on ports that no early packet can have poisoned; one of ours in each round.

        `is_alone`: no server will say when to begin; `is_introduced`: the peer begins now, too.
        """
        old = [key for key, target in self._targets.items() if target.socket != self.socket]
        is_late = turn >= AGREED_ROUNDS
        port_turn = self._first_turn + turn
        for key in old if is_late else old[:-MOST_KEPT]:
            del self._targets[key]
        if is_late and not (is_alone or is_introduced):
            return
        ours, theirs = map(keeps_ports, nats)
        for place in public_places(places):
            host = place.address.host
            if theirs and turn and lets_in_at_old_address(nats[0]):
                self._open_to_agreed_ports(host, port_turn, now)
            if ours:
                call = call_from_agreed_port(place, self._checks, port_turn, now)
                self._targets[call.key] = call
            if ours and theirs and (is_introduced or not is_late):
                meeting = meet(host, self._checks, port_turn, now)
                self._targets |= {target.key: target for target in meeting}
                self.rest(host)

    def meet_again(
        self, places: Sequence[Candidate], nats: tuple[NatReport, NatReport], now: float
    ) -> None:
        """Both sides, which have used up their rounds, are introduced once more: main sockets may
        be spoilt for good, as where a path to somebody else keeps the spoilt port alive."""
        if now >= self._met_again_at + AGREED_AGAIN_S:
            self._met_again_at = now
            self.use_agreed_ports(places, nats, AGREED_ROUNDS, now, is_introduced=True)

    def open_to_agreed_ports(
        self, places: Sequence[Candidate], nats: tuple[NatReport, NatReport], now: float
    ) -> None:
        """Open our NAT to the peer's agreed ports before its packets come; `nats` are our report
        and the peer's.  A peer without a NAT has no port that could be spoilt."""
        if nats[1].mapping is Mapping.OPEN:
            return
        if keeps_ports(nats[1]) and lets_in_at_old_address(nats[0]):
            for place in public_places(places):
                self._open_to_agreed_ports(place.address.host, self._first_turn, now)

    def check_received(self, address: Address, socket: SocketId, now: float) -> None:
        """An authentic check of the peer came from `address`: send one there at once."""
        target = self._targets.get((address, socket))
        if target is None:
            if not self._has_room_for_heard(now):
                return
            candidate = Candidate(CandidateKind.PEER_REFLEXIVE, address)
            target = Target(candidate, socket, CHECK_LADDER_S, was_heard=True)
            self._targets[address, socket] = target
        spacing_s = max(TRIGGER_SPACING_S, self._budget.meetings.patience_s)
        if not target.proved and now - target.last_sent >= spacing_s:
            if target.opener is not None:
                target.opener, target.ladder = None, CHECK_LADDER_S
            target.step = min(target.step, 1)
            self._check(target, now, urgent=True)

    def prove(self, address: Address, socket: SocketId) -> Candidate | None:
        """The answered target; None if no answer was awaited any more."""
        target = self._targets.get((address, socket))
        if target is None or target.proved:
            return None
        target.proved, target.at = True, None
        return target.candidate

    def reached(self, address: Address, socket: SocketId) -> None:
        """This path is in use from now on."""
        self._first_turn = first_turn(self._checks, address.port, socket)

    def rest(self, host: str) -> None:
        """Stop checks from the attempt's socket to this host: they have done all they can, and the
        budget is for fresh sockets."""
        for target in self._of_socket():
            if target.candidate.address.host == host:
                target.at = None

    def rest_behind(self, found: Candidate, ours: tuple[Address, ...]) -> None:
        """A path was found there: go on only where a better one may be, or no check went yet."""
        kinds = tuple(PathKind)
        rank = kinds.index(path_kind(found, ours))
        for target in self._targets.values():
            if target.step and kinds.index(path_kind(target.candidate, ours)) >= rank:
                target.at = None

    def pause(self) -> None:
        """Stop checks from the attempt's socket; those from other sockets go on."""
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
        """All sockets that check something, and the attempt's own."""
        return frozenset({self.socket, *(target.socket for target in self._targets.values())})

    # --- private

    def _of_socket(self) -> list[Target]:
        return [target for target in self._targets.values() if target.socket == self.socket]

    def _has_room_for_heard(self, now: float) -> bool:
        heard = [t for t in self._targets.values() if t.was_heard and not t.proved]
        if len(heard) < MOST_HEARD:
            return True
        stalest = min(heard, key=_last_sent)
        if now - stalest.last_sent < GIVES_WAY_AFTER_S:
            return False
        del self._targets[stalest.key]
        return True

    def _put_calls_off(self, call_at: float) -> None:
        for target in self._targets.values():
            is_meeting = target.candidate.kind is CandidateKind.PEER_REFLEXIVE
            is_fresh = target.socket != self.socket and target.step == 0 and not target.put_off
            if is_meeting and is_fresh and target.opener is None and target.at is not None:
                target.at, target.put_off = max(target.at, call_at), True

    def _open_to_agreed_ports(self, host: str, turn: int, now: float) -> None:
        ports = list(zip(self._checks.their_ports, CALL_OPENERS, strict=True))
        for port, opener in in_turn(ports, turn, OPENED_AHEAD):
            self._send(Address(host, port), MAIN_SOCKET, opener, now, urgent=False)

    def _check(self, target: Target, now: float, *, urgent: bool = False) -> None:
        """Send the check that is due; sets the instant of the next."""
        address = target.candidate.address
        early = now < self.full_ttl_at and not is_private(address.host)
        urgent = urgent or target.ladder in (CHECK_LADDER_S, DOUBTFUL_LADDER_S)
        opener = Opener.NEAR if early else target.opener
        self._send(address, target.socket, opener, now, urgent=urgent)
        target.last_sent = now
        if early:
            target.at = self.full_ttl_at
            return
        target.climb(now, self._budget.meetings.patience_s)

    def _send(
        self,
        address: Address,
        socket: SocketId,
        opener: Opener | None,
        now: float,
        *,
        urgent: bool,
    ) -> None:
        if not urgent and not self._budget.can_spare(address, now):
            return
        ttl, is_strict = (None, False) if opener is None else opener.value
        datagram = self._checks.request(address, socket, now, ttl, is_strict=is_strict)
        is_said = self._proofs.are_wanting(address.host, now)
        if self._budget.allow(address, len(datagram.data), now, is_unproved=is_said):
            self._datagrams.append(datagram)


def _last_sent(target: Target) -> float:
    return target.last_sent
