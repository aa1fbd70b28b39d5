"""Requests of one client take effect, and are answered, in the order in which they came."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import zmq.asyncio

from natd.control.command_table import Later
from natd.control.request_fields import FIELDS
from natd.host.errors import CommandError
from tests.ipc.raw_client import Json, ask, encode, receive, running, until

README = Path(__file__).resolve().parents[2] / "natd" / "ipc" / "README.md"


def test_a_request_begins_when_the_one_before_it_has_taken_effect(tmp_path: Path) -> None:
    done: list[str] = []

    async def join(request: Json) -> Json:
        await asyncio.sleep(0.2)
        done.append("join")
        return {}

    async def send(request: Json) -> Json:
        done.append("send")
        return {}

    async def scenario() -> None:
        async with running(tmp_path, join=join, send=send) as (_, dial):
            client = dial()
            assert await pipelined(client, "send", "join", "send") == [0, 1, 2]
            assert done == ["send", "join", "send"]

    asyncio.run(scenario())


def test_a_slow_request_holds_up_the_later_ones_of_its_own_client_only(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def join(request: Json) -> Json:
        await released.wait()
        return {}

    async def scenario() -> None:
        async with running(tmp_path, join=join) as (_, dial):
            slow, other = dial(), dial()
            await slow.send(encode({"id": 1, "do": "join"}))
            await slow.send(encode({"id": 2, "do": "echo"}))
            assert (await ask(other, {"id": 3, "do": "echo"}))["id"] == 3
            released.set()
            assert [json.loads(await receive(slow))["id"] for _ in range(2)] == [1, 2]

    asyncio.run(scenario())


def test_what_reads_waits_until_the_sends_before_it_are_on_disk(tmp_path: Path) -> None:
    committed = asyncio.Event()
    written: list[str] = []

    async def send(request: Json) -> Json:
        await committed.wait()
        written.append(request["text"])
        return {}

    async def history(request: Json) -> Json:
        return {"messages": list(written)}

    async def scenario() -> None:
        async with running(tmp_path, send=send, history=history) as (_, dial):
            client = dial()
            for number, do in enumerate(("send", "send", "history", "send")):
                fields = {"text": str(number)} if do == "send" else {}
                await client.send(encode({"id": number, "do": do, **fields}))
            await asyncio.sleep(0.05)
            committed.set()
            answers = [json.loads(await receive(client)) for _ in range(4)]
            assert [answer["id"] for answer in answers] == [0, 1, 2, 3]
            assert answers[2]["ok"]["messages"] == ["0", "1"]

    asyncio.run(scenario())


def test_what_only_waits_begins_in_its_turn_and_holds_up_nothing_behind_it(tmp_path: Path) -> None:
    happened = asyncio.Event()
    begun: list[str] = []

    async def join(request: Json) -> Json:
        await asyncio.sleep(0.05)
        begun.append("join")
        return {}

    async def ping(request: Json) -> Later:
        begun.append("ping")
        return Later(pong())

    async def pong() -> Json:
        await happened.wait()
        return {"rtt_ms": 1}

    async def scenario() -> None:
        async with running(tmp_path, join=join, ping=ping) as (_, dial):
            client = dial()
            for number, do in enumerate(("join", "ping", "echo", "join")):
                await client.send(encode({"id": number, "do": do}))
            assert [json.loads(await receive(client))["id"] for _ in range(3)] == [0, 2, 3]
            assert begun == ["join", "ping", "join"]
            happened.set()
            assert json.loads(await receive(client)) == {
                "v": 1,
                "id": 1,
                "ok": {"v": 1, "rtt_ms": 1},
            }

    asyncio.run(scenario())


def test_what_only_waits_may_fail_and_says_so(tmp_path: Path) -> None:
    async def ping(request: Json) -> Later:
        return Later(fail())

    async def fail() -> Json:
        raise CommandError("no_path", "nobody answers")

    async def scenario() -> None:
        async with running(tmp_path, ping=ping) as (_, dial):
            assert (await ask(dial(), {"id": 1, "do": "ping"}))["error"]["code"] == "no_path"

    asyncio.run(scenario())


def test_a_refusal_waits_for_its_turn(tmp_path: Path) -> None:
    async def send(request: Json) -> Json:
        await asyncio.sleep(0.1)
        return {}

    async def scenario() -> None:
        async with running(tmp_path, send=send) as (_, dial):
            client = dial()
            await client.send(encode({"id": 1, "do": "send"}))
            await client.send(encode({"id": 2, "do": "sned"}))
            await client.send(encode({"id": 3, "do": "send", "txt": "hi"}))
            await client.send(encode({"id": 4, "do": "send"}))
            answers = [json.loads(await receive(client)) for _ in range(4)]
            assert [answer["id"] for answer in answers] == [1, 2, 3, 4]
            assert ["error" in answer for answer in answers] == [False, True, True, False]

    asyncio.run(scenario())


def test_requests_of_a_client_that_hangs_up_are_carried_out_all_the_same(tmp_path: Path) -> None:
    done: list[int] = []

    async def send(request: Json) -> Json:
        await asyncio.sleep(0.02)
        done.append(int(request["text"]))
        return {}

    async def leave(request: Json) -> Json:
        done.append(-1)
        return {}

    async def scenario() -> None:
        async with running(tmp_path, send=send, leave=leave) as (control, dial):
            client = dial()
            assert "ok" in await ask(client, {"id": 0, "do": "echo"})
            for number in range(5):
                await client.send(encode({"id": number, "do": "send", "text": str(number)}))
                await client.send(encode({"id": number, "do": "leave"}))
            await asyncio.sleep(0.05)
            client.close(linger=0)
            await until(lambda: len(done) == 10)
            assert done == [0, -1, 1, -1, 2, -1, 3, -1, 4, -1]
            await until(lambda: control._unanswered == 0)

    asyncio.run(scenario())


def test_large_requests_that_wait_are_bounded_by_their_size(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def join(request: Json) -> Json:
        await never.wait()
        return {}

    async def scenario() -> None:
        async with running(tmp_path, join=join) as (_, dial):
            client = dial()
            text = "x" * 1_000_000
            for number in range(18):
                await client.send(encode({"id": number, "do": "join", "nick": text}))
            refused = json.loads(await receive(client))
            assert refused["error"]["code"] == "busy"
            assert refused["id"] == 16
            never.set()

    asyncio.run(scenario())


@pytest.mark.parametrize("do", sorted(FIELDS))
def test_a_field_that_a_request_does_not_have_is_refused_and_named(tmp_path: Path, do: str) -> None:
    async def carry_out(request: Json) -> Json:
        raise AssertionError("it is refused before")

    own = ("hello", "subscribe", "credit")
    commands: dict[str, Any] = {} if do in own else {do: carry_out}

    async def scenario() -> None:
        async with running(tmp_path, **commands) as (_, dial):
            for field in ("colour", "netwrok", "v2", "Id"):
                refused = await ask(dial(), {"v": 1, "id": 1, "do": do, field: None})
                assert refused["error"]["code"] == "usage"
                assert repr(field) in refused["error"]["text"]

    asyncio.run(scenario())


def test_a_misspelt_field_gets_a_suggestion(tmp_path: Path) -> None:
    async def carry_out(request: Json) -> Json:
        return {}

    async def scenario() -> None:
        async with running(tmp_path, send=carry_out) as (_, dial):
            refused = await ask(dial(), {"id": 1, "do": "send", "wait": 5})
            assert refused["error"]["hint"] == "did you mean wait_s?"

    asyncio.run(scenario())


def test_the_readme_for_programs_lists_each_request_with_its_fields() -> None:
    listed: dict[str, set[str]] = {}
    for row in re.findall(r"^\| (`.*) \|$", README.read_text(), re.MULTILINE):
        names, _, fields = row.partition(" | ")
        told = re.match(r"`([^`]*)`", fields) or re.search(r"\[(\w+)\]", fields)
        for name in re.findall(r"`([a-z_]+)`", names):
            if name in FIELDS:
                text = "" if told is None else told.group(1)
                listed[name] = set(re.findall(r"\w+", text))
    assert listed == {do: set(fields) for do, fields in FIELDS.items()}


async def pipelined(client: zmq.asyncio.Socket, *requests: str) -> list[int]:
    """Ask all at once; the ids of the answers as they come."""
    for number, do in enumerate(requests):
        await client.send(encode({"id": number, "do": do}))
    return [json.loads(await receive(client))["id"] for _ in requests]
