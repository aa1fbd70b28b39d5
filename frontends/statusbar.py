"""The one row between the messages and the input: where one is, and who is there.

    demo · alice  ● bob direct, 12 ms  ◌ carol  +2            server lost  ↓3

Pure.  What should not be missed stands at the right and is always shown; peers give way to
it, those who aren't connected first, and the last thing to go is the network's name.
"""

from collections.abc import Callable, Sequence

from frontends.chatview import Span
from frontends.roster import Presence

MARKS = {"online": "●", "punching": "◌", "offline": "○", "blocked": "×"}

DETAIL_WIDTH = 60
"""Below this many cells a peer's path is left out, so that more peers fit."""


def status_bar(
    network: str,
    name: str,
    peers: Sequence[Presence],
    alarms: Sequence[str],
    width: int,
    width_of: Callable[[str], int],
) -> list[Span]:
    """Exactly `width` cells, unless the alarms alone are wider."""
    right = "".join(f" {alarm} " for alarm in alarms)
    room = width - width_of(right)
    spans: list[Span] = []
    used = 0

    def add(style: str, text: str, reserve: int = 0) -> bool:
        nonlocal used
        cells = width_of(text)
        if used + cells + reserve > room:
            return False
        spans.append((style, text))
        used += cells
        return True

    if not add("bar", f" {network} · {name} "):
        add("bar", f" {network} ")
    for index, peer in enumerate(peers):
        left = len(peers) - index
        reserve = 0 if left == 1 else len(f" +{left - 1} ")
        detail = f" {peer.detail}" if peer.detail and width >= DETAIL_WIDTH else ""
        style = f"bar-{peer.state}"
        if not add(style, f" {MARKS.get(peer.state, '?')} {peer.name}{detail} ", reserve):
            add("bar", f" +{left} ")
            break
    if not peers:
        add("bar", " nobody else yet ")
    if used < room:
        spans.append(("bar", " " * (room - used)))
    if right:
        spans.append(("bar-alarm", right))
    return spans
