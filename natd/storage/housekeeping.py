"""What is deleted by age: messages that nobody came for, and old history.

All ages are in the daemon's own time.  What its sender may still say again leaves its id here, so
that it is known when it comes; that it is done with a message, a sender shows when a session
begins (`Conversation.done_id`).
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from natd.core.base.types import MESSAGES_KEPT_DAYS
from natd.storage.conversation import Conversation
from natd.storage.mailbox_writes import SET_FIRST_UNACKNOWLEDGED
from natd.storage.own_time import DAY_S
from natd.storage.schema import EMPTIED, EMPTIED_BYTES, ROW_BYTES
from natd.storage.store import PRUNED_A_COMMIT, Store

_EXPIRED = (
    "SELECT max(seq), count(*) FROM outbox JOIN messages ON messages.id = outbox.message "
    "WHERE outbox.conversation = ? AND seq > ? AND kept_at_s < ?"
)
_UNDELIVERED = (
    "SELECT outbox.message FROM outbox JOIN conversations "
    "ON conversations.id = outbox.conversation WHERE seq >= first_unacknowledged"
)
_IS_DONE = (
    "id <= coalesce((SELECT done_id FROM conversations "
    "WHERE conversations.id = messages.conversation), id)"
)
_TO_DELETE = (
    "SELECT id, conversation, length(CAST(body AS BLOB)), trust FROM messages "
    f"WHERE kept_at_s < ? AND is_open = 0 AND id NOT IN ({_UNDELIVERED}) "
    f"AND (is_outbound = 1 OR (kept_at_s < ? AND {_IS_DONE})) ORDER BY id LIMIT {PRUNED_A_COMMIT}"
)
_TO_EMPTY = (
    "SELECT id, conversation, length(CAST(body AS BLOB)), trust FROM messages "
    f"WHERE kept_at_s < ? AND is_outbound = 0 AND trust != '{EMPTIED}' "
    f"ORDER BY id LIMIT {PRUNED_A_COMMIT}"
)
_FORGET = (
    "DELETE FROM conversations WHERE is_aside = 1 "
    "AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.conversation = conversations.id) "
    "AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.conversation = conversations.id)"
)
_SET_STORED = "UPDATE conversations SET stored_bytes = ? WHERE id = ?"
_SET_DONE = "UPDATE conversations SET done_id = ? WHERE id = ?"


class Expired(NamedTuple):
    """Messages to one peer that were given up."""

    conversation: Conversation
    seq: int
    """Up to this number."""
    messages: int


async def give_up(store: Store, conversations: Iterable[Conversation]) -> list[Expired]:
    """Take what has waited for more than `MESSAGES_KEPT_DAYS` out of these conversations;
    StoreError."""
    before_s = store.own_time.now_s - MESSAGES_KEPT_DAYS * DAY_S
    expired = []
    for conversation in conversations:
        if not conversation.queued:
            continue
        values = (conversation.id, conversation.acknowledged_seq, before_s)
        ((last, count),) = await store.read(_EXPIRED, values)
        if last is None or last <= conversation.acknowledged_seq:
            continue
        await store.execute(SET_FIRST_UNACKNOWLEDGED, (last + 1, conversation.id))
        if last > conversation.acknowledged_seq:
            conversation.acknowledged_seq = last
            conversation.given_seq = max(conversation.given_seq, last)
            conversation.in_flight = [each for each in conversation.in_flight if each[0] > last]
            expired.append(Expired(conversation, last, count))
    return expired


async def forget_empty(store: Store) -> None:
    """Delete conversations of forgotten peers that nothing is left of; before anything is opened;
    StoreError."""
    await store.execute(_FORGET)


async def prune(store: Store, conversations: Iterable[Conversation], before_s: int) -> None:
    """Delete history that was kept before this instant of own time, except what still waits for a
    peer; StoreError."""
    by_id = {conversation.id: conversation for conversation in conversations}
    for conversation in by_id.values():
        if conversation.done_id > conversation.stored_done_id:
            conversation.stored_done_id = conversation.done_id
            store.post(_SET_DONE, (conversation.done_id, conversation.id))
    await store.flush()
    said_again_s = store.own_time.now_s - MESSAGES_KEPT_DAYS * DAY_S
    while rows := await store.query_apart(_TO_DELETE, (before_s, min(before_s, said_again_s))):
        places = ",".join("?" * len(rows))
        ids = [row[0] for row in rows]
        freed = _freed(rows, 0)
        await store.execute_all(
            [
                (f"DELETE FROM outbox WHERE message IN ({places})", ids),
                (f"DELETE FROM messages WHERE id IN ({places})", ids),
                *_given_back(freed, by_id),
            ]
        )
    while rows := await store.query_apart(_TO_EMPTY, (before_s,)):
        places = ",".join("?" * len(rows))
        sql = f"UPDATE messages SET body = '', nick = '', trust = ? WHERE id IN ({places})"
        freed = _freed(rows, EMPTIED_BYTES)
        emptied = (sql, [EMPTIED, *(row[0] for row in rows)])
        await store.execute_all([emptied, *_given_back(freed, by_id)])


def _freed(rows: list[tuple[Any, ...]], stays: int) -> Counter[int]:
    """Bytes by conversation."""
    freed: Counter[int] = Counter()
    for _, conversation, body_bytes, trust in rows:
        if conversation is not None:
            had = EMPTIED_BYTES if trust == EMPTIED else ROW_BYTES + body_bytes
            freed[conversation] += had - stays
    return freed


def _given_back(freed: Counter[int], by_id: dict[int, Conversation]) -> list[tuple[str, list[Any]]]:
    for id_, count in freed.items():
        if (conversation := by_id.get(id_)) is not None:
            conversation.stored_bytes = max(0, conversation.stored_bytes - count)
    return [(_SET_STORED, [by_id[id_].stored_bytes, id_]) for id_ in freed if id_ in by_id]
