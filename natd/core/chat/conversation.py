"""The messages of one peer: each exactly once, in the order sent, over any number of sessions.

A message has a place, (outbox, seq).  The outbox is one on one disk; seq counts 1, 2, 3, ... in
it without gaps.  Every session has an epoch of its own, and begins with `Hello` (the epoch, the
first seq that may still come, and how far the peer's outbox is on our disk), then everything
unacknowledged from the beginning, then what is new:

    outbound   disk --OutboxWanted / send_message--> window --frames_to_send--> session
               window <--Ack, cumulative-- peer
    inbound    session --> in order? new? --MessageArrived--> disk --message_committed--> Ack

Rules that a change must not break:

- A message is delivered when its seq is one more than the last one delivered.  What comes
  sooner is held back, what comes again in a session is dropped; `Hello.first_seq` skips what the
  sender is done with.
- No number is trusted across sessions: either disk may have come back from an older copy, and
  then the same numbers stand for other messages.  What another session says again is delivered
  again; the shell knows it by its id, and only acknowledges it.  Numbers of other sessions serve
  to tell people that a disk went back.
- A message is acknowledged only after `message_committed`, and acknowledged again whenever
  it comes again: an acknowledgement may have been lost with its session.
- An acknowledgement counts only for what was sent in its session.
- A session has one hello: with others, of another epoch or of higher numbers, a sender could have
  us hold any number of windows, and warn people of missing messages as often.
- Where our disk has no room nothing is taken, so it waits at its sender; when there is room, a
  new session begins with all of it.
- Memory is bounded both ways.  The sender has at most a window of messages that are not
  acknowledged, the rest stays on its disk; the receiver takes twice that and no more, so a
  sender that keeps the rule never loses anything by it.
"""

from collections import Counter, deque
from random import Random

from natd.core.base.events import (
    ConversationState,
    MessageArrived,
    MessagesAcknowledged,
    MessagesMissing,
    NothingToRepeat,
    OutboundMessage,
    OutboxWanted,
    OutboxWentBack,
)
from natd.core.base.types import NetworkId, PeerId
from natd.core.chat.inbox import Inbox
from natd.core.chat.outbox import Outbox
from natd.core.codec.frames import Ack, Hello, Message, encode_frame

EPOCH_BITS = 64

ConversationEvent = (
    MessageArrived
    | MessagesAcknowledged
    | MessagesMissing
    | NothingToRepeat
    | OutboxWanted
    | OutboxWentBack
)


