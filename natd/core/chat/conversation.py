"""The messages of one peer: each exactly once, in the order sent, over any number of sessions.

A message has a place, (epoch, seq).  The epoch names one outbox on one disk; seq counts 1, 2,
3, ... in it without gaps.  Every session begins with `hello` (the epoch, and the first seq
that may still come), then everything unacknowledged from the beginning, then what is new:

    outbound   disk --Wanted / send_message--> window --frames_to_send--> session
               window <--ack, cumulative-- peer
    inbound    session --> in order? new? --Arrived--> disk --message_committed--> ack

Rules that a change must not break:

- A message is delivered when its seq is one more than the last one delivered.  What comes
  sooner is held back, what comes again is dropped; `hello.first_seq` skips what the sender is
  done with.
- A message is acknowledged only after `message_committed`, and acknowledged again whenever
  it comes again: an acknowledgement may have been lost with its session.
- An acknowledgement counts only for messages that are known to exist here.
- A session is of one epoch: a sender that changed it in the midst could have us hold any number
  of windows.
- Memory is bounded both ways.  The sender has at most a window of messages that are not
  acknowledged, the rest stays on its disk; the receiver takes twice that and no more, so a
  sender that keeps the rule never loses anything by it.
"""

from collections import Counter, deque
from dataclasses import dataclass

