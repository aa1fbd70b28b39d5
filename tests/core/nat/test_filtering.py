"""Whom our NAT lets in: told right by every kind of server, and never wrong for loss."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TypeGuard

import pytest

from natd.core.base import events
from natd.core.base.local_ports import FILTER_TRIALS
from natd.core.base.types import MAIN_SOCKET, SURE, Address, Filtering, Mapping
from natd.core.checks import turns
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Connect, Elsewhere, Message, Register, Sample
from natd.core.coordinator.coordinator import Coordinator
from natd.core.keys.secrets import network_key
from natd.core.nat.filtering import (
    AGAIN_WAIT_S,
    FIRST_WAIT_S,
    TRIALS,
)
from tests.core.world.two_addresses import TwoAddresses, open_doors
from tests.core.world.village import SERVER_PORT, Member, Village
from tests.internet.fabric import Weather
from tests.internet.nat import (
    ADDRESS_DEPENDENT,
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    LINUX_RANDOM,
    PORT_RESTRICTED,
    SYMMETRIC_BLOCK,
    SYMMETRIC_RANDOM,
    SYMMETRIC_SEQUENTIAL,
    Dependence,
    NatPolicy,
)

SEEDS = 50
BAD_WEATHER = Weather(loss=0.05, jitter_s=0.005)
TOLD_S = 20.0
"""After the start: the waits, eight trials and a repeated REGISTER."""

CONNECTED_PEERS_S = 25.0
"""So much later at most peers that are connected get a card."""

INDEPENDENT, BY_ADDRESS, BY_PORT = (
    Filtering.INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT,
    Filtering.DEPENDENT,
)
WIDE_OPEN = replace(SYMMETRIC_RANDOM, filtering=FULL_CONE.filtering)
CLASSES: dict[str, tuple[NatPolicy | None, Filtering]] = {
    "open": (None, INDEPENDENT),
    "full-cone": (FULL_CONE, INDEPENDENT),
    "address-restricted": (ADDRESS_RESTRICTED, BY_ADDRESS),
    "port-restricted": (PORT_RESTRICTED, BY_PORT),
    "linux": (LINUX, BY_PORT),
    "linux-accepting": (LINUX_ACCEPTING, BY_PORT),
    "linux-random": (LINUX_RANDOM, BY_PORT),
    "address-dependent": (ADDRESS_DEPENDENT, BY_PORT),
    "random": (SYMMETRIC_RANDOM, BY_PORT),
    "random, letting all in": (WIDE_OPEN, INDEPENDENT),
    "sequential": (SYMMETRIC_SEQUENTIAL, BY_PORT),
    "block": (SYMMETRIC_BLOCK, BY_PORT),
}


def two_servers(seed: int, weather: Weather) -> Village:
    village = Village(seed, weather)
    village.add_server()
    return village


SERVERS: dict[str, Callable[[int, Weather], Village]] = {
    "one address": Village,
    "two addresses": TwoAddresses,
    "two servers": two_servers,
}


@pytest.mark.parametrize("servers", SERVERS)
@pytest.mark.parametrize("name", CLASSES)
def test_the_class_of_every_nat_is_told_soon_and_never_wrong_though_packets_are_lost(
    name: str, servers: str
) -> None:
    policy, actual = CLASSES[name]
    is_tellable = servers != "one address" or actual is BY_PORT
    for seed in range(SEEDS):
        village = SERVERS[servers](seed, BAD_WEATHER)
        alice = newcomer(village, policy)
        village.internet.run(TOLD_S)
        told = [event.report for event in alice.attached.events_of(events.NatObserved)]
        sure = {report.filtering for report in told if report.filtering_confidence >= SURE}
        assert sure == ({actual} if is_tellable else set()), f"seed {seed}"
        if not is_tellable:
            assert alice.nat.filtering is BY_ADDRESS, "which claims the less of the two"


@pytest.mark.parametrize("walled", [True, False])
@pytest.mark.parametrize("servers", ["two addresses", "two servers"])
def test_a_public_ipv6_host_is_open_only_as_far_as_its_firewall_is(
    servers: str, walled: bool
) -> None:
    """The servers' words are of IPv6 then."""
    for seed in range(SEEDS):
        village = over_ipv6(SERVERS[servers](seed, BAD_WEATHER))
        gateway = village.internet.add_nat(PORT_RESTRICTED)
        gateway.ipv6_firewall = walled
        alice = village.member("alice", gateway, ipv6=True)
        alice.start()
        village.internet.run(TOLD_S)
        report = alice.nat
        assert report.mapping is Mapping.OPEN
        assert report.filtering is (BY_PORT if walled else INDEPENDENT), f"seed {seed}"
        assert report.filtering_confidence >= SURE


