"""Maintenance of the path in use: learning its keepalive, and replacing it before it ends.

    lesson        a spare flow, silent for longer and longer (`keepalive`)
    replacement   a spare flow that takes the path's place before its mapping ends (`mapping_age`);
                  the peer is told, and the old one is watched until it has ended; if no spare
                  flow opens, the owner may open many and ask the peer to guess one

Rules:
- One spare flow at a time, and one lesson for all peers (`flows`); a replacement does not wait for
  a lesson.
- Nothing here is urgent: without an answer it is postponed, and the path in use stays as it is.
- A watched mapping carries only requests for a delayed answer: anything else would renew the
  mapping where ports are kept, and then it would never seem to end.
"""

from collections import deque
from dataclasses import dataclass
from random import Random

from natd.core.base.local_ports import AGREED
from natd.core.base.timers import backed_off, earliest
from natd.core.base.types import MAIN_SOCKET, Address, Datagram, PathKind, SocketId
from natd.core.base.wishes import SampleWanted
from natd.core.checks.checks import (
    ANSWER_AFTER,
    ANSWER_LATE_S,
    GUESS_US,
    WAS_SILENT,
    CheckAnswer,
    Checks,
    agreed_port,
    two_bytes,
)
from natd.core.codec import stun
from natd.core.paths.events import MaintenanceEvent, PathReplaced, PathRetired, SuccessorWanted
from natd.core.paths.flows import FlowsToPeer, Subject
from natd.core.paths.keepalive import KEEPALIVE_S
from natd.core.paths.mapping_age import SURVIVED_S, MappingAge
from natd.core.paths.path import Path
from natd.core.paths.spare_flow import LADDER, TRUSTING_LADDER, SpareFlow

IDLE_S = 5.0
"""A mapping that ended after a longer silence than this ended because of the silence."""

BROKEN_S = 20.0
"""For how long after a break an observed change is put down to it."""

WATCH_S = 8
"""How long a watched mapping is silent at a time: the error of the learned age."""

NOMINATE_S = (0.0, 0.3, 1.0)
"""When to tell the peer that another path is in use.  It also follows our data, and the old path
lives on for a while."""

OVERLAP_S = 15.0
"""How long the old path still accepts packets: the peer follows within `NOMINATE_S`."""

SPARE_RETRY_S, LONGEST_SPARE_RETRY_S = 3.0, 60.0
TELL_EVERY_S = 10.0


@dataclass(slots=True)
class _ReplacedPath:
    """A path that was replaced: kept for a while, and perhaps watched until its mapping ends."""

    key: tuple[Address, SocketId]
    born: float
    until: float
    asked_at: float | None = None  # None: it is not watched

    @property
    def at(self) -> float:
        return self.until if self.asked_at is None else self.asked_at + WATCH_S + ANSWER_LATE_S


