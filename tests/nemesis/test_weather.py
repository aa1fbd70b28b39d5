"""Many messages in weather that is bad all the time.

The long version: `python -m tests.nemesis.weather --messages 10000 --meetings 50`.
"""

import logging
from collections.abc import Iterator

import pytest

from tests.nemesis import weather


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_a_thousand_messages_each_way_in_bad_weather_arrive_once_and_in_order() -> None:
    assert (weather.BAD.loss, weather.BAD.duplication, weather.BAD.bit_flips) == (0.1, 0.05, 0.02)
    assert weather.chat(1000) == []


def test_ten_of_ten_pairs_meet_where_three_of_ten_packets_are_lost() -> None:
    assert weather.LOSSY.loss == 0.3
    assert weather.meetings(10) == 10
