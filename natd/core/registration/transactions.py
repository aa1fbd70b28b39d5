"""Our requests to one coordination server, until it answers or we give up waiting.

Every transmission has its own transaction, `prefix 4 | random 8`.  A message is an answer only if
it repeats that transaction, has a type that answers such a request, and comes from the port that
was asked.  An INTRODUCE repeats the transaction of one of our latest REGISTERs.
"""

from collections import deque
from dataclasses import dataclass
from random import Random

from natd.core.base.types import MAIN_SOCKET, Address, Datagram, NetworkId, PeerId, SocketId
from natd.core.base.wishes import IntroductionWanted
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import (
    ASK_LIMIT,
    PREFIX_BYTES,
    REGISTER_LABEL,
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

PENDING_LIMIT = 64
REGISTERS_LIMIT = 16
"""More than all ladders send in one round trip; older ones are forgotten."""


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


class Transactions:
    """Makes the requests of one registration, and matches answers to them."""

    def __init__(
        self,
        network: NetworkId,
        identity: Identity,
        server: Address,
        prefix: bytes,
        random: Random,
    ) -> None:
        if len(prefix) != PREFIX_BYTES:
            raise ValueError(f"a prefix has {PREFIX_BYTES} bytes")
        self._network = network
        self._identity = identity
        self.server = server
        """The address that is asked."""
        self._prefix = prefix
        self._random = random
        self._pending: dict[bytes, Transaction] = {}
        self._registers: deque[bytes] = deque(maxlen=REGISTERS_LIMIT)

    # --- requests: each gives the datagram to send

    def register(
        self,
        card: bytes,
        sequence: int,
        token: bytes,
        samples: tuple[Address, ...],
        have: tuple[bytes, ...],
        now: float,
    ) -> Datagram:
        register = rendezvous_codec.fit_register(
            Register(
                self._transaction(),
                self._network,
                self._identity.peer,
                sequence,
                card,
                token,
                samples,
                have,
            )
        )
        question = Transaction(
            Register,
            now,
            self.server,
            have=frozenset(register.have),
            token=token,
            sequence=sequence,
        )
        self._registers.append(register.transaction)
        self._add(register.transaction, question)
        data = rendezvous_codec.encode_register(
            register, lambda part: self._identity.sign(REGISTER_LABEL, part)
        )
        return Datagram(data, self.server)

    def refresh(self, lease_id: bytes, now: float) -> Datagram:
        message = Refresh(self._transaction(), lease_id)
        return self._ask(message, Transaction(Refresh, now, self.server, lease_id=lease_id))

    def ask(self, lease_id: bytes, have: tuple[bytes, ...], now: float) -> Datagram:
        """A REFRESH that asks for introductions to the members that `have` does not name."""
        message = Refresh(self._transaction(), lease_id, True, have[:ASK_LIMIT])
        question = Transaction(
            Refresh,
            now,
            self.server,
            have=frozenset(message.have),
            asks=True,
            lease_id=lease_id,
        )
        return self._ask(message, question)

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

    def answered_by(self, message: Message, source: Address) -> Transaction | None:
        """The request that this message answers, which is then closed; None: it answers none."""
        question = self._pending.get(message.transaction)
        if question is None or source != question.asked or not _answers(message, question.kind):
            return None
        return self._pending.pop(message.transaction)

    def has_register(self, introduce: Introduce) -> bool:
        return introduce.transaction in self._registers

    def close(self, transaction: bytes) -> bool:
        """Forget a request; True if it was open."""
        return self._pending.pop(transaction, None) is not None

    def clear(self) -> None:
        self._pending.clear()
        self._registers.clear()

    def _ask(self, message: Refresh | Connect, question: Transaction) -> Datagram:
        self._add(message.transaction, question)
        return Datagram(rendezvous_codec.encode(message), self.server)

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
