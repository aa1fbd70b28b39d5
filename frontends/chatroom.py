"""One open chat: the daemon on one side, a view on the other.

The shell that the full-screen and the plain chat share.  It asks the daemon for the beginning,
follows its events, sends what is typed and keeps presence fresh; what is shown is in `view`.

Rules that a change must not break:

- Nothing is missed between history and events: events begin at an id that was taken before
  the history was asked for, and what comes twice the view knows.
- A daemon that goes away ends nothing: events go on after the last one, and what was typed in
  the meantime is sent when it is back.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from frontends.chatinput import (
    COMMANDS,
    Misunderstood,
    Ping,
    Quit,
    Say,
    ShowHelp,
    ShowPeers,
    as_typed,
    understood,
)
from frontends.chatview import ChatView
from frontends.leaving import ended
from frontends.roster import milliseconds, path_words
from frontends.sending import RESEND_FIRST_S, RESEND_LIMIT_S, Messenger, Refused, Sending
from natd.ipc import IpcError, RequestError, UnreachableError

Json = dict[str, Any]

SHOWN_MESSAGES = 200
"""Shown on entry: a few screens full."""

STATUS_EVERY_S = 5.0
"""Between looks at round-trip times, which no event tells."""

PING_TIMEOUT_S = 5.0


class Natd(Messenger, Protocol):
    """What of `natd.ipc.Client` a chat takes."""

    async def request(self, do: str, *, waiting_s: float = 0.0, **fields: Any) -> Json: ...

    async def history(self, network: str | None = None, *, limit: int = 100) -> Json: ...

    def events(
        self, *, since: int | None = None, report_restarts: bool = False
    ) -> AsyncIterator[Json]: ...


class ChatRoom:
    """`open`, then `run` for as long as the chat lasts; `enter` takes what is typed."""

    def __init__(
        self,
        natd: Natd,
        network: str,
        *,
        changed: Callable[[], None],
        returned: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`changed` is called after the view has changed; `returned` with a line that was
        refused, as it was typed, for its writer to mend."""
        self.view = ChatView(network)
        self.sending = Sending(natd, network)
        self.is_daemon_away = False
        self.is_daemon_silent = False
        """It runs, as far as is known, and has not answered lately: stopped, or busy."""
        self._natd = natd
        self._network = network
        self._changed = changed
        self._returned = returned
        self._clock = clock
        self._since = 0
        self._pings: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Who we are, who is here, and what was said.  Raises IpcError."""
        # Without credit this subscription brings nothing but its reply.
        log = await self._natd.request("subscribe", types=[], since=None, cursor=None, credit=0)
        self._since = int(log["last"])
        history = await self._natd.history(self._network, limit=SHOWN_MESSAGES)
        problem = await self._refresh()
        self.view.receive_history(history["messages"])
        self.view.show_who_is_here(self._clock())
        self.view.show_what_is_wrong(problem, self._clock())
        self._changed()

    async def run(self) -> None:
        """Follow the daemon until cancelled."""
        following = [
            asyncio.create_task(self._follow_events()),
            asyncio.create_task(self._follow_sending()),
            asyncio.create_task(self._keep_fresh()),
        ]
        try:
            await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await ended([*following, *self._pings])

    def enter(self, typed: str) -> bool:
        """Carry out a line; False when it was the wish to leave."""
        command = understood(typed)
        now = self._clock()
        match command:
            case Say(text, to):
                self.sending.put(text, to)
            case ShowHelp():
                width = max(len(usage) for usage, _ in COMMANDS.values())
                rows = [f"{usage:<{width}}  {what}" for usage, what in COMMANDS.values()]
                self.view.note("\n".join(rows), now)
            case ShowPeers():
                self.view.show_peers(now)
            case Ping(peer):
                self._start_ping(peer)
            case Misunderstood(text):
                self.view.warn(text, now)
            case Quit():
                return False
            case None:
                pass
        self._changed()
        return True

    def warn_of_unsent(self) -> None:
        """On leaving: what no daemon has accepted, so that it can be said another time."""
        for text in self.sending.unsent():
            self.view.warn(text, self._clock())

    async def _follow_events(self) -> None:
        while True:
            try:
                async for event in self._natd.events(since=self._since, report_restarts=True):
                    await self._take_event(event)
            except UnreachableError:
                # It went before it took the subscription: the client doesn't wait for it then.
                await self._take_event({"type": "daemon_lost"})
                await self._until_back()
                await self._take_event({"type": "daemon_back"})
            except IpcError as error:
                self._complain(error.text, error.hint)
                self._changed()
                await asyncio.sleep(STATUS_EVERY_S)

    async def _until_back(self) -> None:
        wait_s = RESEND_FIRST_S
        while True:
            await asyncio.sleep(wait_s)
            wait_s = min(RESEND_LIMIT_S, wait_s * 2)
            with contextlib.suppress(UnreachableError):
                await self._natd.request("status")
                return

    async def _take_event(self, event: Json) -> None:
        kind = event.get("type")
        self._since = event.get("id", self._since)
        if kind in ("daemon_lost", "daemon_back"):
            self.is_daemon_away = kind == "daemon_lost"
            self.sending.retry()
        self.view.receive_event(event, self._clock())
        self._changed()
        if kind == "daemon_back":
            with contextlib.suppress(IpcError):
                await self._refresh()
                self._changed()

    async def _follow_sending(self) -> None:
        async for outcome in self.sending.outcomes():
            if isinstance(outcome, Refused):
                self._complain(f"not sent: {outcome.error.text}", outcome.error.hint)
                self._returned(as_typed(outcome.text, outcome.to))
            else:
                self.view.receive_reply(outcome.reply, outcome.to)
            self._changed()

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            try:
                self.view.receive_problem(await self._refresh(), self._clock())
                self._hear_silence(is_silent=False)
            except UnreachableError:
                self._hear_silence(is_silent=not self.is_daemon_away)
            except IpcError:
                continue
            self._changed()

    def _hear_silence(self, *, is_silent: bool) -> None:
        if is_silent and not self.is_daemon_silent:
            text = "natd does not answer: what you write waits here until it does"
            self.view.warn(text, self._clock())
        elif self.is_daemon_silent and not is_silent and not self.is_daemon_away:
            self.view.note("natd answers again", self._clock())
        self.is_daemon_silent = is_silent

    async def _refresh(self) -> Json | None:
        """Who is here; gives what is wrong, if anything is."""
        status = await self._natd.request("status")
        peers = await self._natd.request("peers", network=self._network)
        me = status.get("self") or {}
        for network in status.get("networks") or ():
            if network.get("name") == self._network:
                nick = network.get("nick") or me.get("nick") or ""
                self.view.receive_self(str(nick), str(me.get("id") or ""))
                self.view.receive_servers(network.get("servers") or ())
        self.view.receive_peers(peers.get("peers") or ())
        problem: Json | None = peers.get("problem")
        return problem

    def _start_ping(self, peer: str) -> None:
        ping = asyncio.create_task(self._ping(peer))
        self._pings.add(ping)
        ping.add_done_callback(self._pings.discard)

    async def _ping(self, peer: str) -> None:
        try:
            answer = await self._natd.request(
                "ping",
                waiting_s=PING_TIMEOUT_S,
                network=self._network,
                peer=peer,
                timeout_s=PING_TIMEOUT_S,
            )
        except IpcError as error:
            self._complain(f"no answer from {peer}: {error.text}", error.hint)
        else:
            path = answer.get("path") or {}
            way = path_words({"kind": path.get("kind")})
            by = f" by {way}, {path.get('address')}" if way else ""
            text = f"{peer} answers in {milliseconds(answer.get('rtt_ms'))}{by}"
            self.view.note(text, self._clock())
        self._changed()

    def _complain(self, text: str, hint: str | None) -> None:
        self.view.warn(f"{text} ({hint})" if hint else text, self._clock())


async def chosen_network(natd: Natd, name: str | None) -> str:
    """The network `name`, or the only one; RequestError when there is no such choice."""
    rows = (await natd.request("networks")).get("networks") or ()
    joined = [str(row.get("name")) for row in rows]
    if name is not None:
        if name in joined:
            return name
        known = f"; joined: {', '.join(joined)}" if joined else ""
        raise RequestError(
            "unknown_network",
            f"{name} is not a network that this daemon has joined{known}",
            f"natctl join {name} --server HOST:PORT",
        )
    if len(joined) == 1:
        return joined[0]
    if not joined:
        raise RequestError(
            "no_network", "no network is joined", "natctl join NETWORK --server HOST:PORT"
        )
    raise RequestError(
        "which_network",
        f"more than one network is joined: {', '.join(joined)}",
        f"natctl chat {joined[0]}",
    )
