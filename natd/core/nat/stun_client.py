"""Asking public STUN servers how our main socket looks, and what our NAT is by all that is known.

Each configured server is one more destination to our NAT, at an address that is not our
coordination server's: that tells whether it maps by address.  They are asked while a network is
joined, at once and every two minutes, so that the model holds a fresh word of each:

    wake --ask--> answered --2 min--> ask ...      asked three times a round, then not till the next

Rules that a change must not break:

- An answer counts from the very address that was asked, with the transaction of that question.
- A server that does not answer is no problem of anybody's; it is asked again in the next round.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from natd.core.base.timers import Ladder, earliest, jittered
from natd.core.base.types import MAIN_SOCKET, Address, Datagram
from natd.core.codec import stun
from natd.core.nat.model import NatModel

ROUND_S = 120.0
ROUND_JITTER = 0.2
"""Observations are believed for 180 s; a round that is lost may be missed."""

BINDING_LADDER_S = (0.5, 1.0, 2.0)
"""As a STUN client does (RFC 8489, section 6.2.1), without its last minute of patience."""

STUN_ADDRESSES_LIMIT = 16
"""Eight names, of two families."""


@dataclass(slots=True)
class _Asked:
    """One server."""

    transaction: bytes = b""
    """Empty: answered, or not asked yet."""
    ladder: Ladder = field(default_factory=lambda: Ladder(BINDING_LADDER_S))


class StunClient:
    """Holds the model, and feeds it with what STUN servers see of the main socket."""

    def __init__(self, random: Random) -> None:
        self.nat = NatModel()
        self.dropped: Counter[str] = Counter()
        self._random = random
        self._servers: dict[Address, _Asked] = {}
        self._round_at: float | None = None  # None: asleep, no network is joined
        self.asks: list[Datagram] = []
        """What waits to be sent."""
        self.due_at: float | None = None
        """When to call `handle_timer`; None: never."""

    # --- commands

    def set_servers(self, servers: tuple[Address, ...], now: float) -> None:
        """Ask exactly these; the new ones at once."""
        known, self._servers = self._servers, {}
        for server in servers[:STUN_ADDRESSES_LIMIT]:
            self._servers[server] = known.get(server) or _Asked()
            if server not in known and self._round_at is not None:
                self._ask(server, now)
        self._rearm()

    def wake(self, now: float) -> None:
        """A network is joined, or ours has changed: ask all of them."""
        self._round_at = now + jittered(ROUND_S, ROUND_JITTER, self._random)
        for server in self._servers:
            self._ask(server, now)
        self._rearm()

    def network_changed(self, now: float) -> None:
        if self._round_at is not None:
            self.wake(now)

    def sleep(self) -> None:
        """No network is joined any more."""
        self._round_at = None
        for asked in self._servers.values():
            asked.transaction = b""
            asked.ladder.stop()
        self._rearm()

    # --- the contract of a core

    def receive_answer(self, answer: stun.StunMessage, address: Address, now: float) -> bool:
        """Whether the message that came from there answers a question of ours."""
        asked = self._servers.get(address)
        if asked is None or not asked.transaction or answer.transaction != asked.transaction:
            return False
        asked.transaction = b""
        asked.ladder.stop()
        self._rearm()
        observed = answer.mapped_address()
        if answer.message_class is not stun.MessageClass.SUCCESS or observed is None:
            self.dropped["stun-server-refused"] += 1
        elif observed.is_ipv6 != address.is_ipv6:
            self.dropped["stun-server-of-another-family"] += 1
        else:
            self.nat.observe(MAIN_SOCKET, address, observed, now)
        return True

    def handle_timer(self, now: float) -> None:
        if self._round_at is not None and self._round_at <= now:
            self.wake(now)
        for server, asked in self._servers.items():
            if asked.ladder.is_due(now):
                if asked.ladder.climb(now):
                    self._send(server, asked)
                else:
                    asked.transaction = b""
        self._rearm()

    def datagrams_to_send(self) -> list[Datagram]:
        outgoing, self.asks = self.asks, []
        return outgoing

    # --- private

    def _rearm(self) -> None:
        ladders = (asked.ladder.due_at for asked in self._servers.values())
        self.due_at = earliest(self._round_at, *ladders) if self._servers else None

    def _ask(self, server: Address, now: float) -> None:
        asked = self._servers[server]
        asked.transaction = self._random.randbytes(stun.TRANSACTION_BYTES)
        asked.ladder.start(now)
        self._send(server, asked)

    def _send(self, server: Address, asked: _Asked) -> None:
        self.asks.append(Datagram(stun.encode_binding_request(asked.transaction), server))
