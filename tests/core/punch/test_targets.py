"""What an attempt checks: which ladder, from which socket, within which budget, and until when."""

from random import Random

import pytest

from natd.core.base.types import (
    MAIN_SOCKET,
    SURE,
    Allocation,
    Candidate,
    CandidateKind,
    Mapping,
    NatReport,
    SocketId,
)
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import Checks
from natd.core.punch.attempt import CHECK_LADDER_S, FORWARDED_LADDER_S, RETRY_LADDER_S
from natd.core.punch.derived_ports import OPENER_LEAD_S
from natd.core.punch.targets import (
    AGREED_ROUNDS,
    GIVES_WAY_AFTER_S,
    MOST_HEARD,
    MOST_KEPT,
    MOST_TRIED,
    Targets,
)
from tests.core.world.lossy_link import pair_of_secrets
from tests.core.world.punch_lab import KEEPS, LAN, MIXES, START, THEIRS, candidate

FRESH = SocketId(9)
PLACES = [candidate(THEIRS)]


class Lab:
    """Targets, the clock, and what has left."""

    def __init__(self):
        self.now = START
        self.checks = Checks(b"abcd", Random(1))
        self.checks.use(pair_of_secrets()[0])
        self.targets = Targets(self.checks, TargetBudget())
        self.sent = []

    def run(self, duration_s):
        until = self.now + duration_s
        while (timer := self.targets.get_timer()) is not None and timer <= until:
            self.now = max(self.now, timer)
            self.targets.handle_timer(self.now)
            self.sent += [(self.now, d) for d in self.targets.datagrams_to_send()]
        self.now = until

    def offsets(self, address, socket=MAIN_SOCKET):
        return [at - START for at, d in self.sent if (d.address, d.socket) == (address, socket)]


def test_what_was_checked_before_climbs_a_ladder_with_fewer_steps():
    lab = Lab()
    lab.targets.begin(PLACES, MIXES, lab.now)
    lab.run(2.0)
    assert lab.offsets(THEIRS) == pytest.approx(CHECK_LADDER_S)
    lab.sent.clear()
    lab.targets.begin(PLACES, MIXES, lab.now)
    lab.run(2.0)
    assert [at - 2.0 for at in lab.offsets(THEIRS)] == pytest.approx(RETRY_LADDER_S)
    lab.sent.clear()
    lab.targets.forget_tried()
    lab.targets.begin(PLACES, MIXES, lab.now)
    lab.run(2.0)
    assert [at - 4.0 for at in lab.offsets(THEIRS)] == pytest.approx(CHECK_LADDER_S)


def test_a_port_that_somebody_may_have_forwarded_is_checked_twice_in_each_round():
    lab = Lab()
    forwarded = Candidate(CandidateKind.FORWARDED, THEIRS)
    lab.targets.begin([forwarded], MIXES, lab.now)
    lab.run(2.0)
    lab.targets.climb_again(lab.now)
    lab.run(2.0)
    waits = [*FORWARDED_LADDER_S, *(2.0 + step for step in FORWARDED_LADDER_S)]
    assert lab.offsets(THEIRS) == pytest.approx(waits)


def test_until_full_checks_may_leave_the_internet_gets_openers_and_a_lan_checks():
    lab = Lab()
    lab.targets.full_ttl_at = START + 0.5
    lab.targets.begin([*PLACES, candidate(LAN)], MIXES, lab.now)
    lab.run(0.4)
    ttls = {d.address: d.ttl for _, d in lab.sent}
    assert ttls == {THEIRS: 2, LAN: None}
    lab.run(0.2)
    assert lab.sent[-1][1].ttl is None


def test_a_proved_target_is_proved_once_and_checked_no_more():
    lab = Lab()
    lab.targets.begin(PLACES, MIXES, lab.now)
    lab.run(0.0)
    assert lab.targets.prove(THEIRS, MAIN_SOCKET) == PLACES[0]
    assert lab.targets.prove(THEIRS, MAIN_SOCKET) is None
    assert lab.targets.prove(LAN, MAIN_SOCKET) is None
    lab.run(5.0)
    assert len(lab.sent) == 1


def test_a_pause_rests_one_socket_and_not_the_others():
    lab = Lab()
    lab.targets.begin(PLACES, KEEPS, lab.now)
    lab.targets.use_agreed_ports(PLACES, (KEEPS, MIXES), 0, lab.now)
    lab.targets.pause()
    lab.run(2.0)
    [port] = {d.socket for _, d in lab.sent}
    assert port in lab.checks.our_ports
    assert lab.offsets(THEIRS, port)[0] == pytest.approx(OPENER_LEAD_S)


def test_a_call_from_an_agreed_port_outlives_its_round_while_its_host_is_still_meant():
    lab = Lab()
    lab.targets.begin(PLACES, KEEPS, lab.now)
    lab.targets.use_agreed_ports(PLACES, (KEEPS, MIXES), 0, lab.now)
    port = SocketId(lab.checks.our_ports[0])
    meetings = lab.targets.begin(PLACES, KEEPS, lab.now)
    assert meetings == {THEIRS.host: START + OPENER_LEAD_S}
    assert (THEIRS, port) in lab.targets
    assert lab.targets.begin([candidate(LAN)], KEEPS, lab.now) == {}
    assert (THEIRS, port) not in lab.targets


