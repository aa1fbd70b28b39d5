"""Introductions by a mutual peer while every server is dead: real nodes, virtual time."""

from dataclasses import replace

import pytest

from natd.core.base import events
from natd.core.base.types import Address, PeerId
from natd.core.codec.frames import (
    HAVE_PREFIX_BYTES,
    START_IN_LIMIT_MS,
    Introduce,
    Seek,
    encode_frame,
)
from natd.core.keys.secrets import network_key
from natd.core.network.peer_introduction import (
    SEEKS_BURST,
    SEEKS_RATE,
    TOLD_BURST,
    TOLD_RATE,
    tell_of_peer,
)
from natd.core.registration.events import Introduced
from tests.core.world.village import Village
from tests.internet.fabric import Weather
from tests.internet.nat import FULL_CONE, LINUX, PORT_RESTRICTED

SECRET = network_key("demo", b"0123456789abcdef")

REPAIRED_S = 30.0
"""A peer that was idle finds out by its keepalive that the other's address is not the old one."""


@pytest.mark.parametrize("policy", [PORT_RESTRICTED, LINUX], ids=["port-restricted", "linux"])
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_two_whose_address_changed_while_no_server_lives_meet_again_by_a_third(policy, loss):
    for seed in range(10):
        village, alice, bob, carol = three(seed, policy, policy, loss)
        village.kill_server()
        village.internet.run(60.0)
        village.internet.renumber(alice.host.behind)
        alice.send("still there?", to=bob)
        came = hears(bob, "still there?", REPAIRED_S)
        assert came, f"seed {seed}"
        bob.send("here", to=alice)
        assert hears(alice, "here", REPAIRED_S)
        assert "still there?" not in carol.texts()


def test_two_that_both_changed_their_addresses_meet_again_once_the_third_has_heard_of_both():
    for seed in range(10):
        village, alice, bob, _ = three(seed, PORT_RESTRICTED, LINUX, 0.05)
        village.kill_server()
        village.internet.run(60.0)
        for member in (alice, bob):
            village.internet.renumber(member.host.behind)
        alice.send("still there?", to=bob)
        assert hears(bob, "still there?", REPAIRED_S), f"seed {seed}"


def test_among_many_that_are_missed_no_more_is_asked_than_is_answered():
    village, alice, _, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    mutual, peers, now = desk(alice, village)
    asked = 0
    for number in range(1000):
        missed = PeerId(number.to_bytes(32, "big"))
        asked += len(mutual.missed(missed, [peers[carol.peer]], has_server=False, now=now))
        now += 0.01
    assert asked <= SEEKS_BURST + 10.0 * SEEKS_RATE


def test_without_a_third_the_same_two_do_not_find_each_other():
    """So it is the mutual peer that does it."""
    village, alice, bob, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    village.kill_server()
    village.internet.run(60.0)
    carol.stop()
    village.internet.run(5.0)
    village.internet.renumber(alice.host.behind)
    alice.send("still there?", to=bob)
    assert not hears(bob, "still there?", REPAIRED_S)


def test_who_is_restarted_behind_another_address_while_no_server_lives_finds_all_by_the_one():
    """Of its last-good addresses only the one of an open peer still lets it in; its prekey, and so
    its card, is a new one."""
    for seed in range(10):
        village, alice, bob, carol = three(seed, PORT_RESTRICTED, PORT_RESTRICTED, 0.05)
        village.kill_server()
        alice.kill()
        village.internet.run(40.0)
        village.internet.renumber(alice.host.behind)
        village.internet.renumber(bob.host.behind)
        village.internet.run(60.0)
        assert carol.is_online(bob)
        alice.start()
        alice.send("back again")
        came = hears(bob, "back again", 10.0)
        assert came, f"seed {seed}"


def test_who_came_when_no_server_lived_is_introduced_to_those_it_never_met():
    village = Village(3)
    alice = village.member("alice", village.internet.add_nat(PORT_RESTRICTED), SECRET)
    bob = village.member("bob", village.internet.add_nat(PORT_RESTRICTED), SECRET, 40001)
    carol = village.member("carol", None, SECRET, 40002)
    meet(village, alice, carol)
    alice.stop()
    meet(village, bob, carol)
    village.kill_server()
    village.internet.run(40.0)
    assert alice.peer not in bob.disk.cards
    alice.start()
    assert village.internet.run_until(lambda: alice.is_online(bob) and bob.is_online(alice), 5.0)


