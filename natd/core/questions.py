"""What we asked a coordination server, until it answers or we stop expecting it to.

Every transmission has a transaction of its own, `prefix 4 | random 8`.  An answer is one only
if it repeats that transaction, is of a type that answers such a question, and comes from the
port that was asked.  An INTRODUCE repeats the transaction of one of our latest REGISTERs.
"""

from collections import deque
from dataclasses import dataclass
from random import Random

from natd.core.rendezvous import (
    PREFIX_BYTES,
    TRANSACTION_BYTES,
    Challenge,
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
from natd.core.types import MAIN_SOCKET, PeerId, SocketId

PENDING_LIMIT = 64
REGISTERS_LIMIT = 16
"""More than all ladders together send in a round trip; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class Question:
    kind: type[Message]
    sent_at: float
    port: int
    """Of the server."""
    have: frozenset[bytes] = frozenset()
    asks: bool = False
    """Of a REFRESH: whether it asked for introductions."""
    token: bytes = b""
    sequence: int = 0
    """Of the card in a REGISTER."""
    socket: SocketId = MAIN_SOCKET
    peer: PeerId | None = None
    """Of a CONNECT; None for every other."""


class Questions:
    """The unanswered questions of one registration."""

    def __init__(self, prefix: bytes, random: Random) -> None:
        if len(prefix) != PREFIX_BYTES:
            raise ValueError(f"a prefix has {PREFIX_BYTES} bytes")
        self._prefix = prefix
        self._random = random
        self._pending: dict[bytes, Question] = {}
        self._registers: deque[bytes] = deque(maxlen=REGISTERS_LIMIT)

    def new_transaction(self) -> bytes:
        return self._prefix + self._random.randbytes(TRANSACTION_BYTES - PREFIX_BYTES)

    def add(self, transaction: bytes, question: Question) -> None:
        self._pending[transaction] = question
        if len(self._pending) > PENDING_LIMIT:
            del self._pending[next(iter(self._pending))]
        if question.kind is Register:
            self._registers.append(transaction)

    def answered_by(self, message: Message, port: int) -> Question | None:
        """The question that this message from that port of the server answers, which is then
        no longer open; None when there is none."""
        question = self._pending.get(message.transaction)
        if question is None or port != question.port or not _answers(message, question.kind):
            return None
        return self._pending.pop(message.transaction)

    def has_register(self, introduce: Introduce) -> bool:
        return introduce.transaction in self._registers

    def close(self, transaction: bytes) -> bool:
        """Whether the question was open."""
        return self._pending.pop(transaction, None) is not None

    def clear(self) -> None:
        self._pending.clear()
        self._registers.clear()


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
