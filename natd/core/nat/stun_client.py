"""Asks public STUN servers where they see our main socket, and feeds the NAT model.

Each configured server is one more destination for our NAT, at another host than our coordination
server: that shows if the NAT maps by address.  While a network is joined they are asked at once and
then every two minutes, so that the model has a fresh observation of each:

    wake --ask--> answered --2 min--> ask ...      asked three times a round, then not till the next

Rules that a change must not break:

- An answer counts only from the address that was asked, with the transaction of the request.
- A server that does not answer causes no error; it is asked again in the next round.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from natd.core.base.timers import Ladder, earliest, jittered
from natd.core.base.types import MAIN_SOCKET, Address, Datagram
from natd.core.codec import stun
from natd.core.nat.model import NatModel

ROUND_S = 120.0
ASKING_JITTER = 0.2
"""Rounds are at most 144 s apart: observations are believed for 180 s."""

BINDING_LADDER_S = (0.5, 1.0, 2.0)
"""As a STUN client does (RFC 8489, section 6.2.1), without its last long wait."""

STUN_ADDRESSES_LIMIT = 16
"""Eight names, of two families."""


@dataclass(slots=True)
class _Asked:
    """One server and the request to it."""

    transaction: bytes = b""
    """Empty: no answer is awaited."""
    ladder: Ladder = field(default_factory=lambda: Ladder(BINDING_LADDER_S))


class StunClient:
    """Owns the NAT model and feeds it with the answers of STUN servers."""

    def __init__(self, random: Random) -> None:
        self.nat = NatModel()
        self.dropped: Counter[str] = Counter()
        self._random = random
        self._servers: dict[Address, _Asked] = {}
        self._round_at: float | None = None  # None: asleep, no network is joined
        self.asks: list[Datagram] = []
        """Datagrams to send."""
        self.due_at: float | None = None
        """When to call `handle_timer`; None: never."""

    # --- commands

    def set_servers(self, servers: tuple[Address, ...], now: float) -> None:
        """Ask these servers and no others; new ones at once."""
        known, self._servers = self._servers, {}
        for server in servers[:STUN_ADDRESSES_LIMIT]:
            self._servers[server] = known.get(server) or _Asked()
            if server not in known and self._round_at is not None:
                self._ask(server, now)
        self._rearm()

    def wake(self, now: float) -> None:
        """A network was joined, or our interfaces have changed: ask all servers."""
        self._round_at = now + jittered(ROUND_S, ASKING_JITTER, self._random)
        for server in self._servers:
            self._ask(server, now)
        self._rearm()

    def network_changed(self, now: float) -> None:
        if self._round_at is not None:
            self.wake(now)

    def sleep(self) -> None:
        """The last network was left: stop asking."""
        self._round_at = None
        for asked in self._servers.values():
            asked.transaction = b""
            asked.ladder.stop()
        self._rearm()

    # --- the contract of a core

    def receive_answer(self, answer: stun.StunMessage, address: Address, now: float) -> bool:
        """Whether the message from this address answers one of our requests."""
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
