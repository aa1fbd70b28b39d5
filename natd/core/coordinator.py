"""The coordination server's core: leases for those who proved their address, introductions
to both sides at the same instant, and nothing else.  It opens no card and relays nothing.

    REGISTER, no token   verify, INTRODUCE to the newcomer and to residents, CHALLENGE
    REGISTER, token      verify, lease, INTRODUCE to and of the rest, REGISTERED
    REFRESH              REFRESHED, and more introductions when it asks for them;
                         from a strange address or with a strange lease: CHALLENGE
    CONNECT              INTRODUCE to both, or ERROR
    SAMPLE, STUN Binding where the question came from; on every port

Rules that a change must not break:

- No state before the address is proved, not even a counter per sender.
- Towards an unproved address: no more bytes out than the datagram had.  Towards everyone
  together: no more than three times as many.  The budget is the single datagram's, so no
  sequence of datagrams can save up for more.  The one exception is the answer to a STUN
  Binding request without attributes, which any client may send and which is shorter than any
  answer to it: it stays below three times, and a sender gets few of them.
- Answers about networks that don't exist look like answers about empty ones.
- Cheap checks come first: length, bucket, token, and the signature last.
- An introduction leaves to both sides in the same drain: neither NAT then sees the other's
  packet before its own peer has sent one (see traversal, early-inbound poisoning).
- Introductions leave before the answer that tells how many there should have been.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from natd.core import stun, wire
from natd.core.admission import AddressTokens, Buckets, TokenKind
from natd.core.card import verify_signature
from natd.core.registry import LEASE_S, Lease, Member, Refusal, Registry, source_of
from natd.core.rendezvous import (
    HAVE_BYTES,
    LEASE_ID_BYTES,
    REGISTER_LABEL,
    REGISTER_MINIMUM_BYTES,
    Bye,
    Challenge,
    ChallengeReason,
    Connect,
    Error,
    ErrorCode,
    Introduce,
    Message,
    Refresh,
    Refreshed,
    Register,
    Registered,
    Sample,
    Sampled,
)
from natd.core.types import Address, Datagram, DecodeError, PeerId, SocketId

AMPLIFICATION_LIMIT = 3
"""Bytes out to everyone per byte in: an introduction tells two about each other."""

SOURCE_RATE, SOURCE_BURST = 128.0, 512.0
"""Questions a second of one IPv4 address or IPv6 /64 that cost us more than a look-up: a
carrier's NAT may stand before a thousand peers that all come back after our restart."""

VERIFY_RATE, VERIFY_BURST = 2_000.0, 4_000.0
"""Signatures of unproved senders, from everyone together: a fifth of a core.  Beyond it they
are challenged first, and introduced only when their token comes back."""

UNPROVED_RATE, UNPROVED_BURST = 16.0, 64.0
"""Introductions to one lease that unproved senders may cause."""

INTRODUCED_RATE, INTRODUCED_BURST = 64.0, 512.0
"""Introductions to one lease that proved senders may cause: a full network, twice."""

LONGER_ANSWER_UNITS = 8.0
"""What a STUN answer costs that is longer than its question: 16 a second for one source."""

RTT_LIMIT_S = 3.0
"""A challenge answered later than this was answered to a retransmission."""

START_IN_LIMIT_S = 0.5
"""No pair of peers on Earth differs by more; a lie must not hold the other side up."""


@dataclass(frozen=True, slots=True)
class _Party:
    """One side of an introduction."""

    peer: PeerId
    card: bytes
    address: Address
    socket: SocketId
    transaction: bytes
    observed: tuple[Address, ...]
    samples: tuple[Address, ...]
    rtt_s: float | None


class _Budget:
    """What may be sent because of one datagram."""

    def __init__(self, size_bytes: int, *, proved: bool) -> None:
        self._total = size_bytes * AMPLIFICATION_LIMIT
        self._to_sender = self._total if proved else size_bytes

    def spend(self, to_sender_bytes: int, to_others_bytes: int = 0) -> bool:
        if to_sender_bytes > self._to_sender or to_sender_bytes + to_others_bytes > self._total:
            return False
        self._to_sender -= to_sender_bytes
        self._total -= to_sender_bytes + to_others_bytes
        return True


