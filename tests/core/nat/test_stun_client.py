"""Public STUN servers as further destinations: when they are asked, and what is believed."""

import itertools
from random import Random

import pytest

from natd.core.base import events
from natd.core.base.types import MAIN_SOCKET, Address, Datagram, Mapping, SocketId
from natd.core.codec import stun
from natd.core.coordinator.stun_server import StunServer
from natd.core.keys.card import Identity
from natd.core.keys.secrets import network_key
from natd.core.nat.model import OBSERVATION_LIFETIME_S
from natd.core.nat.stun_client import STUN_ADDRESSES_LIMIT, StunClient
from natd.core.network.roster import NetworkSettings
from natd.core.node import Node
from tests.core.world.village import Village
from tests.internet.nat import ADDRESS_DEPENDENT, PORT_RESTRICTED, NatPolicy
from tests.internet.net import Internet

ONE, TWO = Address("45.9.1.10", 3478), Address("45.9.2.10", 19302)
SIX = Address("2600::3478", 3478)
OUTSIDE = Address("198.51.100.7", 40123)


def test_nobody_is_asked_before_a_network_is_joined_and_after_the_last_is_left() -> None:
    stunning = StunClient(Random(1))
    stunning.set_servers((ONE, TWO), 1000.0)
    assert stunning.due_at is None
    stunning.network_changed(1000.0)
    assert stunning.datagrams_to_send() == []
    stunning.wake(1001.0)
    assert [d.address for d in stunning.datagrams_to_send()] == [ONE, TWO]
    stunning.sleep()
    assert stunning.due_at is None
    stunning.handle_timer(2000.0)
    assert stunning.datagrams_to_send() == []


def test_a_question_is_a_bare_binding_request_from_the_main_socket() -> None:
    (question,) = awake(ONE).datagrams_to_send()
    assert question.socket == MAIN_SOCKET
    request = stun.decode(question.data)
    assert request.message_class is stun.MessageClass.REQUEST
    assert len(question.data) <= 28


def test_a_server_is_asked_three_times_and_then_again_in_the_next_round() -> None:
    stunning = awake(ONE)
    asked = [at for at, _ in run(stunning, 1000.0, 1000.0 + 600.0)]
    assert asked[:3] == [1000.0, 1000.5, 1001.5]
    starts = [asked[0], *(b for a, b in itertools.pairwise(asked) if b - a > 10.0)]
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert 96.0 <= min(gaps) <= max(gaps) <= 144.0 < OBSERVATION_LIFETIME_S
    assert len(set(gaps)) > 1, "not all at the same instants"


def test_what_is_answered_is_an_observation_and_news_when_it_is_new() -> None:
    stunning = awake(ONE, TWO)
    first, second = stunning.datagrams_to_send()
    assert answer(stunning, first, OUTSIDE)
    assert took_change(stunning)
    assert stunning.nat.observed() == (OUTSIDE,)
    assert answer(stunning, second, OUTSIDE._replace(port=9))
    assert stunning.nat.report().mapping is Mapping.DEPENDENT
    assert took_change(stunning)
    stunning.wake(1010.0)
    first, second = stunning.datagrams_to_send()
    assert answer(stunning, second, OUTSIDE._replace(port=9), at=1010.1)
    assert not took_change(stunning), "it says what it said before"


def test_an_answer_counts_once_and_from_the_very_address_that_was_asked() -> None:
    stunning = awake(ONE)
    (question,) = stunning.datagrams_to_send()
    for source in (TWO, Address(ONE.host, 3479), Address("45.9.9.9", ONE.port)):
        assert not answer(stunning, question, OUTSIDE, source=source)
    forged = question._replace(data=stun.encode_binding_request(bytes(12)))
    assert not answer(stunning, forged, OUTSIDE)
    assert not took_change(stunning)
    assert answer(stunning, question, OUTSIDE)
    assert not answer(stunning, question, OUTSIDE._replace(port=1))
    assert stunning.nat.observed() == (OUTSIDE,)


def test_a_refusal_and_an_address_of_another_family_are_no_observation() -> None:
    stunning = awake(ONE, TWO, SIX)
    first, second, third = stunning.datagrams_to_send()
    transaction = stun.decode(first.data).transaction
    error = stun.encode(stun.BINDING, stun.MessageClass.ERROR, transaction, ())
    assert stunning.receive_answer(stun.decode(error), ONE, 1000.1)
    assert answer(stunning, second, Address("2600::1", 5))
    assert answer(stunning, third, OUTSIDE)
    assert stunning.nat.observed() == ()
    assert sum(stunning.dropped.values()) == 3


def test_servers_that_stay_are_not_asked_again_because_others_come() -> None:
    stunning = awake(ONE)
    (question,) = stunning.datagrams_to_send()
    stunning.set_servers((ONE, TWO), 1000.1)
    assert [d.address for d in stunning.datagrams_to_send()] == [TWO]
    assert answer(stunning, question, OUTSIDE), "its question is still open"
    stunning.set_servers((), 1000.2)
    assert stunning.due_at is None
    assert run(stunning, 1000.2, 2000.0) == []


def test_a_long_list_is_cut() -> None:
    stunning = awake(*(Address(f"45.9.{number}.1", 3478) for number in range(100)))
    assert len(stunning.datagrams_to_send()) == STUN_ADDRESSES_LIMIT


