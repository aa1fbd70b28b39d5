"""Joining networks, staying in them across restarts, and leaving.

One change of the list at a time: joins, leaves and reloads wait for their turn.

A network comes from a request (`natctl join`: kept in the store) or from the configuration
file (kept there).  If both name it, the file decides, at start and at each reload.  A network
without servers is for peers on our LAN, or met before.
"""

import asyncio
import logging
import os
import pwd
import time
from dataclasses import replace
from typing import Any

from natd.core.base.types import peer_id_text, peer_tag
from natd.core.keys.secrets import network_id, network_key
from natd.core.network.roster import NetworkSettings
from natd.core.network.standing import Standing, best_first
from natd.host.errors import CommandError, NatdError
from natd.members.parts import Parts
from natd.members.recorder import Recorder
from natd.net.server_names import Server
from natd.settings.config import NETWORKS_LIMIT, Config, NetworkConfig
from natd.settings.names import NAME_LIMIT_BYTES, network_name_problem, nick_problem, server_problem
from natd.settings.secret_file import SECRET_LIMIT_BYTES, read_secret_file
from natd.settings.setting import SERVERS_LIMIT
from natd.storage.address_book import JoinedNetwork

logger = logging.getLogger(__name__)

LAN_ANSWERS_S = 3.0
"""After joining without a server, peers on the LAN have been met by then.  The calls take
1.3 s; answers leave within 2 s more, mostly at once."""


