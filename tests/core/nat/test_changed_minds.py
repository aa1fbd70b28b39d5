"""What the model does when answers contradict it, and when peers have a say."""

from dataclasses import replace
from random import Random

import pytest

from natd.core.base.types import (
    MAIN_SOCKET,
    SURE,
    Address,
    Allocation,
    Mapping,
    NatReport,
    SocketId,
)
from natd.core.nat.model import DOUBT_SPACING_S, MOST_OBSERVATIONS, MOVED_WITHIN_S, NatModel
from tests.core.nat.test_stun_client import VirtualStunServer
from tests.core.world.village import Member, Village
from tests.internet.nat import (
    ADDRESS_DEPENDENT,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    NatPolicy,
    Ports,
)

START = 1000.0
SERVER, SECOND, PEER = "203.0.113.1", "203.0.113.2", Address("192.0.2.7", 40001)
OUTSIDE = "198.51.100.9"
PORT = 40000
HELPER = SocketId(0x100001)

NOTICED_S = 30.0
"""A refresh comes every 15 to 25 s, and what follows takes a few round trips."""

RANDOM_CONE = replace(FULL_CONE, ports=Ports.RANDOM)
KINDS: dict[str, tuple[NatPolicy, Mapping]] = {
    "port-restricted": (PORT_RESTRICTED, Mapping.INDEPENDENT),
    "random cone": (RANDOM_CONE, Mapping.INDEPENDENT),
    "random": (SYMMETRIC_RANDOM, Mapping.DEPENDENT),
    "sequence": (SYMMETRIC_SEQUENTIAL, Mapping.DEPENDENT),
    "block": (SYMMETRIC_BLOCK, Mapping.DEPENDENT),
}
FLIPS = [(a, b) for a in KINDS for b in KINDS if KINDS[a][1] is not KINDS[b][1]]


# --- doubt


def test_a_surprise_is_a_doubt_once_and_only_after_the_first_breath() -> None:
    model = seen_at(5000)
    assert model.take_doubt() is None
    see(model, 8082, 7000, at=60.0)
    assert model.take_doubt() == Address(SERVER, 8082)
    assert model.take_doubt() is None
    see(model, 8081, 7100, at=60.1)
    assert model.take_doubt() is None, "that is the answer to the question"
    see(model, 8081, 7100, at=61.0 + DOUBT_SPACING_S)
    assert model.take_doubt() is None


def test_a_scattered_nat_that_scatters_on_is_no_surprise() -> None:
    model = NatModel()
    model.set_local_addresses(("192.168.1.4",), PORT)
    for number in range(4):
        see(model, 8080 + number, 5000 + 711 * number)
    for minute in range(1, 6):
        see(model, 8081 + minute % 3, 9000 + 977 * minute, at=60.0 * minute)
        assert model.take_doubt() is None


def test_one_stale_answer_does_not_change_the_class_and_three_fresh_ones_do() -> None:
    model = seen_at(PORT)
    see(model, 8081, PORT, at=30.0)
    see(model, 8082, 7000, at=60.0)
    assert model.report().mapping is not Mapping.DEPENDENT
    see(model, 8081, 7100, at=60.1)
    see(model, 8083, 7200, at=60.1)
    assert model.report().mapping is Mapping.DEPENDENT
    assert model.report().confidence >= SURE


def test_when_a_scattered_nat_begins_to_agree_what_it_scattered_is_forgotten() -> None:
    model = NatModel()
    model.set_local_addresses(("192.168.1.4",), PORT)
    for number in range(4):
        see(model, 8080 + number, 5000 + 711 * number)
    assert model.report().mapping is Mapping.DEPENDENT
    for port in (8081, 8082, 8083):
        see(model, port, 6000, at=60.0)
    assert model.report().mapping is Mapping.INDEPENDENT
    assert model.samples() == (Address(OUTSIDE, 6000),)


def test_the_ports_of_a_former_class_are_no_samples_of_the_new_one() -> None:
    model = seen_at(PORT)
    assert model.report().allocation is Allocation.PRESERVING
    later = 60.0 + MOVED_WITHIN_S
    for number, external in enumerate((50_700, 51_100, 50_900, 51_190)):
        see(model, 8080 + number, external, at=later)
    report = model.report()
    assert (report.mapping, report.allocation) == (Mapping.DEPENDENT, Allocation.BLOCK)
    assert (report.low, report.high) == (50_688, 51_199)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("before", "after"), FLIPS)
def test_a_class_that_flips_in_mid_session_is_noticed_and_told_at_once(
    before: str, after: str, seed: int
) -> None:
    village = Village(seed)
    gateway = village.internet.add_nat(KINDS[before][0])
    alice = village.member("alice", gateway)
    bob = village.member("bob")
    bob.start()
    alice.start()
    village.internet.run(50.0 + 7.0 * seed)
    assert alice.nat.mapping is KINDS[before][1]

    gateway.nat.policy = KINDS[after][0]
    expected = KINDS[after][1]
    assert village.internet.run_until(lambda: alice.nat.mapping is expected, NOTICED_S)
    assert village.internet.run_until(lambda: told(bob, alice).mapping is expected, 0.5)
    village.internet.run(240.0)
    assert alice.nat.mapping is expected, "and it does not change its mind again"


