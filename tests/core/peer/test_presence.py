"""What is told of a peer that is not there: when it is tried next."""

from natd.core.base.types import PathKind, PeerState
from natd.core.keys.secrets import network_key
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM

ANSWER_S = 1.0
"""A try that is under way is told with when it ends for want of an answer."""

KEY = network_key("demo", b"0123456789abcdef")


def test_one_that_is_shown_as_offline_is_still_tried_at_the_instant_that_is_told():
    village, alice, bob = pair(SYMMETRIC_RANDOM)
    internet = village.internet
    internet.run(60.0)
    tries = 0
    while internet.now < 1300.0:
        view = view_of(alice, bob)
        assert view.state is PeerState.OFFLINE
        assert view.next_try_at is not None
        assert internet.now <= view.next_try_at <= internet.now + 130.0
        is_under_way = view.next_try_at <= internet.now + ANSWER_S
        internet.run(max(0.0, view.next_try_at - internet.now - 0.001))
        was_put_off = view_of(alice, bob).next_try_at != view.next_try_at
        internet.trace = []
        internet.run(0.01)
        if was_put_off or is_under_way:
            continue  # bob has had the two introduced meanwhile, which was a try, too
        assert [sent for sent in internet.trace if sent.host is alice.host], "nothing happened"
        tries += 1
    assert tries >= 3


def test_one_that_is_here_has_left_or_is_blocked_is_not_tried():
    village, alice, bob = pair(PORT_RESTRICTED)
    village.internet.run(5.0)
    view = view_of(alice, bob)
    assert (view.state, view.next_try_at) == (PeerState.ONLINE, None)
    bob.stop()
    village.internet.run(5.0)
    view = view_of(alice, bob)
    assert (view.state, view.next_try_at) == (PeerState.OFFLINE, None)
    alice.membership.block(bob.peer, True, village.internet.now)
    assert view_of(alice, bob).next_try_at is None


def test_who_was_heard_on_our_link_is_known_to_be_there():
    village = Village()
    village.kill_server()
    gateway = village.internet.add_nat(PORT_RESTRICTED)
    alice = village.member("alice", gateway)
    bob = village.member("bob", gateway, port=40001)
    for member in (alice, bob):
        member.hears_link = True
        member.start()
    village.internet.run(3.0)
    view = view_of(alice, bob)
    assert view.path is not None
    assert (view.path.kind, view.is_on_link) == (PathKind.LAN, True)
    assert alice.node.shared.sockets.hears_link


def test_who_was_introduced_by_a_server_was_not_heard_on_our_link():
    village, alice, bob = pair(PORT_RESTRICTED)
    village.internet.run(5.0)
    assert not view_of(alice, bob).is_on_link
    assert not alice.node.shared.sockets.hears_link


def pair(policy):
    village = Village(1)
    alice = village.member("alice", village.internet.add_nat(policy), key=KEY)
    bob = village.member("bob", village.internet.add_nat(policy), key=KEY, port=40001)
    alice.start()
    village.internet.run(3.0)
    bob.start()
    return village, alice, bob


def view_of(member, other):
    views = member.views()
    return next(view for view in views if view.peer == other.peer)
