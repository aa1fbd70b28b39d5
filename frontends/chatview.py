"""What a chat looks like: the daemon's events in, lines out.

Pure: no terminal, no daemon, no clock.  Wall-clock time comes in with each event; the zone is
given, or is the system's.

Rules that a change must not break:

- Every word of a peer or a server passes `safe()` on its way into a line.
- A message is shown once, however often it comes (history, replay after a lost daemon).
- A line that is given again takes the place of the one with its key: so a tick grows.
- Only our own notes have a star where messages have a name, and names hold no blanks, so a
  nick can't pass for a note: `12:01 bob: hi`, `12:01 * bob is here: direct, 12 ms`.

    ·      accepted: on our disk, waiting      1/3    on the disks of one of three
    ✓      on the disk of everyone it was addressed to
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Any

from frontends.roster import TAG_CHARACTERS, Presence, Roster, one_word, path_words
from frontends.safe import safe, safe_lines

Json = dict[str, Any]

Span = tuple[str, str]
"""Style, text.  Styles: time, me, nick-0 … nick-11, text, note, warn, day, tick, tick-done."""

PRIVATE = "private"
"""The kind of a message that has one recipient."""

WARNINGS = ("server_suspected", "identity_used_twice", "state_restored", "messages_missing")
"""Events whose reason is shown as it is."""

SILENT_STATES = ("lost", "unresolvable")
"""States of a server that does not answer, or has no address to be asked at."""

UNTOLD_PROBLEMS = ("unresolvable", "socket", "offline")
"""Problems that no event tells, or not in each network."""

NICK_COLOURS = 12
"""As many as are told apart on both dark and light screens."""

ROWS_OF_A_MESSAGE = 60
"""A message of more lines is cut: 16 KiB of line feeds would push everything else out."""

REMEMBERED_MESSAGES = 10_000
"""Message ids kept to recognise repeats, and own messages kept to grow their ticks."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line to show.  `lead` is what stands before the text; wrapped rows hang below it.

    A line feed in `body` begins a new row: it is ours, `safe()` lets none of a peer's through.
    """

    key: str
    lead: tuple[Span, ...]
    body: tuple[Span, ...]
    is_again: bool = False
    """It takes the place of the line with its key, and is nothing where that has gone."""

    @property
    def plain(self) -> str:
        """The same as text without styles."""
        head = "".join(text for _, text in self.lead)
        body = "".join(text for _, text in self.body)
        return head + body.replace("\n", "\n" + " " * len(head))


@dataclass(slots=True)
class _Own:
    """A message of ours whose tick may still grow."""

    lead: tuple[Span, ...]
    text: str
    addressed: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)


class ChatView:
    """One network's chat, as one person sees it."""

    def __init__(self, network: str, *, zone: tzinfo | None = None) -> None:
        self.network = network
        self._zone = zone
        self._roster = Roster()
        self._servers: dict[str, bool] = {}
        self._waits_for_servers = False
        self.is_offline = False
        """Whether this machine is, as far as was told: no server is to blame then."""
        self._problem = ""
        self._own: dict[str, _Own] = {}
        self._seen: dict[str, None] = {}
        self._only_to: dict[str, str] = {}
        self._day: date | None = None
        self._lines: list[Line] = []
        self._notes = 0

    # --- inputs ------------------------------------------------------------------------

    def receive_self(self, nick: str, peer_id: str) -> None:
        """Who we are in this network."""
        self._roster.nick = nick
        self._roster.own_id = peer_id

    def receive_peers(self, peers: Iterable[Json]) -> None:
        """The rows of `peers`; shows no line."""
        self._roster.receive(peers)

    def receive_servers(self, servers: Iterable[Json]) -> None:
        """All servers of `status`; shows no line."""
        rows = {str(row.get("address")): str(row.get("state")) for row in servers}
        # A name that has moved leaves its old address behind: no server of ours any more.
        self._servers = {each: is_up for each, is_up in self._servers.items() if each in rows}
        self._servers |= {
            each: state == "registered"
            for each, state in rows.items()
            if state in ("registered", *SILENT_STATES)
        }
        self._waits_for_servers = bool(rows) and "registered" not in rows.values()

    def receive_problem(self, problem: Json | None, now_unix_s: float) -> None:
        """The problem of `peers`, if no event will tell it; each is told once."""
        was_offline, self.is_offline = self.is_offline, _is_offline(problem)
        if was_offline and not self.is_offline:
            self._problem = ""
            self.note("this machine is online again", now_unix_s)
        if problem is not None and problem.get("code") in UNTOLD_PROBLEMS:
            self._tell_problem(problem, now_unix_s)

    def receive_history(self, messages: Iterable[Json]) -> None:
        """Rows of `history`, oldest first."""
        for row in messages:
            if row.get("direction") == "out":
                self._show_own(row)
            else:
                self._show_message(row)

    def receive_event(self, event: Json, now_unix_s: float) -> None:
        """Any event of the daemon; those of other networks and unknown ones show nothing."""
        if (event.get("network") or self.network) != self.network:
            return
        kind = event.get("type")
        at = _instant(event.get("ts"), now_unix_s)
        if kind == "message":
            self._show_message(event)
        elif kind == "sent":
            self._show_own(event)
        elif kind == "delivered":
            self._deliver(str(event.get("message")), event.get("peer") or {})
        elif kind in ("peer_met", "peer_online", "peer_offline", "path_changed", "verdict"):
            self._move_peer(str(kind), event, at)
        elif kind == "peer_changed":
            self._warn_of_changed_peer(event, at)
        elif kind in ("server_up", "server_down"):
            self._move_server(kind == "server_up", event, at)
        elif kind in WARNINGS:
            self.warn(str(event.get("reason")), at)
        elif kind == "gap":
            first, last = event.get("from", 0), event.get("to", 0)
            missing = (
                f"events {first} to {last} are missing" if first <= last else "natd began anew"
            )
            self.warn(f"{missing}{_because(event)}", at)
        elif kind == "left":
            self.warn(f"natd has left {self.network}: nothing is sent or received", at)
        elif kind == "joined":
            self.note(f"natd has joined {self.network}", at)
        elif kind == "daemon_lost":
            self._roster.lose_sight()
            self.warn("natd has stopped: what you write waits here until it is back", at)
        elif kind == "daemon_back":
            self.note("natd is back", at)

    def receive_reply(self, reply: Json, to: str | None) -> None:
        """What `send` answered; `to` is the peer it was for, None for the network."""
        message = str(reply.get("message"))
        if to is not None:
            self._only_to[message] = one_word(to)
            _bound(self._only_to)
        delivered = set(reply.get("delivered") or ())
        self._own_has(message, delivered | set(reply.get("queued") or ()), delivered)

    def note(self, text: str, now_unix_s: float) -> None:
        """A line of our own.  `text` is made safe; a line feed in it begins a new row."""
        self._emit_note("note", text, now_unix_s)

    def warn(self, text: str, now_unix_s: float) -> None:
        """A line of our own that should not be overlooked."""
        self._emit_note("warn", text, now_unix_s)

    def show_peers(self, now_unix_s: float) -> None:
        """One line for each peer, for `/peers`."""
        peers = self._roster.in_order()
        for peer in peers:
            self.note(self._roster.described(peer), now_unix_s)
        if not peers:
            self.note("no peers yet", now_unix_s)

    def show_who_is_here(self, now_unix_s: float) -> None:
        """One line on who we are and who is connected, for the beginning."""
        me = self._roster.tagged(self._roster.own_id)
        here = [peer for peer in self._roster.in_order() if peer.state == "online"]
        others = ", ".join(self._roster.with_path(peer) for peer in here) or "nobody else yet"
        self.note(f"you are {me} in {self.network}; here: {others}", now_unix_s)

    def show_what_is_wrong(self, problem: Json | None, now_unix_s: float) -> None:
        """For the beginning: the problem of `peers`, or that no server has answered yet."""
        self.is_offline = _is_offline(problem)
        if problem is not None:
            self._tell_problem(problem, now_unix_s)
        elif self._waits_for_servers:
            self.note("no server has answered yet; natd goes on asking", now_unix_s)

    # --- outputs -----------------------------------------------------------------------

    def lines(self) -> list[Line]:
        """Drain the lines to show, in order."""
        drained, self._lines = self._lines, []
        return drained

    def presence(self) -> list[Presence]:
        """All peers known, those connected first."""
        return self._roster.presence()

    def names(self) -> list[str]:
        """What the peers may be called in a command."""
        return [self._roster.typed_name(peer.peer_id) for peer in self._roster.in_order()]

    @property
    def own_name(self) -> str:
        return self._roster.name_of(self._roster.own_id)

    @property
    def lost_servers(self) -> list[str]:
        return [safe(server) for server, is_up in self._servers.items() if not is_up]

    # --- messages ----------------------------------------------------------------------

    def _show_message(self, row: Json) -> None:
        peer = self._roster.know(row.get("from") or {})
        key = f"{peer.peer_id}/{row.get('message')}"
        if self._is_repeat(key):
            return
        at = _instant(row.get("ts"), 0.0)
        self._separate_days(at)
        style = f"nick-{zlib.crc32(peer.peer_id.encode()) % NICK_COLOURS}"
        name = self._roster.name_of(peer.peer_id)
        to: tuple[Span, ...] = (("note", " to you"),) if row.get("kind") == PRIVATE else ()
        lead = (("time", self._clock(at)), (style, name), *to, ("text", ": "))
        self._lines.append(Line(key, lead, (("text", _message_text(row)),)))

    def _show_own(self, row: Json) -> None:
        message = str(row.get("message"))
        addressed, delivered = set(row.get("to") or ()), set(row.get("delivered") or ())
        if self._is_repeat(message):
            self._own_has(message, addressed, delivered)
            return
        at = _instant(row.get("ts"), 0.0)
        self._separate_days(at)
        if row.get("kind") == PRIVATE and addressed:
            self._only_to.setdefault(message, self._roster.name_of(min(addressed)))
            _bound(self._only_to)
        lead = (("time", self._clock(at)), ("me", self.own_name), ("text", ": "))
        self._own[message] = _Own(lead, _message_text(row), addressed, delivered)
        _bound(self._own)
        self._emit_own(message, is_again=False)

    def _own_has(self, message: str, addressed: set[str], delivered: set[str]) -> None:
        if (own := self._own.get(message)) is not None:
            own.addressed |= addressed
            own.delivered |= delivered
            self._emit_own(message, is_again=True)

    def _deliver(self, message: str, peer: Json) -> None:
        self._own_has(message, set(), {self._roster.know(peer).peer_id})

    def _emit_own(self, message: str, *, is_again: bool) -> None:
        own = self._own[message]
        done, everyone = len(own.delivered), len(own.addressed | own.delivered)
        if done and done == everyone:
            tick = ("tick-done", " ✓")
        else:
            tick = ("tick", f" {done}/{everyone}" if done else " ·")
        lead = own.lead
        if (to := self._only_to.get(message)) is not None:
            lead = (*lead[:-1], ("note", f" to {to}"), lead[-1])
        self._lines.append(Line(message, lead, (("text", own.text), tick), is_again))

    def _is_repeat(self, key: str) -> bool:
        if key in self._seen:
            return True
        self._seen[key] = None
        _bound(self._seen)
        return False

    # --- peers and servers ---------------------------------------------------------------

    def _move_peer(self, kind: str, event: Json, at: float) -> None:
        peer = self._roster.know(event.get("peer") or {})
        name = self._roster.name_of(peer.peer_id)
        if kind == "peer_met":
            peer.state = "punching" if peer.state == "offline" else peer.state
        elif kind == "peer_online":
            peer.state, peer.path, peer.verdict = "online", event.get("path"), None
            words = path_words(peer.path)
            self.note(f"{name} is here: {words}" if words else f"{name} is here", at)
        elif kind == "peer_offline":
            peer.state, peer.path = "offline", None
            self.note(f"{name} is gone{_because(event)}", at)
        elif kind == "path_changed":
            before, peer.path = peer.path or {}, event.get("path")
            if peer.path and peer.path.get("kind") != before.get("kind"):
                self.note(f"{name} is now connected another way: {path_words(peer.path)}", at)
        elif peer.verdict != event.get("verdict"):
            peer.verdict = str(event.get("verdict"))
            if event.get("code") == "offline":
                self._tell_problem({"text": peer.verdict}, at)
            elif not self._is_told(peer.verdict):
                self.note(f"not connected to {name}: {safe(peer.verdict)}", at)

    def _warn_of_changed_peer(self, event: Json, at: float) -> None:
        peer = self._roster.know(event.get("peer") or {})
        peer.trust = "changed"
        name, tagged = one_word(peer.nick), self._roster.tagged(peer.peer_id)
        typed = self._roster.certain_name(peer.peer_id)
        before = safe(str(event.get("previous_id") or "")[:TAG_CHARACTERS])
        self.warn(
            f"{tagged} is not the {name} known before, {name}#{before}: nothing is sent to it.  "
            f"If {name} confirms the new key: natctl trust {typed} --accept-new-key",
            at,
        )

    def _move_server(self, is_up: bool, event: Json, at: float) -> None:
        server = str(event.get("server"))
        self.is_offline = not is_up and event.get("code") == "offline"
        was_up = self._servers.get(server)
        self._servers[server] = is_up
        if is_up and was_up is not True:
            self._problem = ""
            how = "answers" if was_up is None else "is back"
            self.note(f"server {safe(server)} {how}", at)
        elif not is_up and was_up is not False:
            reason = str(event.get("reason") or "")
            goes_on = " (the chat goes on without it)" if self._roster.anyone_is_here() else ""
            is_told = event.get("code") == "offline" or (was_up is None and server in reason)
            named = "" if server in reason else f" {safe(server)}"
            what = safe(reason) if is_told else f"server{named} lost{_because(event)}"
            if not is_told and reason.startswith(server):
                what = f"server {safe(reason)}"
            if not self._is_told(reason):
                self.warn(f"{what}{goes_on}", at)
                self._problem = reason

    def _is_told(self, text: str) -> bool:
        """Whether the last problem that was told says this, or more."""
        told = self._problem
        return bool(told and text) and (told in text or text in told)

    def _tell_problem(self, problem: Json, at: float) -> None:
        text = str(problem.get("text") or "").removeprefix(f"{self.network}: ")
        if not self._is_told(text):
            self._problem = text
            hint = problem.get("hint")
            self.warn(f"{text} ({hint})" if hint else text, at)

    # --- lines -------------------------------------------------------------------------

    def _emit_note(self, style: str, text: str, at: float) -> None:
        self._separate_days(at)
        lead = (("time", self._clock(at)), (style, "* "))
        self._emit_once(lead, ((style, "\n".join(safe_lines(text))),))

    def _separate_days(self, at: float) -> None:
        day = datetime.fromtimestamp(at, self._zone).date()
        if day != self._day:
            self._day = day
            self._emit_once((), (("day", f"── {day:%A, %Y-%m-%d} ──"),))

    def _emit_once(self, lead: tuple[Span, ...], body: tuple[Span, ...]) -> None:
        self._notes += 1
        self._lines.append(Line(f"note {self._notes}", lead, body))

    def _clock(self, at: float) -> str:
        return f"{datetime.fromtimestamp(at, self._zone):%H:%M} "


def _message_text(row: Json) -> str:
    rows = safe_lines(str(row.get("text") or ""))
    if len(rows) > ROWS_OF_A_MESSAGE:
        hidden = len(rows) - ROWS_OF_A_MESSAGE
        rows = [*rows[:ROWS_OF_A_MESSAGE], f"… and {hidden} more lines: see natctl history"]
    return "\n".join(rows)


def _because(event: Json) -> str:
    reason = event.get("reason")
    return f": {safe(str(reason))}" if reason else ""


def _is_offline(problem: Json | None) -> bool:
    return problem is not None and problem.get("code") == "offline"


def _instant(text: object, otherwise: float) -> float:
    """Unix seconds of an event's `ts`."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return otherwise


def _bound(remembered: dict[str, Any]) -> None:
    while len(remembered) > REMEMBERED_MESSAGES:
        del remembered[next(iter(remembered))]