@pytest.mark.parametrize("servers", ["two addresses", "two servers"])
@pytest.mark.parametrize(("weather", "rounds"), [(Weather(), 1), (BAD_WEATHER, 3)])
def test_a_class_that_flips_in_mid_session_is_noticed_by_the_next_round_that_loses_nothing(
    servers: str, weather: Weather, rounds: int
) -> None:
    for seed in range(5):
        village = SERVERS[servers](seed, weather)
        nat = village.internet.add_nat(FULL_CONE)
        alice = village.member("alice", nat)
        alice.start()
        for policy, actual in (
            (FULL_CONE, INDEPENDENT),
            (PORT_RESTRICTED, BY_PORT),
            (ADDRESS_RESTRICTED, BY_ADDRESS),
            (FULL_CONE, INDEPENDENT),
        ):
            nat.nat.policy = policy
            village.internet.run(rounds * AGAIN_WAIT_S + TOLD_S)
            assert alice.nat.filtering is actual
            assert alice.nat.filtering_confidence >= SURE


def test_who_could_tell_more_is_gone_and_what_was_told_stays() -> None:
    village = two_servers(11, Weather())
    alice = newcomer(village, FULL_CONE)
    village.internet.run(TOLD_S)
    village.kill_server()
    village.internet.run(3 * AGAIN_WAIT_S)
    assert alice.nat.filtering is INDEPENDENT
    assert alice.nat.filtering_confidence >= SURE


def test_another_mapping_class_has_the_filtering_asked_for_anew_soon() -> None:
    village = TwoAddresses(2)
    gateway = village.internet.add_nat(PORT_RESTRICTED)
    alice = village.member("alice", gateway)
    alice.start()
    village.internet.run(TOLD_S)
    gateway.nat.policy = WIDE_OPEN
    gateway.reboot()
    assert village.internet.run_until(lambda: alice.nat.is_hard, 120.0)
    assert village.internet.run_until(
        lambda: alice.nat.filtering is INDEPENDENT, FIRST_WAIT_S + 5.0
    )


def test_in_another_network_nothing_is_known_until_it_was_asked() -> None:
    village = TwoAddresses(3)
    internet = village.internet
    alice = newcomer(village, FULL_CONE)
    internet.run(TOLD_S)
    assert alice.nat.filtering is INDEPENDENT
    internet.move(alice.host, internet.add_nat(PORT_RESTRICTED))
    alice.node.set_local_addresses(alice.host.addresses, alice.port, internet.now)
    internet.run(1.0)
    assert alice.nat.mapping is Mapping.INDEPENDENT
    assert alice.nat.filtering is Filtering.UNKNOWN
    internet.run(TOLD_S)
    assert alice.nat.filtering is BY_PORT


def test_a_provider_that_renumbers_us_has_us_ask_again() -> None:
    village = TwoAddresses(4)
    gateway = village.internet.add_nat(FULL_CONE)
    alice = village.member("alice", gateway)
    alice.start()
    village.internet.run(TOLD_S)
    gateway.nat.policy = PORT_RESTRICTED
    village.internet.renumber(gateway)
    assert village.internet.run_until(lambda: alice.nat.filtering is BY_PORT, 60.0)


