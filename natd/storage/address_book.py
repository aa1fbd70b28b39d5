"""Who we know: the networks we have joined, and the peers that we have met in them.

Trust is on first use.  A peer of a network is `new` when it is first met; a nick that belongs
to a peer which we have been connected with, and which is not connected now, makes a newcomer
under that nick `changed`: it may be the same person with a new key or somebody in that
person's place, and nothing is said to it until the user accepts the new key.  Two peers with
one nick that were never both in doubt are only told apart by their tags.
"""

import json
import shlex
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from natd.core.base.events import PeerMet
from natd.core.base.types import (
    LAST_GOOD_LIMIT,
    NETWORK_ID_BYTES,
    PEER_ID_BYTES,
    Address,
    NetworkId,
    PeerId,
    peer_id_text,
    peer_tag,
)
from natd.core.keys.secrets import network_id
from natd.core.network.standing import Acquaintance
from natd.host.errors import CommandError
from natd.ipc.peer_names import certain_name, may_mean
from natd.settings.names import nick_problem, server_problem
from natd.storage.store import Store

MATCHES_SHOWN = 8
"""At most this many peers are listed for an ambiguous name."""

NEW, CHANGED = "new", "changed"

_SAVE_NETWORK = (
    "INSERT INTO networks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
    "network = excluded.network, key = excluded.key, nick = excluded.nick, "
    "servers = excluded.servers, is_open = excluded.is_open"
)
_SAVE_ACQUAINTANCE = "INSERT OR REPLACE INTO acquaintances VALUES (?, ?, ?, ?, ?)"
_SAVE_PEER = "INSERT OR REPLACE INTO peers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class JoinedNetwork:
    """A network that we are a member of."""

    id: NetworkId
    name: str
    key: bytes
    nick: str
    servers: tuple[str, ...]
    is_open: bool
    """No secret: anyone who knows the name can join."""
    is_configured: bool = False
    """Whether it comes from the configuration file, not from the store."""

    def __repr__(self) -> str:
        return f"JoinedNetwork({self.name!r})"


@dataclass(slots=True, eq=False)
class KnownPeer:
    """A peer that we have met, as it is on disk."""

    network: NetworkId
    peer: PeerId
    nick: str
    trust: str
    is_blocked: bool
    card: bytes
    """Sealed."""
    last_good: dict[Address, int] = field(default_factory=dict)
    """Where it answered, freshest first, and when last, in the daemon's own time."""
    heard_at_s: int | None = None
    """When we were connected last, in the daemon's own time; None: never."""
    last_heard_unix_s: int = 0
    """The same by the clock, for people; 0: never."""
    days: int = 0
    """On how many it was connected; 0 also in a file of an earlier version."""
    first_at_s: int = 0
    """When it was first connected, and when the last of `days` was counted, in own time."""
    counted_at_s: int = 0

    id_text: str = field(init=False)
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        self.id_text = peer_id_text(self.peer)
        self.tag = peer_tag(self.peer)

    def answered_s_ago(self, now_s: int) -> dict[Address, float]:
        """The same as `last_good`, in seconds before `now_s` of own time."""
        return {place: max(0.0, now_s - at) for place, at in self.last_good.items()}

    def heard_s_ago(self, now_s: int) -> float | None:
        """How long ago we were connected; None: never."""
        return None if self.heard_at_s is None else max(0.0, now_s - self.heard_at_s)

    def acquaintance(self, now_s: int) -> Acquaintance | None:
        """How long we know it, at `now_s` of own time; None: it was never connected."""
        heard_s = self.heard_s_ago(now_s)
        if heard_s is None or not self.days:
            return None if heard_s is None else Acquaintance(1, heard_s, heard_s, heard_s)
        first_s, counted_s = max(0, now_s - self.first_at_s), max(0, now_s - self.counted_at_s)
        return Acquaintance(self.days, first_s, counted_s, heard_s)

    @property
    def is_marked(self) -> bool:
        """Whether the user has said that it is the person it claims to be."""
        return self.trust not in (NEW, CHANGED)

    @property
    def may_hear_us(self) -> bool:
        return self.trust != CHANGED and not self.is_blocked


