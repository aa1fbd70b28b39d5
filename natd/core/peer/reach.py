"""Where datagrams to one peer go: its attempts and its paths, and what to do with neither.

Owner of `search`, which finds paths, `kept_paths`, which keeps them, and `first_flight`, for what a
session wants to send in between.

Rules:
- Whatever only the peer could have written makes its source a place to check, never a path; a
  check that was seen before is a replay, and makes nothing.
- Who has left is not looked for until a server or a card of theirs says that they are back.
- A path that falls silent is looked for again before it is given up, and stays in use meanwhile.
"""

from collections import Counter, deque
from collections.abc import Iterable
from random import Random

from natd.core.base.surroundings import Surroundings
from natd.core.base.timers import Allowance, earliest
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Candidate,
    Datagram,
    NatReport,
    PathReport,
    SocketId,
)
from natd.core.base.wishes import IntroductionWanted
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import PREFIX_BYTES, Checks, answer
from natd.core.codec import stun
from natd.core.keys.secrets import PairSecrets
from natd.core.paths.events import (
    GapClosed,
    PathChosen,
    PathRecovered,
    PathsLost,
    PathSuspected,
    SuccessorOffered,
    SuccessorWanted,
)
from natd.core.paths.kept_paths import KeptPaths, KeptPathsEvent
from natd.core.peer.reach_events import (
    FlightDue,
    PathDown,
    PathMoved,
    PathResumed,
    PathUp,
    PeerSawUs,
    Ponged,
    ReachEvent,
)
from natd.core.punch.events import PathFound, PunchEvent
from natd.core.punch.first_flight import FirstFlight, flight_places
from natd.core.punch.reported_addresses import Source
from natd.core.punch.search import Search

MOST_PINGS = 64

RESTARTS_RATE, RESTARTS_BURST = 1.0, 16.0
"""Introductions that begin a round of their own, a second and at once: an honest one comes with
each round of either side, and one too many only adds what it says to the round that runs."""


