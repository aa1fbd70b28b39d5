"""A first flight that the budget has cut short: the rest goes by the path."""

from natd.core.base.types import MAIN_SOCKET, Address
from natd.core.checks.budget import TargetBudget
from natd.core.checks.host_proofs import HostProofs
from natd.core.punch.first_flight import FirstFlight

NOW = 1000.0
PLACE = (Address("192.0.2.7", 40000), MAIN_SOCKET)
DATAGRAM = bytes(1200)


def test_a_flight_that_has_left_need_not_go_again_with_the_path() -> None:
    flight = begun()
    assert flight.send(DATAGRAM, None, [], NOW)
    assert flight.has_flown(PLACE, NOW - 0.1)
    assert not flight.has_flown(PLACE, NOW + 0.1)


def test_what_the_budget_refused_of_it_goes_by_the_path() -> None:
    flight = begun()
    for refused in range(8):
        if not flight.send(bytes([refused]) + DATAGRAM, None, [], NOW):
            break
    assert 0 < refused < 7, "the first leave, and one of them is one too many"
    flight.reached()
    assert flight.take_rest(PLACE) == [bytes([refused]) + DATAGRAM]
    assert flight.take_rest(PLACE) == [], "once"


def test_a_path_elsewhere_is_none_of_its_business() -> None:
    flight = begun()
    for number in range(8):
        flight.send(bytes([number]) + DATAGRAM, None, [], NOW)
    flight.reached()
    assert flight.take_rest((Address("192.0.2.7", 40001), MAIN_SOCKET)) == []


def begun() -> FirstFlight:
    flight = FirstFlight(TargetBudget(), HostProofs())
    flight.begin(0.0, NOW)
    flight.heard(PLACE, NOW)
    return flight
