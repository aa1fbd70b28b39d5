"""Opening a direct path to one peer.

Both sides are introduced at the same instant and check every address the other may have, on a
ladder that is dense at first, so that each NAT sees an outgoing datagram before the other
side's arrives.  The first authenticated answer decides; a later one only ever adds a path.

An attempt is a row of rounds:

    start ─► ladder ─► wait ─► sample ─► introduce again ─► ladder ─► wait ─► …
                                 │
                                 └─ poisoned, or guesses missed: fresh socket, sample it

Rules:
- While `start_in_s` runs, the nearer side sends low-TTL openers only: they open its own NAT and
  do not reach the other, whose NAT would record the early packet as a flow of its own and then
  map the real one to another port (*early-inbound poisoning*).
- A poisoned socket is replaced, not repaired.  Behind NATs that keep ports, both sides derive the
  other's next ports from the pair's keys, so no server is needed: each sends checks from its own
  agreed port to the other's old address.  Before that, as the attempt begins, its main socket
  sends low-TTL openers alone towards the other's agreed ports: a check that came before them would
  poison those, too.  Behind other NATs the fresh socket sends nothing to the peer until a server
  has seen it and has introduced both sides again.
- Where guesses that should have met have not, the socket counts as poisoned, too, once an attempt:
  Linux gives all later flows of a socket the port of the spoilt one, and no sample shows that while
  its flows to all ports of the servers are older.
- Behind a hard NAT that counts its ports up, the peer can guess the next port only from a fresh
  sample.  So each round has a fresh socket, which is sampled before it sends anything else, and at
  once if the peer has just been sampled (`prediction.samples`).
- `targets` keeps what is checked, and from where; this file decides when, and why.
- After `VERDICT_AFTER_S` without a path, or sooner where both NATs leave no hope, the attempt
  reports that once, and goes on quietly.
"""

from collections import deque
from collections.abc import Iterable
from random import Random

from natd.core.base.timers import earliest
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Allocation,
    Candidate,
    Datagram,
    NatReport,
    SocketId,
)
from natd.core.base.wishes import FreshSocketWanted, IntroductionWanted, SampleWanted
from natd.core.checks.budget import TargetBudget
from natd.core.checks.candidates import path_kind
from natd.core.checks.checks import CheckAnswer, Checks
from natd.core.checks.host_proofs import HostProofs
from natd.core.prediction.strategy import Situation
from natd.core.punch.attempt import Attempt, wait_s
from natd.core.punch.derived_ports import MEETING_LEAD_S
from natd.core.punch.events import AttemptFailed, PathFound, PunchEvent
from natd.core.punch.targets import AGREED_ROUNDS, Targets

UNKNOWN_RTT_S = 0.2
SAMPLE_PATIENCE_S = 1.0
INTRODUCTION_PATIENCE_S = 0.5
"""How long to wait for a server before the round goes on without it."""


