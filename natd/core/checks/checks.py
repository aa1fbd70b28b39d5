"""Checks between two peers: STUN Bindings that only the two of them can make or answer.

As in ICE (RFC 8445, section 7), under keys that both derived from their cards:

    request   USERNAME (send tag 8 B, receive tag 8 B), MESSAGE-INTEGRITY-SHA256, FINGERPRINT
    response  XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY-SHA256, FINGERPRINT

(One of full size has a filler before its integrity, and so has its response.)

Rules:
- A request without valid integrity gets no answer at all.
- A check is decoded once, here: other modules get a `Check` or a `CheckAnswer`.
- An answer counts only from the address and on the socket that its request was sent to and from
  (RFC 8445, section 7.2.5.2.1), once, and only under the keys that the request was made with.
- While the peer may not have the newest secrets, checks alternate between the newest and those that
  it surely has.
- A transaction id begins with four bytes that the owner chose, by which answers find their peer.
- A check asks for more than an answer by comprehension-optional attributes, which others ignore.
"""

import hmac
from collections import deque
from dataclasses import dataclass
from enum import Enum
from random import Random

from natd.core.base.local_ports import AGREED, LINK_PORT
from natd.core.base.types import Address, Datagram, SocketId
from natd.core.codec import stun
from natd.core.codec.rendezvous import PREFIX_BYTES
from natd.core.keys.secrets import PairSecrets

LOW_TTL = 3
"""Enough to pass our own two layers of NAT."""

NEAR_TTL = 2
"""Enough to pass our own NAT, if it is the only one."""

MOST_OUTSTANDING = 4_096
"""More than the probes of an escalation in the time for which an answer is awaited."""

OUTSTANDING_S = 30.0
"""No way on this planet takes so long, but both ends may be late; a later answer proves nothing
about now."""

ANSWER_AFTER = 0xC0A1
"""2 bytes, seconds: answer so much later, and make no path of this check."""

NO_DELAY = (ANSWER_AFTER, bytes(2))
"""An attribute that asks for an answer at once, and for no path."""

OPEN_TO = 0xC0A2
"""2 bytes, a port: send an opener to that port of the check's source host."""

WAS_SILENT = 0xC0A3
"""2 bytes, seconds: after so long a silence nothing of ours reached you until you sent."""

GUESS_US = 0xC0A4
"""No bytes: another flow of ours is open to you at an unknown port of this host: guess it."""

FILLER = 0xC0A5
"""Zeros, up to the size of a session's datagrams: answer with a datagram as large."""

CHECK_BYTES = 84
"""Of a check that asks for nothing else."""

MOST_DELAYED = 32
"""Checks with a delayed answer that may never come: spare flows send a handful each."""

ANSWER_LATE_S = 5.0
"""How late a delayed answer may be."""

AGREED_PORTS = 6
"""Of each kind: one for each round in which they are used."""


RECENT_CHECKS = 256
"""How many checks of the peer are remembered, to recognise replays."""


class Opener(Enum):
    """How an opener is kept from the peer's NAT: by its TTL, and whether that is strict.

    A strict one needs an IP option, which some routers refuse and then do not open either.
    """

    NEAR = NEAR_TTL, True
    """One NAT of ours, whatever is between, even nothing."""
    FAR = LOW_TTL, False
    """Two NATs of ours, and two routers between or more: also where options are refused."""
    NEARLY = NEAR_TTL, False
    """One NAT of ours that refuses options, and one router between or more."""
    DEEP = LOW_TTL, True
    """Two NATs of ours, whatever is between, even nothing."""


@dataclass(frozen=True, slots=True)
class Check:
    """An authentic check of the peer: our answer to it, and what it asks for."""

    answer: Datagram
    transaction: bytes
    nominates: bool = False
    """Whether the peer says that it uses this path from here on (USE-CANDIDATE)."""
    answer_after_s: int | None = None
    """How much later to answer; with any value, even 0, the check makes no path."""
    open_to: int | None = None
    """A port of the peer's host to send an opener to."""
    was_silent_s: int | None = None
    """After how long a silence nothing of the peer came through until we sent."""
    wants_guesses: bool = False
    """Whether the peer asks us to guess the port of another flow."""

    @property
    def key(self) -> tuple[Address, SocketId]:
        """Its source address and our socket."""
        return self.answer.address, self.answer.socket


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """The peer's answer to one of our checks: the path works both ways."""

    address: Address
    socket: SocketId
    rtt_s: float
    mapped: Address | None
    """How the peer sees us on this path."""
    is_delayed: bool = False
    """Whether a delayed answer was requested, so that `rtt_s` is no round trip."""
    is_filled: bool = False
    """Whether the answer, and so the check, was as large as a session's datagrams."""


