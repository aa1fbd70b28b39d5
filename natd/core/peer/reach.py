"""Where datagrams to one peer go: finding a path, keeping it, and sending without one.

Owns everything that finds and keeps paths, and passes events between the parts:

    search        finds a path                                   natd/core/punch
    paths         which one is in use, and whether it lives      natd/core/paths
    maintenance   how long it may be silent, and when it is to be replaced
    requests      what the peer asks for, for the same ends
    first flight  what a session sends before there is a path    natd/core/punch

Rules:
- The source of an authentic datagram becomes an address to check, never a path; a check that was
  seen before is a replay and is ignored.
- A check that asks only for an answer is answered, and tells nothing about a path.
- A peer that has left is not searched for until a server or its own card says that it is back.
- When a path falls silent, a search begins before it is given up, and it stays in use meanwhile.
- The packet that ends a gap shows whose NAT had forgotten the other side.  That side can't know, so
  the other tells it.
"""

from collections import Counter, deque
from collections.abc import Iterable
from random import Random

from natd.core.base.surroundings import Surroundings
from natd.core.base.timers import TokenBucket, earliest
from natd.core.base.types import MAIN_SOCKET, Address, Datagram, SocketId
from natd.core.base.wishes import IntroductionWanted
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import Check, Checks, read_check
from natd.core.codec import stun
from natd.core.codec.rendezvous import PREFIX_BYTES
from natd.core.keys.secrets import PairSecrets
from natd.core.paths.events import (
    RENEWED,
    MaintenanceEvent,
    PathChosen,
    PathDown,
    PathRecovered,
    PathReplaced,
    PathResumed,
    PathRetired,
    PathsEvent,
    PathSuspected,
    SuccessorWanted,
)
from natd.core.paths.flows import FlowsToPeer
from natd.core.paths.maintenance import Maintenance
from natd.core.paths.paths import Paths
from natd.core.paths.requests_of_peer import RequestsOfPeer
from natd.core.paths.width import Width
from natd.core.peer.reach_events import FlightDue, ReachEvent
from natd.core.punch.events import PunchEvent
from natd.core.punch.first_flight import FirstFlight, flight_places
from natd.core.punch.remote_candidates import Source
from natd.core.punch.search import Search
from natd.core.punch.words_of_pair import WordsOfPair

RESTARTS_RATE, RESTARTS_BURST = 1.0, 16.0
"""Introductions that restart a round, a second and at once: honest ones come once in each round of
either side, and further ones only add their addresses to the running round."""

HEARD_LATELY_S = 1.0
"""A peer heard so shortly ago by the path in use, and introduced where it was before, is still
there: among many members that have just met, introductions come more than once."""


