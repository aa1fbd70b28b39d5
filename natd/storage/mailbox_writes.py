"""The changes that the mailbox makes on disk, each whole or not at all.

    Beginning        the conversation's row; the network's open messages, addressed to the peer
    Acceptance       a row of history, one of the outbox for each recipient, event `sent`, and the
                     name that the client gave it; nothing where that name is on disk already
    Arrival          a row of history, the high-water mark, event `message`; of a message that is
                     on disk already only the mark
    Acknowledgement  the first unacknowledged number, events `delivered`

What a commit releases is gathered in `Released`, in order, for the daemon to drain.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from natd.core.base.events import MessageArrived, OutboundMessage
from natd.core.base.types import PRIVATE, NetworkId, PeerId
from natd.storage.asked import Asking
from natd.storage.conversation import Conversation, Outbound, signed
from natd.storage.event_log import EventEntry
from natd.storage.quota import Quota, row_bytes
from natd.storage.store import StoreError
from natd.storage.transaction import Transaction

SET_FIRST_UNACKNOWLEDGED = "UPDATE conversations SET first_unacknowledged = ? WHERE id = ?"

_CONVERSATIONS = "conversations (id, network, peer, outbound_epoch)"
SET_HEARD = "UPDATE conversations SET inbound_epoch = ?, inbound_seq = ? WHERE id = ?"
_SET_ARRIVED = (
    "UPDATE conversations SET inbound_epoch = ?, inbound_seq = ?, stored_bytes = ? WHERE id = ?"
)
_SET_NEXT_SEQ = "UPDATE conversations SET next_seq = ? WHERE id = ?"
NEWEST_ARRIVED = "SELECT max(message) FROM messages WHERE conversation = ?"
HAS_ARRIVED = "SELECT count(*) FROM messages WHERE conversation = ? AND message = ?"
_BEFORE = "SELECT id FROM conversations WHERE network = ? AND peer = ?"
_TAKE_OVER = (
    "UPDATE messages SET conversation = ? WHERE conversation = ?",
    "DELETE FROM outbox WHERE ? > 0 AND conversation = ?",
)
_LAST_SEQ = "SELECT next_seq - 1 FROM conversations WHERE id = ?"
_MESSAGES = (
    "messages (id, network, is_outbound, conversation, nick, trust, message, sent_at_unix_ms, "
    "stored_at_unix_ms, kind, body, is_open, kept_at_s)"
)
_IDS = (
    "SELECT messages.message FROM outbox JOIN messages ON messages.id = outbox.message "
    "WHERE outbox.conversation = ? AND seq > ? AND seq <= ? ORDER BY seq"
)
_LAST_MESSAGE = "SELECT max(id) FROM messages"
_OUTBOX = "outbox (conversation, seq, message)"
_OPEN_MESSAGES = (
    "SELECT id, message, sent_at_unix_ms, kind, body FROM messages "
    "WHERE is_open = 1 AND network = ? AND NOT EXISTS "
    "(SELECT 1 FROM outbox WHERE outbox.message = messages.id AND conversation = ?) ORDER BY id"
)


@dataclass(slots=True)
class Released:
    """What commits have released and nobody has drained yet."""

    outbound: list[Outbound] = field(default_factory=list)
    arrived: dict[Conversation, None] = field(default_factory=dict)
    """Conversations with another `arrived`: acknowledge it."""
    delivered: list[tuple[str, PeerId]] = field(default_factory=list)
    begun: list[Conversation] = field(default_factory=list)
    """Conversations that can be opened."""


class Beginning:
    """A conversation is on disk, and the open messages of its network are addressed to it."""

    def __init__(self, released: Released, conversation: Conversation) -> None:
        self._released = released
        self._conversation = conversation
        self._outbound: list[Outbound] = []
        conversation.pending += 1

    is_news = False

    def apply(self, transaction: Transaction) -> None:
        conversation = self._conversation
        _store_conversation(transaction, conversation)
        transaction.flush()
        self._outbound = []
        rows = transaction.execute(_OPEN_MESSAGES, (conversation.network, conversation.id))
        for id_, message, sent_at, kind, body in rows:
            seq = _address(transaction, conversation, id_)
            posted = OutboundMessage(
                message, conversation.unsigned_outbox, seq, sent_at, kind, body
            )
            self._outbound.append((conversation, posted))

    def committed(self) -> None:
        self._conversation.is_stored = True
        self._conversation.pending -= 1
        self._released.begun.append(self._conversation)
        _release(self._released, self._outbound)

    def failed(self, _error: StoreError) -> bool:
        return True


class Acceptance:
    """A message to some peers is accepted: the future gives its id."""

    is_news = False

    def __init__(
        self,
        released: Released,
        message: tuple[NetworkId, str, int, str, str, str, bool],
        recipients: Sequence[Conversation],
        entry: EventEntry,
        kept_at_s: int,
        future: "asyncio.Future[str]",
        asking: Asking | None = None,
    ) -> None:
        """`message`: network, message id, sent_at_unix_ms, our nick, kind, text, open or not;
        `asking`: of a message that its client has named."""
        self._kept_at_s = kept_at_s
        self._released = released
        self._message = message
        self._recipients = recipients
        self._entry = entry
        self._future = future
        self._asking = asking
        self._outbound: list[Outbound] = []
        for conversation in recipients:
            conversation.pending += 1

    def apply(self, transaction: Transaction) -> None:
        network, message, at, nick, kind, text, is_open = self._message
        if self._asking is not None and self._asking.is_repeated(transaction):
            return
        id_ = transaction.take_number("messages", _LAST_MESSAGE)
        row = (id_, network, 1, None, nick, "", message, at, at, kind, text, is_open)
        transaction.insert(_MESSAGES, (*row, self._kept_at_s))
        if self._asking is not None:
            self._asking.keep(transaction, self._kept_at_s, id_, message)
        self._outbound = []
        for conversation in self._recipients:
            _store_conversation(transaction, conversation)
            seq = _address(transaction, conversation, id_)
            posted = OutboundMessage(message, conversation.unsigned_outbox, seq, at, kind, text)
            self._outbound.append((conversation, posted))
        self._entry.apply(transaction, id_)

    def committed(self) -> None:
        self._settle()
        if self._asking is not None and self._asking.before is not None:
            self._asking.answer(self._future)
            return
        self._entry.committed()
        _release(self._released, self._outbound)
        if not self._future.done():
            self._future.set_result(self._message[1])

    def _settle(self) -> None:
        for conversation in self._recipients:
            conversation.pending -= 1

    def failed(self, error: StoreError) -> bool:
        self._settle()
        if not self._future.done():
            self._future.set_exception(error)
        return False


class Arrival:
    """A peer's message, to be acknowledged once it is here."""

    is_news = False

    def __init__(
        self,
        released: Released,
        conversation: Conversation,
        arrived: MessageArrived,
        trust: str,
        entry: EventEntry,
        kept_at_s: int,
        quota: Quota,
    ) -> None:
        self._released = released
        self._conversation = conversation
        self._arrived = arrived
        self._trust = trust
        self._entry = entry
        self._kept_at_s = kept_at_s
        self._quota = quota
        self._bytes = row_bytes(arrived.body)
        self._is_new = True
        self._id = 0
        conversation.pending += 1
        conversation.stored_bytes += self._bytes
        self._stored_bytes = conversation.stored_bytes
        quota.uncommitted_bytes += self._bytes

    def apply(self, transaction: Transaction) -> None:
        conversation, arrived = self._conversation, self._arrived
        _store_conversation(transaction, conversation)
        heard = (signed(arrived.outbox), arrived.seq, self._stored_bytes, conversation.id)
        transaction.update((_SET_ARRIVED, conversation.id), _SET_ARRIVED, heard)
        self._is_new = _is_new(transaction, conversation, arrived.message_id)
        if not self._is_new:
            return
        self._id = transaction.take_number("messages", _LAST_MESSAGE)
        transaction.insert(
            _MESSAGES,
            (
                self._id,
                arrived.network,
                0,
                conversation.id,
                arrived.nick,
                self._trust,
                arrived.message_id,
                arrived.sent_at_unix_ms,
                time.time_ns() // 1_000_000,
                arrived.kind,
                arrived.body,
                0,
                self._kept_at_s,
            ),
        )
        self._entry.apply(transaction, self._id)

    def committed(self) -> None:
        conversation, arrived = self._conversation, self._arrived
        conversation.is_stored = True
        conversation.pending -= 1
        conversation.heard_outbox = signed(arrived.outbox)
        conversation.heard_seq = arrived.seq
        conversation.arrived = (arrived.epoch, arrived.seq)
        self._quota.uncommitted_bytes -= self._bytes
        if self._is_new:
            conversation.last_id = self._id
            self._entry.committed()
        else:
            conversation.stored_bytes -= self._bytes
        self._released.arrived[conversation] = None

    def failed(self, _error: StoreError) -> bool:
        return True


