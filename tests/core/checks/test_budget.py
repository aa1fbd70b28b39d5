"""How much an address that never answers may cost."""

import itertools
from collections import deque
from random import Random

import pytest

from natd.core.base.types import Address
from natd.core.checks.budget import (
    MOST_IPS,
    NETWORK_BURST,
    NETWORK_RATE,
    TOTAL_BURST,
    TOTAL_RATE,
    TargetBudget,
)
from natd.core.network.greeting import PADDED_GREETING_BYTES

START = 1000.0
CHECK_BYTES = 84
ANSWER_BYTES = 350
FLIGHT_BYTES = 1200
VICTIM = Address("198.51.100.7", 4567)
THEIRS = Address("203.0.113.30", 40001)


def test_ten_packets_leave_in_the_first_hundred_milliseconds_and_ten_a_second_after():
    budget = TargetBudget()
    sent = _flood(budget, START, START + 0.0999)
    assert len(sent) == 10
    sent += _flood(budget, START + 0.1, START + 1.0999)
    assert len(sent) == 20
    sent += _flood(budget, START + 1.1, START + 2.0999)
    assert len(sent) == 30


def test_a_slow_start_does_not_save_up_for_a_burst_later():
    budget = TargetBudget()
    assert budget.allow(VICTIM, CHECK_BYTES, START)
    assert len(_flood(budget, START + 0.5, START + 1.4999)) == 10


def test_sixty_packets_a_minute_then_silences_of_30_60_and_300_seconds():
    budget = TargetBudget()
    quiet_s = []
    sent = _flood(budget, START, START + 1200.0, step_s=0.05)
    for before, after in itertools.pairwise(sent):
        if after - before > 25.0:
            quiet_s.append(after - before)
    assert _most_in(60.0, sent) == 60
    assert _most_in(1.0, sent) <= 20
    assert quiet_s[0] >= 30.0
    assert quiet_s[1] >= 60.0
    assert all(quiet >= 300.0 for quiet in quiet_s[2:])
    assert len(quiet_s) >= 4


def test_six_kilobytes_a_minute_and_first_flights_leave_room_for_checks():
    budget = TargetBudget()
    times = _steps(START, START + 10.0)
    flights = [at for at in times if budget.allow_bulk(VICTIM, FLIGHT_BYTES, at)]
    assert len(flights) == 2
    checks = _flood(budget, START + 10.0, START + 59.0)
    assert len(checks) == (6000 - 2 * FLIGHT_BYTES) // CHECK_BYTES


def test_after_our_answer_and_a_first_flight_there_is_room_for_a_greeting_of_our_own():
    budget = TargetBudget()
    assert budget.allow_bulk(VICTIM, ANSWER_BYTES, START, is_card=True)
    assert budget.allow_bulk(VICTIM, FLIGHT_BYTES, START)
    assert budget.allow_bulk(VICTIM, FLIGHT_BYTES, START)
    assert not budget.allow_bulk(VICTIM, FLIGHT_BYTES, START)
    assert budget.allow_bulk(VICTIM, PADDED_GREETING_BYTES, START + 0.5, is_card=True)
    assert not budget.allow_bulk(VICTIM, PADDED_GREETING_BYTES, START + 1.0, is_card=True)
    assert len(_flood(budget, START + 1.0, START + 59.0)) >= 15, "and for checks"


def test_four_greetings_a_minute_go_to_who_is_absent():
    budget = TargetBudget()
    times = _steps(START, START + 59.0)
    greetings = [
        at for at in times if budget.allow_bulk(VICTIM, PADDED_GREETING_BYTES, at, is_card=True)
    ]
    assert len(greetings) == 4


def test_a_first_flight_that_does_not_fit_brings_no_silence():
    budget = TargetBudget()
    for at in _steps(START, START + 10.0):
        budget.allow_bulk(VICTIM, FLIGHT_BYTES, at)
    assert budget.allow(VICTIM, CHECK_BYTES, START + 10.0)


def test_a_port_or_another_peer_at_the_same_address_gives_no_second_budget():
    budget = TargetBudget()
    sent = sum(budget.allow(VICTIM._replace(port=2000 + n), CHECK_BYTES, START) for n in range(99))
    assert sent == 10


