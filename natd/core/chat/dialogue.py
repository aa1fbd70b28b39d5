"""The chat with one peer: one conversation over one session after another.

    sessions ─DataReceived─► frames ─► conversation     Hello, Message, Ack
        ▲                     └─────► our owner         NewerCard, Introduce, Seek, Bye
        └──────── frames to send ──── conversation

Owns `sessions` and `conversation`.  On each new session the conversation begins with hello, then
sends everything that the peer has not acknowledged.

Rules:
- The owner calls `settle` after each input, to the dialogue or straight to its sessions.
- Nothing is said before `open_conversation`: the store knows what was said before.
- We dial nobody before `allow_session` or `open_conversation`: the owner may shut the peer out.
  A handshake says nothing of a conversation, so it need not wait for the disk; what is said follows
  as 0-RTT data.
- A peer that sends an invalid frame loses its session, not its messages.
- After a bye nothing more that the peer sends in that session counts.
"""

from collections import Counter, deque
from random import Random

from natd.core.base.events import ConversationState, OutboundMessage
from natd.core.base.routes import RouteAdded, RouteDropped
from natd.core.base.types import DecodeError, NetworkId, PeerId
from natd.core.chat.conversation import Conversation, ConversationEvent
from natd.core.codec.frames import (
    Bye,
    Frame,
    FrameReader,
    Introduce,
    NewerCard,
    Seek,
    encode_frame,
)
from natd.core.keys.secrets import PairSecrets
from natd.core.session.events import (
    DataReceived,
    HandshakeCompleted,
    SessionEnded,
    SessionOpened,
    SessionsEvent,
)
from natd.core.session.sessions import Sessions

FRAMES_AT_ONCE_BYTES = 64 * 1024
"""How much is taken from the conversation at a time: a piece that the session can swallow."""

UNREAD_BYTES = 256 * 1024
"""What is kept of a peer until the conversation is open; a first flight has half of that.  A peer
that says more is heard in the next session."""

DialogueEvent = (
    ConversationEvent
    | NewerCard
    | Introduce
    | Seek
    | Bye
    | RouteAdded
    | RouteDropped
    | HandshakeCompleted
    | SessionEnded
)