class Punch:
    """One peer's attempts, one after the other."""

    def __init__(
        self,
        checks: Checks,
        budget: TargetBudget,
        random: Random,
        proofs: HostProofs | None = None,
    ) -> None:
        """`proofs`: at which hosts the peer surely is."""
        self.targets: tuple[Candidate, ...] = ()
        """The addresses that the attempt checks, best first."""
        self.events: deque[PunchEvent] = deque()
        """Events that `next_event` has not given yet."""
        self.sampled_at: float | None = None
        """When a server was asked how it sees the attempt's socket; None: it was not asked."""
        self._random = random
        self._targets = Targets(checks, budget, proofs)
        self._meetings = budget.meetings
        self._attempt: Attempt | None = None  # None: nothing is being tried
        self._nats = (NatReport(), NatReport())
        self._needs_fresh_sockets = False  # whether the peer has to guess our next port
        self._is_hopeless = False  # whether only outside help can connect the two
        self._is_doubtful = False  # whether a NAT only seems easy
        self._ours: tuple[Address, ...] = ()
        self._rtt_s = UNKNOWN_RTT_S

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

        `fresh`: something has changed, so targets that failed before may now succeed.
        """
        before = self._attempt if self.active else None
        if before is not None and not fresh and self._awaits_fresh_socket(before):
            self._suppose(targets, nats, ours)
            return
        self._attempt = attempt = Attempt(began=now, full_ttl_at=now + start_in_s)
        if before is not None:
            attempt.began, attempt.judged = before.began, before.judged
            attempt.heard = before.heard
            attempt.has_left_socket = before.has_left_socket and not fresh
        if before is not None and not fresh:
            attempt.round = before.round + before.asked
        else:
            self._targets.forget_tried()
        self._suppose(targets, nats, ours)
        self._rtt_s = rtt_s or UNKNOWN_RTT_S
        self._targets.full_ttl_at = attempt.full_ttl_at
        self._targets.is_hopeless = self._is_hopeless and attempt.round > 0
        if before is None:
            self._targets.open_to_agreed_ports(self.targets, nats, now)
        opened_in_s = wait_s(0, self._rtt_s, self._random) + MEETING_LEAD_S
        call_at = None if before is None else attempt.full_ttl_at + opened_in_s
        meetings = self._targets.begin(self.targets, nats[1], now, call_at)
        if attempt.round >= AGREED_ROUNDS:
            self._targets.meet_again(self.targets, nats, now)
        attempt.escalate_at = attempt.full_ttl_at + self._wait_s(attempt)
        if before is not None and not fresh and not before.asked:
            # Introduced twice in one round: the other side may count from the first introduction.
            attempt.escalate_at = earliest(attempt.escalate_at, before.escalate_at)
            if before.round == 0 and self._is_doubtful:
                since_first = before.full_ttl_at + self._wait_s(attempt)
                attempt.escalate_at = earliest(attempt.escalate_at, since_first)
        if meetings and before is not None and not fresh:
            last_at = max(meetings.values())
            attempt.escalate_at = last_at + self._wait_s(attempt)
            for host in meetings:
                self._targets.rest(host)
        self.handle_timer(now)

    def add(self, targets: Iterable[Candidate], now: float) -> None:
        """Check further addresses that have become known meanwhile."""
        self.targets = tuple(dict.fromkeys((*self.targets, *targets)))
        if self._attempt is None or not self._attempt.is_held:
            self._targets.add(self.targets, self._nats[1], now)
        self.handle_timer(now)

    def sample_now(self, now: float) -> None:
        """The peer has just been sampled: sample our socket now, without waiting."""
        if self._attempt is not None and self._attempt.escalate_at is not None:
            self._attempt.escalate_at = now
            self.handle_timer(now)

    def rest_until(self, at: float) -> None:
        """Ports are guessed until then: sample no further socket before."""
        attempt = self._attempt
        if attempt is not None and attempt.escalate_at is not None:
            attempt.escalate_at = max(attempt.escalate_at, at)

    def learn_rtt(self, rtt_s: float | None) -> None:
        """Take the round trip to our server, which a newcomer learns during its first checks."""
        attempt = self._attempt
        if rtt_s is None or attempt is None or attempt.round or attempt.escalate_at is None:
            return
        self._rtt_s = rtt_s
        sooner = attempt.full_ttl_at + self._wait_s(attempt)
        attempt.escalate_at = min(attempt.escalate_at, sooner)

    def learn_nat(self, ours: NatReport) -> None:
        """Servers have shown what our NAT does, as a newcomer learns during its first checks."""
        self._suppose(self.targets, (ours, self._nats[1]), self._ours)

    def check_received(self, address: Address, socket: SocketId, now: float) -> None:
        """An authentic check of the peer came from `address`: send one there at once."""
        if self._attempt is not None:
            self._attempt.heard = True
            self._targets.check_received(address, socket, now)

    def check_answered(self, answer: CheckAnswer) -> PathFound | None:
        """The path that an answer has shown, if it is a new one."""
        if self._attempt is None:
            return None
        candidate = self._targets.prove(answer.address, answer.socket)
        if candidate is None:
            return None
        self.settle()
        self._targets.rest_behind(candidate, self._ours)
        technique = "re-roll" if answer.socket != MAIN_SOCKET else "simultaneous-open"
        kind = path_kind(candidate, self._ours)
        return PathFound(answer.address, answer.socket, kind, technique, answer.rtt_s)

    def path_answered(self, address: Address, socket: SocketId) -> None:
        """A path that was known before has answered: the checks to it have done what they can."""
        if self._attempt is not None:
            candidate = self._targets.prove(address, socket)
            if candidate is not None:
                self._targets.rest_behind(candidate, self._ours)

    def awaits_sample(self, socket: SocketId) -> bool:
        attempt = self._attempt
        is_awaited = attempt is not None and attempt.sample_by is not None
        return is_awaited and socket == self._targets.socket

    def sampled(self, socket: SocketId, observed: Address, *, poisoned: bool, now: float) -> None:
        """A server port without a flow saw `socket` as `observed`."""
        attempt = self._attempt
        if attempt is None or not self.awaits_sample(socket):
            return
        attempt.sample_by = None
        attempt.unanswered, attempt.is_unheard = 0, False
        if poisoned:
            self._targets.pause()
            self.events.append(FreshSocketWanted())
        else:
            self._introduce((observed,), now)

    def server_is_silent(self) -> None:
        """No server has answered our last request for an introduction in time."""
        if self._attempt is not None:
            self._attempt.is_unheard = True

    def leave_socket(self, *, has_server: bool) -> None:
        """Nothing comes to our socket, though the peer should have opened its NAT to it: take
        another one, if a server can tell the peer of it."""
        attempt = self._attempt
        if attempt is None or not self.active or not has_server or attempt.is_unheard:
            return
        if not attempt.has_left_socket:
            attempt.has_left_socket = True
            attempt.escalate_at = attempt.retry_at = None
            self._targets.pause()
            self.events.append(FreshSocketWanted())

    def use_socket(self, socket: SocketId, now: float) -> None:
        """The owner's answer to `FreshSocketWanted`."""
        if self._attempt is not None and self.active:
            self._targets.socket = socket
            self._attempt.is_held = not self._attempt.is_unheard
            self._attempt.sample_by = now + SAMPLE_PATIENCE_S
            self.sampled_at = now
            self.events.append(SampleWanted(socket))

    def is_checking(self, address: Address, socket: SocketId) -> bool:
        """Whether this is a target of the attempt."""
        return (address, socket) in self._targets

    def settle(self) -> None:
        """A path was found: the running ladder may still find a better one, but no further round
        begins."""
        if self._attempt is not None:
            self._attempt.settled, self._attempt.is_held = True, False
            self._attempt.escalate_at = self._attempt.sample_by = self._attempt.retry_at = None

    def reached(self, address: Address, socket: SocketId) -> None:
        """This path is in use from now on."""
        self._targets.reached(address, socket)

    def stop(self) -> None:
        """The peer is gone or blocked: send nothing more to it."""
        self._attempt = None
        self.targets = ()
        self._targets.clear()

    @property
    def active(self) -> bool:
        """Whether a path is still being looked for."""
        return self._attempt is not None and not self._attempt.settled

    @property
    def next_try_at(self) -> float | None:
        """When the next step after the running checks begins, or the running step times out; None:
        nothing is being tried."""
        attempt = self._attempt
        if attempt is None or attempt.settled:
            return None
        return earliest(attempt.escalate_at, attempt.sample_by, attempt.retry_at)

    @property
    def is_held(self) -> bool:
        """Whether the attempt's socket waits for the introduction that tells the peer of it."""
        return self._attempt is not None and self._attempt.is_held

    @property
    def is_alone(self) -> bool:
        """Whether this attempt goes on without a server."""
        return self._attempt is not None and self._attempt.is_alone

    @property
    def is_unheard(self) -> bool:
        """Whether no server has answered what this attempt asked last."""
        return self._attempt is not None and self._attempt.is_unheard

    @property
    def has_failed_before(self) -> bool:
        """Whether a whole round of this attempt has found no path."""
        return self._attempt is not None and self._attempt.round > 0

    @property
    def socket(self) -> SocketId:
        return self._targets.socket

    @property
    def sockets(self) -> frozenset[SocketId]:
        """All that the attempt uses."""
        return self._targets.sockets

    def handle_timer(self, now: float) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        if attempt.retry_at is not None and attempt.retry_at <= now:
            self._begin_round(now)
        self._targets.handle_timer(now)
        if attempt.escalate_at is not None and attempt.escalate_at <= now:
            attempt.escalate_at = None
            attempt.sample_by = now + SAMPLE_PATIENCE_S
            if self._needs_fresh_sockets:
                self._targets.pause()
                self.events.append(FreshSocketWanted(is_alike=True))
            else:
                self.events.append(SampleWanted(self._targets.socket))
                self._targets.use_agreed_ports(
                    self.targets, self._nats, attempt.round, now, is_alone=attempt.is_alone
                )
        if attempt.sample_by is not None and attempt.sample_by <= now:
            attempt.sample_by = None
            attempt.unanswered, attempt.is_unheard = attempt.unanswered + 1, True
            if attempt.is_held and attempt.has_left_socket:
                self._targets.socket = MAIN_SOCKET  # nobody can tell the peer of another one
            attempt.is_held = False
            self._introduce((), now)
        judge_at = attempt.judge_at(is_hopeless=self._is_hopeless)
        if judge_at is not None and judge_at <= now:
            attempt.judged = True
            self.events.append(AttemptFailed(attempt.heard))

    # --- outputs

    def datagrams_to_send(self) -> list[Datagram]:
        return self._targets.datagrams_to_send()

    def next_event(self) -> PunchEvent | None:
        return self.events.popleft() if self.events else None

    def get_timer(self) -> float | None:
        attempt = self._attempt
        if attempt is None:
            return None
        return earliest(
            attempt.escalate_at,
            attempt.sample_by,
            attempt.retry_at,
            attempt.judge_at(is_hopeless=self._is_hopeless),
            self._targets.get_timer(),
        )

    # --- private

    def _suppose(
        self,
        targets: Iterable[Candidate],
        nats: tuple[NatReport, NatReport],
        ours: tuple[Address, ...],
    ) -> None:
        self.targets, self._nats, self._ours = tuple(targets), nats, ours
        self._needs_fresh_sockets = self._is_hopeless = False
        self._is_doubtful = any(nat.may_be_hard and not nat.is_hard for nat in nats)
        if any(nat.may_be_hard for nat in nats):
            situation = Situation(*nats, have_checks_failed=True)
            may_be_guessed = situation.we_are_hard or situation.is_doubtful
            is_sequence = nats[0].allocation is Allocation.SEQUENTIAL
            self._needs_fresh_sockets = is_sequence and may_be_guessed
            self._is_hopeless = situation.is_hopeless

    def _wait_s(self, attempt: Attempt) -> float:
        """From the first full check of its round to its escalation."""
        waits_s = wait_s(attempt.round, self._rtt_s, self._random, is_doubtful=self._is_doubtful)
        return waits_s + self._meetings.patience_s

    def _awaits_fresh_socket(self, attempt: Attempt) -> bool:
        """Whether a fresh socket waits for its sample and must send nothing before: the
        introduction that follows begins the round."""
        is_fresh = self._needs_fresh_sockets or attempt.is_held
        return attempt.sample_by is not None and is_fresh

    def _introduce(self, samples: tuple[Address, ...], now: float) -> None:
        """Ask for another introduction; without one the next ladder begins by itself."""
        assert self._attempt is not None
        self._attempt.asked = True
        self._attempt.retry_at = now + INTRODUCTION_PATIENCE_S
        self.events.append(IntroductionWanted(samples))

    def _begin_round(self, now: float) -> None:
        attempt = self._attempt
        assert attempt is not None
        attempt.round += 1
        attempt.asked = attempt.is_held = False
        attempt.retry_at = None
        attempt.escalate_at = now + self._wait_s(attempt)
        self._targets.add(self.targets, self._nats[1], now)
        self._targets.climb_again(now)
