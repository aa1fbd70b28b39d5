"""Which members of a network one server has introduced us to, and how many are still missing.

The server says how many of its members the `have` of our request did not name.  From that we
subtract the members introduced since that are not in that `have`; what remains is still missing.
This count stays right while peers come and go.  We ask for more as we meet those that were
introduced (`natd/core/checks/meetings.py`).

The server may repeat an introduction, against loss or because the address is proved meanwhile; a
repetition is not news, the proof is.
"""

from enum import Enum, auto

from natd.core.base.timers import Ladder, earliest
from natd.core.base.types import Datagram, PeerId
from natd.core.base.wishes import IntroductionWanted
from natd.core.checks.meetings import Meetings
from natd.core.codec.rendezvous import HAVE_BYTES, Introduce
from natd.core.registration.events import ConnectUnanswered
from natd.core.registration.transactions import Transactions

ASK_LADDER_S = (0.1, 0.2, 0.4, 0.8, 1.6)

HELD_S = 0.1
"""How often to look if few enough are being met, to ask for more; where this machine does not keep
up, as often as its patience says.  A meeting of this network that ends is seen at once."""

ROOM_FOR_FEW = 2
"""An introduction too many begins a meeting too many."""

LISTED_WITHIN_S = 1.0
"""When the members that are known count as all of them, even if the server has more."""

CONNECT_LADDER_S = (0.15, 0.3, 0.6)
"""Waits between requests for one peer: a lost one costs little, and the owner may ask again."""

UNANSWERED_RTTS = 1.5
"""An answer that takes longer is lost, or the server is dead."""

REPEAT_WITHIN_S = 0.5
"""A repetition follows one round trip later; anything later than this begins an attempt."""

LISTED_LIMIT = 1024
"""Four times the members that a server admits to a network."""


class Tidings(Enum):
    """What an introduction brings."""

    NEWS = auto()
    MORE = auto()
    """Only that the peer has proved its address since, an ask or a word."""
    NOTHING = auto()


class MemberSync:
    """The introductions by one server since we last registered from scratch."""

    def __init__(self, meetings: Meetings) -> None:
        self._meetings = meetings
        self._held_until: float | None = None  # None: nothing keeps us from asking
        self._last: dict[PeerId, tuple[int, float, bool] | None] = {}
        """Hash and instant of the last introduction of a peer, and whether its address was proved;
        None: accept a repetition."""
        self.unseen = 0
        """How many members are still missing, by the server's last count."""
        self._ask = Ladder(ASK_LADDER_S)
        self._listed_by: float | None = None  # None: told already that all are known

    def reset(self) -> None:
        self._last.clear()
        self.unseen = 0
        self._ask.stop()
        self._listed_by = None

    @property
    def due_at(self) -> float | None:
        ask_at = self._ask.due_at
        if ask_at is not None and self._held_until is not None and self._meetings.is_full:
            ask_at = max(ask_at, self._held_until)
        return earliest(ask_at, self._listed_by)

    @property
    def wants_few(self) -> bool:
        """Whether to ask for no more than one or two."""
        return self._meetings.room <= ROOM_FOR_FEW

    def begin_listing(self, now: float) -> None:
        """We are registered: `take_listed` tells when all members are known."""
        self._listed_by = now + LISTED_WITHIN_S

    def take_ask(self, now: float) -> bool:
        """Whether to ask again for those that are missing."""
        if not self._ask.is_due(now):
            return False
        if self._meetings.are_many(now):
            self._held_until = now + max(HELD_S, self._meetings.patience_s)
            return False
        self._held_until = None
        return self._ask.climb(now)

    def take_listed(self, now: float) -> bool:
        """Whether all members that the server has were introduced, or the time for it is over.
        True once."""
        if not self.unseen:
            self._ask.stop()
        if self._listed_by is None or (self.unseen and now < self._listed_by):
            return False
        self._listed_by = None
        return True

    def have(self) -> tuple[bytes, ...]:
        return tuple(peer[:HAVE_BYTES] for peer in self._last)

    def want_again(self, peer: PeerId) -> None:
        if peer in self._last:
            self._last[peer] = None

    def add(self, introduce: Introduce, now: float, *, is_aside: bool = False) -> Tidings:
        """`is_aside`: it answers a request that is to begin nothing."""
        is_known = introduce.peer in self._last
        before = self._last.pop(introduce.peer, None)
        content = hash((introduce.card, introduce.observed, introduce.samples))
        self._last[introduce.peer] = (content, now, introduce.is_proved)
        if len(self._last) > LISTED_LIMIT:
            del self._last[next(iter(self._last))]
        if not is_known and self.unseen:
            self.unseen -= 1
        says_more = introduce.ask is not None or introduce.word is not None
        if before is None or before[0] != content:
            return Tidings.NEWS
        if now - before[1] >= REPEAT_WITHIN_S and not (says_more or is_aside):
            return Tidings.NEWS
        is_proof = introduce.is_proved and not before[2]
        return Tidings.MORE if says_more or is_proof else Tidings.NOTHING

    def count(self, missing: int, have: frozenset[bytes], now: float, *, asked: bool) -> bool:
        """Take the server's count for a request with that `have`, which `asked` for introductions
        or did not.  True if we should ask for more."""
        seen = sum(peer[:HAVE_BYTES] not in have for peer in self._last)
        self.unseen = max(0, missing - seen)
        if not self.unseen or not (self._ask.due_at is None or (asked and seen)):
            return False
        self._ask.start(now)
        return not self._meetings.are_many(now)


class ConnectRequests:
    """Our requests for introductions to single peers, until they are answered."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        # By peer, with the instant of the first request.
        self._connects: dict[PeerId, tuple[Ladder, IntroductionWanted, float]] = {}

    @property
    def due_at(self) -> float | None:
        return earliest(*(ladder.due_at for ladder, _, _ in self._connects.values()))

    def add(
        self, lease_id: bytes, peer: PeerId, wanted: IntroductionWanted, now: float
    ) -> Datagram:
        """Ask for this peer, under the lease that lasts until `clear`."""
        ladder = Ladder(CONNECT_LADDER_S)
        ladder.start(now)
        self._connects[peer] = (ladder, wanted, now)
        return self._transactions.connect(lease_id, peer, wanted, now)

    def is_aside(self, peer: PeerId) -> bool:
        """Whether what we ask for is to begin nothing."""
        return peer in self._connects and self._connects[peer][1].is_aside

    def remove(self, peer: PeerId) -> None:
        self._connects.pop(peer, None)

    def clear(self) -> None:
        self._connects.clear()

    def unanswered(
        self, heard_at: float | None, rtt_s: float | None, now: float
    ) -> list[ConnectUnanswered]:
        """The requests that are due to be repeated, of a server that was last heard before them,
        and whose answer should have come."""
        return [
            ConnectUnanswered(peer, asked_at)
            for peer, (ladder, _, asked_at) in self._connects.items()
            if ladder.is_due(now)
            and (heard_at is None or heard_at < asked_at)
            and now >= asked_at + UNANSWERED_RTTS * (rtt_s or 0.0)
        ]

    def take_due(self, lease_id: bytes | None, now: float) -> list[Datagram]:
        """The requests to repeat; removes those whose ladder has ended."""
        due: list[Datagram] = []
        for peer, (ladder, wanted, _) in list(self._connects.items()):
            if not ladder.is_due(now):
                continue
            if lease_id is not None and ladder.climb(now):
                due.append(self._transactions.connect(lease_id, peer, wanted, now))
            else:
                del self._connects[peer]
        return due
