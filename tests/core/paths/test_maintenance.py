"""What is done for a path beside asking whether it lives, and how little it may cost."""

from dataclasses import replace
from random import Random

import pytest

from natd.core.base.timers import earliest
from natd.core.base.types import MAIN_SOCKET, Address, PathKind, SocketId
from natd.core.base.wishes import SampleWanted
from natd.core.checks.checks import (
    ANSWER_AFTER,
    ANSWER_LATE_S,
    GUESS_US,
    OPEN_TO,
    WAS_SILENT,
    CheckAnswer,
    Checks,
    two_bytes,
)
from natd.core.codec import stun
from natd.core.paths.events import PathReplaced, PathRetired, SuccessorWanted
from natd.core.paths.flows import FlowsToPeer
from natd.core.paths.keepalive import (
    BEGIN_AFTER_S,
    FIRST_SILENCE_S,
    KEEPALIVE_S,
    LESSON_SHARE,
    NEXT_SILENCE_S,
)
from natd.core.paths.maintenance import (
    LONGEST_SPARE_RETRY_S,
    NOMINATE_S,
    TELL_EVERY_S,
    Maintenance,
)
from natd.core.paths.mapping_age import AGE_SHARE as SHARE_OF_AGE
from natd.core.paths.mapping_age import SURVIVED_S, YOUNGEST_S
from natd.core.paths.path import Path
from natd.core.paths.spare_flow import LADDER, SAMPLE_S
from tests.core.world.chat import NAMES, Chat
from tests.core.world.lossy_link import pair_of_secrets
from tests.internet.nat import PORT_RESTRICTED

START = 1000.0
RTT_S = 0.1
THEIRS = Address("198.51.100.7", 40001)
OURS = Address("203.0.113.20", 40000)
MOST_SOCKETS = 8
"""The main one, the path in use, what it is to be replaced by, two that were replaced, and three
from which the peer, who does the same, still wants a late answer."""


def test_a_lesson_costs_three_packets_beside_a_keepalive():
    """The peer is asked to open its NAT, sends one opener, and is asked for a late answer."""
    lab = Lab()
    lab.run(BEGIN_AFTER_S - 1.0)
    assert lab.sent == []
    lab.run(1.0 + SAMPLE_S + RTT_S + 0.2)
    asked, lesson = lab.sent
    assert (asked.address, asked.socket) == (THEIRS, MAIN_SOCKET)
    assert stun.decode(asked.data).get(OPEN_TO) is not None
    assert (lesson.address, lesson.socket == MAIN_SOCKET) == (THEIRS, False)
    assert stun.decode(lesson.data).get(ANSWER_AFTER) == two_bytes(FIRST_SILENCE_S)
    lab.run(FIRST_SILENCE_S + ANSWER_LATE_S + 400.0)
    assert len(lab.sent) == 2, "a miss is not tried again at once"


def test_a_lesson_asks_for_the_port_that_a_server_sees_and_does_not_wait_for_it_in_vain():
    lab = Lab()
    lab.run(BEGIN_AFTER_S + 0.05)
    assert lab.sent == []
    [spare] = lab.maintenance.sockets
    assert lab.take(SampleWanted) == [SampleWanted(spare)]
    lab.maintenance.sampled(spare, OURS._replace(port=50123), lab.now)
    lab.run(0.05)
    [asked] = lab.sent
    assert stun.decode(asked.data).get(OPEN_TO) == two_bytes(50123)


def test_each_silence_that_is_answered_in_time_lengthens_the_keepalive():
    lab = Lab()
    silence_s = FIRST_SILENCE_S
    lab.run(BEGIN_AFTER_S + 1.0)
    for _ in range(2):
        assert lab.asked(ANSWER_AFTER) == silence_s
        lab.run(silence_s)
        lab.answer_spare(silence_s + RTT_S)
        assert lab.maintenance.keepalive_s == pytest.approx(
            max(KEEPALIVE_S, LESSON_SHARE * silence_s)
        )
        silence_s = NEXT_SILENCE_S[silence_s][0] or 0


def test_an_answer_before_its_time_teaches_nothing():
    """A peer of an older version answers at once."""
    lab = Lab()
    lab.run(BEGIN_AFTER_S + 1.0)
    lab.answer_spare(RTT_S)
    lab.answer_spare(RTT_S)
    assert lab.maintenance.keepalive_s == KEEPALIVE_S


def test_a_nat_that_shows_a_server_another_port_each_time_does_not_keep_the_ladder_going():
    lab = Lab()
    lab.maintenance.missed_by_peer(1.0, lab.now)
    for step in range(200):
        lab.run((SHARE_OF_AGE * YOUNGEST_S + 2.5) / 200)
        for socket in lab.maintenance.sockets:
            lab.maintenance.sampled(socket, OURS._replace(port=50000 + step), lab.now)
    assert 0 < len(lab.sent) < 2 * len(LADDER)
    assert lab.maintenance.sockets == frozenset()


def test_nothing_is_replaced_without_a_loss_and_nothing_after_one_in_a_silence():
    lab = Lab()
    lab.maintenance.missed_by_peer(60.0, lab.now)
    lab.run(BEGIN_AFTER_S - 1.0)
    assert lab.sent == []


