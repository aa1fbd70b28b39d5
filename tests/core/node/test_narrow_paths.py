"""Paths that carry less than others: 1,492 bytes and 1,280 suffice, below 1,228 no session can be.

A path is given a limit for IP packets; what is larger is lost without a word, as where a router
sends no ICMP and drops fragments.
"""

import pytest

from natd.core.base import events
from natd.core.base.verdict import VerdictCode
from natd.core.registration.transactions import FULL_SIZE_TRIES
from tests.core.world.village import Member, Village
from tests.internet.nat import PORT_RESTRICTED

LARGEST = "x" * 16_384
TOLD_S = 10.0


@pytest.mark.parametrize(
    ("most_bytes", "ipv6"), [(1492, False), (1280, True), (1248, True), (1228, False)]
)
def test_pppoe_and_the_least_ipv6_carry_sessions_and_the_largest_messages(most_bytes, ipv6):
    village, alice, bob = pair(most_bytes, ipv6=ipv6)
    bob.send(LARGEST)
    assert village.internet.run_until(lambda: alice.texts() == [LARGEST], 2.0)
    assert bob.is_online(alice)
    assert not narrow_servers(bob)
    [view] = bob.views()
    assert view.path is not None
    assert view.path.address.is_ipv6 == ipv6


@pytest.mark.parametrize("is_ours", [True, False])
def test_below_that_both_are_told_the_size_and_nobody_is_blamed(is_ours):
    village, alice, bob = pair(1227 if is_ours else None, None if is_ours else 1227)
    bob.send("hello")
    village.internet.run(TOLD_S)
    assert not bob.is_online(alice)
    for member, other in ((alice, bob), (bob, alice)):
        assert member.verdict_codes == {other.peer: VerdictCode.PATH_TOO_NARROW}
        assert "1,228 bytes" in member.verdicts[other.peer]
        assert not member.attached.events_of(events.ServerLost)


def test_where_1_200_bytes_are_lost_the_server_is_asked_with_1_000():
    village, _, bob = pair(None, 1227)
    assert village.internet.run_until(lambda: bool(member_observed(bob)), 1.5)
    assert narrow_servers(bob)
    padded = [
        len(sent.datagram.data)
        for sent in village.internet.trace or []
        if sent.host is bob.host
        and sent.datagram.address == village.servers[0]
        and len(sent.datagram.data) >= 900
    ]
    assert padded[: FULL_SIZE_TRIES + 1] == [1200, 1200, 1200, 1000]


def test_where_1_000_bytes_are_lost_the_size_is_told_and_the_server_is_not_blamed():
    village, _, bob = pair(None, 1027)
    village.internet.run(12.0)
    [lost] = bob.attached.events_of(events.ServerLost)
    assert lost.code is VerdictCode.PATH_TOO_NARROW
    assert "1,028 bytes" in lost.reason
    [report] = bob.membership.servers.reports()
    assert report.refusal is not None
    assert bob.host.behind is not None
    village.internet.run(60.0)
    [report] = bob.membership.servers.reports()
    assert report.refusal is not None, "small packets are answered still"
    bob.host.behind.most_bytes = None
    assert village.internet.run_until(lambda: bool(member_observed(bob)), 20.0)
    [report] = bob.membership.servers.reports()
    assert report.refusal is None


def test_a_server_that_dies_behind_a_narrow_path_is_silent():
    village, _, bob = pair(None, 1027)
    village.internet.run(12.0)
    assert bob.host.behind is not None
    bob.host.behind.most_bytes = 60
    village.internet.run(60.0)
    [report] = bob.membership.servers.reports()
    assert report.refusal is None


def test_a_server_that_is_silent_altogether_is_not_called_behind_a_narrow_path():
    village, _, bob = pair(None, 60)
    village.internet.run(12.0)
    [lost] = bob.attached.events_of(events.ServerLost)
    assert lost.code is not VerdictCode.PATH_TOO_NARROW


def test_an_uplink_that_is_wide_again_is_noticed():
    village, _, bob = pair(None, 1227)
    village.internet.run(5.0)
    assert narrow_servers(bob)
    assert bob.host.behind is not None
    bob.host.behind.most_bytes = None
    village.internet.run(30.0)
    assert not narrow_servers(bob)


def test_loss_is_not_taken_for_a_narrow_path():
    for seed in range(6):
        village, alice, bob = pair(seed=seed)
        village.internet.weather.loss = 0.1
        for _ in range(20):
            bob.send(LARGEST)
            village.internet.run(1.0)
        village.internet.run(30.0)
        assert len(alice.texts()) == 20
        assert VerdictCode.PATH_TOO_NARROW not in bob.verdict_codes.values(), seed


def test_a_path_that_shrinks_is_told_and_used_again_when_it_is_wide():
    village, alice, bob = pair()
    meet(village, alice, bob)
    gateway = bob.host.behind
    assert gateway is not None
    gateway.most_bytes = 1180
    bob.send(LARGEST)
    village.internet.run(TOLD_S)
    assert bob.verdict_codes == {alice.peer: VerdictCode.PATH_TOO_NARROW}
    assert bob.is_online(alice), "small messages still pass"
    bob.send("small", alice)
    gateway.most_bytes = None
    assert village.internet.run_until(lambda: len(alice.texts()) == 3, 35.0)
    assert alice.texts() == ["hi", LARGEST, "small"]
    assert told(bob, alice) is None


def test_a_path_that_shrinks_is_left_for_another():
    village, alice, bob = pair(ipv6=True)
    meet(village, alice, bob)
    for member in (alice, bob):
        assert member.host.behind is not None
        member.host.behind.most_bytes_ipv6 = 1180
    bob.send(LARGEST)
    assert village.internet.run_until(lambda: len(alice.texts()) == 2, TOLD_S)
    [view] = bob.views()
    assert view.path is not None
    assert not view.path.address.is_ipv6
    assert not bob.verdict_codes


def test_a_narrow_path_costs_little():
    village, alice, bob = pair(None, 1200)
    bob.send(LARGEST)
    village.internet.run(60.0)
    trace = village.internet.trace = []
    village.internet.run(60.0)
    large = [s for s in trace if len(s.datagram.data) > 1100 and s.host in (alice.host, bob.host)]
    assert len(large) <= 24, "a check of full size in ten seconds, and one of the server's"


def pair(
    alices: int | None = None, bobs: int | None = None, *, ipv6: bool = False, seed: int = 1
) -> tuple[Village, Member, Member]:
    """Alice has settled, bob comes; the largest packets of their uplinks."""
    village = Village(seed)
    internet = village.internet
    gateways = [internet.add_nat(PORT_RESTRICTED) for _ in range(2)]
    gateways[0].most_bytes, gateways[1].most_bytes = alices, bobs
    alice = village.member("alice", gateways[0], ipv6=ipv6)
    bob = village.member("bob", gateways[1], port=40001, ipv6=ipv6)
    alice.start()
    internet.run(3.0)
    internet.trace = []
    bob.start()
    return village, alice, bob


def meet(village: Village, alice: Member, bob: Member) -> None:
    bob.send("hi")
    village.internet.run(20.0)
    assert alice.texts() == ["hi"]


def narrow_servers(member: Member) -> bool:
    return any(report.is_narrow for report in member.membership.servers.reports())


def member_observed(member: Member) -> bool:
    return any(report.observed for report in member.membership.servers.reports())


def told(member: Member, other: Member) -> object:
    peer = member.membership.peer(other.peer, member.internet.now)
    assert peer is not None
    return peer.diagnose(member.internet.now).verdict
