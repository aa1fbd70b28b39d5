"""The asyncio client names each message, and asks by that name until it has an answer."""

import asyncio
import time
from pathlib import Path

import pytest

from natd.ipc import Client, UnreachableError
from tests.ipc.fake_daemon import FakeDaemon, Json

ACCEPTED = {"message": "m1", "accepted": True}


def test_a_message_without_an_answer_is_asked_for_again_by_the_same_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Client(natd.path, timeout_s=0.2) as client:
            asyncio.get_running_loop().call_later(0.7, setattr, natd, "silent", False)
            natd.silent = True
            assert await client.send("demo", "hi") == ACCEPTED
            assert await client.send("demo", "hi") == ACCEPTED

    with FakeDaemon(tmp_path / "control.sock", answers={"send": ACCEPTED}) as natd:
        asyncio.run(scenario())
        names = [request["id"] for request in natd.asked("send")]
    assert len(names) > 3
    assert len(set(names[:-1])) == 1
    assert names[-1] != names[0]


def test_a_message_that_its_program_has_named_is_asked_for_once_by_that_name(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with Client(natd.path, timeout_s=0.2) as client:
            natd.silent = True
            with pytest.raises(UnreachableError):
                await client.send("demo", "hi", id="backup-1")
            natd.silent = False
            assert await client.send("demo", "hi", id="backup-1") == ACCEPTED

    with FakeDaemon(tmp_path / "control.sock", answers={"send": ACCEPTED}) as natd:
        asyncio.run(scenario())
        assert [request["id"] for request in natd.asked("send")] == ["backup-1"] * 2


def test_asking_ends_after_twelve_times_what_an_answer_may_take(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Client(natd.path, timeout_s=0.1) as client:
            natd.silent = True
            began = time.monotonic()
            with pytest.raises(UnreachableError):
                await client.send("demo", "hi")
            assert 1.2 <= time.monotonic() - began < 5.0

    with FakeDaemon(tmp_path / "control.sock", answers={"send": ACCEPTED}) as natd:
        asyncio.run(scenario())


def test_with_no_daemon_there_a_message_fails_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        natd = Client(tmp_path / "control.sock")
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="no natd is running"):
            await natd.send("demo", "hi")
        assert time.monotonic() - began < 1.0

    asyncio.run(scenario())


def test_one_name_may_be_asked_about_twice_at_once(tmp_path: Path) -> None:
    def answer(request: Json) -> Json:
        return {"message": request["text"], "accepted": True}

    async def scenario() -> list[Json]:
        async with Client(natd.path) as client:
            asking = [client.send("demo", "hi", id="one") for _ in range(5)]
            return await asyncio.gather(*asking, client.send("demo", "ho", id="two"))

    with FakeDaemon(tmp_path / "control.sock", answers={"send": answer}) as natd:
        told = [reply["message"] for reply in asyncio.run(scenario())]
    assert told == ["hi"] * 5 + ["ho"]
