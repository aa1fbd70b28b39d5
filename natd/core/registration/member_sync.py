"""Which members of a network one server has introduced us to, and how many are still missing.

The server tells how many of its members our question's `have` did not name.  Those that were
introduced since and are not in that `have` are seen; the difference is what to ask for again.
Counting so stays right while peers come and go.

An introduction that says the same as one just before is a precaution of the server against
loss, and no news.
"""

from natd.core.base.timers import Ladder, earliest
from natd.core.base.types import Address, PeerId
from natd.core.codec.rendezvous import HAVE_BYTES, Introduce

CONNECT_LADDER_S = (0.15, 0.3, 0.6)
"""Between the questions for one peer: a lost one costs little, and the owner may ask anew."""

REPEAT_WITHIN_S = 0.5
"""The precaution follows a round trip later; what comes later than this begins an attempt."""

LISTED_LIMIT = 1024
"""Four times the members that a server admits to a network."""


class MemberSync:
    """The introductions of one registration since it last began afresh."""

    def __init__(self) -> None:
        self._last: dict[PeerId, tuple[int, float] | None] = {}
        """What was last said of a peer (a hash) and when; None: a repeat is wanted."""
        self.unseen = 0
        """Members that we have still to be introduced to, by the server's last count."""

    def reset(self) -> None:
        self._last.clear()
        self.unseen = 0

    def have(self) -> tuple[bytes, ...]:
        return tuple(peer[:HAVE_BYTES] for peer in self._last)

    def want_again(self, peer: PeerId) -> None:
        if peer in self._last:
            self._last[peer] = None

    def add(self, introduce: Introduce, now: float) -> bool:
        """Whether this introduction is news."""
        is_known = introduce.peer in self._last
        before = self._last.pop(introduce.peer, None)
        content = hash((introduce.card, introduce.observed, introduce.samples))
        self._last[introduce.peer] = (content, now)
        if len(self._last) > LISTED_LIMIT:
            del self._last[next(iter(self._last))]
        if not is_known and self.unseen:
            self.unseen -= 1
        if before is None:
            return True
        return before[0] != content or now - before[1] >= REPEAT_WITHIN_S

    def count(self, missing: int, have: frozenset[bytes]) -> bool:
        """Take the server's count for a question with that `have`; whether anyone was
        introduced since it was asked."""
        seen = sum(peer[:HAVE_BYTES] not in have for peer in self._last)
        self.unseen = max(0, missing - seen)
        return seen > 0


class ConnectRequests:
    """Introductions that we asked for ourselves, until they come."""

    def __init__(self) -> None:
        self._connects: dict[PeerId, tuple[Ladder, tuple[Address, ...]]] = {}

    @property
    def due_at(self) -> float | None:
        return earliest(*(ladder.due_at for ladder, _ in self._connects.values()))

    def add(self, peer: PeerId, samples: tuple[Address, ...], now: float) -> None:
        ladder = Ladder(CONNECT_LADDER_S)
        ladder.start(now)
        self._connects[peer] = (ladder, samples)

    def remove(self, peer: PeerId) -> None:
        self._connects.pop(peer, None)

    def clear(self) -> None:
        self._connects.clear()

    def take_due(self, now: float) -> list[tuple[PeerId, tuple[Address, ...]]]:
        """Whom to ask for again, and with which samples; the others are given up."""
        due = []
        for peer, (ladder, samples) in list(self._connects.items()):
            if not ladder.is_due(now):
                continue
            if ladder.climb(now):
                due.append((peer, samples))
            else:
                del self._connects[peer]
        return due
