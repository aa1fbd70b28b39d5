"""A coordinator whose answers come decoded, and the questions to it."""

from collections.abc import Iterable
from random import Random
from typing import Any

from natd.core.base.types import Address, Datagram, NetworkId
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.rendezvous import (
    REGISTER_LABEL,
    Challenge,
    Message,
    Register,
    Registered,
)
from natd.core.coordinator.coordinator import Coordinator
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from tests.core.world.meeting import CARD, NETWORK
from tests.internet.net import tell_clock, unix_s

T = bytes(range(12))
ALICE, BOB, CAROL = (Identity(name * 32) for name in (b"a", b"b", b"c"))
HOME, AWAY, OTHER = (Address(f"203.0.113.{number}", 4000) for number in (1, 2, 3))


class Server:
    """A coordinator whose answers come decoded."""

    def __init__(self, hosts: tuple[str, ...] = (), *, knows_time: bool = True) -> None:
        self.now = 1000.0
        self._hosts, self._knows_time = hosts, knows_time
        self._moments = 0
        self.start()

    def start(self) -> None:
        """A new one, that remembers nothing."""
        random = Random(f"{id(self)} {self.now}")
        self.coordinator = Coordinator(random.randbytes(16), random, hosts=self._hosts)
        if self._knows_time:
            tell_clock(self.coordinator, self.now)

    def datagram(self, identity: Identity, card: bytes = CARD, **how: Any) -> bytes:
        """A REGISTER of this moment, which is never the same."""
        self._moments += 1
        sent_at_unix_ms = int(unix_s(self.now) * 1000) + self._moments
        return register_datagram(identity, card, **{"sent_at_unix_ms": sent_at_unix_ms, **how})

    def tell(self, data: bytes, address: Address, port_index: int = 0) -> list[Datagram]:
        self.coordinator.receive_datagram(data, address, self.now, port_index)
        return self.coordinator.datagrams_to_send()

    def ask(self, data: bytes, address: Address, port_index: int = 0) -> list[tuple[Address, Any]]:
        return [
            (d.address, rendezvous_codec.decode(d.data))
            for d in self.tell(data, address, port_index)
        ]

    def sizes(self, data: bytes, address: Address) -> dict[Address, int]:
        sizes = {address: 0}
        self.now += 1.0
        for datagram in self.tell(data, address):
            sizes[datagram.address] = sizes.get(datagram.address, 0) + len(datagram.data)
        return sizes

    def flood(self, sources: Iterable[Address], questions: list[bytes]) -> None:
        for source in sources:
            for question in questions:
                self.coordinator.receive_datagram(question, source, self.now)
            self.coordinator.datagrams_to_send()

    def challenge(self, identity: Identity, address: Address, **how: Any) -> Challenge:
        message = self.ask(self.datagram(identity, **how), address)[-1][1]
        assert isinstance(message, Challenge)
        return message

    def register(
        self,
        identity: Identity,
        address: Address,
        card: bytes = CARD,
        *,
        port_index: int = 0,
        **how: Any,
    ) -> Registered:
        first = self.ask(self.datagram(identity, card, **how), address, port_index)
        token = first[-1][1].token
        data = self.datagram(identity, card, token=token, **how)
        registered = self.ask(data, address, port_index)[-1][1]
        assert isinstance(registered, Registered)
        return registered

    def is_registered_by(self, token: bytes, address: Address) -> bool:
        answers = self.ask(self.datagram(ALICE, token=token), address)
        return isinstance(answers[-1][1], Registered)


def register_datagram(
    identity: Identity,
    card: bytes = CARD,
    *,
    network: NetworkId = NETWORK,
    token: bytes = b"",
    sequence: int = 1,
    transaction: bytes = T,
    have: tuple[bytes, ...] = (),
    samples: tuple[Address, ...] = (),
    signer: Identity | None = None,
    as_member: MembershipKey | None = None,
    sent_at_unix_ms: int = 0,
    size: int = 1200,
) -> bytes:
    member = MembershipKey(network)
    register = Register(
        transaction,
        NetworkId(member.public),
        identity.peer,
        sequence,
        card,
        token,
        have=have,
        samples=samples,
        sent_at_unix_ms=sent_at_unix_ms,
    )
    by = signer or identity
    data = rendezvous_codec.encode_register(
        register, lambda part: by.sign(REGISTER_LABEL, part), (as_member or member).sign
    )
    return data.rstrip(b"\0").ljust(size, b"\0")


def stun_request() -> bytes:
    return stun.encode_binding_request(T, extra=[(stun.SOFTWARE, b"a usual client")])


def spoofed(first: int, last: int) -> list[Address]:
    return [
        Address(f"198.{18 + n // 62_500}.{n // 250 % 250}.{n % 250}", 1 + n % 60_000)
        for n in range(first, last)
    ]


def wire_sizes(answers: list[tuple[Address, Message]]) -> list[int]:
    return [len(rendezvous_codec.encode(message)) for _, message in answers]