@pytest.mark.parametrize("mapping", [FULL_CONE.mapping, ADDRESS_DEPENDENT.mapping])
def test_a_pool_that_shows_every_mapping_elsewhere_is_never_misjudged(mapping: Dependence) -> None:
    """The other server's answer may go to another address than the fresh socket's."""
    policy = replace(WIDE_OPEN, mapping=mapping, addresses=2, paired=False)
    for seed in range(SEEDS):
        village = two_servers(seed, BAD_WEATHER)
        alice = newcomer(village, policy)
        village.internet.run(TOLD_S)
        report = alice.nat
        assert report.filtering is INDEPENDENT or report.filtering_confidence < SURE


def test_the_first_seconds_are_for_what_we_came_for() -> None:
    """Nothing is sent for it, and no socket is opened, before `FIRST_WAIT_S`; and only from a fresh
    socket ever, but for one question to the other server."""
    for servers in SERVERS:
        village = SERVERS[servers](5, Weather())
        village.internet.trace = []
        alice = newcomer(village, PORT_RESTRICTED)
        began = village.internet.now
        village.internet.run(TOLD_S)
        sent = [s for s in village.internet.trace or [] if s.host is alice.host]
        probing = [s for s in sent if is_probing(s.datagram.data)]
        assert min(s.at for s in probing) >= began + FIRST_WAIT_S
        assert {s.socket for s in sent if s.at < began + FIRST_WAIT_S} == {MAIN_SOCKET}
        for s in probing:
            message = rendezvous_codec.decode(s.datagram.data)
            assert isinstance(message, Sample)
            assert (s.socket == MAIN_SOCKET) == (message.elsewhere == Elsewhere.ASKER_PORT)
        fresh = {s.socket for s in sent} - {MAIN_SOCKET}
        assert len(fresh) == 1
        assert fresh.pop() in FILTER_TRIALS
        assert set(alice.attached.ports) == {MAIN_SOCKET}, "the fresh one is closed"


def test_while_ports_are_guessed_none_is_taken_for_it() -> None:
    """Two blocks: what either opens may be where they would meet."""
    village = Village(4)
    trace = village.internet.trace = []
    names = ("alice", "bob")
    gateways = [village.internet.add_nat(SYMMETRIC_BLOCK) for _ in names]
    key = network_key("demo", b"0123456789abcdef")
    alice, bob = (
        village.member(name, gateway, key=key)
        for name, gateway in zip(names, gateways, strict=True)
    )
    began = village.internet.now
    alice.start()
    village.internet.run(FIRST_WAIT_S - 1.0)
    bob.start()
    village.internet.run(3 * TOLD_S)
    guessing = [s.at for s in trace if s.socket >= turns.FIRST_HELPER]
    probing = [s.at for s in trace if is_probing(s.datagram.data)]
    assert min(guessing) < began + FIRST_WAIT_S, "or this test tells nothing"
    assert not alice.is_online(bob), "or what is said on a path counts as a guess"
    assert not any(abs(a - p) < 1.0 for a in guessing for p in probing)
    assert probing, "afterwards it is asked"


@pytest.mark.parametrize("servers", SERVERS)
def test_nobody_sends_uninvited_to_the_main_socket_where_that_would_spoil_it(servers: str) -> None:
    village = SERVERS[servers](6, Weather())
    internet = village.internet
    gateway = internet.add_nat(LINUX_ACCEPTING)
    alice = village.member("alice", gateway)
    internet.trace = []
    alice.start()
    internet.run(2 * AGAIN_WAIT_S)
    outside = Address(gateway.addresses[0], alice.port)
    invited, came = set(), set()
    for sent in internet.trace:
        if sent.host is alice.host and sent.socket == MAIN_SOCKET:
            invited.add(sent.datagram.address)
        elif sent.datagram.address == outside:
            port = internet._attached[sent.host].ports[sent.socket]
            came.add(Address(sent.host.address, port))
    assert came <= invited
    own = Address(alice.host.address, alice.port)
    for server in (village.server_host.address, "45.99.9.9"):
        for port in range(8080, 8084):
            seen = gateway.nat.outbound(own, Address(server, port), internet.now)
            assert seen == outside


