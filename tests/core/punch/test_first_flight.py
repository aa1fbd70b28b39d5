"""A first flight that the budget has cut short is no flight."""

from natd.core.base.types import MAIN_SOCKET, Address
from natd.core.checks.budget import TargetBudget
from natd.core.punch.first_flight import FirstFlight

NOW = 1000.0
PLACE = (Address("192.0.2.7", 40000), MAIN_SOCKET)
DATAGRAM = bytes(1200)


def test_a_flight_that_has_left_whole_need_not_go_again_with_the_path() -> None:
    flight = begun()
    assert flight.send(DATAGRAM, None, [], NOW)
    assert flight.has_flown(PLACE, NOW - 0.1)
    assert not flight.has_flown(PLACE, NOW + 0.1)


def test_a_flight_of_which_the_budget_refused_a_part_has_not_flown() -> None:
    flight = begun()
    sent = [flight.send(DATAGRAM, None, [], NOW) for _ in range(8)]
    assert sent[0], "the first one leaves"
    assert not sent[-1], "and the last is one too many"
    assert not flight.has_flown(PLACE, NOW - 0.1)


def begun() -> FirstFlight:
    flight = FirstFlight(TargetBudget())
    flight.begin(0.0, NOW)
    flight.heard(PLACE, NOW)
    return flight