class Acknowledgement:
    """The peer has everything up to a number."""

    is_news = False

    def __init__(
        self,
        released: Released,
        conversation: Conversation,
        span: tuple[int, int],
        messages: Sequence[str] | None,
        entry_of: Callable[[str], EventEntry],
    ) -> None:
        """`span`: numbers above the first, up to the second; `messages`: their ids, None where
        only the disk has them; `entry_of` makes the event `delivered` of one."""
        self._released = released
        self._conversation = conversation
        self._after, self._seq = span
        self._messages = messages
        self._entry_of = entry_of
        self._delivered: list[tuple[str, EventEntry]] = []

    def apply(self, transaction: Transaction) -> None:
        id_, messages = self._conversation.id, self._messages
        transaction.update(
            (SET_FIRST_UNACKNOWLEDGED, id_), SET_FIRST_UNACKNOWLEDGED, (self._seq + 1, id_)
        )
        if messages is None:
            transaction.flush()
            rows = transaction.execute(_IDS, (id_, self._after, self._seq))
            messages = [message for (message,) in rows]
        self._delivered = [(message, self._entry_of(message)) for message in messages]
        for _, entry in self._delivered:
            entry.apply(transaction)

    def committed(self) -> None:
        self._conversation.first_unacknowledged = self._seq + 1
        for message, entry in self._delivered:
            entry.committed()
            self._released.delivered.append((message, self._conversation.peer))

    def failed(self, _error: StoreError) -> bool:
        return True


