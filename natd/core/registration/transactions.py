"""Our requests to one coordination server, until it answers or we give up waiting.

Every transmission has its own transaction, `prefix 4 | random 8`; a REGISTER is signed anew each
time, with the time by our clock, so that a server can tell it from a replay.  A message is an
answer only if it repeats that transaction, has a type that answers such a request, and comes from
the port that was asked.  An INTRODUCE repeats the transaction of one of our latest REGISTERs.

Padded requests have 1,200 bytes, of which QUIC needs a path for as many (RFC 9000, section 14).
After three of them without an answer every second one has 1,000; a path that answers these alone
is *narrow*, and then all of them have.  Where neither is answered and the sampling ports are, a
SAMPLE to the server's own port goes beside each: if that is answered, the path carries too little
to register.
"""

from collections import deque
from dataclasses import dataclass
from random import Random

from natd.core.base.timers import WallClock
from natd.core.base.types import MAIN_SOCKET, Address, Datagram, NetworkId, PeerId, SocketId
from natd.core.base.wishes import IntroductionWanted
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    ASK_LIMIT,
    CONNECT_BYTES,
    PADDED_BYTES,
    PREFIX_BYTES,
    REGISTER_LABEL,
    REGISTER_MINIMUM_BYTES,
    SAMPLES_LIMIT,
    TRANSACTION_BYTES,
    Bye,
    Challenge,
    Connect,
    Error,
    Introduce,
    Message,
    Refresh,
    Refreshed,
    Register,
    Registered,
    Sample,
    Sampled,
)
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey

PENDING_LIMIT = 64
REGISTERS_LIMIT = 16
"""More than all ladders send in one round trip; older ones are forgotten."""


FULL_SIZE_TRIES = 3
"""At the instants 0, 0.1 and 0.3 s, so that the first smaller one leaves after 0.7 s."""


SMALL_HEARD_S = 40.0
"""Two of the longest waits between tries, and one answer may be lost."""


@dataclass(frozen=True, slots=True)
class Transaction:
    kind: type[Message]
    sent_at: float
    asked: Address
    """The server port that was asked."""
    have: frozenset[bytes] = frozenset()
    asks: bool = False
    """For a REFRESH: whether it asked for introductions."""
    token: bytes = b""
    sequence: int = 0
    """For a REGISTER: sequence number of the card."""
    socket: SocketId = MAIN_SOCKET
    peer: PeerId | None = None
    """For a CONNECT: the peer asked for; else None."""
    lease_id: bytes = b""
    """For a REFRESH or CONNECT."""
    padded_bytes: int = 0
    """To which it was padded, where that may be more or less."""


