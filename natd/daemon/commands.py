"""What each request over IPC does.

Every command takes the request and gives what goes under `ok`; it raises CommandError to
refuse.  natd/ipc/README.md lists the requests.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from natd.control.command_table import Command, Json, Later
from natd.core.base.types import MESSAGES_KEPT_DAYS, peer_id_text
from natd.daemon.outgoing import Outgoing, nobody_here
from natd.doctor.report import Report
from natd.host.errors import CommandError
from natd.members.networks import Networks
from natd.members.parts import Parts
from natd.members.recorder import Recorder, path_row
from natd.settings.config import config_as_dict
from natd.storage.address_book import JoinedNetwork, KnownPeer, full_name
from natd.storage.history import PAGE_LIMIT, read_history
from natd.storage.own_time import DAY_S
from natd.storage.store import StoreError

PING_EVERY_S = 0.5
PING_TIMEOUT_S = 5.0
WAIT_TIMEOUT_S = 30.0
"""What `ping` and `wait` take when the request says nothing."""

TIMEOUT_LIMIT_S = 86_400.0

HISTORY_MESSAGES = 50


class Commands:
    """The table for the control socket."""

    def __init__(
        self,
        parts: Parts,
        recorder: Recorder,
        networks: Networks,
        report: Report,
        *,
        reload: Callable[[], Awaitable[list[str]]],
        shut_down: Callable[[], None],
    ) -> None:
        """`reload` reads the configuration again and gives the keys that changed."""
        self._parts = parts
        self._recorder = recorder
        self._networks = networks
        self._report = report
        self._outgoing = Outgoing(parts)
        self._own_id = peer_id_text(parts.identity.peer)
        self._reload = reload
        self._shut_down = shut_down

    def table(self) -> dict[str, Command]:
        """Commands by name; a disk failure becomes an error for the user."""
        commands: dict[str, Command]
        commands = {
            "join": self._networks.join,
            "leave": self._leave,
            "status": self._status,
            "networks": self._list_networks,
            "peers": self._peers,
            "send": self._send,
            "history": self._history,
            "doctor": self._doctor,
            "ping": self._ping,
            "identity": self._identity,
            "wait": self._wait,
            "retry": self._retry,
            "trust": self._trust,
            "block": self._block,
            "forget": self._forget,
            "reload": self._reload_config,
            "config_show": self._config_show,
            "shutdown": self._shutdown,
        }
        return {name: _telling_of_the_disk(command) for name, command in commands.items()}

    # --- messages

    async def _send(self, request: Json) -> Json | Later:
        network, text = self._network(request), self._text(request)
        wait_s = _seconds(request, "wait_s", None)
        return await self._outgoing.send(network, text, request, wait_s, self._recipients)

    def _text(self, request: Json) -> str:
        text, limit = request.get("text"), self._parts.config.limits.message_bytes
        if not isinstance(text, str):
            raise CommandError("usage", "expected the message as text")
        if not text.strip():
            raise CommandError("empty", "the message is empty, expected some text")
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise CommandError("usage", "the message is not text that UTF-8 can hold") from None
        if size > limit:
            raise CommandError(
                "too_long",
                f"the message has {size} bytes, at most {limit} are possible",
                "send it in parts",
            )
        return text

    def _recipients(self, network: JoinedNetwork, to: object) -> tuple[list[KnownPeer], bool]:
        """Who the message is for, and whether also for members that are yet to be listed."""
        book = self._parts.book
        if to is not None:
            known = book.peer_to_write_to(network.id, to)
            if known.is_blocked:
                hint = f"natctl block --undo {book.shell_name(known)}"
                raise CommandError("blocked", f"{full_name(known)} is blocked here", hint)
            peers, is_open = [known], False
        else:
            peers = [known for known in book.peers(network.id) if self._is_member(known)]
            is_open = network.id not in self._parts.listed
            if not peers and not is_open:
                raise nobody_here(network, book.peers(network.id))
        limit = self._parts.config.limits.outbox_messages
        for known in peers:
            if self._parts.mailbox.queued(network.id, known.peer) >= limit:
                raise CommandError(
                    "outbox_full",
                    f"{limit} messages wait for {full_name(known)} already",
                    "wait until it is back, or raise limits.outbox_messages",
                )
        return peers, is_open

    def _is_member(self, known: KnownPeer) -> bool:
        """Whether a message to all is for this peer, too: who is not here and was not for as long
        as messages are kept is not counted any more."""
        if not known.may_hear_us or known.peer in self._parts.online.get(known.network, ()):
            return known.may_hear_us
        ago_s = known.heard_s_ago(self._parts.store.own_time.now_s)
        return ago_s is None or ago_s <= MESSAGES_KEPT_DAYS * DAY_S

    async def _history(self, request: Json) -> Json:
        network = self._network(request)
        peer, search = request.get("peer"), request.get("search")
        since, limit = request.get("since_unix_s"), request.get("limit")
        if not isinstance(search, (str, type(None))):
            raise CommandError("usage", "expected what to search for as text")
        if not isinstance(since, (int, float, type(None))) or isinstance(since, bool):
            raise CommandError("usage", "expected since_unix_s as a number of seconds")
        if limit is not None and (not isinstance(limit, int) or not 1 <= limit <= PAGE_LIMIT):
            raise CommandError("usage", f"expected a limit from 1 to {PAGE_LIMIT}")
        known = None if peer is None else self._parts.book.peer_named(network.id, peer)
        messages = await read_history(
            self._parts.store,
            self._parts.book,
            network,
            self._own_id,
            peer=None if known is None else known.peer,
            search=search,
            since_unix_s=since,
            limit=limit or HISTORY_MESSAGES,
        )
        return {"messages": messages}

    # --- networks and peers

    async def _leave(self, request: Json) -> Json:
        purge = request.get("purge") is True
        network = await self._networks.leave(self._network(request).name, purge=purge)
        return {"network": network.name, "left": True, "purged": purge}

    async def _list_networks(self, _request: Json) -> Json:
        return self._report.networks()

    async def _peers(self, request: Json) -> Json:
        return self._report.peers(self._network(request))

    async def _ping(self, request: Json) -> Later:
        network = self._network(request)
        known = self._parts.book.peer_named(network.id, request.get("peer"))
        timeout_s = _seconds(request, "timeout_s", PING_TIMEOUT_S) or PING_TIMEOUT_S
        return Later(self._answer_of(network, known, timeout_s))

    async def _answer_of(self, network: JoinedNetwork, known: KnownPeer, timeout_s: float) -> Json:
        try:
            async with asyncio.timeout(timeout_s):
                rtt_s = await self._recorder.ping(network.id, known.peer, PING_EVERY_S)
        except TimeoutError:
            raise CommandError(
                "no_path",
                f"no direct answer from {full_name(known)} within {timeout_s:g} s",
                f"natctl doctor {self._parts.book.shell_name(known)} says more",
            ) from None
        now = time.monotonic()
        views = self._parts.views(network.id)
        path = next((view.path for view in views if view.peer == known.peer), None)
        return {
            "peer": _reference(known),
            "rtt_ms": round(rtt_s * 1000, 2),
            "path": None if path is None else path_row(path, now),
        }

    async def _wait(self, request: Json) -> Later:
        network = self._network(request)
        wanted = request.get("peers", 1)
        timeout_s = _seconds(request, "timeout_s", WAIT_TIMEOUT_S) or WAIT_TIMEOUT_S
        if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
            raise CommandError("usage", "expected a number of peers, 1 or more")
        return Later(self._company(network, wanted, timeout_s))

    async def _company(self, network: JoinedNetwork, wanted: int, timeout_s: float) -> Json:
        try:
            async with asyncio.timeout(timeout_s):
                while self._connected(network) < wanted:
                    await self._recorder.presence_changed()
        except TimeoutError:
            raise CommandError(
                "no_path",
                f"{self._connected(network)} of {wanted} peers connected within {timeout_s:g} s",
                "natctl peers says why",
            ) from None
        return {"network": network.name, "connected": self._connected(network)}

    async def _retry(self, request: Json) -> Json:
        network = self._network(request)
        peer = request.get("peer")
        known = None if peer is None else self._parts.book.peer_to_write_to(network.id, peer)
        if known is not None and known.is_blocked:
            hint = f"natctl block --undo {self._parts.book.shell_name(known)}"
            raise CommandError("blocked", f"{full_name(known)} is blocked here", hint)
        target = None if known is None else known.peer
        if (membership := self._parts.node.membership(network.id)) is not None:
            membership.retry(target, time.monotonic())
            self._parts.pump()
        online = self._parts.online.get(network.id, ())
        asked = self._parts.book.peers(network.id) if known is None else [known]
        without = [each for each in asked if each.peer not in online and each.may_hear_us]
        return {
            "network": network.name,
            "peer": None if known is None else _reference(known),
            "retrying": len(without),
        }

    async def _trust(self, request: Json) -> Json:
        network = self._network(request)
        known = self._parts.book.peer_in_doubt(network.id, request.get("peer"))
        if request.get("accept_new_key") is not True:
            raise CommandError("usage", "expected accept_new_key: true")
        accepted = not known.may_hear_us and not known.is_blocked
        if accepted:
            for other in self._parts.book.accept_new_key(known):
                self._parts.block(network.id, other, time.monotonic())
            self._speak_with(known)
        return {"peer": _reference(known), "trust": known.trust, "accepted": accepted}

    async def _block(self, request: Json) -> Json:
        network = self._network(request)
        known = self._parts.book.peer_named(network.id, request.get("peer"))
        known.is_blocked = request.get("blocked", True) is not False
        self._parts.book.keep_peer(known)
        if known.is_blocked:
            self._parts.block(network.id, known.peer, time.monotonic())
            self._parts.pump()
        elif known.may_hear_us:
            self._speak_with(known)
        return {"peer": _reference(known), "blocked": known.is_blocked}

    async def _forget(self, request: Json) -> Json:
        parts, network = self._parts, self._network(request)
        known = parts.book.peer_named(network.id, request.get("peer"))
        await parts.store.flush()  # A message may be on its way there.
        was_connected = known.peer in parts.online.get(network.id, ())
        queued = self._recorder.forget(known, time.monotonic())
        parts.pump()
        await parts.store.flush()
        return {
            "network": network.name,
            "peer": _reference(known),
            "forgotten": True,
            "queued": queued,
            "was_connected": was_connected,
        }

    # --- the daemon itself

    async def _status(self, _request: Json) -> Json:
        return self._report.status()

    async def _doctor(self, request: Json) -> Json:
        peer = request.get("peer")
        if peer is None:
            if request.get("network") is not None:
                self._network(request)  # A name that is wrong is told.
            return self._report.doctor(None)
        network = self._network(request)
        try:
            known = self._parts.book.peer_named(network.id, peer)
        except CommandError as error:
            if error.code != "unknown_peer":
                raise
            return self._report.doctor_of_unmet(network, str(peer), error)
        return self._report.doctor((network, known))

    async def _identity(self, _request: Json) -> Json:
        return self._report.identity()

    async def _reload_config(self, _request: Json) -> Json:
        return {"reloaded": True, "changed": await self._reload()}

    async def _config_show(self, _request: Json) -> Json:
        config = self._parts.config
        return {"config": config_as_dict(config), "sources": dict(config.origin.sources)}

    async def _shutdown(self, _request: Json) -> Json:
        self._shut_down()
        return {"stopping": True}

    # --- inside

    def _network(self, request: Json) -> JoinedNetwork:
        name = request.get("network")
        if not isinstance(name, (str, type(None))):
            raise CommandError("usage", "expected the network's name as text")
        return self._parts.book.network_named(name)

    def _connected(self, network: JoinedNetwork) -> int:
        return len(self._parts.online.get(network.id, ()))

    def _speak_with(self, known: KnownPeer) -> None:
        """This peer was not spoken with until now."""
        parts, now = self._parts, time.monotonic()
        membership = parts.node.membership(known.network)
        if membership is not None:
            membership.block(known.peer, False, now)
            own_now_s = parts.store.own_time.now_s
            met = known.acquaintance(own_now_s)
            membership.remember_peer(known.card, known.answered_s_ago(own_now_s), now, met)
            self._recorder.open_conversation(known, now)
            membership.retry(known.peer, now)
        parts.pump()


def _telling_of_the_disk(command: Command) -> Command:
    async def told(request: Json) -> Json | Later:
        try:
            return await command(request)
        except StoreError as error:
            raise CommandError("storage", str(error), error.hint) from None

    return told


def _seconds(request: Json, key: str, default: float | None) -> float | None:
    value = request.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CommandError("usage", f"expected {key} as a number of seconds")
    if not 0 < value <= TIMEOUT_LIMIT_S:
        raise CommandError("usage", f"expected {key} from 0 to {TIMEOUT_LIMIT_S:g} seconds")
    return float(value)


def _reference(known: KnownPeer) -> Json:
    return {"nick": known.nick, "id": known.id_text, "tag": known.tag}
