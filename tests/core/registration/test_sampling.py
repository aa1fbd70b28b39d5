"""Samples at a server's second address: what they tell, and what a lying server gets of them."""

import itertools
from random import Random

import pytest

from natd.core.base.events import ServerAnswered
from natd.core.base.timers import WallClock
from natd.core.base.types import LOWEST_ANY_PORT_SOCKET, Address, Datagram, Mapping, SocketId
from natd.core.checks.turns import FIRST_HELPER
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import Error, ErrorCode, Register, Registered, Sample
from natd.core.coordinator.coordinator import Coordinator
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.keys.secrets import network_id, network_key
from natd.core.nat.model import OBSERVATION_LIFETIME_S, NatModel
from natd.core.network.roster import NetworkSettings
from natd.core.node import Node
from natd.core.registration.events import SocketSampled
from natd.core.registration.registration import Registration
from natd.core.registration.sampling import Sampling
from tests.core.world.meeting import OTHER, SERVER, Meeting, Sent
from tests.core.world.two_addresses import TwoAddresses, open_doors
from tests.internet.nat import ADDRESS_DEPENDENT, PORT_RESTRICTED, SYMMETRIC_RANDOM, NatPolicy
from tests.internet.net import Internet

BOTH = (SERVER.host, OTHER.host)
PUBLIC, PUBLIC_OTHER = Address("45.1.1.10", 8080), Address("45.1.2.10", 8080)
SAMPLED_PORTS = (8081, 8082, 8083)
START = 1000.0


def test_a_second_address_is_asked_at_two_ports_as_soon_as_the_server_has_told_it() -> None:
    meeting = Meeting(hosts=BOTH)
    guest = meeting.register("alice")
    asked = [s for s in meeting.sent if s.destination.host == OTHER.host]
    assert [(s.at, s.destination.port) for s in asked] == [
        (guest.first(ServerAnswered), port) for port in (8080, 8081)
    ]
    told = {event.server_address: event.observed for event in guest.of(SocketSampled)}
    assert told[OTHER] == told[Address(OTHER.host, 8081)] == guest.address
    assert guest.registration.sampling.other == OTHER


def test_after_a_change_of_network_both_addresses_are_asked_in_the_first_breath() -> None:
    meeting = Meeting(hosts=BOTH)
    guest = meeting.register("alice")
    before = len(meeting.sent)
    guest.registration.network_changed(meeting.now)
    meeting.run(0.0)
    first_breath = meeting.sent[before:]
    assert {s.at for s in first_breath} == {meeting.now}
    assert sum(s.destination.host == OTHER.host for s in first_breath) == 2


def test_each_address_of_a_server_is_asked_again_while_its_last_word_is_believed() -> None:
    meeting = Meeting(hosts=BOTH)
    meeting.register("alice")
    meeting.run(1800.0)
    for host in BOTH:
        asked = [s.at for s in meeting.sent if is_sample(s) and s.destination.host == host]
        gaps = [after - earlier for earlier, after in itertools.pairwise(asked)]
        assert max(gaps) < OBSERVATION_LIFETIME_S / 2
        assert len(asked) < 1800 / 40


def test_a_second_address_that_is_silent_is_asked_three_times_and_does_no_harm() -> None:
    meeting = Meeting(hosts=BOTH)
    meeting.loses = lambda sent: sent.source.host == OTHER.host
    guest = meeting.register("alice")
    meeting.run(10.0)
    assert sum(s.destination.host == OTHER.host for s in meeting.sent) == 2 * 3
    assert guest.registration.state == "registered"


def test_an_answer_counts_only_from_the_very_place_that_was_asked() -> None:
    meeting = Meeting(hosts=BOTH)
    meeting.loses = lambda sent: sent.source.host == OTHER.host
    guest = meeting.register("alice")
    question = next(s for s in meeting.sent if s.destination == OTHER)
    answer = meeting.tell_server(question.data, guest.address)[0][1]
    for source in (SERVER, Address(OTHER.host, 8081), Address("198.51.100.9", 8080)):
        guest.registration.receive_datagram(answer, source, meeting.now)
        assert guest.registration.next_event() is None
    guest.registration.receive_datagram(answer, OTHER, meeting.now)
    assert guest.registration.next_event() == SocketSampled(SocketId(0), guest.address, OTHER)


