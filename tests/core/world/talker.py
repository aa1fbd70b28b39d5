"""One end of a conversation over a session, with a store that keeps what it is told."""

from random import Random

from natd.core.base.events import (
    ConversationState,
    MessageArrived,
    MessagesAcknowledged,
    OutboundMessage,
    OutboxWanted,
)
from natd.core.base.types import NetworkId, PeerId
from natd.core.chat.conversation import Conversation, ConversationEvent
from natd.core.codec.frames import Ack, FrameReader, Hello, Message
from natd.core.keys.secrets import PairSecrets
from natd.core.session.events import DataReceived, SessionEnded
from natd.core.session.session import Session
from tests.core.world.lossy_link import SALT, Party

NETWORK = NetworkId(b"network")
PEER = PeerId(b"p" * 32)
"""As which the far end is known."""

OUTBOUND_EPOCHS = (0x1111_2222_3333_4444, 0x7FFF_EEEE_DDDD_CCCC)


class Talker(Party):
    """Has an outbox on a disk that never fails, and commits at once what arrives."""

    def __init__(self, secrets: PairSecrets, *, epoch: int) -> None:
        super().__init__(secrets)
        self.outbox: list[OutboundMessage] = []
        self.inbox: list[MessageArrived] = []
        self.acknowledged = 0
        self.epoch = epoch
        self._random = Random(epoch)
        self.conversation = self._converse()
        self._reader = FrameReader()

    def state(self) -> ConversationState:
        """What is on disk."""
        last = self.inbox[-1] if self.inbox else None
        return ConversationState(
            outbox=self.epoch,
            first_unacknowledged=self.acknowledged + 1,
            heard_outbox=None if last is None else last.outbox,
            heard_seq=0 if last is None else last.seq,
            last_seq=len(self.outbox),
        )

    def restart(self, now: float) -> None:
        """The process is killed, and begins again with what is on disk."""
        self.session = None
        self.events.clear()
        self.conversation = self._converse()
        self._reader = FrameReader()

    def say(self, body: str, now: float) -> None:
        message = message_to_send(self.epoch, len(self.outbox) + 1, body)
        self.outbox.append(message)
        self.conversation.send_message(message)
        self.settle(now)

    def dial(self, now: float, first: bytes = b"", salt: bytes = SALT) -> Session:
        session = super().dial(now, first, salt)
        self._begin(now)
        return session

    def receive_datagram(self, data: bytes, now: float) -> bool:
        session = self.session
        genuine = super().receive_datagram(data, now)
        if self.session is not session:
            self._begin(now)
        self.settle(now)
        return genuine

    def handle_timer(self, now: float) -> None:
        super().handle_timer(now)
        self.settle(now)

    def settle(self, now: float) -> None:
        for event in self.events:
            if isinstance(event, DataReceived):
                for frame in self._reader.feed(event.data):
                    assert isinstance(frame, Hello | Message | Ack)
                    self.conversation.receive_frame(frame)
            elif isinstance(event, SessionEnded):
                self.conversation.session_closed()
        self.events = [event for event in self.events if not isinstance(event, DataReceived)]
        while self.conversation.events:
            self._take(self.conversation.events.popleft())
        if self.session is not None and not self.session.closed:
            while frames := self.conversation.frames_to_send(self.session.send_room):
                self.session.send(b"".join(frames), now)

    def _begin(self, now: float) -> None:
        self._reader = FrameReader()
        self.conversation.session_opened()
        self.settle(now)

    def _converse(self) -> Conversation:
        return Conversation(self.state(), NETWORK, PEER, "somebody", self._random)

    def _take(self, event: ConversationEvent) -> None:
        match event:
            case MessageArrived():
                if event.message_id not in {message.message_id for message in self.inbox[-2048:]}:
                    self.inbox.append(event)
                self.conversation.message_committed(event.epoch, event.seq)
            case MessagesAcknowledged(seq=seq):
                self.acknowledged = seq
            case OutboxWanted(after_seq=after_seq, count=count):
                for said in self.outbox[after_seq : after_seq + count]:
                    self.conversation.send_message(said)


def message_to_send(epoch: int, seq: int, body: str = "hello") -> OutboundMessage:
    return OutboundMessage(
        message_id=f"{epoch % 1000:03}-{seq}",
        outbox=epoch,
        seq=seq,
        sent_at_unix_ms=1_700_000_000_000 + seq,
        kind="text",
        body=body,
    )