class Reach:
    """See the top of this file."""

    def __init__(self, budget: TargetBudget, random: Random) -> None:
        self.dropped: Counter[str] = Counter()
        self.transaction_prefix = random.randbytes(PREFIX_BYTES)
        self._budget = budget
        self._checks = Checks(self.transaction_prefix, random)
        self._search = Search(self._checks, budget, self.transaction_prefix, random)
        self._paths = KeptPaths(self._checks, budget, random)
        self._flight = FirstFlight(budget)
        self._heard_at: float | None = None
        self._restarts = Allowance(RESTARTS_RATE, RESTARTS_BURST)
        self._up = False  # whether the owner was told of a path
        self._has_left = False
        self._pings: list[int] = []  # tokens that wait for an answer
        self._datagrams: list[Datagram] = []
        self._events: deque[ReachEvent] = deque()

    # --- commands

    def use(self, *secrets: PairSecrets) -> None:
        """Make checks under these, in turn."""
        self._checks.use(*secrets)

    def describe_peer(self, candidates: tuple[Candidate, ...], nat: NatReport) -> None:
        """What the peer's newest card claims."""
        self._search.whereabouts.describe_peer(candidates, nat)

    def set_surroundings(self, surroundings: Surroundings, now: float) -> None:
        """What servers say of our own side; while we punch, it may open further candidates."""
        self._search.set_surroundings(surroundings, now)

    def allow_escalation(self) -> None:
        """The peer is known from before, or its network has a secret."""
        self._search.allow_escalation()

    def remember(self, last_good: Iterable[Address]) -> None:
        """Addresses that carried a path before."""
        self._search.whereabouts.remember(tuple(last_good))

    def expect(self) -> None:
        """The peer has been started again, or is wanted again: what failed may succeed."""
        self._has_left = False
        self._search.whereabouts.expect()

    def introduced(
        self, seen: tuple[Address, ...], start_in_s: float, now: float, source: Source = None
    ) -> None:
        """`source` told both of us, at this instant, where the other is; freshest first."""
        seen = self._search.introduce(source, seen, now)
        self._has_left = False
        in_use = self._paths.in_use
        self._paths.probe(now)
        if in_use is None or not self._paths.healthy or in_use[0] not in seen:
            if self._search.active and not self._restarts.take(now):
                self._search.widen(now)
            else:
                self._attempt(self._flight.restraint_s(start_in_s, now), now)
        self._settle(now)

    def found_on_link(self, address: Address, now: float) -> None:
        """The peer called from there on a link of ours, or answered a call of ours."""
        self._search.whereabouts.found_on_link(address)
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
        self._search.stop()
        self._paths.drop()
        self._up = False
        self._has_left = True
        self._flight.stop()

    def carry(self, data: Iterable[bytes], now: float, *, awaiting: bool) -> None:
        """Send a session's datagrams; `awaiting` when they ask for an answer."""
        in_use = self._paths.in_use
        for datagram in data:
            if in_use is not None and self._paths.healthy:
                self._datagrams.append(Datagram(datagram, in_use[0], None, in_use[1]))
                self._paths.sent(now, awaiting=awaiting)
            elif not self._flight.is_held(now):
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
        if not self._paths.is_new(message):
            self.dropped["check-replayed"] += 1
            return
        if self._has_left:
            self.dropped["check-of-one-who-left"] += 1
            return
        self._budget.called(address, now)
        shows_a_path = self._paths.receive_check(
            message, response, self._search.whereabouts.kind_of(address), now
        )
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
        if self._search.receive_answer(message, address, socket, now):
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
        else:
            self._search.check_answered(answered, now)
        self._settle(now)
        if not answered.is_delayed:
            self._events += [Ponged(token, answered.rtt_s) for token in self._pings]
            self._pings.clear()

    def heard(self, address: Address, socket: SocketId, now: float) -> None:
        """A datagram of a session, that only the peer could have written, came from `address`."""
        if not self._has_left:
            self._paths.heard(address, socket, self._search.whereabouts.kind_of(address), now)
            self._noticed(address, socket, now)
            self._settle(now)

    def sampled(self, socket: SocketId, observed: Address, *, poisoned: bool, now: float) -> None:
        self._search.sampled(socket, observed, poisoned=poisoned, now=now)
        self._paths.sampled(socket, observed, now)
        self._settle(now)

    def use_socket(self, socket: SocketId, now: float) -> None:
        """The owner's answer to `FreshSocketWanted`."""
        self._search.use_socket(socket, now)
        self._settle(now)

    def handle_timer(self, now: float) -> None:
        self._search.handle_timer(now)
        self._paths.handle_timer(now)
        if self._flight.take_due(now):
            self._events.append(FlightDue())
        self._settle(now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        datagrams += self._search.datagrams_to_send()
        datagrams += self._paths.datagrams_to_send()
        return datagrams

    def next_event(self) -> ReachEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        return earliest(
            self._search.get_timer(),
            self._paths.get_timer(),
            self._flight.held_until,
        )

    @property
    def path(self) -> PathReport | None:
        return self._paths.report

    @property
    def healthy(self) -> bool:
        return self._paths.healthy

    @property
    def has_left(self) -> bool:
        """Whether it has said goodbye, or is not wanted: it is not looked for."""
        return self._has_left

    @property
    def places(self) -> tuple[Address, ...]:
        """Where we see the peer, or else heard that it is, likeliest first."""
        return self._search.whereabouts.places(self._search.last)

    @property
    def address(self) -> Address | None:
        """Where the peer is, as far as anything shows; None: no idea."""
        place = self._paths.in_use or self._flight.heard_from
        return None if place is None else place[0]

    @property
    def targets(self) -> tuple[Candidate, ...]:
        return self._search.targets

    @property
    def sockets(self) -> frozenset[SocketId]:
        """The sockets besides the main one that this peer needs."""
        return (self._search.sockets | self._paths.sockets) - {MAIN_SOCKET}

    @property
    def technique(self) -> str | None:
        """Of the escalation that is under way; None: none is."""
        return self._search.technique

    @property
    def may_escalate(self) -> bool:
        return self._search.may_escalate

    @property
    def heard_at(self) -> float | None:
        return self._heard_at

    @property
    def next_try_at(self) -> float | None:
        """When something further is tried to reach it; None: nothing is."""
        return self._search.next_try_at

    @property
    def is_on_link(self) -> bool:
        """Whether the peer was heard on a link of ours."""
        return self._search.whereabouts.is_on_link

    def is_trying(self, now: float) -> bool:
        """Whether an attempt runs that has not yet lasted unreasonably long."""
        return self._search.is_young(now)

    # --- private

    def _noticed(self, address: Address, socket: SocketId, now: float) -> None:
        """The peer is at `address`, at this instant."""
        self._heard_at = now
        if not self._paths.healthy:
            is_news = self._flight.heard((address, socket))
            if not self._search.active:
                self._attempt(0.0, now)
            if is_news:
                self._events.append(FlightDue())
            for data in self._flight.take_unsent():
                self._send_anywhere(data, now)
            self._search.check_received(address, socket, now)

    def _attempt(self, start_in_s: float, now: float, *, fresh: bool = False) -> None:
        """Begin to punch, on every address that we have heard of."""
        if not self._checks.ready:
            return
        self._flight.begin(start_in_s, now)
        self._tell_search()
        self._search.begin(start_in_s, now, fresh=fresh)

    def _give_up_trying(self) -> None:
        """A path stands and works: whatever was looked for need not be found."""
        self._search.settle()
        self._flight.reached()

    def _tell_search(self) -> None:
        """Whether there is need of it."""
        in_use = self._paths.in_use
        self._search.last = None if in_use is None else in_use[0]
        self._search.has_path = self._paths.healthy

    def _send_anywhere(self, data: bytes, now: float) -> None:
        search = self._search
        guesses = flight_places(search.targets, search.socket, search.whereabouts.their_nat)
        self._datagrams += self._flight.send(data, self._paths.in_use, guesses, now)

    def _settle(self, now: float) -> None:
        """Turn the children's events into each other's inputs and into ours."""
        while (event := self._next_of_children(now)) is not None:
            match event:
                case PathFound(address, socket, kind, technique, rtt_s):
                    self._paths.add(address, socket, kind, technique, rtt_s, now)
                case PathChosen(path, is_seamless=is_seamless):
                    self._reached(path, is_seamless=is_seamless)
                case PathRecovered():
                    path_or_none = self._paths.report
                    if path_or_none is not None:
                        self._reached(path_or_none, is_seamless=False)
                case GapClosed():
                    self._events.append(PathResumed())
                case PathSuspected():
                    self._attempt(0.0, now)
                    self._events.append(IntroductionWanted(()))
                case SuccessorWanted(failures):
                    self._seek_successor(failures, now)
                case SuccessorOffered() if (in_use := self._paths.in_use) is not None:
                    self._search.succeed(in_use, now, by_peer=True)
                case SuccessorOffered():
                    pass
                case PathsLost():
                    self._flight.heard_from = None
                    self._up = False
                    self._events.append(PathDown())
                case _:
                    self._events.append(event)

    def _seek_successor(self, failures: int, now: float) -> None:
        """The mapping of the path in use will end, and another flow did not open by itself."""
        in_use = self._paths.in_use
        if in_use is None or not self._search.is_successor_hidden(failures):
            return
        is_new = not self._search.is_succeeding
        if self._search.succeed(in_use, now, by_peer=False):
            self._paths.seek_successor(now, is_new=is_new)

    def _reached(self, path: PathReport, *, is_seamless: bool) -> None:
        """A path is in use from here on: the last attempt has done its work."""
        self._give_up_trying()
        self._search.reached(path.address)
        self._events.append(PathMoved(path, is_seamless) if self._up else PathUp(path))
        self._up = True
        self._tell_search()

    def _next_of_children(self, now: float) -> KeptPathsEvent | PunchEvent | None:
        self._tell_search()
        return self._search.next_event(now) or self._paths.next_event()
