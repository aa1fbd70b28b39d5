"""Timers: the earliest of many, jitter, waits that grow, ladders that end."""

from random import Random

import pytest

from natd.core.base.timers import Ladder, TimerQueue, backed_off, earliest, jittered

START = 1000.0


def test_never_is_later_than_every_instant():
    assert earliest() is None
    assert earliest(None, None) is None
    assert earliest(None, 1003.0, 1001.0) == 1001.0


def test_jitter_moves_a_wait_by_its_share_either_way_and_no_further():
    waits = [jittered(10.0, 0.2, Random(seed)) for seed in range(200)]
    assert min(waits) < 8.5
    assert max(waits) > 11.5
    assert all(8.0 <= wait <= 12.0 for wait in waits)
    assert jittered(10.0, 0.0, Random(1)) == 10.0


def test_waits_double_up_to_their_limit_however_often_it_is_tried():
    assert [backed_off(n, 1.0, 60.0) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backed_off(1_000_000, 1.0, 60.0) == 60.0


def test_a_ladder_has_as_many_turns_as_waits_and_can_begin_again():
    ladder = Ladder((0.1, 0.2))
    assert not ladder.is_due(START)
    ladder.start(START)
    assert not ladder.is_due(START)
    assert ladder.is_due(START + 0.1)
    assert ladder.climb(START + 0.1)
    assert ladder.due_at == pytest.approx(START + 0.3)
    assert not ladder.climb(START + 0.3)
    assert ladder.due_at is None
    ladder.start(START + 5.0)
    assert ladder.due_at == pytest.approx(START + 5.1)
    ladder.stop()
    assert ladder.due_at is None


def test_a_timetable_gives_whose_timers_are_due_in_their_order_and_each_once():
    queue: TimerQueue[str] = TimerQueue()
    for key, at in (("late", 1003.0), ("first", 1001.0), ("second", 1002.0), ("never", None)):
        queue.set(key, at)
    assert queue.get_timer() == 1001.0
    assert queue.due(1000.5) == []
    assert queue.due(1002.0) == ["first", "second"]
    assert queue.due(1002.0) == []
    assert queue.get_timer() == 1003.0


def test_a_timer_that_was_moved_counts_from_its_last_instant_only():
    queue: TimerQueue[str] = TimerQueue()
    queue.set("moved", 1001.0)
    queue.set("moved", 1005.0)
    queue.set("stopped", 1001.0)
    queue.set("stopped", None)
    assert queue.get_timer() == 1005.0
    queue.set("moved", 1002.0)
    assert queue.due(1010.0) == ["moved"]
    assert queue.get_timer() is None


def test_a_timetable_agrees_with_looking_at_every_timer():
    random = Random(3)
    queue: TimerQueue[int] = TimerQueue()
    timers: dict[int, float] = {}
    now = START
    for _ in range(3000):
        key = random.randrange(20)
        at = random.choice((None, now + random.randrange(9)))
        queue.set(key, at)
        timers.pop(key, None)
        if at is not None:
            timers[key] = at
        assert queue.get_timer() == earliest(*timers.values())
        if random.random() < 0.1:
            now += 1.0
            due = {key for key, until in timers.items() if until <= now}
            assert set(queue.due(now)) == due
            timers = {key: until for key, until in timers.items() if key not in due}


def test_a_timetable_does_not_grow_with_the_number_of_changes():
    queue: TimerQueue[str] = TimerQueue()
    for number in range(10_000):
        queue.set("busy", START + 10_000 - number)
        queue.set("far", START + 20_000 + number)
    assert len(queue._heap) < 200
