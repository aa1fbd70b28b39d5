"""Events over the control socket: credit, cursors, gaps, and clients that stall."""

import asyncio
import json
import sys
from pathlib import Path

import psutil

from natd.ipc import Client
from tests.ipc.memory_log import MemoryLog
from tests.ipc.raw_client import WAIT_S, ask, encode, event_id, fill, receive, running


def test_events_come_against_credit_in_order_each_once(tmp_path: Path) -> None:
    log = MemoryLog()

    async def scenario() -> None:
        async with running(tmp_path, log) as (control, dial):
            client = dial()
            answer = await ask(client, {"id": 1, "do": "subscribe", "since": 0, "credit": 5})
            assert answer["ok"] == {"v": 1, "after": 0, "oldest": 1, "last": 0}
            fill(log, 20)
            control.wake()
            assert [await event_id(client) for _ in range(5)] == [1, 2, 3, 4, 5]
            assert not await client.poll(100)
            answer = await ask(client, {"id": 2, "do": "credit", "n": 10, "ack": 5})
            assert answer["ok"]["credit"] == 10
            assert [await event_id(client) for _ in range(10)] == list(range(6, 16))
            assert not await client.poll(100)

    asyncio.run(scenario())


def test_a_named_cursor_goes_on_after_the_last_acknowledged_event(tmp_path: Path) -> None:
    log = MemoryLog()

    async def scenario() -> None:
        async with running(tmp_path, log) as (control, dial):
            first = dial()
            request = {"id": 1, "do": "subscribe", "cursor": "bot", "credit": 100}
            await ask(first, request)
            fill(log, 10)
            control.wake()
            for number in range(1, 11):
                assert await event_id(first) == number
            await ask(first, {"id": 2, "do": "credit", "n": 0, "ack": 6})
            first.close(linger=0)
            assert log.cursors == {"bot": 6}
            second = dial()
            assert (await ask(second, request))["ok"]["after"] == 6
            assert [await event_id(second) for _ in range(4)] == [7, 8, 9, 10]

    asyncio.run(scenario())


def test_events_lost_to_age_are_one_gap_event(tmp_path: Path) -> None:
    log = MemoryLog()
    fill(log, 100)
    log.drop_before(91)

    async def scenario() -> None:
        async with running(tmp_path, log) as (_, dial):
            client = dial()
            await ask(client, {"id": 1, "do": "subscribe", "since": 10, "credit": 100})
            gap = json.loads(await receive(client))["event"]
            assert (gap["type"], gap["from"], gap["to"]) == ("gap", 11, 90)
            assert gap["reason"]
            assert [await event_id(client) for _ in range(10)] == list(range(91, 101))

    asyncio.run(scenario())


def test_a_stalled_subscriber_costs_little_and_then_gets_everything(tmp_path: Path) -> None:
    log = MemoryLog()
    count = 50_000

    async def scenario() -> None:
        async with running(tmp_path, log) as (control, dial):
            stalled, lively = dial(), dial()
            request = {"id": 1, "do": "subscribe", "since": 0, "credit": 4096}
            await ask(stalled, request)
            await ask(lively, {**request, "types": ["tick"]})
            before = 0
            while log.last_event_id() < count:
                for _ in range(99):
                    log.append("message", text="x" * 200)
                tick = log.append("tick")
                control.wake()
                assert await event_id(lively) == tick["id"]
                if tick["id"] == 10_000:
                    before = psutil.Process().memory_info().rss - size_of(log)
            grown = psutil.Process().memory_info().rss - size_of(log) - before
            assert grown < 10 << 20
            seen = 0
            while seen < count:
                frame = json.loads(await receive(stalled))
                if "event" in frame:
                    seen += 1
                    assert frame["event"]["id"] == seen
                    if seen % 2000 == 0:
                        await stalled.send(encode({"do": "credit", "n": 2000, "ack": seen}))

    asyncio.run(scenario())


def test_the_public_client_survives_a_restart_of_the_control_socket(tmp_path: Path) -> None:
    log = MemoryLog()

    async def scenario() -> None:
        async with running(tmp_path, log):
            client = Client(tmp_path / "control.sock")
            await client.open()
            events = client.events(since=0)
            fill(log, 1)
            assert (await anext(events))["id"] == 1
        fill(log, 2)
        async with running(tmp_path, log):
            assert (await asyncio.wait_for(anext(events), WAIT_S))["id"] == 2
            assert (await asyncio.wait_for(anext(events), WAIT_S))["id"] == 3
            await events.aclose()
            await client.close()

    asyncio.run(scenario())


def size_of(log: MemoryLog) -> int:
    """What the log itself holds: not what is measured."""
    return sum(sys.getsizeof(event) + 96 for event in log.events)
