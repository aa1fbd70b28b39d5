"""What events and messages look like to people: one in, a line or more out.  Pure."""

from collections.abc import Sequence
from datetime import datetime

from natctl.output import Line, Span
from natctl.words.wording import Json, full_name, milliseconds, path_words

FOLLOWING_LINE_INDENT = "            "
"""Behind the time, so that a second line is seen to belong to the first."""


def message_lines(message: Json, now: datetime, *, with_network: bool = True) -> list[Line]:
    """A message that came, from `tail` or `history`."""
    sender = message.get("from") or {}
    head: list[Span] = [(f"{clock(message.get('ts'), now)}  ", "dim")]
    if with_network and message.get("network"):
        head.append((f"{message['network']}  ", "dim"))
    is_own = message.get("direction") == "out"
    head.append((str(sender.get("nick") or full_name(sender)), "dim" if is_own else "accent"))
    if message.get("kind") == "private":
        head.append((" in private", "dim"))
    if sender.get("trust") == "changed":
        head.append((" KEY CHANGED", "bad"))
    if is_own:
        head.append(_delivery(message))
    first, *others = str(message.get("text", "")).replace("\r\n", "\n").split("\n")
    return [[*head, "  ", first], *([FOLLOWING_LINE_INDENT, line] for line in others)]


def event_lines(event: Json, now: datetime) -> list[Line]:
    """Any event, as `natctl events` shows it."""
    time: Span = (f"{clock(event.get('ts'), now)}  ", "dim")
    if event.get("type") == "message":
        return message_lines(event, now)
    network = str(event.get("network") or "")
    words = list(words_of(event))
    where: list[Span] = [(f"{network}  ", "dim")] if network else []
    return [[time, *where, *words]]


def clock(timestamp: object, now: datetime) -> str:
    """`12:03:04` today, `21 Nov 12:03` on another day, in local time."""
    try:
        at = datetime.fromisoformat(str(timestamp)).astimezone(now.tzinfo)
    except ValueError:
        return "--:--:--"
    return at.strftime("%H:%M:%S" if at.date() == now.date() else "%d %b %Y %H:%M")


def words_of(event: Json) -> Sequence[Span]:
    """The words for an event, without time and network."""
    peer = event.get("peer")
    name: Span = (full_name(peer) if isinstance(peer, dict) else "", "bold")
    match event.get("type"):
        case "peer_met":
            return [name, "  met for the first time"]
        case "peer_online":
            took = event.get("connect_ms")
            after = "" if took is None else f"  after {milliseconds(took)}"
            return [("● ", "good"), name, f"  {path_words(event.get('path'))}{after}"]
        case "peer_offline":
            return [("○ ", "dim"), name, f"  offline: {event.get('reason')}"]
        case "path_changed":
            return [name, f"  now {path_words(event.get('path'))}"]
        case "verdict":
            return [("✗ ", "warn"), name, f"  {event.get('verdict')}"]
        case "peer_changed":
            return [
                ("! ", "bad"),
                name,
                "  has a different key than before; nothing is sent to it",
            ]
        case "server_up":
            seen = f"  sees you at {event.get('observed')}" if event.get("observed") else ""
            rtt = milliseconds(event.get("rtt_ms"))
            return [("● ", "good"), f"server {event.get('server')}  {rtt}{seen}"]
        case "server_down":
            return [("✗ ", "bad"), f"server {event.get('server')}  {event.get('reason')}"]
        case "server_suspected" | "identity_used_twice" | "state_restored" | "messages_missing":
            return [("! ", "bad"), str(event.get("reason"))]
        case "network_full":
            return [("! ", "bad"), name, f"  was not let in: {event.get('reason')}"]
        case "peer_forgotten":
            return [name, f"  forgotten: {event.get('reason')}"]
        case "sent":
            return [("sent  ", "dim"), str(event.get("text", "")).replace("\n", " ")]
        case "delivered":
            return [("✓ ", "good"), "delivered to ", name]
        case "joined" | "left" as what:
            return [f"you {what} the network"]
        case "nat_changed":
            seen = ", ".join(map(str, event.get("observed") or ()))
            return [f"natd has learnt more about your router; you are seen at {seen}"]
        case "gap":
            first, last = event.get("from", 0), event.get("to", 0)
            missing = f"events {first} to {last} are missing: " if first <= last else ""
            return [("! ", "bad"), f"{missing}{event.get('reason')}"]
        case other:
            return [str(other)]


def _delivery(message: Json) -> Span:
    to, delivered = message.get("to") or (), message.get("delivered") or ()
    if to and len(delivered) >= len(to):
        return (" ✓", "good")
    return (f" {len(delivered)}/{len(to)}", "warn")
