"""An open network that strangers fill: who comes once keeps nobody out.

Each stranger registers, is met, is connected once and leaves.  Where nothing else is said there are
16 places, so that a few dozen strangers fill them.
"""

from natd.core.base.types import PeerState
from natd.core.base.verdict import VerdictCode
from natd.core.keys.card import Card, open_card
from tests.core.world.village import KEY, Member, Village
from tests.internet.nat import PORT_RESTRICTED

PLACES, FEW = 16, 4
DAY_S = 86_400.0
PROMISED_S = 5.0


def test_a_thousand_strangers_who_came_once_keep_no_newcomer_out_whatever_was_restarted():
    crowd = Crowd(places=256)
    for _ in range(4):
        crowd.come_and_go(260)
        crowd.let_in_one()
        crowd.restart()
        assert len(crowd.alice.membership.peers) == 256
        crowd.let_in_one()
    assert crowd.alice.turned_away == []


def test_messages_to_all_that_wait_for_those_who_came_once_hold_no_place():
    crowd = Crowd()
    for _ in range(2 * PLACES):
        crowd.come_and_go(1)
        crowd.alice.send("hello all")
    assert crowd.seconds_to_meet(crowd.newcomer()) is not None
    crowd.restart()
    assert crowd.seconds_to_meet(crowd.newcomer()) is not None


def test_who_was_put_out_gets_its_place_back_and_what_waited_for_it():
    crowd = Crowd()
    bob = crowd.newcomer("bob")
    assert crowd.seconds_to_meet(bob) is not None
    bob.kill()
    crowd.internet.run(60.0)
    crowd.alice.send("for when you are back")
    crowd.come_and_go(3 * PLACES)
    assert bob.peer not in crowd.alice.membership.peers
    crowd.restart()
    assert bob.peer not in crowd.alice.membership.peers
    assert crowd.seconds_to_meet(bob) is not None
    crowd.internet.run(1.0)
    assert bob.texts() == ["for when you are back"]


def test_a_friend_of_several_days_keeps_its_place_while_strangers_come_and_go():
    crowd = Crowd()
    bob = crowd.newcomer("bob")
    crowd.befriend(bob)
    crowd.come_and_go(3 * PLACES)
    assert bob.peer in crowd.alice.membership.peers
    crowd.restart()
    crowd.come_and_go(3 * PLACES)
    assert bob.peer in crowd.alice.membership.peers
    assert crowd.seconds_to_meet(bob) is not None


def test_who_is_connected_for_days_is_a_friend_with_a_single_session():
    crowd = Crowd()
    bob = crowd.newcomer("bob")
    assert crowd.seconds_to_meet(bob) is not None
    crowd.internet.run(3 * DAY_S)
    bob.stop()
    crowd.come_and_go(3 * PLACES)
    assert bob.peer in crowd.alice.membership.peers