@dataclass(frozen=True, slots=True)
class _Outstanding:
    address: Address
    socket: SocketId
    sent_at: float
    receive_key: bytes


class Checks:
    """Makes checks to one peer and recognises their answers."""

    def __init__(self, prefix: bytes, random: Random) -> None:
        self._prefix = prefix
        self._random = random
        self._secrets: tuple[PairSecrets, ...] = ()  # empty until we have a card of the peer
        self._ports: dict[bool, tuple[int, ...]] = {}  # ours (True) and theirs, once drawn
        self._turn = 0
        self._outstanding: dict[bytes, _Outstanding] = {}
        self._delayed: dict[bytes, _Outstanding] = {}  # checks with a delayed answer
        self._recent: deque[bytes] = deque(maxlen=RECENT_CHECKS)  # the peer's transactions

    def use(self, *secrets: PairSecrets) -> None:
        """Make further checks under these secrets in turn, the newest first."""
        self._secrets = secrets
        self._ports.clear()

    @property
    def ready(self) -> bool:
        return bool(self._secrets)

    @property
    def our_ports(self) -> tuple[int, ...]:
        """Local ports at which the peer expects us if our main port fails."""
        return self._agreed(send=True)[:AGREED_PORTS]

    @property
    def their_ports(self) -> tuple[int, ...]:
        """The peer's such ports; behind a NAT that keeps ports also its external ones."""
        return self._agreed(send=False)[:AGREED_PORTS]

    @property
    def meeting_ports(self) -> tuple[tuple[int, int], ...]:
        """Pairs of our and their ports, for when both main ports fail."""
        ours, theirs = self._agreed(send=True), self._agreed(send=False)
        return tuple(zip(ours[AGREED_PORTS:-1], theirs[AGREED_PORTS:-1], strict=True))

    @property
    def our_mark(self) -> int | None:
        """A port number that marks the ports before it as anchors: a server can't forge it, because
        it does not know the pair's keys.  None while we can't make checks."""
        return self._agreed(send=True)[-1] if self.ready else None

    @property
    def their_mark(self) -> int | None:
        """The mark that the peer uses."""
        return self._agreed(send=False)[-1] if self.ready else None

    @property
    def we_open(self) -> bool:
        """Whether our side takes the first of two roles (open, not call) where nothing else
        decides; the peer gets the opposite result."""
        return self.ready and self._secrets[0].send_tag < self._secrets[0].receive_tag

    def request(
        self,
        address: Address,
        socket: SocketId,
        now: float,
        ttl: int | None = None,
        asks: tuple[int, bytes] | None = None,
        *,
        is_strict: bool = False,
    ) -> Datagram:
        """One check to `address`; with a `ttl` it is an opener that is not meant to arrive, and
        `asks` is an attribute that asks the peer for something besides the answer."""
        if not self._secrets:
            raise ValueError("a check needs the pair's secrets: call use() first")
        self._turn += 1
        secrets = self._secrets[self._turn % len(self._secrets)]
        transaction = self._prefix + self._random.randbytes(stun.TRANSACTION_BYTES - PREFIX_BYTES)
        self._forget(now)
        sent = _Outstanding(address, socket, now, secrets.receive_check_key)
        is_delayed = asks is not None and asks[0] == ANSWER_AFTER
        (self._delayed if is_delayed else self._outstanding)[transaction] = sent
        data = stun.encode_binding_request(
            transaction,
            username=secrets.send_tag + secrets.receive_tag,
            key=secrets.send_check_key,
            extra=() if asks is None else (asks,),
        )
        return Datagram(data, address, ttl, socket, is_strict)

    def filled(self, address: Address, socket: SocketId, size_bytes: int, now: float) -> Datagram:
        """A check as large as a session's datagram, whose answer is as large.  The next one is made
        under the same secrets, so that the two differ by nothing but their size."""
        room = (size_bytes - CHECK_BYTES - stun.ATTRIBUTE_HEADER_BYTES + 3) // 4 * 4
        check = self.request(address, socket, now, asks=(FILLER, bytes(room)))
        self._turn -= 1
        return check

    def match(
        self, message: stun.StunMessage, data: bytes, address: Address, socket: SocketId, now: float
    ) -> CheckAnswer | None:
        """The answer in an incoming response; None if it proves nothing."""
        waiting = self._outstanding
        if message.transaction not in waiting:
            waiting = self._delayed
        sent = waiting.get(message.transaction)
        if sent is None or (sent.address, sent.socket) != (address, socket):
            return None
        if not stun.is_right(message, data, sent.receive_key):
            return None
        del waiting[message.transaction]
        is_delayed = waiting is self._delayed
        mapped = message.mapped_address()
        is_filled = message.get(FILLER) is not None
        return CheckAnswer(address, socket, now - sent.sent_at, mapped, is_delayed, is_filled)

    def is_new(self, check: Check) -> bool:
        """Whether this check of the peer is new; remembers it."""
        if check.transaction in self._recent:
            return False
        self._recent.append(check.transaction)
        return True

    def _agreed(self, *, send: bool) -> tuple[int, ...]:
        if not self._secrets:
            return ()
        if send not in self._ports:
            newest = self._secrets[0]
            key = newest.send_check_key if send else newest.receive_check_key
            self._ports[send] = _agreed_ports(key)
        return self._ports[send]

    def _forget(self, now: float) -> None:
        while self._outstanding:
            transaction, sent = next(iter(self._outstanding.items()))
            if now - sent.sent_at <= OUTSTANDING_S and len(self._outstanding) < MOST_OUTSTANDING:
                break
            del self._outstanding[transaction]
        while len(self._delayed) >= MOST_DELAYED:
            del self._delayed[next(iter(self._delayed))]


