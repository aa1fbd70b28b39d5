"""Where a peer's datagrams go: with a path, without one, and while one is looked for."""

from random import Random

import pytest

from natd.core.base.surroundings import Surroundings
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Allocation,
    Candidate,
    CandidateKind,
    Mapping,
    NatReport,
)
from natd.core.base.wishes import IntroductionWanted
from natd.core.checks.budget import TargetBudget
from natd.core.checks.checks import (
    ANSWER_AFTER,
    GUESS_US,
    LOW_TTL,
    OPEN_TO,
    CheckAnswer,
    Checks,
    read_check,
    two_bytes,
)
from natd.core.codec import stun
from natd.core.paths.events import PathChosen, PathDown, PathRecovered
from natd.core.paths.path import LOST_AFTER_S
from natd.core.peer.reach import Reach
from natd.core.peer.reach_events import FlightDue
from natd.core.punch.remote_candidates import LAST_GOOD_LIMIT
from natd.core.punch.search import LATE_S
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0
RTT_S = 0.1
OURS = Address("203.0.113.20", 40000)
THEIRS = Address("198.51.100.7", 40001)
ELSEWHERE = Address("198.51.100.99", 40001)
LAN = Address("192.168.1.9", 40001)
SERVER = Address("203.0.113.1", 8080)
MIXES = NatReport(Mapping.INDEPENDENT, allocation=Allocation.RANDOM)
HARD = NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM)
FLIGHT = b"\xc0" + bytes(1199)


def test_an_introduction_is_followed_by_checks_and_an_answer_makes_the_path():
    lab = Lab()
    lab.introduce(THEIRS)
    assert lab.checks_to(THEIRS)
    lab.run(RTT_S + 0.01)
    [up] = lab.take(PathChosen)
    assert up.path.address == THEIRS
    assert lab.reach.paths.healthy
    lab.run(60.0)
    assert lab.take(IntroductionWanted) == []


def test_while_start_in_runs_nothing_leaves_but_openers_and_then_the_first_flight_is_due():
    lab = Lab(answers=set())
    lab.introduce(THEIRS, start_in_s=0.2)
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.run(0.19)
    assert [datagram.ttl for _, datagram in lab.sent] == [LOW_TTL]
    assert lab.take(FlightDue) == []
    lab.run(0.02)
    assert lab.take(FlightDue) == [FlightDue()]
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.drain()
    assert lab.flights_to(THEIRS) == 1


def test_without_a_path_a_first_flight_goes_to_the_two_best_candidates():
    lab = Lab(answers=set())
    seen = [THEIRS._replace(port=41000 + number) for number in range(4)]
    lab.introduce(*seen)
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.drain()
    assert [address for address in seen if lab.flights_to(address)] == seen[:2]


def test_where_a_server_saw_a_nat_that_maps_each_destination_anew_one_row_of_checks_goes_alone():
    lab = Lab(answers=set(), nats=(MIXES, HARD))
    seen = [THEIRS._replace(port=41000 + number) for number in range(4)]
    mapped = ELSEWHERE._replace(port=5000)
    lab.introduce(*seen)
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.drain()
    assert {datagram.address for _, datagram in lab.sent} == {seen[0]}
    assert sum(map(lab.flights_to, seen)) == 0
    lab.reach.whereabouts.describe_peer((Candidate(CandidateKind.MAPPED, mapped),), HARD)
    lab.introduce(*seen)
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.drain()
    assert lab.flights_to(mapped) == 1


def test_a_whole_flight_follows_the_peers_first_check_although_one_went_to_a_wrong_port():
    lab = Lab(answers=set())
    flight = [bytes([0xC0, n]) + bytes(1198) for n in range(2)] + [
        bytes([0xD0, n]) for n in range(2)
    ]
    lab.introduce(THEIRS)
    lab.reach.carry(flight, lab.now, awaiting=True)
    lab.run(0.05)
    right = THEIRS._replace(port=50001)
    lab.hear_check(right)
    assert lab.take(FlightDue) == [FlightDue()]
    lab.reach.carry(flight, lab.now, awaiting=True)
    for _ in range(3):
        lab.drain()
        lab.run(0.02)
        lab.hear_check(right)
    arrived = [d.data for _, d in lab.sent if d.address == right and d.data in flight]
    assert arrived == flight
    lab.reach.carry(flight, lab.now, awaiting=True)
    lab.drain()
    assert sum(len(d.data) for _, d in lab.sent) <= 6000 + 200


