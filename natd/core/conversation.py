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
- Memory is bounded both ways.  The sender has at most a window of messages that are not
  acknowledged, the rest stays on its disk; the receiver takes twice that and no more, so a
  sender that keeps the rule never loses anything by it.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import NamedTuple

from natd.core.events import ConversationState, OutboundMessage
from natd.core.frames import (
    MESSAGE_ID_LIMIT,
    NICK_LIMIT_BYTES,
    Ack,
    Bye,
    CardFrame,
    Frame,
    Hello,
    Introduce,
    Message,
    Nack,
    encode_frame,
)
from natd.core.types import Address, PeerId

WINDOW_MESSAGES = 1024
WINDOW_BYTES = 1024 * 1024
"""How much may be on its way.  At 100 ms of round trip and commit: 10,000 messages a second."""

WAITING_MESSAGES = 32
"""How many messages are kept ready while there is no session: enough to fill a first flight.
With 256 absent peers the rest had better stay on disk."""

UNCOMMITTED_MESSAGES = 2 * WINDOW_MESSAGES
UNCOMMITTED_BYTES = 2 * WINDOW_BYTES
"""How much may be delivered and not yet committed, or held back for an earlier message."""


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

    peer: PeerId
    sealed: bytes
    observed: Address | None


@dataclass(frozen=True, slots=True)
class PeerBye:
    """The peer is leaving; `reason` is its own words."""

    reason: str


ConversationEvent = (
    Arrived | Acknowledged | Wanted | PeerHello | CardArrived | IntroduceArrived | PeerBye
)


class _Outgoing(NamedTuple):
    seq: int
    frame: bytes