def test_once_known_it_costs_one_question_in_ten_minutes() -> None:
    for policy in (FULL_CONE, PORT_RESTRICTED):
        village = TwoAddresses(7)
        alice = newcomer(village, policy)
        village.internet.run(TOLD_S)
        trace = village.internet.trace = []
        village.internet.run(3600.0)
        asked = [s for s in trace if s.host is alice.host and is_probing(s.datagram.data)]
        assert len(asked) == 3600 // AGAIN_WAIT_S


def test_a_server_that_does_not_know_the_question_is_asked_a_few_times_for_nothing() -> None:
    village = Village(8)
    older = OlderServer(bytes(32), Random(8))
    village.internet.attach(village.server_host, older, ports=range(SERVER_PORT, SERVER_PORT + 4))
    trace = village.internet.trace = []
    alice = newcomer(village, FULL_CONE)
    village.internet.run(TOLD_S)
    assert alice.nat.filtering is Filtering.UNKNOWN
    assert sum(is_probing(s.datagram.data) for s in trace) == TRIALS
    assert set(alice.attached.ports) == {MAIN_SOCKET}


def test_a_peer_is_told_in_a_card_which_begins_no_attempt_anew() -> None:
    village = TwoAddresses(9)
    bob = newcomer(village, PORT_RESTRICTED, "bob")
    village.internet.run(TOLD_S)
    alice = newcomer(village, SYMMETRIC_RANDOM)
    village.internet.run(2.0)
    trace = village.internet.trace = []
    village.internet.run(TOLD_S + CONNECTED_PEERS_S)
    told = bob.views()[0].nat
    assert told.filtering is BY_PORT
    assert told.filtering_confidence == pytest.approx(alice.nat.filtering_confidence, abs=0.01)
    sent = [
        (s.at, rendezvous_codec.decode(s.datagram.data))
        for s in trace
        if s.host is alice.host and s.datagram.data[0] == rendezvous_codec.RENDEZVOUS_MAGIC
    ]
    told_at = {message.sequence: at for at, message in reversed(sent) if is_register(message)}
    assert len(told_at) == 1
    assert not any(at in told_at.values() for at, message in sent if isinstance(message, Connect))


class OlderServer(Coordinator):
    """To which a SAMPLE with anything in it is malformed."""

    def receive_datagram(
        self, data: bytes, address: Address, now: float, port_index: int = 0
    ) -> None:
        if not is_probing(data):
            super().receive_datagram(data, address, now, port_index)


def over_ipv6(village: Village) -> Village:
    """The same servers at addresses of the other family."""
    hosts = village.internet.hosts()
    for number, host in enumerate(hosts):
        host.addresses += (f"2001:db8:5::{number + 1}",)
        village.internet._ipv6_hosts[host.addresses[-1]] = host
    if isinstance(village, TwoAddresses):
        names = tuple(host.addresses[-1] for host in hosts)
        open_doors(village.internet, Coordinator(bytes(32), Random(1), hosts=names), hosts)
        hosts = hosts[:1]
    village.servers = [Address(host.addresses[-1], SERVER_PORT) for host in hosts]
    return village


def is_register(message: Message) -> TypeGuard[Register]:
    return isinstance(message, Register)


def is_probing(data: bytes) -> bool:
    if data[0] != rendezvous_codec.RENDEZVOUS_MAGIC:
        return False
    message = rendezvous_codec.decode(data)
    return isinstance(message, Sample) and bool(message.elsewhere)


def newcomer(village: Village, policy: NatPolicy | None, name: str = "alice") -> Member:
    nat = None if policy is None else village.internet.add_nat(policy)
    member = village.member(name, nat)
    member.start()
    return member
