"""Who is in the chat: names, presence and paths, as the daemon tells them.

Pure.  A name that comes out of here is safe and is one word; of two equal nicks each carries
its tag, and so does a nick that is like our own or like the beginning of somebody's id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from frontends.safe import safe
from natd.ipc.peer_names import certain_name, may_mean

Json = dict[str, Any]

NICK_CHARACTERS = 24
"""Longer nicks are cut: the text is what one came to read."""

TAG_CHARACTERS = 4

KEY_WORDS = {"changed": "key CHANGED"}
"""Only what the user has to act upon."""

STATE_WORDS = {"punching": "connecting"}
"""Other states are shown as they are."""

KIND_WORDS = {"mapped": "direct", "hairpin": "direct"}
"""What these kinds of path add is for `natctl peers -v`."""

UNKNOWN = "unknown"
"""The state of every peer while there is no daemon to ask."""

_ORDER = {"online": 0, "punching": 1, UNKNOWN: 2, "offline": 3, "blocked": 4}


@dataclass(frozen=True, slots=True)
class Presence:
    """One peer in the status bar."""

    name: str
    state: str
    """online, punching, offline, blocked or unknown."""
    kind: str
    """Of the path in use; empty when there is none."""
    rtt: str
    """Over it, in words; empty when it is not known."""


@dataclass(slots=True)
class Peer:
    peer_id: str
    nick: str = ""
    state: str = "offline"
    trust: str = "new"
    path: Json | None = None
    verdict: str | None = None
    queued: int = 0
    next_try_s: float | None = None
    """Of one that is not reached: until something further is tried; None when nothing is."""


class Roster:
    """The peers of one network, and ourselves."""

    def __init__(self) -> None:
        self.nick = ""
        self.own_id = ""
        self._peers: dict[str, Peer] = {}

    def know(self, row: Json) -> Peer:
        """The peer of an event's `peer` or `from`; met here if it is new."""
        peer_id = str(row.get("id") or "")
        peer = self._peers.get(peer_id) or Peer(peer_id)
        if peer_id and peer_id != self.own_id:
            self._peers[peer_id] = peer
        peer.nick = str(row.get("nick") or peer.nick)
        peer.trust = str(row.get("trust") or peer.trust)
        return peer

    def receive(self, rows: Iterable[Json]) -> None:
        """The rows of `peers`."""
        for row in rows:
            peer = self.know(row)
            peer.state = str(row.get("state") or "offline")
            peer.path = row.get("path")
            peer.verdict = row.get("verdict")
            peer.queued = int(row.get("queued") or 0)
            peer.next_try_s = row.get("next_try_s")

    def lose_sight(self) -> None:
        """The daemon is away: whether its peers are still connected is not known."""
        for peer in self._peers.values():
            if peer.state != "blocked":
                peer.state, peer.path = UNKNOWN, None

    def in_order(self) -> list[Peer]:
        """Those connected first, then by nick."""
        return sorted(
            self._peers.values(),
            key=lambda peer: (_ORDER.get(peer.state, 9), peer.nick.lower(), peer.peer_id),
        )

    def anyone_is_here(self) -> bool:
        return any(peer.state == "online" for peer in self._peers.values())

    def name_of(self, peer_id: str) -> str:
        """The nick, with `#tag` behind it when someone else here has the same one, or could be
        meant by it."""
        nick = self.nick if peer_id == self.own_id else self._nick_of(peer_id)
        if not one_word(nick):
            return f"#{safe(peer_id[:TAG_CHARACTERS])}"
        everyone = [self.nick, *(peer.nick for peer in self._peers.values())]
        same = [other for other in everyone if _alike(other, nick)]
        is_unclear = len(same) > 1 or self._means_another(nick, peer_id)
        return self.tagged(peer_id) if is_unclear else one_word(nick)

    def typed_name(self, peer_id: str) -> str:
        """What the daemon takes for this peer and for no other: for commands."""
        nick = self._nick_of(peer_id)
        is_clear = nick == self.name_of(peer_id) and may_mean(nick, nick, peer_id)
        return nick if is_clear else self.certain_name(peer_id)

    def certain_name(self, peer_id: str) -> str:
        """The same, also when another of that nick comes, and harmless in a shell."""
        others = ((other.nick, other.peer_id) for other in self._peers.values())
        return safe(certain_name(self._nick_of(peer_id), peer_id, others))

    def tagged(self, peer_id: str) -> str:
        """The nick with its tag, which names this peer even when another of that nick comes."""
        nick = self.nick if peer_id == self.own_id else self._nick_of(peer_id)
        return f"{one_word(nick)}#{safe(peer_id[:TAG_CHARACTERS])}"

    def with_path(self, peer: Peer) -> str:
        words = path_words(peer.path)
        return self.name_of(peer.peer_id) + (f" ({words})" if words else "")

    def presence(self) -> list[Presence]:
        return [
            Presence(self.name_of(peer.peer_id), peer.state, path_kind(peer.path), rtt(peer.path))
            for peer in self.in_order()
        ]

    def described(self, peer: Peer) -> str:
        """All that is known of it, in one line."""
        parts = [STATE_WORDS.get(peer.state, peer.state), path_words(peer.path)]
        if peer.path:
            parts.append(safe(str(peer.path.get("address") or "")))
        elif peer.state in ("offline", "punching") and peer.next_try_s is not None:
            wait_s = peer.next_try_s
            parts.append("trying now" if wait_s < 1.0 else f"next try in {wait_s:.0f} s")
        parts.append(KEY_WORDS.get(peer.trust, ""))
        if peer.queued:
            parts.append(f"{peer.queued} waiting")
        if peer.verdict:
            parts.append(safe(peer.verdict))
        return f"{self.tagged(peer.peer_id)}: {', '.join(part for part in parts if part)}"

    def _means_another(self, text: str, peer_id: str) -> bool:
        return any(
            may_mean(text, other.nick, other.peer_id)
            for other in self._peers.values()
            if other.peer_id != peer_id
        )

    def _nick_of(self, peer_id: str) -> str:
        peer = self._peers.get(peer_id)
        return peer.nick if peer is not None else ""


def one_word(nick: str) -> str:
    """A nick as one word: blanks of any kind would let it pass for more than a name."""
    shown = "_".join(safe(nick).split())
    return shown if len(shown) <= NICK_CHARACTERS else shown[: NICK_CHARACTERS - 1] + "…"


def path_words(path: Json | None) -> str:
    """Kind and round-trip time of a path: `direct, 12 ms`; empty for none."""
    return ", ".join(word for word in (path_kind(path), rtt(path)) if word)


def path_kind(path: Json | None) -> str:
    kind = str((path or {}).get("kind") or "")
    return safe(KIND_WORDS.get(kind, kind))


def rtt(path: Json | None) -> str:
    return milliseconds((path or {}).get("rtt_ms"))


def milliseconds(value: object) -> str:
    """A round-trip time in as many digits as one reads: `0.4 ms`, `12 ms`, `1.3 s`."""
    if not isinstance(value, int | float):
        return ""
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def _alike(one: str, other: str) -> bool:
    return one_word(one).casefold() == one_word(other).casefold()
