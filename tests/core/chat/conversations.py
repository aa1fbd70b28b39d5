"""Conversations without a session, for tests that speak in frames."""

from collections.abc import Callable
from random import Random

from natd.core.base.events import (
    ConversationState,
    MessageArrived,
    MessagesAcknowledged,
    OutboxWanted,
)
from natd.core.chat.conversation import Conversation
from natd.core.codec.frames import Frame, FrameReader, Hello, Message
from tests.core.world.lossy_link import pair_of_secrets
from tests.core.world.talker import NETWORK, OUTBOUND_EPOCHS, PEER, Talker

OURS, THEIRS = OUTBOUND_EPOCHS
ROOM = 256 * 1024


def opened(first_unacknowledged: int = 1) -> Conversation:
    conversation = Conversation(
        ConversationState(OURS, first_unacknowledged), NETWORK, PEER, "bob", SameEpoch()
    )
    conversation.session_opened()
    return conversation


def listening() -> Conversation:
    """A conversation whose peer has said hello."""
    conversation = opened()
    conversation.receive_frame(hello())
    drained(conversation)
    spoken(conversation)
    return conversation


class SameEpoch(Random):
    """Draws our outbox's name for an epoch, so that a test can write it down."""

    def getrandbits(self, _bits: int, /) -> int:
        return OURS


def hello(first_seq: int = 1, epoch: int = THEIRS, outbox: int = 0) -> Hello:
    return Hello(epoch=epoch, first_seq=first_seq, outbox=outbox)


def message(seq: int, epoch: int = THEIRS, body: str = "hello") -> Message:
    return Message(f"m{seq}", epoch, seq, 1_700_000_000_000, "text", body)


def spoken(conversation: Conversation) -> list[Frame]:
    return FrameReader().feed(b"".join(conversation.frames_to_send(ROOM)))


def drained(conversation: Conversation) -> list[object]:
    events: list[object] = [*conversation.events]
    conversation.events.clear()
    return events


def wanted(after_seq: int, count: int) -> OutboxWanted:
    return OutboxWanted(NETWORK, PEER, after_seq, count)


def acknowledged(seq: int) -> MessagesAcknowledged:
    return MessagesAcknowledged(NETWORK, PEER, seq)


def arrived(conversation: Conversation) -> list[int]:
    return [event.seq for event in drained(conversation) if isinstance(event, MessageArrived)]


def bodies(talker: Talker) -> list[str]:
    return [message.body for message in talker.inbox]


def talkers() -> tuple[Talker, Talker]:
    one, other = pair_of_secrets()
    return (Talker(one, epoch=OURS), Talker(other, epoch=THEIRS))


def all_acknowledged(said: dict[Talker, int]) -> Callable[[], bool]:
    return lambda: all(talker.acknowledged == count for talker, count in said.items())