def read_check(
    message: stun.StunMessage, data: bytes, secrets: PairSecrets, address: Address, socket: SocketId
) -> Check | None:
    """A Binding request of the peer and the answer to it; None if its integrity is wrong.
    An attribute of a wrong length counts as absent."""
    if not stun.is_right(message, data, secrets.receive_check_key):
        return None
    response = stun.encode_binding_response(
        message.transaction, address, key=secrets.send_check_key
    )
    if message.get(FILLER) is not None:
        room = len(data) - len(response) - stun.ATTRIBUTE_HEADER_BYTES
        response = stun.encode_binding_response(
            message.transaction,
            address,
            key=secrets.send_check_key,
            extra=((FILLER, bytes(max(0, room))),),
        )
    return Check(
        Datagram(response, address, None, socket),
        message.transaction,
        nominates=message.get(stun.USE_CANDIDATE) is not None,
        answer_after_s=_number(message, ANSWER_AFTER),
        open_to=_number(message, OPEN_TO),
        was_silent_s=_number(message, WAS_SILENT),
        wants_guesses=message.get(GUESS_US) is not None,
    )


def two_bytes(value: int) -> bytes:
    """The value of an attribute that counts seconds, or names a port."""
    return value.to_bytes(2, "big")


def _number(message: stun.StunMessage, attribute: int) -> int | None:
    value = message.get(attribute)
    return int.from_bytes(value, "big") if value is not None and len(value) == 2 else None


def agreed_port(number: int) -> int:
    """The agreed port for a drawn number.

    `LINK_PORT` is replaced by the next port.  Both sides do the same; an older release does not,
    and differs in that one port only.
    """
    port = AGREED[number % len(AGREED)]
    return port + 1 if port == LINK_PORT else port


def _agreed_ports(check_key: bytes) -> tuple[int, ...]:
    """Ports that only the two peers know, without signalling, from the pair's keys."""
    drawn = hmac.digest(check_key, b"agreed ports", "sha512")
    steps = range(2 * AGREED_PORTS + 1)
    *numbers, mark = (int.from_bytes(drawn[4 * i : 4 * i + 4], "big") for i in steps)
    # The mark is only a number on the wire, not a port: it may equal `LINK_PORT`.
    return (*map(agreed_port, numbers), AGREED[mark % len(AGREED)])
