"""Messages from one peer: each once in a session, in order, and which of them are on disk.

seq   1 2 3 | 4 5 | 6 | . 8 9
 committed  delivered  held back for 7

What a new session says again is delivered again: the disk knows each message by its id.
"""

from collections import deque

from natd.core.codec.frames import Ack, Message

UNCOMMITTED_MESSAGES = 2 * 1024
UNCOMMITTED_BYTES = 2 * 1024 * 1024
"""How much may be delivered and not yet committed, or held back for an earlier message: twice
what a sender that keeps the rule may have on its way."""


class Inbox:
    """See the top of this file."""

    def __init__(self, heard_outbox: int | None, heard_seq: int) -> None:
        """What is on disk: the peer's outbox, and the highest number of it."""
        self.epoch: int | None = None
        """Of the last session; None before the first hello."""
        self.outbox = heard_outbox or 0
        """The one that the peer's messages are from; 0: not known."""
        self.heard_seq = heard_seq
        """The highest number of that outbox on disk, in whatever session it came."""
        self.committed = 0
        self.is_ack_due = False
        self.is_held = False
        """Whether the owner has no room: nothing is taken or delivered until it has again."""
        self.has_turned_away = False
        """Whether something has come meanwhile in this session: it does not come again in it."""
        self._delivered = 0
        self._has_left_an_epoch = False
        self._uncommitted: deque[tuple[int, int]] = deque()
        # Messages by seq that are new and not delivered yet.
        self._held: dict[int, Message] = {}
        # Of both.
        self._bytes = 0

    def knows_all(self, first_seq: int, outbox: int) -> bool:
        """Whether the sender of this hello is done with all that we have of its outbox."""
        return outbox == self.outbox and first_seq > self.heard_seq

    def hold(self) -> None:
        """There is no room for what has been delivered last, or for what follows."""
        self.is_held = self.has_turned_away = True
        self._forget_held()

    def begin(self, epoch: int, first_seq: int, outbox: int) -> int:
        """Take the sender's hello; how many messages it is done with and we have not got."""
        missing = self._note_outbox(outbox or epoch, first_seq - 1)
        self._begin(epoch, first_seq)
        return missing

    def _note_outbox(self, outbox: int, done: int) -> int:
        if outbox != self.outbox:
            self.outbox, self.heard_seq = outbox, 0
            return 0
        missing = max(0, done - self.heard_seq)
        self.heard_seq += missing
        return missing

    def _begin(self, epoch: int, first_seq: int) -> None:
        if epoch != self.epoch:
            self._has_left_an_epoch = self.epoch is not None
            self.epoch = epoch
            self.committed = self._delivered = first_seq - 1
            self.is_ack_due = self.has_turned_away = False
            self._uncommitted.clear()
            self._held.clear()
            self._bytes = 0
            return
        if self._delivered < first_seq - 1:
            self._delivered = self.committed = first_seq - 1
            self._uncommitted.clear()
            self._held = {seq: held for seq, held in self._held.items() if seq >= first_seq}
            self._bytes = sum(len(held.body) for held in self._held.values())

    def receive(self, message: Message) -> str | None:
        """Take a message; gives the reason if it is dropped."""
        seq = message.seq
        if message.epoch != self.epoch:
            return "message-of-unknown-epoch"
        if seq <= self._delivered or seq in self._held:
            if seq <= self.committed:
                self.is_ack_due = True
            return "message-again"
        if self.is_held:
            self.has_turned_away = True
            return "message-without-room"
        if (
            seq > self.committed + UNCOMMITTED_MESSAGES
            or self._bytes + len(message.body) > UNCOMMITTED_BYTES
        ):
            return "message-beyond-window"
        self._held[seq] = message
        self._bytes += len(message.body)
        return None

    def _forget_held(self) -> None:
        self._bytes -= sum(len(held.body) for held in self._held.values())
        self._held.clear()

    def next_message(self) -> Message | None:
        message = self._held.pop(self._delivered + 1, None) if self._held else None
        if message is not None:
            self._delivered = message.seq
            self._uncommitted.append((message.seq, len(message.body)))
        return message

    def commit(self, epoch: int, seq: int) -> None:
        if epoch != self.epoch or seq <= self.committed:
            return
        if seq > self._delivered and self._has_left_an_epoch:
            # A sender of version 0.1 has come back to an epoch and begun it anew: this was on its
            # way to the disk before.  It comes again, and then it is acknowledged.
            return
        if seq > self._delivered:
            raise ValueError(f"message {seq} was committed, {self._delivered} was the last")
        self.committed = self.heard_seq = seq
        self.is_ack_due = True
        while self._uncommitted and self._uncommitted[0][0] <= seq:
            self._bytes -= self._uncommitted.popleft()[1]

    def ack(self) -> Ack:
        if self.epoch is None:
            raise ValueError("nothing has come that could be acknowledged")
        return Ack(self.epoch, self.committed)