class Maintenance:
    """See the top of this file."""

    def __init__(self, checks: Checks, random: Random, flows: FlowsToPeer) -> None:
        self.keepalive_s = KEEPALIVE_S
        """How long the path in use may be silent, as learned so far."""
        self.is_alone = False
        """Whether no server answers: what a lesson would teach is not used then."""
        self.due_at: float | None = None
        """When to call `handle_timer`; None: never."""
        self.begin_at: float | None = None
        """The same, but only while the path in use is not in doubt."""
        self.sockets: frozenset[SocketId] = frozenset()
        """Sockets needed besides that of the path in use."""
        self.datagrams: list[Datagram] = []
        """To send; the owner takes them."""
        self.events: deque[MaintenanceEvent] = deque()
        """To be told; the owner takes them."""
        self._checks = checks
        self._random = random
        self._path: Path | None = None  # None: no path
        self._flows = flows
        self._subject: Subject | None = None  # None: there was no path yet
        self._age = MappingAge()
        self._born: dict[SocketId, float] = {}  # latest possible creation of their mappings
        # How the peer sees each of our sockets, and the peer's address at that time.
        self._mapped: dict[SocketId, tuple[Address, Address]] = {}
        self._broken = (float("-inf"), 0.0)  # instant, and the silence before
        self._spare: SpareFlow | None = None  # None: no lesson, no replacement
        self._is_lesson = False
        self._asked_at: float | None = None  # None: no lesson's answer is awaited
        self._asked_s = 0  # after which silence
        self._sought_at: float | None = None  # None: no successor is guessed
        self._renew_after = 0.0
        self._failures = 0
        self._replaced: list[_ReplacedPath] = []
        self._nominate: list[float] = []
        self._told_at = float("-inf")
        self._to_tell: int | None = None  # None: no gap is to be explained

    # --- inputs

    def use(self, path: Path, now: float) -> None:
        """This path is in use from now on."""
        before, self._path = self._path, path
        if before is None or before.address != path.address:
            if self._is_lesson and self._subject is not None:
                self._subject.put_off(self._flows, now)
            self._drop_spare()
        self._subject = self._flows.subject(path.kind, now)
        self._born.setdefault(path.socket, now)
        self._sought_at = None
        kept = {MAIN_SOCKET, path.socket, *self.sockets}
        self._mapped = {s: seen for s, seen in self._mapped.items() if s in kept}
        self._born = {s: born for s, born in self._born.items() if s in kept}
        self._replaced = [old for old in self._replaced if old.key != path.key]
        is_there = before is not None and before.address == path.address
        if is_there and before is not path and now - self._broken[0] <= BROKEN_S:
            self.missed_by_peer(self._broken[1], now)  # only a new mapping of ours can lead there
        self._rearm()

    def drop(self) -> None:
        """No path is left."""
        self._path = self._sought_at = None
        self._replaced.clear()
        self._nominate.clear()
        self._drop_spare()
        self._rearm()

    def check_answered(self, answered: CheckAnswer, quiet_s: float, now: float) -> bool:
        """Take the answer to a check of the maintenance; False: it is none.  `quiet_s`: how long
        the peer was not heard before."""
        is_ours = self._take_answer(answered, quiet_s, now)
        self._rearm()
        return is_ours

    def awaits_sample(self, socket: SocketId) -> bool:
        return self._spare is not None and self._spare.socket == socket

    def sampled(self, socket: SocketId, observed: Address, now: float) -> None:
        if self._spare is not None and self.awaits_sample(socket):
            self._spare.sampled(observed.port, now)
            self._rearm()

    def seek(self, now: float, *, is_new: bool) -> None:
        """Many flows to the peer are being opened; the one that the peer guesses is the successor.
        `is_new`: all of them are new."""
        if self._path is not None:
            if is_new or self._sought_at is None:
                self._sought_at = now
            self._ask(self._path.key, (GUESS_US, b""), now)

    def missed_by_peer(self, quiet_s: float, now: float) -> None:
        """Nothing of the peer came through until we sent something: our mapping had ended after a
        silence of `quiet_s`."""
        path = self._path
        if path is None:
            return
        if quiet_s >= IDLE_S:
            self._forget_lesson(now, is_certain=True)
        elif path.kind not in (PathKind.LAN, PathKind.IPV6):
            self._age.busy_mapping_ended()
        self._born[path.socket] = now
        self._rearm()

    def found_dead(self, quiet_s: float, now: float) -> None:
        """The path in use stopped answering after a silence of `quiet_s`."""
        self._broken = (now, quiet_s)
        self._sought_at = None  # a path found from now on is not the successor
        if quiet_s >= IDLE_S:
            self._forget_lesson(now, is_certain=False)
            self._rearm()

    def heard_at_last(self, quiet_s: float, now: float) -> None:
        """The peer's own packet ended a gap.  Either its mapping had ended, and it can't know that,
        or ours came back as another one; a check tells the two apart."""
        if self._path is not None and now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            self._to_tell = min(int(quiet_s), 0xFFFF)
            self.datagrams.append(self._checks.request(*self._path.key, now))

    def handle_timer(self, now: float) -> None:
        if self._path is None:
            return
        self._drive_spare(now)
        self._drive_old(now)
        while self._nominate and self._nominate[0] <= now:
            self._nominate.pop(0)
            self._ask(self._path.key, (stun.USE_CANDIDATE, b""), now)
        if self._path.probing_since is None:
            self._begin(now)
        self._rearm()

    # --- private

    def _take_answer(self, answered: CheckAnswer, quiet_s: float, now: float) -> bool:
        key = (answered.address, answered.socket)
        if self._path is not None and key == self._path.key:
            self._take_mapped(answered, quiet_s, now)
        if answered.rtt_s >= WATCH_S - 1.0:
            for old in self._replaced:
                if old.key == key and old.asked_at is not None:
                    self._go_on_watching(old, now)
                    return True
        spare = self._spare
        if self._sought_at is not None and self._is_successor(answered):
            self._replace(answered.socket, self._sought_at, answered.rtt_s, now)
            return True
        if spare is None or not spare.answered(answered):
            return False
        if self._asked_at is not None:
            self._take_lesson(answered.rtt_s, now)
        elif not self._is_lesson:
            self._replace(spare.socket, spare.begun_at, answered.rtt_s, now)
        return True

    def _rearm(self) -> None:
        """Set the attributes that the owner reads between inputs."""
        self.keepalive_s = KEEPALIVE_S if self._subject is None else self._subject.keepalive.wait_s
        spare = () if self._spare is None else (self._spare.socket,)
        self.sockets = frozenset((*spare, *(old.key[1] for old in self._replaced)))
        if self._path is None:
            self.due_at = self.begin_at = None
            return
        self.begin_at = earliest(*self._begins_at())
        self.due_at = earliest(
            None if self._spare is None else self._spare.get_timer(),
            None if self._asked_at is None else self._answer_due_at(),
            *(old.at for old in self._replaced),
            self._nominate[0] if self._nominate else None,
        )

    # --- private: the spare flow

    def _renew_at(self) -> float | None:
        path, after_s = self._path, self._age.renew_after_s
        if path is None or after_s is None or path.kind in (PathKind.LAN, PathKind.IPV6):
            return None
        return max(self._born[path.socket] + after_s, self._renew_after)

    def _begins_at(self) -> tuple[float | None, float | None]:
        """When a replacement and when a lesson is due."""
        renew_at = self._renew_at() if self._spare is None or self._is_lesson else None
        lesson_at = None if self._subject is None else self._subject.begin_at(self, self._flows)
        # A spare flow that ends because of its age proves nothing about silence.
        can_learn = self._spare is None and self._age.age_s is None and not self.is_alone
        return renew_at, lesson_at if can_learn else None

    def _begin(self, now: float) -> None:
        renew_at, lesson_at = self._begins_at()
        if renew_at is not None and renew_at <= now:
            self._drop_spare()
            self._open_spare(now, is_lesson=False)
        elif lesson_at is not None and lesson_at <= now:
            self._open_spare(now, is_lesson=True)

    def _open_spare(self, now: float, *, is_lesson: bool) -> None:
        path = self._path
        assert path is not None
        port = agreed_port(self._random.randrange(len(AGREED)))
        ladder = TRUSTING_LADDER if is_lesson else LADDER
        if is_lesson and self._subject is not None:
            self._subject.begin(self, now)
        self._spare = SpareFlow(SocketId(port), port, path.key, path.rtt_s, now, ladder)
        self._is_lesson = is_lesson
        self._drive_spare(now)

    def _drive_spare(self, now: float) -> None:
        spare = self._spare
        if spare is None:
            return
        self.datagrams += spare.due(self._checks, now)
        if spare.take_sample_wish():
            self.events.append(SampleWanted(spare.socket))
        if self._asked_at is not None and self._answer_due_at() <= now:
            assert self._subject is not None
            if self._subject.keepalive.silence_s == self._asked_s:
                self._subject.missed(self._flows, now)
            self._drop_spare()
        elif spare.failed:
            self._fail(now)
        elif spare.is_open and self._is_lesson and self._asked_at is None:
            self._ask_silence(spare, now)

    def _fail(self, now: float) -> None:
        """The spare flow can't be opened, for example because the peer can't know its port."""
        wait_s = backed_off(self._failures, SPARE_RETRY_S, LONGEST_SPARE_RETRY_S)
        self._renew_after = now + wait_s
        self.events.append(SuccessorWanted(self._failures))
        self._failures += 1
        self._drop_spare()

    def _drop_spare(self) -> None:
        if self._is_lesson and self._subject is not None:
            self._subject.end(self)
        self._spare = self._asked_at = None
        self._is_lesson = False

    # --- private: lessons

    def _forget_lesson(self, now: float, *, is_certain: bool) -> None:
        if self._subject is not None:
            self._subject.gone(now, is_certain=is_certain)
            if self._is_lesson:
                self._drop_spare()

    def _ask_silence(self, spare: SpareFlow, now: float) -> None:
        assert self._subject is not None
        silence_s = self._subject.keepalive.silence_s
        if silence_s is None:
            self._drop_spare()
            return
        self._asked_at, self._asked_s = now, silence_s
        self._subject.begin(self, now, silence_s)
        self._ask((spare.address, spare.socket), (ANSWER_AFTER, two_bytes(silence_s)), now)

    def _answer_due_at(self) -> float:
        assert self._asked_at is not None
        return self._asked_at + self._asked_s + ANSWER_LATE_S

    def _take_lesson(self, took_s: float, now: float) -> None:
        subject, spare = self._subject, self._spare
        assert subject is not None
        assert spare is not None
        if took_s < self._asked_s - 1.0:
            return
        if subject.keepalive.silence_s != self._asked_s:
            self._drop_spare()  # with another peer a mapping was gone meanwhile
            return
        subject.answered(self._flows)
        self._ask_silence(spare, now)

    # --- private: replacements

    def _take_mapped(self, answered: CheckAnswer, quiet_s: float, now: float) -> None:
        """Take how the peer sees the path in use: another port means another mapping."""
        mapped, to_tell = answered.mapped, self._to_tell
        if mapped is None:
            return
        self._to_tell = None
        there, before = self._mapped.get(answered.socket, (answered.address, mapped))
        self._mapped[answered.socket] = (answered.address, mapped)
        broken_at, broken_quiet_s = self._broken
        if mapped.host != before.host:
            self._drop_spare()
            if self._subject is not None:
                self._subject.restart(now)
        elif mapped != before and there == answered.address:
            self.missed_by_peer(quiet_s, now)
        elif mapped != before and now - broken_at <= BROKEN_S:
            # At another address another port proves a new mapping only right after a break.
            self.missed_by_peer(broken_quiet_s, now)
        elif to_tell is not None and self._path is not None:
            self._ask(self._path.key, (WAS_SILENT, two_bytes(to_tell)), now)

    def _is_successor(self, answered: CheckAnswer) -> bool:
        """Whether the answer belongs to a flow that the peer has guessed."""
        is_there = self._path is not None and answered.address == self._path.address
        return is_there and not answered.is_delayed and answered.socket not in self._born

    def _replace(self, socket: SocketId, born: float, rtt_s: float, now: float) -> None:
        old = self._path
        assert old is not None
        retired = _ReplacedPath(old.key, self._born.get(old.socket, now), until=now + OVERLAP_S)
        if self._age.is_to_be_watched and all(other.asked_at is None for other in self._replaced):
            self._ask_old(retired, now)
        self._replaced.append(retired)
        self._age.renewed()
        self._failures = 0
        self._born[socket] = born
        self._renew_after = now + SPARE_RETRY_S
        self._nominate = [now + wait_s for wait_s in NOMINATE_S]
        self._drop_spare()
        self.events.append(PathReplaced(old.address, socket, rtt_s))

    def _ask_old(self, old: _ReplacedPath, now: float) -> None:
        old.asked_at = now
        self._ask(old.key, (ANSWER_AFTER, two_bytes(WATCH_S)), now)

    def _go_on_watching(self, old: _ReplacedPath, now: float) -> None:
        if now - old.born >= SURVIVED_S:
            self._age.survived()
            self._retire(old)
        else:
            self._ask_old(old, now)

    def _drive_old(self, now: float) -> None:
        for old in [old for old in self._replaced if old.at <= now]:
            if old.asked_at is not None:
                self._age.ended(old.asked_at - old.born)
            self._retire(old)

    def _retire(self, old: _ReplacedPath) -> None:
        self._replaced.remove(old)
        self.events.append(PathRetired(*old.key))

    def _ask(self, key: tuple[Address, SocketId], asks: tuple[int, bytes], now: float) -> None:
        self.datagrams.append(self._checks.request(*key, now, asks=asks))