def test_a_nat_that_takes_to_another_block_is_learnt_anew() -> None:
    """A carrier gives a block to somebody else when it has been idle: what is mapped then comes of
    another one, while the mappings that live stay as they are."""
    village = Village(2)
    gateway = village.internet.add_nat(SYMMETRIC_BLOCK)
    alice = village.member("alice", gateway)
    alice.start()
    village.internet.run(30.0)
    first = block_of(alice)
    gateway.nat._blocks.clear()  # type: ignore[attr-defined]
    gateway.nat._block("192.168.77.77")  # type: ignore[attr-defined]
    low = gateway.nat._block(alice.host.address)  # type: ignore[attr-defined]
    assert first != (low, low + 511)
    assert village.internet.run_until(lambda: block_of(alice) == (low, low + 511), 240.0)


# --- peers


def test_a_peer_at_another_host_settles_what_one_server_leaves_open() -> None:
    agreeing, other = seen_at(5000), seen_at(5000)
    assert agreeing.report().may_be_hard
    assert agreeing.observe_by_peer(MAIN_SOCKET, PEER, Address(OUTSIDE, 5000), START)
    assert agreeing.report().confidence >= SURE
    assert other.observe_by_peer(MAIN_SOCKET, PEER, Address(OUTSIDE, 6000), START)
    assert other.report().mapping is Mapping.ADDRESS_DEPENDENT
    assert other.report().confidence < SURE


@pytest.mark.parametrize(
    ("peer", "observed"),
    [
        (Address(SERVER, 40001), Address(OUTSIDE, 6000)),
        (Address(OUTSIDE, 40001), Address(OUTSIDE, 6000)),
        (PEER, Address("198.51.100.77", 5000)),
        (PEER, Address("192.168.1.4", PORT)),
        (PEER, Address("2001:db8::4", PORT)),
    ],
)
def test_a_peers_word_counts_only_of_our_public_address_and_from_elsewhere(
    peer: Address, observed: Address
) -> None:
    model = seen_at(5000)
    before = model.report()
    assert not model.observe_by_peer(MAIN_SOCKET, peer, observed, START)
    assert model.report() == before


def test_no_number_of_peers_overrides_two_servers() -> None:
    for second in (5000, 6000):
        model = seen_at(5000)
        model.observe(MAIN_SOCKET, Address(SECOND, 3478), Address(OUTSIDE, second), START)
        before = model.report()
        lie = Address(OUTSIDE, 11_000 - second)
        for number in range(200):
            liar = Address(f"192.0.2.{number + 1}", 40001)
            assert not model.observe_by_peer(MAIN_SOCKET, liar, lie, START)
        assert model.report() == before


def test_a_peers_word_never_names_a_port_of_the_allocation_and_memory_is_bounded() -> None:
    model = seen_at(5000)
    before = model.report()
    for number in range(10 * MOST_OBSERVATIONS):
        peer = Address("192.0.2.7", 1024 + number)
        model.observe_by_peer(MAIN_SOCKET, peer, Address(OUTSIDE, 20_000 + number), START)
    assert model.report().allocation is before.allocation
    assert len(model._echoes) == MOST_OBSERVATIONS


def test_what_a_peer_sees_of_another_socket_counts_when_a_server_has_seen_it_too() -> None:
    model = seen_at(5000)
    before = model.report()
    assert not model.take_question(HELPER), "nobody has told of it"
    model.observe_by_peer(HELPER, PEER, Address(OUTSIDE, 7000), START)
    assert model.report() == before
    assert model.take_question(HELPER)
    assert not model.take_question(HELPER), "once for each socket"
    model.observe(HELPER, Address(SERVER, 8081), Address(OUTSIDE, 9000), START)
    assert model.report().mapping is Mapping.ADDRESS_DEPENDENT
    model.forget_socket(HELPER)
    assert model.report().mapping is Mapping.INDEPENDENT


def test_the_silence_of_servers_takes_nothing_back_that_they_said() -> None:
    """An hour after the server's death, peers still echo: the report stays."""
    model = seen_at(PORT)
    before = model.report()
    for minute in range(60):
        observed = Address(OUTSIDE, PORT)
        assert not model.observe_by_peer(MAIN_SOCKET, PEER, observed, START + 60.0 * minute)
    assert model.report() == before


