"""The load that the other users of a sequential NAT make."""

from random import Random

import pytest

from natd.core.base.types import LOWEST_PORT, Allocation
from natd.core.nat.port_allocation import HIGHEST_PORT, PortRule
from natd.core.nat.port_watch import Drift

START = 1000.0
BY_TWO = PortRule(Allocation.SEQUENTIAL, 2)


def test_nothing_is_measured_before_two_samples_with_a_pause_between_them():
    drift = Drift()
    assert drift.per_s == 0.0
    drift.add(5000, BY_TWO, START)
    drift.add(5040, BY_TWO, START + 0.05)
    assert drift.per_s == 0.0, "a burst tells the stride, not the load"


def test_the_load_is_what_others_took_in_two_pauses():
    drift = Drift()
    drift.add(5000, BY_TWO, START)
    drift.add(5000 + 2 * 101, BY_TWO, START + 50.0)
    assert drift.per_s == 0.0, "the NAT may have begun to count anew"
    drift.add(5000 + 2 * 202, BY_TWO, START + 100.0)
    assert drift.per_s == pytest.approx(100 / 50)


def test_a_sequence_that_begins_anew_elsewhere_is_no_load():
    drift = Drift()
    for number in range(4):
        drift.add(5000 + 2 * 51 * number, BY_TWO, START + 50.0 * number)
    drift.add(40_000, BY_TWO, START + 200.0)
    assert drift.per_s == pytest.approx(1.0)
    drift.add(40_000 + 2 * 51, BY_TWO, START + 250.0)
    assert drift.per_s == pytest.approx(1.0)


def test_our_own_guesses_between_two_samples_are_no_load():
    drift = Drift()
    for number in range(10):
        drift.add(5000 + 400 * number, BY_TWO, START + 2.0 * number)
    assert drift.per_s == 0.0


def test_a_sequence_that_wrapped_around_has_not_run_backwards():
    drift = Drift()
    drift.add(HIGHEST_PORT - 29, BY_TWO, START)
    drift.add(HIGHEST_PORT - 9, BY_TWO, START + 10.0)
    drift.add(LOWEST_PORT + 10, BY_TWO, START + 20.0)
    assert drift.per_s == pytest.approx(9 / 10)


def test_ports_without_a_sequence_are_no_load():
    drift = Drift()
    for second, port in enumerate((5000, 60_000, 2000)):
        drift.add(port, PortRule(Allocation.RANDOM), START + 60.0 * second)
    assert drift.per_s == 0.0


@pytest.mark.parametrize("load", [0.5, 5.0, 100.0])
def test_the_estimate_settles_at_the_load_and_follows_it_when_it_changes(load):
    drift, random = Drift(), Random(7)
    port, now = 5000, START
    for each in (load, 3.0 * load):
        for _ in range(30):
            now += 60.0
            taken = round(random.gauss(60.0 * each, (60.0 * each) ** 0.5))
            port = LOWEST_PORT + (port + 2 * (1 + max(0, taken)) - LOWEST_PORT) % 64_512
            drift.add(port, BY_TWO, now)
        assert drift.per_s == pytest.approx(each, rel=0.25)
