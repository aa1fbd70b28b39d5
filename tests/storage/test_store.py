"""The SQLite file: groups, refusals, and what is never done to it."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from natd.host.errors import StartError
from natd.storage import store as store_module
from natd.storage.store import FILE_NAME, Store, StoreError
from natd.storage.transaction import Transaction


def test_what_is_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    async def write() -> None:
        store = open_store(tmp_path)
        await store.execute("INSERT INTO meta VALUES ('colour', 'green')")
        await store.close()

    async def read() -> None:
        store = open_store(tmp_path)
        assert store.query("SELECT value FROM meta WHERE name = 'colour'") == [("green",)]
        await store.close()

    asyncio.run(write())
    asyncio.run(read())


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        old = os.umask(0)
        store = open_store(tmp_path)
        await store.execute("INSERT INTO meta VALUES ('a', 1)")
        os.umask(old)
        files = list(tmp_path.glob(FILE_NAME + "*"))
        assert len(files) == 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        await store.close()

    asyncio.run(scenario())


def test_the_disk_is_synced_at_each_commit(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store(tmp_path)
        assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)
        await store.close()

    asyncio.run(scenario())


def test_what_is_submitted_in_one_breath_is_one_group_and_ends_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        groups: list[int] = []
        store = open_store(tmp_path, lambda: groups.append(len(done)))
        done: list[int] = []
        for number in range(100):
            store.submit(Row(store, number, done))
        await store.flush()
        assert groups == [100]
        assert done == list(range(100))
        assert store.query("SELECT count(*) FROM events") == [(100,)]
        await store.close()

    asyncio.run(scenario())


def test_while_one_group_is_written_the_next_gathers(tmp_path: Path) -> None:
    async def scenario() -> None:
        groups: list[int] = []
        store = open_store(tmp_path, lambda: groups.append(len(done)))
        done: list[int] = []
        store.submit(Row(store, 0, done))
        while store._handed_at is None:
            await asyncio.sleep(0)
        store.submit(Row(store, 1, done))
        store.submit(Row(store, 2, done))
        await store.flush()
        assert groups == [1, 3]
        await store.close()

    asyncio.run(scenario())


def test_a_disk_that_is_full_refuses_who_can_not_wait_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RETRY_S", 0.01)

    async def scenario() -> None:
        store = open_store(tmp_path)
        fill(store)
        done: list[int] = []
        stays = Row(store, 1, done, body="x" * 9000)
        gives_up = Row(store, 2, done, stays=False)
        store.submit(stays)
        store.submit(gives_up)
        await until(lambda: gives_up.error is not None)
        assert "full" in str(gives_up.error)
        assert store.problem is not None
        assert done == []
        assert store.query("SELECT count(*) FROM events") == [(0,)]
        empty(store)
        await until(lambda: done == [1])
        assert store.problem is None
        assert store.query("SELECT length(body) FROM events") == [(9000,)]
        await store.close()

    asyncio.run(scenario())


def test_while_the_disk_takes_nothing_each_refusal_comes_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store(tmp_path)
        fill(store)
        for _ in range(3):
            async with asyncio.timeout(0.5):
                with pytest.raises(StoreError, match="full"):
                    await store.execute("INSERT INTO meta VALUES ('big', zeroblob(100000))")
        await store.close()

    asyncio.run(scenario())


def test_one_row_that_sqlite_can_not_hold_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store(tmp_path)
        done: list[int] = []
        poison = Row(store, 2, done, body="\ud800")
        for row in (Row(store, 1, done), poison, Row(store, 3, done)):
            store.submit(row)
        await store.flush()
        assert done == [1, 3]
        assert isinstance(poison.error, StoreError)
        assert store.problem is None
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [100, 4096, 100_000])
def test_a_file_that_is_none_of_ours_is_refused_and_left_as_it_is(
    tmp_path: Path, size: int
) -> None:
    file = tmp_path / FILE_NAME
    file.write_bytes(b"x" * size)
    with pytest.raises(StartError, match=r"natd\.db can't be used"):
        Store(tmp_path)
    assert file.read_bytes() == b"x" * size


def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    async def make() -> None:
        store = open_store(tmp_path)
        for number in range(500):
            store.submit(Row(store, number, []))
        await store.close()

    asyncio.run(make())
    file = tmp_path / FILE_NAME
    with file.open("r+b") as stream:
        for page in range(2, file.stat().st_size // 4096):
            stream.seek(page * 4096)
            stream.write(b"\xee" * 512)
    damaged = file.read_bytes()
    with pytest.raises(StartError, match=r"damaged|malformed"):
        Store(tmp_path)
    assert file.read_bytes() == damaged


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE theirs (a)")
    connection.commit()
    connection.close()
    with pytest.raises(StartError, match="not made by natd"):
        Store(tmp_path)


def test_a_newer_versions_file_is_refused(tmp_path: Path) -> None:
    async def make() -> None:
        store = open_store(tmp_path)
        store._writer.execute("PRAGMA user_version = 99")
        await store.close()

    asyncio.run(make())
    with pytest.raises(StartError, match="newer natd"):
        Store(tmp_path)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_may_touch_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int
) -> None:
    asyncio.run(open_and_close(tmp_path))
    (tmp_path / FILE_NAME).chmod(mode)
    with pytest.raises(StartError, match=f"mode {mode:04o}") as told:
        Store(tmp_path)
    assert "chmod 600" in str(told.value.hint)
    (tmp_path / FILE_NAME).chmod(0o600)
    asyncio.run(open_and_close(tmp_path))


def test_a_symlink_in_the_files_place_is_refused_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / FILE_NAME).symlink_to(elsewhere)
    with pytest.raises(StartError, match="symbolic"):
        Store(tmp_path)
    assert not elsewhere.exists()


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file"):
        Store(tmp_path / "missing")


async def open_and_close(directory: Path) -> None:
    await open_store(directory).close()


class Row:
    """A write that puts one row into the events."""

    is_news = False

    def __init__(
        self, store: Store, number: int, done: list[int], *, stays: bool = True, body: str = ""
    ) -> None:
        self.error: StoreError | None = None
        self._number = number
        self._done = done
        self._stays = stays
        self._body = body or str(number)

    def apply(self, transaction: Transaction) -> None:
        id_ = transaction.take_number("events", "SELECT max(id) FROM events")
        into = "events (id, at_unix_ms, type, body, kept_at_s)"
        transaction.insert(into, (id_, 0, "test", self._body, 0))

    def committed(self) -> None:
        self._done.append(self._number)

    def failed(self, error: StoreError) -> bool:
        self.error = error
        return self._stays


def open_store(directory: Path, on_commit: Callable[[], None] = lambda: None) -> Store:
    store = Store(directory)
    store.start(on_commit)
    return store


def fill(store: Store) -> None:
    """SQLite's own limit of pages stands for a disk without room."""
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")


def empty(store: Store) -> None:
    store._writer.execute("PRAGMA max_page_count = 1000000")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)
