"""A member's disk comes back from an older copy: nothing is swallowed, nothing is called delivered
that is not, and both sides are told what can be known of it."""

from copy import deepcopy

import pytest

from tests.core.world.village import Member, Village


@pytest.mark.parametrize("waiting", [0, 1, 5, 12], ids=lambda n: f"{n} waiting")
@pytest.mark.parametrize("before", [0, 5], ids=lambda n: f"{n} since the copy")
def test_all_that_a_restored_sender_says_arrives_once(before: int, waiting: int) -> None:
    village, alice, bob = _pair()
    copy = deepcopy(alice.disk)
    _say(alice, bob, "before", before)
    village.internet.run(2.0)
    _restore(alice, copy)
    _say(alice, bob, "waiting", waiting)
    _meet(village, alice, bob)
    _say(alice, bob, "after", 8)
    _say(bob, alice, "answer", 3)
    village.internet.run(5.0)
    said = [*_texts("before", before), *_texts("waiting", waiting), *_texts("after", 8)]
    assert bob.texts() == ["one", *said]
    assert alice.texts() == ["answer 0", "answer 1", "answer 2"]
    assert not alice.disk.outbox[bob.peer]
    ahead = before - waiting
    assert alice.went_back == ([(bob.peer, ahead)] if ahead > 0 else [])
    assert bob.missing == []


def test_what_waited_when_the_copy_was_made_and_has_arrived_since_is_not_said_twice() -> None:
    village, alice, bob = _pair()
    bob.kill()
    village.internet.run(30.0)
    _say(alice, bob, "waiting", 4)
    village.internet.run(1.0)
    copy = deepcopy(alice.disk)
    bob.start()
    assert village.internet.run_until(lambda: len(bob.texts()) == 5, 40.0)
    _say(alice, bob, "before", 2)
    village.internet.run(1.0)
    _restore(alice, copy)
    _meet(village, alice, bob)
    _say(alice, bob, "after", 2)
    village.internet.run(5.0)
    assert bob.texts() == ["one", *_texts("waiting", 4), *_texts("before", 2), *_texts("after", 2)]


def test_a_restored_receiver_gets_what_waits_and_is_told_what_its_disk_has_lost() -> None:
    village, alice, bob = _pair()
    copy = deepcopy(bob.disk)
    _say(alice, bob, "lost", 3)
    village.internet.run(2.0)
    bob.kill()
    _say(alice, bob, "waiting", 2)
    village.internet.run(1.0)
    _restore(bob, copy)
    _meet(village, alice, bob)
    village.internet.run(5.0)
    assert bob.texts() == ["one", *_texts("waiting", 2)]
    assert bob.missing == [(alice.peer, 3)]
    assert not alice.disk.outbox[bob.peer]
    bob.kill()
    bob.start()
    village.internet.run(30.0)
    assert bob.missing == [(alice.peer, 3)], "once is enough"


def test_with_several_peers_each_gets_all_and_each_that_is_ahead_is_named() -> None:
    village, alice, bob = _pair()
    carol = village.member("carol", None)
    carol.start()
    village.internet.run(10.0)
    copy = deepcopy(alice.disk)
    _say(alice, bob, "before", 2)
    village.internet.run(2.0)
    _restore(alice, copy)
    _meet(village, alice, bob)
    for each in (bob, carol):
        _say(alice, each, "after", 4)
    village.internet.run(10.0)
    assert bob.texts() == ["one", *_texts("before", 2), *_texts("after", 4)]
    assert carol.texts() == _texts("after", 4)
    assert alice.went_back == [(bob.peer, 2)]


def test_a_copy_restored_twice_loses_nothing_either_time() -> None:
    village, alice, bob = _pair()
    copy = deepcopy(alice.disk)
    said = ["one"]
    for number in range(3):
        if number:
            _restore(alice, deepcopy(copy))
            _meet(village, alice, bob)
        _say(alice, bob, f"life {number}", 3)
        said += _texts(f"life {number}", 3)
        village.internet.run(5.0)
    assert bob.texts() == said


def _pair() -> tuple[Village, Member, Member]:
    """Two who have met; alice has said one thing."""
    village = Village(1)
    alice, bob = village.member("alice", None), village.member("bob", None)
    alice.start()
    bob.start()
    _meet(village, alice, bob)
    alice.send("one", to=bob)
    village.internet.run(3.0)
    return village, alice, bob


def _meet(village: Village, one: Member, other: Member) -> None:
    assert village.internet.run_until(lambda: one.is_online(other) and other.is_online(one), 60.0)


def _restore(member: Member, copy: object) -> None:
    if member.host in member.internet._attached:
        member.kill()
    assert isinstance(copy, type(member.disk))
    member.disk = copy
    # Cards have a test of their own: they count by the clock.
    member.disk.card_sequence = 1000 * member.runs + 1
    member.start()


def _say(one: Member, other: Member, text: str, count: int) -> None:
    for line in _texts(text, count):
        one.send(line, to=other)


def _texts(text: str, count: int) -> list[str]:
    return [f"{text} {number}" for number in range(count)]