@pytest.mark.parametrize(
    ("policy", "mapping"),
    [(RANDOM_CONE, Mapping.INDEPENDENT), (ADDRESS_DEPENDENT, Mapping.ADDRESS_DEPENDENT)],
)
def test_a_node_learns_from_the_peer_that_it_reaches_what_its_one_server_can_not_tell(
    policy: NatPolicy, mapping: Mapping
) -> None:
    village = Village(3)
    alice = village.member("alice", village.internet.add_nat(policy))
    bob = village.member("bob", village.internet.add_nat(FULL_CONE), port=40001)
    alice.start()
    village.internet.run(3.0)
    assert (alice.nat.mapping, alice.nat.may_be_hard) == (
        Mapping.INDEPENDENT,
        True,
    )
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob), 10.0)
    village.internet.run(1.0)
    assert alice.nat.mapping is mapping
    if mapping is Mapping.INDEPENDENT:
        assert alice.nat.confidence >= SURE
    assert told(bob, alice).mapping is mapping


def test_two_stun_servers_see_a_flip_from_mapping_by_address() -> None:
    village = Village(seed=4)
    server = VirtualStunServer(village.internet, 3478)
    gateway = village.internet.add_nat(ADDRESS_DEPENDENT)
    alice = village.member("alice", gateway)
    alice.start()
    alice.node.stun.set_servers((server.address,), village.internet.now)
    village.internet.run(10.0)
    assert alice.nat.mapping is Mapping.ADDRESS_DEPENDENT
    gateway.nat.policy = RANDOM_CONE
    easy = Mapping.INDEPENDENT
    assert village.internet.run_until(lambda: alice.nat.mapping is easy, 150.0)


# --- lifetimes


def test_an_absolute_age_is_learnt_from_the_flow_to_the_server() -> None:
    village = Village(5)
    gateway = village.internet.add_nat(replace(RANDOM_CONE, absolute_age_s=60.0))
    alice = village.member("alice", gateway)
    alice.start()
    village.internet.run(400.0)
    lifetime = alice.node.nat.lifetimes.learnt
    assert lifetime.age_s is not None
    assert 30.0 <= lifetime.age_s <= 60.0, "on the safe side"
    assert lifetime.idle_s is None


def test_an_idle_timeout_is_learnt_from_the_flow_to_the_server() -> None:
    village = Village(6)
    gateway = village.internet.add_nat(replace(RANDOM_CONE, timeout_s=12.0))
    alice = village.member("alice", gateway)
    alice.start()
    village.internet.run(300.0)
    lifetime = alice.node.nat.lifetimes.learnt
    assert lifetime.idle_s is not None
    assert 12.0 <= lifetime.idle_s <= 25.0
    assert lifetime.age_s is None


def test_a_mapping_that_lasts_tells_no_limit() -> None:
    village = Village(7)
    alice = village.member("alice", village.internet.add_nat(RANDOM_CONE))
    alice.start()
    village.internet.run(600.0)
    lifetime = alice.node.nat.lifetimes.learnt
    assert (lifetime.idle_s, lifetime.age_s) == (None, None)
    assert lifetime.safe_idle_s is not None
    assert 20.0 <= lifetime.safe_idle_s <= 25.2


def test_a_server_that_was_away_and_a_change_of_network_teach_nothing() -> None:
    village = Village(8)
    alice = village.member("alice", village.internet.add_nat(RANDOM_CONE))
    alice.start()
    village.internet.run(60.0)
    village.kill_server()
    village.internet.run(300.0)
    alice.host.behind.nat.reboot()  # type: ignore[union-attr]
    village.start_server()
    village.internet.run(60.0)
    lifetime = alice.node.nat.lifetimes.learnt
    assert (lifetime.idle_s, lifetime.age_s) == (None, None)


def test_random_answers_change_the_report_but_raise_nothing() -> None:
    random = Random(11)
    model = NatModel()
    model.set_local_addresses(("192.168.1.4",), PORT)
    for step in range(3000):
        at = START + step * random.choice((0.0, 0.1, 5.0, 60.0))
        at = max(at, START)
        socket = SocketId(random.choice((0, 0, 0, 61_000, HELPER)))
        place = Address(random.choice((SERVER, SECOND)), 8080 + random.randrange(4))
        seen = Address(random.choice((OUTSIDE, OUTSIDE, "2001:db8::4")), random.randint(1, 65_535))
        if random.random() < 0.7:
            model.observe(socket, place, seen, at)
        else:
            model.observe_by_peer(socket, PEER, seen, at)
        model.take_doubt()
        model.take_survey(at)
        report = model.report()
        assert 0.0 <= report.confidence <= 1.0
        assert 0.0 <= report.allocation_confidence <= 1.0
        assert report.low <= report.high


def seen_at(port: int) -> NatModel:
    """A model to which all four ports of one server told the same."""
    model = NatModel()
    model.set_local_addresses(("192.168.1.4",), PORT)
    for number in range(4):
        see(model, 8080 + number, port)
    return model


def see(model: NatModel, server_port: int, port: int, at: float = 0.0) -> None:
    destination = Address(SERVER, server_port)
    model.observe(MAIN_SOCKET, destination, Address(OUTSIDE, port), START + at)


def told(member: Member, by: Member) -> NatReport:
    """What a member's newest card, as another has it, says of its NAT."""
    views = member.views()
    return next(view.nat for view in views if view.peer == by.peer)


def block_of(member: Member) -> tuple[int, int]:
    return member.nat.low, member.nat.high