def test_with_a_path_everything_goes_there_and_nowhere_else():
    lab = Lab()
    lab.introduce(THEIRS, ELSEWHERE)
    lab.run(1.0)
    lab.sent.clear()
    lab.reach.carry([FLIGHT] * 20, lab.now, awaiting=True)
    lab.drain()
    assert lab.flights_to(THEIRS) == 20
    assert lab.flights_to(ELSEWHERE) == 0


def test_where_the_peer_was_heard_a_first_flight_goes_although_no_path_is_proved():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.hear_check(ELSEWHERE)
    assert lab.take(FlightDue) == [FlightDue()]
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.drain()
    assert lab.flights_to(ELSEWHERE) == 1
    assert lab.take(PathChosen) == []


def test_a_check_from_an_unknown_address_is_answered_there_and_makes_a_path_by_our_own():
    lab = Lab(answers={ELSEWHERE})
    lab.introduce(THEIRS)
    lab.sent.clear()
    lab.hear_check(ELSEWHERE)
    assert [kind(datagram) for _, datagram in lab.sent] == ["answer", "check"]
    assert {datagram.address for _, datagram in lab.sent} == {ELSEWHERE}
    lab.run(RTT_S + 0.01)
    [up] = lab.take(PathChosen)
    assert up.path.address == ELSEWHERE


@pytest.mark.parametrize("asks", [None, (ANSWER_AFTER, two_bytes(0))])
def test_a_check_is_answered_at_once_and_one_that_wants_only_that_makes_no_path(asks):
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.sent.clear()
    lab.hear_check(ELSEWHERE, asks)
    kinds = [kind(datagram) for _, datagram in lab.sent]
    assert kinds == (["answer", "check"] if asks is None else ["answer"])


def test_an_answer_that_is_wanted_later_leaves_then_and_makes_no_path():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.run(20.0)
    lab.sent.clear()
    lab.hear_check(ELSEWHERE, (ANSWER_AFTER, two_bytes(28)))
    assert [d for _, d in lab.sent if d.address == ELSEWHERE] == []
    asked_at = lab.now
    lab.run(30.0)
    [(at, late)] = [(at, d) for at, d in lab.sent if d.address == ELSEWHERE]
    assert kind(late) == "answer"
    assert at == pytest.approx(asked_at + 28.0)


def test_the_path_in_use_alone_has_openers_and_guesses_granted():
    lab = Lab()
    lab.reach.search.allow_escalation()
    lab.introduce(THEIRS)
    lab.run(5.0)
    for address, is_granted in ((ELSEWHERE, False), (THEIRS, True)):
        lab.sent.clear()
        lab.hear_check(address, (OPEN_TO, two_bytes(51_000)))
        opened = [d.address for _, d in lab.sent if d.ttl == LOW_TTL]
        assert opened == ([address._replace(port=51_000)] if is_granted else [])
        lab.hear_check(address, (GUESS_US, b""))
        assert lab.reach.search.is_succeeding is is_granted


def test_a_check_that_was_seen_before_makes_no_packet_wherever_it_comes_from():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    recorded = lab.hear_check(THEIRS)
    lab.run(30.0)
    lab.sent.clear()
    for number in range(100):
        lab.receive(recorded, Address("192.0.2.77", 2000 + number))
    assert lab.sent == []
    assert lab.reach.dropped["check-replayed"] == 100


def test_a_check_without_integrity_makes_no_packet():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.sent.clear()
    forged = stun.encode_binding_request(b"abcd" + bytes(8), username=bytes(16), key=bytes(32))
    lab.receive(forged, ELSEWHERE)
    assert lab.sent == []
    assert lab.reach.dropped["check-without-integrity"] == 1


def test_a_flood_of_checks_with_forged_sources_buys_two_small_packets_each_and_no_more():
    """Whoever holds the pair's key can make them, and can say that they come from a victim."""
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.sent.clear()
    victim = Address("192.0.2.77", 2000)
    received = 0
    for _ in range(300):
        received += len(lab.hear_check(victim))
        lab.reach.carry([FLIGHT], lab.now, awaiting=True)
        lab.drain()
        lab.run(0.05)
    to_victim = [d for _, d in lab.sent if d.address.host == victim.host]
    assert len(to_victim) <= 2 * 300 + 60
    assert sum(len(d.data) for d in to_victim) <= 2 * received + 6000