class Reach:
    """See the top of this file."""

    def __init__(
        self, budget: TargetBudget, random: Random, flows: FlowsToPeer, words: WordsOfPair | None
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self.transaction_prefix = random.randbytes(PREFIX_BYTES)
        self.checks = Checks(self.transaction_prefix, random)
        self.search = Search(self.checks, budget, self.transaction_prefix, random, words)
        self.remote = self.search.remote
        """Where the peer may be."""
        self.paths = Paths(self.checks, budget, random, flows)
        self.heard_at: float | None = None
        """When the peer was last heard; None: never."""
        self.has_left = False
        """Whether it has said goodbye or is blocked: then we don't search for it."""
        self._budget = budget
        self._random = random
        self._maintenance: Maintenance | None = None  # None: there was no path yet
        self._requests: RequestsOfPeer | None = None  # None: no request yet
        self.width = Width(self.checks, self.paths)
        self.flight = FirstFlight(budget, self.search.proofs)  # a session's, before there is a path
        self._restarts = TokenBucket(RESTARTS_RATE, RESTARTS_BURST)
        self._datagrams: list[Datagram] = []
        self._events: deque[ReachEvent] = deque()

    # --- commands

    def expect(self) -> None:
        """The peer was restarted or unblocked: what failed before may succeed."""
        self.has_left = False
        self.remote.expect()

    def introduced(
        self, seen: tuple[Address, ...], start_in_s: float, now: float, source: Source = None
    ) -> None:
        """`source` introduces the two of us at this instant; `seen` is freshest first."""
        known = set(self.remote.places)
        seen = self.search.introduce(source, seen, now)
        self.has_left = False
        if known.issuperset(seen) and self.paths.is_heard_since(now - HEARD_LATELY_S):
            self._settle(now)
            return
        in_use = self.paths.in_use
        self.paths.probe(now)
        if in_use is None or not self.paths.healthy or in_use[0] not in seen:
            if self.search.punch.active and not self._restarts.take(now):
                self.search.widen(now)
            else:
                self._attempt(self.flight.restraint_s(start_in_s, now), now)
        self._settle(now)

    def set_surroundings(self, surroundings: Surroundings, now: float) -> None:
        """Our own side as servers see it has changed."""
        self.search.set_surroundings(surroundings, now)
        self._settle(now)

    def found_on_link(self, address: Address, now: float) -> None:
        """The peer called from there on a link of ours, or answered a call of ours."""
        self.remote.found_on_link(address)
        self.has_left = False
        in_use = self.paths.in_use
        if in_use is None or not self.paths.healthy or in_use[0] != address:
            self._attempt(0.0, now)
        self._settle(now)

    def retry(self, now: float) -> None:
        """Try every known address at once: the user asks, or our network has changed."""
        self.paths.probe(now)
        if self.width.is_narrow or not self.paths.healthy:
            self._events.append(IntroductionWanted(()))
            if not self.has_left:
                self._attempt(0.0, now, fresh=True)
        self._settle(now)

    def probe(self, now: float) -> None:
        """Ask for an answer on every path at once: a `CheckAnswer` tells the round trip."""
        self.paths.probe(now)
        self._settle(now)

    def stop(self) -> None:
        """The peer is gone or blocked: send nothing more to it."""
        self.search.stop()
        for kept in (self.paths, self._maintenance, self._requests, self.width):
            if kept is not None:
                kept.drop()
        self.has_left = True
        self.flight.stop()

    def carry(self, data: Iterable[bytes], now: float, *, awaiting: bool) -> None:
        """Send a session's datagrams; `awaiting` when they ask for an answer."""
        in_use, path = self.paths.in_use, self.paths.current
        for datagram in data:
            if in_use is not None and path is not None and self.paths.healthy:
                if self.width.carry(path, len(datagram), now, awaiting=awaiting):
                    self._datagrams.append(Datagram(datagram, in_use[0], None, in_use[1]))
                    self.paths.sent(now, awaiting=awaiting)
            elif not self.flight.is_held(now):
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
        check = read_check(message, data, secrets, address, socket)
        if check is None:
            self.dropped["check-without-integrity"] += 1
        elif not self.checks.is_new(check):
            self.dropped["check-replayed"] += 1
        elif self.has_left:
            self.dropped["check-of-one-who-left"] += 1
        else:
            self._budget.called(address, now)
            if check.answer_after_s:
                self._ensure_requests().answer_later(check, now)
            else:
                self._datagrams.append(check.answer)
                if check.answer_after_s is None:
                    self._take_check(check, now)
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
        if self.search.receive_sample(message, address, socket, now):
            self._settle(now)
            return
        answer = self.checks.match(message, data, address, socket, now)
        if answer is None:
            self.dropped["answer-to-no-check"] += 1
            return
        quiet_s = 0.0 if self.paths.heard_at is None else now - self.paths.heard_at
        self.heard_at = now
        self._budget.answered(address, now)
        self._budget.meetings.answered(0.0 if answer.is_delayed else answer.rtt_s)
        self.search.proofs.answered(address.host, now)
        self.width.answered(answer, now)
        maintenance = self._maintenance
        is_upkeeps = maintenance is not None and maintenance.check_answered(answer, quiet_s, now)
        kind = self.remote.kind_of(address)
        if is_upkeeps or self.paths.check_answered(answer, kind, now):
            self.search.punch.path_answered(address, socket)
            if self.paths.healthy and self.paths.in_use == (address, socket):
                self._give_up_trying()
        elif (found := self.search.check_answered(answer)) is not None:
            self.paths.add(address, socket, found.kind, found.technique, found.rtt_s, now)
        self._settle(now)
        self._events.append(answer)

    def heard(self, address: Address, socket: SocketId, now: float) -> None:
        """An authentic session datagram of the peer came from `address`."""
        if not self.has_left:
            self.paths.heard(address, socket, now, is_data=True)
            self._noticed(address, socket, now)
            self._settle(now)

    def awaits_sample(self, socket: SocketId) -> bool:
        """Whether a server is to tell how it sees this socket."""
        maintenance = self._maintenance
        is_spare = maintenance is not None and maintenance.awaits_sample(socket)
        return is_spare or self.search.punch.awaits_sample(socket)

    def sampled(self, socket: SocketId, observed: Address, *, poisoned: bool, now: float) -> None:
        """A server saw `socket` at this address."""
        self.search.punch.sampled(socket, observed, poisoned=poisoned, now=now)
        if self._maintenance is not None:
            self._maintenance.sampled(socket, observed, now)
        self._settle(now)

    def use_socket(self, socket: SocketId, now: float) -> None:
        """The owner's answer to `FreshSocketWanted`."""
        self.search.punch.use_socket(socket, now)
        self._settle(now)

    def handle_timer(self, now: float) -> None:
        if not self.search.is_idle:
            self.search.handle_timer(now)
        self.paths.handle_timer(now)
        if self._maintenance is not None:
            self._maintenance.handle_timer(now)
        if self._requests is not None:
            self._datagrams += self._requests.take_due(now)
        self.width.handle_timer(now)
        if self.flight.take_due(now):
            self._events.append(FlightDue())
        self._settle(now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        if not self.search.is_idle:
            datagrams += self.search.datagrams_to_send()
        if self._maintenance is not None:
            datagrams += self._maintenance.datagrams
            self._maintenance.datagrams.clear()
        datagrams += self.width.datagrams_to_send() + self.paths.datagrams_to_send()
        return datagrams

    def next_event(self) -> ReachEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        path, maintenance = self.paths.current, self._maintenance
        is_quiet = path is not None and path.probing_since is None
        return earliest(
            None if self.search.is_idle else self.search.get_timer(),
            self.paths.get_timer(),
            None if maintenance is None else maintenance.due_at,
            None if maintenance is None or not is_quiet else maintenance.begin_at,
            None if self._requests is None else self._requests.due_at,
            self.width.due_at,
            self.flight.held_until,
        )

    @property
    def sockets(self) -> frozenset[SocketId]:
        """The sockets besides the main one that this peer needs."""
        kept = [each.sockets for each in (self._maintenance, self._requests) if each]
        sought = frozenset() if self.search.is_idle else self.search.sockets
        return self.paths.sockets.union(sought, *kept) - {MAIN_SOCKET}

    # --- private

    def _take_check(self, check: Check, now: float) -> None:
        """A check of the peer's that shows a path."""
        (address, socket), nominates = check.key, check.nominates
        self.paths.heard(address, socket, now, is_data=nominates, is_nomination=nominates)
        if check.key == self.paths.in_use:
            if check.open_to is not None:
                self._datagrams += self._ensure_requests().open(check, now)
            if check.was_silent_s is not None:
                self._ensure_maintenance().missed_by_peer(check.was_silent_s, now)
            if check.wants_guesses and self._ensure_requests().grants_guesses(now):
                self.search.succeed(check.key, now, by_peer=True)
        self._noticed(address, socket, now)

    def _noticed(self, address: Address, socket: SocketId, now: float) -> None:
        """The peer was heard from `address` now."""
        self.heard_at = now
        if not self.paths.healthy:
            is_news = self.flight.heard((address, socket), now)
            if not self.search.punch.active:
                self._attempt(0.0, now)
            if is_news:
                self._events.append(FlightDue())
            for data in self.flight.take_unsent():
                self._send_anywhere(data, now)
            self.search.check_received(address, socket, now)

    def _attempt(self, start_in_s: float, now: float, *, fresh: bool = False) -> None:
        """Begin an attempt on every known address."""
        if not self.checks.ready:
            return
        self.flight.begin(start_in_s, now)
        self._tell_search()
        self.search.begin(start_in_s, now, fresh=fresh)

    def _give_up_trying(self) -> None:
        """A path was found and works: end the search."""
        self.search.settle()
        self.flight.reached()

    def _tell_search(self) -> None:
        """Tell the search if there is a healthy path."""
        in_use = self.paths.in_use
        self.remote.in_use = None if in_use is None else in_use[0]
        self.search.has_path = self.paths.healthy

    def _send_anywhere(self, data: bytes, now: float) -> None:
        punch = self.search.punch
        guesses = flight_places(punch.targets, punch.socket, self.remote.their_nat)
        self._datagrams += self.flight.send(data, self.paths.in_use, guesses, now)

    def _settle(self, now: float) -> None:
        """Turn the children's events into inputs of each other and into our events."""
        while (event := self._next_of_children(now)) is not None:
            match event:
                case PathChosen(path):
                    if self.paths.current is not None:
                        self._ensure_maintenance().use(self.paths.current, now)
                    self._reached(path.address, path.socket)
                    self._events.append(event)
                case PathRecovered(path):
                    self._reached(path.address, path.socket)
                    self._events.append(event)
                case PathResumed(by_peer, quiet_s, is_certain):
                    if is_certain and by_peer:
                        self._ensure_maintenance().heard_at_last(quiet_s, now)
                    elif is_certain:
                        self._ensure_maintenance().found_dead(quiet_s, now)
                    self._events.append(event)
                case PathSuspected():
                    if self.paths.current is not None:
                        self._ensure_maintenance().found_dead(self.paths.current.quiet_s, now)
                    self._attempt(0.0, now)
                    self._events.append(IntroductionWanted(()))
                case PathDown():
                    for kept in (self.width, self._ensure_maintenance(), self._ensure_requests()):
                        kept.drop()
                    self.flight.heard_from = None
                    self._events.append(event)
                case PathReplaced(address, socket, rtt_s):
                    if (old := self.paths.current) is not None:
                        self.paths.add(address, socket, old.kind, RENEWED, rtt_s, now)
                        self.paths.replace(address, socket, now)
                case PathRetired(address, socket):
                    self.paths.forget(address, socket)
                case SuccessorWanted(failures):
                    self._seek_successor(failures, now)
                case _:
                    self._events.append(event)
        if self._maintenance is not None:
            is_alone = not self.remote.surroundings.is_registered
            self._maintenance.is_alone = is_alone
            self.paths.keep(self._maintenance.keepalive_s, now, is_alone=is_alone)

    def _seek_successor(self, failures: int, now: float) -> None:
        """The mapping of the path in use will end, and no other flow opened by itself: search
        one."""
        in_use = self.paths.in_use
        if in_use is None or not self.search.is_successor_hidden(failures):
            return
        is_new = not self.search.is_succeeding
        if self.search.succeed(in_use, now, by_peer=False):
            self._ensure_maintenance().seek(now, is_new=is_new)

    def _reached(self, address: Address, socket: SocketId) -> None:
        """This path is in use from now on: the attempt has succeeded."""
        self._give_up_trying()
        self.search.reached(address, socket)
        self._tell_search()

    def _next_of_children(self, now: float) -> PunchEvent | PathsEvent | MaintenanceEvent | None:
        self._tell_search()
        if not self.search.is_idle and (event := self.search.next_event(now)) is not None:
            return event
        if (path_event := self.paths.next_event()) is not None:
            return path_event
        kept = self.width if self.width.events else self._maintenance
        return kept.events.popleft() if kept is not None and kept.events else None

    def _ensure_maintenance(self) -> Maintenance:
        """Made with the first path: most members of a large network never have one."""
        if self._maintenance is None:
            self._maintenance = Maintenance(self.checks, self._random, self.paths.flows)
        return self._maintenance

    def _ensure_requests(self) -> RequestsOfPeer:
        """Made when the peer first asks for something."""
        if self._requests is None:
            self._requests = RequestsOfPeer(self.checks)
        return self._requests
