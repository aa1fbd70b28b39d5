"""One escalation towards one peer: its plan, the waves of it, and the turns that they need.

    begin ─► (burst ─► anchors told) ─► wave ─► linger ─► pause ─► wave … ─► end
    waits        has the turn               has it   has not

Rules:
- It begins when plain checks have failed or both NATs are known to defeat them; the owner sees
  to it that the peer has proved to be at the host.
- A new report of either NAT ends it, for its plan follows from the reports; so does another socket
  of ours where one of its packets should be answered (`Plan.is_sure`).
- It sends only to addresses that plain checks may go to, and no more than `turns` allows.
- It ends by itself when its packets are spent; a path ends it at once.  If the peer has meanwhile
  shown a sign of life, it begins again: the first guesses may have been too early.  A plan that
  should have met says so instead (`has_missed`): its socket may be spoilt.
- A repeated wave leaves from the same sockets, which therefore stay open between waves.
- An answer to one of its checks is a path like any other, and names the technique.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from natd.core.base.timers import Ladder, earliest
from natd.core.base.types import LOWEST_PORT, Address, Allocation, Datagram, NatReport, SocketId
from natd.core.checks.checks import Checks
from natd.core.checks.turns import Claim, Turns
from natd.core.codec import stun
from natd.core.prediction.anchors import (
    Anchor,
    AnchorBurst,
    keep_open,
    sampling_places,
    sockets_wanted,
)
from natd.core.prediction.blocks import meeting_ports
from natd.core.prediction.paced_sender import PacedSender
from natd.core.prediction.plan import Plan, Technique
from natd.core.prediction.samples import Endpoints
from natd.core.prediction.strategy import Situation, make_plan, relevant_part

LINGER_S = 1.0
"""After the last packet: answers and the peer's own packets may still be under way."""

TELL_LADDER_S = (0.2, 0.4, 0.8, 1.6)
"""Waits between introductions that tell our anchors: nothing confirms that one has arrived, and a
server has to know a newcomer first."""

LOOK_S = 0.25
"""How often an attempt with open sockets checks if another attempt needs them."""

MOST_KNOWN = 32
"""Addresses of the peer, named by servers, that are remembered as taken."""


@dataclass(slots=True, eq=False)
class _Task:
    """The plan being carried out."""

    situation: Situation
    ends: Endpoints
    known: tuple[int, ...]
    """Ports that the peer's block is known to use for others."""
    waits_until: float | None = None
    """When to ask for the turn; None: not waiting for it."""
    plan: Plan | None = None
    """None: it waits for the turn, or for the anchor burst."""
    helpers: tuple[SocketId, ...] = ()
    burst: AnchorBurst | None = None
    """None: no anchors are wanted, or the burst is over."""
    anchors: tuple[Anchor, ...] = ()
    tell: Ladder = field(default_factory=lambda: Ladder(TELL_LADDER_S))
    sender: PacedSender | None = None
    """None: between two waves."""
    wave: int = 0
    wave_began: float = 0.0
    wave_at: float | None = None
    linger_until: float | None = None
    """When to stop waiting for answers; None: packets are still to be sent."""
    looks_at: float | None = None
    """When to check if its sockets are needed elsewhere; None: it has none."""
    was_signed: bool = False
    """Whether the peer has shown a sign of life since the begin."""

    @property
    def has_begun(self) -> bool:
        return self.plan is not None or self.burst is not None

    @property
    def host(self) -> str:
        """Of the peer."""
        return self.ends.places[0].host


