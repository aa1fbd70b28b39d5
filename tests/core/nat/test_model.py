"""What our own NAT does, learnt from what servers see of us."""

import pytest

from natd.core.base.types import (
    MAIN_SOCKET,
    SURE,
    Address,
    Allocation,
    Filtering,
    Mapping,
    SocketId,
)
from natd.core.nat.filtering import FIRST_WAIT_S, Known
from natd.core.nat.model import MOST_OBSERVATIONS, OBSERVATION_LIFETIME_S, NatModel

START = 1000.0
SERVER = "203.0.113.1"
OUTSIDE = "198.51.100.9"
PORT = 40000


def test_nothing_is_known_before_the_first_answer():
    report = _model().report()
    assert report.mapping is Mapping.UNKNOWN
    assert report.confidence == 0.0
    assert _model().observed() == ()


def test_one_destination_alone_does_not_tell_the_mapping():
    model = _model()
    _see(model, 8080, (OUTSIDE, 5000))
    assert model.report().mapping is Mapping.UNKNOWN
    assert model.report().confidence == 0.0
    assert model.observed() == (Address(OUTSIDE, 5000),)


def test_two_ports_that_agree_on_our_own_port_are_sure_of_an_independent_mapping():
    model = _model()
    before = 0.0
    for number, port in enumerate((8080, 8081, 8082), 1):
        _see(model, port, (OUTSIDE, PORT))
        if number > 1:
            assert model.report().mapping is Mapping.INDEPENDENT
            assert SURE <= model.report().confidence > before
            before = model.report().confidence


def test_two_external_ipv4_addresses_of_one_socket_are_a_pool_and_one_of_each_family_is_none():
    model = _model()
    _see(model, 8080, (OUTSIDE, 5000))
    _see(model, 8081, ("2001:db8::9", 5000))
    assert not model.has_address_pool
    _see(model, 8082, ("198.51.100.99", 5001))
    assert model.has_address_pool


def test_one_host_that_sees_us_at_another_port_than_ours_can_not_tell_mapping_by_address():
    model = _model()
    for port in range(4):
        _see(model, 8080 + port, (OUTSIDE, 5000))
    assert model.report().mapping is Mapping.INDEPENDENT
    assert model.report().confidence < SURE
    assert model.report().may_be_hard
    assert not model.report().is_hard


@pytest.mark.parametrize(
    ("port", "mapping", "hard"),
    [(5000, Mapping.INDEPENDENT, False), (6000, Mapping.ADDRESS_DEPENDENT, True)],
)
def test_a_second_host_tells_mapping_by_address_from_an_independent_one(port, mapping, hard):
    model = _model()
    for number in range(4):
        _see(model, 8080 + number, (OUTSIDE, 5000))
    model.observe(MAIN_SOCKET, Address("203.0.113.2", 3478), Address(OUTSIDE, port), START)
    report = model.report()
    assert report.mapping is mapping
    assert report.confidence >= SURE
    assert (report.is_hard, report.may_be_hard) == (hard, hard)


def test_ports_that_disagree_tell_a_dependent_mapping():
    model = _model()
    for port in range(4):
        _see(model, 8080 + port, (OUTSIDE, 5000 + 7 * port))
    assert model.report().mapping is Mapping.DEPENDENT


def test_a_pool_of_addresses_is_a_dependent_mapping_too():
    model = _model()
    _see(model, 8080, (OUTSIDE, 5000))
    _see(model, 8081, ("198.51.100.10", 5000))
    assert model.report().mapping is Mapping.DEPENDENT


@pytest.mark.parametrize("host", ["192.168.1.4", "127.0.0.1", "::1", "127.3.2.1"])
def test_a_server_that_sees_us_at_an_address_of_ours_sees_us_in_the_open(host):
    model = _model()
    _see(model, 8080, (host, PORT))
    assert model.report().mapping is Mapping.OPEN
    assert model.report().filtering is Filtering.UNKNOWN, "a firewall may be there"


