"""What may be guessed at hosts that have never answered."""

import pytest

from natd.core.base.types import Address
from natd.core.checks.budget import TargetBudget
from natd.core.checks.strangers import StrangerHosts

START = 1000.0
HOUR_S = 3600.0
HOST = "198.51.100.7"


def _spend(hosts: StrangerHosts, host: str, at: float, *, is_open: bool) -> int:
    return sum(hosts.take(host, at, is_open=is_open) for _ in range(5_000))


@pytest.mark.parametrize("is_open", [True, False])
def test_the_first_wave_and_the_checks_of_a_minute_are_no_more_than_1024(is_open: bool) -> None:
    hosts = StrangerHosts()
    assert _spend(hosts, HOST, START, is_open=is_open) + 60 <= 1024
    assert _spend(hosts, HOST, START + 86_000.0, is_open=is_open) == 0


@pytest.mark.parametrize(("is_open", "words"), [(True, 1), (False, 4)])
def test_words_buy_so_many_waves_an_hour_and_no_more(is_open: bool, words: int) -> None:
    hosts = StrangerHosts()
    _spend(hosts, HOST, START, is_open=is_open)
    for hour in range(3):
        at, bought = START + hour * HOUR_S, 0
        for _ in range(10):
            if hosts.take_word(HOST, at, is_open=is_open):
                bought += 1
                assert _spend(hosts, HOST, at, is_open=is_open) == 1024
        assert bought == words


@pytest.mark.parametrize(("before", "after"), [(1, 0), (20, 10), (40, 20), (1, 80)])
def test_guesses_and_checks_of_the_first_minute_and_a_words_wave_are_2048(
    before: int, after: int
) -> None:
    hosts = StrangerHosts()
    for _ in range(before):
        hosts.checked(HOST, START)
    first = _spend(hosts, HOST, START + 1.0, is_open=True)
    for _ in range(after):
        hosts.checked(HOST, START + 2.0)
    assert hosts.take_word(HOST, START + 30.0, is_open=True)
    bought = _spend(hosts, HOST, START + 60.0, is_open=True)
    rest = _spend(hosts, HOST, START + 61.0, is_open=True)
    assert (first, bought) == (960, 1024)
    assert rest == max(0, 64 - before - after)
    assert hosts.left(HOST, START + 62.0, is_open=True) == 0


@pytest.mark.parametrize("checks", [0, 10, 60])
def test_with_a_word_checks_and_guesses_are_together_60_a_minute_after_it(checks: int) -> None:
    hosts, guesses = StrangerHosts(), 0
    hosts.checked(HOST, START)
    for minute in range(60):
        for _ in range(checks if minute else 0):
            hosts.checked(HOST, START + 60.0 * minute)
        guesses += _spend(hosts, HOST, START + 60.0 * minute, is_open=True)
        if minute == 0:
            assert hosts.take_word(HOST, START + 30.0, is_open=True)
        sent = guesses + 1 + checks * minute
        assert sent <= 1024 + 1024 + 60 * minute
        assert guesses <= 1024 + 1024 + 240, "and not for ever"


def test_a_word_after_the_first_minute_buys_one_wave_and_no_rest() -> None:
    hosts = StrangerHosts()
    hosts.checked(HOST, START)
    _spend(hosts, HOST, START, is_open=True)
    assert hosts.take_word(HOST, START + 60.0, is_open=True)
    assert _spend(hosts, HOST, START + 61.0, is_open=True) == 1024


def test_where_it_is_unknown_how_often_a_host_was_checked_there_is_no_rest() -> None:
    hosts = StrangerHosts()
    hosts.checked(HOST, START)
    for number in range(64):
        hosts.checked(f"203.0.113.{number}", START)
    _spend(hosts, HOST, START, is_open=True)
    assert hosts.take_word(HOST, START, is_open=True)
    assert _spend(hosts, HOST, START + 61.0, is_open=True) == 1024


def test_the_budget_counts_its_checks_against_the_first_wave() -> None:
    budget = TargetBudget()
    address = Address(HOST, 40000)
    assert sum(budget.allow(address, 100, START) for _ in range(8)) == 8
    strangers = budget.turns.strangers
    _spend(strangers, HOST, START, is_open=True)
    assert strangers.take_word(HOST, START, is_open=True)
    assert _spend(strangers, HOST, START + 61.0, is_open=True) == 1024 + 64 - 8