def test_another_address_has_a_budget_of_its_own():
    budget = TargetBudget()
    _flood(budget, START, START + 30.0)
    assert not budget.allow(VICTIM, CHECK_BYTES, START + 30.0)
    assert budget.allow(THEIRS, CHECK_BYTES, START + 30.0)


def test_an_authenticated_answer_lifts_the_budget_for_ten_minutes_and_ends_the_silence():
    budget = TargetBudget()
    _flood(budget, START, START + 20.0)
    assert not budget.allow(VICTIM, CHECK_BYTES, START + 20.0)
    budget.answered(VICTIM, START + 20.0)
    assert all(budget.allow_bulk(VICTIM, FLIGHT_BYTES, START + 20.0) for _ in range(1000))
    assert all(budget.allow(VICTIM, CHECK_BYTES, START + 619.9) for _ in range(1000))
    late = _flood(budget, START + 620.0, START + 630.0)
    assert len(late) == 60, "with the minute before forgotten, but with a limit again"


def test_a_check_from_a_silenced_address_pays_for_one_of_ours_and_for_nothing_else():
    """A peer that holds the pair's key can forge where its checks come from."""
    budget = TargetBudget()
    _flood(budget, START, START + 20.0)
    budget.called(VICTIM, START + 20.0)
    assert not budget.allow_bulk(VICTIM, FLIGHT_BYTES, START + 20.0)
    assert budget.allow(VICTIM, CHECK_BYTES, START + 20.0)
    assert not budget.allow(VICTIM, CHECK_BYTES, START + 20.0)
    for _ in range(1000):
        budget.called(VICTIM, START + 21.0)
    assert len(_flood(budget, START + 21.0, START + 22.0)) == 10


@pytest.mark.parametrize("seed", range(3))
def test_no_pattern_of_sending_gets_more_than_the_budget_out_of_64_daemons(seed):
    """A lying server names the victim to all of them, again and again, and they obey."""
    sent = []
    for daemon in range(64):
        random = Random(f"{seed} {daemon}")
        budget, mine, now = TargetBudget(), [], START
        while now < START + 400.0:
            now += random.expovariate(random.choice((0.05, 1.0, 20.0, 200.0)))
            victim = VICTIM._replace(port=random.randint(1024, 65535))
            is_flight = random.random() < 0.25
            size = FLIGHT_BYTES if is_flight else CHECK_BYTES
            allow = budget.allow_bulk if is_flight else budget.allow
            if allow(victim, size, now):
                mine.append((now, size))
        assert _most_in(60.0, [at for at, _ in mine]) <= 60
        assert _most_in(60.0, mine, bytes_too=True) <= 6000
        assert _most_in(0.0999, [at for at, _ in mine]) <= 10
        sent += mine
    assert len(sent) <= 64 * 60 * 4


def test_what_can_wait_leaves_a_reserve_and_never_brings_a_silence():
    budget = TargetBudget()
    spared = [
        at
        for at in _steps(START, START + 59.0, step_s=0.05)
        if budget.can_spare(VICTIM, at) and budget.allow(VICTIM, CHECK_BYTES, at)
    ]
    assert len(spared) == 50
    assert len(_flood(budget, START + 59.0, START + 59.0999)) == 10


def test_nothing_need_be_spared_where_an_answer_was_proved():
    budget = TargetBudget()
    _flood(budget, START, START + 20.0)
    assert not budget.can_spare(VICTIM, START + 20.0)
    budget.answered(VICTIM, START + 20.0)
    assert budget.can_spare(VICTIM, START + 20.0)


def test_a_newer_card_ends_a_silence_but_not_the_minute():
    """The peer that made it lives, and may be waiting."""
    budget = TargetBudget()
    _flood(budget, START, START + 30.0)
    budget.returned(VICTIM, START + 30.0)
    sent = _flood(budget, START + 30.0, START + 70.0, step_s=0.05)
    assert 60.0 <= sent[0] - START <= 60.1


