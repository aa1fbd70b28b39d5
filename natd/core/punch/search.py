"""Looking for a path to one peer: plain checks, and what is tried where they can't but fail.

    whereabouts   which addresses to try
    punch         the checks, round by round
    escalation    guesses within a larger budget, when checks have failed

Rules:
- Nothing is guessed while a path stands that answers, but for its successor, when the mapping of
  one end will end (`succeed`): for what must be found then, less is left to chance.
- What a search finds names the technique that it owes to; whoever owns the search keeps the path.
"""

from collections import deque
from random import Random

from natd.core.base.surroundings import Surroundings
from natd.core.base.timers import earliest
from natd.core.base.types import Address, Allocation, Candidate, Datagram, SocketId
from natd.core.base.wishes import IntroductionWanted, SampleWanted
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import Answered, Checks
from natd.core.codec import stun
from natd.core.prediction.anchors import anchors_in
from natd.core.prediction.escalation import Escalation
from natd.core.prediction.samples import Guesses, Step, Way
from natd.core.prediction.strategy import FOUND, Situation, hard_to_find
from natd.core.punch.events import PathFound, PunchEvent
from natd.core.punch.first_flight import worth_checking
from natd.core.punch.punch import Punch
from natd.core.punch.remote_candidates import Whereabouts
from natd.core.punch.reported_addresses import Source

LATE_S = 30.0
"""A peer not reached after this long is shown as offline, although attempts go on."""


