"""Opening a direct path to one peer.

Both sides are introduced at the same instant and check every address the other may have, on a
ladder that is dense at first, so that each NAT sees an outgoing datagram before the other
side's arrives.  The first authenticated answer decides; a later one only ever adds a path.

An attempt is a row of rounds:

    start ─► ladder ─► wait ─► sample ─► introduce again ─► ladder ─► wait ─► …
                                 │
                                 └─ poisoned: fresh socket, sample it

Rules:
- While `start_in` runs, the nearer side sends low-TTL openers only: they open its own NAT and
  do not reach the other, whose NAT would record the early packet as a flow of its own and then
  map the real one to another port (*early-inbound poisoning*).
- A poisoned socket is not repaired but replaced.  Behind a NAT that keeps ports both sides know
  the other's next ones from the pair's keys, so no server is needed: each sends checks from its
  own agreed port to the other's old address, and low-TTL openers, earlier and alone, from its
  main socket towards the other's agreed ports as the attempt begins: a check that came before
  them would spoil those, too.  Elsewhere nothing is sent to the peer from the fresh socket
  until a server has seen it and has introduced both sides again.
- Behind a NAT that counts its ports up, the peer can only guess the next one from a sample that
  was taken just now: each round has a fresh socket, sampled before anything else is sent from it,
  and at once where the peer has just been sampled (`ways`).
- Whoever is absent must find us able to answer when it returns: what is checked again, and what
  agreed ports cost, never touches the reserve of an address' budget.
- After `VERDICT_AFTER_S` without a path the attempt says so, once, and goes on quietly.
"""

from collections import deque
from collections.abc import Iterable
from random import Random

from natd.core.agreed import call_from_agreed_port, keeps_ports, meet, public_places
from natd.core.candidates import TargetBudget, is_private, path_kind
from natd.core.checks import LOW_TTL, Answered, Checks
from natd.core.ladder import (
    CHECK_LADDER_S,
    DOUBTFUL_LADDER_S,
    FORWARDED_LADDER_S,
    RETRY_LADDER_S,
    Target,
)
from natd.core.punch_events import (
    AttemptFailed,
    FreshSocketWanted,
    IntroductionWanted,
    PathFound,
    PunchEvent,
    SampleWanted,
)
from natd.core.rounds import Attempt, wait_s
from natd.core.schedule import earliest
from natd.core.types import (
    MAIN_SOCKET,
    Address,
    Allocation,
    Candidate,
    CandidateKind,
    Datagram,
    NatReport,
    SocketId,
)

AGREED_ROUNDS = 6
"""A minute in all.  No NAT remembers an early packet for so long, and sockets are not kept open
for somebody who is away."""

MOST_KEPT = 16
"""Of the targets of agreed ports, those of the last two rounds, for which an answer may be on
its way."""

MOST_TRIED = 256
"""Places that are remembered as checked before: somebody may introduce an absent peer at ever new
ones, all day long."""

UNKNOWN_RTT_S = 0.2
SAMPLE_PATIENCE_S = 1.0
INTRODUCTION_PATIENCE_S = 0.5
"""How long a server may take before the round goes on without its help."""

MOST_PEER_REFLEXIVE = 8
TRIGGER_SPACING_S = 0.015
"""A check of the peer's triggers one of ours, but not one for each of a burst."""


