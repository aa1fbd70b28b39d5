"""Which members of a network one server has introduced us to, and how many are still missing.

The server says how many of its members the `have` of our request did not name.  From that we
subtract the members introduced since that are not in that `have`; what remains is still missing.
This count stays right while peers come and go.

The server may repeat an introduction, against loss or because the address is proved meanwhile; a
repetition is not news, the proof is.
"""

from enum import Enum, auto

from natd.core.base.timers import Ladder, earliest
from natd.core.base.types import Address, PeerId
from natd.core.codec.rendezvous import HAVE_BYTES, Introduce

CONNECT_LADDER_S = (0.15, 0.3, 0.6)
"""Waits between requests for one peer: a lost one costs little, and the owner may ask again."""

REPEAT_WITHIN_S = 0.5
"""A repetition follows one round trip later; anything later than this begins an attempt."""

LISTED_LIMIT = 1024
"""Four times the members that a server admits to a network."""


class Tidings(Enum):
    """What an introduction brings."""

    NEWS = auto()
    PROOF = auto()
    """Only that the peer has proved its address since."""
    NOTHING = auto()


class MemberSync:
    """The introductions by one server since we last registered from scratch."""

    def __init__(self) -> None:
        self._last: dict[PeerId, tuple[int, float, bool] | None] = {}
        """Hash and instant of the last introduction of a peer, and whether its address was proved;
        None: accept a repetition."""
        self.unseen = 0
        """How many members are still missing, by the server's last count."""

    def reset(self) -> None:
        self._last.clear()
        self.unseen = 0

    def have(self) -> tuple[bytes, ...]:
        return tuple(peer[:HAVE_BYTES] for peer in self._last)

    def want_again(self, peer: PeerId) -> None:
        if peer in self._last:
            self._last[peer] = None

    def add(self, introduce: Introduce, now: float) -> Tidings:
        is_known = introduce.peer in self._last
        before = self._last.pop(introduce.peer, None)
        content = hash((introduce.card, introduce.observed, introduce.samples))
        self._last[introduce.peer] = (content, now, introduce.is_proved)
        if len(self._last) > LISTED_LIMIT:
            del self._last[next(iter(self._last))]
        if not is_known and self.unseen:
            self.unseen -= 1
        if before is None or before[0] != content or now - before[1] >= REPEAT_WITHIN_S:
            return Tidings.NEWS
        return Tidings.PROOF if introduce.is_proved and not before[2] else Tidings.NOTHING

    def count(self, missing: int, have: frozenset[bytes]) -> bool:
        """Take the server's count for a request with that `have`; True if any member was
        introduced since the request."""
        seen = sum(peer[:HAVE_BYTES] not in have for peer in self._last)
        self.unseen = max(0, missing - seen)
        return seen > 0


class ConnectRequests:
    """Our requests for introductions to single peers, until they are answered."""

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
        """The peers to ask for again, with our samples; removes requests whose ladder has ended."""
        due = []
        for peer, (ladder, samples) in list(self._connects.items()):
            if not ladder.is_due(now):
                continue
            if ladder.climb(now):
                due.append((peer, samples))
            else:
                del self._connects[peer]
        return due