class Coordinator:
    """One coordination server, whatever the number of its sockets.

    `ports` are those that every bound address listens on, the main one first.  Sockets are
    numbered: port 0 of the first address, its port 1, ..., port 0 of the second address, ...
    `secret` has 16 random bytes or more; a new one with every start.
    """

    def __init__(
        self, secret: bytes, random: Random, *, ports: tuple[int, ...] = (8080, 8081, 8082, 8083)
    ) -> None:
        self._ports = ports
        self._random = random
        self._registry = Registry()
        self._tokens = AddressTokens(secret)
        self._sources = Buckets(secret, rate=SOURCE_RATE, burst=SOURCE_BURST)
        self._verifications = Buckets(secret, rate=VERIFY_RATE, burst=VERIFY_BURST, size=1)
        self._unproved = Buckets(secret, rate=UNPROVED_RATE, burst=UNPROVED_BURST)
        self._introduced = Buckets(secret, rate=INTRODUCED_RATE, burst=INTRODUCED_BURST)
        self._outgoing: list[Datagram] = []
        self.counts: Counter[str] = Counter()
        """`registered`, `renewed`, `introduced`, `expired`, `left`, `refused` since the start."""
        self.dropped: Counter[str] = Counter()

    @property
    def lease_count(self) -> int:
        return len(self._registry)

    @property
    def network_count(self) -> int:
        return self._registry.network_count

    def receive_datagram(
        self, data: bytes, address: Address, now: float, port_index: int = 0
    ) -> None:
        """Take one datagram that came in on socket number `port_index`."""
        socket = SocketId(port_index)
        if stun.is_stun(data):
            self._receive_stun(data, address, socket, now)
            return
        try:
            message = wire.decode(data)
        except wire.ForeignVersionError as foreign:
            self._refuse_version(foreign, len(data), address, socket, now)
            return
        except DecodeError:
            self.dropped["malformed"] += 1
            return
        if port_index % len(self._ports) and not isinstance(message, Sample):
            self.dropped["not for a sampling port"] += 1
            return
        self._receive_message(message, len(data), address, socket, now)

    def handle_timer(self, now: float) -> None:
        self.counts["expired"] += self._registry.expire(now)

    def datagrams_to_send(self) -> list[Datagram]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def next_event(self) -> None:
        """A coordinator tells nothing but its counts."""
        return

    def get_timer(self) -> float | None:
        return self._registry.next_expiry()

    def _receive_message(
        self, message: Message, size: int, address: Address, socket: SocketId, now: float
    ) -> None:
        match message:
            case Register():
                self._receive_register(message, size, address, socket, now)
            case Refresh():
                self._receive_refresh(message, size, address, socket, now)
            case Sample(transaction):
                if self._admit(address, now):
                    self._answer(Sampled(transaction, address), size, address, socket)
            case Connect():
                self._receive_connect(message, size, address, socket, now)
            case Bye(_, lease_id):
                self._receive_bye(lease_id, address)
            case _:
                self.dropped["not a question"] += 1

    # --- registering ---

    def _receive_register(
        self, register: Register, size: int, address: Address, socket: SocketId, now: float
    ) -> None:
        if size < REGISTER_MINIMUM_BYTES:
            self.dropped["not padded"] += 1
        elif self._admit(address, now):
            proof = self._tokens.check(register.token, address, now)
            if proof is None:
                self._challenge_newcomer(register, size, address, socket, now)
            elif self._is_signed(register):
                kind, age_s = proof
                timed = kind is TokenKind.CHALLENGE and age_s <= RTT_LIMIT_S
                self._grant(register, size, address, socket, age_s if timed else None, now)

    def _challenge_newcomer(
        self, register: Register, size: int, address: Address, socket: SocketId, now: float
    ) -> None:
        """Introduce at once as far as the padding pays for it; the rest waits for the token."""
        if self._verifications.take(b"", 1.0, now):
            if not self._is_signed(register):
                return
            known = self._registry.member(register.network, register.peer)
            introduces = known is None or register.sequence >= known.sequence
        else:
            known, introduces = None, False
            self.dropped["introductions put off until proved"] += 1
        token = self._tokens.issue(TokenKind.CHALLENGE, address, now)
        answer = wire.encode(Challenge(register.transaction, ChallengeReason.FIRST, token))
        budget = _Budget(size, proved=False)
        budget.spend(len(answer))
        if introduces:
            caller = _newcomer(register, known, address, socket)
            others = self._registry.others(register.network, register.peer)
            self._introduce_all(caller, _unmet(others, register.have), budget, now, self._unproved)
        self._send(answer, address, socket)

    def _grant(
        self,
        register: Register,
        size: int,
        address: Address,
        socket: SocketId,
        rtt_s: float | None,
        now: float,
    ) -> None:
        lease_id = self._random.randbytes(LEASE_ID_BYTES)
        lease = self._registry.register(
            register.network,
            register.peer,
            address,
            lease_id=lease_id,
            socket=socket,
            sequence=register.sequence,
            card=register.card,
            samples=(),
            transaction=register.transaction,
            rtt_s=rtt_s,
            now=now,
        )
        if isinstance(lease, Refusal):
            self.counts["refused"] += 1
            code = ErrorCode.STALE if lease is Refusal.STALE else ErrorCode.FULL
            self._answer(Error(register.transaction, code, lease.value), size, address, socket)
            return
        lease.member.samples = _telling(register.samples, lease.member.observed)
        self.counts["registered" if lease.lease_id == lease_id else "renewed"] += 1
        others, unmet = self._others(lease.member, register.have)
        answer = wire.encode(
            Registered(
                register.transaction,
                lease.lease_id,
                int(LEASE_S),
                address,
                self._tokens.issue(TokenKind.LEASE, address, now),
                0 if lease.rtt_s is None else max(1, round(lease.rtt_s * 1000)),
                len(others),
                len(unmet),
                self._ports[1:],
            )
        )
        wanted = unmet
        if lease.lease_id == lease_id:
            # What the newcomer has seen before its address was proved, its residents may not
            # have: the rest of the budget says it again.
            again = [member for member in others if member not in unmet]
            wanted = unmet + again
        self._introduce_and_answer(lease, wanted, answer, size, now)

    # --- staying registered ---

    def _receive_refresh(
        self, refresh: Refresh, size: int, address: Address, socket: SocketId, now: float
    ) -> None:
        lease = self._lease_at(refresh.lease_id, refresh.transaction, size, address, socket, now)
        if lease is None or (refresh.asks and not self._admit(address, now)):
            return
        self._registry.renew(lease, now)
        others, unmet = self._others(lease.member, refresh.have)
        answer = wire.encode(Refreshed(refresh.transaction, address, len(others), len(unmet)))
        self._introduce_and_answer(lease, unmet if refresh.asks else [], answer, size, now)

    def _receive_connect(
        self, connect: Connect, size: int, address: Address, socket: SocketId, now: float
    ) -> None:
        if not self._admit(address, now):
            return
        lease = self._lease_at(connect.lease_id, connect.transaction, size, address, socket, now)
        if lease is None:
            return
        member = lease.member
        member.samples = _telling(connect.samples, member.observed) or member.samples
        other = self._registry.member(member.network, connect.peer)
        if other is None or other is member:
            absent = Error(connect.transaction, ErrorCode.ABSENT, "that peer is not registered")
            self._answer(absent, size, address, socket)
            return
        budget = _Budget(size, proved=True)
        self._introduce_all(_party(lease), (other,), budget, now, self._introduced)

    def _receive_bye(self, lease_id: bytes, address: Address) -> None:
        lease = self._registry.lease(lease_id)
        if lease is None or lease.address != address:
            self.dropped["strange lease"] += 1
            return
        self._registry.release(lease)
        self.counts["left"] += 1

    def _lease_at(
        self,
        lease_id: bytes,
        transaction: bytes,
        size: int,
        address: Address,
        socket: SocketId,
        now: float,
    ) -> Lease | None:
        """The lease, if the question came from where it was granted; else a challenge."""
        lease = self._registry.lease(lease_id)
        if lease is not None and lease.address == address:
            return lease
        if self._admit(address, now):
            reason = ChallengeReason.UNKNOWN if lease is None else ChallengeReason.MOVED
            token = self._tokens.issue(TokenKind.CHALLENGE, address, now)
            self._answer(Challenge(transaction, reason, token), size, address, socket)
        return None

    # --- introducing ---

    def _others(self, member: Member, have: tuple[bytes, ...]) -> tuple[list[Member], list[Member]]:
        """All other members, and those that `have` does not name."""
        others = list(self._registry.others(member.network, member.peer))
        return others, _unmet(others, have)

    def _introduce_and_answer(
        self, lease: Lease, unmet: list[Member], answer: bytes, size: int, now: float
    ) -> None:
        budget = _Budget(size, proved=True)
        if not budget.spend(len(answer)):
            self.dropped["answer over budget"] += 1
            return
        self._introduce_all(_party(lease), unmet, budget, now, self._introduced)
        self._send(answer, lease.address, lease.socket)

    def _introduce_all(
        self,
        caller: _Party,
        others: Iterable[Member],
        budget: _Budget,
        now: float,
        buckets: Buckets,
    ) -> None:
        """Introduce `caller`, who shall dial, to as many as the budget pays for."""
        for member in others:
            lease = member.lease_towards(caller.address)
            other = _party(lease)
            to_caller, to_other = _introduction(caller, other)
            if not budget.spend(len(to_caller), len(to_other)):
                break
            if not buckets.take(lease.lease_id, 1.0, now):
                self.dropped["introductions to one peer"] += 1
                continue
            self._send(to_other, other.address, other.socket)
            self._send(to_caller, caller.address, caller.socket)
            self.counts["introduced"] += 1

    # --- answering without state ---

    def _receive_stun(self, data: bytes, address: Address, socket: SocketId, now: float) -> None:
        try:
            request = stun.decode(data)
        except DecodeError:
            self.dropped["malformed"] += 1
            return
        is_request = request.message_class is stun.MessageClass.REQUEST
        if request.method != stun.BINDING or not is_request:
            self.dropped["not a question"] += 1
        elif request.get(stun.CHANGE_REQUEST) is not None:
            # We have no second address (RFC 5780): silence is the answer of a server that
            # can't be reached from there, an answer from here would be a lie.
            self.dropped["change request"] += 1
        else:
            answer = stun.encode_binding_response(request.transaction, address)
            units = 1.0 if len(answer) <= len(data) else LONGER_ANSWER_UNITS
            if self._admit(address, now, units):
                self._send(answer, address, socket)

    def _refuse_version(
        self,
        foreign: wire.ForeignVersionError,
        size: int,
        address: Address,
        socket: SocketId,
        now: float,
    ) -> None:
        """Never an ERROR for an ERROR: two servers would keep at it for ever."""
        self.dropped["foreign version"] += 1
        if foreign.kind != wire.ERROR_TYPE and self._admit(address, now):
            text = f"this server speaks version {wire.VERSION}"
            error = Error(foreign.transaction, ErrorCode.VERSION, text)
            self._answer(error, size, address, socket)

    def _admit(self, address: Address, now: float, units: float = 1.0) -> bool:
        admitted = self._sources.take(source_of(address).encode(), units, now)
        if not admitted:
            self.dropped["too many from one source"] += 1
        return admitted

    def _is_signed(self, register: Register) -> bool:
        if verify_signature(register.peer, REGISTER_LABEL, register.signed, register.signature):
            return True
        self.dropped["wrong signature"] += 1
        return False

    def _answer(self, message: Message, size: int, address: Address, socket: SocketId) -> None:
        """Answer a question of `size` bytes, unless the answer is longer."""
        data = wire.encode(message)
        if len(data) > size:
            self.dropped["answer over budget"] += 1
            return
        self._send(data, address, socket)

    def _send(self, data: bytes, address: Address, socket: SocketId) -> None:
        self._outgoing.append(Datagram(data, address, None, socket))


