"""How many peers are met at once, and how long to wait where this machine does not keep up."""

from natd.core.checks.meetings import Meetings

START = 1000.0


def test_four_are_met_at_once_and_one_that_is_connected_makes_room():
    meetings = Meetings()
    for number in range(3):
        meetings.begin(number, START)
    assert not meetings.are_many(START)
    meetings.begin(3, START)
    assert meetings.are_many(START)
    meetings.end(3)
    assert not meetings.is_full
    assert not meetings.are_many(START)


def test_a_machine_that_does_not_keep_up_meets_one_at_a_time():
    meetings = Meetings()
    assert not meetings.are_slow
    for _ in range(2):
        meetings.timer_came(0.3, START)
    assert meetings.are_slow
    assert not meetings.are_many(START)
    meetings.begin(0, START)
    assert meetings.are_many(START)


def test_one_that_is_not_there_keeps_others_waiting_for_less_than_a_second():
    meetings = Meetings()
    for number in range(4):
        meetings.begin(number, START)
        meetings.begin(number, START + 0.6)
    assert meetings.are_many(START + 0.6)
    assert not meetings.are_many(START + 0.8)


def test_timers_that_are_late_again_and_again_make_patient():
    meetings = Meetings()
    assert meetings.patience_s == 0.0
    for number in range(4):
        meetings.timer_came(0.3, START + number)
        meetings.timer_came(0.001, START + number + 0.1)
    assert 0.6 <= meetings.patience_s <= 2.0
    meetings.timer_came(0.001, START + 30.0)
    assert meetings.patience_s == 0.0


def test_a_machine_that_slept_is_not_taken_for_a_slow_one():
    meetings = Meetings()
    meetings.timer_came(3600.0, START)
    for number in range(4):
        meetings.timer_came(0.01, START + number)
    assert meetings.patience_s == 0.0


def test_slow_answers_of_all_peers_make_patient_and_those_of_one_do_not():
    meetings = Meetings()
    for rtt_s in (3.0, 0.1, 3.0, 0.1, 3.0):
        meetings.answered(rtt_s)
    assert meetings.patience_s == 0.0
    for _ in range(4):
        meetings.answered(3.0)
    assert 3.0 <= meetings.patience_s <= 6.0


def test_where_it_is_slow_a_meeting_lasts_longer():
    meetings = Meetings()
    for number in range(8):
        meetings.begin(number, START)
    for _ in range(4):
        meetings.answered(3.0)
    assert meetings.are_many(START + 8.0)
    assert not meetings.are_many(START + 60.0)
