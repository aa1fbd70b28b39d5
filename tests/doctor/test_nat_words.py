"""What people are told of a NAT."""

from natd.core.base.types import MAIN_SOCKET, Address
from natd.core.nat.model import NatModel
from natd.doctor.nat_words import OURS, THEIRS, nat_words, router_words

PORT = 40_000
SERVER_PORTS = (8080, 8081, 8082, 8083)


def test_a_router_that_an_early_packet_has_spoilt_is_still_of_the_easy_kind() -> None:
    """Each new flow of the spoilt socket has another random port, and `doctor` said that the router
    picks ports at random."""
    model = NatModel()
    model.set_local_addresses(("192.168.1.4",), PORT)
    for began, seen in ((1000.0, PORT), (1060.0, 11_834), (1080.0, 27_320)):
        for number, port in enumerate(SERVER_PORTS):
            place = Address("203.0.113.5", port)
            model.observe(MAIN_SOCKET, place, Address("198.51.100.7", seen), began + number / 100)
    for whose in (OURS, THEIRS):
        assert "easy kind" in router_words(model.report(), whose)
        words = nat_words(model.report(), whose)
        assert "one port for all destinations" in words
        assert f"keeps {whose.port}" in words
        assert "random" not in words