@pytest.mark.parametrize(
    ("policy", "mapping"),
    [(PORT_RESTRICTED, Mapping.INDEPENDENT), (ADDRESS_DEPENDENT, Mapping.ADDRESS_DEPENDENT)],
)
def test_two_stun_servers_show_a_node_what_its_coordination_server_can_not(
    policy: NatPolicy, mapping: Mapping
) -> None:
    village = Village(seed=4)
    servers = [VirtualStunServer(village.internet, port) for port in (3478, 19302)]
    inside = village.internet.add_host(behind=village.internet.add_nat(policy))
    node = Node(Identity(b"a" * 32), Random(2), card_sequence=1)
    village.internet.attach(inside, node, ports=[40000])
    now = village.internet.now
    node.set_local_addresses(inside.addresses, 40000, now)
    node.stun.set_servers(tuple(server.address for server in servers), now)
    village.internet.run(10.0)
    assert not any(server.asked_at for server in servers), "there is no network yet"

    settings = NetworkSettings("demo", network_key("demo", b""), "alice")
    network = node.join(settings, tuple(village.servers), village.internet.now)
    seen = set()
    village.internet.run(1.0)
    for _ in range(20):
        village.internet.run(30.0)
        seen.add(node.nat.report().mapping)
    assert seen == {mapping}
    for server in servers:
        assert 4 <= len(server.asked_at) <= 8, "one packet every two minutes"
    node.leave(network, village.internet.now)
    asked = [len(server.asked_at) for server in servers]
    village.internet.run(600.0)
    assert [len(server.asked_at) for server in servers] == asked


def test_a_change_of_network_is_seen_by_stun_servers_at_once() -> None:
    village = Village(seed=4)
    server = VirtualStunServer(village.internet, 3478)
    alice = village.member("alice")
    alice.start()
    alice.node.stun.set_servers((server.address,), village.internet.now)
    village.internet.run(5.0)
    before = len(server.asked_at)
    assert before == 1
    alice.node.set_local_addresses(("192.0.2.77",), 40000, village.internet.now)
    village.internet.run(0.1)
    assert len(server.asked_at) == before + 1


def test_what_a_stun_server_sees_is_news_of_the_node_and_told_in_every_network() -> None:
    village = Village(seed=4)
    server = VirtualStunServer(village.internet, 3478)
    alice = village.member("alice", village.internet.add_nat(ADDRESS_DEPENDENT))
    alice.start()
    other = NetworkSettings("other", network_key("other", b"secret"), "alice")
    second = alice.node.join(other, tuple(village.servers), village.internet.now)
    village.internet.run(5.0)
    told = len(alice.attached.events_of(events.NatObserved))
    alice.node.stun.set_servers((server.address,), village.internet.now)
    assert village.internet.run_until(lambda: alice.nat.mapping is Mapping.ADDRESS_DEPENDENT, 1.0)
    village.internet.run(3.0)
    news = alice.attached.events_of(events.NatObserved)[told:]
    assert news[0].report.mapping is Mapping.ADDRESS_DEPENDENT
    for network in (alice.network, second):
        membership = alice.node.membership(network)
        assert membership is not None
        assert membership.own_card.nat.mapping is Mapping.ADDRESS_DEPENDENT


class VirtualStunServer:
    """Somebody else's STUN server on the virtual internet."""

    def __init__(self, internet: Internet, port: int) -> None:
        host = internet.add_host()
        self.address = Address(host.address, port)
        self.asked_at: list[float] = []
        self._reflector = StunServer((), (port,))
        self._outgoing: list[Datagram] = []
        internet.attach(host, self, ports=[port])

    def receive_datagram(self, data: bytes, address: Address, now: float) -> None:
        self.asked_at.append(now)
        answer = self._reflector.answer(stun.decode(data), len(data), address, SocketId(0))
        self._outgoing.append(answer)

    def handle_timer(self, now: float) -> None: ...

    def datagrams_to_send(self) -> list[Datagram]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def next_event(self) -> None:
        return

    def get_timer(self) -> None:
        return


def awake(*servers: Address) -> StunClient:
    stunning = StunClient(Random(1))
    stunning.set_servers(servers, 1000.0)
    stunning.wake(1000.0)
    return stunning


def took_change(stunning: StunClient) -> bool:
    """Whether there is news for the node, which takes it."""
    has_changed, stunning.nat.has_changed = stunning.nat.has_changed, False
    return has_changed


def answer(
    stunning: StunClient,
    question: Datagram,
    observed: Address,
    *,
    source: Address | None = None,
    at: float = 1000.05,
) -> bool:
    transaction = stun.decode(question.data).transaction
    response = stun.decode(stun.encode_binding_response(transaction, observed))
    return stunning.receive_answer(response, source or question.address, at)


def run(stunning: StunClient, now: float, until: float) -> list[tuple[float, Datagram]]:
    """What is sent, and when, while nobody answers."""
    sent = [(now, datagram) for datagram in stunning.datagrams_to_send()]
    while (timer := stunning.due_at) is not None and timer <= until:
        now = max(now, timer)
        stunning.handle_timer(now)
        sent += [(now, datagram) for datagram in stunning.datagrams_to_send()]
    return sent
