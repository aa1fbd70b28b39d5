"""Checks between two peers: STUN Bindings that only the two of them can make or answer.

As in ICE (RFC 8445, section 7), under keys that both derived from their cards:

    request   USERNAME (send tag 8 B, receive tag 8 B), MESSAGE-INTEGRITY-SHA256, FINGERPRINT
    response  XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY-SHA256, FINGERPRINT

Rules:
- A request without valid integrity gets no answer at all.
- A check is read once, here: everybody else is given a `Check` or a `CheckAnswer`.
- An answer counts only from the address and on the socket that its request was sent to and from
  (RFC 8445, section 7.2.5.2.1), once, and only under the keys that the request was made with.
- Where it is not sure that the peer holds the newest secrets, checks are made under the newest
  and under those that it surely holds, in turn.
- A transaction id begins with four bytes that the owner chose, by which answers find their peer.
- What a check asks for besides its answer is an attribute of the range that others may ignore.
"""

import hmac
from collections import deque
from dataclasses import dataclass
from random import Random

from natd.core.base.local_ports import AGREED, LINK_PORT
from natd.core.base.types import Address, Datagram, SocketId
from natd.core.codec import stun
from natd.core.keys.secrets import PairSecrets

PREFIX_BYTES = 4

LOW_TTL = 3
"""Enough to leave two layers of NAT, too little to reach the far one behind two routed hops."""

MOST_OUTSTANDING = 4_096
"""More than the probes of an escalation in the time for which an answer is awaited."""

OUTSTANDING_S = 10.0
"""No round trip on this planet takes longer; a later answer proves nothing about now."""

ANSWER_AFTER = 0xC0A1
"""2 bytes, seconds: the answer is to leave so much later, and the check shall make no path."""

OPEN_TO = 0xC0A2
"""2 bytes, a port: an opener is wanted to that port of the host that the check comes from."""

WAS_SILENT = 0xC0A3
"""2 bytes, seconds: nothing came through until you sent something, after so long a silence."""

GUESS_US = 0xC0A4
"""No bytes: another flow of ours is open to you at some port of this host, and is to be guessed."""

MOST_DELAYED = 32
"""Checks whose answer was asked for later and may never come: spare flows send a handful each."""

ANSWER_LATE_S = 5.0
"""How late a delayed answer may be."""

AGREED_PORTS = 3
"""Of each kind: one for each of the first rounds."""


RECENT_CHECKS = 256
"""How many checks of the peer's are remembered, so that a replay is none."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the peer's whose integrity holds: the answer to it, and what it asks for."""

    answer: Datagram
    transaction: bytes
    nominates: bool = False
    """Whether the peer says that it uses this path from here on (USE-CANDIDATE)."""
    answer_after_s: int | None = None
    """How much later the answer is wanted; with any value, 0 too, the check makes no path."""
    open_to: int | None = None
    """A port of the peer's host that an opener is wanted to."""
    was_silent_s: int | None = None
    """After how long a silence nothing came through until we sent something."""
    wants_guesses: bool = False
    """Whether we are to guess where another flow of the peer's is."""

    @property
    def key(self) -> tuple[Address, SocketId]:
        """Where it came from, and the socket of ours that it came to."""
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
    """Whether a later answer was asked for, so that `rtt_s` is no round trip."""


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
        self._secrets: tuple[PairSecrets, ...] = ()  # empty until a card of the peer was opened
        self._turn = 0
        self._outstanding: dict[bytes, _Outstanding] = {}
        self._delayed: dict[bytes, _Outstanding] = {}  # those that ask for a later answer
        self._recent: deque[bytes] = deque(maxlen=RECENT_CHECKS)  # the peer's transactions

    def use(self, *secrets: PairSecrets) -> None:
        """Make further checks under these secrets in turn, the newest named first."""
        self._secrets = secrets

    @property
    def ready(self) -> bool:
        return bool(self._secrets)

    @property
    def our_ports(self) -> tuple[int, ...]:
        """Local ports that the peer expects us on if our main one can't get through."""
        return self._agreed(send=True)[:AGREED_PORTS]

    @property
    def their_ports(self) -> tuple[int, ...]:
        """The same of the peer's: behind a NAT that keeps ports, its external ones, too."""
        return self._agreed(send=False)[:AGREED_PORTS]

    @property
    def meeting_ports(self) -> tuple[tuple[int, int], ...]:
        """Pairs of ours and theirs, for when neither main socket can get through."""
        ours, theirs = self._agreed(send=True), self._agreed(send=False)
        return tuple(zip(ours[AGREED_PORTS:-1], theirs[AGREED_PORTS:-1], strict=True))

    @property
    def our_mark(self) -> int | None:
        """A port that says that those named before it are anchors: a server could name any, but
        does not know this one.  None as long as we can't make checks."""
        return self._agreed(send=True)[-1] if self.ready else None

    @property
    def their_mark(self) -> int | None:
        """The same in the peer's words."""
        return self._agreed(send=False)[-1] if self.ready else None

    @property
    def we_open(self) -> bool:
        """Which of the two opens and which one calls, where the halves differ for no other
        reason: the same question has the opposite answer at the peer."""
        return self.ready and self._secrets[0].send_tag < self._secrets[0].receive_tag

    def request(
        self,
        address: Address,
        socket: SocketId,
        now: float,
        ttl: int | None = None,
        asks: tuple[int, bytes] | None = None,
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
        return Datagram(data, address, ttl, socket)

    def match(
        self, message: stun.StunMessage, data: bytes, address: Address, socket: SocketId, now: float
    ) -> CheckAnswer | None:
        """What an incoming response proves; None if it proves nothing."""
        waiting = self._outstanding
        if message.transaction not in waiting:
            waiting = self._delayed
        sent = waiting.get(message.transaction)
        if sent is None or (sent.address, sent.socket) != (address, socket):
            return None
        if not stun.verify(data, sent.receive_key):
            return None
        del waiting[message.transaction]
        is_delayed = waiting is self._delayed
        mapped = message.mapped_address()
        return CheckAnswer(address, socket, now - sent.sent_at, mapped, is_delayed)

    def is_new(self, check: Check) -> bool:
        """Whether this check of the peer's has not come before; from now on it has."""
        if check.transaction in self._recent:
            return False
        self._recent.append(check.transaction)
        return True

    def _agreed(self, *, send: bool) -> tuple[int, ...]:
        if not self._secrets:
            return ()
        newest = self._secrets[0]
        return _agreed_ports(newest.send_check_key if send else newest.receive_check_key)

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
    """A Binding request of the peer's and the answer to it; None when its integrity does not
    hold.  An attribute of another length than its own counts as not there."""
    if not stun.verify(data, secrets.receive_check_key):
        return None
    response = stun.encode_binding_response(
        message.transaction, address, key=secrets.send_check_key
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
    """The agreed port that a drawn number stands for.

    Whatever falls on `LINK_PORT` moves up by one.  Both sides do the same, and an older release,
    which does not, differs in that one port only.
    """
    port = AGREED[number % len(AGREED)]
    return port + 1 if port == LINK_PORT else port


def _agreed_ports(check_key: bytes) -> tuple[int, ...]:
    """Known to the two peers alone, and without a word, because both have the pair's keys."""
    drawn = hmac.digest(check_key, b"agreed ports", "sha256")
    steps = range(2 * AGREED_PORTS + 1)
    *numbers, mark = (int.from_bytes(drawn[4 * i : 4 * i + 4], "big") for i in steps)
    # The mark is a number on the wire, no socket's port: it need not go round `LINK_PORT`.
    return (*map(agreed_port, numbers), AGREED[mark % len(AGREED)])