def test_a_busy_mapping_that_ended_is_replaced_at_a_share_of_the_youngest_age():
    lab = Lab()
    lab.maintenance.missed_by_peer(1.0, lab.now)
    lab.run(SHARE_OF_AGE * YOUNGEST_S - 0.1)
    assert lab.sent == []
    lab.run(0.2)
    lab.answer_spare(RTT_S)
    [replaced] = lab.take(PathReplaced)
    assert replaced.address == THEIRS
    assert replaced.socket != MAIN_SOCKET
    lab.use(replaced)
    lab.sent.clear()
    lab.run(NOMINATE_S[-1] + 0.1)
    nominations = [c for c in lab.sent if c.socket == replaced.socket]
    assert len(nominations) == len(NOMINATE_S)
    assert all(stun.decode(c.data).get(stun.USE_CANDIDATE) is not None for c in nominations)


def test_a_mapping_that_is_watched_is_silent_but_for_what_it_is_asked():
    """Anything else that is sent makes it anew where ports are kept."""
    lab = Lab()
    lab.replace_once()
    asked = [check for check in lab.sent if check.socket == MAIN_SOCKET]
    lab.run(5.0)
    assert [check for check in lab.sent if check.socket == MAIN_SOCKET] == asked
    assert len(asked) == 1


def test_the_age_is_when_the_watched_mapping_was_last_heard():
    lab = Lab()
    lab.replace_once()
    for _ in range(3):
        lab.run(8.0)
        lab.answer(MAIN_SOCKET, 8.1)
    last_asked_at = lab.now
    lab.run(8.0 + ANSWER_LATE_S + 0.1)
    assert lab.take(PathRetired) == [PathRetired(THEIRS, MAIN_SOCKET)]
    assert lab.maintenance._age.age_s == pytest.approx(last_asked_at - lab.born)


def test_a_mapping_that_lives_on_ends_the_replacements():
    lab = Lab()
    lab.replace_once()
    while lab.now < lab.born + SURVIVED_S:
        lab.run(8.0)
        lab.answer(MAIN_SOCKET, 8.1)
    assert lab.maintenance._age.age_s is None
    assert lab.maintenance.sockets - {lab.path.socket} == frozenset()


def test_a_replacement_that_fails_is_tried_again_ever_more_rarely():
    lab = Lab()
    lab.maintenance.missed_by_peer(1.0, lab.now)
    lab.run(3600.0)
    assert len(lab.sent) <= len(LADDER) * (3600.0 / LONGEST_SPARE_RETRY_S + 10)


def test_where_no_flow_opens_by_itself_the_peer_is_asked_to_guess_one_of_many():
    lab = Lab()
    lab.maintenance.missed_by_peer(1.0, lab.now)
    lab.run(SHARE_OF_AGE * YOUNGEST_S + 5.0)
    assert lab.take(SuccessorWanted)[0] == SuccessorWanted(failures=0)
    lab.sent.clear()
    lab.maintenance.seek(lab.now, is_new=True)
    [check] = lab.drain()
    assert (check.address, check.socket) == (THEIRS, MAIN_SOCKET)
    assert stun.decode(check.data).get(GUESS_US) is not None
    lab.answer(SocketId(0x100007), RTT_S)
    assert lab.take(PathReplaced) == [PathReplaced(THEIRS, SocketId(0x100007), RTT_S)]


def test_what_answers_from_elsewhere_or_unsought_is_no_successor():
    lab = Lab()
    lab.answer(SocketId(0x100007), RTT_S)
    lab.maintenance.seek(lab.now, is_new=True)
    elsewhere = CheckAnswer(OURS, SocketId(0x100007), RTT_S, None)
    assert not lab.maintenance.check_answered(elsewhere, 0.5, lab.now)
    lab.answer(MAIN_SOCKET, RTT_S)
    assert lab.take(PathReplaced) == []


def test_a_successor_is_as_old_as_the_flows_that_were_opened_for_it():
    """Asked for again, it would seem younger, and be replaced too late."""
    lab = Lab()
    opened_at = lab.now
    lab.maintenance.seek(lab.now, is_new=True)
    lab.run(20.0)
    lab.maintenance.seek(lab.now, is_new=False)
    lab.answer(SocketId(0x100007), RTT_S)
    assert lab.maintenance._born[SocketId(0x100007)] == opened_at


def test_once_the_path_is_in_doubt_what_answers_is_no_successor_of_it():
    lab = Lab()
    lab.maintenance.seek(lab.now, is_new=True)
    lab.maintenance.found_dead(1.0, lab.now)
    lab.answer(SocketId(0x100007), RTT_S)
    assert lab.take(PathReplaced) == []


@pytest.mark.parametrize(("same_place", "age_s"), [(True, YOUNGEST_S), (False, None)])
def test_after_a_break_another_socket_to_the_same_place_shows_that_our_mapping_had_ended(
    same_place, age_s
):
    lab = Lab()
    lab.maintenance.found_dead(1.0, lab.now)
    lab.run(2.0)
    address = THEIRS if same_place else THEIRS._replace(port=50000)
    lab.use(PathReplaced(address, SocketId(0x100007), RTT_S))
    assert lab.maintenance._age.age_s == age_s