def _party(lease: Lease) -> _Party:
    member = lease.member
    return _Party(
        member.peer,
        member.card,
        lease.address,
        lease.socket,
        lease.transaction,
        member.observed,
        member.samples,
        lease.rtt_s,
    )


def _newcomer(
    register: Register, known: Member | None, address: Address, socket: SocketId
) -> _Party:
    """One that has not proved its address; what is proved of its other family stands."""
    proved = () if known is None else known.observed
    other_family = tuple(seen for seen in proved if seen.is_ipv6 != address.is_ipv6)
    return _Party(
        register.peer,
        register.card,
        address,
        socket,
        register.transaction,
        (address, *other_family),
        _telling(register.samples, (address,)),
        None,
    )


def _introduction(caller: _Party, other: _Party) -> tuple[bytes, bytes]:
    """What the caller and what the other is told."""
    later_s = 0.0
    if caller.rtt_s is not None and other.rtt_s is not None:
        later_s = (other.rtt_s - caller.rtt_s) / 2
    return (
        _introduce(caller, other, you_dial=True, start_in_s=later_s),
        _introduce(other, caller, you_dial=False, start_in_s=-later_s),
    )


def _introduce(reader: _Party, subject: _Party, *, you_dial: bool, start_in_s: float) -> bytes:
    start_in_ms = round(1000 * min(START_IN_LIMIT_S, max(0.0, start_in_s)))
    return wire.encode(
        Introduce(
            reader.transaction,
            you_dial,
            start_in_ms,
            subject.peer,
            subject.observed,
            subject.samples,
            subject.card,
        )
    )


def _unmet(others: Iterable[Member], have: tuple[bytes, ...]) -> list[Member]:
    known = frozenset(have)
    return [member for member in others if member.peer[:HAVE_BYTES] not in known]


def _telling(samples: tuple[Address, ...], observed: tuple[Address, ...]) -> tuple[Address, ...]:
    """The samples that tell more than what we saw ourselves, and only at the hosts where we
    saw the peer: nobody else is pointed at."""
    hosts = {address.host for address in observed}
    return tuple(sample for sample in samples if sample.host in hosts and sample not in observed)
