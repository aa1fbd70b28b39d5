"""Anchors: ports of a sequential NAT that we know to be ours, opened to one port of a peer's block.

Where a NAT counts its ports up, two samples enclose the port of a packet sent between them.  So
samples and openers leave alternately, in one burst:

    sample   opener   sample   opener   sample          to the server, to the peer, ...
    40,000      ?     40,002      ?     40,005
             40,001            40,003 or 40,004         the first is known, the second is not

An opener between two samples that are two strides apart has the port between them.  We tell the
peer such ports, and it sends all its packets to them; see `blocks`.

Rules:
- All openers go to one port of the peer, each from its own socket; they are not meant to arrive.
- An answer counts only from the address that was asked, on the socket that asked, with the
  transaction of the request.
- We tell only ports that are certain; if none is, the likeliest.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import gcd
from random import Random
from typing import NamedTuple

from natd.core.base.types import Address, Datagram, SocketId
from natd.core.codec import stun
from natd.core.prediction.plan import Plan, PlannedPacket, Technique

OPENERS = 13
"""Where others hold 30 % of the ports, half of the openers are enclosed tightly: two or more of
13 almost always (99.8 %)."""

MOST_ANCHORS = 2
"""So many fit into an introduction beside the pair's mark.  Each halves the number of sockets that
the peer has to open."""

PATIENCE_S = 0.6
"""How long to wait for answers: longer than a round trip to any useful server."""

MOST_PLACES = 4

KEPT_PAUSE_S = 12.0
KEPT_ROUNDS = 32
"""Keeps anchors open for as long as the peer's waves may come."""


class Anchor(NamedTuple):
    """A socket of ours that is open to the peer, and its external address."""

    socket: SocketId
    address: Address


class AnchorBurst:
    """One burst of samples and openers, and the anchors that its answers show."""

    def __init__(
        self,
        *,
        stride: int,
        places: Sequence[Address],
        sockets: Sequence[SocketId],
        prefix: bytes,
        random: Random,
        now: float,
    ) -> None:
        """`stride` is as measured before; `places` are ports of one server; `sockets` are
        `sockets_wanted(places)` fresh ones."""
        self.openers = tuple(sockets[:OPENERS])
        self.ends_at = now + PATIENCE_S
        self._stride = stride
        self._seen: list[Address | None] = [None] * (OPENERS + 1)  # None: not answered yet
        self._asked: dict[bytes, tuple[int, Address, SocketId]] = {}
        for number in range(OPENERS + 1):
            transaction = prefix + random.randbytes(stun.TRANSACTION_BYTES - len(prefix))
            asker = sockets[OPENERS + number // len(places)]
            self._asked[transaction] = (number, places[number % len(places)], asker)

    def samples(self) -> list[Datagram]:
        """The samples: one to send before each opener, and one after the last."""
        return [
            Datagram(stun.encode_binding_request(transaction), place, None, socket)
            for transaction, (_, place, socket) in self._asked.items()
        ]

    def answered(self, message: stun.StunMessage, address: Address, socket: SocketId) -> bool:
        """Take an answer to a sample; False: it is none."""
        number, place, asker = self._asked.get(message.transaction, (0, None, None))
        if (place, asker) != (address, socket):
            return False
        observed = message.mapped_address()
        if observed is not None:
            self._seen[number] = observed
        return True

    def is_over(self, now: float) -> bool:
        """Whether all samples are answered or the wait is over."""
        return None not in self._seen or self.ends_at <= now

    def anchors(self) -> tuple[Anchor, ...]:
        """The best anchors known by now."""
        seen = [address for address in self._seen if address is not None]
        steps = [after.port - before.port for before, after in pairwise(seen)]
        # Few samples make a stride look too long, and so would these where every gap is tight.
        stride = gcd(self._stride, *(step for step in steps if step > 0)) or 1
        by_gap: dict[int, list[Anchor]] = {}
        for socket, (before, after) in zip(self.openers, pairwise(self._seen), strict=True):
            if before is None or after is None or before.port >= after.port:
                continue
            address = Address(before.host, before.port + stride)
            by_gap.setdefault(after.port - before.port, []).append(Anchor(socket, address))
        tight = [gap for gap in by_gap if gap >= 2 * stride]
        return tuple(by_gap[min(tight)][:MOST_ANCHORS]) if tight else ()


def sampling_places(servers: Iterable[Address]) -> tuple[Address, ...]:
    """The ports of one server to ask, in order; empty if no server is known."""
    ipv4 = sorted(server for server in servers if not server.is_ipv6)
    return tuple(server for server in ipv4 if server.host == ipv4[0].host)[:MOST_PLACES]


def sockets_wanted(places: Sequence[Address]) -> int:
    """One for each opener, and as few for the samples as `places` allow."""
    return OPENERS + -(-(OPENERS + 1) // len(places))


def keep_open(sockets: int, port: int) -> Plan:
    """Openers from so many sockets to one port of the peer, again and again."""
    packets = tuple(PlannedPacket(number + 1, port, is_opener=True) for number in range(sockets))
    return Plan(Technique.BLOCKS, packets, KEPT_PAUSE_S, rounds=KEPT_ROUNDS, pause_s=KEPT_PAUSE_S)
