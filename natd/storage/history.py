"""Old messages, searched for."""

from typing import Any

from natd.core.base.types import PeerId, peer_id_text
from natd.host.errors import CommandError
from natd.storage.address_book import AddressBook, JoinedNetwork
from natd.storage.event_log import utc_text
from natd.storage.schema import EMPTIED
from natd.storage.store import Store

PAGE_LIMIT = 1000
"""Messages in one answer: at 16 KiB each they would pass the control socket's megabyte, so the
texts of an answer are limited, too."""

ANSWER_BYTES = 512 * 1024

SEARCH_LIMIT_BYTES = 1024
"""SQLite takes patterns of 50,000, and takes a zero for the end of one."""

UNIX_S_LIMIT = 253_402_300_800
"""The year 10000."""

_CHOOSE = (
    "SELECT messages.id, is_outbound, conversations.peer, messages.nick, trust, message, "
    "stored_at_unix_ms, body, kind FROM messages "
    "LEFT JOIN conversations ON conversations.id = messages.conversation "
    f"WHERE messages.network = ? AND trust != '{EMPTIED}'"
)
_OF_PEER = (
    " AND (conversations.peer = ? OR messages.id IN (SELECT outbox.message FROM outbox "
    "JOIN conversations AS c ON c.id = outbox.conversation WHERE c.peer = ? AND c.network = ?))"
)
_RECIPIENTS = (
    "SELECT outbox.message, conversations.peer, seq < first_unacknowledged FROM outbox "
    "JOIN conversations ON conversations.id = outbox.conversation WHERE outbox.message IN "
)


async def read_history(
    store: Store,
    book: AddressBook,
    network: JoinedNetwork,
    own_id: str,
    *,
    peer: PeerId | None,
    search: str | None,
    since_unix_s: float | None,
    limit: int,
) -> list[dict[str, Any]]:
    """The newest messages that fit, oldest first; CommandError for what can't be looked for."""
    sql, parameters = _CHOOSE, [network.id]
    values: list[Any] = list(parameters)
    if peer is not None:
        sql += _OF_PEER
        values += [peer, peer, network.id]
    if search:
        if len(search.encode()) > SEARCH_LIMIT_BYTES or "\0" in search:
            text = f"expected text of at most {SEARCH_LIMIT_BYTES} bytes to search for"
            raise CommandError("usage", text)
        sql += " AND body LIKE ? ESCAPE '\\'"
        values.append("%" + _escaped(search) + "%")
    if since_unix_s is not None:
        if abs(since_unix_s) > UNIX_S_LIMIT:
            raise CommandError("usage", "expected since_unix_s before the year 10000")
        sql += " AND stored_at_unix_ms >= ?"
        values.append(int(since_unix_s * 1000))
    sql += " ORDER BY messages.id DESC LIMIT ?"
    values.append(max(1, min(limit, PAGE_LIMIT)))
    rows = _fitting(await store.query_apart(sql, values))
    recipients = await _recipients(store, [row[0] for row in rows if row[1]])
    return [
        _message(row, recipients.get(row[0], []), book, network, own_id) for row in reversed(rows)
    ]


def _message(
    row: tuple[Any, ...],
    recipients: list[tuple[str, bool]],
    book: AddressBook,
    network: JoinedNetwork,
    own_id: str,
) -> dict[str, Any]:
    id_, is_outbound, peer, nick, trust, message, at, text, kind = row
    sender: dict[str, Any] = {"nick": nick, "id": own_id}
    if not is_outbound:
        known = None if peer is None else book.peer(network.id, peer)
        sender = {
            "nick": nick,
            "id": "" if peer is None else peer_id_text(peer),
            "trust": trust if known is None else known.trust,
        }
    return {
        "id": id_,
        "ts": utc_text(at),
        "network": network.name,
        "direction": "out" if is_outbound else "in",
        "from": sender,
        "to": [peer_id for peer_id, _ in recipients],
        "message": message,
        "kind": kind,
        "text": text,
        "delivered": [peer_id for peer_id, has_it in recipients if has_it],
    }


async def _recipients(store: Store, messages: list[int]) -> dict[int, list[tuple[str, bool]]]:
    """Message row -> (peer id, delivered) of each recipient."""
    found: dict[int, list[tuple[str, bool]]] = {}
    if messages:
        places = ",".join("?" * len(messages))
        rows = await store.query_apart(f"{_RECIPIENTS} ({places})", messages)
        for message, peer, has_it in rows:
            found.setdefault(message, []).append((peer_id_text(peer), bool(has_it)))
    return found


def _fitting(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    room = ANSWER_BYTES
    for count, row in enumerate(rows):
        room -= len(row[7])
        if room < 0:
            return rows[: max(1, count)]
    return rows


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
