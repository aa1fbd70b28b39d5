"""Where we are seen: a public sighting before a private one, and a mapped port at each of them."""

import pytest

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.nat.model import NatModel
from natd.core.network.mapped import mapped_places

START = 1000.0
PORT = 40000
OUTSIDE, OTHER = "203.0.113.9", "198.51.100.9"
SERVER, STUN = Address("203.0.113.1", 8080), Address("203.0.113.2", 3478)
PEER = Address("203.0.113.77", 5000)


@pytest.mark.parametrize(
    "inside", ["172.17.0.1", "192.168.1.4", "10.0.0.7", "100.64.3.4", "169.254.7.7", "127.0.0.1"]
)
@pytest.mark.parametrize("private_is_newer", [True, False])
def test_a_private_sighting_gives_way_to_a_public_one(inside, private_is_newer):
    model = _model()
    seen = [(STUN, OUTSIDE), (SERVER, inside)]
    for by, host in seen if private_is_newer else reversed(seen):
        _see(model, by, host)
    assert model.observed() == (Address(OUTSIDE, PORT),)
    assert model.samples() == (Address(OUTSIDE, PORT),)
    assert model.worth_telling() == (Address(OUTSIDE, PORT),), "the server does not tell it"


def test_a_private_sighting_is_told_while_it_is_the_only_one():
    model = _model()
    _see(model, SERVER, "172.17.0.1")
    assert model.observed() == (Address("172.17.0.1", PORT),)
    assert model.worth_telling() == ()


def test_a_server_that_sees_its_own_address_gives_way():
    """A balancer that hides every source behind the address that we know the server by."""
    model = _model()
    _see(model, STUN, OUTSIDE)
    _see(model, SERVER, SERVER.host)
    assert model.observed() == (Address(OUTSIDE, PORT),)
    assert model.worth_telling() == (Address(OUTSIDE, PORT),)


def test_families_do_not_give_way_to_each_other():
    model = _model()
    _see(model, SERVER, OUTSIDE)
    _see(model, Address("fd00::1", 8080), "fd00::4")
    assert [address.host for address in model.observed()] == [OUTSIDE, "fd00::4"]
    _see(model, Address("2001:db8::1", 8080), "2001:db8::4")
    assert [address.host for address in model.observed()] == [OUTSIDE, "2001:db8::4"]
    assert model.worth_telling() == (Address("2001:db8::4", PORT),)


def test_what_all_servers_see_alike_is_not_told_in_the_card():
    model = _model()
    _see(model, SERVER, OUTSIDE)
    _see(model, STUN, OUTSIDE, port=5555)
    assert model.worth_telling() == ()


def test_two_uplinks_are_both_told():
    model = _model()
    _see(model, SERVER, OUTSIDE)
    _see(model, STUN, OTHER, START + 0.1)
    both = {Address(OUTSIDE, PORT), Address(OTHER, PORT)}
    assert set(model.observed()) == set(model.worth_telling()) == both
    assert model.has_address_pool
    assert model.is_seen_at_several


def test_another_address_is_called_a_second_one_only_when_the_first_was_seen_again():
    model = _model()
    _see(model, SERVER, OUTSIDE)
    _see(model, SERVER, OUTSIDE, START + 20.0)
    _see(model, STUN, OTHER, START + 22.0)
    assert not model.is_seen_at_several, "we may have moved between the two answers"
    assert len(model.observed()) == 2, "peers try both meanwhile"
    _see(model, SERVER, OUTSIDE, START + 40.0)
    assert model.is_seen_at_several


def test_an_address_that_we_have_left_is_no_second_uplink():
    model = _model()
    _see(model, SERVER, OUTSIDE)
    _see(model, STUN, OUTSIDE, START + 0.1)
    _see(model, SERVER, OTHER, START + 20.0)
    assert model.observed() == (Address(OTHER, PORT),)
    assert not model.has_address_pool