def test_the_peer_is_told_of_its_lost_mapping_once_and_only_if_ours_is_the_same():
    lab = Lab()
    lab.answer(MAIN_SOCKET, RTT_S)
    for _ in range(10):
        lab.maintenance.heard_at_last(1.0, lab.now)
    [check] = lab.drain()
    assert check.address == THEIRS
    lab.answer(MAIN_SOCKET, RTT_S)
    assert lab.asked(WAS_SILENT) == 1
    lab.run(TELL_EVERY_S)
    lab.sent.clear()
    lab.maintenance.heard_at_last(1.0, lab.now)
    lab.answer(MAIN_SOCKET, RTT_S, mapped=OURS._replace(port=50000))
    assert lab.asked(WAS_SILENT) is None, "it was ours"
    assert lab.maintenance._age.age_s == YOUNGEST_S


@pytest.mark.parametrize("kind", [PathKind.LAN, PathKind.IPV6])
def test_where_there_is_no_nat_nothing_has_an_age(kind):
    lab = Lab(kind)
    lab.maintenance.missed_by_peer(1.0, lab.now)
    lab.run(BEGIN_AFTER_S - 1.0)
    assert lab.sent == []


def test_of_two_aging_nats_sockets_and_packets_stay_few_and_go_to_nobody_else():
    seeds = range(6)
    packets = sum(_between_two_aging_nats(seed) for seed in seeds)
    a_minute = packets / len(seeds) / 5.0
    assert a_minute <= 110.0, "both ways and for both; single seeds take 54 to 150"


def _between_two_aging_nats(seed):
    """How many packets the two send each other in five minutes in which nobody speaks."""
    policy = replace(PORT_RESTRICTED, absolute_age_s=60.0)
    chat = Chat(seed, (policy, policy), speakers=NAMES)
    chat.begin()
    chat.run(180.0)
    chat._speaks = False
    chat.run(20.0)
    trace = chat.internet.trace = []
    known = {chat.village.server_host.address, *(chat.gateway(n).addresses[0] for n in NAMES)}
    for _ in range(300):
        chat.run(1.0)
        for name in NAMES:
            assert len(chat.members[name].attached.ports) <= MOST_SOCKETS
    assert {sent.datagram.address.host for sent in trace} <= known
    hosts = {chat.members[name].host for name in NAMES}
    server = chat.village.server_host.address
    return sum(sent.host in hosts and sent.datagram.address.host != server for sent in trace)


class Lab:
    """The maintenance of one path, and a peer that answers when it is told to."""

    def __init__(self, kind=PathKind.DIRECT):
        ours, _ = pair_of_secrets()
        self.now = self.born = START
        checks = Checks(b"abcd", Random(1))
        checks.use(ours)
        self.maintenance = Maintenance(checks, Random(2), FlowsToPeer())
        self.sent = []
        self.events = []
        self.path = self._path(MAIN_SOCKET, kind)
        self.maintenance.use(self.path, self.now)

    def run(self, duration_s):
        until = self.now + duration_s
        while (timer := self.timer()) is not None and timer <= until:
            self.now = max(self.now, timer)
            self.maintenance.handle_timer(self.now)
            self.drain()
        self.now = until

    def timer(self):
        begin_at = self.maintenance.begin_at if self.path.probing_since is None else None
        return earliest(self.maintenance.due_at, begin_at)

    def drain(self):
        sent = list(self.maintenance.datagrams)
        self.maintenance.datagrams.clear()
        self.sent += sent
        self.events += self.maintenance.events
        self.maintenance.events.clear()
        return sent

    def answer(self, socket, took_s, mapped=OURS):
        """A check from that socket is answered after so long."""
        answered = CheckAnswer(THEIRS, socket, took_s, mapped)
        self.maintenance.check_answered(answered, 0.5, self.now)
        self.drain()

    def answer_spare(self, took_s):
        assert self.maintenance._spare is not None
        self.answer(self.maintenance._spare.socket, took_s)

    def replace_once(self):
        self.maintenance.missed_by_peer(1.0, self.now)
        self.run(SHARE_OF_AGE * YOUNGEST_S + 0.1)
        self.sent.clear()
        self.answer_spare(RTT_S)
        [replaced] = self.take(PathReplaced)
        self.use(replaced)

    def use(self, replaced):
        self.path = self._path(replaced.socket, self.path.kind, replaced.address)
        self.maintenance.use(self.path, self.now)

    def asked(self, attribute):
        """What the last check that asks for this asks for."""
        asked = [stun.decode(check.data).get(attribute) for check in self.sent]
        values = [value for value in asked if value is not None]
        return int.from_bytes(values[-1], "big") if values else None

    def take(self, kind):
        taken = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return taken

    def _path(self, socket, kind, address=THEIRS):
        return Path(address, socket, kind, "test", RTT_S, self.now, self.now, self.now + 15.0)
