"""The one row between the messages and the input: where one is, and who is there.

    demo · alice  ● bob direct, 12 ms  ◌ carol  +2            server lost  ↓ 3 new

Pure.  What should not be missed stands at the right and is always shown; peers give way to
it.  In a narrow window the kinds of path go first, then the round-trip times, then one's own
name, then the peers that aren't connected; the last to go is the network's name.
"""

from collections.abc import Callable, Sequence

from frontends.chatview import Span
from frontends.roster import Presence

MARKS = {"online": "●", "punching": "◌", "offline": "○", "blocked": "×", "unknown": "?"}


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
    left = _that_fits(network, name, peers, room, width_of)
    gap = room - _cells(left, width_of)
    return [*left, ("bar", " " * max(0, gap)), ("bar-alarm", right)]


def _that_fits(
    network: str,
    name: str,
    peers: Sequence[Presence],
    room: int,
    width_of: Callable[[str], int],
) -> list[Span]:
    long, short = ("bar", f" {network} · {name} "), ("bar", f" {network} ")
    if not peers:
        choices = [[long, ("bar", " nobody else yet ")], [long], [short]]
        return next((spans for spans in choices if _cells(spans, width_of) <= room), [])
    full = [_peer(peer, peer.kind, peer.rtt) for peer in peers]
    middle = [_peer(peer, peer.rtt) for peer in peers]
    bare = [_peer(peer) for peer in peers]
    for shown in ([long, *full], [long, *middle], [short, *middle], [short, *bare]):
        if _cells(shown, width_of) <= room:
            return shown
    for count in range(len(peers) - 1, -1, -1):
        shown = [short, *bare[:count], ("bar", f" +{len(peers) - count} ")]
        if _cells(shown, width_of) <= room:
            return shown
    return []


def _peer(peer: Presence, *details: str) -> Span:
    known = ", ".join(detail for detail in details if detail)
    words = f" {MARKS.get(peer.state, '?')} {peer.name} {known}"
    return f"bar-{peer.state}", words.rstrip() + " "


def _cells(spans: Sequence[Span], width_of: Callable[[str], int]) -> int:
    return sum(width_of(text) for _, text in spans)