class Networks:
    """The networks that the node is a member of."""

    def __init__(self, parts: Parts, recorder: Recorder) -> None:
        self._parts = parts
        self._recorder = recorder
        self._changing = asyncio.Lock()
        self.problems: dict[str, str] = {}
        """Configured network -> why it could not be joined."""

    async def restore(self) -> None:
        """Rejoin the networks that were joined before, and those that are configured."""
        for network in tuple(self._parts.book.networks.values()):
            self._enter(network)
        self._parts.pump()
        await self.configure(self._parts.config)

    async def configure(self, config: Config) -> None:
        """Make the configured networks those of `config`."""
        book = self._parts.book
        found: dict[str, JoinedNetwork] = {}
        problems: dict[str, NatdError] = {}
        for wanted in config.networks.values():
            try:
                found[wanted.name] = await self._from_configuration(wanted)
            except NatdError as error:
                problems[wanted.name] = error
        async with self._changing:
            for network in tuple(book.networks.values()):
                if network.is_configured and network.name not in config.networks:
                    await self._leave(network, purge=False)
            for name, network in found.items():
                try:
                    await self._replace_configured(network)
                except NatdError as error:
                    problems[name] = error
        self.problems = {name: str(error) for name, error in problems.items()}
        for name, text in self.problems.items():
            logger.error("network %s is not joined: %s", name, text)

    async def join(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request `join`."""
        name, servers, nick, secret = _checked_join(request)
        is_for_lan = request.get("lan") is True
        # Here, because it may take 0.2 s and others want to join and leave meanwhile.
        key = None if secret is None else await derive_key(name, secret)
        async with self._changing:
            before = self._parts.book.networks.get(name)
            if not servers:
                servers = self._servers_of(name, before, is_for_lan=is_for_lan)
            if before is None and len(self._parts.book.networks) >= NETWORKS_LIMIT:
                text = f"at most {NETWORKS_LIMIT} networks"
                raise CommandError("too_many_networks", text, "natctl leave NETWORK")
            if key is None and before is not None:
                key, is_open = before.key, before.is_open
            else:
                key, is_open = key or network_key(name, b""), not secret
            nick = nick or (before.nick if before is not None else self.default_nick())
            network = JoinedNetwork(network_id(key), name, key, nick, servers, is_open)
            replaced = before is not None and network != replace(before, is_configured=False)
            if before is None or replaced:
                await self._replace(before, network)
        peer = self._parts.identity.peer
        return {
            "network": name,
            "nick": nick,
            "id": peer_id_text(peer),
            "tag": peer_tag(peer),
            "servers": list(servers),
            "open": is_open,
            "replaced": replaced,
        }

    async def leave(self, name: str | None, *, purge: bool) -> JoinedNetwork:
        """The request `leave`: stop being a member of the network of this name, or of the only
        one; with `purge` forget its peers and messages, too."""
        async with self._changing:
            network = self._parts.book.network_named(name)
            await self._leave(network, purge=purge)
        return network

    def take_servers(self, name: str, servers: tuple[Server, ...]) -> None:
        """The names of a network's servers were resolved."""
        network = self._parts.book.networks.get(name)
        membership = None if network is None else self._parts.node.membership(network.id)
        if membership is not None:
            membership.set_servers(servers, time.monotonic())
            self._parts.look_around()
            self._parts.pump()

    def default_nick(self) -> str:
        """Our nick in a network for which none was given."""
        if self._parts.config.nick is not None:
            return self._parts.config.nick
        try:
            login = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            login = ""
        return login if nick_problem(login) is None else "peer"

    async def _replace_configured(self, network: JoinedNetwork) -> None:
        before = self._parts.book.networks.get(network.name)
        if before is not None and replace(before, is_configured=True) == network:
            self._parts.book.networks[network.name] = network
        else:
            await self._replace(before, network)

    async def _from_configuration(self, wanted: NetworkConfig) -> JoinedNetwork:
        secret = "" if wanted.secret_file is None else read_secret_file(wanted.secret_file)
        key = await derive_key(wanted.name, secret)
        return JoinedNetwork(
            network_id(key),
            wanted.name,
            key,
            wanted.nick or self.default_nick(),
            wanted.servers,
            is_open=not secret,
            is_configured=True,
        )

    async def _replace(self, before: JoinedNetwork | None, network: JoinedNetwork) -> None:
        """Join; on disk first.  Another key makes another network, even under the same name."""
        if before is not None and before.id != network.id:
            await self._leave(before, purge=False)
        await self._parts.book.keep_network(network)
        if before is not None and network.servers and not before.servers:
            self._parts.listed.discard(network.id)  # peers met on the LAN may not be all members
        self._enter(network)
        if before is None or before.id != network.id:
            self._parts.log.append("joined", {"network": network.name})
        self._parts.pump()

    async def _leave(self, network: JoinedNetwork, *, purge: bool) -> None:
        parts = self._parts
        departures = self._recorder.departures(network.id)
        await parts.book.forget_network(network, purge=purge)
        parts.names.forget(network.name)
        parts.node.leave(network.id, time.monotonic())
        self._recorder.forget_presence(network.id)
        for row in departures:
            parts.log.append("peer_offline", row)
        parts.log.append("left", {"network": network.name})
        parts.pump()
        if purge:
            await parts.mailbox.purge(network.id)

    def _servers_of(
        self, name: str, before: JoinedNetwork | None, *, is_for_lan: bool
    ) -> tuple[str, ...]:
        """Its servers if the request names none: those it has, or none if it is for the LAN."""
        if before is not None and before.servers and not is_for_lan:
            return before.servers
        hint = f"natctl join {name} --server HOST:PORT"
        if before is None and not is_for_lan:
            hint += f"; without one, for this LAN only: natctl join {name} --lan"
            raise CommandError("usage", f"{name} needs a server", hint)
        if not self._parts.config.paths.lan_discovery:
            what = "paths.lan_discovery is false, so nobody could be found on this LAN"
            raise CommandError("usage", f"{name} needs a server: {what}", hint)
        return ()

    def _enter(self, network: JoinedNetwork) -> None:
        parts, now = self._parts, time.monotonic()
        servers = parts.names.follow(network.name, network.servers)
        settings = NetworkSettings(network.name, network.key, network.nick)
        parts.node.join(settings, servers, now)
        parts.look_around()
        membership = parts.node.membership(network.id)
        assert membership is not None
        own_now_s = parts.store.own_time.now_s
        known_peers = {known.peer: known for known in parts.book.peers(network.id)}
        standings = {}
        for peer, known in known_peers.items():
            met = known.acquaintance(own_now_s)
            standings[peer] = Standing() if met is None else Standing.of(met, now)
            standings[peer].is_addressed = parts.mailbox.is_written_to(network.id, peer)
            standings[peer].is_marked = known.is_marked
        for peer in best_first(standings, now):  # There may be more of them than places.
            known = known_peers[peer]
            if known.may_hear_us:
                membership.roster.want(peer, is_addressed=standings[peer].is_addressed, now=now)
                membership.roster.mark(peer, is_marked=known.is_marked, now=now)
                met = known.acquaintance(own_now_s)
                membership.remember_peer(known.card, known.answered_s_ago(own_now_s), now, met)
                self._recorder.open_conversation(known, now)
            else:
                membership.block(peer, True, now)
        if not network.servers:
            loop = asyncio.get_running_loop()
            loop.call_later(LAN_ANSWERS_S, self._list_met, network)

    def _list_met(self, network: JoinedNetwork) -> None:
        """No server will list the members: take those met so far for all of them, so that a message
        to everybody waits for no others."""
        current = self._parts.book.networks.get(network.name)
        if current is not None and current.id == network.id and not current.servers:
            self._parts.listed.add(network.id)
            self._parts.mailbox.close_open(network.id)


async def derive_key(name: str, secret: str) -> bytes:
    """The network's key; a passphrase takes a thread 0.2 s."""
    if not secret:
        return network_key(name, b"")
    return await asyncio.to_thread(network_key, name, secret.encode())


def _checked_join(
    request: dict[str, Any],
) -> tuple[str, tuple[str, ...], str | None, str | None]:
    """Name, servers, nick and secret of the request; CommandError if one is invalid."""
    name, servers = request.get("network"), request.get("servers") or []
    nick, secret = request.get("nick"), request.get("secret")
    if not isinstance(name, str):
        raise CommandError("usage", f"expected a network's name of 1 to {NAME_LIMIT_BYTES} bytes")
    if (problem := network_name_problem(name)) is not None:
        raise CommandError("usage", f"{name!a}: expected {problem}")
    if not isinstance(servers, list) or not all(isinstance(text, str) for text in servers):
        raise CommandError("usage", "expected servers as a list of HOST:PORT")
    if len(servers) > SERVERS_LIMIT:
        raise CommandError("usage", f"expected at most {SERVERS_LIMIT} servers")
    for text in servers:
        if (problem := server_problem(text)) is not None:
            raise CommandError("usage", f"{text!a}: expected {problem}")
    if nick is not None and (not isinstance(nick, str) or nick_problem(nick) is not None):
        raise CommandError("usage", f"{nick!a}: expected {nick_problem('')}")
    if secret is not None and not isinstance(secret, str):
        raise CommandError("usage", "expected the secret as text")
    secret = None if secret is None else secret.strip()
    if secret and len(secret.encode("utf-8", "replace")) > SECRET_LIMIT_BYTES:
        raise CommandError("usage", f"expected a secret of at most {SECRET_LIMIT_BYTES} bytes")
    return name, tuple(dict.fromkeys(servers)), nick, secret
