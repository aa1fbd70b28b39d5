"""Who may be attached to the control socket, and who gives way where there is no more room.

    connected ─► a request ─┬─► client: has a place, stays as long as it likes, may subscribe
        │                   ├─► guest: without a place, while its request is answered
        │                   └─► refused, and told who holds the places
        └─► too many: hung up on, those first who have said nothing, of these the oldest

Rules that a change must not break:

- There is room for one more connection at any time: more are allowed than there are clients and
  guests together, so that somebody can give way.
- The owner is never locked out: commands that ask once are a guest's, and `hello`, `status` and
  `shutdown` are answered where there is no room for guests either.
- Nobody who has a place, or an answer to come, is hung up on to make room.
"""

import os
from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

from natd.host.errors import CommandError

CLIENTS_LIMIT = 64
GUESTS_LIMIT = 16
CONNECTIONS_LIMIT = CLIENTS_LIMIT + GUESTS_LIMIT + 64
"""Of all kinds; an idle connection costs a descriptor and some kilobytes."""

HANDSHAKE_S = 5.0
"""From the connection to the end of the handshake, and from the first byte to the last of a request
without a place: every client does that at once."""

TOLD_S = 60.0
"""For so long after the last refusal or hang-up it counts as a problem."""

HOLDERS_TOLD = 3
"""Processes that are named, those with the most connections."""

ALWAYS_ANSWERED = ("hello", "status", "shutdown")
LASTING = ("subscribe",)
"""What a guest may not: it would stay."""

CROWD_HINT = "end one of these programs; commands that ask once, and `natctl shutdown`, still work"


class Stage(IntEnum):
    """How far a connection has come; a lower one gives way first."""

    SILENT = 0
    GREETING = 1
    IDLE = 2
    """The handshake is over, and there is nothing to answer."""
    GUEST = 3
    CLIENT = 4


class Connected(Protocol):
    """What there is to know about a connection."""

    stage: Stage
    active_at: float
    """When it connected; after the handshake, when its last request began or was answered."""

    @property
    def pid(self) -> int:
        """Of the process that connected; 0 where that is in another container."""

    @property
    def has_begun(self) -> bool:
        """Whether a part of a request has come."""


Who = TypeVar("Who", bound=Connected)


class Admission(Generic[Who]):
    """The places of one control socket, of which `connections` may be open at a time."""

    def __init__(self, connections: int = CONNECTIONS_LIMIT) -> None:
        self.most_connections = connections
        self.most_clients = min(CLIENTS_LIMIT, connections // 2)
        self.most_guests = min(GUESTS_LIMIT, max(1, connections // 8))
        self._counts: Counter[Stage] = Counter()
        # When somebody last found no room; None: nobody ever.
        self._troubled_at: float | None = None
        # How many were connected when no more could be opened; None: that has not been.
        self._most_opened: int | None = None

    def entered(self, who: Who) -> None:
        self._counts[who.stage] += 1

    def left(self, who: Who) -> None:
        self._counts[who.stage] -= 1

    def has_greeted(self, who: Who, *, is_over: bool) -> None:
        """Something has come from it, and the handshake `is_over` or not."""
        if who.stage < Stage.IDLE:
            self._move(who, Stage.IDLE if is_over else Stage.GREETING)

    def admit(self, who: Who, do: object, among: Iterable[Connected], now: float) -> None:
        """Let it ask for `do`; CommandError, which names those `among` it who hold the places,
        where there is no room for that."""
        if who.stage == Stage.CLIENT:
            return
        if self._counts[Stage.CLIENT] < self.most_clients:
            self._move(who, Stage.CLIENT)
            return
        if do not in LASTING:
            if self._counts[Stage.GUEST] < self.most_guests:
                self._move(who, Stage.GUEST)
            if who.stage == Stage.GUEST or do in ALWAYS_ANSWERED:
                return
        self._troubled_at = now
        raise CommandError("too_many_clients", self._words(among), CROWD_HINT)

    def answered(self, who: Who, now: float) -> None:
        """It has no answer to come any more."""
        who.active_at = now
        if who.stage == Stage.GUEST:
            self._move(who, Stage.IDLE)

    @property
    def is_full(self) -> bool:
        """Whether somebody has to go before one more comes in."""
        return self._counts.total() >= self.most_connections

    def first_to_go(self, among: Iterable[Who], now: float) -> Who | None:
        """Who makes room for another, also where the process can open no more; None where all are
        clients and guests."""
        self._troubled_at = now
        self._most_opened = None if self.is_full else self._counts.total()
        free = [one for one in among if one.stage <= Stage.IDLE]
        return min(free, key=lambda one: (one.stage, one.active_at), default=None)

    def overdue(self, among: Iterable[Who], now: float) -> list[Who]:
        """Who has begun a handshake or a request and does not end it."""
        return [
            one
            for one in among
            if now >= one.active_at + HANDSHAKE_S
            and (one.stage < Stage.IDLE or (one.stage == Stage.IDLE and one.has_begun))
        ]

    def problem(self, among: Iterable[Connected], now: float) -> dict[str, str] | None:
        """`code`, `text` and `hint` for `status`; None where there is and was room."""
        was_recent = self._troubled_at is not None and now < self._troubled_at + TOLD_S
        if self._counts[Stage.CLIENT] < self.most_clients and not was_recent:
            return None
        return {"code": "too_many_clients", "text": self._words(among), "hint": CROWD_HINT}

    def _move(self, who: Who, stage: Stage) -> None:
        self._counts[who.stage] -= 1
        self._counts[stage] += 1
        who.stage = stage

    def _words(self, among: Iterable[Connected]) -> str:
        held = _holders(among)
        if self._counts[Stage.CLIENT] >= self.most_clients:
            return f"natd serves {self.most_clients} programs at a time: all places are taken{held}"
        if self._most_opened is not None:
            return f"natd has {self._most_opened} connections and may open no more files{held}"
        return f"more than {self.most_connections} connections to natd at a time{held}"


def _holders(among: Iterable[Connected]) -> str:
    """`: process 812 (python3) holds 60, process 99 (node) holds 4`; empty where nobody knows."""
    counts = Counter(one.pid for one in among if one.pid)
    told = [f"process {pid}{_name(pid)} holds {n}" for pid, n in counts.most_common(HOLDERS_TOLD)]
    return ": " + ", ".join(told) if told else ""


def _name(pid: int) -> str:
    """In brackets; empty where that can't be read."""
    try:
        descriptor = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        name = os.read(descriptor, 64).decode("utf-8", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return f" ({name})" if name and name.isprintable() else ""