def test_a_server_that_names_one_victim_after_another_has_us_ask_one_of_them_a_minute() -> None:
    meeting = Meeting()
    guest = meeting.register("alice")
    asked: dict[Address, list[float]] = {}
    for number in range(600):
        meeting.now += 0.5
        guest.registration.network_changed(meeting.now)
        victim = Address(f"198.51.100.{10 + number % 200}", 9000)
        for datagram in guest.registration.datagrams_to_send():
            note(asked, datagram, meeting.now)
            if datagram.address == SERVER:
                answer = registered(rendezvous_codec.decode(datagram.data).transaction, victim)
                guest.registration.receive_datagram(answer, SERVER, meeting.now)
        for datagram in guest.registration.datagrams_to_send():
            note(asked, datagram, meeting.now)
    assert len(asked) <= 600 * 0.5 / 60 + 1


@pytest.mark.parametrize("addresses", [1, 2])
def test_a_server_that_loses_us_and_takes_us_back_has_us_ask_no_victim_more_often(
    addresses: int,
) -> None:
    victim = Address("198.51.100.10", 9000)
    places = tuple(Address(f"203.0.113.{n}", 8080) for n in range(10, 10 + addresses))
    liar = FickleServer(places, victim)
    liar.run(600.0)
    assert liar.at_victim
    in_each_minute = [sum(0 <= at - end < 60.0 for at in liar.at_victim) for end in liar.at_victim]
    assert max(in_each_minute) <= 60
    assert len(liar.at_victim) <= 10 * 6 + 20


class FickleServer:
    """A server whose second address is a victim's: it answers the copies of one REGISTER in turns
    with REGISTERED and ERROR, so that the guest begins anew as often as it can be made to."""

    def __init__(self, places: tuple[Address, ...], victim: Address) -> None:
        self.at_victim: list[float] = []
        self._victim = victim
        self._now = START
        self._copies: list[tuple[Address, bytes]] = []
        self._grants = True
        key = network_key("demo", b"")
        self._guest = Registration(
            network=network_id(key),
            membership=MembershipKey(key),
            identity=Identity(b"a" * 32),
            server=places[0],
            others=places[1:],
            prefix=b"abcd",
            lifetimes=NatModel().lifetimes,
            random=Random(2),
            clock=WallClock(),
        )

    def run(self, for_s: float) -> None:
        end = self._now + for_s
        self._guest.start(bytes(300), 1, self._now)
        while self._now < end:
            self._now += 0.05
            due = self._guest.get_timer()
            if due is not None and due <= self._now:
                self._guest.handle_timer(self._now)
            self._hear()
            if len(self._copies) > 1 and round(self._now * 20) % 14 == 0:
                self._answer()

    def _hear(self) -> None:
        for sent in self._guest.datagrams_to_send():
            if sent.address.host == self._victim.host:
                self.at_victim.append(self._now)
            elif isinstance(message := rendezvous_codec.decode(sent.data), Register):
                self._copies.append((sent.address, message.transaction))

    def _answer(self) -> None:
        place, transaction = self._copies.pop(0)
        refused = rendezvous_codec.encode(Error(transaction, ErrorCode.FULL, "no"))
        data = registered(transaction, self._victim) if self._grants else refused
        self._grants = not self._grants
        self._guest.receive_datagram(data, place, self._now)
        self._hear()


@pytest.mark.parametrize(
    ("other", "believed"),
    [
        (PUBLIC_OTHER, True),
        (Address("45.1.2.10", 9000), True),
        (Address("45.1.2.10", 53), False),
        (Address(PUBLIC.host, 9000), False),
        (Address("10.0.0.1", 8080), False),
        (Address("192.168.1.1", 8080), False),
        (Address("100.64.0.1", 8080), False),
        (Address("127.0.0.1", 8080), False),
        (Address("169.254.1.1", 8080), False),
        (Address("224.0.0.251", 8080), False),
        (Address("255.255.255.255", 8080), False),
        (Address("0.0.0.0", 8080), False),
        (Address("2600::1", 8080), False),
    ],
)
def test_a_second_address_is_of_the_same_kind_as_the_first(other: Address, believed: bool) -> None:
    sampling = Sampling(PUBLIC)
    sampling.begin(1000.0)
    asked = sampling.learn(SAMPLED_PORTS, other, 1000.0)
    assert asked == ((other, Address(other.host, 8081)) if believed else ())
    assert sampling.other == (other if believed else None)


