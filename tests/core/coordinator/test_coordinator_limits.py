"""What the coordination server spends on whom: budgets, floods, and no more out than came in."""

import gc
import sys
from random import Random

import pytest

from natd.core.base.types import Address
from natd.core.base.wishes import IntroductionWanted
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.rendezvous import (
    CARD_LIMIT_BYTES,
    Bye,
    Challenge,
    Connect,
    Elsewhere,
    Refresh,
    Sample,
)
from natd.core.keys.card import Identity
from tests.core.coordinator.server import (
    ALICE,
    AWAY,
    BOB,
    CAROL,
    HOME,
    OTHER,
    Server,
    T,
    spoofed,
    stun_request,
)
from tests.core.world.meeting import Meeting


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
                data = server.datagram(BOB, bytes(card_bytes), size=size)
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
        register = server.datagram(BOB, card, token=token)
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
            guest.registration.connect(other.identity.peer, IntroductionWanted(()), meeting.now)
    meeting.run(60.0)

    into = sum(len(s.data) for s in meeting.sent if s.destination.host == "198.51.100.1")
    out = sum(len(s.data) for s in meeting.sent if s.source.host == "198.51.100.1")
    assert all(len(guest.met()) == 29 for guest in meeting.guests)
    assert out / into <= 3.0


def test_ten_thousand_spoofed_sources_leave_the_memory_unchanged() -> None:
    server = Server()
    server.register(ALICE, HOME)
    data = server.datagram(BOB)
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
        server.datagram(CAROL),
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
    assert sum(len(server.tell(sample, HOME)) for _ in range(8_192)) == 4_096
    server.now += 1.0
    assert sum(len(server.tell(sample, HOME)) for _ in range(4_096)) == 2_048
    assert len(server.tell(sample, AWAY)) == 1, "others are not concerned"
    assert server.coordinator.dropped["too many from one source"] > 0


def test_a_live_lease_is_refreshed_however_busy_its_source_is() -> None:
    server = Server()
    lease_id = server.register(ALICE, HOME).lease_id
    for _ in range(8_192):
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
    for address in spoofed(0, 4500):
        server.tell(server.datagram(BOB), address)
    assert server.coordinator.dropped["introductions put off: too many newcomers"] > 0
    answers = server.ask(server.datagram(CAROL), AWAY)
    assert [type(message) for _, message in answers] == [Challenge]
    lease = server.register(CAROL, AWAY)
    assert lease.missing == 1


def test_a_resident_is_not_flooded_by_newcomers_that_prove_nothing() -> None:
    server = Server()
    server.register(ALICE, HOME)
    told = [
        datagram
        for address in spoofed(0, 1000)
        for datagram in server.tell(server.datagram(BOB), address)
        if datagram.address == HOME
    ]
    assert len(told) == 64


def test_bad_token_kinds_do_not_pass_for_good() -> None:
    server = Server()
    for length in range(18):
        assert not server.is_registered_by(bytes(length), HOME)


@pytest.mark.parametrize("size", [240, 999])
def test_a_register_that_is_not_padded_gets_no_answer(size: int) -> None:
    server = Server()
    data = server.datagram(ALICE, b"c", size=size)
    assert len(data) == size
    assert server.tell(data, HOME) == []
    assert server.coordinator.dropped["not padded"] == 1
