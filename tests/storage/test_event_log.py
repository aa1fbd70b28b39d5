"""The event log: ids without holes, across restarts, from memory and from disk alike."""

import asyncio
from pathlib import Path

import pytest

from natd.storage import event_log
from natd.storage.event_log import EventLog, utc_text
from natd.storage.store import Store


def test_ids_grow_by_one_and_go_on_after_a_restart(tmp_path: Path) -> None:
    async def session(texts: list[str]) -> list[int]:
        store, log = opened(tmp_path)
        for text in texts:
            log.append("message", {"text": text})
        await store.flush()
        ids = [event["id"] for event in await log.read_events(0, 99)]
        await store.close()
        return ids

    assert asyncio.run(session(["a", "b"])) == [1, 2]
    assert asyncio.run(session(["c"])) == [1, 2, 3]


def test_an_event_is_read_alike_from_memory_and_from_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, log = opened(tmp_path)
        log.append("message", {"network": "demo", "text": "grüß 💬 \x1b[0m"})
        await store.flush()
        remembered = await log.read_events(0, 1)
        await store.close()
        store, log = opened(tmp_path)
        assert await log.read_events(0, 1) == remembered
        assert list(remembered[0]) == ["v", "id", "ts", "type", "network", "text"]
        assert remembered[0]["ts"].endswith("Z")
        await store.close()

    asyncio.run(scenario())


def test_nothing_is_seen_before_it_is_on_disk(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, log = opened(tmp_path)
        log.append("joined", {"network": "demo"})
        assert log.last_event_id() == 0
        assert await log.read_events(0, 9) == []
        await store.flush()
        assert log.last_event_id() == 1
        await store.close()

    asyncio.run(scenario())


def test_a_reader_far_behind_gets_every_event_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "RECENT_EVENTS", 10)

    async def scenario() -> None:
        store, log = opened(tmp_path)
        for number in range(100):
            log.append("odd" if number % 2 else "even", {"n": number})
            if number % 7 == 0:
                await store.flush()
        await store.flush()
        assert len(log._recent) < 20
        after, seen = 0, []
        while page := await log.read_events(after, 8):
            seen += [event["n"] for event in page]
            after = page[-1]["id"]
        assert seen == list(range(100))
        after, odd = 0, []
        while page := await log.read_events(after, 8, frozenset({"odd"})):
            odd += [event["n"] for event in page]
            after = page[-1]["id"]
        assert odd == list(range(1, 100, 2))
        await store.close()

    asyncio.run(scenario())


def test_large_events_do_not_fill_the_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, log = opened(tmp_path)
        for _ in range(400):
            log.append("message", {"text": "x" * 16384})
        await store.flush()
        assert sum(len(event["text"]) for event in log._recent) < 4 * 1024 * 1024
        assert len(await log.read_events(0, 999)) == 400
        await store.close()

    asyncio.run(scenario())


def test_a_cursor_survives_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, log = opened(tmp_path)
        assert log.load_cursor("bot") is None
        await log.save_cursor("bot", 7)
        await log.save_cursor("bot", 9)
        await store.close()
        store, log = opened(tmp_path)
        assert log.load_cursor("bot") == 9
        await store.close()

    asyncio.run(scenario())


def test_pruning_leaves_the_newest_event_so_that_ids_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, log = opened(tmp_path)
        for _ in range(1200):
            log.append("message", {})
        await store.flush()
        await log.prune(log._store.own_time.now_s + 1)
        assert (log.oldest_event_id(), log.last_event_id()) == (1200, 1200)
        await store.close()
        store, log = opened(tmp_path)
        assert (log.oldest_event_id(), log.last_event_id()) == (1200, 1200)
        await store.close()

    asyncio.run(scenario())


def test_pruning_leaves_what_is_young(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, log = opened(tmp_path)
        log.append("message", {})
        await store.flush()
        await log.prune(log._store.own_time.now_s - 60)
        assert len(await log.read_events(0, 9)) == 1
        await store.close()

    asyncio.run(scenario())


def test_unread_are_the_messages_that_no_cursor_has_passed(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, log = opened(tmp_path)
        for network in ("demo", "demo", "other"):
            log.append("message", {"network": network})
        log.append("joined", {"network": "demo"})
        await store.flush()
        assert log.unread("demo") == 0, "nobody reads by a cursor"
        await log.save_cursor("bot", 0)
        assert log.unread("demo") == 2
        await log.save_cursor("bot", 1)
        assert log.unread("demo") == 1
        await store.close()

    asyncio.run(scenario())


def test_times_are_utc_with_milliseconds() -> None:
    assert utc_text(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"


def opened(directory: Path) -> tuple[Store, EventLog]:
    store = Store(directory)
    log = EventLog(store)
    store.start(lambda: None)
    return store, log
