"""What the paths of one node have in common: our NAT, and flows that several networks share.

    Flows ──of(peer)──► FlowsToPeer     one for each peer, whatever networks we meet it in
                            └──► Subject    what is learned of our NAT, for one kind of path

Rules:
- What a lesson teaches is a property of our own NAT (`keepalive`).  So one lesson at a time teaches
  for all peers and networks, each kind of path for itself.
- A lesson that nobody ends is over a while after its answer was due.
- After a lesson that failed, or taught what proved wrong, other peers go first: the fault may be
  that of the peer, which may have kept the flow open by packets of its own.
- Between the same two sockets there is one flow, in whichever network an authentic packet came by
  it: then no other network has to check it.
"""

from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from natd.core.base.types import Address, PathKind, PeerId, SocketId
from natd.core.paths.keepalive import AGAIN_AFTER_S, Keepalive

NEVER = float("-inf")

OTHERS_FIRST_S = 30.0
"""How much later than with others a lesson begins with a peer that is doubted."""

OPENING_S = 5.0
"""Longer than opening a spare flow takes."""


MOST_FLOWS = 32
"""To one peer: far more than it has paths.  An older one that is used is just shared no more."""


@dataclass(slots=True)
class Flow:
    """Between a socket of ours and an address of the peer."""

    heard_at: float = NEVER
    asked_at: float = NEVER
    """When a check left last."""


@dataclass(slots=True)
class Subject:
    """What is learned for one kind of path, and whose turn it is to teach."""

    keepalive: Keepalive
    _lesson: object | None = None  # None: no lesson runs
    _ends_at: float = NEVER  # when it is over, if nobody ends it before
    _taught_by: "FlowsToPeer | None" = None  # None: nothing was learned
    _doubted: "FlowsToPeer | None" = None  # None: no peer is
    _doubted_until: float = NEVER

    def begin_at(self, lesson: object, peer: "FlowsToPeer") -> float | None:
        """When this lesson with this peer may begin, unless another has begun; None: never."""
        at = self.keepalive.begin_at
        if at is None:
            return None
        if self._lesson is not None and self._lesson is not lesson:
            at = max(at, self._ends_at)
        return max(at + OTHERS_FIRST_S, self._doubted_until) if peer is self._doubted else at

    def begin(self, lesson: object, now: float, silence_s: float = 0.0) -> None:
        """It has begun, or goes on with a silence of this length."""
        self._lesson = lesson
        self._ends_at = now + silence_s + OPENING_S

    def end(self, lesson: object) -> None:
        if self._lesson is lesson:
            self._lesson = None

    def put_off(self, peer: "FlowsToPeer", now: float) -> None:
        """Another address of the peer is in use: it may change again."""
        self._doubted, self._doubted_until = peer, now + AGAIN_AFTER_S

    def answered(self, peer: "FlowsToPeer") -> None:
        self._taught_by = peer
        self.keepalive.answered()

    def missed(self, peer: "FlowsToPeer", now: float) -> None:
        self._doubted = peer
        self.keepalive.missed(now)

    def gone(self, now: float, *, is_certain: bool) -> None:
        """A mapping ended after a silence: see `Keepalive.gone`."""
        self._doubted = self._taught_by
        self.keepalive.gone(now, is_certain=is_certain)

    def restart(self, now: float) -> None:
        """Our packets leave by another NAT."""
        self.keepalive = Keepalive(now)
        self._lesson = self._taught_by = self._doubted = None


@dataclass(slots=True, weakref_slot=True, eq=False)
class FlowsToPeer:
    """The flows to one peer."""

    _subjects: dict[PathKind, Subject] = field(default_factory=dict)
    _flows: dict[tuple[Address, SocketId], Flow] = field(default_factory=dict)

    def subject(self, kind: PathKind, now: float) -> Subject:
        """What is learned for paths of this kind, from now on if nothing was."""
        found = self._subjects.get(kind)
        if found is None:
            found = self._subjects[kind] = Subject(Keepalive(now))
        return found

    def flow(self, key: tuple[Address, SocketId]) -> Flow:
        found = self._flows.get(key)
        if found is None:
            if len(self._flows) >= MOST_FLOWS:
                del self._flows[next(iter(self._flows))]
            found = self._flows[key] = Flow()
        return found


class Flows:
    """The flows to all peers."""

    def __init__(self) -> None:
        self._subjects: dict[PathKind, Subject] = {}
        self._of: WeakValueDictionary[PeerId, FlowsToPeer] = WeakValueDictionary()

    def of(self, peer: PeerId) -> FlowsToPeer:
        """To be kept by all who know this peer: it is gone with the last of them."""
        found = self._of.get(peer)
        if found is None:
            found = self._of[peer] = FlowsToPeer(self._subjects)
        return found

    def restart(self, now: float) -> None:
        """Our packets leave by another NAT."""
        for subject in self._subjects.values():
            subject.restart(now)
