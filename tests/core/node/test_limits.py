"""What the user's limits do to a node."""

from tests.core.world.village import Village


def test_a_network_has_no_more_peers_than_the_user_allows_and_none_that_is_there_goes():
    village = Village(4)
    internet = village.internet
    alice, bob, carol = (
        village.member(name, port=40000 + number)
        for number, name in enumerate(("alice", "bob", "carol"))
    )
    alice.start()
    alice.node.set_limits(helper_sockets=256, fill_blocks="half", peers_per_network=1)
    bob.start()
    assert internet.run_until(lambda: alice.is_online(bob), 5.0)
    carol.start()
    assert internet.run_until(lambda: bob.is_online(carol), 5.0)
    internet.run(5.0)
    assert alice.is_online(bob)
    assert carol.peer not in alice.membership.peers
    assert alice.membership.dropped["network-is-full"] > 0

    alice.node.set_limits(helper_sockets=256, fill_blocks="half", peers_per_network=2)
    assert internet.run_until(lambda: alice.is_online(carol), 60.0)
