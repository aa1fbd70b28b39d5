"""The coordination server's core: registrations, introductions, and what it refuses."""

from collections import Counter

from natd.core.base.types import Address, NetworkId
from natd.core.codec import rendezvous_codec, stun
from natd.core.codec.rendezvous import (
    Bye,
    Challenge,
    ChallengeReason,
    Connect,
    Elsewhere,
    Error,
    ErrorCode,
    Introduce,
    Refresh,
    Refreshed,
    Registered,
    Sample,
    Sampled,
)
from natd.core.coordinator.registry import LEASE_S
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.registration.events import Introduced
from tests.core.coordinator.server import (
    ALICE,
    AWAY,
    BOB,
    HOME,
    OTHER,
    Server,
    T,
    stun_request,
    wire_sizes,
)
from tests.core.world.meeting import NETWORK, Meeting
from tests.internet.net import AnyCore


def test_an_unproved_newcomer_and_its_resident_are_introduced_in_one_drain() -> None:
    server = Server()
    server.register(ALICE, HOME)
    answers = server.ask(server.datagram(BOB), AWAY)

    assert [type(message) for _, message in answers] == [Introduce, Introduce, Challenge]
    assert [address for address, _ in answers] == [HOME, AWAY, AWAY]
    assert answers[1][1].you_dial
    assert not answers[0][1].you_dial


def test_an_introduction_repeats_the_transaction_of_the_residents_latest_register() -> None:
    server = Server()
    server.register(ALICE, HOME, transaction=b"first regist")
    server.register(ALICE, HOME, transaction=b"then another")
    (address, introduce), *_ = server.ask(server.datagram(BOB), AWAY)
    assert (address, introduce.transaction) == (HOME, b"then another")


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
    forged = server.datagram(ALICE, token=token, signer=BOB)
    assert server.ask(forged, AWAY) == []

    tampered = bytearray(server.datagram(ALICE, token=token))
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
    answers = server.ask(server.datagram(ALICE, sequence=8), OTHER)
    assert [type(message) for _, message in answers] == [Challenge]
    token = answers[0][1].token
    told, error = (
        message for _, message in server.ask(server.datagram(ALICE, sequence=8, token=token), OTHER)
    )
    assert isinstance(told, Introduce)
    assert (told.peer, told.observed) == (ALICE.peer, (HOME,)), "its own newer card is shown to it"
    assert isinstance(error, Error)
    assert error.code == ErrorCode.STALE


