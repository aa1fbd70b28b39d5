"""How the daemon is, as `status`, `peers` and `doctor` tell it."""

import os
import time
from typing import Any

from natd.core.base.types import PeerState, peer_id_text, peer_tag
from natd.core.base.verdict import OFFLINE, Help, VerdictCode
from natd.core.peer.presence import PeerView
from natd.doctor.advice import COPY_HINT, FULL_HINT, HELP_TEXTS, NAME_HINT
from natd.doctor.disk_problems import disk_problems
from natd.doctor.doctor import Doctor
from natd.doctor.dropped import dropped_row
from natd.doctor.lifetime_words import lifetime_row
from natd.doctor.nat_words import nats_row
from natd.doctor.rows import seconds_since, seconds_until, told_state, with_notices
from natd.doctor.sightings import judge_sightings, own_router_words
from natd.host.descriptors import descriptors_left
from natd.host.errors import CommandError
from natd.host.version import natd_version
from natd.members.copy_words import restored_words
from natd.members.crowd import turned_away_words
from natd.members.networks import Networks
from natd.members.parts import Parts
from natd.members.recorder import ms, nat_row, path_row
from natd.storage.address_book import CHANGED, JoinedNetwork, KnownPeer, full_name

Row = dict[str, Any]

RESTORED_TOLD_S = 86_400.0
"""A restored state directory is told for a day: nothing is lost by it, and it can't be undone."""

FEW_DESCRIPTORS = 8
"""With fewer left, searches and look-ups begin to fail."""

DESCRIPTORS_HINT = (
    "start natd with a higher limit: `ulimit -n 1024`, or LimitNOFILE= of its service"
)

RESTORED_HINT = (
    "what is sent from here arrives all the same; if a copy of the state directory runs on another "
    "machine, stop one of the two"
)