def test_one_destination_behind_a_nat_takes_the_openness_away():
    """A server on our own network, and one on the internet: the former knows no NAT."""
    model = _model()
    for port in range(4):
        _see(model, 8080 + port, ("192.168.1.4", PORT))
    assert model.report().mapping is Mapping.OPEN
    model.observe(MAIN_SOCKET, Address("203.0.113.2", 3478), Address(OUTSIDE, 5000), START)
    assert model.report().mapping is Mapping.UNKNOWN
    model.observe(MAIN_SOCKET, Address("203.0.113.3", 3478), Address(OUTSIDE, 5000), START)
    assert model.report().mapping is Mapping.INDEPENDENT


def test_a_nat_that_keeps_our_port_is_told():
    model = _model()
    for port in range(4):
        _see(model, 8080 + port, (OUTSIDE, PORT))
    assert model.report().allocation is Allocation.PRESERVING


def test_a_nat_that_keeps_ports_is_not_called_random_after_an_early_packet():
    """Each new flow of the spoilt socket has another random port."""
    model = _model()
    for port in (8080, 8081, 8082, 8083):
        _see(model, port, (OUTSIDE, PORT))
    for number, port in enumerate((8080, 8081, 8082, 8083)):
        _see(model, port, (OUTSIDE, 11_834), 60.0 + number / 100)
    for number, port in enumerate((8080, 8081, 8082, 8083)):
        _see(model, port, (OUTSIDE, 27_320), 80.0 + number / 100)
    report = model.report()
    assert (report.mapping, report.allocation) == (Mapping.INDEPENDENT, Allocation.PRESERVING)


def test_ports_in_their_order_tell_a_sequence_whatever_the_order_of_the_answers():
    model = _model()
    for port in (8082, 8080, 8083, 8081):
        _see(model, port, (OUTSIDE, 5000 + 2 * (port - 8080)))
    assert model.report().allocation is Allocation.SEQUENTIAL
    assert model.report().stride == 2


def test_an_observation_is_forgotten_after_its_lifetime():
    model = _model()
    _see(model, 8080, (OUTSIDE, 5000), at=0.0)
    _see(model, 8081, (OUTSIDE, 5000), at=1.0)
    _see(model, 8082, (OUTSIDE, 5000), at=OBSERVATION_LIFETIME_S + 2.0)
    assert model.report().mapping is Mapping.UNKNOWN


def test_a_nat_that_was_renumbered_is_not_taken_for_one_that_maps_by_destination():
    """What the other ports saw three minutes ago would have contradicted until it was old, and
    an escalation would have been planned upon it."""
    model = _model()
    for port in range(4):
        _see(model, 8080 + port, (OUTSIDE, 5000))
    _see(model, 8080, ("198.51.100.77", 5000), at=100.0)
    assert model.report().mapping is Mapping.UNKNOWN
    _see(model, 8082, ("198.51.100.77", 5000), at=101.0)
    assert model.report().mapping is Mapping.INDEPENDENT
    assert model.observed() == (Address("198.51.100.77", 5000),)


def test_a_destination_that_is_mapped_anew_takes_nothing_from_what_contradicts_it_already():
    model = _model()
    for port in range(4):
        _see(model, 8080 + port, (OUTSIDE, 5000 + 100 * port))
    _see(model, 8080, (OUTSIDE, 9000), at=100.0)
    assert model.report().mapping is Mapping.DEPENDENT
    assert model.report().confidence >= 1 - 2**-4


def test_a_change_of_network_makes_everything_worthless():
    model = _model()
    for port in range(4):
        _see(model, 8080 + port, (OUTSIDE, 5000))
    model.set_local_addresses(("fd00::4", "192.168.1.4"), PORT)
    assert model.report().mapping is Mapping.INDEPENDENT, "the same network as before"
    model.set_local_addresses(("10.0.0.4",), PORT)
    assert model.report().mapping is Mapping.UNKNOWN


def test_the_report_is_of_ipv4_where_both_were_seen_and_the_addresses_are_of_both():
    model = _model()
    model.observe(MAIN_SOCKET, Address("2001:db8::1", 8080), Address("2001:db8::4", PORT), START)
    assert model.report().mapping is Mapping.UNKNOWN
    for port in range(2):
        _see(model, 8080 + port, (OUTSIDE, 5000 + port))
    assert model.report().mapping is Mapping.DEPENDENT
    assert [address.is_ipv6 for address in model.observed()] == [False, True]