def test_unknown_and_empty_networks_are_answered_alike() -> None:
    server = Server()
    server.register(ALICE, HOME)
    server.ask(rendezvous_codec.encode(Bye(T, server.register(ALICE, HOME).lease_id)), HOME)
    emptied = server.ask(server.datagram(BOB), AWAY)
    unknown = server.ask(server.datagram(BOB, network=NetworkId(b"?" * 16)), AWAY)
    assert emptied == unknown
    tokens = (message.token for _, message in (*emptied, *unknown))
    first, second = (
        server.ask(server.datagram(BOB, network=network, token=token), AWAY)
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
    assert [type(m) for _, m in server.ask(server.datagram(BOB), AWAY)] == [Challenge]


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


def test_a_sampling_port_registers_nobody() -> None:
    server = Server()
    assert server.ask(server.datagram(ALICE), HOME, 2) == []
    assert server.coordinator.dropped["not for a sampling port"] == 1


def test_several_bound_addresses_answer_each_from_the_socket_that_was_asked() -> None:
    server = Server()
    server.register(ALICE, HOME, port_index=4)
    resident, newcomer, challenge = server.tell(server.datagram(BOB), AWAY, 0)
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


def test_who_does_not_know_the_network_can_neither_register_there_nor_list_it() -> None:
    """It has seen a registration on the wire, so it knows what the server calls the network."""
    server = Server()
    server.register(BOB, AWAY)
    stranger = MembershipKey(b"of another network")
    first = server.datagram(ALICE, as_member=stranger)
    assert server.tell(first, HOME) == []
    token = server.challenge(ALICE, HOME).token
    assert server.tell(server.datagram(ALICE, token=token, as_member=stranger), HOME) == []
    assert server.coordinator.dropped["not a member"] == 2
    assert server.coordinator.lease_count == 1


def test_a_foreign_version_gets_an_error_and_a_foreign_error_gets_none() -> None:
    server = Server()
    ((_, error),) = server.ask(bytes((5, 1, 1)) + T + bytes(60), HOME)
    assert isinstance(error, Error)
    assert (error.transaction, error.code) == (T, ErrorCode.VERSION)
    assert "version 2" in error.text
    assert server.tell(bytes((5, 1, 11)) + T + bytes(60), HOME) == []
    assert server.tell(bytes((5, 1, 1)) + T, HOME) == [], "too short to pay for an answer"


def test_a_lease_tells_how_many_members_the_question_did_not_name() -> None:
    server = Server()
    for number in range(9):
        server.register(Identity(bytes([number + 1]) * 32), Address(f"192.0.2.{number}", 1))
    known = tuple(Identity(bytes([number + 1]) * 32).peer[:4] for number in range(4))
    token = server.challenge(ALICE, HOME).token
    answers = server.ask(server.datagram(ALICE, token=token, have=known), HOME)
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


def test_a_peer_whose_router_has_moved_it_is_not_told_to_be_where_it_was() -> None:
    """It does not know yet itself; the port of before came first, and alone was checked."""
    server = Server()
    server.register(BOB, AWAY)
    server.register(ALICE, HOME)
    moved, sampled = Address(HOME.host, 4712), Address(HOME.host, 4713)
    first = server.ask(server.datagram(ALICE, samples=(HOME,)), moved)
    token = next(message.token for _, message in first if isinstance(message, Challenge))
    then = server.ask(server.datagram(ALICE, samples=(HOME, sampled), token=token), moved)
    lease_id = next(message.lease_id for _, message in then if isinstance(message, Registered))
    connect = Connect(T, lease_id, BOB.peer, (HOME, sampled))
    last = server.ask(rendezvous_codec.encode(connect), moved)
    told = [m for answers in (first, then, last) for at, m in answers if at == AWAY]
    assert [(m.observed, m.samples) for m in told[-2:]] == [((moved,), (sampled,))] * 2
    assert all(HOME not in (*m.observed, *m.samples) for m in told)


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
        guest.registration.stop()
    meeting.run(1.0)
    assert meeting.coordinator.lease_count == 0


def test_who_registers_again_is_told_of_nobody_until_it_asks() -> None:
    """Many that come at once repeat their REGISTER: each would begin further meetings."""
    server = Server()
    for number in range(6):
        server.register(_somebody(number), Address(f"198.51.100.{number + 1}", 40000))
    first = server.ask(server.datagram(BOB, token=server.challenge(BOB, AWAY).token), AWAY)
    again = server.ask(server.datagram(BOB, token=server.challenge(BOB, AWAY).token), AWAY)
    assert Introduce in {type(message) for _, message in first}
    assert [type(message) for _, message in again] == [Registered]
    assert again[0][1].missing == 6
    lease_id = again[0][1].lease_id
    asked = server.ask(rendezvous_codec.encode(Refresh(T, lease_id, True)), AWAY)
    assert Introduce in {type(message) for _, message in asked}


def test_members_that_ask_at_the_same_moment_meet_different_others() -> None:
    server = Server()
    places = {_somebody(n).peer: Address(f"198.51.100.{n + 1}", 40000) for n in range(24)}
    leases = {
        peer: server.register(_somebody(n), place).lease_id
        for n, (peer, place) in enumerate(places.items())
    }
    met: Counter[bytes] = Counter()
    for peer, place in places.items():
        question = rendezvous_codec.encode(Refresh(T, leases[peer], True))
        told = [m for to, m in server.ask(question, place) if to == place]
        first = [message.peer for message in told if isinstance(message, Introduce)]
        again = [m for to, m in server.ask(question, place) if to == place]
        assert first == [message.peer for message in again if isinstance(message, Introduce)]
        met.update(first)
    assert met.total() >= 24
    assert max(met.values()) < len(places) / 2


def _somebody(number: int) -> Identity:
    return Identity(bytes([number + 50]) * 32)