def test_when_the_last_server_is_lost_those_who_are_here_are_asked_for_those_who_are_not():
    """Two who had given each other up long before have a common peer all the time."""
    for seed in range(5):
        village, alice, bob, _ = three(seed, PORT_RESTRICTED, PORT_RESTRICTED)
        for one, other in ((alice, bob), (bob, alice)):
            one.membership.block(other.peer, True, village.internet.now)
        village.internet.run(1.0)
        village.kill_server()
        for one, other in ((alice, bob), (bob, alice)):
            one.membership.block(other.peer, False, village.internet.now)
            one.membership.peers[other.peer].reach.stop()
        assert village.internet.run_until(
            lambda: alice.is_online(bob) and bob.is_online(alice),  # noqa: B023
            60.0,
        ), seed


def test_a_server_that_has_just_died_is_not_waited_for():
    """Its death is noticed only at the next refresh; the second round asks the mutual peer."""
    for seed in range(5):
        village, alice, bob, _ = three(seed, PORT_RESTRICTED, PORT_RESTRICTED)
        village.kill_server()
        village.internet.renumber(alice.host.behind)
        alice.send("still there?", to=bob)
        assert hears(bob, "still there?", REPAIRED_S), seed


def test_while_a_server_lives_nobody_asks_a_peer():
    village, alice, bob, carol = three(3, PORT_RESTRICTED, PORT_RESTRICTED)
    alice.stop()
    village.internet.run(1.0)
    alice.start()
    village.internet.run_until(lambda: alice.is_online(bob) and alice.is_online(carol), 5.0)
    village.internet.renumber(alice.host.behind)
    alice.send("still there?", to=bob)
    assert hears(bob, "still there?", REPAIRED_S)
    assert given(carol) == 0


def test_a_mutual_peer_introduces_nobody_that_it_has_blocked_or_lost():
    village, alice, bob, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    village.kill_server()
    village.internet.run(60.0)
    carol.membership.block(bob.peer, True, village.internet.now)
    assert seek(carol, alice, bob, village) == []


def test_a_mutual_peer_passes_on_no_address_that_is_not_proved_yet():
    """A registration may have been withheld, and said from a victim's address: the server told
    carol of it, carol told alice, and alice sent a hundred packets there."""
    village, alice, bob, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    _, peers, now = desk(carol, village)
    victim = Address("198.51.100.66", 7000)
    subject = peers[bob.peer]
    told = Introduced(
        village.servers[0],
        bob.peer,
        subject.sealed_card,
        (victim,),
        we_dial=False,
        start_in_s=0.0,
        unproved=frozenset({victim.host}),
    )
    tell_of_peer(subject, told, "a server", now)
    assert victim not in passed_on(carol, alice, bob, village)
    village.internet.run(2.0)
    tell_of_peer(subject, replace(told, unproved=frozenset(), proved=told.unproved), "it", now)
    assert victim in passed_on(carol, alice, bob, village)


def test_an_introduction_tells_both_at_once_and_the_nearer_one_to_wait():
    village, alice, bob, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    alice.host.behind.delay_s += 0.1
    village.internet.run(3600.0)
    [(first, to_alice), (second, to_bob)] = seek(carol, alice, bob, village)
    assert (first, second) == (alice.peer, bob.peer)
    assert (to_alice.peer, to_bob.peer) == (bob.peer, alice.peer)
    assert (to_alice.you_dial, to_bob.you_dial) == (True, False)
    assert to_alice.observed.host == bob.host.behind.addresses[0]
    assert to_bob.observed.host == alice.host.behind.addresses[0]
    assert to_alice.start_in_ms == 0
    assert to_bob.start_in_ms == pytest.approx(100, abs=15)


def test_who_asks_too_often_is_not_served_and_the_same_two_are_introduced_once_a_second():
    village, alice, bob, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    assert len(seek(carol, alice, bob, village)) == 2
    assert seek(carol, alice, bob, village) == []
    assert seek(carol, bob, alice, village) == []
    given_to = 0
    for _ in range(100):
        village.internet.run(0.02)
        given_to += len(seek(carol, alice, bob, village))
    assert given_to <= 2


def test_a_look_around_names_those_that_are_here_and_is_told_the_others():
    village, alice, bob, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    mutual, peers, now = desk(carol, village)
    asker = peers[alice.peer]
    everybody = mutual.answer_seek(asker, Seek(None), peers, now)
    assert [to.card.peer for to, _ in everybody] == [alice.peer, bob.peer]
    nobody = Seek(None, (bob.peer[:HAVE_PREFIX_BYTES],))
    assert mutual.answer_seek(asker, nobody, peers, now + 2.0) == []


def test_peers_are_not_asked_for_others_if_a_server_answers_by_then():
    """The first peer of a newcomer is often there before its lease."""
    village, alice, _, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    mutual, peers, now = desk(carol, village)
    for has_server, asked in ((True, []), (False, [alice.peer])):
        mutual.connected(alice.peer, has_server=False, now=now)
        told = mutual.look_around(peers.values(), has_server=has_server, now=now + 1.0)
        assert [peer.card.peer for peer, _ in told] == asked


