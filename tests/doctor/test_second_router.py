"""Two routers in a row are told where our own router's address is not the one we are seen at."""

from natd.core.base.types import ANY_HOST, Address
from natd.doctor.sightings import second_router_words

SEEN = (Address("203.0.113.9", 40000),)


def test_a_router_whose_own_address_is_not_public_stands_before_another() -> None:
    for host in ("100.64.0.2", "192.168.0.2", "10.0.0.2"):
        words = second_router_words((Address(host, 50000),), SEEN)
        assert "two routers in a row" in words
        assert host in words


def test_nothing_is_claimed_that_the_router_has_not_said_or_that_nobody_sees() -> None:
    assert second_router_words((), SEEN) == ""
    assert second_router_words((Address(ANY_HOST, 50000),), SEEN) == "", "it names none of its own"
    assert second_router_words((Address("203.0.113.9", 50000),), SEEN) == ""
    assert second_router_words((Address("192.168.0.2", 50000),), ()) == ""
    assert second_router_words((Address("192.168.0.2", 1),), (Address("192.168.0.9", 2),)) == ""
