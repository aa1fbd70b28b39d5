"""Two who can't hear each other until their rounds are used up, and whose main sockets are spoilt
by then: they still meet, soon after they can."""

import pytest

from natd.core.base.types import Address
from tests.core.world.village import Member, Village
from tests.internet.nat import LINUX, LINUX_ACCEPTING
from tests.nemesis.wire import TappedInternet

CUT_FOR_S = 100.0
MEET_WITHIN_S = 80.0
"""One late round."""


@pytest.mark.parametrize("seed", range(6))
def test_a_main_socket_that_another_path_keeps_spoilt_parts_nobody(seed: int) -> None:
    internet = TappedInternet(seed)
    village = Village(seed, internet=internet)
    bobs, carols = internet.add_nat(LINUX_ACCEPTING), internet.add_nat(LINUX)
    bob, carol = village.member("bob", bobs), village.member("carol", carols)
    alice = village.member("alice")
    cut = frozenset((bobs, carols))
    internet.cuts |= {cut, frozenset((alice.host, carols))}
    bob.start()
    internet.run(1.0)
    _come_too_early(carol, bob)
    carol.start()
    internet.run(2.0)
    alice.start()
    assert internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 10.0)
    internet.run(CUT_FOR_S)
    internet.cuts.discard(cut)
    main = Address(bob.host.address, bob.port)
    there = Address(carols.addresses[0], 9)
    spoilt = bobs.nat.outbound(main, there, internet.now)
    assert spoilt is not None
    assert spoilt.port != bob.port, "all that is new leaves from another port than servers see"
    met = internet.run_until(lambda: bob.is_online(carol) and carol.is_online(bob), MEET_WITHIN_S)
    assert met


def _come_too_early(carol: Member, bob: Member) -> None:
    """A packet of Carol's that Bob's router takes for a flow of its own."""
    routers = carol.host.behind, bob.host.behind
    assert routers[0] is not None
    assert routers[1] is not None
    source = Address(routers[0].addresses[0], carol.port)
    routers[1].nat.inbound(source, Address(routers[1].addresses[0], bob.port), bob.internet.now)
