"""Where datagrams to one peer go: its attempts and its paths, and what to do with neither.

Owner of `punch`, which finds paths, and `paths`, which keeps them.  While there is no path,
what a session wants to send goes to where the peer was last heard, else to the two best
candidates, always within the budget of an unproved address.

Rules:
- While `start_in` runs nothing leaves but low-TTL openers.
- Whatever only the peer could have written makes its source a place to check, never a path; a
  check that was seen before is a replay, and makes nothing.
- Who has left is not looked for until a server or a card of theirs says that they are back.
- A path that falls silent is looked for again before it is given up, and stays in use meanwhile.
"""

from collections import Counter, deque
from collections.abc import Iterable
from random import Random

from natd.core import stun
from natd.core.candidates import TargetBudget, path_kind, targets
from natd.core.checks import PREFIX_BYTES, Checks, answer
from natd.core.escalation import Escalation, anchors_in
from natd.core.first_flight import FLIGHT_WINDOW_S, Unsent, flight_places, worth_checking
from natd.core.kept_paths import KeptPaths
from natd.core.path_events import GapClosed, PathChosen, PathRecovered, PathsLost, PathSuspected
from natd.core.plans import Situation
from natd.core.punch import Punch
from natd.core.punch_events import (
    IntroductionWanted,
    PathFound,
    SampleWanted,
)
from natd.core.reach_events import (
    FlightDue,
    PathDown,
    PathMoved,
    PathResumed,
    PathUp,
    PeerSawUs,
    Ponged,
    ReachEvent,
    Surroundings,
)
from natd.core.schedule import earliest
from natd.core.secrets import PairSecrets
from natd.core.types import (
    MAIN_SOCKET,
    Address,
    Candidate,
    CandidateKind,
    Datagram,
    NatReport,
    PathKind,
    PathReport,
    SocketId,
)
from natd.core.ways import Guesses, Step, Way

LAST_GOOD_LIMIT = 4

RECENT_CHECKS = 256
"""How many checks of the peer's are remembered, so that a replayed one buys nothing."""

MOST_PINGS = 64

LATE_S = 30.0
"""A peer not reached after this long is shown as offline, although attempts go on."""