class Dialogue:
    """See the top of this file."""

    def __init__(
        self, network: NetworkId, peer: PeerId, peer_nick: str, random: Random, *, ours_stay: bool
    ) -> None:
        """`ours_stay`: see `Sessions`."""
        self.dropped: Counter[str] = Counter()
        self.sessions = Sessions(random, ours_stay=ours_stay)
        self._random = random
        self.events: deque[DialogueEvent] = deque()
        """The owner drains them."""
        self._network, self._peer, self._peer_nick = network, peer, peer_nick
        self._conversation: Conversation | None = None  # None until open_conversation
        self._reader: FrameReader | None = None  # None: nothing was read in this session
        self._has_left = False  # whether this session has had its bye
        self._is_broken = False  # whether nothing more of this session may be read
        self._unread = b""  # said by the peer before open_conversation
        self._may_dial = False  # see `allow_session`
        self._waiting: PairSecrets | None = None  # of a dial that waits until a session is allowed

    # --- inputs

    def open_conversation(self, state: ConversationState, now: float) -> None:
        if self._conversation is not None:
            return
        self._conversation = Conversation(
            state, self._network, self._peer, self._peer_nick, self._random
        )
        if self.sessions.is_open:
            self._conversation.session_opened()
            unread, self._unread = self._unread, b""
            self._read(unread, now)
        self.allow_session(now)

    def allow_session(self, now: float) -> None:
        """The conversation will be opened as soon as the disk has it.  A handshake says nothing of
        it, so a dial need not wait for the disk; what is said follows as 0-RTT data."""
        self._may_dial = True
        if self._waiting is not None:
            self.sessions.dial(self._waiting, now)
            self._waiting = None

    def shut_out(self, now: float) -> None:
        """End the session, and forget a dial that waits."""
        self._waiting = None
        self.sessions.close(now)

    def name_peer(self, nick: str) -> None:
        """Take the nick in the peer's newest card."""
        self._peer_nick = nick
        if self._conversation is not None:
            self._conversation.peer_nick = nick

    def dial(self, secrets: PairSecrets, now: float) -> None:
        if self._may_dial:
            self.sessions.dial(secrets, now)
        else:
            self._waiting = secrets

    def redial(self, secrets: PairSecrets, now: float) -> None:
        if self._may_dial:
            self.sessions.redial(secrets, now)

    def send_message(self, message: OutboundMessage) -> bool:
        """False when the conversation is full or not open: the store is asked again later."""
        return self._conversation is not None and self._conversation.send_message(message)

    def message_committed(self, epoch: int, seq: int) -> None:
        if self._conversation is not None:
            self._conversation.message_committed(epoch, seq)

    def hold_messages(self) -> None:
        """Our disk has no room for a message that has arrived, nor for what follows it."""
        if self._conversation is not None:
            self._conversation.hold()

    def release_messages(self, now: float) -> None:
        """There is room again: what was not taken comes again, in another session."""
        if self._conversation is not None and self._conversation.release():
            self.sessions.close(now)

    def give_up(self, seq: int, now: float) -> None:
        """Our disk keeps no message up to this number any more."""
        if self._conversation is not None:
            self._conversation.give_up(seq)
            self.sessions.close(now)

    def send_frame(self, frame: Frame, now: float) -> None:
        """Send a frame that is no message, if there is a session; a lost one is not repeated."""
        encoded = encode_frame(frame)
        if self.sessions.is_established and self.sessions.send_room >= len(encoded):
            self.sessions.send(encoded, now)

    def say_bye(self, now: float) -> None:
        self.send_frame(Bye("stopped"), now)
        self.sessions.flush()
        self.sessions.close(now)

    def settle(self, now: float) -> None:
        """Pass frames and events between the two until there are none left."""
        busy = True
        while busy:
            busy = False
            while (event := self.sessions.next_event()) is not None:
                busy = True
                self._take_sessions_event(event, now)
            if self._conversation is not None:
                self._pass_on(self._conversation)
                busy = self._speak(self._conversation, now) or busy

    # --- outputs

    @property
    def is_known(self) -> bool:
        """Whether the conversation is open: before that it is not known what waits in it."""
        return self._conversation is not None

    @property
    def is_waiting(self) -> bool:
        """Whether a message is known that the peer has not acknowledged."""
        return self._conversation is not None and self._conversation.is_waiting

    @property
    def all_dropped(self) -> Counter[str]:
        """Ours, the conversation's and the sessions'."""
        said = Counter() if self._conversation is None else self._conversation.dropped
        return self.dropped + said + self.sessions.all_dropped

    # --- private

    def _take_sessions_event(self, event: SessionsEvent, now: float) -> None:
        match event:
            case SessionOpened():
                self._reader = None
                self._has_left = self._is_broken = False
                self._unread = b""
                if self._conversation is not None:
                    self._conversation.session_closed()
                    self._conversation.session_opened()
            case DataReceived(data):
                self._read(data, now)
            case SessionEnded():
                if self._conversation is not None:
                    self._conversation.session_closed()
                self.events.append(event)
            case _:
                self.events.append(event)

    def _read(self, data: bytes, now: float) -> None:
        if self._is_broken:
            return
        if self._conversation is None:
            if len(self._unread) + len(data) > UNREAD_BYTES:
                self._break_off("too-much-before-it-is-open", now)
            else:
                self._unread += data
            return
        if self._has_left:
            self.dropped["after-the-bye"] += 1
            return
        if self._reader is None:
            self._reader = FrameReader()
        try:
            frames = self._reader.feed(data)
        except DecodeError:
            self._break_off("no-frame", now)
            return
        if self._reader.unknown:
            self.dropped["frame-of-unknown-type"] += self._reader.unknown
            self._reader.unknown = 0
        for frame in frames:
            match frame:
                case NewerCard() | Introduce() | Seek():
                    self.events.append(frame)
                case Bye():
                    self._has_left = True
                    self.events.append(frame)
                    return
                case _:
                    self._conversation.receive_frame(frame)
                    self._pass_on(self._conversation)

    def _break_off(self, why: str, now: float) -> None:
        """Behind a fault or a gap a part of one message could be taken for the end of another."""
        self.dropped[why] += 1
        self._is_broken, self._unread = True, b""
        self.sessions.close(now)

    def _pass_on(self, conversation: Conversation) -> None:
        """At once, so that frames before a bye are reported before it."""
        if conversation.events:
            self.events += conversation.events
            conversation.events.clear()

    def _speak(self, conversation: Conversation, now: float) -> bool:
        """Hand frames to the session as far as it has room."""
        if not (self.sessions.is_open and conversation.has_frames):
            return False
        spoke = False
        while room := min(self.sessions.send_room, FRAMES_AT_ONCE_BYTES):
            encoded = conversation.frames_to_send(room)
            if not encoded:
                break
            self.sessions.send(b"".join(encoded), now)
            spoke = True
        return spoke