def _store_conversation(transaction: Transaction, conversation: Conversation) -> None:
    """Put the conversation's row there, once."""
    key = ("stored", conversation.id)
    if conversation.is_stored or key in transaction.memory:
        return
    transaction.memory[key] = True
    for (before,) in transaction.execute(_BEFORE, (conversation.network, conversation.peer)):
        # Of a peer that was forgotten: what was said with it is said with this one.
        for sql in _TAKE_OVER:
            transaction.execute(sql, (conversation.id, before))
        transaction.execute("DELETE FROM conversations WHERE id = ?", (before,))
    transaction.insert(
        _CONVERSATIONS,
        (conversation.id, conversation.network, conversation.peer, conversation.outbox),
    )


def _is_new(transaction: Transaction, conversation: Conversation, message: str) -> bool:
    """Whether no message of this id is on disk.  Ids sort by time, so most are above all others,
    and need no look into the table."""
    key = (NEWEST_ARRIVED, conversation.id)
    newest = transaction.memory.get(key)
    if newest is None:
        newest = transaction.execute(NEWEST_ARRIVED, (conversation.id,))[0][0] or ""
    transaction.memory[key] = max(newest, message)
    if message > newest:
        return True
    transaction.flush()
    found: int = transaction.execute(HAS_ARRIVED, (conversation.id, message))[0][0]
    return found == 0


def _address(transaction: Transaction, conversation: Conversation, id_: int) -> int:
    """Put a message into the conversation's outbox; its number there."""
    key = (_LAST_SEQ, conversation.id)
    if key not in transaction.memory:
        found = transaction.execute(_LAST_SEQ, (conversation.id,))
        transaction.memory[key] = found[0][0] if found else 0
    seq: int = transaction.memory[key] + 1
    transaction.memory[key] = seq
    transaction.insert(_OUTBOX, (conversation.id, seq, id_))
    transaction.update((_SET_NEXT_SEQ, conversation.id), _SET_NEXT_SEQ, (seq + 1, conversation.id))
    return seq


def _release(released: Released, outbound: Sequence[Outbound]) -> None:
    for conversation, message in outbound:
        conversation.is_stored = True
        conversation.next_seq = message.seq + 1
        if message.kind == PRIVATE:
            conversation.private_seq = message.seq
    released.outbound += outbound
