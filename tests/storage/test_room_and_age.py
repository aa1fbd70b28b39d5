"""How much stays on the disk, and for how long."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from natd.core.base.types import PeerId
from natd.storage.store import StoreError
from tests.storage.box import ALICE, BOB, NETWORK, Box


def test_what_waited_too_long_is_given_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("old", [ALICE])
        await box.store.execute("UPDATE messages SET kept_at_s = 0")
        await box.accept("new", [ALICE])
        await box.close()
        box = Box(tmp_path)
        ((conversation, seq, messages),) = await box.mailbox.give_up(lambda *_: True)
        assert (conversation.peer, seq, messages) == (ALICE, 1, 1)
        assert box.conversation(ALICE).state().first_unacknowledged == 2
        assert [m.body for m in await box.mailbox.waiting(NETWORK, ALICE, 0, 9)] == ["new"]
        await box.close()

    asyncio.run(scenario())


def test_old_history_goes_except_what_still_waits_for_its_peer(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("delivered", [ALICE])
        box.give_all()
        box.mailbox.acknowledge(NETWORK, ALICE, 1, {})
        await box.accept("waiting", [ALICE])
        await box.mailbox.prune(2**60)
        assert box.store.query("SELECT body FROM messages") == [("waiting",)]
        assert box.store.query("SELECT count(*) FROM outbox") == [(1,)]
        await box.close()

    asyncio.run(scenario())


def test_an_old_message_leaves_its_id_while_its_sender_may_say_it_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        now_s = box.store.own_time.now_s
        for seq, days in ((1, 8), (2, 6), (3, 0)):
            box.arrive(ALICE, seq)
            await box.store.flush()
            await box.grow_old(f"m{seq:03}", days)
        await box.mailbox.prune(now_s - 86_400)
        rows = box.store.query("SELECT message, body FROM messages ORDER BY message")
        assert rows == [("m001", ""), ("m002", ""), ("m003", "3")]
        box.mailbox.nothing_to_repeat(NETWORK, ALICE)
        box.arrive(ALICE, 4)
        await box.store.flush()
        await box.grow_old("m004", 8)
        await box.mailbox.prune(now_s - 86_400)
        rows = box.store.query("SELECT message, body FROM messages ORDER BY message")
        assert rows == [("m002", ""), ("m003", "3"), ("m004", "")], (
            "one goes when seven days are over and its sender is done with it"
        )
        box.arrive(ALICE, 2)
        box.arrive(ALICE, 4)
        await box.store.flush()
        assert box.store.query("SELECT count(*) FROM messages") == [(3,)]
        await box.close()

    asyncio.run(scenario())


def test_what_its_sender_is_done_with_is_known_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.arrive(ALICE, 1)
        await box.store.flush()
        box.mailbox.nothing_to_repeat(NETWORK, ALICE)
        await box.mailbox.prune(0)
        await box.close()
        box = Box(tmp_path)
        await box.grow_old("m001", 8)
        await box.mailbox.prune(box.store.own_time.now_s - 86_400)
        assert box.store.query("SELECT count(*) FROM messages") == [(0,)]
        await box.close()

    asyncio.run(scenario())


def test_a_peer_that_has_filled_its_part_of_the_disk_waits_and_others_do_not(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.mailbox.quota.peer_bytes = 50_000
        taken = [box.arrive(ALICE, seq, text="x" * 9_300) for seq in range(1, 9)]
        assert taken == [True] * 5 + [False] * 3, "10,000 bytes each, with their rows"
        assert box.arrive(BOB, 1)
        await box.store.flush()
        assert box.mailbox.take_released() == []
        assert [held.peer for held in box.mailbox.held(NETWORK)] == [ALICE]
        box.mailbox.quota.peer_bytes = 60_000
        assert [released.peer for released in box.mailbox.take_released()] == [ALICE]
        assert box.mailbox.held(NETWORK) == []
        assert box.arrive(ALICE, 6, text="x" * 9_300)
        await box.close()

    asyncio.run(scenario())


def test_what_a_peer_has_stored_is_known_after_a_restart_and_given_back_with_its_age(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        for seq in range(1, 6):
            assert box.arrive(ALICE, seq, text="x" * 9_300)
        await box.close()
        box = Box(tmp_path)
        box.mailbox.quota.peer_bytes = 50_000
        assert not box.arrive(ALICE, 6)
        for seq in range(1, 4):
            await box.grow_old(f"m{seq:03}", 31)
        await box.mailbox.prune(box.store.own_time.now_s - 30 * 86_400)
        assert [released.peer for released in box.mailbox.take_released()] == [ALICE]
        assert box.arrive(ALICE, 6)
        await box.close()

    asyncio.run(scenario())


def test_however_many_want_to_fill_the_disk_one_more_finds_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        quota = box.mailbox.quota
        quota.disk_bytes, quota.peer_bytes = 4_000_000, 4_000_000
        stored = []
        for number in range(64):
            greedy = PeerId(bytes([100 + number]) * 32)
            seq = 1
            while box.arrive(greedy, seq, text="x" * 9_300):
                seq += 1
                if seq % 8 == 0:
                    await box.store.flush()
            stored.append((seq - 1) * 10_000)
        await box.store.flush()
        assert stored[0] < 900_000, "not more than a quarter of what was free"
        assert stored[1] > 500_000
        assert box.store.used_bytes <= 4_000_000
        assert box.arrive(ALICE, 1, text="hello")
        assert await box.accept("and back", [ALICE])
        await box.close()

    asyncio.run(scenario())


def test_when_natd_has_used_up_its_part_of_the_disk_nothing_is_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.mailbox.quota.disk_bytes = 1
        with pytest.raises(StoreError, match=r"limits\.disk_mib"):
            await box.accept("one", [ALICE])
        assert not box.arrive(ALICE, 1)
        await box.close()

    asyncio.run(scenario())


def test_while_the_disk_takes_nothing_what_arrives_in_memory_is_bounded(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        box.store._writer.execute("PRAGMA query_only = 1")
        count = 0
        for number in range(256):
            peer, seq = PeerId(bytes([number]) * 32), 1
            while seq < 512 and box.arrive(peer, seq, text="x" * 16_000):
                seq += 1
                count += 1
        assert count * 16_000 <= 32 * 1024 * 1024
        box.store._writer.execute("PRAGMA query_only = 0")
        while box.mailbox.held(NETWORK):
            await box.store.flush()
            await asyncio.sleep(0.1)
            box.mailbox.take_released()
        assert len(await box.texts("message")) == min(999, count)
        await box.close()

    asyncio.run(scenario())


def test_a_text_stands_once_on_the_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        box = Box(tmp_path)
        await box.accept("said-here " + "x" * 500, [ALICE, BOB])
        box.arrive(ALICE, 1, text="said-there " + "x" * 500)
        await box.store.flush()
        box.log._recent.clear()
        assert [text[:10] for text in await box.texts("sent")] == ["said-here "]
        assert [text[:11] for text in await box.texts("message")] == ["said-there "]
        await box.close()
        with sqlite3.connect(tmp_path / "natd.db") as connection:
            rows = connection.execute("SELECT body FROM messages UNION ALL SELECT body FROM events")
            content = "".join(body for (body,) in rows)
        assert content.count("said-here") == content.count("said-there") == 1

    asyncio.run(scenario())