class AddressBook:
    """See the module's head.  What is changed here is written with the store's next group."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.networks: dict[str, JoinedNetwork] = {}
        self._peers: dict[NetworkId, dict[PeerId, KnownPeer]] = {}
        self.damaged: Counter[str] = Counter()
        """Rows by table that can't be read.  They stay as they are."""
        for row in store.query("SELECT network, name, key, nick, servers, is_open FROM networks"):
            try:
                joined = _network_of(*row)
            except (ValueError, TypeError):
                self.damaged["networks"] += 1
            else:
                self.networks[joined.name] = joined
        for row in store.query(
            "SELECT network, peer, nick, trust, is_blocked, card, last_good, heard_at_s, "
            "last_heard_unix_s FROM peers"
        ):
            try:
                known = _peer_of(*row)
            except (ValueError, TypeError):
                self.damaged["peers"] += 1
            else:
                self._peers.setdefault(known.network, {})[known.peer] = known
        for network, peer, days, first, counted in store.query(
            "SELECT network, peer, days, first_at_s, counted_at_s FROM acquaintances"
        ):
            met = self.peer(network, peer)
            if met is not None and all(isinstance(kept, int) for kept in (days, first, counted)):
                met.days, met.first_at_s, met.counted_at_s = days, first, counted

    # --- networks

    def network_named(self, name: str | None) -> JoinedNetwork:
        """The network, or the only one for None; CommandError."""
        if name is None:
            if len(self.networks) == 1:
                return next(iter(self.networks.values()))
            if not self.networks:
                raise CommandError(
                    "no_network", "no network is joined", "natctl join NETWORK --server HOST:PORT"
                )
            names = sorted(self.networks)
            raise CommandError(
                "which_network",
                f"several networks are joined: {', '.join(names)}",
                f"name one of them, for example with --network {shlex.quote(names[0])}",
            )
        if name not in self.networks:
            joined = ", ".join(sorted(self.networks)) or "none"
            raise CommandError(
                "unknown_network",
                f"{name} is not joined (joined: {joined})",
                f"natctl join {name} --server HOST:PORT",
            )
        return self.networks[name]

    def joined(self) -> list[JoinedNetwork]:
        """All networks, by name."""
        return sorted(self.networks.values(), key=lambda network: network.name)

    def network_of(self, network: NetworkId) -> JoinedNetwork | None:
        return next((each for each in self.networks.values() if each.id == network), None)

    async def keep_network(self, network: JoinedNetwork) -> None:
        """Be a member across restarts; StoreError when the disk does not take it."""
        if not network.is_configured:
            servers = json.dumps(network.servers)
            await self._store.execute(
                _SAVE_NETWORK,
                (network.id, network.name, network.key, network.nick, servers, network.is_open),
            )
        self.networks[network.name] = network

    async def forget_network(self, network: JoinedNetwork, *, purge: bool) -> None:
        self.networks.pop(network.name, None)
        await self._store.execute("DELETE FROM networks WHERE name = ?", (network.name,))
        if purge:
            self._peers.pop(network.id, None)
            for table in ("peers", "acquaintances"):
                await self._store.execute(f"DELETE FROM {table} WHERE network = ?", (network.id,))

    # --- peers

    def peers(self, network: NetworkId) -> list[KnownPeer]:
        return list(self._peers.get(network, {}).values())

    def peer(self, network: NetworkId, peer: PeerId) -> KnownPeer | None:
        return self._peers.get(network, {}).get(peer)

    def meet(self, met: PeerMet, connected: Collection[PeerId]) -> tuple[KnownPeer, PeerId | None]:
        """Take a verified card.  Also the id that this nick belonged to, when the peer has just
        become `changed`."""
        peers = self._peers.setdefault(met.network, {})
        known = peers.get(met.peer)
        previous = None
        if known is None or known.nick != met.nick:
            previous = next(
                (
                    other.peer
                    for other in peers.values()
                    if other.nick == met.nick
                    and other.peer != met.peer
                    and other.heard_at_s is not None
                    and other.trust != CHANGED
                    and other.peer not in connected
                ),
                None,
            )
        if known is None:
            known = KnownPeer(met.network, met.peer, met.nick, NEW, False, met.sealed_card)
            peers[met.peer] = known
        known.nick = met.nick
        known.card = met.sealed_card
        if previous is not None:
            known.trust = CHANGED
        self.keep_peer(known)
        return known, previous

    def accept_new_key(self, known: KnownPeer) -> list[PeerId]:
        """The user says that this peer is the person it claims to be; the peers that had the
        nick before are forgotten, and returned."""
        if known.trust != CHANGED:
            return []
        known.trust = NEW
        self.keep_peer(known)
        others = [p for p in self.peers(known.network) if p.nick == known.nick and p is not known]
        for other in others:
            self.forget_peer(other)
        return [other.peer for other in others]

    def keep_peer(self, known: KnownPeer) -> None:
        self._store.post(
            _SAVE_PEER,
            (
                known.network,
                known.peer,
                known.nick,
                known.trust,
                known.is_blocked,
                known.card,
                json.dumps([(*place, at) for place, at in known.last_good.items()]),
                known.last_heard_unix_s,
                known.heard_at_s,
            ),
        )

    def forget_peer(self, known: KnownPeer) -> None:
        self._peers.get(known.network, {}).pop(known.peer, None)
        for table in ("peers", "acquaintances"):
            sql = f"DELETE FROM {table} WHERE network = ? AND peer = ?"
            self._store.post(sql, (known.network, known.peer))

    def keep_acquaintance(self, known: KnownPeer, met: Acquaintance) -> None:
        """How long we know a peer: on disk once a day."""
        if met.days == known.days:
            return
        now_s, known.days = self._store.own_time.now_s, met.days
        known.first_at_s = int(now_s - met.first_s_ago)
        known.counted_at_s = int(now_s - met.counted_s_ago)
        row = (known.network, known.peer, known.days, known.first_at_s, known.counted_at_s)
        self._store.post(_SAVE_ACQUAINTANCE, row)

    def heard(self, known: KnownPeer, address: Address | None = None) -> None:
        """We are or were connected with this peer just now, at this address; None: at the last."""
        known.last_heard_unix_s = int(time.time())
        known.heard_at_s = now_s = self._store.own_time.now_s
        address = address or next(iter(known.last_good), None)
        if address is not None:
            places = {address: now_s} | known.last_good | {address: now_s}
            known.last_good = dict(list(places.items())[:LAST_GOOD_LIMIT])
        self.keep_peer(known)

    def peer_named(self, network: NetworkId, text: object) -> KnownPeer:
        """The peer that a nick, a `nick#TAG` or a prefix of an id means; CommandError."""
        matches = self._matches(network, text)
        if len(matches) > 1:
            names = ", ".join(full_name(known) for known in matches[:MATCHES_SHOWN])
            ways = " or ".join(self.shell_name(known) for known in matches[:MATCHES_SHOWN])
            raise CommandError(
                "ambiguous",
                f"{text} could be any of {names}",
                f"say which: {ways}; a whole id, as `natctl peers --json` shows it, always does",
            )
        return matches[0]

    def shell_name(self, known: KnownPeer) -> str:
        """A peer as part of a command line that a user may copy: it means this peer and none else
        who is known here, and nobody's nick becomes code."""
        others = ((each.nick, each.id_text) for each in self.peers(known.network))
        return shlex.quote(certain_name(known.nick, known.id_text, others))

    def peer_to_write_to(self, network: NetworkId, text: object) -> KnownPeer:
        """Like `peer_named`; CommandError also when any peer meant has a key in doubt."""
        for known in self._matches(network, text):
            if known.trust == CHANGED:
                raise CommandError(
                    "identity_changed",
                    f"{full_name(known)} has a different key than the {_shown_nick(known)} you "
                    "know; nothing was sent",
                    "ask them some other way, such as by phone, then: "
                    f"natctl trust {self.shell_name(known)} --accept-new-key",
                )
        return self.peer_named(network, text)

    def peer_in_doubt(self, network: NetworkId, text: object) -> KnownPeer:
        """Like `peer_named`; of several with one nick, the one whose key is in doubt."""
        matches = self._matches(network, text)
        doubtful = [known for known in matches if known.trust == CHANGED]
        has_one_nick = len({known.nick for known in matches}) == 1
        is_clear = has_one_nick and len(doubtful) == 1
        return doubtful[0] if is_clear else self.peer_named(network, text)

    def _matches(self, network: NetworkId, text: object) -> list[KnownPeer]:
        """At least one; CommandError."""
        if not isinstance(text, str) or not text:
            raise CommandError("usage", "expected a peer: a nick, nick#TAG or the start of an id")
        peers = self.peers(network)
        matches = [known for known in peers if may_mean(text, known.nick, known.id_text)]
        if not matches:
            who = ", ".join(sorted({full_name(known) for known in peers})[:MATCHES_SHOWN])
            raise CommandError(
                "unknown_peer",
                f"no peer called {text!a} has been met here; known: {who or 'nobody yet'}",
                "natctl peers lists them",
            )
        return matches