def test_an_introduction_that_agrees_with_the_path_in_use_costs_one_check():
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.sent.clear()
    lab.introduce(THEIRS)
    assert len(lab.sent) == 1
    lab.run(1.0)
    assert lab.take(IntroductionWanted) == []


def test_an_introduction_that_contradicts_a_path_which_answers_ends_there():
    """Two behind one NAT: their path is the LAN's, and servers know the public addresses."""
    lab = Lab(answers={LAN})
    lab.reach.whereabouts.describe_peer((Candidate(CandidateKind.LAN, LAN),), MIXES)
    lab.introduce(OURS._replace(port=40001))
    lab.run(1.0)
    assert lab.take(PathChosen)[0].path.address == LAN
    lab.introduce(OURS._replace(port=40001))
    lab.run(60.0)
    assert lab.take(IntroductionWanted) == []
    assert lab.reach.paths.healthy
    assert not lab.reach.search.is_trying(lab.now)


def test_an_introduction_that_contradicts_a_path_which_is_dead_leads_to_the_new_place():
    lab = Lab(answers={THEIRS})
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.answers = {ELSEWHERE}
    lab.introduce(ELSEWHERE)
    lab.run(3.0)
    assert lab.reach.paths.report is not None
    assert lab.reach.paths.report.address == ELSEWHERE


def test_nothing_expensive_is_begun_while_a_path_works():
    lab = Lab(nats=(HARD, MIXES))
    lab.reach.search.allow_escalation()
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.sent.clear()
    lab.introduce(ELSEWHERE)
    lab.run(5.0)
    assert len(lab.sent) < 40


def test_a_suspected_path_is_looked_for_again_before_it_is_given_up():
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.answers = set()
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    began = lab.now
    lab.run(3.0)
    assert lab.take(IntroductionWanted)
    assert lab.take(PathDown) == []
    lab.run(LOST_AFTER_S)
    assert lab.take(PathDown) == [PathDown()]
    assert lab.reach.paths.report is None
    assert lab.now - began < 20.0


def test_a_path_that_recovers_is_told_so_that_what_was_lost_is_sent_again():
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.take(PathChosen)
    lab.answers = set()
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.run(5.0)
    lab.answers = {THEIRS}
    lab.run(5.0)
    assert len(lab.take(PathRecovered)) == 1
    assert lab.reach.paths.healthy
    lab.take(IntroductionWanted)
    lab.run(60.0)
    assert lab.take(IntroductionWanted) == []


def test_who_has_left_is_not_looked_for_until_somebody_says_that_they_are_back():
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(1.0)
    lab.reach.stop()
    lab.sent.clear()
    lab.hear_check(THEIRS)
    lab.reach.heard(THEIRS, MAIN_SOCKET, lab.now)
    lab.run(60.0)
    assert lab.sent == []
    assert not lab.reach.search.is_trying(lab.now)
    lab.introduce(THEIRS)
    assert lab.checks_to(THEIRS)


def test_a_retry_asks_for_who_has_left_but_sends_them_nothing():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.reach.stop()
    lab.sent.clear()
    lab.take(IntroductionWanted)
    lab.reach.retry(lab.now)
    lab.drain()
    assert lab.take(IntroductionWanted) == [IntroductionWanted(())]
    assert lab.sent == []


def test_a_probe_is_answered_on_the_path_in_use_and_survives_a_loss():
    lab = Lab()
    lab.introduce(THEIRS)
    lab.run(5.0)
    lab.take(CheckAnswer)
    lab.answers = set()
    lab.reach.probe(lab.now)
    lab.run(0.1)
    lab.answers = {THEIRS}
    lab.run(1.0)
    first, *_ = lab.take(CheckAnswer)
    assert first.address == THEIRS
    assert first.rtt_s == pytest.approx(RTT_S)
    assert not first.is_delayed


