"""What is said between the two of us: one conversation over one session after the other.

Owner of `sessions` and `conversation`.  Whenever another session is in use, the conversation
begins it anew: hello, then everything that the peer has not acknowledged.

Rules:
- Nothing is said before `open_conversation`: the store knows what was said before.
- A dial that is asked for before that waits for it, so that its first flight can carry the
  messages that wait.
- A peer that sends what is no frame loses its session, not its messages.
- Whoever has said goodbye is not listened to any more on that session.
"""

from collections import Counter, deque
from dataclasses import dataclass
from random import Random

from natd.core.base.events import ConversationState, OutboundMessage
from natd.core.base.routes import RouteAdded, RouteDropped
from natd.core.base.types import Address, DecodeError
from natd.core.chat.conversation import Conversation, ConversationEvent
from natd.core.codec import frames
from natd.core.keys.secrets import PairSecrets
from natd.core.session.events import (
    HandshakeCompleted,
    Received,
    SessionEnded,
    SessionOpened,
    SessionsEvent,
)
from natd.core.session.sessions import Sessions

FRAMES_AT_ONCE_BYTES = 64 * 1024
"""How much is taken from the conversation at a time: a piece that the session can swallow."""

UNREAD_BYTES = 256 * 1024
"""A first flight has half of that; what is cut off is said again on the next session."""

DialogueEvent = ConversationEvent | RouteAdded | RouteDropped | HandshakeCompleted | SessionEnded


@dataclass(frozen=True, slots=True)
class _Call:
    """A dial that waits for the conversation."""

    secrets: PairSecrets


class Dialogue:
    """See the top of this file."""

    def __init__(self, random: Random, *, nick: str, ours_stay: bool) -> None:
        self.dropped: Counter[str] = Counter()
        self._nick = nick
        self._sessions = Sessions(random, ours_stay=ours_stay)
        self._conversation: Conversation | None = None  # None until open_conversation
        self._reader = frames.FrameReader()
        self._has_left = False  # whether this session has had its bye
        self._unread = b""  # said by the peer before open_conversation
        self._waiting: _Call | None = None  # None: no dial waits
        # Where the peer appears to us, told to it in the hello.
        self._observed: Address | None = None
        self._events: deque[DialogueEvent] = deque()

    # --- inputs

    def open_conversation(self, state: ConversationState, now: float) -> None:
        if self._conversation is not None:
            return
        self._conversation = Conversation(state, nick=self._nick)
        if self._sessions.is_open:
            self._conversation.session_opened(now, self._observed)
            unread, self._unread = self._unread, b""
            self._read(unread, now)
        if self._waiting is not None:
            self._sessions.dial(self._waiting.secrets, now)
            self._waiting = None
        self._settle(now)

    def dial(self, secrets: PairSecrets, now: float) -> None:
        if self._conversation is None:
            self._waiting = _Call(secrets)
        else:
            self._sessions.dial(secrets, now)
            self._settle(now)

    def redial(self, secrets: PairSecrets, now: float) -> None:
        if self._conversation is not None:
            self._sessions.redial(secrets, now)
            self._settle(now)

    def send_message(self, message: OutboundMessage, now: float) -> bool:
        """False when the conversation is full or not open: the store is asked again later."""
        if self._conversation is None:
            return False
        taken = self._conversation.send_message(message, now)
        self._settle(now)
        return taken

    def message_committed(self, epoch: int, seq: int, now: float) -> None:
        if self._conversation is not None:
            self._conversation.message_committed(epoch, seq, now)
            self._settle(now)

    def send_frame(self, frame: frames.Frame, now: float) -> None:
        """Something besides messages, which nobody will say again if it is lost."""
        encoded = frames.encode_frame(frame)
        if self._sessions.is_established and self._sessions.send_room >= len(encoded):
            self._sessions.send(encoded, now)

    def receive_datagram(
        self,
        data: bytes,
        connection_id: bytes,
        secrets: PairSecrets | None,
        observed: Address,
        now: float,
    ) -> bool:
        """Take a QUIC datagram that came from `observed`; True if authentic and new."""
        self._observed = observed
        genuine = self._sessions.receive_datagram(data, connection_id, secrets, now)
        self._settle(now)
        return genuine

    def path_changed(self, now: float) -> None:
        self._sessions.path_changed(now)
        self._settle(now)

    def renew(self, now: float) -> None:
        """There may be a way to the peer at last: what has waited for one begins again."""
        self._sessions.renew(now)
        self._settle(now)

    def say_bye(self, now: float) -> None:
        self.send_frame(frames.Bye("stopped"), now)
        self._sessions.flush()
        self._sessions.close(now)
        self._settle(now)

    def hang_up(self, now: float) -> None:
        """End the session without a word of ours."""
        self._sessions.close(now)
        self._settle(now)

    def handle_timer(self, now: float) -> None:
        self._sessions.handle_timer(now)
        self._settle(now)

    # --- outputs

    def datagrams_to_send(self) -> list[bytes]:
        return self._sessions.datagrams_to_send()

    def next_event(self) -> DialogueEvent | None:
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        return self._sessions.get_timer()

    @property
    def has_said_all(self) -> bool:
        """Whether the conversation is open and no message is known that waits in it."""
        return self._conversation is not None and not self._conversation.is_waiting

    @property
    def all_dropped(self) -> Counter[str]:
        """Ours, the conversation's and the sessions'."""
        said = Counter() if self._conversation is None else self._conversation.dropped
        return self.dropped + said + self._sessions.all_dropped

    @property
    def sessions(self) -> Sessions:
        """For looking at, not for acting on."""
        return self._sessions

    # --- private

    def _settle(self, now: float) -> None:
        busy = True
        while busy:
            busy = False
            while (event := self._sessions.next_event()) is not None:
                busy = True
                self._take_sessions_event(event, now)
            while self._conversation is not None:
                said = self._conversation.next_event()
                if said is None:
                    break
                self._events.append(said)
            busy = self._speak(now) or busy

    def _speak(self, now: float) -> bool:
        """Hand frames to the session as far as it has room."""
        if self._conversation is None or not self._sessions.is_open:
            return False
        spoke = False
        while room := min(self._sessions.send_room, FRAMES_AT_ONCE_BYTES):
            encoded = self._conversation.frames_to_send(room)
            if not encoded:
                break
            self._sessions.send(b"".join(encoded), now)
            spoke = True
        return spoke

    def _take_sessions_event(self, event: SessionsEvent, now: float) -> None:
        match event:
            case SessionOpened():
                self._reader = frames.FrameReader()
                self._has_left = False
                self._unread = b""
                if self._conversation is not None:
                    self._conversation.session_closed(now)
                    self._conversation.session_opened(now, self._observed)
            case SessionEnded():
                if self._conversation is not None:
                    self._conversation.session_closed(now)
                self._events.append(event)
            case Received(data):
                self._read(data, now)
            case RouteAdded() | RouteDropped() | HandshakeCompleted():
                self._events.append(event)

    def _read(self, data: bytes, now: float) -> None:
        if self._conversation is None:
            self._unread = (self._unread + data)[:UNREAD_BYTES]
            return
        if self._has_left:
            self.dropped["after-the-bye"] += 1
            return
        try:
            read = self._reader.feed(data)
        except DecodeError:
            self.dropped["no-frame"] += 1
            self._sessions.close(now)
            return
        for frame in read:
            self._conversation.receive_frame(frame, now)
            if isinstance(frame, frames.Bye):
                self._has_left = True
                return
