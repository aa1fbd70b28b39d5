"""The file: earlier versions, damage, and what happens when it is taken away."""

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from natd.core.base.types import PeerId
from natd.core.keys.secrets import network_id
from natd.host.errors import StartError
from natd.storage import store as store_module
from natd.storage.address_book import AddressBook
from natd.storage.event_log import EventLog
from natd.storage.mailbox import Mailbox
from natd.storage.store import Store, StoreError

KEY = b"k" * 32
NETWORK = network_id(KEY)
ALICE = PeerId(b"a" * 32)
INSERT = "INSERT OR REPLACE INTO meta VALUES ('a', 1)"


def test_a_file_of_version_1_is_read_with_all_that_it_holds(tmp_path: Path) -> None:
    make_version_1(tmp_path)
    store = Store(tmp_path)
    book, mailbox, log = AddressBook(store), Mailbox(store, EventLog(store)), EventLog(store)
    assert list(book.networks) == ["demo"]
    (alice,) = book.peers(NETWORK)
    assert (alice.nick, alice.heard_at_s) == ("alice", 1_700_000_000)
    assert mailbox.queued(NETWORK, ALICE) == 1
    assert mailbox._conversations[NETWORK, ALICE].stored_bytes == 700 + len("came")

    async def read() -> list[str]:
        store.start(lambda: None)
        texts = [event["text"] for event in await log.read_events(0, 9)]
        texts += [message.body for message in await mailbox.waiting(NETWORK, ALICE, 0, 9)]
        await store.close()
        return texts

    assert asyncio.run(read()) == ["came", "waits"]


@pytest.mark.parametrize("name", ["natd.db", "natd.db-wal"])
def test_nothing_is_accepted_into_a_file_that_was_taken_away(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        store = Store(tmp_path)
        store.start(lambda: None)
        await store.execute(INSERT)
        (tmp_path / name).rename(tmp_path / "elsewhere")
        with pytest.raises(StoreError, match=f"{name} was moved or removed"):
            await store.execute(INSERT)
        assert store.problem is not None
        (tmp_path / "elsewhere").rename(tmp_path / name)
        await store.execute(INSERT)
        assert store.problem is None
        await store.close()

    asyncio.run(scenario())


def test_nothing_is_accepted_when_the_directory_is_renamed_or_replaced(tmp_path: Path) -> None:
    async def scenario() -> None:
        state = tmp_path / "state"
        state.mkdir()
        store = Store(state)
        store.start(lambda: None)
        state.rename(tmp_path / "elsewhere")
        with pytest.raises(StoreError, match="moved or removed"):
            await store.execute(INSERT)
        shutil.copytree(tmp_path / "elsewhere", state)
        with pytest.raises(StoreError, match="moved or removed"):
            await store.execute(INSERT)
        await store.close()

    asyncio.run(scenario())


def test_a_removed_directory_ends_neither_a_search_nor_a_reading(tmp_path: Path) -> None:
    async def scenario() -> None:
        state = tmp_path / "state"
        state.mkdir()
        store = Store(state)
        store.start(lambda: None)
        shutil.rmtree(state)
        for question in (store.read("SELECT 1"), store.query_apart("SELECT 1")):
            with pytest.raises(StoreError, match="can't be read"):
                await question
        await store.close()

    asyncio.run(scenario())


def test_a_disk_that_does_not_answer_is_told_of_and_accepts_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "HANGS_AFTER_S", 0.2)

    async def scenario() -> None:
        store = Store(tmp_path)
        mailbox = Mailbox(store, EventLog(store))
        store.start(lambda: None)
        with sqlite3.connect(tmp_path / "natd.db") as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = store.execute(INSERT)
            await asyncio.sleep(0.3)
            assert "has not answered" in str(store.problem)
            with pytest.raises(StoreError, match="has not answered"):
                accept(mailbox)
            other.rollback()
        await waiting
        assert store.problem is None
        await accept(mailbox)
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("mib", [1, 8])
def test_a_damaged_file_of_any_size_is_one_line(tmp_path: Path, mib: int) -> None:
    async def fill() -> None:
        store = Store(tmp_path)
        store.start(lambda: None)
        for number in range(mib):
            await store.execute("INSERT INTO meta VALUES (?, ?)", (f"x{number}", "y" * (1 << 20)))
        await store.close()

    asyncio.run(fill())
    with (tmp_path / "natd.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(os.urandom(size // 2 - 4096))
    with pytest.raises(StartError) as refused:
        Store(tmp_path)
    assert "it is damaged" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rows_that_can_not_be_read_are_counted_and_left(tmp_path: Path) -> None:
    make_version_1(tmp_path)
    with sqlite3.connect(tmp_path / "natd.db") as connection:
        connection.execute("UPDATE networks SET key = ?", (b"x" * 32,))
        connection.execute("UPDATE peers SET last_good = '{'")
    book = AddressBook(Store(tmp_path))
    assert book.networks == {}
    assert book.damaged == {"networks": 1, "peers": 1}
    with sqlite3.connect(tmp_path / "natd.db") as connection:
        assert connection.execute("SELECT count(*) FROM peers").fetchone() == (1,)


def test_an_event_that_can_not_be_read_is_a_gap_of_one(tmp_path: Path) -> None:
    make_version_1(tmp_path)

    async def scenario() -> None:
        store = Store(tmp_path)
        log = EventLog(store)
        store.start(lambda: None)
        await store.execute("UPDATE events SET body = '{\"v\": 1,'")
        (event,) = await log.read_events(0, 9)
        assert (event["type"], event["from"], event["to"]) == ("gap", 1, 1)
        await store.close()

    asyncio.run(scenario())


def accept(mailbox: Mailbox) -> "asyncio.Future[str]":
    return mailbox.accept(
        NETWORK, [ALICE], text="hi", nick="me", is_open=False, kind="text", fields={}
    )


def make_version_1(directory: Path) -> None:
    """A file as natd 0.3 has left it: a network, a peer, a message that came, one that waits."""
    path = directory / "natd.db"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path)
    connection.executescript(Path(__file__).with_name("version_1.sql").read_text())
    connection.execute(
        "INSERT INTO networks VALUES (?, 'demo', ?, 'me', '[\"h:1\"]', 1)", (NETWORK, KEY)
    )
    peer = (NETWORK, ALICE, "alice", "new", 0, b"card", '[["192.0.2.1", 5]]', 1_700_000_000)
    connection.execute("INSERT INTO peers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", peer)
    connection.execute(
        "INSERT INTO conversations VALUES (1, ?, ?, 7, 2, 1, 9, 1)", (NETWORK, ALICE)
    )
    for id_, is_outbound, conversation, text in ((1, 0, 1, "came"), (2, 1, None, "waits")):
        head = (id_, NETWORK, is_outbound, conversation, "alice", "new", f"m{id_}", 0)
        row = (*head, 1_700_000_000_000, "text", text, 0)
        connection.execute(f"INSERT INTO messages VALUES ({','.join('?' * 12)})", row)
    connection.execute("INSERT INTO outbox VALUES (1, 1, 2)")
    body = '{"v":1,"id":1,"ts":"2023-11-14T22:13:20.000Z","type":"message","text":"came"}'
    connection.execute(
        "INSERT INTO events VALUES (1, 1700000000000, 'message', 'demo', ?)", (body,)
    )
    connection.commit()
    connection.close()
