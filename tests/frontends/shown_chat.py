"""Events of a chat, and what a view of it shows of them, in UTC and without a terminal."""

from datetime import UTC
from typing import Any

from frontends.chatview import ChatView, Line

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC, a Tuesday
OWN_ID = "aaaa1111"
BOB = {"nick": "bob", "id": "bbbb2222", "tag": "bbbb", "trust": "new"}
CAROL = {"nick": "carol", "id": "cccc3333", "tag": "cccc", "trust": "verified"}
PATH = {"kind": "direct", "address": "198.51.100.7:4242", "rtt_ms": 12.4, "technique": "re-roll"}


def opened() -> ChatView:
    """A view on its first day, whose separator has been drained."""
    view = ChatView("demo", zone=UTC)
    view.receive_self("alice", OWN_ID)
    view.note("begin", NOW)
    view.lines()
    return view


def shown(view: ChatView) -> list[str]:
    lines: list[Line] = view.lines()
    return [line.plain for line in lines]


def event(type_: str, **fields: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "id": 1,
        "ts": "2023-11-14T22:13:20Z",
        "type": type_,
        "network": "demo",
    } | fields


def message(peer: Any, text: str, *, number: int = 1, **fields: Any) -> dict[str, Any]:
    return event("message", message=f"p{number}", kind="text", text=text, **{"from": peer}) | fields


def sent(text: str, *, to: list[Any], number: int = 1) -> dict[str, Any]:
    ids = [peer["id"] for peer in to]
    return event("sent", message=f"m{number}", text=text, to=ids)


def delivered(peer: Any) -> dict[str, Any]:
    return event("delivered", message="m1", peer=peer)