def test_a_server_on_a_well_known_port_has_its_second_address_there_too() -> None:
    server, other = PUBLIC._replace(port=443), PUBLIC_OTHER._replace(port=443)
    assert Sampling(server).learn((), other, 1000.0) == (other,)


def test_a_server_without_sampling_ports_is_asked_at_its_second_address_only() -> None:
    sampling = Sampling(PUBLIC)
    assert sampling.learn((), PUBLIC_OTHER, 1000.0) == (PUBLIC_OTHER,)
    assert sampling.next_place() is None
    assert sampling.next_places() == [PUBLIC_OTHER]
    assert sampling.begin(1000.0) == (PUBLIC_OTHER,)


@pytest.mark.parametrize(
    ("policy", "by_one", "by_two"),
    [
        (PORT_RESTRICTED, Mapping.INDEPENDENT, Mapping.INDEPENDENT),
        (ADDRESS_DEPENDENT, Mapping.INDEPENDENT, Mapping.ADDRESS_DEPENDENT),
        (SYMMETRIC_RANDOM, Mapping.DEPENDENT, Mapping.DEPENDENT),
    ],
)
def test_only_a_second_address_shows_that_a_nat_maps_by_address(
    policy: NatPolicy, by_one: Mapping, by_two: Mapping
) -> None:
    assert mapping_seen(policy, addresses=1) == by_one
    assert mapping_seen(policy, addresses=2) == by_two


def test_what_the_second_address_sees_behind_such_a_nat_is_not_taken_for_poisoning() -> None:
    """That would be answered by a fresh socket, for nothing."""
    village = TwoAddresses(seed=5)
    internet = village.internet
    alice = village.member("alice", internet.add_nat(ADDRESS_DEPENDENT))
    bob = village.member("bob", internet.add_nat(PORT_RESTRICTED))
    bob.start()
    internet.run(5.0)
    # The attempt at a peer that is gone is waiting for a sample when the answers of the second
    # address come, which is farther away.
    bob.kill()
    village.other.delay_s = 0.2
    internet.trace = []
    alice.start()
    internet.run_until(lambda: alice.nat.is_hard, limit_s=2.0)
    internet.run(0.01)
    sockets = {sent.socket for sent in internet.trace if sent.host is alice.host}
    fresh = range(LOWEST_ANY_PORT_SOCKET, FIRST_HELPER)
    assert not any(socket in fresh for socket in sockets)


def mapping_seen(policy: NatPolicy, *, addresses: int) -> Mapping:
    """What a node behind such a NAT says of it after some minutes."""
    internet = Internet(seed=3)
    hosts = [internet.add_host() for _ in range(addresses)]
    names = tuple(host.address for host in hosts)
    coordinator = Coordinator(bytes(32), Random(1), hosts=names)
    open_doors(internet, coordinator, hosts)
    inside = internet.add_host(behind=internet.add_nat(policy))
    node = Node(Identity(b"a" * 32), Random(2), card_sequence=1)
    internet.attach(inside, node, ports=[40000])
    node.set_local_addresses(inside.addresses, 40000, internet.now)
    settings = NetworkSettings("demo", network_key("demo", b""), "alice")
    node.join(settings, (Address(names[0], 8080),), internet.now)
    seen = set()
    for _ in range(10):
        internet.run(30.0)
        seen.add(node.nat.report().mapping)
    assert len(seen) == 1, "it does not change its mind"
    return seen.pop()


def registered(transaction: bytes, other: Address) -> bytes:
    own = Address("203.0.113.1", 40001)
    message = Registered(transaction, bytes(8), 75, own, b"", 50, 0, 0, SAMPLED_PORTS, other)
    return rendezvous_codec.encode(message)


def is_sample(sent: Sent) -> bool:
    return isinstance(rendezvous_codec.decode(sent.data), Sample)


def note(asked: dict[Address, list[float]], datagram: Datagram, now: float) -> None:
    if datagram.address.host != SERVER.host and datagram.address.port == 9000:
        asked.setdefault(datagram.address, []).append(now)