class Report:
    """Views of the parts; changes nothing."""

    def __init__(self, parts: Parts, networks: Networks) -> None:
        self._parts = parts
        self._networks = networks
        self._doctor = Doctor(parts)
        self._started_at = time.monotonic()

    def status(self) -> Row:
        parts = self._parts
        networks = [self._network_status(network) for network in self._parts.book.joined()]
        return {
            "version": natd_version(),
            "mode": "peer",
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started_at, 1),
            "self": {
                "nick": self._nick(),
                "id": peer_id_text(parts.identity.peer),
                "tag": peer_tag(parts.identity.peer),
                "udp": self._udp(),
                "observed": [str(address) for address in parts.node.nat.observed()],
                "several_addresses": parts.node.nat.is_seen_at_several,
                "nat": {
                    **nat_row(parts.node.nat.report()),
                    "router": own_router_words(parts),
                    "lifetime": lifetime_row(parts.node.nat.lifetimes.learnt),
                },
            },
            "networks": networks,
            "problems": self.problems(),
            "dropped": dropped_row(parts),
        }

    def summary(self) -> str:
        """One line for the service manager."""
        networks = self._parts.book.networks
        connected = sum(len(online) for online in self._parts.online.values())
        problems = len(self.problems())
        trouble = f", {problems} problems" if problems else ""
        return f"{len(networks)} networks, {connected} peers connected{trouble}"

    def networks(self) -> Row:
        rows = []
        for network in self._parts.book.joined():
            row = self._counts(network)
            rows.append(
                {
                    "name": network.name,
                    "nick": network.nick,
                    "open": network.is_open,
                    "servers": list(network.servers),
                    "peers": row,
                }
            )
        return {"networks": rows}

    def peers(self, network: JoinedNetwork) -> Row:
        rows = [self._peer_row(known, view) for known, view in self._views(network)]
        problem = self._offline_problem() or self._socket_problem() or self._server_problem(network)
        return {
            "network": network.name,
            "peers": rows,
            "problem": problem or self._name_problem(network),
        }

    def identity(self) -> Row:
        peer = self._parts.identity.peer
        return {
            "nick": self._nick(),
            "id": peer_id_text(peer),
            "tag": peer_tag(peer),
            "state_dir": str(self._parts.directories.state),
        }

    def problems(self) -> list[Row]:
        """What an operator should look at; each with what to do."""
        parts, rows = self._parts, []
        rows += [_problem(*told) for told in disk_problems(parts)]
        socket = self._socket_problem()
        found = (socket, parts.crowd(), descriptor_problem(parts))
        rows += [row for row in found if row is not None]
        for network in parts.book.joined():
            rows += self._own_problems(network)
        for name, text in self._networks.problems.items():
            hint = "correct the configuration, then: natctl reload"
            rows.append(_problem("network", f"{name} is not joined: {text}", hint))
        offline = self._offline_problem()
        rows += [] if offline is None else [offline]
        for text in parts.names.problems.values() if offline is None else ():
            rows.append(_problem("unresolvable", text, NAME_HINT))
        for network in parts.book.joined():
            silent = self._server_problem(network)
            if silent is not None and socket is None and offline is None:
                rows.append(silent)
            rows += self._peer_problems(network)
        return rows

    def doctor(self, target: tuple[JoinedNetwork, KnownPeer] | None) -> Row:
        """See `natd.doctor.doctor`; `target` is the peer in question."""
        return with_notices(self._doctor.examine(target), self.problems())

    def doctor_of_unmet(self, network: JoinedNetwork, name: str, refusal: CommandError) -> Row:
        """Why a peer of this name was never met; see `Doctor.examine_unmet`."""
        answer = self._doctor.examine_unmet(network, name, refusal)
        return with_notices(answer, self.problems())

    def _own_problems(self, network: JoinedNetwork) -> list[Row]:
        """Of our own identity there."""
        rows = []
        if (copy := self._doctor.copy_of(network)) is not None:
            rows.append(_problem("identity-used-twice", f"{network.name}: {copy}", COPY_HINT))
        at, text = self._parts.older.get(network.id, (float("-inf"), ""))
        if time.monotonic() < at + RESTORED_TOLD_S:
            rows.append(_problem("state-restored", f"{network.name}: {text}", RESTORED_HINT))
        return rows

    def _peer_problems(self, network: JoinedNetwork) -> list[Row]:
        """Of its places, of where we are seen there, and of single peers."""
        parts, rows = self._parts, []
        if (full := turned_away_words(parts, network.id)) is not None:
            text = f"{network.name}: {full}"
            rows.append(_problem(str(VerdictCode.NETWORK_FULL), text, FULL_HINT))
        if (blind := judge_sightings(parts, network)) is not None:
            hint = "natctl doctor says more"
            rows.append(_problem(str(blind.code), f"{network.name}: {blind.text}", hint))
        for known in parts.book.peers(network.id):
            noticed = parts.restored.get((network.id, known.peer))
            if noticed is not None and time.monotonic() < noticed + RESTORED_TOLD_S:
                text = f"{network.name}: {restored_words(full_name(known))}"
                rows.append(_problem("state-restored", text, RESTORED_HINT))
            if known.trust == CHANGED:
                text = f"{full_name(known)} in {network.name} has a different key than before"
                hint = f"natctl trust {parts.book.shell_name(known)} --accept-new-key"
                rows.append(_problem("identity_changed", text, hint))
        return rows

    def _offline_problem(self) -> Row | None:
        """It has nothing to do with any network or server."""
        if not self._doctor.is_offline:
            return None
        return _problem("offline", OFFLINE, HELP_TEXTS[Help.NETWORK])

    def _server_problem(self, network: JoinedNetwork) -> Row | None:
        if not (network.servers or self._parts.config.paths.lan_discovery):
            why = "it has no server, and paths.lan_discovery is false"
            text = f"nobody can be found in {network.name}: {why}"
            hint = f"natctl join {network.name} --server HOST:PORT"
            return _problem("no_server", text, hint)
        found = self._doctor.judge_servers(network)
        if found is None:
            return None
        text = f"{network.name}: {found.text if found.advice else found.why}"
        return _problem("server_down", text, "natctl doctor says more") | {
            "verdict_code": found.code
        }

    def _socket_problem(self) -> Row | None:
        socket = self._doctor.socket_check()
        return None if socket["ok"] else _problem("socket", socket["text"], socket["hint"])

    def _name_problem(self, network: JoinedNetwork) -> Row | None:
        """A server of this network that has no address, where no other has one either."""
        if self._parts.servers(network.id):
            return None
        problems = self._parts.names.problems
        found = next((problems[text] for text in network.servers if text in problems), None)
        return None if found is None else _problem("unresolvable", found, NAME_HINT)

    def _nick(self) -> str:
        joined = self._parts.book.joined()
        return joined[0].nick if len(joined) == 1 else self._networks.default_nick()

    def _udp(self) -> str:
        host = "[::]" if self._parts.sockets.has_ipv6 else "0.0.0.0"
        return f"{host}:{self._parts.sockets.port}"

    def _counts(self, network: JoinedNetwork) -> Row:
        known = len(self._parts.book.peers(network.id))
        return {"known": known, "connected": len(self._parts.online.get(network.id, ()))}

    def _network_status(self, network: JoinedNetwork) -> Row:
        now = time.monotonic()
        servers = [
            {
                "address": str(server.address),
                "name": server.name or str(server.address),
                "state": server.state,
                "rtt_ms": ms(server.rtt_s),
                "last_answer_s": seconds_since(server.last_answer_at, now),
                "refusal": None if server.refusal is None else server.refusal.why,
            }
            for server in self._parts.servers(network.id)
        ]
        servers += [
            {
                "address": text,
                "name": text,
                "state": state,
                "rtt_ms": None,
                "last_answer_s": None,
                "refusal": None,
            }
            for text, state in self._parts.names.unresolved(network.servers)
        ]
        return {
            "name": network.name,
            "nick": network.nick,
            "servers": servers,
            "peers": self._counts(network),
            "queued": self._parts.mailbox.queued(network.id),
            "unread": self._parts.log.unread(network.name),
        }

    def _views(self, network: JoinedNetwork) -> list[tuple[KnownPeer, PeerView | None]]:
        views = {view.peer: view for view in self._parts.views(network.id)}
        known = sorted(self._parts.book.peers(network.id), key=lambda peer: (peer.nick, peer.peer))
        return [(each, views.get(each.peer)) for each in known]

    def _peer_row(self, known: KnownPeer, view: PeerView | None) -> Row:
        now = time.monotonic()
        path = None if view is None or view.path is None else path_row(view.path, now)
        verdict = None if view is None else self._doctor.fresh(view.verdict)
        state = told_state(view, verdict)
        seen_s = None if view is None else seconds_since(view.last_heard_at, now)
        if seen_s is None and known.last_heard_unix_s:
            seen_s = max(0.0, round(time.time() - known.last_heard_unix_s, 1))
        return {
            "nick": known.nick,
            "id": known.id_text,
            "tag": known.tag,
            "trust": known.trust,
            "state": str(PeerState.BLOCKED if known.is_blocked else state),
            "path": path if state is PeerState.ONLINE else None,
            "verdict": None if verdict is None else verdict.text,
            "verdict_code": None if verdict is None else str(verdict.code),
            "nats": None if view is None else nats_row(self._parts.node.nat.report(), view.nat),
            "queued": self._parts.mailbox.queued(known.network, known.peer),
            "last_seen_s": seen_s,
            "next_try_s": None if view is None else seconds_until(view.next_try_at, now),
        }


def descriptor_problem(parts: Parts) -> Row | None:
    """Too few files may be open for all that the configuration allows, or nearly all are."""
    shares, wanted = parts.shares, parts.config.paths.helper_sockets
    left = descriptors_left(shares.limit)
    if left < FEW_DESCRIPTORS:
        text = f"all but {left} of the {shares.limit} files that natd may open are open"
    elif shares.lacks_connections or shares.helper_sockets // 2 < wanted:
        text = (
            f"natd may open only {shares.limit} files here: {shares.connections} connections of "
            f"programs, and {shares.helper_sockets // 2} sockets of {wanted} to get through a hard "
            "NAT"
        )
    else:
        return None
    return _problem("descriptors", text, DESCRIPTORS_HINT)


def _problem(code: str, text: str, hint: str) -> Row:
    return {"code": code, "text": text, "hint": hint}
