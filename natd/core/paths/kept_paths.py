"""The paths of one peer and everything that is done to keep them: what `reach` sees as its paths.

    paths    which one to use, and whether it lives
    upkeep   how long it may be silent, and when it is to be replaced
    favours  what the peer asks for, for the same ends

Rules:
- A check that only asks for an answer is answered, and tells nothing about a path.
- What ends a gap shows whose NAT had forgotten the other side.  The one whose NAT it was can't
  know, so it is told.
"""

from collections import deque
from random import Random

from natd.core.base.timers import earliest
from natd.core.base.types import Address, Datagram, PathKind, PathReport, SocketId
from natd.core.base.wishes import SampleWanted
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import WAS_SILENT, Answered, Checks
from natd.core.codec import stun
from natd.core.paths.events import (
    GapClosed,
    PathChosen,
    PathsEvent,
    PathsLost,
    PathSuspected,
    SuccessorOffered,
    SuccessorWanted,
)
from natd.core.paths.maintenance import Replaced, Retired, Upkeep, UpkeepEvent
from natd.core.paths.paths import Paths
from natd.core.paths.requests_of_peer import Favours, number

RENEWED = "renewed"

KeptPathsEvent = PathsEvent | SampleWanted | SuccessorWanted | SuccessorOffered


class KeptPaths:
    """See the top of this file."""

    def __init__(self, checks: Checks, budget: TargetBudget, random: Random) -> None:
        self._paths = Paths(checks, budget, random)
        self._upkeep = Upkeep(checks, random)
        self._favours = Favours(checks)
        self._events: deque[KeptPathsEvent] = deque()

    # --- inputs

    def add(
        self,
        address: Address,
        socket: SocketId,
        kind: PathKind,
        technique: str,
        rtt_s: float,
        now: float,
    ) -> None:
        """A check of ours was answered from `address`."""
        self._paths.add(address, socket, kind, technique, rtt_s, now)
        self._settle(now)

    def is_new(self, message: stun.StunMessage) -> bool:
        """Whether this check of the peer's was not here before; from now on it was."""
        return self._favours.is_new(message)

    def receive_check(
        self, message: stun.StunMessage, response: Datagram, kind: PathKind, now: float
    ) -> bool:
        """A check of the peer's came, to which `response` is the answer; False where it wants
        that and nothing else."""
        if not self._favours.answer(message, response, now):
            return False
        key = (response.address, response.socket)
        nominates = message.get(stun.USE_CANDIDATE) is not None
        self._paths.heard(*key, kind, now, is_data=nominates, is_nomination=nominates)
        if key == self._paths.in_use:
            self._favours.open(message, key, now)
            quiet_s = number(message, WAS_SILENT)
            if quiet_s is not None:
                self._upkeep.missed_by_peer(quiet_s, now)
            if self._favours.grants_guesses(message, now):
                self._events.append(SuccessorOffered())
        self._settle(now)
        return True

    def heard(self, address: Address, socket: SocketId, kind: PathKind, now: float) -> None:
        """A datagram of a session with the peer came from `address`."""
        self._paths.heard(address, socket, kind, now, is_data=True)
        self._settle(now)

    def check_answered(self, answered: Answered, now: float) -> bool:
        """Whether the answered check was one of ours."""
        heard_at = self._paths.heard_at
        quiet_s = 0.0 if heard_at is None else now - heard_at
        ours = self._upkeep.check_answered(answered, quiet_s, now)
        ours = ours or self._paths.check_answered(answered, now)
        self._settle(now)
        return ours

    def sampled(self, socket: SocketId, observed: Address, now: float) -> None:
        """A server saw `socket` at this address."""
        self._upkeep.sampled(socket, observed, now)
        self._settle(now)

    def sent(self, now: float, *, awaiting: bool) -> None:
        self._paths.sent(now, awaiting=awaiting)

    def probe(self, now: float) -> None:
        """Ask for an answer at once."""
        self._paths.probe(now)
        self._paths.handle_timer(now)
        self._settle(now)

    def seek_successor(self, now: float, *, is_new: bool) -> None:
        """Flows that may take the place of the path in use are being opened: ask the peer to
        guess one."""
        self._upkeep.seek(now, is_new=is_new)

    def drop(self) -> None:
        self._paths.drop()
        self._upkeep.drop()
        self._favours.clear()

    def handle_timer(self, now: float) -> None:
        self._paths.handle_timer(now)
        self._upkeep.handle_timer(now)
        self._favours.handle_timer(now)
        self._settle(now)

    # --- outputs

    def answers_to_send(self) -> list[Datagram]:
        """What answers the peer's checks: it goes before anything of our own."""
        return self._favours.datagrams_to_send()

    def datagrams_to_send(self) -> list[Datagram]:
        return [
            *self._favours.datagrams_to_send(),
            *self._upkeep.datagrams_to_send(),
            *self._paths.datagrams_to_send(),
        ]

    def next_event(self) -> KeptPathsEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        return earliest(
            self._paths.get_timer(), self._upkeep.get_timer(), self._favours.get_timer()
        )

    @property
    def in_use(self) -> tuple[Address, SocketId] | None:
        return self._paths.in_use

    @property
    def sockets(self) -> frozenset[SocketId]:
        return self._paths.sockets | self._upkeep.sockets | self._favours.sockets

    @property
    def healthy(self) -> bool:
        return self._paths.healthy

    @property
    def report(self) -> PathReport | None:
        return self._paths.report

    @property
    def keepalive_s(self) -> float:
        """How long the path in use may be silent, as far as that is learned."""
        return self._upkeep.keepalive_s

    # --- private

    def _settle(self, now: float) -> None:
        while True:
            if (event := self._paths.next_event()) is not None:
                self._take_path_event(event, now)
            elif (wish := self._upkeep.next_event()) is not None:
                self._take_upkeep_event(wish, now)
            else:
                break
        self._paths.keepalive_s = self._upkeep.keepalive_s

    def _take_path_event(self, event: PathsEvent, now: float) -> None:
        path = self._paths.current
        match event:
            case PathChosen():
                assert path is not None
                self._upkeep.use(path, now)
            case GapClosed(by_peer=True, quiet_s=quiet_s, is_certain=True):
                self._upkeep.heard_at_last(quiet_s, now)
            case GapClosed(quiet_s=quiet_s, is_certain=True):
                self._upkeep.found_dead(quiet_s, now)
            case PathSuspected() if path is not None:
                self._upkeep.found_dead(path.quiet_s, now)
            case PathsLost():
                self._upkeep.drop()
        self._events.append(event)

    def _take_upkeep_event(self, event: UpkeepEvent, now: float) -> None:
        match event:
            case Replaced(address, socket, rtt_s):
                report = self._paths.report
                assert report is not None
                self._paths.add(address, socket, report.kind, RENEWED, rtt_s, now)
                self._paths.replace(address, socket, now)
            case Retired(address, socket):
                self._paths.forget(address, socket)
            case SampleWanted() | SuccessorWanted():
                self._events.append(event)
