"""Where a session's datagrams go while there is no path, and when."""

from natd.core.base.types import (
    Candidate,
    CandidateKind,
)
from natd.core.paths.events import PathChosen
from natd.core.peer.reach_events import FlightDue
from tests.core.world.reach_lab import (
    ELSEWHERE,
    FLIGHT,
    HARD,
    MIXES,
    THEIRS,
    Lab,
)


def test_while_start_in_runs_nothing_leaves_but_openers_and_then_the_first_flight_is_due():
    lab = Lab(answers=set())
    lab.introduce(THEIRS, start_in_s=0.2)
    lab.reach.carry([FLIGHT], lab.now, awaiting=True)
    lab.run(0.19)
    assert [(datagram.ttl, datagram.is_strict) for _, datagram in lab.sent] == [(2, True)]
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
    lab.reach.remote.describe_peer((Candidate(CandidateKind.MAPPED, mapped),), HARD)
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