class Punch:
    """One peer's attempts, one after the other."""

    def __init__(self, checks: Checks, budget: TargetBudget, random: Random) -> None:
        self._checks = checks
        self._budget = budget
        self._random = random
        self._socket = MAIN_SOCKET
        self._places: tuple[Candidate, ...] = ()
        self._tried: set[tuple[Address, SocketId]] = set()
        self._targets: dict[tuple[Address, SocketId], Target] = {}
        self._attempt: Attempt | None = None  # None: nothing is being tried
        self._nats = (NatReport(), NatReport())
        self._ours: tuple[Address, ...] = ()
        self._rtt_s = UNKNOWN_RTT_S
        self._datagrams: list[Datagram] = []
        self._events: deque[PunchEvent] = deque()

    # --- inputs

    def start(
        self,
        targets: Iterable[Candidate],
        *,
        ours: tuple[Address, ...],
        nats: tuple[NatReport, NatReport],
        start_in_s: float,
        rtt_s: float | None,
        fresh: bool,
        now: float,
    ) -> None:
        """Begin a round towards `targets`, best first; `nats` are our report and the peer's.

        `fresh`: something has changed, so that what failed before may succeed at once.
        """
        before = self._attempt if self.active else None
        if before is not None and not fresh and self._awaits_fresh_socket(before):
            self._places, self._nats, self._ours = tuple(targets), nats, ours
            return
        self._attempt = attempt = Attempt(began=now, full_ttl_at=now + start_in_s)
        if before is not None:
            attempt.began, attempt.judged = before.began, before.judged
            attempt.heard = before.heard
        if before is not None and not fresh:
            attempt.round = before.round + before.asked
        else:
            self._socket = MAIN_SOCKET
            self._tried.clear()
        self._nats, self._ours = nats, ours
        self._rtt_s = rtt_s or UNKNOWN_RTT_S
        others = {key: t for key, t in self._targets.items() if t.socket != self._socket}
        self._places = tuple(targets)
        if before is None and keeps_ports(self._nats[1]):
            for place in public_places(self._places):
                self._open_to_agreed_ports(place.address.host, now)
        self._targets.clear()
        self._add_targets(now)
        hosts = {place.address.host for place in self._places}
        kept = [(key, t) for key, t in others.items() if key[0].host in hosts][-MOST_KEPT:]
        self._targets |= dict(kept)
        attempt.escalate_at = attempt.full_ttl_at + wait_s(attempt.round, self._rtt_s, self._random)
        if before is not None and not fresh and not before.asked:
            # Introduced twice in one round: the other side may count from the first word.
            attempt.escalate_at = earliest(attempt.escalate_at, before.escalate_at)
        meeting = [(key[0].host, t.at) for key, t in kept if t.at is not None]
        if meeting and before is not None and not fresh:
            last_at = max(at for _, at in meeting)
            attempt.escalate_at = last_at + wait_s(attempt.round, self._rtt_s, self._random)
            for host in dict.fromkeys(host for host, _ in meeting):
                self._rest(host)
        self.handle_timer(now)

    def add(self, targets: Iterable[Candidate], now: float) -> None:
        """Further addresses have become known while the attempt runs."""
        self._places = tuple(dict.fromkeys((*self._places, *targets)))
        self._add_targets(now)
        self.handle_timer(now)

    def sample_now(self, now: float) -> None:
        """The peer has just been sampled: the round waits for nothing any more."""
        if self._attempt is not None and self._attempt.escalate_at is not None:
            self._attempt.escalate_at = now
            self.handle_timer(now)

    def learn_rtt(self, rtt_s: float | None) -> None:
        """What a newcomer learns of its server while its first checks are on their way."""
        attempt = self._attempt
        if rtt_s is None or attempt is None or attempt.round or attempt.escalate_at is None:
            return
        self._rtt_s = rtt_s
        sooner = attempt.full_ttl_at + wait_s(0, rtt_s, self._random)
        attempt.escalate_at = min(attempt.escalate_at, sooner)

    def check_received(self, address: Address, socket: SocketId, now: float) -> None:
        """A valid check of the peer's came from `address`: worth one of ours at once."""
        if self._attempt is None:
            return
        self._attempt.heard = True
        target = self._targets.get((address, socket))
        if target is None:
            reflexive = [
                t
                for t in self._targets.values()
                if t.candidate.kind is CandidateKind.PEER_REFLEXIVE
            ]
            if len(reflexive) >= MOST_PEER_REFLEXIVE:
                return
            reflexive_candidate = Candidate(CandidateKind.PEER_REFLEXIVE, address)
            target = Target(reflexive_candidate, socket, CHECK_LADDER_S)
            self._targets[address, socket] = target
        if not target.proved and now - target.last_sent >= TRIGGER_SPACING_S:
            if target.ttl is not None:
                target.ttl, target.ladder = None, CHECK_LADDER_S
            target.step = min(target.step, 1)
            self._check(target, now, urgent=True)

    def check_answered(self, answered: Answered, now: float) -> None:
        target = self._targets.get((answered.address, answered.socket))
        if self._attempt is None or target is None or target.proved:
            return
        target.proved = True
        target.at = None
        technique = "re-roll" if answered.socket != MAIN_SOCKET else "simultaneous-open"
        self._events.append(
            PathFound(
                answered.address,
                answered.socket,
                path_kind(target.candidate, self._ours),
                technique,
                answered.rtt_s,
                answered.mapped,
            )
        )
        self.settle()

    def sampled(self, socket: SocketId, observed: Address, *, poisoned: bool, now: float) -> None:
        """A server port without a flow saw `socket` as `observed`."""
        attempt = self._attempt
        if attempt is None or attempt.sample_by is None or socket != self._socket:
            return
        attempt.sample_by = None
        attempt.unanswered = 0
        if poisoned:
            self._pause()
            self._events.append(FreshSocketWanted())
        else:
            self._introduce((observed,), now)

    def use_socket(self, socket: SocketId, now: float) -> None:
        """The owner's answer to `FreshSocketWanted`."""
        if self._attempt is not None and self.active:
            self._socket = socket
            self._attempt.sample_by = now + SAMPLE_PATIENCE_S
            self._events.append(SampleWanted(socket))

    def is_checking(self, address: Address, socket: SocketId) -> bool:
        """Whether this is a target of the attempt's own."""
        return (address, socket) in self._targets

    def settle(self) -> None:
        """A path stands: the ladder that is being climbed may still find a better one, but
        nothing further is tried."""
        if self._attempt is not None:
            self._attempt.settled = True
            self._attempt.escalate_at = self._attempt.sample_by = self._attempt.retry_at = None

    def stop(self) -> None:
        """The peer is gone, or not wanted: nothing more is sent to it."""
        self._attempt = None
        self._places = ()
        self._targets.clear()

    @property
    def active(self) -> bool:
        """Whether a path is still being looked for."""
        return self._attempt is not None and not self._attempt.settled

    @property
    def is_alone(self) -> bool:
        """Whether this attempt goes on without a server's help."""
        return self._attempt is not None and self._attempt.is_alone

    @property
    def has_failed_before(self) -> bool:
        """Whether a whole round of this attempt has found no path."""
        return self._attempt is not None and self._attempt.round > 0

    @property
    def socket(self) -> SocketId:
        return self._socket

    @property
    def sockets(self) -> frozenset[SocketId]:
        """All that the attempt uses."""
        return frozenset({self._socket, *(target.socket for target in self._targets.values())})

    @property
    def targets(self) -> tuple[Candidate, ...]:
        """The addresses that the attempt is about, best first."""
        return self._places

    def handle_timer(self, now: float) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        if attempt.retry_at is not None and attempt.retry_at <= now:
            self._begin_round(now)
        for target in tuple(self._targets.values()):
            if target.at is not None and target.at <= now:
                self._check(target, now)
        if attempt.escalate_at is not None and attempt.escalate_at <= now:
            attempt.escalate_at = None
            attempt.sample_by = now + SAMPLE_PATIENCE_S
            if self._nats[0].allocation is Allocation.SEQUENTIAL:
                self._pause()
                self._events.append(FreshSocketWanted())
            else:
                self._events.append(SampleWanted(self._socket))
                self._use_agreed_ports(now)
        if attempt.sample_by is not None and attempt.sample_by <= now:
            attempt.sample_by = None
            attempt.unanswered += 1
            self._introduce((), now)
        if attempt.judge_at is not None and attempt.judge_at <= now:
            attempt.judged = True
            self._events.append(AttemptFailed(attempt.heard))

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def next_event(self) -> PunchEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        attempt = self._attempt
        if attempt is None:
            return None
        return earliest(
            attempt.escalate_at,
            attempt.sample_by,
            attempt.retry_at,
            attempt.judge_at,
            *(target.at for target in self._targets.values()),
        )

    # --- private

    def _awaits_fresh_socket(self, attempt: Attempt) -> bool:
        """Whether a socket is about to be sampled from which nothing else may be sent before:
        the introduction that follows begins the round."""
        return attempt.sample_by is not None and self._nats[0].allocation is Allocation.SEQUENTIAL

    def _check(self, target: Target, now: float, *, urgent: bool = False) -> None:
        """Send the check that is due, and set the instant of the next."""
        assert self._attempt is not None
        address = target.candidate.address
        early = now < self._attempt.full_ttl_at and not is_private(address.host)
        urgent = urgent or target.ladder in (CHECK_LADDER_S, DOUBTFUL_LADDER_S)
        ttl = LOW_TTL if early else target.ttl
        self._send(address, target.socket, ttl, now, urgent=urgent)
        target.last_sent = now
        if early:
            target.at = self._attempt.full_ttl_at
            return
        target.climb(now)

    def _add_targets(self, now: float) -> None:
        for candidate in self._places:
            key = (candidate.address, self._socket)
            ladder: tuple[float, ...] = CHECK_LADDER_S
            if candidate.kind is CandidateKind.FORWARDED:
                ladder = FORWARDED_LADDER_S
            elif key in self._tried:
                ladder = RETRY_LADDER_S
            elif self._nats[1].may_be_hard and candidate.kind is CandidateKind.SERVER_REFLEXIVE:
                ladder = DOUBTFUL_LADDER_S
            if key not in self._targets:
                self._targets[key] = Target(candidate, self._socket, ladder, at=now)
            self._tried.add(key)
        if len(self._tried) > MOST_TRIED:
            self._tried = {(place.address, self._socket) for place in self._places}

    def _use_agreed_ports(self, now: float) -> None:
        """Meet on ports that no early packet can have spoilt; one of ours in each round."""
        assert self._attempt is not None
        turn = self._attempt.round
        old = [key for key, target in self._targets.items() if target.socket != self._socket]
        for key in old[:-MOST_KEPT] if turn < AGREED_ROUNDS else old:
            del self._targets[key]
        if turn >= AGREED_ROUNDS:
            return
        ours, theirs = map(keeps_ports, self._nats)
        for place in public_places(self._places):
            host = place.address.host
            if theirs and turn:
                self._open_to_agreed_ports(host, now)
            if ours:
                call = call_from_agreed_port(place, self._checks, turn, now)
                self._targets[call.key] = call
            if ours and theirs:
                meeting = meet(host, self._checks, turn, now)
                self._targets |= {target.key: target for target in meeting}
                self._rest(host)

    def _open_to_agreed_ports(self, host: str, now: float) -> None:
        for port in self._checks.their_ports:
            self._send(Address(host, port), MAIN_SOCKET, LOW_TTL, now, urgent=False)

    def _rest(self, host: str) -> None:
        """What the main socket could do there it has done: the budget of a second is for the
        fresh ones."""
        for target in self._targets.values():
            if target.socket == self._socket and target.candidate.address.host == host:
                target.at = None

    def _send(
        self, address: Address, socket: SocketId, ttl: int | None, now: float, *, urgent: bool
    ) -> None:
        if not urgent and not self._budget.can_spare(address, now):
            return
        datagram = self._checks.request(address, socket, now, ttl=ttl)
        if self._budget.allow(address, len(datagram.data), now):
            self._datagrams.append(datagram)

    def _introduce(self, samples: tuple[Address, ...], now: float) -> None:
        """Ask for another introduction; without one the ladder is climbed again by itself."""
        assert self._attempt is not None
        self._attempt.asked = True
        self._attempt.retry_at = now + INTRODUCTION_PATIENCE_S
        self._events.append(IntroductionWanted(samples))

    def _begin_round(self, now: float) -> None:
        attempt = self._attempt
        assert attempt is not None
        attempt.round += 1
        attempt.asked, attempt.retry_at = False, None
        attempt.escalate_at = now + wait_s(attempt.round, self._rtt_s, self._random)
        self._add_targets(now)
        for target in self._targets.values():
            if target.socket == self._socket:
                if target.ladder is not FORWARDED_LADDER_S:
                    target.ladder = RETRY_LADDER_S
                target.step, target.at = 0, now

    def _pause(self) -> None:
        """What goes on from other sockets is not spoilt by what this one has suffered."""
        for target in self._targets.values():
            if target.socket == self._socket:
                target.at = None
