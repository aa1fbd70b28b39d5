"""A client's place in the event log, without any socket."""

import asyncio

import pytest

from natd.control.subscription import CREDIT_LIMIT, Subscription, credit_of, subscription_of
from natd.host.errors import CommandError
from tests.ipc.memory_log import Json, MemoryLog


def test_nothing_is_given_without_credit() -> None:
    log = filled(10)
    subscription = subscription_of({"since": 0}, log)
    assert subscription.next_events(64) == []
    subscription.add_credit(3)
    assert ids(take(subscription)) == [1, 2, 3]
    assert subscription.next_events(64) == []


def test_an_event_that_could_not_be_sent_is_given_again() -> None:
    subscription = subscription_of({"since": 0, "credit": 10}, filled(5))
    first, second, *_ = subscription.next_events(64)
    subscription.sent(first)
    assert subscription.next_events(64)[0] == second


def test_events_of_other_types_are_passed_over_once_and_cost_no_credit() -> None:
    log = filled(100)
    log.append("wanted")
    subscription = subscription_of({"since": 0, "credit": 2, "types": ["wanted"]}, log)
    assert ids(take(subscription)) == [101]
    assert subscription.credit == 1
    assert subscription.after == 101
    log.append("message")
    assert subscription.is_behind
    assert take(subscription) == []
    assert subscription.after == 102
    assert not subscription.is_behind


def test_a_full_page_of_a_filter_does_not_skip_what_comes_after_it() -> None:
    log = MemoryLog()
    for number in range(10):
        log.append("wanted" if number % 2 else "other")
    subscription = subscription_of({"since": 0, "credit": 10, "types": ["wanted"]}, log)
    assert ids(take(subscription, limit=2)) == [2, 4]
    assert ids(take(subscription, limit=2)) == [6, 8]
    assert ids(take(subscription, limit=2)) == [10]


def test_a_subscription_begins_after_since_or_the_cursor_or_now() -> None:
    log = filled(10)
    log.cursors["bot"] = 4
    assert subscription_of({"since": 7, "cursor": "bot"}, log).after == 7
    assert subscription_of({"cursor": "bot"}, log).after == 4
    assert subscription_of({"cursor": "other"}, log).after == 10
    assert subscription_of({}, log).after == 10


def test_a_cursors_first_use_is_on_disk_before_its_first_event() -> None:
    log = filled(10)
    asyncio.run(subscription_of({"cursor": "bot"}, log).open())
    assert log.cursors == {"bot": 10}


def test_a_cursor_never_moves_back() -> None:
    log = filled(10)
    ahead = subscription_of({"since": 0, "cursor": "bot", "credit": 10}, log)
    behind = subscription_of({"since": 0, "cursor": "bot", "credit": 10}, log)
    asyncio.run(ahead.acknowledge(8))
    asyncio.run(behind.acknowledge(3))
    assert log.cursors == {"bot": 8}


def test_events_that_are_gone_are_one_gap_that_says_which() -> None:
    log = filled(100)
    log.drop_before(51)
    subscription = subscription_of({"since": 20, "credit": 2, "types": ["message"]}, log)
    (gap,) = take(subscription)
    assert (gap["type"], gap["from"], gap["to"], gap["id"]) == ("gap", 21, 50, 50)
    assert ids(take(subscription)) == [51]


def test_a_log_that_was_emptied_altogether_is_a_gap_too() -> None:
    log = filled(100)
    log.drop_before(101)
    subscription = subscription_of({"since": 99, "credit": 5}, log)
    (gap,) = take(subscription)
    assert (gap["from"], gap["to"]) == (100, 100)
    assert take(subscription) == []
    assert not subscription.is_behind


def test_a_log_that_began_anew_is_a_gap_and_then_all_of_it() -> None:
    log = filled(3)
    log.cursors["bot"] = 4711
    subscription = subscription_of({"cursor": "bot", "credit": 10}, log)
    (gap,) = take(subscription)
    assert gap["type"] == "gap"
    assert "new event log" in gap["reason"]
    assert ids(take(subscription)) == [1, 2, 3]
    asyncio.run(subscription.acknowledge(3))
    assert log.cursors == {"bot": 3}


def test_credit_is_bounded() -> None:
    subscription = subscription_of({"credit": 10**9}, filled(1))
    subscription.add_credit(10**9)
    assert subscription.credit == CREDIT_LIMIT


@pytest.mark.parametrize(
    "request_",
    [
        {"since": -1},
        {"since": "1"},
        {"since": True},
        {"since": 1 << 63},
        {"credit": 1.5},
        {"types": "message"},
        {"types": [1]},
        {"cursor": ""},
        {"cursor": "x" * 65},
        {"cursor": "a\nb"},
        {"cursor": 7},
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused(request_: Json) -> None:
    with pytest.raises(CommandError) as refused:
        subscription_of(request_, filled(1))
    assert refused.value.code == "usage"


def test_what_was_never_sent_can_not_be_acknowledged() -> None:
    subscription = subscription_of({"since": 0, "credit": 1}, filled(5))
    take(subscription)
    assert credit_of({"n": 1, "ack": 1}, subscription) == (1, 1)
    with pytest.raises(CommandError):
        credit_of({"n": 1, "ack": 2}, subscription)


def filled(count: int) -> MemoryLog:
    log = MemoryLog()
    for _ in range(count):
        log.append("message")
    return log


def take(subscription: Subscription, limit: int = 64) -> list[Json]:
    """As the control socket does it."""
    events = subscription.next_events(limit)
    for event in events:
        subscription.sent(event)
    subscription.page_sent()
    return events


def ids(events: list[Json]) -> list[int]:
    return [event["id"] for event in events]