class Search:
    """See the top of this file."""

    def __init__(
        self, checks: Checks, budget: TargetBudget, transaction_prefix: bytes, random: Random
    ) -> None:
        self.whereabouts = Whereabouts()
        self.last: Address | None = None
        """Where the path in use leads, or None."""
        self.has_path = False
        """Whether that one answers."""
        self._checks = checks
        self._budget = budget
        self._punch = Punch(checks, budget, random)
        self._escalation = Escalation(checks, budget.turns, transaction_prefix, random)
        self._succession = Escalation(checks, budget.turns, transaction_prefix, random)
        self._guesses = Guesses()
        self._began = 0.0  # when the round did in which the peer opens its NAT to us
        # When the attempt to reach the peer began; None: reached, or never tried.
        self._since: float | None = None
        self._events: deque[PunchEvent] = deque()

    # --- inputs

    def introduce(
        self, source: Source, seen: tuple[Address, ...], now: float
    ) -> tuple[Address, ...]:
        """Somebody names the peer's addresses; gives those that it was seen at."""
        anchors, count = anchors_in(seen, self._checks.their_mark)
        if self.whereabouts.introduce(source, seen[count:], anchors, now):
            self._escalation.sign()
        self._escalation.introduced(now)
        return seen[count:]

    def allow_escalation(self) -> None:
        """The peer is known from before, or its network has a secret."""
        self._escalation.allowed = self._succession.allowed = True

    def begin(self, start_in_s: float, now: float, *, fresh: bool) -> None:
        """Try every address that we have heard of."""
        known = self.whereabouts
        self._began = now
        known.take_turns()
        chosen = self._worth_checking()
        if known.has_news:
            for candidate in chosen:
                self._budget.returned(candidate.address, now)
        if self._since is None:
            self._since = now
        self._punch.start(
            chosen,
            ours=known.surroundings.ours,
            nats=(known.surroundings.nat, known.their_nat),
            start_in_s=start_in_s,
            rtt_s=known.surroundings.rtt_s,
            fresh=fresh or known.has_news,
            now=now,
        )
        known.has_news = False
        situation = known.situation(have_checks_failed=self._punch.has_failed_before)
        self._escalate(situation, now)
        is_first = not (self._punch.has_failed_before or situation.are_both_hard)
        if is_first and known.is_far_off(now):
            self._punch.sample_now(now)

    def set_surroundings(self, surroundings: Surroundings, now: float) -> None:
        """What servers say of our own side; while we search, it may open further candidates."""
        self.whereabouts.surroundings = surroundings
        self._punch.learn_rtt(surroundings.rtt_s)
        if self._punch.active:
            self.widen(now)

    def widen(self, now: float) -> None:
        """Try what has become known, too, in the round that runs."""
        self._punch.add(self._worth_checking(), now)

    def check_received(self, address: Address, socket: SocketId, now: float) -> None:
        """A valid check of the peer's came from `address`."""
        self._escalation.sign()
        self._punch.check_received(address, socket, now)

    def receive_answer(
        self, message: stun.StunMessage, address: Address, socket: SocketId, now: float
    ) -> bool:
        """Whether a Binding response was to something else than a check."""
        return self._escalation.receive_answer(message, address, socket, now)

    def check_answered(self, answered: Answered, now: float) -> None:
        address, socket = answered.address, answered.socket
        if self._punch.is_checking(address, socket):
            self._punch.check_answered(answered, now)
        elif (technique := self._escalation.technique or self._succession.technique) is not None:
            kind = self.whereabouts.kind_of(address)
            found = PathFound(address, socket, kind, technique, answered.rtt_s, answered.mapped)
            self._events.append(found)

    def sampled(self, socket: SocketId, observed: Address, *, poisoned: bool, now: float) -> None:
        self._punch.sampled(socket, observed, poisoned=poisoned, now=now)

    def use_socket(self, socket: SocketId, now: float) -> None:
        """The owner's answer to `FreshSocketWanted`."""
        self._punch.use_socket(socket, now)

    def succeed(self, in_use: tuple[Address, SocketId], now: float, *, by_peer: bool) -> bool:
        """Guess at another flow beside the path in use: one of the peer's, from our end of the
        path, or one of ours, many of which are opened for it.  Whether that is under way."""
        known = self.whereabouts
        hard = hard_to_find(known.their_nat if by_peer else known.surroundings.nat)
        nats = (FOUND, hard) if by_peer else (hard, FOUND)
        way = Way(in_use[:1], (), in_use[1], known.surroundings.servers)
        if self.is_succeeding:
            return True
        self._succession.sign()  # there is none better than a path
        return self._succession.begin(Situation(*nats), way, now)

    def is_successor_hidden(self, failures: int) -> bool:
        """Whether our NAT gives each flow a port that nobody can tell, or keeps none and a server
        could not tell it twice, while the peer's end stays where it is."""
        ours, theirs = self.whereabouts.surroundings.nat, self.whereabouts.their_nat
        is_told_once = failures > 0 and ours.allocation is not Allocation.PRESERVING
        is_hidden = ours.is_hard or is_told_once
        return is_hidden and not theirs.is_hard

    def settle(self) -> None:
        """A path stands and works: whatever was looked for need not be found."""
        self._punch.settle()
        self._escalation.stop()
        self._since = None

    def reached(self, address: Address) -> None:
        """A path to there is in use from here on."""
        self.settle()
        self._succession.stop()
        self._escalation.found(address)
        self.whereabouts.reached(address)
        self._guesses.are_known(self._way())

    def stop(self) -> None:
        """The peer is gone or not wanted: nothing more is sent to it."""
        self._punch.stop()
        self._escalation.stop()
        self._succession.stop()
        self._since = None

    def handle_timer(self, now: float) -> None:
        self._punch.handle_timer(now)
        self._escalation.handle_timer(now)
        self._succession.handle_timer(now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        return [
            *self._punch.datagrams_to_send(),
            *self._escalation.datagrams_to_send(),
            *self._succession.datagrams_to_send(),
        ]

    def next_event(self, now: float) -> PunchEvent | None:
        if anchors := self._escalation.new_anchors():
            self._events.append(IntroductionWanted(anchors))
        event = self._events.popleft() if self._events else self._punch.next_event()
        match event:
            case PathFound() if self._escalation.technique is not None:
                return PathFound(
                    event.address,
                    event.socket,
                    event.kind,
                    self._escalation.technique,
                    event.rtt_s,
                    event.mapped,
                )
            case SampleWanted():
                situation = self.whereabouts.situation(
                    have_checks_failed=True, is_alone=self._punch.is_alone
                )
                if not situation.are_both_hard:
                    self._escalate(situation, now)
            case IntroductionWanted():
                return IntroductionWanted(self._escalation.anchors or event.samples)
        return event

    def get_timer(self) -> float | None:
        return earliest(
            self._punch.get_timer(), self._escalation.get_timer(), self._succession.get_timer()
        )

    @property
    def active(self) -> bool:
        """Whether a path is still being looked for."""
        return self._punch.active

    @property
    def next_try_at(self) -> float | None:
        """When something further is tried; None: nothing is looked for."""
        return earliest(self._punch.next_try_at, self._escalation.next_try_at)

    @property
    def targets(self) -> tuple[Candidate, ...]:
        """The addresses that it is about, best first."""
        return self._punch.targets

    @property
    def socket(self) -> SocketId:
        """Of ours, that checks leave from."""
        return self._punch.socket

    @property
    def sockets(self) -> frozenset[SocketId]:
        """All that it needs."""
        trying = self._punch.sockets if self._punch.active else frozenset()
        return trying | self._escalation.sockets | self._succession.sockets

    @property
    def technique(self) -> str | None:
        """Of the escalation that is under way; None: none is."""
        return self._escalation.technique

    @property
    def is_succeeding(self) -> bool:
        """Whether another flow is guessed at beside a path that stands."""
        return self._succession.technique is not None

    @property
    def may_escalate(self) -> bool:
        return self._escalation.allowed

    def is_young(self, now: float) -> bool:
        """Whether it runs and has not yet lasted unreasonably long."""
        return self._since is not None and now - self._since < LATE_S

    # --- private

    def _worth_checking(self) -> tuple[Candidate, ...]:
        known = self.whereabouts
        return worth_checking(known.targets(self.last), known.their_nat)

    def _way(self) -> Way:
        known = self.whereabouts
        sound = {target.address for target in known.targets(self.last)}
        seen = tuple(address for address in known.seen if address in sound)
        our_ports = [address.port for address in known.surroundings.ours if not address.is_ipv6]
        return Way(
            seen,
            known.anchors,
            self._punch.socket,
            known.surroundings.servers,
            known.drift(self._began),
            our_ports[0] if our_ports else None,
        )

    def _escalate(self, situation: Situation, now: float) -> None:
        """Plain checks have failed, or can't but fail."""
        if self.has_path:
            return
        self._succession.stop()
        way = self._way()
        if situation.wants_samples:
            match self._guesses.next_step(way, now):
                case Step.WAIT:
                    return
                case Step.SAMPLE:
                    self._punch.sample_now(now)
                    return
        if self._escalation.begin(situation, way, now) and situation.wants_samples:
            self._guesses.spent(way, now)
