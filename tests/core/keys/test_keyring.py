"""The secrets of one pair: which are held, under which tags, for how long."""

from random import Random

from natd.core.base.routes import TAG, RouteAdded, RouteDropped
from natd.core.keys.card import Card, Identity
from natd.core.keys.secrets import (
    Keyring,
    Prekey,
    network_key,
)

KEY = network_key("demo", b"")


def test_both_sides_find_the_same_secrets_and_each_the_other_by_tag():
    ours, theirs = Prekey.generate(), Prekey.generate()
    alice = _keyring("alice", _card("bob", theirs), ours)
    bob = _keyring("bob", _card("alice", ours), theirs)
    assert alice.newest.psk == bob.newest.psk
    assert alice.by_tag(bob.newest.send_tag) == alice.newest
    assert bob.by_tag(alice.newest.send_tag) == bob.newest


def test_two_prekeys_of_either_side_make_four_combinations_and_never_more():
    ours = [Prekey.generate() for _ in range(4)]
    keyring = _keyring("alice", _card("bob", Prekey.generate()), ours[0])
    for count in range(1, 4):
        keyring.take_card(_card("bob", Prekey.generate(), count))
        keyring.renew(ours[: count + 1])
    assert _tags_after(keyring) == 4


def test_what_we_send_is_under_the_newest_of_both():
    ours, theirs = [Prekey.generate() for _ in range(2)], [Prekey.generate() for _ in range(2)]
    keyring = _keyring("alice", _card("bob", theirs[0]), ours[0])
    keyring.take_card(_card("bob", theirs[1], 2))
    keyring.renew(ours)
    bob = _keyring("bob", _card("alice", ours[1]), theirs[1])
    assert keyring.newest.psk == bob.newest.psk
    assert keyring.for_checks == (keyring.newest,)


def test_a_card_that_keeps_its_prekey_changes_no_secret():
    prekey = Prekey.generate()
    keyring = _keyring("alice", _card("bob", prekey), Prekey.generate())
    keyring.changes()
    before = keyring.newest
    keyring.take_card(_card("bob", prekey, 2))
    assert keyring.newest is before
    assert keyring.changes() == []


def test_the_secrets_of_the_session_in_use_outlive_every_prekey_and_go_with_it():
    ours = [Prekey.generate() for _ in range(5)]
    keyring = _keyring("alice", _card("bob", Prekey.generate()), ours[0])
    session = keyring.newest
    keyring.keep(session.psk)
    for count in range(1, 5):
        keyring.take_card(_card("bob", Prekey.generate(), count))
        keyring.renew(ours[count : count + 1])
    assert keyring.by_tag(session.receive_tag) == session
    assert keyring.for_checks == (keyring.newest, session)
    keyring.keep(None)
    assert keyring.by_tag(session.receive_tag) is None
    assert keyring.for_checks == (keyring.newest,)


def test_tags_are_told_once_when_they_come_and_once_when_they_go():
    keyring = _keyring("alice", _card("bob", Prekey.generate()), Prekey.generate())
    tag = keyring.newest.receive_tag
    assert keyring.changes() == [RouteAdded(TAG + tag)]
    keyring.renew([Prekey.generate()])
    assert keyring.changes() == [
        RouteDropped(TAG + tag),
        RouteAdded(TAG + keyring.newest.receive_tag),
    ]
    assert keyring.changes() == []


def test_nothing_is_held_of_a_peer_that_is_not_wanted():
    keyring = _keyring("alice", _card("bob", Prekey.generate()), Prekey.generate())
    keyring.keep(keyring.newest.psk)
    keyring.changes()
    keyring.clear()
    assert [type(change) for change in keyring.changes()] == [RouteDropped]
    assert keyring.newest is None
    assert keyring.for_checks == ()


def test_a_card_with_a_weak_key_makes_no_secret_and_is_counted():
    weak = _card("bob", Prekey.generate())
    object.__setattr__(weak, "prekey_public", bytes(32))
    keyring = _keyring("alice", weak, Prekey.generate())
    assert keyring.newest is None
    assert keyring.weak == 1


def _identity(name):
    return Identity(Random(name).randbytes(32))


def _card(name, prekey, sequence=1):
    identity = _identity(name)
    return Card(identity.peer, identity.static_public, prekey.public, sequence, name)


def _keyring(name, card, prekey):
    keyring = Keyring(_identity(name), KEY, card)
    keyring.renew([prekey])
    return keyring


def _tags_after(keyring):
    """How many tags are live after all the changes so far."""
    live = set()
    for change in keyring.changes():
        if isinstance(change, RouteAdded):
            live.add(change.key)
        else:
            live.remove(change.key)
    return len(live)
