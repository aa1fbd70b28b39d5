"""The coordination server's core: leases for those who proved their address, introductions
to both sides at the same instant, and nothing else.  It opens no card and relays nothing.

    REGISTER, no token   CHALLENGE; if it is fresh, verify, and INTRODUCE to the newcomer and to
                         residents before
    REGISTER, token      verify, lease, INTRODUCE to and of the rest, and once more to those
                         who were told before the address was proved; REGISTERED
    REFRESH              REFRESHED, and more introductions when it asks for them;
                         from a strange address or with a strange lease: CHALLENGE
    CONNECT              INTRODUCE to both, or ERROR
    SAMPLE, STUN Binding where the question came from; on every port.  A SAMPLE may want to be
                         answered from elsewhere, too, or to another port of the asker's host

Rules that a change must not break:

- No state before the address is proved, not even a counter per sender.
- Towards an unproved address: no more bytes out than the datagram had.  To all addresses
  together: no more than three times as many.  The budget is the single datagram's, so no
  sequence of datagrams can save up for more.  The one exception is the answer to a STUN
  Binding request, which any client may send with no attributes, so that any answer is longer:
  `stun_server` bounds it, and each sender gets few of them.
- Answers about networks that don't exist look like answers about empty ones.
- Cheap checks come first: length, token, time, allowance, and the signatures last.
- A CHALLENGE costs a hash and is given to everyone, so no flood keeps anybody from registering.
- An introduction leaves to both sides in the same drain: neither NAT then sees the other's
  packet before its own peer has sent one (see traversal, early-inbound poisoning).
- Introductions leave before the answer that tells how many there should have been.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from natd.core.base.types import Address, Datagram, DecodeError, SocketId
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.rendezvous import (
    LEASE_ID_BYTES,
    REGISTER_MINIMUM_BYTES,
    Bye,
    Challenge,
    ChallengeReason,
    Connect,
    Error,
    ErrorCode,
    Message,
    Refresh,
    Refreshed,
    Register,
    Registered,
    Sample,
)
from natd.core.coordinator import admission
from natd.core.coordinator.admission import AddressTokens, TokenKind
from natd.core.coordinator.allowances import Allowances
from natd.core.coordinator.freshness import Freshness
from natd.core.coordinator.introduction import (
    Budget,
    Party,
    in_own_order,
    introduction,
    introduction_to_itself,
    party_of,
    unmet_first,
    unproved_party,
    useful_samples,
)
from natd.core.coordinator.registry import LEASE_S, Lease, Member, Refusal, Registry
from natd.core.coordinator.stateless import Stateless
from natd.core.coordinator.stun_server import StunServer

RTT_LIMIT_S = 3.0
"""A challenge answered later than this was answered to a retransmission."""


class _Origin(NamedTuple):
    """Where and when a datagram came in."""

    address: Address
    socket: SocketId
    size_bytes: int
    now: float


class Coordinator:
    """One coordination server, whatever the number of its sockets.

    `ports` are those that every bound address listens on, the main one first; `hosts` are the
    bound addresses, `::` and `0.0.0.0` for all of a family.  Sockets are numbered: port 0 of
    the first address, its port 1, ..., port 0 of the second address, ...; there may be more
    rows of them than `hosts`.  `secret` has 16 random bytes or more; a new one with every start.
    """

    def __init__(
        self,
        secret: bytes,
        random: Random,
        *,
        ports: tuple[int, ...] = (8080, 8081, 8082, 8083),
        hosts: tuple[str, ...] = (),
    ) -> None:
        self._ports = ports
        self._random = random
        self.stun_server = StunServer(hosts, ports)
        self._registry = Registry()
        self._tokens = AddressTokens(secret)
        self._freshness = Freshness(secret)
        self._allowances = Allowances(secret)
        self._outgoing: list[Datagram] = []
        self.counts: Counter[str] = Counter()
        """`registered`, `renewed`, `introduced`, `expired`, `left`, `refused` since the start."""
        self.dropped: Counter[str] = Counter()
        self._stateless = Stateless(self.stun_server, self._allowances, self.dropped)

    @property
    def lease_count(self) -> int:
        return len(self._registry)

    @property
    def network_count(self) -> int:
        return self._registry.network_count

    def set_clock(self, unix_s: float, now: float) -> None:
        """What our wall clock shows at `now`: at the start, and before inputs that may follow a
        jump of it.  Until it is told, nobody is introduced before a token has come back."""
        self._freshness.set_clock(unix_s, now)

    def receive_datagram(
        self, data: bytes, address: Address, now: float, port_index: int = 0
    ) -> None:
        """Take one datagram that came in on socket number `port_index`."""
        origin = _Origin(address, SocketId(port_index), len(data), now)
        if stun.is_stun(data):
            self._outgoing += self._stateless.stun(data, address, origin.socket, now)
            return
        try:
            message = rendezvous_codec.decode(data)
        except rendezvous_codec.ForeignVersionError as foreign:
            if (error := self._stateless.version_error(foreign)) is not None:
                self._answer(error, origin)
        except DecodeError:
            self.dropped["malformed"] += 1
        else:
            self._receive_message(message, origin)

    def handle_timer(self, now: float) -> None:
        self.counts["expired"] += self._registry.expire(now)

    def datagrams_to_send(self) -> list[Datagram]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def next_event(self) -> None:
        """Always None: a coordinator has counts and no events."""
        return

    def get_timer(self) -> float | None:
        return self._registry.next_expiry()

    def _receive_message(self, message: Message, origin: _Origin) -> None:
        if origin.socket % len(self._ports) and not isinstance(message, Sample):
            self.dropped["not for a sampling port"] += 1
            return
        match message:
            case Register():
                self._receive_register(message, origin)
            case Refresh():
                self._receive_refresh(message, origin)
            case Sample():
                address, socket, size_bytes, now = origin
                self._outgoing += self._stateless.sampled(message, size_bytes, address, socket, now)
            case Connect():
                self._receive_connect(message, origin)
            case Bye(_, lease_id):
                self._receive_bye(lease_id, origin)
            case _:
                self.dropped["not a question"] += 1

    # --- registering ---

    def _receive_register(self, register: Register, origin: _Origin) -> None:
        if origin.size_bytes < REGISTER_MINIMUM_BYTES:
            self.dropped["not padded"] += 1
            return
        proof = self._tokens.check(register.token, origin.address, origin.now)
        if proof is None:
            self._challenge_newcomer(register, origin)
        elif not self._allowances.registrations.take(origin.address, origin.now):
            self.dropped["too many from one source"] += 1
        elif self._is_signed(register):
            kind, age_s = proof
            timed = kind is TokenKind.CHALLENGE and age_s <= RTT_LIMIT_S
            self._grant(register, origin, age_s if timed else None)

    def _challenge_newcomer(self, register: Register, origin: _Origin) -> None:
        """Introduce at once as far as the padding pays for; the rest waits for the token."""
        introduces = self._may_introduce(register, origin)
        if introduces and not self._is_signed(register):
            return
        token = self._tokens.issue(TokenKind.CHALLENGE, origin.address, origin.now)
        answer = rendezvous_codec.encode(
            Challenge(register.transaction, ChallengeReason.FIRST, token)
        )
        budget = Budget(origin.size_bytes, proved=False)
        budget.spend(len(answer))
        known = self._registry.member(register.network, register.peer)
        if introduces and self._is_latest(register, known, origin):
            caller = unproved_party(register, known, origin.address, origin.socket)
            others = self._registry.others(register.network, register.peer)
            unmet, count = unmet_first(others, register.have)
            self._introduce(caller, unmet[:count], budget, origin.now, is_proved=False)
        self._send(answer, origin.address, origin.socket)

    def _may_introduce(self, register: Register, origin: _Origin) -> bool:
        """Whether to verify a REGISTER without a token."""
        if not self._freshness.may_be_new(register, origin.now):
            if register.sent_at_unix_ms:  # A peer of 0.3 does nothing that is worth a warning.
                self.dropped["introductions put off: not of this moment, or seen before"] += 1
            return False
        if not self._allowances.newcomer(origin.address, origin.now):
            self.dropped["introductions put off: too many newcomers"] += 1
            return False
        return True

    def _is_latest(self, register: Register, known: Member | None, origin: _Origin) -> bool:
        is_latest = self._freshness.is_first(register, known, origin.address, origin.now)
        if not is_latest:
            self.dropped["introductions put off: older than the last one of that peer"] += 1
        return is_latest

    def _grant(self, register: Register, origin: _Origin, rtt_s: float | None) -> None:
        lease_id = self._random.randbytes(LEASE_ID_BYTES)
        lease = self._registry.register(
            register.network,
            register.peer,
            origin.address,
            lease_id=lease_id,
            socket=origin.socket,
            sequence=register.sequence,
            card=register.card,
            transaction=register.transaction,
            sent_at_unix_ms=register.sent_at_unix_ms,
            rtt_s=rtt_s,
            now=origin.now,
        )
        self._freshness.accepted(register, origin.now)
        if isinstance(lease, Refusal):
            self.counts["refused"] += 1
            known = self._registry.member(register.network, register.peer)
            if lease is Refusal.STALE and known is not None:
                shown = introduction_to_itself(register, known, origin.address, origin.socket)
                self._send(shown, origin.address, origin.socket)
            self._answer(Error(register.transaction, lease.code, lease.value), origin)
            return
        member, is_new = lease.member, lease.lease_id == lease_id
        member.samples = useful_samples(register.samples, member.observed, member.moved_from)
        self.counts["registered" if is_new else "renewed"] += 1
        others, unmet_count = unmet_first(
            self._registry.others(member.network, member.peer), register.have
        )
        answer = Registered(
            register.transaction,
            lease.lease_id,
            int(LEASE_S),
            origin.address,
            self._tokens.issue(TokenKind.LEASE, origin.address, origin.now),
            0 if lease.rtt_s is None else max(1, round(lease.rtt_s * 1000)),
            len(others),
            unmet_count,
            self._ports[1:],
            self.stun_server.other_address(lease.socket),
        )
        # Those whom a newcomer has met were told of it before its address was proved.  Who is not
        # new asks for more when it has met these.
        told_early = others[unmet_count:] if is_new else []
        unmet = others[:unmet_count] if is_new else []
        self._introduce_and_answer(lease, unmet, answer, origin, told_early)

    # --- staying registered ---

    def _receive_refresh(self, refresh: Refresh, origin: _Origin) -> None:
        lease = self._lease_at(refresh.lease_id, refresh.transaction, origin)
        if lease is None:
            return
        self._registry.renew(lease, origin.now)
        others, unmet_count = unmet_first(
            self._registry.others(lease.member.network, lease.member.peer), refresh.have
        )
        answer = Refreshed(refresh.transaction, origin.address, len(others), unmet_count)
        asks = refresh.asks and self._may_wish(origin)
        wanted = in_own_order(lease.member.peer, others[:unmet_count]) if asks else []
        self._introduce_and_answer(lease, wanted, answer, origin)

    def _receive_connect(self, connect: Connect, origin: _Origin) -> None:
        lease = self._lease_at(connect.lease_id, connect.transaction, origin)
        if lease is None or not self._may_wish(origin):
            return
        member = lease.member
        samples = useful_samples(connect.samples, member.observed, member.moved_from)
        member.samples = samples or member.samples
        other = self._registry.member(member.network, connect.peer)
        if other is None or other is member:
            absent = Error(connect.transaction, ErrorCode.ABSENT, "that peer is not registered")
            self._answer(absent, origin)
            return
        budget = Budget(origin.size_bytes, proved=True)
        caller = replace(party_of(lease), ask=connect.ask, word=connect.word)
        self._introduce(caller, [other], budget, origin.now)

    def _receive_bye(self, lease_id: bytes, origin: _Origin) -> None:
        lease = self._registry.lease(lease_id)
        if lease is None or lease.address != origin.address:
            self.dropped["strange lease"] += 1
            return
        self._registry.release(lease)
        self.counts["left"] += 1

    def _lease_at(self, lease_id: bytes, transaction: bytes, origin: _Origin) -> Lease | None:
        """The lease, if the question came from where it was granted; else a challenge."""
        lease = self._registry.lease(lease_id)
        if lease is not None and lease.address == origin.address:
            return lease
        reason = ChallengeReason.UNKNOWN if lease is None else ChallengeReason.MOVED
        token = self._tokens.issue(TokenKind.CHALLENGE, origin.address, origin.now)
        self._answer(Challenge(transaction, reason, token), origin)
        return None

    # --- introducing ---

    def _introduce_and_answer(
        self,
        lease: Lease,
        others: list[Member],
        message: Message,
        origin: _Origin,
        told_early: Sequence[Member] = (),
    ) -> None:
        """`told_early`: only they are told of the caller, and before others."""
        answer = rendezvous_codec.encode(message)
        budget = Budget(origin.size_bytes, proved=True)
        if not budget.spend(len(answer)):
            self.dropped["answer over budget"] += 1
            return
        caller = party_of(lease)
        self._introduce(caller, told_early, budget, origin.now, is_repeated=True)
        self._introduce(caller, others, budget, origin.now)
        self._send(answer, lease.address, lease.socket)

    def _introduce(
        self,
        caller: Party,
        others: Sequence[Member],
        budget: Budget,
        now: float,
        *,
        is_proved: bool = True,
        is_repeated: bool = False,
    ) -> None:
        """Introduce `caller`, which dials, as the budget allows; repeated, only to the others.
        `is_proved`: its address."""
        for member in others:
            lease = member.lease_towards(caller.address)
            other = party_of(lease)
            to_caller, to_other = introduction(caller, other)
            if not budget.spend(0 if is_repeated else len(to_caller), len(to_other)):
                break
            if not self._allowances.introduction(caller.peer, lease, now, is_proved=is_proved):
                self.dropped["introductions to one peer"] += 1
                continue
            self._send(to_other, other.address, other.socket)
            if not is_repeated:
                self._send(to_caller, caller.address, caller.socket)
                self.counts["introduced"] += 1

    # --- helpers ---

    def _may_wish(self, origin: _Origin) -> bool:
        """Whether who has a lease here may ask for introductions."""
        may = self._allowances.wishes.take(origin.address, origin.now)
        if not may:
            self.dropped["too many from one source"] += 1
        return may

    def _is_signed(self, register: Register) -> bool:
        if (problem := admission.signature_problem(register)) is not None:
            self.dropped[problem] += 1
        return problem is None

    def _answer(self, message: Message, origin: _Origin) -> None:
        """Answer a question, unless the answer is the longer of the two."""
        data = rendezvous_codec.encode(message)
        if len(data) > origin.size_bytes:
            self.dropped["answer over budget"] += 1
            return
        self._send(data, origin.address, origin.socket)

    def _send(self, data: bytes, address: Address, socket: SocketId) -> None:
        self._outgoing.append(Datagram(data, address, None, socket))