def _network_of(
    network: bytes, name: str, key: bytes, nick: str, servers: str, is_open: int
) -> JoinedNetwork:
    """ValueError, TypeError for a row that we have not written."""
    if network_id(key) != network or not isinstance(name, str):
        raise ValueError("no network")
    texts = json.loads(servers)
    if not isinstance(nick, str) or any(server_problem(text) is not None for text in texts):
        raise ValueError("no network")
    return JoinedNetwork(NetworkId(network), name, key, nick, tuple(texts), bool(is_open))


def _peer_of(
    network: bytes,
    peer: bytes,
    nick: str,
    trust: str,
    is_blocked: int,
    card: bytes,
    last_good: str,
    heard_at_s: int | None,
    heard_unix_s: int,
) -> KnownPeer:
    """ValueError, TypeError for a row that we have not written."""
    sizes = len(network), len(peer)
    if sizes != (NETWORK_ID_BYTES, PEER_ID_BYTES) or not isinstance(nick, str) or not card:
        raise ValueError("no peer")
    heard = int(heard_at_s or 0)
    # Without an instant in the file of an early version: when it was last heard at all.
    places = {
        Address(host, port): int((*at, heard)[0]) for host, port, *at in json.loads(last_good)
    }
    known = KnownPeer(NetworkId(network), PeerId(peer), nick, trust, bool(is_blocked), card, places)
    known.last_heard_unix_s = int(heard_unix_s)
    known.heard_at_s = heard or None
    return known


def full_name(known: KnownPeer) -> str:
    """`alice#k3fa`: tells two equal nicks apart.  A nick that imitates or hides is escaped."""
    return f"{_shown_nick(known)}#{known.tag}"


def _shown_nick(known: KnownPeer) -> str:
    return known.nick if nick_problem(known.nick) is None else ascii(known.nick)
