"""Timers: the earliest of many, jitter, waits that grow, ladders that end."""

from random import Random

import pytest

from natd.core.base.timers import Ladder, Timetable, backed_off, earliest, jittered

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
    timetable: Timetable[str] = Timetable()
    for key, at in (("late", 1003.0), ("first", 1001.0), ("second", 1002.0), ("never", None)):
        timetable.set(key, at)
    assert timetable.get_timer() == 1001.0
    assert timetable.due(1000.5) == []
    assert timetable.due(1002.0) == ["first", "second"]
    assert timetable.due(1002.0) == []
    assert timetable.get_timer() == 1003.0


def test_a_timer_that_was_moved_counts_from_its_last_instant_only():
    timetable: Timetable[str] = Timetable()
    timetable.set("moved", 1001.0)
    timetable.set("moved", 1005.0)
    timetable.set("stopped", 1001.0)
    timetable.set("stopped", None)
    assert timetable.get_timer() == 1005.0
    timetable.set("moved", 1002.0)
    assert timetable.due(1010.0) == ["moved"]
    assert timetable.get_timer() is None


def test_a_timetable_agrees_with_looking_at_every_timer():
    random = Random(3)
    timetable: Timetable[int] = Timetable()
    timers: dict[int, float] = {}
    now = START
    for _ in range(3000):
        key = random.randrange(20)
        at = random.choice((None, now + random.randrange(9)))
        timetable.set(key, at)
        timers.pop(key, None)
        if at is not None:
            timers[key] = at
        assert timetable.get_timer() == earliest(*timers.values())
        if random.random() < 0.1:
            now += 1.0
            due = {key for key, until in timers.items() if until <= now}
            assert set(timetable.due(now)) == due
            timers = {key: until for key, until in timers.items() if key not in due}


def test_a_timetable_does_not_grow_with_the_number_of_changes():
    timetable: Timetable[str] = Timetable()
    for number in range(10_000):
        timetable.set("busy", START + 10_000 - number)
        timetable.set("far", START + 20_000 + number)
    assert len(timetable._heap) < 200