def test_friends_take_half_of_the_places_and_newcomers_find_room():
    crowd = Crowd()
    friends = [crowd.newcomer(f"friend {number}") for number in range(PLACES)]
    crowd.befriend(*friends)
    assert len(crowd.alice.membership.peers) == PLACES
    crowd.come_and_go(3 * PLACES)
    kept = [friend for friend in friends if friend.peer in crowd.alice.membership.peers]
    assert kept[: PLACES // 2] == friends[: PLACES // 2]
    assert crowd.seconds_to_meet(crowd.newcomer()) is not None


def test_a_friend_that_was_put_out_takes_a_newcomers_place_at_once():
    crowd = Crowd()
    friends = [crowd.newcomer(f"friend {number}") for number in range(PLACES)]
    crowd.befriend(*friends)
    crowd.come_and_go(3 * PLACES)
    away = [friend for friend in friends if friend.peer not in crowd.alice.membership.peers]
    assert away
    assert crowd.seconds_to_meet(away[-1]) is not None


def test_who_is_blocked_holds_no_place_and_stays_blocked():
    crowd = Crowd()
    blocked = []
    for _ in range(PLACES):
        stranger = crowd.stranger()
        assert crowd.seconds_to_meet(stranger) is not None
        crowd.alice.membership.block(stranger.peer, True, crowd.internet.now)
        crowd.internet.run(1.0)
        stranger.stop()
        blocked.append(stranger)
    assert all(view.state is PeerState.BLOCKED for view in crowd.alice.views())
    bob = crowd.newcomer("bob")
    assert crowd.seconds_to_meet(bob) is not None
    for stranger in blocked[:4]:
        assert crowd.seconds_to_meet(stranger, 2.0) is None
    assert bob.peer in crowd.alice.membership.peers


def test_those_who_come_from_one_address_and_stay_leave_a_quarter_to_others():
    crowd = Crowd(places=8, sources=1)
    for _ in range(12):
        crowd.stranger().start()
        crowd.internet.run(1.0)
    crowd.internet.run(10.0)
    assert len(crowd.alice.membership.peers) == 6
    assert all(view.state is PeerState.ONLINE for view in crowd.alice.views())
    for number in range(2):
        assert crowd.seconds_to_meet(crowd.newcomer(f"other {number}")) is not None


def test_where_all_are_connected_nobody_is_put_out_and_it_is_told_once():
    crowd = Crowd(places=FEW)
    here = [crowd.newcomer(f"friend {number}") for number in range(FEW)]
    for member in here:
        assert crowd.seconds_to_meet(member) is not None
    for number in range(3):
        assert crowd.seconds_to_meet(crowd.newcomer(f"late {number}"), 2.0) is None
    crowd.internet.run(60.0)
    assert all(crowd.alice.is_online(member) for member in here)
    [told] = crowd.alice.turned_away
    assert (told.nick, told.places) == ("late 0", FEW)


def test_who_finds_no_place_is_told_that_and_not_that_a_firewall_is_in_the_way():
    crowd = Crowd(places=FEW)
    for number in range(FEW):
        assert crowd.seconds_to_meet(crowd.newcomer(f"friend {number}")) is not None
    late = [crowd.newcomer(f"late {number}") for number in range(2)]
    for member in late:
        assert crowd.seconds_to_meet(member, 15.0) is None
        assert member.verdict_codes[crowd.alice.peer] is VerdictCode.PEER_FULL
    crowd.internet.run(60.0)


def test_when_there_is_room_again_the_card_says_so():
    crowd = Crowd(places=FEW)
    here = [crowd.newcomer(f"friend {number}") for number in range(FEW)]
    for member in here:
        assert crowd.seconds_to_meet(member) is not None
    assert crowd.seconds_to_meet(crowd.newcomer("late"), 2.0) is None
    assert crowd.card().features == ("full",)
    here[0].stop()
    crowd.internet.run(700.0)
    assert crowd.card().features == ()


class Crowd:
    """Alice, and others who come one after the other."""

    def __init__(self, seed: int = 0, places: int = PLACES, *, sources: int = 0) -> None:
        """`sources`: of so many addresses the strangers come in turn; 0: each has its own."""
        self.village = Village(seed)
        self.internet = self.village.internet
        self.places = places
        self.alice = self.village.member("alice", self.internet.add_nat(PORT_RESTRICTED))
        self.gateways = [self.internet.add_nat(PORT_RESTRICTED) for _ in range(sources)]
        self.homes = [self.internet.add_nat(PORT_RESTRICTED) for _ in range(PLACES + 4)]
        self.came = 0
        self.alice.places = places
        self.alice.start()
        self.internet.run(3.0)

    def card(self) -> Card:
        """What alice tells newcomers of herself."""
        return open_card(self.alice.membership.own_card.sealed, KEY)

    def restart(self, after_s: float = 5.0) -> None:
        self.alice.stop()
        self.internet.run(after_s)
        self.alice.start()
        self.internet.run(3.0)

    def stranger(self) -> Member:
        self.came += 1
        behind = self.gateways[self.came % len(self.gateways)] if self.gateways else None
        return self.village.member(f"stranger {self.came}", behind, port=20_000 + self.came)

    def newcomer(self, name: str | None = None) -> Member:
        """Somebody honest, behind a router."""
        self.came += 1
        behind = self.homes.pop()
        return self.village.member(name or f"newcomer {self.came}", behind)

    def come_and_go(self, count: int) -> None:
        for _ in range(count):
            stranger = self.stranger()
            assert self.seconds_to_meet(stranger, 30.0) is not None, self.came
            stranger.stop()
            self.internet.run(1.0)

    def let_in_one(self) -> None:
        newcomer = self.newcomer()
        assert self.seconds_to_meet(newcomer) is not None
        newcomer.stop()
        self.internet.run(1.0)

    def befriend(self, *members: Member) -> None:
        """They come on three days, one after the other."""
        for _ in range(3):
            for member in members:
                assert self.seconds_to_meet(member, 60.0) is not None
                member.stop()
                self.internet.run(1.0)
            self.restart(DAY_S)

    def is_here(self, member: Member) -> bool:
        found = self.alice.membership.peers.get(member.peer)
        return found is not None and found.presence.is_online

    def seconds_to_meet(self, member: Member, limit_s: float = PROMISED_S) -> float | None:
        began = self.internet.now
        member.start()
        met = self.internet.run_until(lambda: self.is_here(member), limit_s)
        return self.internet.now - began if met else None