def test_without_a_word_there_is_no_rest() -> None:
    hosts = StrangerHosts()
    _spend(hosts, HOST, START, is_open=True)
    assert _spend(hosts, HOST, START + 61.0, is_open=True) == 0


def test_a_word_that_comes_before_the_wave_is_half_spent_buys_nothing() -> None:
    hosts = StrangerHosts()
    assert not hosts.take_word(HOST, START, is_open=True)
    hosts.take(HOST, START, is_open=True)
    assert not hosts.take_word(HOST, START, is_open=True)


def test_in_an_open_network_four_hosts_an_hour_are_guessed_at() -> None:
    hosts = StrangerHosts()
    named = [f"203.0.113.{number}" for number in range(20)]
    assert sum(hosts.take(host, START, is_open=True) for host in named) == 4
    assert sum(hosts.take(host, START + HOUR_S - 1.0, is_open=True) for host in named) == 4
    later = [f"192.0.2.{number}" for number in range(20)]
    assert sum(hosts.take(host, START + HOUR_S, is_open=True) for host in later) == 4


def test_a_host_lacks_a_place_only_while_others_have_taken_all_of_this_hours() -> None:
    hosts = StrangerHosts()
    assert not hosts.lacks_place(HOST, START, is_open=True)
    named = [f"203.0.113.{number}" for number in range(4)]
    for host in named:
        hosts.take(host, START, is_open=True)
    assert hosts.lacks_place(HOST, START, is_open=True)
    assert not hosts.lacks_place(HOST, START, is_open=False)
    assert not hosts.lacks_place(named[0], START, is_open=True)
    assert not hosts.lacks_place(HOST, START + HOUR_S, is_open=True)


@pytest.mark.parametrize(("is_open", "words"), [(True, 1), (False, 4)])
def test_the_end_of_a_day_gives_no_wave_beside_those_of_the_hour(is_open: bool, words: int) -> None:
    """A word that was saved until then, a first wave, and another word: three in a minute."""
    hosts = StrangerHosts()
    _spend(hosts, HOST, START, is_open=is_open)
    sent, day_s = 0, 86_400.0
    for step in range(120):
        at = START + day_s - HOUR_S / 2 + 30.0 * step
        sent += _spend(hosts, HOST, at, is_open=is_open) * (step > 0)
        hosts.take_word(HOST, at, is_open=is_open)
    assert 0 < sent <= words * 1_024


def test_a_restart_gives_no_host_another_first_wave_nor_an_hour_more_words() -> None:
    before = StrangerHosts()
    before.take(HOST, START, is_open=True)
    kept = before.take_news(START + 1.0)
    assert kept is not None
    assert before.take_news(START + 1.0) is None
    hosts = StrangerHosts()
    hosts.recall(kept, 500.0)
    assert _spend(hosts, HOST, 500.0, is_open=True) == 0
    assert hosts.take_word(HOST, 501.0, is_open=True)
    kept = hosts.take_news(501.0)
    assert kept is not None
    hosts = StrangerHosts()
    hosts.recall(kept, 9000.0)
    assert not hosts.take_word(HOST, 9000.0, is_open=True)
    assert hosts.take_word(HOST, 9000.0 + HOUR_S, is_open=True)
    assert _spend(hosts, "203.0.113.9", 9000.0, is_open=True) == 960


def test_what_a_restart_recalls_takes_the_places_that_it_took() -> None:
    before = StrangerHosts()
    for number in range(4):
        before.take(f"203.0.113.{number}", START, is_open=True)
    before.answered("203.0.113.0")
    kept = before.take_news(START)
    assert kept is not None
    hosts = StrangerHosts()
    hosts.recall(kept, START)
    assert hosts.take(HOST, START, is_open=True)
    assert not hosts.take("203.0.113.0", START, is_open=True)


def test_success_gives_the_place_back() -> None:
    hosts = StrangerHosts()
    for number in range(30):
        assert hosts.take(f"203.0.113.{number}", START, is_open=True)
        hosts.answered(f"203.0.113.{number}")


def test_a_secret_network_has_more_places_but_the_table_ends() -> None:
    hosts = StrangerHosts()
    named = [f"10.0.{number // 250}.{number % 250}" for number in range(1_100)]
    assert sum(hosts.take(host, START, is_open=False) for host in named) == 1_024