def test_newer_cards_end_a_silence_once_in_five_minutes():
    """A liar can make one a second."""
    budget = TargetBudget()
    for begin in (0.0, 70.0, 140.0):
        assert len(_flood(budget, START + begin, START + begin + 20.0)) == 60
    ended_at = []
    for second in range(200, 1000):
        budget.returned(VICTIM, START + second)
        if _flood(budget, START + second, START + second + 0.01):
            ended_at.append(second)
            _flood(budget, START + second, START + second + 0.99)
    began = [at for before, at in itertools.pairwise([0, *ended_at]) if at - before > 30]
    assert len(began) == 3
    assert all(after - before >= 300 for before, after in itertools.pairwise(began))


def test_a_table_full_of_addresses_refuses_new_ones_and_recovers_when_they_are_old(monkeypatch):
    monkeypatch.setattr("natd.core.checks.budget.MOST_IPS", 1000)
    budget = TargetBudget()
    for number in range(1000):
        assert budget.allow(Address(f"10.{number >> 8}.{number & 255}.1", 4000), 84, START)
    assert not budget.allow(VICTIM, CHECK_BYTES, START + 1.0)
    assert budget.allow(VICTIM, CHECK_BYTES, START + 61.0)
    assert len(budget._spent) == 1


def test_thousands_of_addresses_together_get_no_more_than_all_may_and_do_not_fill_the_table():
    """As a member of an open network names them, in the cards of members that it makes up."""
    budget = TargetBudget()
    sent = 0
    for step in range(6000):
        now = START + step * 0.01
        for number in range(10):
            host = (step * 10 + number) % 16_384
            address = Address(f"198.{18 + (host >> 16)}.{host >> 8 & 255}.{host & 255}", 4000)
            sent += budget.allow(address, CHECK_BYTES, now)
            sent += budget.allow_bulk(address, FLIGHT_BYTES, now)
    assert sent <= TOTAL_BURST + 60.0 * TOTAL_RATE
    assert len(budget._spent) < MOST_IPS


def test_a_newcomer_whose_checks_come_is_checked_while_somebody_floods_us():
    budget = TargetBudget()
    for number in range(8192):
        budget.allow(Address(f"198.18.{number >> 8}.{number & 255}", 4000), CHECK_BYTES, START)
    assert not budget.allow(VICTIM, CHECK_BYTES, START)
    budget.called(VICTIM, START)
    assert budget.allow(VICTIM, CHECK_BYTES, START)
    assert not budget.allow(VICTIM, CHECK_BYTES, START)


def test_one_ipv6_network_is_one_victim_whatever_its_addresses():
    budget = TargetBudget()
    sent = 0
    for step in range(600):
        for number in range(20):
            address = Address(f"2001:db8:0:1::{step * 20 + number:x}", 4000)
            sent += budget.allow(address, CHECK_BYTES, START + step * 0.1)
    assert sent <= NETWORK_BURST + 60.0 * NETWORK_RATE
    assert budget.allow(Address("2001:db8:0:2::1", 4000), CHECK_BYTES, START + 60.0)
    assert budget.allow(Address("fe80::1%eth0", 4000), CHECK_BYTES, START + 60.0)


def test_an_address_that_answered_is_guessed_at_beyond_the_budget_of_a_stranger_for_a_week():
    """Its router may start again, and what is guessed meanwhile is lost."""
    budget = TargetBudget()
    budget.answered(VICTIM, START)
    week_s = 7 * 86_400.0
    for at, is_more in ((START + week_s - 1200.0, True), (START + week_s, False)):
        guesses = [budget.turns.may_send(VICTIM.host, at, is_signed=False) for _ in range(6_000)]
        assert (sum(guesses) > 960) is is_more


# --- helpers


def _steps(start, end, step_s=0.002):
    count = int((end - start) / step_s)
    return [start + number * step_s for number in range(count + 1)]


def _flood(budget, start, end, step_s=0.002):
    """When a packet was let through, of one that is tried all the time."""
    return [at for at in _steps(start, end, step_s) if budget.allow(VICTIM, CHECK_BYTES, at)]


def _most_in(window_s, sent, *, bytes_too=False):
    """The most packets (or bytes) in any window of that length."""
    most = 0
    recent: deque[tuple[float, int]] = deque()
    for entry in sent:
        at, amount = entry if bytes_too else (entry, 1)
        recent.append((at, amount))
        while recent[0][0] <= at - window_s:
            recent.popleft()
        most = max(most, sum(amount for _, amount in recent))
    return most
