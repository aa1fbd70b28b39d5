"""A message that a client has named is on disk once, with its name or not at all."""

import asyncio
import contextlib
import os
import sqlite3
import time
from pathlib import Path

import pytest

from natd.core.base.types import NetworkId, PeerId
from natd.host.errors import CommandError
from natd.storage.asked import Name, asking, name_of
from natd.storage.event_log import EventLog
from natd.storage.mailbox import Mailbox
from natd.storage.store import Store, StoreError

NETWORK = NetworkId(b"n" * 16)
OTHER = NetworkId(b"o" * 16)
BOB = PeerId(b"b" * 32)
CAROL = PeerId(b"c" * 32)
DAY_S = 86_400


def test_who_asks_again_is_told_the_message_of_the_first_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        first = await box.send("hi", "one")
        assert await box.send("hi", "one") == first
        assert box.bodies() == ["hi"]
        await box.store.close()
        box = Box(tmp_path)
        assert await box.send("hi", "one") == first
        assert box.bodies() == ["hi"]
        await box.store.close()

    asyncio.run(scenario())


def test_a_name_on_its_way_to_the_disk_is_as_good_as_one_that_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        messages = await asyncio.gather(*(box.send("hi", "one") for _ in range(20)))
        assert len(set(messages)) == 1
        assert box.bodies() == ["hi"]
        await box.store.close()

    asyncio.run(scenario())


def test_another_text_or_recipient_under_the_same_name_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        sending = asyncio.ensure_future(box.send("hi", "one"))
        await asyncio.sleep(0)
        for _ in range(2):  # on its way, and on disk
            for text, to in (("ho", None), ("hi", "bob")):
                with pytest.raises(CommandError) as caught:
                    await box.send(text, "one", to=to)
                assert caught.value.code == "name_taken"
                assert "'one'" in caught.value.text
            await sending
        assert box.bodies() == ["hi"]
        await box.store.close()

    asyncio.run(scenario())


def test_names_of_two_programs_and_of_two_networks_are_different_names(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        messages = {
            await box.send("hi", "one", program="natctl"),
            await box.send("hi", "one", program="bot"),
            await box.send("hi", "one", network=OTHER),
            await box.send("hi", "One"),
        }
        assert len(messages) == 4
        await box.store.close()

    asyncio.run(scenario())


def test_what_the_disk_refused_was_never_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.store._writer.execute("PRAGMA query_only = 1")
        with pytest.raises(StoreError):
            await box.send("hi", "one")
        box.store._writer.execute("PRAGMA query_only = 0")
        await box.send("ho", "one")
        assert box.bodies() == ["ho"]
        await box.store.close()

    asyncio.run(scenario())


def test_recipients_are_told_as_they_stand_now(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        name = Name(NETWORK, "natctl", "one")
        await box.send("hi", "one", peers=[BOB, CAROL])
        assert await box.mailbox.asked.recipients(name) == ([], [BOB, CAROL])
        box.mailbox.acknowledge(NETWORK, CAROL, 1, {"network": "demo"})
        await box.store.flush()
        assert await box.mailbox.asked.recipients(name) == ([CAROL], [BOB])
        await box.store.close()

    asyncio.run(scenario())


def test_a_name_is_kept_for_a_day_in_which_daemons_ran_whatever_the_wall_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        first = await box.send("hi", "one")
        box.store.own_time._base_s += DAY_S - 60.0
        await box.mailbox.asked.prune()
        assert await box.send("hi", "one") == first
        await box.store.close()
        monkeypatch.setattr(time, "time", lambda: 4e9)
        box = Box(tmp_path)
        await box.mailbox.asked.prune()
        assert await box.send("hi", "one") == first
        box.store.own_time._base_s += 120.0
        await box.mailbox.asked.prune()
        assert await box.send("hi", "one") != first
        await box.store.close()

    asyncio.run(scenario())


def test_a_purged_network_takes_its_names_along(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        first = await box.send("hi", "one")
        await box.mailbox.purge(NETWORK)
        assert await box.send("hi", "one") != first
        await box.store.close()

    asyncio.run(scenario())


def test_kill_minus_nine_leaves_a_message_with_its_name_or_neither(tmp_path: Path) -> None:
    """The disk as a process leaves it that ends at once after the commit, or before it."""
    for is_committed in (False, True):
        directory = tmp_path / str(is_committed)
        directory.mkdir()
        if (child := os.fork()) == 0:
            asyncio.run(_send_and_die(directory, is_committed))
        os.waitpid(child, 0)

        async def scenario(directory: Path = directory) -> None:
            box = Box(directory)
            assert len(box.bodies()) == box.names()
            await box.send("hi", "one")
            assert box.bodies() == ["hi"]
            await box.store.close()

        asyncio.run(scenario())


@pytest.mark.parametrize("given", ["", "x" * 65, "two\nlines", "\x1b[2J", "\u202e"])
def test_a_name_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(CommandError) as caught:
        name_of(NETWORK, "natctl", given)
    assert caught.value.code == "usage"
    assert "64" in caught.value.text


@pytest.mark.parametrize("given", [7, None])
def test_a_number_is_no_name(given: object) -> None:
    assert name_of(NETWORK, "natctl", given) is None
    assert name_of(NETWORK, "natctl", "x" * 64) == Name(NETWORK, "natctl", "x" * 64)


def test_a_name_is_found_by_an_index(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sql = "SELECT digest FROM asked WHERE network = ? AND program = ? AND name = ?"
    ((*_, plan),) = store.query(f"EXPLAIN QUERY PLAN {sql}", (b"", "", ""))
    assert "PRIMARY KEY" in plan


def test_a_repeated_message_for_the_first_who_comes_waits_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        for text in ("hi", "hi", "ho"):
            with contextlib.suppress(CommandError):
                await box.send(text, "one", peers=[], is_open=True)
            assert box.mailbox.queued(NETWORK) == 1
        await box.store.close()
        box = Box(tmp_path)
        assert box.mailbox.queued(NETWORK) == 1
        box.mailbox.begin(NETWORK, BOB)
        await box.store.flush()
        assert len(box.mailbox.take_outbound()) == 1
        assert box.mailbox.queued(NETWORK) == 1
        await box.store.close()

    asyncio.run(scenario())


class Box:
    """A mailbox that is asked as the daemon asks it."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory)
        self.mailbox = Mailbox(self.store, EventLog(self.store))
        self.store.start(lambda: None)

    async def send(
        self,
        text: str,
        name: str,
        *,
        program: str = "natctl",
        network: NetworkId = NETWORK,
        to: str | None = None,
        peers: list[PeerId] | None = None,
        is_open: bool = False,
    ) -> str:
        asked = asking(Name(network, program, name), text, to)
        if (coming := self.mailbox.asked.on_the_way(asked)) is not None:
            return await coming
        return await self.mailbox.accept(
            network,
            [BOB] if peers is None else peers,
            text=text,
            nick="me",
            is_open=is_open,
            kind="text",
            fields={},
            asking=asked,
        )

    def bodies(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.store.path)) as file:
            return [row[0] for row in file.execute("SELECT body FROM messages ORDER BY id")]

    def names(self) -> int:
        with contextlib.closing(sqlite3.connect(self.store.path)) as file:
            count: int = file.execute("SELECT count(*) FROM asked").fetchone()[0]
            return count


async def _send_and_die(directory: Path, is_committed: bool) -> None:
    box = Box(directory)
    sending = asyncio.ensure_future(box.send("hi", "one"))
    if is_committed:
        await sending
    else:
        await asyncio.sleep(0)
    os._exit(0)
