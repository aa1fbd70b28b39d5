"""Where the numbers of our cards begin at each start."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from natd.daemon.engine import first_card_sequence
from natd.storage.store import Store

NOW_S = 1_800_000_000
CARDS_OF_A_RUN = 50


def test_a_disk_that_came_back_counts_above_the_run_that_it_has_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved, used, and put back within a minute: peers know the lost run's cards, and a server
    that took its goodbye does not."""
    disk, backup = tmp_path / "disk", tmp_path / "backup"
    disk.mkdir()
    begun = started(disk, monkeypatch, NOW_S)
    shutil.copytree(disk, backup)
    lost = started(disk, monkeypatch, NOW_S + 20)
    restored = started(backup, monkeypatch, NOW_S + 40)
    assert begun < lost < lost + CARDS_OF_A_RUN < restored


def test_a_clock_that_was_set_back_leads_to_no_older_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = started(tmp_path, monkeypatch, NOW_S)
    assert started(tmp_path, monkeypatch, NOW_S - 3600) > first + CARDS_OF_A_RUN


def started(disk: Path, monkeypatch: pytest.MonkeyPatch, unix_s: int) -> int:
    """The first number of a daemon that is started then, on that disk."""

    async def start() -> int:
        store = Store(disk)
        store.start(lambda: None)
        sequence = first_card_sequence(store)
        await store.close()
        return sequence

    monkeypatch.setattr(time, "time_ns", lambda: unix_s * 1_000_000_000)
    return asyncio.run(start())
