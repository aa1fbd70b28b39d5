"""Requests over a real ROUTER, from clients that behave and clients that don't."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from natd.control.zmtp_peer import REQUEST_LIMIT_BYTES
from natd.host.errors import CommandError
from tests.ipc.raw_client import Json, ask, encode, receive, running, until


def test_a_request_is_answered_under_its_id(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            client = dial()
            assert await ask(client, {"v": 1, "id": 7, "do": "echo", "text": "hi"}) == {
                "v": 1,
                "id": 7,
                "ok": {"v": 1, "text": "hi"},
            }
            hello = await ask(client, {"v": 1, "id": 1, "do": "hello", "client": "test"})
            assert hello["ok"]["protocol"] == 1
            assert hello["ok"]["version"] == "9.9"
            assert "echo" in hello["ok"]["features"]

    asyncio.run(scenario())


def test_requests_of_one_client_are_started_in_order_and_wait_together(tmp_path: Path) -> None:
    started: list[int] = []
    committed = asyncio.Event()

    async def send(request: Json) -> Json:
        started.append(request["text"])
        await committed.wait()
        return {"text": request["text"]}

    async def scenario() -> None:
        async with running(tmp_path, send=send) as (_, dial):
            client = dial()
            for number in range(500):
                await client.send(encode({"id": number, "do": "send", "text": number}))
            await until(lambda: len(started) == 500)
            assert started == list(range(500))
            committed.set()
            answers = [json.loads(await receive(client)) for _ in range(500)]
            assert [answer["ok"]["text"] for answer in answers] == list(range(500))

    asyncio.run(scenario())


def test_no_request_is_left_waiting_when_sending_swallows_the_sign_of_it(tmp_path: Path) -> None:
    """ZeroMQ's descriptor signals edges, and a send may take one: then nobody would read."""

    def ask_many() -> int:
        with zmq.Context() as context, context.socket(zmq.DEALER) as client:
            client.setsockopt(zmq.RCVTIMEO, 5000)
            client.connect(f"ipc://{tmp_path}/control.sock")
            for number in range(5000 + 64):
                if number < 5000:
                    client.send(encode({"id": number, "do": "echo"}))
                if number >= 64 and json.loads(client.recv())["id"] != number - 64:
                    return number
            return 5000

    async def scenario() -> None:
        async with running(tmp_path):
            assert await asyncio.to_thread(ask_many) == 5000

    asyncio.run(scenario())


def test_a_refusal_has_code_text_and_hint_and_a_defect_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(request: Json) -> Json:
        raise CommandError("nobody_here", "nobody is there", "wait")

    async def break_down(request: Json) -> Json:
        raise ZeroDivisionError("secret text")

    async def answer_nonsense(request: Json) -> Json:
        return {"x": object()}

    async def scenario() -> None:
        commands: dict[str, Any] = {
            "refuse": refuse,
            "break_down": break_down,
            "nonsense": answer_nonsense,
        }
        async with running(tmp_path, **commands) as (_, dial):
            client = dial()
            refused = await ask(client, {"id": 1, "do": "refuse"})
            expected = {"code": "nobody_here", "text": "nobody is there", "hint": "wait"}
            assert refused["error"] == expected
            for do in ("break_down", "nonsense"):
                broken = await ask(client, {"id": 2, "do": do})
                assert broken["error"]["code"] == "internal"
                assert "secret text" not in broken["error"]["text"]
            assert "ok" in await ask(client, {"id": 3, "do": "echo"})

    asyncio.run(scenario())
    assert "failed because of a bug" in caplog.text


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b""], "malformed"),
        ([b"\x00\xff\x00"], "malformed"),
        ([b"{"], "malformed"),
        ([b"[]"], "malformed"),
        ([b"7"], "malformed"),
        ([b'{"do":"echo"}', b"more"], "malformed"),
        ([b"", b'{"do":"echo"}'], "malformed"),
        ([b"[" * 100_000], "malformed"),
        ([b'{"a":' * 100_000], "malformed"),
        ([b'{"v":1,"id":[],"do":"echo"}'], "malformed"),
        ([b'{"v":1,"id":1}'], "unknown_command"),
        ([b'{"v":1,"id":1,"do":7}'], "unknown_command"),
        ([b'{"v":1,"id":1,"do":"ecko"}'], "unknown_command"),
        ([b'{"v":1,"id":1,"do":"subscribe","since":"x"}'], "usage"),
        ([b'{"v":1,"id":1,"do":"credit","n":1}'], "usage"),
        ([b'{"v":2,"id":1,"do":"echo"}'], "protocol"),
        ([b'{"v":"1","id":1,"do":"echo"}'], "protocol"),
    ],
)
def test_a_malformed_request_is_refused_and_harms_nobody(
    tmp_path: Path, frames: list[bytes], code: str
) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            client = dial()
            await client.send_multipart(frames)
            refused = json.loads(await receive(client))
            assert refused["v"] == 1
            assert refused["error"]["code"] == code
            assert "\n" not in refused["error"]["text"]
            assert refused["error"]["text"]
            assert "ok" in await ask(client, {"id": 1, "do": "echo"})

    asyncio.run(scenario())


