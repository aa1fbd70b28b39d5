"""The coordination server's core: budgets, state only for the proved, and what it refuses."""

import gc
import sys
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from natd.core.base.types import Address, Datagram, NetworkId
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.rendezvous import (
    CARD_LIMIT_BYTES,
    REGISTER_LABEL,
    Bye,
    Challenge,
    ChallengeReason,
    Connect,
    Elsewhere,
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
from natd.core.coordinator.coordinator import SOURCE_BURST, SOURCE_RATE, Coordinator
from natd.core.coordinator.registry import LEASE_S
from natd.core.keys.card import Identity
from natd.core.registration.events import Introduced
from tests.core.world.meeting import CARD, NETWORK, Meeting
from tests.internet.net import AnyCore

T = bytes(range(12))
ALICE, BOB, CAROL = (Identity(name * 32) for name in (b"a", b"b", b"c"))
HOME, AWAY, OTHER = (Address(f"203.0.113.{number}", 4000) for number in (1, 2, 3))


def test_an_unproved_newcomer_and_its_resident_are_introduced_in_one_drain() -> None:
    server = Server()
    server.register(ALICE, HOME)
    answers = server.ask(register_datagram(BOB), AWAY)

    assert [type(message) for _, message in answers] == [Introduce, Introduce, Challenge]
    assert [address for address, _ in answers] == [HOME, AWAY, AWAY]
    assert answers[1][1].you_dial
    assert not answers[0][1].you_dial


def test_an_introduction_repeats_the_transaction_of_the_residents_latest_register() -> None:
    server = Server()
    server.register(ALICE, HOME, transaction=b"first regist")
    server.register(ALICE, HOME, transaction=b"then another")
    (address, introduce), *_ = server.ask(register_datagram(BOB), AWAY)
    assert (address, introduce.transaction) == (HOME, b"then another")


def test_towards_an_unproved_address_no_more_goes_out_than_came_in() -> None:
    """Every question, with the largest cards and both families, and a full network."""
    for card_bytes in (1, 250, 600, CARD_LIMIT_BYTES):
        server = Server()
        for number in range(12):
            identity = Identity(bytes([number + 10]) * 32)
            server.register(identity, Address(f"203.0.113.{number + 10}", 1), bytes(card_bytes))
            server.register(identity, Address(f"2001:db8:{number}::1", 1), bytes(card_bytes))
        for address in (AWAY, Address("2001:db8:ffff::2", 5)):
            for size in (1000, 1001, 1100, 1200, 1232):
                data = register_datagram(BOB, bytes(card_bytes), size=size)
                out = server.sizes(data, address)
                assert out[address] <= len(data), f"card {card_bytes}, datagram {len(data)}"
                assert sum(out.values()) <= 3 * len(data)
            for message in (Refresh(T, b"l" * 8), Refresh(T, b"l" * 8, True), Sample(T)):
                data = rendezvous_codec.encode(message)
                assert sum(server.sizes(data, address).values()) <= len(data)
            connect = rendezvous_codec.encode(Connect(T, b"l" * 8, ALICE.peer))
            assert sum(server.sizes(connect, address).values()) <= len(connect)


def test_because_of_a_proved_question_no_more_than_three_times_goes_out_than_came_in() -> None:
    for card_bytes in (1, 250, 600, CARD_LIMIT_BYTES):
        server = Server()
        for number in range(40):
            identity = Identity(bytes([number + 10]) * 32)
            server.register(identity, Address(f"203.0.113.{number + 10}", 1), bytes(card_bytes))
        card = bytes(card_bytes)
        token = server.challenge(BOB, AWAY, card=card).token
        register = register_datagram(BOB, card, token=token)
        assert 1 < sum(server.sizes(register, AWAY).values()) / len(register) <= 3.0
        lease_id = server.register(BOB, AWAY, card).lease_id
        for message in (
            Refresh(T, lease_id),
            Refresh(T, lease_id, True),
            Connect(T, lease_id, identity.peer),
        ):
            data = rendezvous_codec.encode(message)
            out = sum(server.sizes(data, AWAY).values())
            assert 0 < out <= 3 * len(data), f"card {card_bytes}, {message}"


def test_over_a_whole_evening_no_more_than_three_times_goes_out_than_came_in() -> None:
    meeting = Meeting()
    for number in range(30):
        guest = meeting.invite(f"guest {number}")
        meeting.start(guest)
        meeting.run(0.7)
    meeting.run(60.0)
    for guest in meeting.guests[:10]:
        for other in meeting.guests[10:20]:
            guest.registration.connect(other.identity.peer, (), meeting.now)
    meeting.run(60.0)

    into = sum(len(s.data) for s in meeting.sent if s.destination.host == "198.51.100.1")
    out = sum(len(s.data) for s in meeting.sent if s.source.host == "198.51.100.1")
    assert all(len(guest.met()) == 29 for guest in meeting.guests)
    assert out / into <= 3.0


def test_ten_thousand_spoofed_sources_leave_the_memory_unchanged() -> None:
    server = Server()
    server.register(ALICE, HOME)
    data = register_datagram(BOB)
    small = [
        rendezvous_codec.encode(Refresh(T, b"l" * 8)),
        rendezvous_codec.encode(Sample(T)),
        stun_request(),
    ]
    server.flood(spoofed(0, 1000), [data, *small])

    sources = spoofed(1000, 11_000)
    gc.collect()
    before = sys.getallocatedblocks()
    server.flood(sources, [data, *small])
    gc.collect()
    assert sys.getallocatedblocks() - before < 500, "a twentieth of a block for each"
    assert server.coordinator.lease_count == 1
    assert server.coordinator.network_count == 1


def test_a_token_is_good_for_its_address_for_two_minutes_and_nowhere_else() -> None:
    server = Server()
    token = server.challenge(ALICE, HOME).token
    assert not server.is_registered_by(token, AWAY)
    assert not server.is_registered_by(token, Address(HOME.host, HOME.port + 1))
    assert not server.is_registered_by(token[:-1], HOME)
    assert not server.is_registered_by(token[:-1] + bytes((token[-1] ^ 1,)), HOME)
    assert not Server().is_registered_by(token, HOME), "of another start of the server"
    assert server.is_registered_by(token, HOME)
    server.now += 121.0
    assert not server.is_registered_by(token, HOME)


def test_nobody_registers_for_someone_else() -> None:
    server = Server()
    lease = server.register(ALICE, HOME)
    token = server.challenge(BOB, AWAY).token
    forged = register_datagram(ALICE, token=token, signer=BOB)
    assert server.ask(forged, AWAY) == []

    tampered = bytearray(register_datagram(ALICE, token=token))
    tampered[100] ^= 1
    assert server.ask(bytes(tampered), AWAY) == []
    assert server.ask(rendezvous_codec.encode(Bye(T, lease.lease_id)), AWAY) == []
    assert server.coordinator.lease_count == 1
    assert server.coordinator.dropped["wrong signature"] == 2
    assert server.coordinator.dropped["strange lease"] == 1


def test_an_older_card_is_neither_introduced_nor_registered() -> None:
    server = Server()
    server.register(ALICE, HOME, sequence=9)
    server.register(BOB, AWAY)
    answers = server.ask(register_datagram(ALICE, sequence=8), OTHER)
    assert [type(message) for _, message in answers] == [Challenge]
    token = answers[0][1].token
    ((_, error),) = server.ask(register_datagram(ALICE, sequence=8, token=token), OTHER)
    assert isinstance(error, Error)
    assert error.code == ErrorCode.STALE


def test_unknown_and_empty_networks_are_answered_alike() -> None:
    server = Server()
    server.register(ALICE, HOME)
    server.ask(rendezvous_codec.encode(Bye(T, server.register(ALICE, HOME).lease_id)), HOME)
    emptied = server.ask(register_datagram(BOB), AWAY)
    unknown = server.ask(register_datagram(BOB, network=NetworkId(b"?" * 16)), AWAY)
    assert emptied == unknown
    tokens = (message.token for _, message in (*emptied, *unknown))
    first, second = (
        server.ask(register_datagram(BOB, network=network, token=token), AWAY)
        for network, token in zip((NETWORK, NetworkId(b"?" * 16)), tokens, strict=True)
    )
    assert [wire_sizes(answers) for answers in (first, second)] == [wire_sizes(first)] * 2


def test_a_lease_expires_and_what_it_leaves_is_nothing() -> None:
    server = Server()
    server.register(ALICE, HOME)
    assert server.coordinator.get_timer() == server.now + LEASE_S
    server.now += LEASE_S
    server.coordinator.handle_timer(server.now)
    server.coordinator.handle_timer(server.now)
    assert (server.coordinator.lease_count, server.coordinator.network_count) == (0, 0)
    assert server.coordinator.get_timer() is None
    assert server.coordinator.counts["expired"] == 1


def test_a_refresh_from_another_address_is_challenged_as_moved_and_a_strange_one_as_unknown() -> (
    None
):
    server = Server()
    lease_id = server.register(ALICE, HOME).lease_id
    refresh = rendezvous_codec.encode(Refresh(T, lease_id))
    assert server.ask(refresh, HOME) == [(HOME, Refreshed(T, HOME, 0, 0))]
    ((_, moved),) = server.ask(refresh, AWAY)
    ((_, unknown),) = server.ask(rendezvous_codec.encode(Refresh(T, b"?" * 8)), HOME)
    assert isinstance(moved, Challenge)
    assert isinstance(unknown, Challenge)
    assert (moved.reason, unknown.reason) == (ChallengeReason.MOVED, ChallengeReason.UNKNOWN)


def test_a_goodbye_ends_the_lease_at_once() -> None:
    server = Server()
    lease_id = server.register(ALICE, HOME).lease_id
    assert server.ask(rendezvous_codec.encode(Bye(T, lease_id)), HOME) == []
    assert server.coordinator.lease_count == 0
    assert [type(m) for _, m in server.ask(register_datagram(BOB), AWAY)] == [Challenge]


def test_every_port_tells_where_a_sample_and_a_binding_request_came_from() -> None:
    server = Server()
    for port_index in range(4):
        ((_, sampled),) = server.ask(rendezvous_codec.encode(Sample(T)), HOME, port_index)
        assert sampled == Sampled(T, HOME)
        (answer,) = server.tell(stun_request(), Address("2001:db8::7", 77), port_index)
        assert answer.socket == port_index
        decoded = stun.decode(answer.data)
        assert decoded.transaction == T
        assert decoded.mapped_address() == Address("2001:db8::7", 77)


def test_a_sample_is_answered_from_wherever_else_it_wants_and_each_answer_says_so() -> None:
    wanted = Elsewhere.PORT | Elsewhere.HOST
    for hosts, told, sockets in (
        ((), Elsewhere.PORT, [1, 0]),
        (("203.0.113.50",), Elsewhere.PORT, [1, 0]),
        (("203.0.113.50", "203.0.113.51"), wanted, [1, 0, 4]),
    ):
        answers = Server(hosts).tell(rendezvous_codec.encode(Sample(T, wanted)), HOME, port_index=1)
        assert [answer.socket for answer in answers] == sockets
        assert {answer.address for answer in answers} == {HOME}
        assert {rendezvous_codec.decode(answer.data) for answer in answers} == {
            Sampled(T, HOME, told)
        }


def test_a_sample_is_answered_to_another_port_of_the_asker_but_of_no_service() -> None:
    server = Server()
    asked = server.tell(rendezvous_codec.encode(Sample(T, Elsewhere.ASKER_PORT, 50000)), HOME)
    assert [(answer.address, answer.socket) for answer in asked] == [
        (HOME, 0),
        (HOME._replace(port=50000), 0),
    ]
    (answer,) = server.ask(rendezvous_codec.encode(Sample(T, Elsewhere.ASKER_PORT, 53)), HOME)
    assert answer == (HOME, Sampled(T, HOME))


@pytest.mark.parametrize("address", [HOME, Address("2001:db8:ffff::2", 5000)])
@pytest.mark.parametrize("elsewhere", range(8))
def test_all_answers_to_a_sample_together_are_not_longer_than_it(
    elsewhere: int, address: Address
) -> None:
    hosts = ("203.0.113.50", "203.0.113.51", "2001:db8::50", "2001:db8::51")
    server = Server(hosts)
    asker_port = 40000 if elsewhere & Elsewhere.ASKER_PORT else 0
    data = rendezvous_codec.encode(Sample(T, Elsewhere(elsewhere), asker_port))
    for size in range(rendezvous_codec.RENDEZVOUS_HEADER_BYTES + 3, len(data) + 1):
        for port_index in range(4 * len(hosts)):
            server.now += 1.0
            answers = server.tell(data[:size], address, port_index)
            assert sum(len(answer.data) for answer in answers) <= size
    assert len(answers) == 1 + elsewhere.bit_count(), "the whole question pays for all"


def test_a_sampling_port_registers_nobody() -> None:
    server = Server()
    assert server.ask(register_datagram(ALICE), HOME, 2) == []
    assert server.coordinator.dropped["not for a sampling port"] == 1


def test_several_bound_addresses_answer_each_from_the_socket_that_was_asked() -> None:
    server = Server()
    server.register(ALICE, HOME, port_index=4)
    resident, newcomer, challenge = server.tell(register_datagram(BOB), AWAY, 0)
    assert [d.socket for d in (resident, newcomer, challenge)] == [4, 0, 0]


def test_a_change_request_is_answered_from_the_other_address_and_refused_where_there_is_none() -> (
    None
):
    change = stun.encode_binding_request(T, extra=[(stun.CHANGE_REQUEST, b"\0\0\0\6")])
    (refused,) = Server().tell(change, HOME, 1)
    assert refused.socket == 1
    assert stun.decode(refused.data).get(stun.UNKNOWN_ATTRIBUTES) == b"\0\3"
    (answer,) = Server(hosts=("192.0.2.1", "192.0.2.2")).tell(change, HOME, 1)
    assert answer.socket == 4
    assert stun.decode(answer.data).mapped_address() == HOME


def test_an_indication_gets_no_answer() -> None:
    indication = bytes((0, 0x11)) + stun_request()[2:]
    assert Server().tell(indication, HOME) == []


def test_a_foreign_version_gets_an_error_and_a_foreign_error_gets_none() -> None:
    server = Server()
    ((_, error),) = server.ask(bytes((5, 2, 1)) + T + bytes(60), HOME)
    assert isinstance(error, Error)
    assert (error.transaction, error.code) == (T, ErrorCode.VERSION)
    assert "version 1" in error.text
    assert server.tell(bytes((5, 2, 11)) + T + bytes(60), HOME) == []
    assert server.tell(bytes((5, 2, 1)) + T, HOME) == [], "too short to pay for an answer"


def test_junk_of_every_first_byte_is_dropped_without_an_answer() -> None:
    server = Server()
    server.register(ALICE, HOME)
    random = Random(1)
    for first in range(256):
        for size in (0, 1, 14, 40, 700, 1999):
            junk = bytes((first,)) + random.randbytes(size)
            if junk[:2] != b"\x05\x01":
                assert sum(len(d.data) for d in server.tell(junk, OTHER)) <= len(junk)
    assert server.tell(b"", OTHER) == []


def test_mutated_questions_never_raise_and_are_never_answered_by_more_than_they_were() -> None:
    server = Server()
    lease_id = server.register(ALICE, HOME).lease_id
    server.register(BOB, AWAY)
    random = Random(2)
    questions = [
        register_datagram(CAROL),
        rendezvous_codec.encode(Refresh(T, lease_id, True)),
        rendezvous_codec.encode(Refresh(T, lease_id)),
        rendezvous_codec.encode(Connect(T, lease_id, BOB.peer)),
        rendezvous_codec.encode(Sample(T)),
        rendezvous_codec.encode(Bye(T, b"?" * 8)),
        stun.encode_binding_request(T, username=b"some:one", key=b"k" * 32),
    ]
    for number in range(20_000):
        data = bytearray(random.choice(questions))
        for _ in range(random.randint(1, 3)):
            data[random.randrange(min(len(data), 160))] = random.randrange(256)
        cut = bytes(data[: random.randrange(len(data))] if random.random() < 0.2 else data)
        server.now += 0.01
        for datagram in server.tell(cut, Address(f"198.18.{number % 200}.1", 9)):
            assert len(datagram.data) <= len(cut)


def test_one_source_gets_a_burst_and_then_its_rate() -> None:
    server = Server()
    sample = rendezvous_codec.encode(Sample(T))
    answered = sum(len(server.tell(sample, HOME)) for _ in range(2 * int(SOURCE_BURST)))
    assert answered == SOURCE_BURST
    server.now += 1.0
    assert sum(len(server.tell(sample, HOME)) for _ in range(1000)) == SOURCE_RATE
    assert len(server.tell(sample, AWAY)) == 1, "others are not concerned"
    assert server.coordinator.dropped["too many from one source"] > 0


def test_a_live_lease_is_refreshed_however_busy_its_source_is() -> None:
    server = Server()
    lease_id = server.register(ALICE, HOME).lease_id
    for _ in range(2 * int(SOURCE_BURST)):
        server.tell(rendezvous_codec.encode(Sample(T)), HOME)
    assert len(server.tell(rendezvous_codec.encode(Refresh(T, lease_id)), HOME)) == 1


def test_an_answer_longer_than_its_question_is_given_to_one_source_a_few_times_only() -> None:
    bare = stun_request()[:2] + b"\0\0" + stun_request()[4:20]
    for server in (Server(), Server(hosts=("192.0.2.1", "192.0.2.2"))):
        answers = [d for _ in range(1000) for d in server.tell(bare, HOME)]
        assert 1 <= len(answers) <= 64
        assert all(len(answer.data) <= 3 * 20 for answer in answers)


def test_a_flood_of_unproved_registers_puts_introductions_off_and_not_registrations() -> None:
    server = Server()
    server.register(ALICE, HOME)
    data = register_datagram(BOB)
    for address in spoofed(0, 4500):
        server.tell(data, address)
    assert server.coordinator.dropped["introductions put off until proved"] > 0
    answers = server.ask(register_datagram(CAROL), AWAY)
    assert [type(message) for _, message in answers] == [Challenge]
    lease = server.register(CAROL, AWAY)
    assert lease.missing == 1


def test_a_resident_is_not_flooded_by_newcomers_that_prove_nothing() -> None:
    server = Server()
    server.register(ALICE, HOME)
    data = register_datagram(BOB)
    told = [
        datagram
        for address in spoofed(0, 1000)
        for datagram in server.tell(data, address)
        if datagram.address == HOME
    ]
    assert len(told) <= 64


def test_a_lease_tells_how_many_members_the_question_did_not_name() -> None:
    server = Server()
    for number in range(9):
        server.register(Identity(bytes([number + 1]) * 32), Address(f"192.0.2.{number}", 1))
    known = tuple(Identity(bytes([number + 1]) * 32).peer[:4] for number in range(4))
    token = server.challenge(ALICE, HOME).token
    answers = server.ask(register_datagram(ALICE, token=token, have=known), HOME)
    registered = answers[-1][1]
    assert isinstance(registered, Registered)
    assert (registered.members, registered.missing) == (9, 5)
    introduced = [m.peer[:4] for a, m in answers[:-1] if a == HOME]
    assert not set(introduced[:5]) & set(known), "those that it does not know come first"


def test_samples_at_hosts_where_we_did_not_see_the_peer_are_told_to_nobody() -> None:
    server = Server()
    alice = server.register(ALICE, HOME)
    server.register(BOB, AWAY)
    victim, own = Address("192.0.2.66", 53), Address(HOME.host, 4711)
    answers = server.ask(
        rendezvous_codec.encode(Connect(T, alice.lease_id, BOB.peer, (victim, own, HOME))), HOME
    )
    to_bob = next(message for address, message in answers if address == AWAY)
    assert to_bob.samples == (own,)


def test_connect_to_oneself_or_to_another_network_is_absent() -> None:
    server = Server()
    alice = server.register(ALICE, HOME)
    server.register(BOB, AWAY, network=NetworkId(b"o" * 16))
    for peer in (ALICE.peer, BOB.peer):
        ((_, error),) = server.ask(rendezvous_codec.encode(Connect(T, alice.lease_id, peer)), HOME)
        assert isinstance(error, Error)
        assert error.code == ErrorCode.ABSENT


def test_a_late_drain_loses_nothing_and_a_second_drain_gives_nothing() -> None:
    server = Server()
    server.coordinator.receive_datagram(rendezvous_codec.encode(Sample(T)), HOME, server.now)
    server.coordinator.receive_datagram(rendezvous_codec.encode(Sample(T)), AWAY, server.now)
    assert len(server.coordinator.datagrams_to_send()) == 2
    assert server.coordinator.datagrams_to_send() == []
    core: AnyCore = server.coordinator
    assert core.next_event() is None


def test_an_hour_of_ten_peers_introduces_each_pair_once_and_ends_as_it_began() -> None:
    meeting = Meeting()
    for number in range(10):
        guest = meeting.invite(f"guest {number}")
        meeting.start(guest)
    meeting.run(3600.0)
    for guest in meeting.guests:
        assert guest.registration.state == "registered"
        assert len(guest.of(Introduced)) == 9
    for guest in meeting.guests:
        guest.registration.stop(meeting.now)
    meeting.run(1.0)
    assert meeting.coordinator.lease_count == 0


def test_bad_token_kinds_do_not_pass_for_good() -> None:
    server = Server()
    for length in range(33):
        assert not server.is_registered_by(bytes(length), HOME)


@pytest.mark.parametrize("size", [200, 999])
def test_a_register_that_is_not_padded_gets_no_answer(size: int) -> None:
    server = Server()
    data = register_datagram(ALICE, b"c", size=size)
    assert len(data) == size
    assert server.tell(data, HOME) == []
    assert server.coordinator.dropped["not padded"] == 1


class Server:
    """A coordinator whose answers come decoded."""

    def __init__(self, hosts: tuple[str, ...] = ()) -> None:
        self.now = 1000.0
        random = Random(id(self))
        self.coordinator = Coordinator(random.randbytes(16), random, hosts=hosts)

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
        message = self.ask(register_datagram(identity, **how), address)[-1][1]
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
        first = self.ask(register_datagram(identity, card, **how), address, port_index)
        token = first[-1][1].token
        data = register_datagram(identity, card, token=token, **how)
        registered = self.ask(data, address, port_index)[-1][1]
        assert isinstance(registered, Registered)
        return registered

    def is_registered_by(self, token: bytes, address: Address) -> bool:
        answers = self.ask(register_datagram(ALICE, token=token), address)
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
    signer: Identity | None = None,
    size: int = 1200,
) -> bytes:
    register = Register(transaction, network, identity.peer, sequence, card, token=token, have=have)
    by = signer or identity
    data = rendezvous_codec.encode_register(register, lambda part: by.sign(REGISTER_LABEL, part))
    return data.rstrip(b"\0").ljust(size, b"\0")


def stun_request() -> bytes:
    return stun.encode_binding_request(T, extra=[(stun.SOFTWARE, b"a usual client")])


def spoofed(first: int, last: int) -> list[Address]:
    return [Address(f"198.18.{n // 250}.{n % 250}", 1 + n) for n in range(first, last)]


def wire_sizes(answers: list[tuple[Address, Message]]) -> list[int]:
    return [len(rendezvous_codec.encode(message)) for _, message in answers]
