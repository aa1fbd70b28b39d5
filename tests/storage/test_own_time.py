"""Ages count in the daemon's own time, and a clock that is set is noticed."""

import asyncio
import time
from pathlib import Path

import pytest

from natd.storage import own_time
from natd.storage.own_time import ClockJump, OwnTime, WallClock
from natd.storage.store import Store

DAY_S = 86_400


class Clocks:
    """The clocks of a machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unix_s = 1_800_000_000.0
        self.since_boot_s = 5_000.0
        self.boot = "boot-1"
        monkeypatch.setattr(time, "time", lambda: self.unix_s)
        monkeypatch.setattr(time, "monotonic", lambda: self.since_boot_s)
        monkeypatch.setattr(own_time, "_since_boot_s", lambda: self.since_boot_s)
        monkeypatch.setattr(own_time, "_boot_id", lambda: self.boot)

    def pass_by(self, seconds: float) -> None:
        self.unix_s += seconds
        self.since_boot_s += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.mark.parametrize("jump_s", [-10 * DAY_S, 8 * DAY_S, 31 * DAY_S])
def test_own_time_counts_what_has_passed_whatever_the_clock_says(
    clocks: Clocks, jump_s: float
) -> None:
    own = OwnTime(None)
    begun = own.now_s
    clocks.pass_by(100)
    clocks.unix_s += jump_s
    clocks.pass_by(100)
    assert own.now_s == begun + 200


def test_own_time_stands_still_while_the_daemon_does_not_run(clocks: Clocks) -> None:
    own = OwnTime(None)
    clocks.pass_by(1000)
    saved = own.now_s
    clocks.pass_by(30 * DAY_S)
    own = OwnTime(saved)
    clocks.pass_by(10)
    assert own.now_s == saved + 10


def test_own_time_goes_on_from_the_last_commit(tmp_path: Path) -> None:
    async def run() -> int:
        store = Store(tmp_path)
        store.start(lambda: None)
        store.own_time._base_s += 100 * DAY_S
        await store.execute("INSERT OR REPLACE INTO meta VALUES ('a', 1)")
        reached = store.own_time.now_s
        await store.close()
        return reached

    reached = asyncio.run(run())
    assert reached <= Store(tmp_path).own_time.now_s <= reached + 60


@pytest.mark.parametrize("jump_s", [-DAY_S, 8 * DAY_S, -61, 61])
def test_a_clock_that_is_set_in_a_run_is_noticed_once(clocks: Clocks, jump_s: float) -> None:
    clock = WallClock(None)
    assert clock.look() is None
    clocks.pass_by(60)
    assert clock.look() is None
    clocks.pass_by(60)
    clocks.unix_s += jump_s
    assert jump(clock.look()) == pytest.approx(jump_s)
    clocks.pass_by(60)
    assert clock.look() is None


def test_a_slow_correction_and_a_suspension_are_no_jump(clocks: Clocks) -> None:
    clock = WallClock(None)
    clock.look()
    for _ in range(100):
        clocks.pass_by(60)
        clocks.unix_s += 0.03
        assert clock.look() is None
    clocks.pass_by(3 * DAY_S)
    assert clock.look() is None


def test_between_two_runs_a_jump_is_noticed_where_it_is_certain(clocks: Clocks) -> None:
    clock = WallClock(None)
    clock.look()
    saved = clock.saved_text
    clocks.pass_by(DAY_S)
    assert WallClock(saved).look() is None
    clocks.unix_s += 8 * DAY_S
    assert jump(WallClock(saved).look()) == pytest.approx(8 * DAY_S)
    clocks.boot, clocks.since_boot_s = "boot-2", 10.0
    assert WallClock(saved).look() is None, "the machine may have been off for nine days"
    clocks.unix_s -= 20 * DAY_S
    assert jump(WallClock(saved).look()) == pytest.approx(-11 * DAY_S)


def jump(noticed: ClockJump | None) -> float:
    assert noticed is not None
    return noticed.seconds