class Escalation:
    """See the top of this file."""

    def __init__(
        self,
        checks: Checks,
        turns: Turns,
        prefix: bytes,
        random: Random,
        claim: Claim | None = None,
    ) -> None:
        """`prefix` begins every transaction by which answers find their way to us; `claim` is
        the peer's rank and credit for turns, None for a fresh one."""
        self.has_missed = False
        """Whether a plan that should have met has not; the owner clears it."""
        self._checks = checks
        self._turns = turns
        self._claim = claim or Claim()
        self._prefix = prefix
        self._random = random
        self._task: _Task | None = None  # None: nothing is under way
        self._known: deque[Address] = deque(maxlen=MOST_KNOWN)
        self._news: tuple[Address, ...] = ()  # of anchors, until they are drained
        self._datagrams: list[Datagram] = []

    # --- inputs

    def begin(self, situation: Situation, ends: Endpoints, now: float) -> bool:
        """Begin our half of the plan for this situation, once it is our turn; False if there is
        nothing to do or it has not begun."""
        is_wanted = situation.wants_plan and not situation.is_premature and bool(ends.places)
        known = self._known_ports(situation.theirs, ends)
        situation = relevant_part(situation)
        task = self._task
        if task is not None and task.has_begun:
            if not _is_outdated(task, situation, ends, known):
                if task.sender is not None:
                    task.sender.follow(ends.places[0], now)
                return False
            if ends.places and self._claim.stays_at(task.host, ends.places[0].host, now):
                return False
            is_same, sender = task.situation == situation, task.sender
            self.stop()
            self.has_missed = is_same and sender is not None and sender.has_missed(now)
        if not is_wanted:
            self.stop()
            return False
        if situation.wants_samples and not self._has_turn(now):
            self.stop()  # a sample is too old after another attempt's turn
            return False
        self._task = _Task(situation, ends, known, waits_until=now)
        self.handle_timer(now)
        return self._task is not None and self._task.has_begun

    def sign(self) -> None:
        """The peer has shown a sign of life: it was seen at another address, or heard."""
        self._claim.sign()
        if self._task is not None:
            self._task.was_signed = True

    def introduced(self, now: float) -> None:
        """Both peers are introduced at this instant.  Our earlier openings may be lost if a router
        has restarted, so open again."""
        task = self._task
        if task is not None and task.sender is not None and not task.anchors:
            task.sender.hurry(now)

    def receive_answer(
        self, message: stun.StunMessage, address: Address, socket: SocketId, now: float
    ) -> bool:
        """Take a server's answer to a sample of ours; False: it is none."""
        task = self._task
        if task is None or task.burst is None:
            return False
        if not task.burst.answered(message, address, socket):
            return False
        self.handle_timer(now)
        return True

    def remember(self, seen: Sequence[Address]) -> None:
        """The peer was seen at these addresses: their ports are taken."""
        self._known += [place for place in seen if place not in self._known]

    def stop(self) -> None:
        """A path was found, or the peer is gone."""
        self._task, self.has_missed = None, False
        self._news = ()
        self._turns.end(self._claim)

    def handle_timer(self, now: float) -> None:
        task = self._task
        if task is None:
            return
        if self._claim.must_end:
            self.stop()
            return
        task.looks_at = now + LOOK_S if task.helpers else None
        if task.waits_until is not None:
            if task.waits_until > now or not self._has_turn(now):
                return
            if not task.has_begun and not self._start(task, now):
                return
        if task.burst is not None and task.burst.is_over(now):
            self._open_anchors(task, task.burst, now)
        if task.tell.is_due(now):
            task.tell.climb(now)
            self._news = self.anchors
        if task.linger_until is not None and task.linger_until <= now:
            self._end_wave(task, now)
        if task.wave_at is not None and task.wave_at <= now:
            self._begin_wave(task, now)
        if task.sender is not None:
            self._send_due(task, task.sender, now)

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def new_anchors(self) -> tuple[Address, ...]:
        """Drain: `anchors`, whenever it is time to tell them to the peer."""
        news, self._news = self._news, ()
        return news

    def get_timer(self) -> float | None:
        looks_at = None if self._task is None else self._task.looks_at
        return earliest(looks_at, self.next_try_at)

    @property
    def next_try_at(self) -> float | None:
        """When it goes on, if it then has the turn; None: nothing is under way."""
        task = self._task
        if task is None or task.waits_until is not None:
            return None if task is None else task.waits_until
        return earliest(
            None if task.burst is None else task.burst.ends_at,
            None if task.sender is None else task.sender.get_timer(),
            task.tell.due_at,
            task.linger_until,
            task.wave_at,
        )

    @property
    def anchors(self) -> tuple[Address, ...]:
        """What an introduction is to tell the peer: the ports that we have opened for it, followed
        by the pair's mark; empty if there are none."""
        task, mark = self._task, self._checks.our_mark
        if task is None or not task.anchors or mark is None:
            return ()
        host = task.anchors[0].address.host
        return (*(anchor.address for anchor in task.anchors), Address(host, mark))

    @property
    def technique(self) -> str | None:
        """The technique of a path found now; None when nothing is under way."""
        if self._task is None or not self._task.has_begun:
            return None
        return Technique.BLOCKS if self._task.plan is None else self._task.plan.technique

    @property
    def sockets(self) -> frozenset[SocketId]:
        task = self._task
        return frozenset() if task is None else frozenset((task.ends.socket, *task.helpers))

    # --- private

    def _known_ports(self, theirs: NatReport, ends: Endpoints) -> tuple[int, ...]:
        """The peer's ports that are in use for other destinations."""
        self.remember(ends.places)
        named = [a.port for a in self._known if ends.places and a.host == ends.places[0].host]
        return tuple(dict.fromkeys((*named, *theirs.taken_ports)))

    def _has_turn(self, now: float) -> bool:
        """Whether it has the turn; else sets when to ask again."""
        has_it = self._turns.take(self._claim, now)
        if self._task is not None:
            self._task.waits_until = None if has_it else now + self._turns.ask_in_s()
        return has_it

    def _start(self, task: _Task, now: float) -> bool:
        """It is our turn: make the plan, which costs 5 ms; False if there is nothing to do."""
        if task.situation.wants_anchors:
            if self._enclose(task, now):
                return True
        else:
            task.plan = make_plan(
                task.situation,
                their_ports=[place.port for place in task.ends.places],
                known_ports=task.known,
                anchors=task.ends.anchors,
                drift=task.ends.drift,
                we_are_lower=self._checks.we_open,
                turns=self._turns,
                random=self._random,
                now=now,
            )
            if task.plan is not None:
                like = task.ends.our_port if task.situation.wants_samples else None
                task.helpers = self._turns.fresh_sockets(self._claim, task.plan.helpers, like)
                task.wave_at = now
                return True
        self.stop()
        return False

    def _begin_wave(self, task: _Task, now: float) -> None:
        assert task.plan is not None
        if not self._has_turn(now):
            return
        plan = task.plan.of_wave(task.wave)
        task.wave, task.wave_began, task.wave_at = task.wave + 1, now, None
        target = task.ends.places[0]
        task.sender = PacedSender(plan, target, task.ends.socket, task.helpers, now)
        if task.plan.begins_after_s:
            self._turns.give_back(self._claim)

    def _send_due(self, task: _Task, sender: PacedSender, now: float) -> None:
        assert task.plan is not None
        due_at = sender.get_timer()
        if due_at is not None and due_at <= now:
            # Keeping anchors open takes two packets a round.
            if not task.anchors and not self._has_turn(now):
                return
            sender.handle_timer(now, self._turns.pace.room(now))
            for address, socket, is_opener in sender.to_send():
                if not self._send(address, socket, is_opener, now):
                    sender.cut(now)
            if not task.anchors and (sender.is_over or sender.is_resting):
                self._turns.give_back(self._claim)
            if task.situation.ours.allocation is Allocation.BLOCK:
                sent = sender.sent if task.wave == 1 else len(task.plan.packets)
                self._turns.take_ports(task, min(sent, len(task.plan.packets)), now)
        if sender.is_over and task.linger_until is None:
            task.linger_until = now + LINGER_S

    def _end_wave(self, task: _Task, now: float) -> None:
        assert task.plan is not None
        wait_s = task.plan.wave_after_s(task.wave)
        if wait_s is None:
            self.stop()
            self.has_missed = task.sender is not None and task.sender.has_missed(now)
            # A plan that depends on the peer's address waits for a new report of it.
            may_repeat = task.plan.technique is Technique.BIRTHDAY and not self.has_missed
            if may_repeat and task.was_signed:
                self.begin(task.situation, task.ends, now)
            return
        task.sender = task.linger_until = None
        task.wave_at = task.wave_began + wait_s

    def _enclose(self, task: _Task, now: float) -> bool:
        """Send the burst that shows which ports our NAT gives us towards the peer's block."""
        places = sampling_places(task.ends.servers)
        if not places:
            return False
        task.helpers = self._turns.fresh_sockets(self._claim, sockets_wanted(places))
        task.burst = AnchorBurst(
            stride=task.situation.ours.stride,
            places=places,
            sockets=task.helpers,
            prefix=self._prefix,
            random=self._random,
            now=now,
        )
        first, *samples = task.burst.samples()
        self._datagrams.append(first)
        for opener, sample in zip(task.burst.openers, samples, strict=True):
            self._send(_anchored(task), opener, True, now)
            self._datagrams.append(sample)
        return True

    def _open_anchors(self, task: _Task, burst: AnchorBurst, now: float) -> None:
        """Keep the sockets of the burst whose ports are known; the peer does the rest."""
        task.burst, task.anchors = None, burst.anchors()
        if not task.anchors:
            self.stop()
            return
        task.helpers = tuple(anchor.socket for anchor in task.anchors)
        task.plan = keep_open(len(task.helpers), _anchored(task).port)
        task.wave = 1
        target = task.ends.places[0]
        task.sender = PacedSender(task.plan, target, task.ends.socket, task.helpers, now)
        task.tell.start(now)
        self._news = self.anchors
        self._turns.give_back(self._claim)

    def _send(self, address: Address, socket: SocketId, is_opener: bool, now: float) -> bool:
        """Whether there is room for more."""
        # A card may lie about its NAT, and so may a peer about anchors.
        if address.port < LOWEST_PORT:
            return True
        claim = self._claim
        is_signed, is_open = claim.signed > 0, claim.is_open
        if not self._turns.may_send(address.host, now, is_signed=is_signed, is_open=is_open):
            return False
        claim.signed -= 1
        ttl, is_strict = None, False
        if is_opener and self._task is not None:
            ttl, is_strict = self._task.ends.opener(now - self._task.wave_began).value
        self._turns.pace.guessed(now)
        request = self._checks.request(address, socket, now, ttl, is_strict=is_strict)
        self._datagrams.append(request)
        return True


def _anchored(task: _Task) -> Address:
    """The one port of the peer's block to which all anchors are open."""
    return Address(task.host, meeting_ports(task.situation.theirs, task.known, 1)[0])


def _is_outdated(task: _Task, situation: Situation, ends: Endpoints, known: Sequence[int]) -> bool:
    """Whether newer facts require another plan; `known` are ports that the peer's block uses for
    other destinations."""
    if not ends.places or task.host != ends.places[0].host:
        return True
    if situation.wants_anchors and task.situation.wants_anchors:
        # A block that proves larger than it seemed still has the port that anchors are open to,
        # unless a survey that was under way has taken it.
        port, theirs = _anchored(task).port, situation.theirs
        is_taken = port in known and port not in meeting_ports(theirs, known, 1)
        return is_taken or not theirs.low <= port <= theirs.high
    if task.situation != situation or (ends.anchors and ends.anchors != task.ends.anchors):
        return True
    if task.plan is not None and task.plan.is_sure and ends.socket != task.ends.socket:
        return True
    is_newer = situation.predicts and ends.newest != task.ends.newest
    return is_newer or (situation.wants_samples and task.ends != ends)