def test_the_order_of_two_uplinks_does_not_change_with_every_answer():
    model = _model()
    _see(model, SERVER, OUTSIDE)
    _see(model, STUN, OTHER, START + 0.1)
    before = model.observed()
    for number in range(1, 6):
        _see(model, SERVER if number % 2 else STUN, before[number % 2].host, START + 20.0 * number)
        assert {a.host for a in model.observed()} == {OUTSIDE, OTHER}
    model.has_changed = False
    _see(model, SERVER, OUTSIDE, START + 130.0)
    _see(model, STUN, OTHER, START + 131.0)
    assert not model.has_changed


def test_a_peers_report_counts_only_where_no_server_sees_a_public_address():
    model, told = _model(), Address(OUTSIDE, 4444)
    model.observe_by_peer(MAIN_SOCKET, PEER, told, START)
    assert model.worth_telling() == (), "where no server answers, peers introduce us"
    _see(model, SERVER, "172.17.0.1")
    assert model.worth_telling() == (told,)
    assert model.observed() == (Address("172.17.0.1", PORT),)
    _see(model, STUN, OTHER)
    assert told not in model.worth_telling()


@pytest.mark.parametrize("host", ["192.168.1.4", "127.0.0.1", "100.64.0.9"])
def test_a_peer_can_not_have_us_claim_an_address_inside_a_network(host):
    model = _model()
    _see(model, SERVER, "172.17.0.1")
    model.observe_by_peer(MAIN_SOCKET, PEER, Address(host, 4444), START)
    model.observe_by_peer(SocketId(40001), PEER, Address(OUTSIDE, 4444), START)
    assert model.worth_telling() == ()


def test_a_peer_that_changes_its_mind_makes_a_card_a_minute():
    model = _model()
    _see(model, SERVER, "172.17.0.1")
    told = set()
    for second in range(120):
        model.observe_by_peer(MAIN_SOCKET, PEER, Address(OUTSIDE, 2000 + second), START + second)
        told.add(model.worth_telling())
    assert len(told) == 2


@pytest.mark.parametrize(
    ("told", "seen", "places"),
    [
        ("203.0.113.9", [OUTSIDE], [OUTSIDE]),
        ("46.7.7.7", [OUTSIDE], [OUTSIDE, "46.7.7.7"]),
        ("0.0.0.0", [OUTSIDE], [OUTSIDE]),
        ("0.0.0.0", [], []),
        ("46.7.7.7", [], ["46.7.7.7"]),
        ("203.0.113.9", [OUTSIDE, OTHER], [OUTSIDE, OTHER]),
        ("46.7.7.7", [OUTSIDE, OTHER], [OUTSIDE, OTHER, "46.7.7.7"]),
        ("100.64.0.5", [OUTSIDE], ["100.64.0.5", OUTSIDE]),
        ("46.7.7.7", ["172.17.0.1"], ["46.7.7.7"]),
        ("46.7.7.7", ["2001:db8::4"], ["46.7.7.7"]),
    ],
)
def test_a_mapped_port_is_tried_wherever_we_are_seen(told, seen, places):
    """The router may name a stale address, one of the next network, or none."""
    found = mapped_places([Address(told, 50007)], [Address(host, 4444) for host in seen])
    assert found == tuple(Address(host, 50007) for host in places)


def test_a_stun_server_that_lies_adds_an_address_and_takes_none_away():
    model = _model()
    for port in range(SERVER.port, SERVER.port + 4):
        _see(model, SERVER._replace(port=port), OUTSIDE)
    _see(model, STUN, OTHER, START + 0.1)
    assert {a.host for a in model.worth_telling()} == {OUTSIDE, OTHER}


def _model():
    model = NatModel()
    model.set_local_addresses(("192.168.1.4",), PORT)
    return model


def _see(model, by, host, at=START, port=PORT):
    model.observe(MAIN_SOCKET, by, Address(host, port), at)
