"""A window onto the messages for one peer that are on our disk and not acknowledged.

    on disk    1 2 3 | 4 5 6 7 8 | 9 10 11 ...
          acknowledged  window     asked for when half the window is free
                       sent | not yet in this session

The rest stays on disk: memory is bounded however long the outbox is.  Numbers are sent under the
session's own epoch, so that no acknowledgement of another session counts: a disk, or a machine,
that came back from a copy would give the same numbers to other messages.
"""

from collections import deque
from typing import NamedTuple

from natd.core.base.events import OutboundMessage
from natd.core.codec.frames import MESSAGE_ID_LIMIT, Message, encode_frame

WINDOW_MESSAGES = 1024
WINDOW_BYTES = 1024 * 1024
"""How much may be on its way.  At 100 ms of round trip and commit: 10,000 messages a second."""

WAITING_MESSAGES = 32
"""How many messages are kept ready while there is no session: enough to fill a first flight.
The rest stays on disk: there may be 256 absent peers."""


class _Outgoing(NamedTuple):
    message: OutboundMessage
    frame: bytes


class Outbox:
    """See the top of this file."""

    def __init__(self, outbox: int, first_unacknowledged: int, last_seq: int) -> None:
        self.outbox = outbox
        self.epoch = 0
        """Of the session; before the first one no frame leaves."""
        self.acknowledged = first_unacknowledged - 1
        self.loaded_to = self.acknowledged
        self.known_to = max(self.acknowledged, last_seq)
        """The highest seq that is known to exist."""
        self.has_unsent = False
        """Whether `take` would give anything, with enough room."""
        self._window: deque[_Outgoing] = deque()
        self._bytes = 0
        self._sent = 0  # how many of the window, from its beginning, are in this session
        self._may_be_more = True  # whether the disk may hold more: unknown at first
        # Up to where messages were asked for; None: nothing that was asked for is to come.
        self._asked_to: int | None = None
        self._came_since_asked = False

    def add(self, message: OutboundMessage, *, is_open: bool) -> bool:
        """Take the next message; False when it has to wait on disk."""
        if message.outbox != self.outbox:
            raise ValueError(f"a message of outbox {message.outbox} in that of {self.outbox}")
        if message.seq <= self.loaded_to:
            return True
        self.known_to = max(self.known_to, message.seq)
        limit = WINDOW_MESSAGES if is_open else WAITING_MESSAGES
        if (
            message.seq != self.loaded_to + 1
            or len(self._window) >= limit
            or self._bytes >= WINDOW_BYTES
        ):
            self._may_be_more = True
            return False
        frame = _encoded(message, self.epoch)
        self._window.append(_Outgoing(message, frame))
        self._bytes += len(frame)
        self.loaded_to = message.seq
        self.has_unsent = True
        self._came_since_asked = True
        if self._asked_to is not None and self.loaded_to >= self._asked_to:
            self._asked_to = None
            self._may_be_more = True
        return True

    @property
    def sent_to(self) -> int:
        """The highest seq that this session has sent; what was acknowledged counts as sent."""
        return self._window[self._sent - 1].message.seq if self._sent else self.acknowledged

    def acknowledge(self, seq: int) -> bool:
        """Whether anything new was acknowledged."""
        if seq <= self.acknowledged:
            return False
        self.acknowledged = seq
        while self._window and self._window[0].message.seq <= seq:
            self._bytes -= len(self._window.popleft().frame)
            self._sent = max(0, self._sent - 1)
        self.has_unsent = self._sent < len(self._window)
        self.loaded_to = max(self.loaded_to, seq)
        if self._came_since_asked:
            # What was asked for had fewer messages than it might have had.
            self._asked_to = None
        return True

    def room_to_ask_for(self) -> int:
        """How many messages to ask for at this moment: none while less than half is free, so
        that a long outbox is read in long runs."""
        free = WINDOW_MESSAGES - len(self._window)
        if (
            not self._may_be_more
            or self._asked_to is not None
            or free < WINDOW_MESSAGES // 2
            or self._bytes > WINDOW_BYTES // 2
        ):
            return 0
        self._may_be_more = self._came_since_asked = False
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
        self.has_unsent = False

    def begin(self, epoch: int) -> None:
        """A session begins: everything is to be sent under its epoch."""
        self.rewind()
        self.epoch = epoch
        self._window = deque(
            _Outgoing(message, _encoded(message, epoch)) for message, _ in self._window
        )
        self._bytes = sum(len(outgoing.frame) for outgoing in self._window)

    def rewind(self) -> None:
        """Everything is to be sent again, and asked for again."""
        self._sent = 0
        self.has_unsent = bool(self._window)
        if self._asked_to is not None:
            self._asked_to = None
            self._may_be_more = True

    def shrink(self) -> None:
        """There is no session: leave all but the first messages to the disk."""
        while len(self._window) > WAITING_MESSAGES:
            self._bytes -= len(self._window.pop().frame)
            self._may_be_more = True
        self.loaded_to = self._window[-1].message.seq if self._window else self.acknowledged


def _encoded(message: OutboundMessage, epoch: int) -> bytes:
    if not 0 < len(message.message_id) <= MESSAGE_ID_LIMIT:
        raise ValueError(f"a message id of {len(message.message_id)} characters")
    return encode_frame(
        Message(
            message.message_id,
            epoch,
            message.seq,
            message.sent_at_unix_ms,
            message.kind,
            message.body,
        )
    )