class Reach:
    """See the top of this file."""

    def __init__(self, budget: TargetBudget, random: Random) -> None:
        self.dropped: Counter[str] = Counter()
        self.transaction_prefix = random.randbytes(PREFIX_BYTES)
        self._surroundings = Surroundings()
        self._budget = budget
        self._checks = Checks(self.transaction_prefix, random)
        self._punch = Punch(self._checks, budget, random)
        self._paths = KeptPaths(self._checks, budget, random)
        self._escalation = Escalation(self._checks, budget.turns, self.transaction_prefix, random)
        self._claimed: tuple[Candidate, ...] = ()
        self._their_nat = NatReport()
        self._has_news = False  # whether the peer's card came after the last attempt began
        self._seen: tuple[Address, ...] = ()
        self._guesses = Guesses()
        self._anchors: tuple[int, ...] = ()  # ports that the peer has opened for us
        self._last_good: tuple[Address, ...] = ()
        self._on_link: tuple[Address, ...] = ()  # where the peer was heard on a link of ours
        # Where the peer was last heard while there was no path; None: nowhere yet.
        self._heard_from: tuple[Address, SocketId] | None = None
        self._heard_at: float | None = None
        # When the attempt to reach the peer began; None: reached, or never tried.
        self._trying_since: float | None = None
        # Until when only openers may leave; None: no restraint.
        self._hold_until: float | None = None
        # Until when a first flight is worth its share of the budget without a sign of the peer.
        self._flight_until = 0.0
        self._unsent = Unsent()
        self._up = False  # whether the owner was told of a path
        self._has_left = False
        self._pings: list[int] = []  # tokens that wait for an answer
        self._recent: deque[bytes] = deque(maxlen=RECENT_CHECKS)  # transactions of theirs
        self._datagrams: list[Datagram] = []
        self._events: deque[ReachEvent] = deque()

    # --- commands

    def use(self, *secrets: PairSecrets) -> None:
        """Make checks under these, in turn."""
        self._checks.use(*secrets)

    def describe_peer(self, candidates: tuple[Candidate, ...], nat: NatReport) -> None:
        """What the peer's newest card claims."""
        self._has_news = self._has_news or candidates != self._claimed
        self._claimed, self._their_nat = candidates, nat

    def set_surroundings(self, surroundings: Surroundings, now: float) -> None:
        """What servers say of our own side; while we punch, it may open further candidates."""
        self._surroundings = surroundings
        self._punch.learn_rtt(surroundings.rtt_s)
        if self._punch.active:
            self._punch.add(worth_checking(self._all_targets(), self._their_nat), now)

    def allow_escalation(self) -> None:
        """The peer is known from before, or its network has a secret."""
        self._escalation.allowed = True

    def remember(self, last_good: Iterable[Address]) -> None:
        """Addresses that carried a path before."""
        self._last_good = tuple(last_good)[:LAST_GOOD_LIMIT]

    def expect(self) -> None:
        """The peer has been started again, or is wanted again: what failed may succeed."""
        self._has_left = False
        self._has_news = True
        self._anchors = ()

    def introduced(self, seen: tuple[Address, ...], start_in_s: float, now: float) -> None:
        """A server told both of us, at this instant, where the other is; freshest first."""
        anchors, count = anchors_in(seen, self._checks.their_mark)
        self._anchors, seen = anchors or self._anchors, seen[count:]
        self._seen = seen
        self._has_left = False
        in_use = self._paths.in_use
        self._paths.probe(now)
        if in_use is None or not self._paths.healthy or in_use[0] not in seen:
            self._attempt(start_in_s, now)
        self._settle(now)

    def found_on_link(self, address: Address, now: float) -> None:
        """The peer called from there on a link of ours, or answered a call of ours."""
        self._on_link = _first(address, self._on_link)
        self._has_left = False
        in_use = self._paths.in_use
        if in_use is None or not self._paths.healthy or in_use[0] != address:
            self._attempt(0.0, now)
        self._settle(now)

    def retry(self, now: float) -> None:
        """Try at once, on every address known: the user asks, or our network has changed."""
        self._paths.probe(now)
        if not self._paths.healthy:
            self._events.append(IntroductionWanted(()))
            if not self._has_left:
                self._attempt(0.0, now, fresh=True)
        self._settle(now)

    def ping(self, token: int, now: float) -> None:
        """Time a round trip on the path in use, or wait until there is one."""
        if len(self._pings) >= MOST_PINGS:
            self._pings.pop(0)
        self._pings.append(token)
        self._paths.probe(now)
        self._settle(now)

    def stop(self) -> None:
        """The peer is gone or not wanted: nothing more is sent to it."""
        self._punch.stop()
        self._escalation.stop()
        self._paths.drop()
        self._up = False
        self._has_left = True
        self._trying_since = self._hold_until = self._heard_from = None

    def carry(self, data: Iterable[bytes], now: float, *, awaiting: bool) -> None:
        """Send a session's datagrams; `awaiting` when they ask for an answer."""
        in_use = self._paths.in_use
        for datagram in data:
            if in_use is not None and self._paths.healthy:
                self._datagrams.append(Datagram(datagram, in_use[0], None, in_use[1]))
                self._paths.sent(now, awaiting=awaiting)
            elif self._hold_until is None or self._hold_until <= now:
                self._send_anywhere(datagram, now)

    # --- datagrams

    def receive_check(
        self,
        message: stun.StunMessage,
        data: bytes,
        secrets: PairSecrets,
        address: Address,
        socket: SocketId,
        now: float,
    ) -> None:
        """A Binding request under a tag of this peer's."""
        response = answer(message, data, secrets, address, socket)
        if response is None:
            self.dropped["check-without-integrity"] += 1
            return
        if message.transaction in self._recent:
            self.dropped["check-replayed"] += 1
            return
        self._recent.append(message.transaction)
        if self._has_left:
            self.dropped["check-of-one-who-left"] += 1
            return
        self._budget.called(address, now)
        shows_a_path = self._paths.receive_check(message, response, self._kind_of(address), now)
        self._datagrams += self._paths.answers_to_send()
        if shows_a_path:
            self._noticed(address, socket, now)
        self._settle(now)

    def receive_check_answer(
        self,
        message: stun.StunMessage,
        data: bytes,
        address: Address,
        socket: SocketId,
        now: float,
    ) -> None:
        """A Binding response under our transaction prefix."""
        if self._escalation.receive_answer(message, address, socket, now):
            self._settle(now)
            return
        answered = self._checks.match(message, data, address, socket, now)
        if answered is None:
            self.dropped["answer-to-no-check"] += 1
            return
        self._heard_at = now
        if answered.mapped is not None:
            self._events.append(PeerSawUs(socket, address, answered.mapped))
        self._budget.answered(address, now)
        if self._paths.check_answered(answered, now):
            if self._paths.healthy and self._paths.in_use == (address, socket):
                self._give_up_trying()
        elif self._punch.is_checking(address, socket):
            self._punch.check_answered(answered, now)
        elif (technique := self._escalation.technique) is not None:
            kind = self._kind_of(address)
            self._paths.add(address, socket, kind, technique, answered.rtt_s, now)
        self._settle(now)
        for token in self._pings:
            self._events.append(Ponged(token, answered.rtt_s))
        self._pings.clear()

    def heard(self, address: Address, socket: SocketId, now: float) -> None:
        """A datagram of a session, that only the peer could have written, came from `address`."""
        if not self._has_left:
            self._paths.heard(address, socket, self._kind_of(address), now)
            self._noticed(address, socket, now)
            self._settle(now)

    def sampled(self, socket: SocketId, observed: Address, *, poisoned: bool, now: float) -> None:
        self._punch.sampled(socket, observed, poisoned=poisoned, now=now)
        self._paths.sampled(socket, observed, now)
        self._settle(now)

    def use_socket(self, socket: SocketId, now: float) -> None:
        """The owner's answer to `FreshSocketWanted`."""
        self._punch.use_socket(socket, now)
        self._settle(now)

    def handle_timer(self, now: float) -> None:
        self._punch.handle_timer(now)
        self._escalation.handle_timer(now)
        self._paths.handle_timer(now)
        if self._hold_until is not None and self._hold_until <= now:
            self._hold_until = None
            self._events.append(FlightDue())
        self._settle(now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        datagrams += self._punch.datagrams_to_send()
        datagrams += self._escalation.datagrams_to_send()
        datagrams += self._paths.datagrams_to_send()
        return datagrams

    def next_event(self) -> ReachEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        return earliest(
            self._punch.get_timer(),
            self._escalation.get_timer(),
            self._paths.get_timer(),
            self._hold_until,
        )

    @property
    def path(self) -> PathReport | None:
        return self._paths.report

    @property
    def healthy(self) -> bool:
        return self._paths.healthy

    @property
    def places(self) -> tuple[Address, ...]:
        """Where we see the peer, or else heard that it is, likeliest first."""
        in_use = self._paths.in_use
        places = (*(() if in_use is None else (in_use[0],)), *self._seen)
        return tuple(dict.fromkeys(places))

    @property
    def address(self) -> Address | None:
        """Where the peer is, as far as anything shows; None: no idea."""
        place = self._paths.in_use or self._heard_from
        return None if place is None else place[0]

    @property
    def targets(self) -> tuple[Candidate, ...]:
        return self._punch.targets

    @property
    def sockets(self) -> frozenset[SocketId]:
        """The sockets besides the main one that this peer needs."""
        trying = self._punch.sockets if self._punch.active else frozenset()
        return (trying | self._escalation.sockets | self._paths.sockets) - {MAIN_SOCKET}

    @property
    def technique(self) -> str | None:
        """Of the escalation that is under way; None: none is."""
        return self._escalation.technique

    @property
    def may_escalate(self) -> bool:
        return self._escalation.allowed

    @property
    def heard_at(self) -> float | None:
        return self._heard_at

    def is_trying(self, now: float) -> bool:
        """Whether an attempt runs that has not yet lasted unreasonably long."""
        return self._trying_since is not None and now - self._trying_since < LATE_S

    # --- private

    def _kind_of(self, address: Address) -> PathKind:
        reflexive = Candidate(CandidateKind.PEER_REFLEXIVE, address)
        return path_kind(reflexive, self._surroundings.ours)

    def _noticed(self, address: Address, socket: SocketId, now: float) -> None:
        """The peer is at `address`, at this instant."""
        self._heard_at = now
        if not self._paths.healthy:
            news = self._heard_from != (address, socket)
            self._heard_from = (address, socket)
            if not self._punch.active:
                self._attempt(0.0, now)
            if news:
                self._events.append(FlightDue())
            for data in self._unsent.take():
                self._send_anywhere(data, now)
            self._punch.check_received(address, socket, now)

    def _attempt(self, start_in_s: float, now: float, *, fresh: bool = False) -> None:
        """Begin to punch, on every address that we have heard of."""
        if not self._checks.ready:
            return
        chosen = worth_checking(self._all_targets(), self._their_nat)
        if self._has_news:
            for candidate in chosen:
                self._budget.returned(candidate.address, now)
        if self._trying_since is None:
            self._trying_since = now
        self._hold_until = now + start_in_s if start_in_s > 0.0 else None
        self._flight_until = now + start_in_s + FLIGHT_WINDOW_S
        self._punch.start(
            chosen,
            ours=self._surroundings.ours,
            nats=(self._surroundings.nat, self._their_nat),
            start_in_s=start_in_s,
            rtt_s=self._surroundings.rtt_s,
            fresh=fresh or self._has_news,
            now=now,
        )
        self._has_news = False
        self._escalate(self._situation(have_checks_failed=self._punch.has_failed_before), now)

    def _give_up_trying(self) -> None:
        """A path stands and works: whatever was looked for need not be found."""
        self._punch.settle()
        self._escalation.stop()
        self._unsent.take()
        self._trying_since = self._hold_until = self._heard_from = None

    def _escalate(self, situation: Situation, now: float) -> None:
        """Plain checks have failed, or can't but fail."""
        if self._paths.healthy:
            return
        sound = {target.address for target in self._all_targets()}
        seen = tuple(address for address in self._seen if address in sound)
        way = Way(seen, self._anchors, self._punch.socket, self._surroundings.servers)
        if situation.wants_samples:
            match self._guesses.next_step(way, now):
                case Step.WAIT:
                    return
                case Step.SAMPLE:
                    self._punch.sample_now(now)
                    return
        if self._escalation.begin(situation, way, now) and situation.wants_samples:
            self._guesses.spent(way, now)

    def _situation(self, *, have_checks_failed: bool) -> Situation:
        return Situation(self._surroundings.nat, self._their_nat, have_checks_failed)

    def _all_targets(self) -> tuple[Candidate, ...]:
        in_use = self._paths.in_use
        last_good = self._last_good
        if in_use is not None:
            last_good = (in_use[0], *(a for a in last_good if a != in_use[0]))
        return targets(
            self._claimed,
            seen=self._seen,
            last_good=last_good,
            on_link=self._on_link,
            ours=self._surroundings.ours,
            servers=self._surroundings.servers,
        )

    def _send_anywhere(self, data: bytes, now: float) -> None:
        """Without a path: to where the peer was heard, else to the best candidates."""
        known = (self._paths.in_use, self._heard_from)
        places = list(dict.fromkeys(place for place in known if place is not None))
        if not places and now <= self._flight_until:
            places = flight_places(self._punch.targets, self._punch.socket, self._their_nat)
        for address, socket in places:
            if self._budget.allow_bulk(address, len(data), now):
                self._datagrams.append(Datagram(data, address, None, socket))
            elif (address, socket) == self._heard_from:
                self._unsent.keep(data)

    def _settle(self, now: float) -> None:
        """Turn the children's events into each other's inputs and into ours."""
        if anchors := self._escalation.new_anchors():
            self._events.append(IntroductionWanted(anchors))
        while (event := self._punch.next_event() or self._paths.next_event()) is not None:
            match event:
                case PathFound(address, socket, kind, technique, rtt_s):
                    technique = self._escalation.technique or technique
                    self._paths.add(address, socket, kind, technique, rtt_s, now)
                case SampleWanted():
                    situation = self._situation(have_checks_failed=True)
                    if not situation.are_both_hard:
                        self._escalate(situation, now)
                    self._events.append(event)
                case IntroductionWanted():
                    anchors = self._escalation.anchors
                    self._events.append(IntroductionWanted(anchors) if anchors else event)
                case PathChosen(path):
                    self._reached(path)
                case PathRecovered():
                    path_or_none = self._paths.report
                    if path_or_none is not None:
                        self._reached(path_or_none)
                case GapClosed():
                    self._events.append(PathResumed())
                case PathSuspected():
                    self._attempt(0.0, now)
                    self._events.append(IntroductionWanted(()))
                case PathsLost():
                    self._heard_from = None
                    self._up = False
                    self._events.append(PathDown())
                case _:
                    self._events.append(event)

    def _reached(self, path: PathReport) -> None:
        """A path is in use from here on: the last attempt has done its work."""
        self._give_up_trying()
        self._escalation.found(path.address)
        self._events.append(PathMoved(path) if self._up else PathUp(path))
        self._up = True
        self._last_good = _first(path.address, self._last_good)


def _first(address: Address, others: tuple[Address, ...]) -> tuple[Address, ...]:
    return (address, *(other for other in others if other != address))[:LAST_GOOD_LIMIT]
