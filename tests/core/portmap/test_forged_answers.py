"""Answers that somebody on the LAN forges, and a gateway that lies by NAT-PMP and PCP."""

import pytest

from natd.core.base.types import MAIN_SOCKET, Address
from natd.core.portmap.client import ANNOUNCEMENTS_SOCKET, Protocol
from tests.core.portmap.router import (
    EXTERNAL,
    GATEWAY,
    NONCE,
    OUTSIDE,
    PORT,
    START,
    Router,
    found,
    natpmp_granted,
    pcp_announced,
    pcp_granted,
)

ELSEWHERE = Address("198.51.100.66", PORT)
NEIGHBOUR = "192.168.1.66"
DAY_S = 86_400.0


@pytest.mark.parametrize("socket", [MAIN_SOCKET, ANNOUNCEMENTS_SOCKET])
@pytest.mark.parametrize("port", [5351, 1900, 40000])
def test_no_answer_of_a_host_that_is_not_the_gateway_counts(socket, port):
    router = Router()
    for data in answers():
        router.core.receive_datagram(data, Address(NEIGHBOUR, port), START, socket)
    assert router.core.externals == ()
    assert router.core.next_event() is None
    assert router.core.datagrams_to_send() == []
    assert router.core.dropped == {"not-the-gateway": len(answers())}


def test_what_is_said_to_everybody_in_the_gateways_name_grants_and_tells_nothing():
    """Everybody on the LAN knows that socket's port, and can write any source."""
    router = Router()
    for data in answers():
        router.core.receive_datagram(data, Address(GATEWAY, 5351), START, ANNOUNCEMENTS_SOCKET)
    assert router.core.externals == ()
    assert router.core.next_event() is None
    assert router.core.dropped["not-an-announcement"] == 2

    router = Router(*Protocol)
    router.run(60.0)
    for data in answers():
        router.core.receive_datagram(data, Address(GATEWAY, 5351), router.now, ANNOUNCEMENTS_SOCKET)
    router.run(60.0)
    assert router.core.externals == (EXTERNAL,)
    assert router.told == [(EXTERNAL,)]


def test_a_forged_announcement_does_not_change_what_we_know_of_the_routers_clock():
    router = Router(Protocol.PCP)
    router.run(600.0)
    asked = len(router.asked(Protocol.PCP))
    for _ in range(600):
        router.core.receive_datagram(
            pcp_announced(router.epoch_s), Address(GATEWAY, 5351), router.now, ANNOUNCEMENTS_SOCKET
        )
        router.run(0.1)
    assert len(router.asked(Protocol.PCP)) == asked


@pytest.mark.parametrize(
    "data",
    [
        pcp_granted(b"x" * 12, ELSEWHERE, 3600, 9),
        pcp_granted(NONCE, ELSEWHERE, 0, 9),
        pcp_granted(NONCE, ELSEWHERE._replace(port=0), 3600, 9),
        natpmp_granted(ELSEWHERE._replace(port=0), 9)[1],
    ],
    ids=["another nonce", "for no time", "port 0", "port 0 by NAT-PMP"],
)
def test_an_answer_that_grants_nothing_is_no_mapping(data):
    router = Router()
    for each in (natpmp_granted(ELSEWHERE, 9)[0], data):
        router.core.receive_datagram(each, Address(GATEWAY, 5351), START)
    assert router.core.externals == ()
    router.run(120.0)
    assert router.core.externals == ()


def test_an_answer_that_nobody_asked_for_maps_nothing():
    router = Router()
    router.run(30.0)
    for data in answers():
        for port in (5351, 1900):
            router.core.receive_datagram(data, Address(GATEWAY, port), router.now)
    assert router.core.externals == ()
    assert router.orders == []


def test_a_mapping_for_136_years_ends_in_a_day_of_silence():
    router = Router(Protocol.PCP, lifetime_s=2**32 - 1)
    router.run(1.0)
    assert router.core.externals == (EXTERNAL,)
    router.speaks.clear()
    router.run(DAY_S + 1.0)
    assert not router.core.externals


def test_a_mapping_for_a_second_does_not_make_us_ask_every_second():
    router = Router(Protocol.PCP, lifetime_s=1)
    router.run(600.0)
    assert len(router.asked(Protocol.PCP)) <= 600 / 15 + 1


def test_an_address_of_the_other_family_is_none_of_a_port_of_ours():
    router = Router()
    data = (
        pcp_granted(NONCE, EXTERNAL, 3600, 9)[:-16] + bytes.fromhex("20010db8") + bytes(11) + b"1"
    )
    router.core.receive_datagram(data, Address(GATEWAY, 5351), START)
    assert router.core.externals == (Address("0.0.0.0", PORT),)


def answers() -> list[bytes]:
    """One of each kind, all of them in our favour."""
    address, granted = natpmp_granted(ELSEWHERE, 9)
    mapped = pcp_granted(NONCE, Address(OUTSIDE, 666), 3600, 9)
    return [address, granted, mapped, pcp_announced(9), found()]