@pytest.mark.parametrize("key", [network_key("demo", b""), SECRET], ids=["open", "secret"])
def test_a_lying_mutual_peer_makes_nobody_look_where_no_peer_can_be(key):
    """It can do no more than a lying server: cards are opened, and addresses are sifted."""
    village, alice, bob, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED, key=key)
    village.kill_server()
    village.internet.run(1.0)
    lies = [
        Address("127.0.0.1", 40000),
        Address("192.168.77.7", 40000),
        Address("239.255.110.97", 28260),
        Address("203.0.113.9", 53),
    ]
    village.internet.trace = []
    card = carol.membership.roster.peers[bob.peer].sealed_card
    for number, lie in enumerate(lies):
        say(carol, alice, Introduce(bob.peer, card, lie, True, 0, (lie, lie)), village)
        say(carol, alice, Introduce(bytes([number]) * 32, card, lie), village)
        say(carol, alice, Introduce(bob.peer, b"x" * 300, lie), village)
    village.internet.run(10.0)
    sent_to = {each.datagram.address for each in village.internet.trace}
    assert not sent_to & set(lies)
    membership = alice.membership
    assert membership.dropped["introduction-of-another-card"] == 2 * len(lies)
    assert alice.attached.events_of(events.ServerSuspected) == []


def test_a_flood_of_introductions_opens_no_more_cards_than_the_allowance():
    village, alice, _, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    for _ in range(20):
        for _ in range(50):
            say(carol, alice, Introduce(bytes(32), b"x" * 300, None), village)
        village.internet.run(0.1)
    membership = alice.membership
    assert membership.dropped["introduction-of-another-card"] <= 128 + 16 * 3
    assert membership._introductions.dropped["introductions-too-many"] > 100


def test_one_that_floods_us_with_introductions_leaves_room_for_those_of_others():
    village, alice, bob, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    mutual, _, now = desk(alice, village)
    told = Introduce(bytes(32), b"card", None)
    taken = {carol.peer: 0, bob.peer: 0}
    for step in range(1000):
        now += 0.01
        for _ in range(10):
            taken[carol.peer] += mutual.introduced(carol.peer, told, now) is not None
        if step % 50 == 0:
            taken[bob.peer] += mutual.introduced(bob.peer, told, now) is not None
    assert taken[carol.peer] <= TOLD_BURST + 10.0 * TOLD_RATE
    assert taken[bob.peer] == 20


def test_what_is_introduced_by_a_peer_never_carries_a_chat_line():
    """Signalling only: the frames that carol sends for the two hold cards and addresses."""
    village, alice, bob, carol = three(1, PORT_RESTRICTED, PORT_RESTRICTED)
    for _, introduce in seek(carol, alice, bob, village):
        assert len(encode_frame(introduce)) < 1024
        assert 0 <= introduce.start_in_ms <= START_IN_LIMIT_MS


# --- helpers -----------------------------------------------------------------------------------


def passed_on(mutual, seeker, wanted, village):
    """The addresses that are told to the one who asks."""
    (_, told), _ = seek(mutual, seeker, wanted, village)
    return (told.observed, *told.others)


def three(seed, first, second, loss=0.0, key=SECRET):
    """Alice and bob behind NATs of their own, carol with a public address; all have met."""
    village = Village(seed, Weather(loss=loss, jitter_s=0.002))
    internet = village.internet
    alice = village.member("alice", internet.add_nat(first), key)
    bob = village.member("bob", internet.add_nat(second), key, 40001)
    carol = village.member("carol", internet.add_nat(FULL_CONE) if seed % 2 else None, key, 40002)
    meet(village, alice, bob, carol)
    return village, alice, bob, carol


def meet(village, *members):
    for member in members:
        if member.host not in village.internet._attached:
            member.start()
    pairs = [(one, other) for one in members for other in members if one is not other]
    met = village.internet.run_until(lambda: all(a.is_online(b) for a, b in pairs), 20.0)
    assert met, f"seed {village.seed}"
    village.internet.run(3.0)


def hears(member, text, limit_s):
    return member.internet.run_until(lambda: text in member.texts(), limit_s)


def desk(member, village):
    """Where a member gives introductions, whom it knows, and the time."""
    membership = member.membership
    return membership._introductions, membership.roster.peers, village.internet.now


def seek(mutual_peer, asker, wanted, village):
    """What is told to whom."""
    mutual, peers, now = desk(mutual_peer, village)
    told = mutual.answer_seek(peers[asker.peer], Seek(wanted.peer), peers, now)
    return [(to.card.peer, introduce) for to, introduce in told]


def given(member):
    """How many introductions a member gave."""
    return len(member.membership._introductions._pairs)


def say(speaker, listener, frame, village):
    membership = speaker.membership
    membership._say([(membership.roster.peers[listener.peer], frame)], village.internet.now)
    village.internet.run(0.0)
