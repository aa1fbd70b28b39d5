"""What it costs many members to meet, and to be connected while nobody says anything."""

from dataclasses import replace

import pytest

from tests.core.world.crowd import Crowd, Machine
from tests.internet.nat import PORT_RESTRICTED, NatPolicy

HASTY = replace(PORT_RESTRICTED, timeout_s=30.0)
"""A NAT that forgets after half a minute; the other one after two."""


@pytest.mark.parametrize("nat", [None, PORT_RESTRICTED], ids=["open", "nat"])
def test_many_meet_by_one_handshake_a_pair_and_few_packets(nat: NatPolicy | None, measured) -> None:
    crowd = Crowd(12, nat)
    crowd.join(every_s=0.01)
    assert crowd.meet(limit_s=10.0)
    measured(f"{crowd.between_peers():.0f} packets a pair, both ways, until they have met")
    assert crowd.handshakes() == crowd.pairs
    assert all(resident.met == 11 for resident in crowd.residents)
    assert crowd.between_peers() <= 50


@pytest.mark.parametrize("nat", [None, PORT_RESTRICTED, HASTY], ids=["open", "120 s", "30 s"])
def test_from_the_first_minute_on_an_idle_pair_sends_eight_packets_a_minute(
    nat: NatPolicy | None, measured
) -> None:
    """In a crowd, too: one of them teaches what all need to know of our NAT."""
    crowd = Crowd(8, nat)
    crowd.join(every_s=0.01)
    assert crowd.meet(limit_s=10.0)
    crowd.run(60.0)
    minutes = []
    for _ in range(6):
        crowd.sent.clear()
        crowd.run(60.0)
        minutes.append(crowd.between_peers())
    measured(f"at most {max(minutes):.1f} packets a pair and minute, both ways")
    assert max(minutes) <= 8.0
    assert crowd.is_whole()
    if nat is not HASTY:
        assert minutes[-1] <= 4.0


def test_two_who_share_64_networks_send_no_more_than_600_packets_a_minute_each(measured) -> None:
    """One flow keeps all of them open: each network by itself would need eight a minute."""
    crowd = Crowd(2, PORT_RESTRICTED, networks=64)
    crowd.join(every_s=1.0)
    assert crowd.meet(limit_s=10.0)
    crowd.run(60.0)
    minutes = []
    for _ in range(3):
        crowd.sent.clear()
        crowd.run(60.0)
        kinds = crowd.kinds()
        peers = kinds.total() - kinds["server"]
        minutes.append(kinds["server"] / 2 + peers)
        assert peers <= 64
    measured(f"at most {max(minutes):.0f} packets a minute, those to and from the server included")
    assert max(minutes) <= 600
    assert crowd.is_whole()


def test_a_machine_that_is_too_slow_for_all_of_them_does_not_repeat_itself_to_death(
    measured,
) -> None:
    """Sixteen daemons on two cores, each input six times as dear as it is: what was repeated
    because no answer had come kept the answers waiting, until nobody ever met."""
    crowd = Crowd(16, machine=Machine(small_s=0.002, large_s=0.006))
    crowd.join(every_s=0.01)
    assert crowd.meet(limit_s=30.0)
    handshakes = crowd.handshakes() / crowd.pairs
    measured(f"{handshakes:.1f} handshakes and {crowd.between_peers():.0f} packets a pair")
    assert handshakes <= 1.8
    assert crowd.between_peers() <= 130