def test_agreed_ports_are_given_up_after_their_rounds():
    lab = Lab()
    lab.targets.begin(PLACES, KEEPS, lab.now)
    for turn in range(AGREED_ROUNDS):
        lab.targets.use_agreed_ports(PLACES, (KEEPS, KEEPS), turn, lab.now)
        assert 1 < len(lab.targets.sockets) <= 1 + MOST_KEPT + 4
    lab.targets.use_agreed_ports(PLACES, (KEEPS, KEEPS), AGREED_ROUNDS, lab.now)
    assert lab.targets.sockets == {MAIN_SOCKET}


def test_nothing_is_opened_to_agreed_ports_where_the_peers_nat_keeps_none():
    lab = Lab()
    lab.targets.open_to_agreed_ports(PLACES, (KEEPS, MIXES), lab.now)
    assert not lab.targets.datagrams_to_send()
    lab.targets.open_to_agreed_ports(PLACES, (KEEPS, KEEPS), lab.now)
    opened = {d.address.port for d in lab.targets.datagrams_to_send()}
    assert opened == set(lab.checks.their_ports[:3])


def test_behind_a_nat_that_would_take_another_port_for_it_nothing_is_opened_to_agreed_ports():
    """It would let nobody in, and cost three ports of a block, of which one may be wanted."""
    lab = Lab()
    block = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, confidence=SURE)
    lab.targets.open_to_agreed_ports(PLACES, (block, KEEPS), lab.now)
    for turn in range(2):
        lab.targets.use_agreed_ports(PLACES, (block, KEEPS), turn, lab.now)
    assert not lab.targets.datagrams_to_send()


def test_checks_from_ever_new_places_make_few_targets():
    lab = Lab()
    lab.targets.begin([], NatReport(), lab.now)
    for number in range(100):
        lab.targets.check_received(THEIRS._replace(port=2000 + number), MAIN_SOCKET, lab.now)
    assert len(lab.targets.datagrams_to_send()) == MOST_HEARD


def test_what_was_heard_and_checked_in_vain_gives_way_to_what_is_heard_now():
    lab = Lab()
    lab.targets.begin([], NatReport(), lab.now)
    for number in range(MOST_HEARD):
        lab.targets.check_received(THEIRS._replace(port=2000 + number), MAIN_SOCKET, lab.now)
    lab.run(CHECK_LADDER_S[-1] + GIVES_WAY_AFTER_S)
    newest = THEIRS._replace(port=3000)
    lab.targets.check_received(newest, MAIN_SOCKET, lab.now)
    assert [d.address for d in lab.targets.datagrams_to_send()] == [newest]
    assert lab.targets.prove(newest, MAIN_SOCKET) is not None


def test_ports_agreed_for_meeting_take_no_room_from_what_is_heard():
    """Two that were apart for long checked so many that no check of the peer's was answered."""
    lab = Lab()
    lab.checks.use(pair_of_secrets()[1])
    assert lab.checks.we_open
    lab.targets.begin(PLACES, KEEPS, lab.now)
    for turn in range(4):
        lab.targets.use_agreed_ports(PLACES, (KEEPS, KEEPS), turn, lab.now)
        lab.run(15.0)
    heard = [THEIRS._replace(port=3000 + number) for number in range(MOST_HEARD)]
    for place in heard:
        lab.targets.check_received(place, MAIN_SOCKET, lab.now)
    assert [d.address for d in lab.targets.datagrams_to_send()] == heard


def test_a_fresh_socket_checks_what_the_old_one_has_without_forgetting_it():
    lab = Lab()
    lab.targets.begin(PLACES, MIXES, lab.now)
    lab.targets.socket = FRESH
    lab.targets.add(PLACES, MIXES, lab.now)
    assert (THEIRS, MAIN_SOCKET) in lab.targets
    assert (THEIRS, FRESH) in lab.targets
    lab.run(2.0)
    assert lab.offsets(THEIRS, FRESH) == pytest.approx(CHECK_LADDER_S)


def test_ever_new_places_of_an_absent_peer_fill_no_memory():
    lab = Lab()
    for number in range(2 * MOST_TRIED):
        lab.targets.begin([candidate(THEIRS._replace(port=2000 + number))], MIXES, lab.now)
    assert len(lab.targets._tried) <= MOST_TRIED


def test_no_port_is_opened_ahead_for_a_peer_without_a_nat():
    for theirs, opened in ((KEEPS, True), (NatReport(Mapping.OPEN), False)):
        lab = Lab()
        lab.targets.open_to_agreed_ports(PLACES, (KEEPS, theirs), lab.now)
        assert bool(lab.targets.datagrams_to_send()) == opened
