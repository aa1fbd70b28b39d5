"""How probable each mapping class is by what hosts and ports saw."""

import pytest

from natd.core.base.types import SURE, Address, Mapping
from natd.core.nat.mapping_class import MAPPINGS, View, class_probabilities, contradicts, likeliest

EI, AD, APD = MAPPINGS
OURS = "198.51.100.9"


def test_the_probabilities_are_of_all_classes_and_add_up():
    weights = class_probabilities([_see("s", 1, 5000), _see("s", 2, 5000)], kept=False)
    assert set(weights) == set(MAPPINGS)
    assert sum(weights.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seen", "mapping", "sure"),
    [
        ([("s", 5000), ("s", 5000), ("s", 5000), ("s", 5000)], EI, False),
        ([("s", 5000), ("s", 5001), ("s", 5002)], APD, True),
        ([("s", 5000), ("s", 5000), ("s", 5000), ("t", 5000)], EI, True),
        ([("s", 5000), ("s", 5000), ("s", 5000), ("t", 6000)], AD, True),
        ([("s", 5000), ("s", 5000), ("t", 6000), ("t", 6000), ("u", 7000)], AD, True),
        ([("s", 5000), ("s", 5001), ("t", 6000), ("t", 6001)], APD, True),
        ([("s", 5000), ("t", 6000)], APD, False),
        ([("s", 5000), ("s", 5000), ("s", 5000), ("s", 6000)], EI, False),
    ],
)
def test_ports_tell_one_comparison_and_hosts_the_other(seen, mapping, sure):
    best, weight = likeliest(
        class_probabilities([_see(*each) for each in _numbered(seen)], kept=False)
    )
    assert best is mapping
    assert (weight >= SURE) is sure


def test_on_a_nat_that_keeps_our_port_two_ports_are_enough():
    seen = [("s", 40000), ("s", 40000)]
    best, weight = likeliest(
        class_probabilities([_see(*each) for each in _numbered(seen)], kept=True)
    )
    assert best is EI
    assert weight >= SURE


def test_a_peer_that_agrees_makes_sure_and_one_that_does_not_makes_doubt():
    servers = [_see(*each) for each in _numbered([("s", 5000)] * 4)]
    assert class_probabilities(servers, [True], kept=False)[EI] >= SURE
    best, weight = likeliest(class_probabilities(servers, [False], kept=False))
    assert best is AD
    assert weight < SURE


def test_a_hundred_lying_hosts_weigh_no_more_than_one():
    servers = [_see(*each) for each in _numbered([("s", 5000)] * 4)]
    assert class_probabilities(servers, [False] * 100, kept=False) == class_probabilities(
        servers, [False], kept=False
    )


@pytest.mark.parametrize("second", [5000, 6000])
def test_no_peer_counts_where_two_servers_hosts_have_been_compared(second):
    servers = [_see(*each) for each in _numbered([("s", 5000)] * 3 + [("t", second)])]
    lies = [second == 6000] * 9
    assert class_probabilities(servers, lies, kept=False) == class_probabilities(
        servers, kept=False
    )


def test_a_peer_that_sees_another_port_than_the_kept_one_tells_of_a_clash_not_of_the_class():
    servers = [_see(*each) for each in _numbered([("s", 40000)] * 4)]
    assert class_probabilities(servers, [False], kept=True) == class_probabilities(
        servers, kept=True
    )


@pytest.mark.parametrize(
    ("mapping", "host", "port", "surprises"),
    [
        (EI, "s", 6000, True),
        (EI, "t", 6000, True),
        (AD, "s", 6000, True),
        (AD, "t", 6000, False),
        (AD, "t", 5000, True),
        (APD, "s", 5000, True),
        (APD, "t", 6000, False),
        (Mapping.UNKNOWN, "s", 6000, False),
    ],
)
def test_what_a_class_does_not_expect_contradicts_it(mapping, host, port, surprises):
    assert contradicts(mapping, _see(host, 2, port), _see("s", 1, 5000)) is surprises


def _numbered(seen):
    return [(host, number, port) for number, (host, port) in enumerate(seen)]


def _see(host, at, port):
    return View(Address(host, 8080 + at), Address(OURS, port))
