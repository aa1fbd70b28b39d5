"""Where the messages with one peer stand on disk."""

from dataclasses import dataclass, field

from natd.core.base.events import ConversationState, OutboundMessage
from natd.core.base.types import NetworkId, PeerId


@dataclass(slots=True, eq=False)
class Conversation:
    """Where the messages with one peer stand on disk."""

    id: int
    network: NetworkId
    peer: PeerId
    outbox: int
    """Signed, as SQLite keeps it."""
    next_seq: int = 1
    first_unacknowledged: int = 1
    heard_outbox: int | None = None
    """The peer's, signed; None until its first message."""
    heard_seq: int = 0
    is_stored: bool = True
    """Its outbox is on disk."""
    arrived: tuple[int, int] = (0, 0)
    """(epoch, seq) of the message that was committed last, to be acknowledged."""
    given_seq: int = 0
    """Highest number that the node has taken since the conversation was opened."""
    private_seq: int = 0
    """The highest that was given to a message for this peer alone."""
    acknowledged_seq: int = 0
    """Highest number that the peer has acknowledged, on disk or on its way there."""
    in_flight: list[tuple[int, str]] = field(default_factory=list)
    """(seq, message id) of what the node has and the peer has not acknowledged."""
    pending: int = 0
    """Writes about it that are on their way to the disk."""
    stored_bytes: int = 0
    """What the peer has stored here, or is about to."""
    done_id: int = 0
    """Of its messages here, those up to this row will not be said again."""
    stored_done_id: int = 0
    last_id: int = 0
    """No row of its messages here is above this one."""
    is_held: bool = False
    """Nothing more of the peer's is taken: see `natd.storage.quota`."""

    def __post_init__(self) -> None:
        self.acknowledged_seq = self.given_seq = self.first_unacknowledged - 1

    @property
    def unsigned_outbox(self) -> int:
        return self.outbox & _MASK

    @property
    def queued(self) -> int:
        """Messages that the peer has not acknowledged."""
        return self.next_seq - 1 - self.acknowledged_seq

    @property
    def is_untouched(self) -> bool:
        """Whether it is on disk and nobody has said a word in it."""
        is_idle = self.is_stored and not self.pending
        return is_idle and self.next_seq == 1 and self.heard_outbox is None

    def state(self) -> ConversationState:
        """What a node must know to go on from here."""
        return ConversationState(
            outbox=self.unsigned_outbox,
            first_unacknowledged=self.acknowledged_seq + 1,
            heard_outbox=None if self.heard_outbox is None else self.heard_outbox & _MASK,
            heard_seq=self.heard_seq,
            last_seq=self.next_seq - 1,
        )


Outbound = tuple[Conversation, OutboundMessage]

_MASK = (1 << 64) - 1


def signed(outbox: int) -> int:
    """64 bits as SQLite keeps them."""
    return outbox - (1 << 64) if outbox >> 63 else outbox
