"""Several servers at once, of which any may die: real nodes, virtual time."""

import pytest

from natd.core.base import events
from natd.core.base.types import Address
from natd.core.keys.secrets import network_key
from tests.core.world.village import SERVER_PORT, Village
from tests.internet.fabric import Weather
from tests.internet.nat import LINUX, PORT_RESTRICTED

SECRET = network_key("demo", b"0123456789abcdef")

NOTICED_S = 20.0
"""How soon a server that comes back is used again."""


def test_a_member_registers_with_every_server_and_is_introduced_once():
    village, members = village_of(3, "alice", "bob")
    for member in members:
        assert [state(member, server) for server in village.servers] == ["registered"] * 3
        assert len(member.attached.events_of(events.PeerConnected)) == 1
        assert len(member.attached.events_of(events.MembersListed)) == 1


@pytest.mark.parametrize("survivor", range(3))
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_newcomers_are_introduced_at_once_while_any_one_server_lives(survivor, loss):
    """Even where the dead ones have died just before, and everybody still counts on them."""
    for seed in range(5):
        village, (alice, bob) = village_of(3, "alice", "bob", seed=seed, loss=loss)
        for number, host in enumerate(hosts(village)):
            if number != survivor:
                village.kill_server(host)
        carol = newcomer(village, "carol")
        carol.send("hello")
        assert met(village, carol, alice, bob, limit_s=5.0), f"seed {seed}"
        village.internet.run(2.0)
        assert alice.texts() == bob.texts() == ["hello"]


def test_servers_that_die_and_come_back_one_after_the_other_are_never_missed():
    village, members = village_of(3, "alice", "bob")
    for number, host in enumerate(hosts(village)):
        village.kill_server(host)
        village.internet.run(45.0)
        members.append(newcomer(village, f"newcomer{number}"))
        assert met(village, members[-1], *members[:-1], limit_s=5.0)
        village.restart_server(host)
        village.internet.run(NOTICED_S)
        for member in members:
            assert [state(member, server) for server in village.servers] == ["registered"] * 3


@pytest.mark.parametrize("dead_for_s", [60.0, 600.0, 3600.0])
def test_a_server_that_comes_back_is_used_within_twenty_seconds_however_long_it_was_dead(
    dead_for_s,
):
    village, members = village_of(1, "alice", "bob")
    village.kill_server()
    village.internet.run(dead_for_s)
    assert all(state(member, village.servers[0]) == "lost" for member in members)
    village.restart_server(village.server_host)
    village.internet.run(NOTICED_S)
    assert all(state(member, village.servers[0]) == "registered" for member in members)
    carol = newcomer(village, "carol")
    assert met(village, carol, *members, limit_s=2.0)


def test_who_is_registered_at_the_second_server_alone_is_met_by_who_is_at_both():
    village = Village(1)
    village.add_server()
    both, second = list(village.servers), village.servers[1:]
    village.servers[:] = second
    alice = newcomer(village, "alice")
    village.servers[:] = both
    bob = newcomer(village, "bob")
    assert met(village, bob, alice, limit_s=1.0)
    carol = newcomer(village, "carol")
    assert met(village, carol, alice, bob, limit_s=1.0)


def test_a_dead_server_in_the_list_makes_nobody_later():
    """Neither the first message nor a repair waits for one that does not answer."""
    for dead in (0, 1):
        village = Village(2)
        village.servers.insert(dead, Address("45.200.1.1", SERVER_PORT))
        alice = newcomer(village, "alice")
        village.internet.run(3.0)
        began = village.internet.now
        bob = newcomer(village, "bob")
        bob.send("hello")
        assert village.internet.run_until(lambda: alice.texts() == ["hello"], 1.0)  # noqa: B023
        assert village.internet.now - began < 0.19


def test_the_nearest_server_introduces_first_and_the_others_change_nothing():
    village = Village(3)
    village.add_server(delay_s=0.2)
    village.add_server(delay_s=0.005)
    alice = newcomer(village, "alice")
    village.internet.run(3.0)
    began = village.internet.now
    bob = newcomer(village, "bob")
    bob.send("hello")
    assert village.internet.run_until(lambda: alice.texts() == ["hello"], 1.0)
    assert village.internet.now - began < 0.13
    village.internet.run(10.0)
    assert alice.texts() == ["hello"]
    assert len(bob.attached.events_of(events.PeerConnected)) == 1


def test_two_whose_servers_have_all_changed_hands_keep_their_sessions():
    """Each server is restarted empty, one after the other: no session notices."""
    village, (alice, bob) = village_of(2, "alice", "bob")
    for host in hosts(village):
        village.kill_server(host)
        village.internet.run(5.0)
        village.restart_server(host)
        village.internet.run(30.0)
    assert alice.attached.events_of(events.PeerDisconnected) == []
    alice.send("still here", to=bob)
    assert village.internet.run_until(lambda: bob.texts() == ["still here"], 1.0)


# --- helpers -----------------------------------------------------------------------------------


def village_of(servers, *names, seed=1, loss=0.0):
    village = Village(seed, Weather(loss=loss, jitter_s=0.002))
    for _ in range(servers - 1):
        village.add_server()
    members = [newcomer(village, name) for name in names]
    assert met(village, *members, limit_s=20.0), f"seed {seed}"
    village.internet.run(3.0)
    return village, members


def newcomer(village, name):
    policy = LINUX if len(name) % 2 else PORT_RESTRICTED
    nat = village.internet.add_nat(policy)
    member = village.member(name, nat, SECRET, 40000 + sum(name.encode()))
    member.start()
    return member


def hosts(village):
    places = {server.host for server in village.servers}
    return [host for host in village.internet.hosts() if host.address in places]


def met(village, member, *others, limit_s):
    return village.internet.run_until(
        lambda: all(member.is_online(other) and other.is_online(member) for other in others),
        limit_s,
    )


def state(member, server):
    [report] = [r for r in member.membership.servers.reports() if r.address == server]
    return report.state
