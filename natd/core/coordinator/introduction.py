"""Introducing two peers to each other: what each is told, and how many bytes that may cost.

    caller    you dial; the other's card, addresses, samples
    other     the same of the caller

Rules that a change must not break:

- Each side learns only addresses at which we have seen the other ourselves, or other ports of
  those hosts.
- The side with the shorter way to us waits for the difference, so that both begin at the same
  instant.
- A datagram pays for everything that is sent because of it.
- Each side is told whether the other has proved its address.  A newcomer is introduced before it
  has; those who were told so are told again as soon as its token has come.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from natd.core.base.types import Address, PeerId, SocketId
from natd.core.base.wishes import Ask, Word
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import HAVE_BYTES, Introduce, Register
from natd.core.coordinator.registry import Lease, Member

AMPLIFICATION_LIMIT = 3
"""Bytes out to everyone per byte in: an introduction tells two about each other."""

START_IN_LIMIT_S = 0.5
"""No pair of peers on Earth differs by more; a lie must not hold the other side up."""


@dataclass(frozen=True, slots=True)
class Party:
    """One side of an introduction."""

    peer: PeerId
    card: bytes
    address: Address
    socket: SocketId
    transaction: bytes
    observed: tuple[Address, ...]
    samples: tuple[Address, ...]
    rtt_s: float | None
    is_proved: bool
    """Whether a token came back from every host of `observed`."""
    ask: Ask | None = None
    """What it asks the other side; `word`: what it gives it."""
    word: Word | None = None


class Budget:
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


def party_of(lease: Lease) -> Party:
    member = lease.member
    return Party(
        member.peer,
        member.card,
        lease.address,
        lease.socket,
        lease.transaction,
        member.observed,
        member.samples,
        lease.rtt_s,
        True,
    )


def unproved_party(
    register: Register, known: Member | None, address: Address, socket: SocketId
) -> Party:
    """A peer that has sent no token from this address.  Its proved address of the other family
    counts; and so does this one, if it holds a lease here from before."""
    proved = () if known is None else known.observed
    other_family = tuple(seen for seen in proved if seen.is_ipv6 != address.is_ipv6)
    return Party(
        register.peer,
        register.card,
        address,
        socket,
        register.transaction,
        (address, *other_family),
        useful_samples(register.samples, (address,), proved),
        None,
        address in proved,
    )


def introduction(caller: Party, other: Party) -> tuple[bytes, bytes]:
    """The two introductions: for the caller, and for the other."""
    later_s = 0.0
    if caller.rtt_s is not None and other.rtt_s is not None:
        later_s = (other.rtt_s - caller.rtt_s) / 2
    return (
        _told(caller, other, you_dial=True, start_in_s=later_s),
        _told(other, caller, you_dial=False, start_in_s=-later_s),
    )


def introduction_to_itself(
    register: Register, known: Member, address: Address, socket: SocketId
) -> bytes:
    """For a peer whose REGISTER is older than its card that is known here: only its own key can
    have made that card, so it knows that it was restored, or is not alone, and can count on from
    there."""
    caller = unproved_party(register, None, address, socket)
    return introduction(caller, party_of(known.lease_towards(address)))[0]


def _told(reader: Party, subject: Party, *, you_dial: bool, start_in_s: float) -> bytes:
    start_in_ms = round(1000 * min(START_IN_LIMIT_S, max(0.0, start_in_s)))
    return rendezvous_codec.encode(
        Introduce(
            reader.transaction,
            you_dial,
            subject.is_proved,
            start_in_ms,
            subject.peer,
            subject.observed,
            subject.samples,
            subject.card,
            subject.ask,
            subject.word,
        )
    )


def unmet_first(others: Iterable[Member], have: Iterable[bytes]) -> tuple[list[Member], int]:
    """The members that `have` does not name first, then the others; and how many it does not."""
    known = frozenset(have)
    unmet: list[Member] = []
    met: list[Member] = []
    for member in others:
        (met if member.peer[:HAVE_BYTES] in known else unmet).append(member)
    return unmet + met, len(unmet)


def in_own_order(caller: PeerId, others: list[Member]) -> list[Member]:
    """In an order of the caller's own, which is the same when it asks again.  Where many come at
    once and each asks for a few more, all of them would else meet the same few at the same moment.
    """
    ours = int.from_bytes(caller)
    return sorted(others, key=lambda member: int.from_bytes(member.peer) ^ ours)


def useful_samples(
    samples: tuple[Address, ...],
    observed: tuple[Address, ...],
    moved_from: tuple[Address, ...],
) -> tuple[Address, ...]:
    """The samples that add to what we saw ourselves, and only at hosts where we saw the peer, so
    that nobody else's address is passed on.  Not an
    address that it has left, which it may not know yet."""
    hosts = {address.host for address in observed}
    known = {*observed, *moved_from}
    return tuple(sample for sample in samples if sample.host in hosts and sample not in known)
