"""What shows that UDP gets through: another host's answer, in the last minute."""

import pytest

from natd.core.nat.answers import Answers


def test_only_another_host_than_the_silent_ones_counts_and_only_for_a_minute() -> None:
    answers = Answers()
    answers.heard("198.51.100.1", 1000.0)
    assert answers.other_than({"198.51.100.1"}, 1001.0) is None
    answers.heard("203.0.113.9", 1003.0)
    assert answers.other_than({"198.51.100.1"}, 1061.0) == "203.0.113.9"
    assert answers.other_than({"198.51.100.1"}, 1064.0) is None


def test_an_answer_no_later_than_the_servers_own_last_shows_nothing() -> None:
    answers = Answers()
    answers.heard("203.0.113.9", 1000.0)
    answers.heard("198.51.100.1", 1010.0)
    assert answers.other_than({"198.51.100.1"}, 1030.0) is None
    assert answers.other_than({"198.51.100.2"}, 1030.0) is not None


@pytest.mark.parametrize("near", ["192.168.1.7", "100.64.0.7", "127.0.0.1", "::1"])
def test_a_machine_near_us_shows_nothing_of_servers_on_the_internet(near: str) -> None:
    answers = Answers()
    answers.heard(near, 1000.0)
    assert answers.other_than({"198.51.100.1"}, 1001.0) is None
    assert answers.other_than({"192.168.1.2"}, 1001.0) == near