def test_a_misspelt_command_gets_a_suggestion(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            refused = await ask(dial(), {"id": 1, "do": "ecko"})
            assert refused["error"]["hint"] == "did you mean echo?"

    asyncio.run(scenario())


def test_an_oversized_request_costs_its_sender_the_connection_and_others_nothing(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (control, dial):
            big, small = dial(), dial()
            await ask(small, {"id": 1, "do": "echo"})
            await ask(big, {"id": 1, "do": "echo"})
            assert len(control._clients) == 2
            await big.send(b" " * (REQUEST_LIMIT_BYTES + 1))
            await until(lambda: len(control._clients) == 1)
            assert "ok" in await ask(small, {"id": 2, "do": "echo"})
            await small.send(
                encode({"id": 3, "do": "echo", "text": "x" * (REQUEST_LIMIT_BYTES - 99)})
            )
            assert json.loads(await receive(small))["id"] == 3

    asyncio.run(scenario())


def test_bytes_that_are_not_zeromq_are_hung_up_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (control, dial):
            for first in range(0, 256, 5):
                with socket.socket(socket.AF_UNIX) as plain:
                    plain.connect(str(tmp_path / "control.sock"))
                    plain.send(bytes([first]) * 64)
            assert "ok" in await ask(dial(), {"id": 1, "do": "echo"})
            assert len(control._clients) == 1

    asyncio.run(scenario())


def test_a_client_that_speaks_the_oldest_zeromq_is_in_nobodys_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of such a connection libzmq tells no descriptor."""

    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            for _ in range(20):
                with socket.socket(socket.AF_UNIX) as stranger:
                    stranger.connect(str(tmp_path / "control.sock"))
                    stranger.sendall(b"\x01\x00" + b"\x05\x00null" * 50)
            client = dial()
            for number in range(200):
                answer = await ask(client, {"id": number, "do": "echo"})
                assert answer["id"] == number

    asyncio.run(scenario())
    assert not [record for record in caplog.records if record.exc_info]


def test_a_thousand_short_lived_clients_leave_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (control, dial):
            for _ in range(1000):
                client = dial()
                assert "ok" in await ask(client, {"id": 1, "do": "echo"})
                client.close(linger=0)
            await until(lambda: len(control._clients) == 0)

    asyncio.run(scenario())


def test_a_reply_for_a_client_that_has_gone_is_dropped(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    ended: list[int] = []

    async def wait(request: Json) -> Json:
        await go_on.wait()
        ended.append(1)
        return {}

    async def scenario() -> None:
        async with running(tmp_path, wait=wait) as (control, dial):
            client = dial()
            await client.send(encode({"id": 1, "do": "wait"}))
            await until(lambda: len(control._clients) == 1)
            client.close(linger=0)
            await until(lambda: len(control._clients) == 0)
            go_on.set()
            await until(lambda: ended == [1])
            assert "ok" in await ask(dial(), {"id": 1, "do": "echo"})

    asyncio.run(scenario())


def test_requests_of_a_client_that_reads_no_replies_wait_and_others_are_served(
    tmp_path: Path,
) -> None:
    answered = 0

    async def count(request: Json) -> Json:
        nonlocal answered
        answered += 1
        return {"text": "x" * 100_000}

    async def scenario() -> None:
        async with running(tmp_path, count=count) as (control, dial):
            deaf, lively = dial(receive_limit=1), dial()
            for number in range(1000):
                await deaf.send(encode({"id": number, "do": "count", "text": "x" * 10_000}))
                if number % 100 == 0:
                    assert "ok" in await ask(lively, {"id": 1, "do": "echo"})
            assert "ok" in await ask(lively, {"id": 1, "do": "echo"})
            assert answered < 50
            assert max(each.waiting_bytes for each in control._clients) < 1 << 20
            for number in range(1000):
                assert json.loads(await receive(deaf))["id"] == number

    asyncio.run(scenario())


def test_replies_that_wait_in_a_full_queue_all_come_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            slow = dial(receive_limit=1)
            text = "x" * 2_000
            for number in range(1500):
                await slow.send(encode({"id": number, "do": "echo", "text": text}))
            await asyncio.sleep(0.5)
            for number in range(1500):
                assert json.loads(await receive(slow))["id"] == number

    asyncio.run(scenario())


def test_more_requests_than_may_wait_are_told_to_slow_down(tmp_path: Path) -> None:
    never = asyncio.Event()

    async def wait(request: Json) -> Json:
        await never.wait()
        return {}

    async def scenario() -> None:
        async with running(tmp_path, wait=wait) as (_, dial):
            client = dial()
            for number in range(4097):
                await client.send(encode({"id": number, "do": "wait"}))
            refused = json.loads(await receive(client))
            assert refused["id"] == 4096
            assert refused["error"]["code"] == "busy"
            never.set()

    asyncio.run(scenario())