def test_the_addresses_that_carried_a_path_are_remembered_newest_first():
    lab = Lab()
    for number in range(LAST_GOOD_LIMIT + 2):
        address = THEIRS._replace(port=41000 + number)
        lab.answers = {address}
        lab.introduce(address)
        lab.run(30.0)
    assert len(lab.reach.whereabouts._last_good) == LAST_GOOD_LIMIT
    newest = THEIRS._replace(port=41000 + LAST_GOOD_LIMIT + 1)
    assert lab.reach.whereabouts._last_good[0] == newest


def test_a_remembered_address_is_tried_without_a_server():
    lab = Lab(answers={THEIRS})
    lab.reach.whereabouts.remember((THEIRS,))
    lab.reach.retry(lab.now)
    lab.run(0.5)
    assert lab.take(PathChosen)


def test_an_attempt_that_lasts_unreasonably_long_is_no_longer_shown_as_one():
    lab = Lab(answers=set())
    lab.introduce(THEIRS)
    lab.run(LATE_S - 1.0)
    assert lab.reach.search.is_trying(lab.now)
    lab.run(2.0)
    assert not lab.reach.search.is_trying(lab.now)


def test_without_secrets_nothing_is_sent():
    reach = Reach(TargetBudget(), Random(1))
    reach.introduced((THEIRS,), 0.0, START)
    reach.retry(START)
    reach.handle_timer(START + 10.0)
    assert reach.datagrams_to_send() == []


class Lab:
    """One reach, the clock, and a peer who answers from some addresses."""

    def __init__(self, answers=None, nats=(MIXES, MIXES)):
        ours, self.theirs = pair_of_secrets()
        self._secrets = ours
        self.now = START
        self.reach = Reach(TargetBudget(), Random(1))
        self.reach.checks.use(ours)
        self.reach.whereabouts.describe_peer((), nats[1])
        surroundings = Surroundings((OURS,), frozenset({SERVER}), nats[0], RTT_S)
        self.reach.search.set_surroundings(surroundings, START)
        self.remote = Checks(b"wxyz", Random(2))
        self.remote.use(self.theirs)
        self.answers = answers
        """None for every address."""
        self.sent = []
        self.events = []
        self._on_the_way = []

    def introduce(self, *seen, start_in_s=0.0):
        self.reach.introduced(seen, start_in_s, self.now)
        self.drain()

    def hear_check(self, address, asks=None):
        """A fresh check of the peer's arrives from an address; its bytes."""
        data = self.remote.request(OURS, MAIN_SOCKET, self.now, asks=asks).data
        self.receive(data, address)
        return data

    def receive(self, data, address):
        message = stun.decode(data)
        self.reach.receive_check(message, data, self._secrets, address, MAIN_SOCKET, self.now)
        self.drain()

    def run(self, duration_s):
        until = self.now + duration_s
        self.drain()
        while True:
            timer = self.reach.get_timer()
            arrival = self._on_the_way[0][0] if self._on_the_way else None
            due = min((at for at in (timer, arrival) if at is not None), default=None)
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            if arrival == due:
                _, check = self._on_the_way.pop(0)
                heard = read_check(
                    stun.decode(check.data), check.data, self.theirs, OURS, MAIN_SOCKET
                )
                if heard is not None:
                    self.reach.receive_check_answer(
                        stun.decode(heard.answer.data),
                        heard.answer.data,
                        check.address,
                        check.socket,
                        self.now,
                    )
            else:
                self.reach.handle_timer(self.now)
            self.drain()
        self.now = until

    def drain(self):
        for datagram in self.reach.datagrams_to_send():
            self.sent.append((self.now, datagram))
            answers = self.answers is None or datagram.address in self.answers
            if answers and datagram.ttl is None and kind(datagram) == "check":
                self._on_the_way.append((self.now + RTT_S, datagram))
        while (event := self.reach.next_event()) is not None:
            self.events.append(event)

    def take(self, wanted):
        taken = [event for event in self.events if isinstance(event, wanted)]
        self.events = [event for event in self.events if not isinstance(event, wanted)]
        return taken

    def checks_to(self, address):
        return sum(d.address == address and kind(d) == "check" for _, d in self.sent)

    def flights_to(self, address):
        return sum(d.address == address and kind(d) == "flight" for _, d in self.sent)


def kind(datagram):
    if datagram.data[0] & 0x80:
        return "flight"
    is_request = stun.decode(datagram.data).message_class is stun.MessageClass.REQUEST
    return "check" if is_request else "answer"