def test_only_what_changes_the_picture_is_reported():
    model = _model()
    assert _see(model, 8080, (OUTSIDE, 5000))
    assert not _see(model, 8080, (OUTSIDE, 5000), at=1.0)
    assert _see(model, 8081, (OUTSIDE, 5000), at=1.0)
    assert not _see(model, 8081, (OUTSIDE, 5000), at=2.0)


def test_another_socket_says_nothing_about_the_main_one_and_can_be_forgotten():
    model, other = _model(), SocketId(70000)
    _see(model, 8080, (OUTSIDE, 5000))
    model.observe(other, Address(SERVER, 8081), Address(OUTSIDE, 6000), START)
    assert model.report().mapping is Mapping.UNKNOWN
    assert model.observed(other) == (Address(OUTSIDE, 6000),)
    model.forget_socket(other)
    assert model.observed(other) == ()
    assert model.observed() == (Address(OUTSIDE, 5000),)


def test_a_fresh_port_that_differs_from_the_lease_on_a_keeping_nat_is_poison():
    model = _model()
    lease = Address(OUTSIDE, PORT)
    assert model.is_poisoned(lease, Address(OUTSIDE, 61234))
    assert not model.is_poisoned(lease, lease)
    assert not model.is_poisoned(lease, Address("198.51.100.77", 61234)), "another address: moved"


def test_a_difference_is_poison_only_where_earlier_samples_agreed():
    agreeing, scattered = _model(), _model()
    for port in range(3):
        _see(agreeing, 8080 + port, (OUTSIDE, 5000))
        _see(scattered, 8080 + port, (OUTSIDE, 5000 + 100 * port))
    fresh = Address(OUTSIDE, 61234)
    assert agreeing.is_poisoned(Address(OUTSIDE, 5000), fresh)
    assert not scattered.is_poisoned(Address(OUTSIDE, 5000), fresh)


def test_memory_is_bounded_whatever_is_observed():
    model = _model()
    for number in range(10 * MOST_OBSERVATIONS):
        model.observe(SocketId(number), Address(SERVER, 8080), Address(OUTSIDE, 5000), START)
    assert len(model._observations) == MOST_OBSERVATIONS


def test_whom_the_nat_lets_in_is_known_of_the_address_that_was_asked_from():
    model = _model()
    _see(model, 8080, (OUTSIDE, PORT))
    model.conclude_filtering(Known(Filtering.DEPENDENT, 0.95, OUTSIDE))
    assert model.report().filtering is Filtering.DEPENDENT
    assert model.report().filtering_confidence == 0.95
    _see(model, 8080, ("198.51.100.77", PORT), at=20.0)
    assert model.report().filtering is Filtering.UNKNOWN


def test_in_another_network_behind_the_same_address_the_filtering_is_asked_for_anew():
    model = _model()
    _see(model, 8080, (OUTSIDE, PORT))
    model.conclude_filtering(Known(Filtering.DEPENDENT, 0.95, OUTSIDE))
    model.set_local_addresses(("10.0.0.5",), PORT)
    _see(model, 8080, (OUTSIDE, PORT), at=1.0)
    assert model.report().filtering is Filtering.UNKNOWN


def test_what_is_known_of_one_family_says_nothing_of_the_other():
    model = _model()
    model.conclude_filtering(Known(Filtering.DEPENDENT, 0.95, OUTSIDE))
    model.conclude_filtering(Known(Filtering.INDEPENDENT, 0.99, "2001:db8::9"))
    _see(model, 8080, (OUTSIDE, PORT))
    assert model.report().filtering is Filtering.DEPENDENT


def test_another_mapping_class_has_the_filtering_asked_for_soon():
    model = _model()
    for number in range(4):
        _see(model, 8080 + number, (OUTSIDE, PORT))
    assert model.report().mapping is Mapping.INDEPENDENT
    assert model.filters.round_at is None
    for number in range(4):
        _see(model, 8080 + number, (OUTSIDE, 5000 + 17 * number), at=60.0)
    assert model.report().mapping is Mapping.DEPENDENT
    assert model.filters.round_at == START + 60.0 + FIRST_WAIT_S


def _model():
    model = NatModel()
    model.set_local_addresses(("192.168.1.4", "fd00::4"), PORT)
    return model


def _see(model, server_port, observed, at=0.0):
    destination = Address(SERVER, server_port)
    return model.observe(MAIN_SOCKET, destination, Address(*observed), START + at)
