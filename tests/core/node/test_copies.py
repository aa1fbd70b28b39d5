"""One identity in two places: both notice within a minute, and neither starves."""

from copy import deepcopy

import pytest

from tests.core.world.village import Member, Village
from tests.internet.nat import PORT_RESTRICTED

NOTICED_WITHIN_S = 60.0


@pytest.mark.parametrize("behind_nats", [False, True], ids=["public", "behind NATs"])
@pytest.mark.parametrize("seed", range(4))
def test_both_notice_within_a_minute_and_all_that_either_says_arrives(
    seed: int, behind_nats: bool
) -> None:
    village, alice, copy, bob = _copied(seed, behind_nats)
    began = village.internet.now
    copy.start()
    both = (alice, copy)
    noticed = village.internet.run_until(
        lambda: all(any(copied for _, copied in each.own_cards) for each in both), 120.0
    )
    assert noticed
    assert village.internet.now - began <= NOTICED_WITHIN_S
    for number in range(5):
        for each, name in ((alice, "first"), (copy, "second")):
            each.send(f"{name} {number}", to=bob)
        village.internet.run(40.0)
    village.internet.run(120.0)
    for name in ("first", "second"):
        heard = [text for text in bob.texts() if text.startswith(name)]
        assert heard == [f"{name} {number}" for number in range(5)]
    assert not alice.disk.outbox[bob.peer]
    assert not copy.disk.outbox[bob.peer]


def test_what_is_said_to_a_pair_of_copies_reaches_one_of_them_once() -> None:
    village, alice, copy, bob = _copied(1, False)
    copy.start()
    for number in range(20):
        bob.send(f"to you {number}", to=alice)
        village.internet.run(11.0)
    village.internet.run(60.0)
    heard = [*alice.texts(), *copy.texts()]
    assert sorted(set(heard)) == sorted(f"to you {number}" for number in range(20))
    assert not bob.disk.outbox[alice.peer]


def test_when_the_copy_stops_the_other_is_alone_again() -> None:
    village, alice, copy, bob = _copied(2, False)
    copy.start()
    village.internet.run(100.0)
    copy.kill()
    village.internet.run(120.0)
    alice.own_cards.clear()
    village.internet.run(600.0)
    assert alice.own_cards == []
    assert alice.is_online(bob)
    assert bob.is_online(alice)


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_that_ran_for_a_second_parts_nobody(seed: int) -> None:
    """Bob's session was with the copy, Alice's with Bob, on a path that answered their checks."""
    village, alice, copy, bob = _copied(seed, False)
    copy.start()
    village.internet.run(1.0)
    copy.kill()
    village.internet.run(5.0)
    alice.send("from alice", to=bob)
    bob.send("from bob", to=alice)
    heard = village.internet.run_until(
        lambda: "from bob" in alice.texts() and "from alice" in bob.texts(), 60.0
    )
    assert heard


@pytest.mark.parametrize("seed", range(4))
def test_peers_tell_of_a_newer_card_that_no_server_remembers(seed: int) -> None:
    """All that Bob's disk knows of Alice is a card that her copy has made, newer than hers."""
    village, alice, copy, bob = _copied(seed, False)
    copy.disk.card_sequence = alice.disk.card_sequence + 1_000_000
    copy.start()
    village.internet.run(5.0)
    copy.kill()
    bob.kill()
    village.kill_server()
    village.start_server()
    village.internet.run(30.0)
    bob.start()
    alice.send("from alice", to=bob)
    bob.send("from bob", to=alice)
    heard = village.internet.run_until(
        lambda: "from bob" in alice.texts() and "from alice" in bob.texts(), 300.0
    )
    assert heard


@pytest.mark.parametrize("stops", [True, False], ids=["stopped", "killed"])
def test_a_restart_or_another_address_is_no_copy(stops: bool) -> None:
    village = Village(3)
    gateway = village.internet.add_nat(PORT_RESTRICTED)
    alice, bob = village.member("alice", gateway), village.member("bob")
    bob.start()
    for _ in range(4):
        alice.start()
        village.internet.run(7.0)
        gateway.reboot()
        village.internet.run(50.0)
        alice.stop() if stops else alice.kill()
    assert alice.own_cards == []


def test_a_restored_disk_counts_on_above_what_the_server_knows_and_is_reachable() -> None:
    village = Village(4)
    alice, bob = village.member("alice"), village.member("bob")
    bob.start()
    alice.start()
    alice.disk.card_sequence = 1
    copy = deepcopy(alice.disk)
    alice.kill()
    alice.disk.card_sequence = 500_000
    alice.start()
    village.internet.run(5.0)
    alice.kill()
    alice.disk = copy
    alice.start()
    village.internet.run(5.0)
    assert [copied for _, copied in alice.own_cards] == [False]
    assert alice.is_online(bob)
    assert bob.is_online(alice)
    village.internet.run(200.0)
    assert len(alice.own_cards) == 1


def _copied(seed: int, behind_nats: bool) -> tuple[Village, Member, Member, Member]:
    """Alice and Bob, who have met, and a copy of Alice elsewhere that has not been started."""
    village = Village(seed)
    gateways = [village.internet.add_nat(PORT_RESTRICTED) if behind_nats else None for _ in "abc"]
    alice = village.member("alice", gateways[0])
    bob = village.member("bob", gateways[1])
    alice.start()
    bob.start()
    assert village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 30.0)
    village.internet.run(5.0)
    copy = village.member("alice", gateways[2])
    copy.disk = deepcopy(alice.disk)
    copy.runs = 7
    return village, alice, copy, bob