class Transactions:
    """Makes the requests of one registration, and matches answers to them."""

    def __init__(
        self,
        membership: MembershipKey,
        identity: Identity,
        server: Address,
        prefix: bytes,
        random: Random,
        clock: WallClock,
    ) -> None:
        if len(prefix) != PREFIX_BYTES:
            raise ValueError(f"a prefix has {PREFIX_BYTES} bytes")
        self._membership = membership
        self._identity = identity
        self.server = server
        """The address that is asked."""
        self._prefix = prefix
        self._random = random
        self._clock = clock
        self._pending: dict[bytes, Transaction] = {}
        self._registers: deque[bytes] = deque(maxlen=REGISTERS_LIMIT)
        self._unheard = 0  # padded requests of full size since the last answer to one
        self._turn = 0
        self._is_small_heard = False
        self._sampled_at = self._small_heard_at = float("-inf")
        self.is_narrow = False
        """Whether only smaller requests are answered."""

    # --- requests: each gives the datagram to send

    def register(
        self,
        card: bytes,
        sequence: int,
        token: bytes,
        samples: tuple[Address, ...],
        have: tuple[bytes, ...],
        now: float,
    ) -> list[Datagram]:
        """With a small packet beside it while none of full size is answered, and others are."""
        size_bytes = self._size_bytes()
        register = rendezvous_codec.fit_register(
            Register(
                self._transaction(),
                NetworkId(self._membership.public),
                self._identity.peer,
                sequence,
                card,
                token,
                samples,
                have,
                self._clock.unix_ms(now),
            ),
            size_bytes,
        )
        question = Transaction(
            Register,
            now,
            self.server,
            have=frozenset(register.have),
            token=token,
            sequence=sequence,
            padded_bytes=size_bytes,
        )
        self._registers.append(register.transaction)
        self._add(register.transaction, question)
        data = rendezvous_codec.encode_register(
            register,
            lambda part: self._identity.sign(REGISTER_LABEL, part),
            self._membership.sign,
            size_bytes,
        )
        datagrams = [Datagram(data, self.server)]
        is_sampled = now < self._sampled_at + SMALL_HEARD_S
        if is_sampled and self._unheard >= FULL_SIZE_TRIES and not self.is_narrow:
            datagrams.append(self.sample(self.server, MAIN_SOCKET, now))
        return datagrams

    def refresh(self, lease_id: bytes, now: float) -> list[Datagram]:
        """On a narrow path also one of full size: its answer shows that it is narrow no more."""
        sizes = (0, PADDED_BYTES) if self.is_narrow else (0,)
        return [
            self._ask(
                Refresh(transaction, lease_id, size_bytes > 0),
                Transaction(Refresh, now, self.server, lease_id=lease_id, padded_bytes=size_bytes),
            )
            for transaction, size_bytes in ((self._transaction(), size) for size in sizes)
        ]

    def ask(
        self, lease_id: bytes, have: tuple[bytes, ...], now: float, *, few: bool = False
    ) -> Datagram:
        """A REFRESH that asks for introductions to the members that `have` does not name: to as
        many as its bytes pay for, `few` to one or two."""
        message = Refresh(self._transaction(), lease_id, True, have[:ASK_LIMIT])
        question = Transaction(
            Refresh,
            now,
            self.server,
            have=frozenset(message.have),
            asks=True,
            lease_id=lease_id,
        )
        size_bytes = REGISTER_MINIMUM_BYTES if self.is_narrow else PADDED_BYTES
        return self._ask(message, question, CONNECT_BYTES if few else size_bytes)

    def connect(
        self, lease_id: bytes, peer: PeerId, wanted: IntroductionWanted, now: float
    ) -> Datagram:
        samples = wanted.samples[:SAMPLES_LIMIT]
        message = Connect(self._transaction(), lease_id, peer, samples, wanted.ask, wanted.word)
        return self._ask(
            message, Transaction(Connect, now, self.server, peer=peer, lease_id=lease_id)
        )

    def sample(self, place: Address, socket: SocketId, now: float) -> Datagram:
        message = Sample(self._transaction())
        self._add(message.transaction, Transaction(Sample, now, place, socket=socket))
        return Datagram(rendezvous_codec.encode(message), place, None, socket)

    def bye(self, lease_id: bytes) -> Datagram:
        return Datagram(rendezvous_codec.encode(Bye(self._transaction(), lease_id)), self.server)

    # --- answers

    def answered_by(self, message: Message, source: Address, now: float) -> Transaction | None:
        """The request that this message answers, which is then closed; None: it answers none."""
        question = self._pending.get(message.transaction)
        if question is None or source != question.asked or not _answers(message, question.kind):
            return None
        if question.kind is Sample:
            self._sampled_at = now
            if question.asked == self.server:
                self._small_heard_at = now
        elif question.padded_bytes:
            self._small_heard_at = float("-inf")
        if question.padded_bytes == PADDED_BYTES:
            self.is_narrow, self._unheard = False, 0
            self._is_small_heard = False
        elif question.padded_bytes and self._unheard >= FULL_SIZE_TRIES:
            # A server that has just come back may have heard the smaller one first: another one
            # of full size has to be lost, too.
            self.is_narrow, self._is_small_heard = self._is_small_heard, True
            self._unheard = FULL_SIZE_TRIES if self.is_narrow else FULL_SIZE_TRIES - 1
        return self._pending.pop(message.transaction)

    def hears_small(self, now: float) -> bool:
        """Whether the port that we register at has answered lately, and no padded request."""
        return now < self._small_heard_at + SMALL_HEARD_S

    def has_register(self, introduce: Introduce) -> bool:
        return introduce.transaction in self._registers

    def close(self, transaction: bytes) -> bool:
        """Forget a request; True if it was open."""
        return self._pending.pop(transaction, None) is not None

    def clear(self) -> None:
        self._pending.clear()
        self._registers.clear()

    def network_changed(self) -> None:
        """Another network may carry more."""
        self.is_narrow, self._unheard, self._turn = False, 0, 0
        self._is_small_heard = False
        self._small_heard_at = float("-inf")

    def _size_bytes(self) -> int:
        """Of the next REGISTER."""
        self._turn += 1
        if self.is_narrow or (self._unheard >= FULL_SIZE_TRIES and self._turn % 2 == 0):
            return REGISTER_MINIMUM_BYTES
        self._unheard += 1
        return PADDED_BYTES

    def _ask(
        self, message: Refresh | Connect, question: Transaction, padded_bytes: int = PADDED_BYTES
    ) -> Datagram:
        self._add(message.transaction, question)
        return Datagram(rendezvous_codec.encode(message, padded_bytes), self.server)

    def _add(self, transaction: bytes, question: Transaction) -> None:
        self._pending[transaction] = question
        if len(self._pending) > PENDING_LIMIT:
            del self._pending[next(iter(self._pending))]

    def _transaction(self) -> bytes:
        return self._prefix + self._random.randbytes(TRANSACTION_BYTES - PREFIX_BYTES)


def _answers(message: Message, kind: type[Message]) -> bool:
    match message:
        case Registered():
            return kind is Register
        case Refreshed():
            return kind is Refresh
        case Sampled():
            return kind is Sample
        case Challenge():
            return kind is not Sample
        case _:
            return isinstance(message, Error)