class Conversation:
    """See the top of this file.  Has no timer: all that it waits for is an input."""

    def __init__(
        self, state: ConversationState, *, nick: str, features: tuple[str, ...] = ()
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self._nick = _checked_nick(nick)
        self._features = features
        self._outbox = _Outbox(state.outbound_epoch, state.first_unacknowledged)
        self._inbox = _Inbox(state.inbound_epoch, state.inbound_seq)
        self._events: deque[ConversationEvent] = deque()
        # Frames other than messages and acknowledgements, encoded; empty without a session.
        self._urgent: deque[bytes] = deque()
        self._is_open = False
        self._observed: Address | None = None

    # --- inputs: the store -------------------------------------------------------------

    def send_message(self, message: OutboundMessage, now: float) -> bool:
        """Take a message that is on our disk, in the order of seq.

        False when it must wait there: `Wanted` follows.  One that was taken before is
        ignored.  ValueError for what no peer could read.
        """
        taken = self._outbox.add(message, WINDOW_MESSAGES if self._is_open else WAITING_MESSAGES)
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
        self._outbox.shrink(WAITING_MESSAGES)

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
            case Introduce(peer=peer, sealed=sealed, observed=observed):
                self._events.append(IntroduceArrived(PeerId(peer), sealed, observed))
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

    def introduce(self, peer: PeerId, sealed: bytes, observed: Address | None, now: float) -> None:
        """Pass another peer's card on; without a session this is forgotten."""
        self._say(Introduce(peer, sealed, observed))

    def say_bye(self, reason: str, now: float) -> None:
        self._say(Bye(reason))

    # --- outputs -----------------------------------------------------------------------

    @property
    def acknowledged_seq(self) -> int:
        """Everything up to here is on the peer's disk."""
        return self._outbox.acknowledged

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


class _Outbox:
    """A window onto the messages on disk that the peer has not acknowledged."""

    def __init__(self, epoch: int, first_unacknowledged: int) -> None:
        self.epoch = epoch
        self.acknowledged = first_unacknowledged - 1
        self.loaded_to = self.acknowledged
        self.known_to = self.acknowledged
        """The highest seq that is known to exist."""
        self._window: deque[_Outgoing] = deque()
        self._bytes = 0
        # How many of the window, from its beginning, are in this session already.
        self._sent = 0
        # Whether there may be more on disk: at first nobody knows.
        self._may_be_more = True
        # Up to where messages were asked for; having come that far, there may be more.
        self._asked_to: int | None = None

    def add(self, message: OutboundMessage, limit: int) -> bool:
        if message.epoch != self.epoch:
            raise ValueError(f"a message of epoch {message.epoch} in that of {self.epoch}")
        if message.seq <= self.loaded_to:
            return True
        self.known_to = max(self.known_to, message.seq)
        if (
            message.seq != self.loaded_to + 1
            or len(self._window) >= limit
            or self._bytes >= WINDOW_BYTES
        ):
            self._may_be_more = True
            return False
        frame = _encoded(message)
        self._window.append(_Outgoing(message.seq, frame))
        self._bytes += len(frame)
        self.loaded_to = message.seq
        if self._asked_to is not None and self.loaded_to >= self._asked_to:
            self._asked_to = None
            self._may_be_more = True
        return True

    def acknowledge(self, seq: int) -> bool:
        """Whether anything new was acknowledged."""
        if seq <= self.acknowledged:
            return False
        self.acknowledged = seq
        while self._window and self._window[0].seq <= seq:
            self._bytes -= len(self._window.popleft().frame)
            self._sent = max(0, self._sent - 1)
        if self.loaded_to < seq:
            self.loaded_to = seq
        return True

    def room_to_ask_for(self) -> int:
        """How many messages to ask for at this moment: none while less than half is free, so
        that a long outbox is read in long runs."""
        free = WINDOW_MESSAGES - len(self._window)
        if not self._may_be_more or free < WINDOW_MESSAGES // 2 or self._bytes > WINDOW_BYTES // 2:
            return 0
        self._may_be_more = False
        self._asked_to = self.loaded_to + free
        return free

    def take(self, room: int, frames: list[bytes]) -> None:
        """Append the frames that come next in this session."""
        while self._sent < len(self._window):
            frame = self._window[self._sent].frame
            if len(frame) > room:
                return
            room -= len(frame)
            frames.append(frame)
            self._sent += 1

    def rewind(self) -> None:
        self._sent = 0

    def shrink(self, limit: int) -> None:
        """Leave what is behind the first `limit` messages to the disk."""
        while len(self._window) > limit:
            self._bytes -= len(self._window.pop().frame)
            self._may_be_more = True
        self.loaded_to = self._window[-1].seq if self._window else self.acknowledged


class _Inbox:
    """What has come, in order; what has come too soon; what is on disk."""

    def __init__(self, epoch: int | None, committed: int) -> None:
        self.epoch = epoch
        self.committed = committed
        self.is_ack_due = False
        self._delivered = committed
        self._uncommitted: deque[tuple[int, int]] = deque()
        # Messages by seq that are new and not delivered yet.
        self._held: dict[int, Message] = {}
        # Of both.
        self._bytes = 0

    def begin(self, epoch: int, first_seq: int) -> None:
        """What the sender's hello says."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.committed = self._delivered = first_seq - 1
            self.is_ack_due = False
            self._held.clear()
            self._uncommitted.clear()
            self._bytes = 0
            return
        if self._delivered < first_seq - 1:
            self._delivered = self.committed = first_seq - 1
            self._uncommitted.clear()
            self._held = {seq: held for seq, held in self._held.items() if seq >= first_seq}
            self._bytes = sum(len(held.body) for held in self._held.values())

    def receive(self, message: Message) -> str | None:
        """Why the message is dropped, if it is."""
        seq = message.seq
        if message.epoch != self.epoch:
            return "message-of-unknown-epoch"
        if seq <= self._delivered or seq in self._held:
            if seq <= self.committed:
                self.is_ack_due = True
            return "message-again"
        if (
            seq > self.committed + UNCOMMITTED_MESSAGES
            or self._bytes + len(message.body) > UNCOMMITTED_BYTES
        ):
            return "message-beyond-window"
        self._held[seq] = message
        self._bytes += len(message.body)
        return None

    def next_message(self) -> Message | None:
        message = self._held.pop(self._delivered + 1, None) if self._held else None
        if message is not None:
            self._delivered = message.seq
            self._uncommitted.append((message.seq, len(message.body)))
        return message

    def commit(self, epoch: int, seq: int) -> None:
        if epoch != self.epoch or seq <= self.committed:
            return
        if seq > self._delivered:
            raise ValueError(f"message {seq} was committed, {self._delivered} was the last")
        self.committed = seq
        self.is_ack_due = True
        while self._uncommitted and self._uncommitted[0][0] <= seq:
            self._bytes -= self._uncommitted.popleft()[1]

    def ack(self) -> Ack:
        if self.epoch is None:
            raise ValueError("nothing has come that could be acknowledged")
        return Ack(self.epoch, self.committed)


def _encoded(message: OutboundMessage) -> bytes:
    if not 0 < len(message.message_id) <= MESSAGE_ID_LIMIT:
        raise ValueError(f"a message id of {len(message.message_id)} characters")
    return encode_frame(
        Message(
            message.message_id,
            message.epoch,
            message.seq,
            message.sent_at_unix_ms,
            message.kind,
            message.body,
        )
    )


def _checked_nick(nick: str) -> str:
    if len(nick.encode()) > NICK_LIMIT_BYTES:
        raise ValueError(f"a nick of more than {NICK_LIMIT_BYTES} bytes")
    return nick