from natd.core.base.events import ConversationState, OutboundMessage
from natd.core.base.types import Address
from natd.core.chat.inbox import Inbox
from natd.core.chat.outbox import Outbox
from natd.core.codec.frames import (
    NICK_LIMIT_BYTES,
    Ack,
    Bye,
    CardFrame,
    Frame,
    Hello,
    Introduce,
    Message,
    Nack,
    Seek,
    encode_frame,
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message, new and in order: commit it, then call `message_committed`."""

    message: Message


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Everything up to `seq` of our `epoch` is on the peer's disk."""

    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """There is room: call `send_message` with up to `count` messages after `after_seq`."""

    after_seq: int
    count: int


@dataclass(frozen=True, slots=True)
class PeerHello:
    """The peer's words at the beginning of a session, or when its nick has changed."""

    nick: str
    features: tuple[str, ...]
    observed: Address | None
    """Where the peer sees us."""


@dataclass(frozen=True, slots=True)
class CardArrived:
    """A card of the peer's, still sealed."""

    sealed: bytes


@dataclass(frozen=True, slots=True)
class IntroduceArrived:
    """The card of another peer, still sealed, and where the peer sees that one."""

    introduce: Introduce


@dataclass(frozen=True, slots=True)
class SeekArrived:
    """The peer asks to be introduced to others."""

    seek: Seek


@dataclass(frozen=True, slots=True)
class PeerBye:
    """The peer is leaving; `reason` is its own words."""

    reason: str


ConversationEvent = (
    Arrived
    | Acknowledged
    | Wanted
    | PeerHello
    | CardArrived
    | IntroduceArrived
    | SeekArrived
    | PeerBye
)


class Conversation:
    """See the top of this file.  Has no timer: all that it waits for is an input."""

    def __init__(
        self, state: ConversationState, *, nick: str, features: tuple[str, ...] = ()
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self._nick = _checked_nick(nick)
        self._features = features
        self._outbox = Outbox(state.outbound_epoch, state.first_unacknowledged)
        self._inbox = Inbox(state.inbound_epoch, state.inbound_seq)
        self._events: deque[ConversationEvent] = deque()
        # Frames other than messages and acknowledgements, encoded; empty without a session.
        self._urgent: deque[bytes] = deque()
        self._is_open = False
        self._is_greeted = False  # whether this session's first hello has come
        self._observed: Address | None = None

    # --- inputs: the store -------------------------------------------------------------

    def send_message(self, message: OutboundMessage, now: float) -> bool:
        """Take a message that is on our disk, in the order of seq.

        False when it must wait there: `Wanted` follows.  One that was taken before is
        ignored.  ValueError for what no peer could read.
        """
        taken = self._outbox.add(message, is_open=self._is_open)
        self._ask_for_more()
        return taken

    def message_committed(self, epoch: int, seq: int, now: float) -> None:
        """Everything up to this message, which has `Arrived`, is on our disk."""
        self._inbox.commit(epoch, seq)

    # --- inputs: the session -----------------------------------------------------------

    def session_opened(self, now: float, observed: Address | None) -> None:
        """There is a session, or another one: what follows goes into it.

        `observed` is where we see the peer.  May be called before the session is established.
        """
        self._is_open = True
        self._is_greeted = False
        self._observed = observed
        self._urgent.clear()
        self._say_hello()
        self._outbox.rewind()
        self._inbox.is_ack_due = self._inbox.committed > 0
        self._ask_for_more()

    def session_closed(self, now: float) -> None:
        """There is none any more: what is not acknowledged will be sent again."""
        self._is_open = False
        self._urgent.clear()
        self._outbox.rewind()
        self._outbox.shrink()

    def receive_frame(self, frame: Frame, now: float) -> None:
        match frame:
            case Message():
                self._receive_message(frame)
            case Ack():
                self._receive_ack(frame)
            case Hello():
                self._receive_hello(frame)
            case CardFrame(sealed=sealed):
                self._events.append(CardArrived(sealed))
            case Introduce():
                self._events.append(IntroduceArrived(frame))
            case Seek():
                self._events.append(SeekArrived(frame))
            case Bye(reason=reason):
                self._events.append(PeerBye(reason))
            case Nack():
                # It will be sent again in the next session, as all that has no ack.
                self.dropped["nack"] += 1
            case _:
                self.dropped["frame-without-use"] += 1

    # --- inputs: commands --------------------------------------------------------------

    def set_nick(self, nick: str, now: float) -> None:
        self._nick = _checked_nick(nick)
        if self._is_open:
            self._say_hello()

    def send_card(self, sealed: bytes, now: float) -> None:
        """Tell the peer our newer card; without a session this is forgotten."""
        self._say(CardFrame(sealed))

    def say_bye(self, reason: str, now: float) -> None:
        self._say(Bye(reason))

    # --- outputs -----------------------------------------------------------------------

    @property
    def acknowledged_seq(self) -> int:
        """Everything up to here is on the peer's disk."""
        return self._outbox.acknowledged

    @property
    def is_waiting(self) -> bool:
        """Whether a message is known that the peer has not acknowledged."""
        return self._outbox.known_to > self._outbox.acknowledged

    def frames_to_send(self, room: int) -> list[bytes]:
        """Whole frames of together at most `room` bytes, to be written to the session."""
        if not self._is_open:
            return []
        frames: list[bytes] = []
        while self._urgent and len(self._urgent[0]) <= room:
            frame = self._urgent.popleft()
            room -= len(frame)
            frames.append(frame)
        if self._urgent:
            return frames
        if self._inbox.is_ack_due:
            frame = encode_frame(self._inbox.ack())
            if len(frame) > room:
                return frames
            self._inbox.is_ack_due = False
            room -= len(frame)
            frames.append(frame)
        self._outbox.take(room, frames)
        return frames

    def next_event(self) -> ConversationEvent | None:
        return self._events.popleft() if self._events else None

    # --- inside ------------------------------------------------------------------------

    def _receive_message(self, message: Message) -> None:
        reason = self._inbox.receive(message)
        if reason is not None:
            self.dropped[reason] += 1
        self._deliver()

    def _receive_hello(self, hello: Hello) -> None:
        if self._is_greeted and hello.epoch != self._inbox.epoch:
            self.dropped["hello-of-another-epoch"] += 1
            return
        self._is_greeted = True
        self._inbox.begin(hello.epoch, hello.first_seq)
        self._events.append(PeerHello(hello.nick, hello.features, hello.observed))
        self._deliver()

    def _receive_ack(self, ack: Ack) -> None:
        if ack.epoch != self._outbox.epoch or ack.seq > self._outbox.known_to:
            self.dropped["ack-of-unknown"] += 1
        elif self._outbox.acknowledge(ack.seq):
            self._events.append(Acknowledged(ack.epoch, ack.seq))
            self._ask_for_more()

    def _deliver(self) -> None:
        while (message := self._inbox.next_message()) is not None:
            self._events.append(Arrived(message))

    def _ask_for_more(self) -> None:
        if self._is_open and (count := self._outbox.room_to_ask_for()):
            self._events.append(Wanted(self._outbox.loaded_to, count))

    def _say_hello(self) -> None:
        self._say(
            Hello(
                nick=self._nick,
                features=self._features,
                observed=self._observed,
                epoch=self._outbox.epoch,
                first_seq=self._outbox.acknowledged + 1,
            )
        )

    def _say(self, frame: Frame) -> None:
        if self._is_open:
            self._urgent.append(encode_frame(frame))


def _checked_nick(nick: str) -> str:
    if len(nick.encode()) > NICK_LIMIT_BYTES:
        raise ValueError(f"a nick of more than {NICK_LIMIT_BYTES} bytes")
    return nick