class Conversation:
    """See the top of this file.  Has no timer: all that it waits for is an input."""

    def __init__(
        self,
        state: ConversationState,
        network: NetworkId,
        peer: PeerId,
        peer_nick: str,
        random: Random,
    ) -> None:
        """`random` draws the epochs: in a daemon it is the system's generator."""
        self.dropped: Counter[str] = Counter()
        self.peer_nick = peer_nick
        """Shown as the sender of the peer's messages; the owner sets it when it changes."""
        self.events: deque[ConversationEvent] = deque()
        """The owner drains them."""
        self._network = network
        self._peer = peer
        self._random = random
        self._outbox = Outbox(state.outbox, state.first_unacknowledged, state.last_seq)
        self._inbox = Inbox(state.heard_outbox, state.heard_seq)
        self._is_open = False
        self._is_hello_due = False
        self._is_greeted = False  # whether this session's first hello has come
        self._known_before = 0  # the highest seq of ours that existed when the session began
        self._given_up = 0  # up to which number our disk keeps nothing, delivered or not
        self._has_gone_back = False  # whether `OutboxWentBack` was told

    # --- inputs: the store

    def send_message(self, message: OutboundMessage) -> bool:
        """Take a message that is on our disk, in the order of seq.

        False when it must wait there: `OutboxWanted` follows.  One that was taken before is
        ignored.  ValueError for what no peer could read.
        """
        taken = self._outbox.add(message, is_open=self._is_open)
        self._ask_for_more()
        return taken

    def message_committed(self, epoch: int, seq: int) -> None:
        """Everything up to this message, which has arrived, is on our disk."""
        self._inbox.commit(epoch, seq)

    def hold(self) -> None:
        """Our disk has no room for a message that has arrived: it and what follows is not taken,
        and not acknowledged, before `release`."""
        self._inbox.hold()

    def release(self) -> bool:
        """There is room again.  True: what came meanwhile is lost to this session, and comes only
        in another one."""
        self._inbox.is_held = False
        return self._inbox.has_turned_away

    def give_up(self, seq: int) -> None:
        """Our disk keeps nothing up to this number any more.  A session that is open has been
        promised it, and must be closed."""
        self._given_up = max(self._given_up, seq)
        if not self._is_open:
            self._outbox.acknowledge(seq)

    # --- inputs: the session

    def session_opened(self) -> None:
        """There is a session, or another one: what follows goes into it.

        May be called before the handshake is complete.
        """
        self._is_open = self._is_hello_due = True
        self._is_greeted = False
        self._known_before = self._outbox.known_to
        self._outbox.begin(self._random.getrandbits(EPOCH_BITS))
        self._inbox.is_ack_due = False
        self._ask_for_more()

    def session_closed(self) -> None:
        """The session has ended: what is not acknowledged will be sent again."""
        self._is_open = False
        self._outbox.rewind()
        self._outbox.shrink()
        self._outbox.acknowledge(self._given_up)

    def receive_frame(self, frame: Hello | Message | Ack) -> None:
        match frame:
            case Message():
                self._receive_message(frame)
            case Ack():
                self._receive_ack(frame)
            case Hello():
                self._receive_hello(frame)

    # --- outputs

    @property
    def is_waiting(self) -> bool:
        """Whether a message is known that the peer has not acknowledged."""
        return self._outbox.known_to > self._outbox.acknowledged

    @property
    def has_frames(self) -> bool:
        """Whether `frames_to_send` would give any, had it room."""
        is_due = self._is_hello_due or self._inbox.is_ack_due or self._outbox.has_unsent
        return self._is_open and is_due

    def frames_to_send(self, room: int) -> list[bytes]:
        """Whole frames of together at most `room` bytes, to be written to the session."""
        if not self._is_open:
            return []
        frames: list[bytes] = []
        if self._is_hello_due:
            frame = encode_frame(
                Hello(
                    epoch=self._outbox.epoch,
                    first_seq=self._outbox.acknowledged + 1,
                    outbox=self._outbox.outbox,
                    heard_outbox=self._inbox.outbox,
                    heard_seq=self._inbox.heard_seq,
                )
            )
            if len(frame) > room:
                return frames
            self._is_hello_due = False
            room -= len(frame)
            frames.append(frame)
        if self._inbox.is_ack_due:
            frame = encode_frame(self._inbox.ack())
            if len(frame) > room:
                return frames
            self._inbox.is_ack_due = False
            room -= len(frame)
            frames.append(frame)
        if self._outbox.has_unsent:
            self._outbox.take(room, frames)
        return frames

    # --- private

    def _receive_message(self, message: Message) -> None:
        reason = self._inbox.receive(message)
        if reason is not None:
            self.dropped[reason] += 1
        self._deliver()

    def _receive_hello(self, hello: Hello) -> None:
        if self._is_greeted:
            self.dropped["hello-again"] += 1
            return
        self._is_greeted = True
        if self._inbox.knows_all(hello.first_seq, hello.outbox):
            self.events.append(NothingToRepeat(self._network, self._peer))
        missing = self._inbox.begin(hello.epoch, hello.first_seq, hello.outbox)
        if missing:
            outbox, seq = self._inbox.outbox, self._inbox.heard_seq
            told = MessagesMissing(self._network, self._peer, outbox, seq, missing)
            self.events.append(told)
        self._note_heard(hello)
        self._deliver()

    def _note_heard(self, hello: Hello) -> None:
        ahead = hello.heard_seq - self._known_before
        if hello.heard_outbox == self._outbox.outbox and ahead > 0 and not self._has_gone_back:
            self._has_gone_back = True
            self.events.append(OutboxWentBack(self._network, self._peer, ahead))

    def _receive_ack(self, ack: Ack) -> None:
        if ack.epoch != self._outbox.epoch or ack.seq > self._outbox.sent_to:
            self.dropped["ack-of-unknown"] += 1
        elif self._outbox.acknowledge(ack.seq):
            self.events.append(MessagesAcknowledged(self._network, self._peer, ack.seq))
            self._ask_for_more()

    def _deliver(self) -> None:
        while (message := self._inbox.next_message()) is not None:
            self.events.append(
                MessageArrived(
                    self._network,
                    self._peer,
                    self.peer_nick,
                    message.message_id,
                    message.epoch,
                    message.seq,
                    message.sent_at_unix_ms,
                    message.kind,
                    message.body,
                    self._inbox.outbox,
                )
            )

    def _ask_for_more(self) -> None:
        if self._is_open and (count := self._outbox.room_to_ask_for()):
            self.events.append(
                OutboxWanted(self._network, self._peer, self._outbox.loaded_to, count)
            )
