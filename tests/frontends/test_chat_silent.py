"""A daemon that runs and answers nothing, stopped or busy: the chat says so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import frontends.chatroom
from frontends.chatroom import ChatRoom
from natd.ipc import UnreachableError


def test_a_daemon_that_does_not_answer_is_told_of_once_and_once_when_it_does() -> None:
    told: list[str] = []

    async def scenario() -> None:
        natd = Stopped()
        room = ChatRoom(natd, "demo", changed=lambda: None, returned=told.append)
        running = asyncio.create_task(room.run())
        for is_stopped in (True, False):
            natd.is_stopped = is_stopped
            limit = asyncio.get_running_loop().time() + 5.0
            while room.is_daemon_silent is not is_stopped:
                assert asyncio.get_running_loop().time() < limit
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
        running.cancel()
        told.extend(line.plain[8:] for line in room.view.lines() if " * " in line.plain)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frontends.chatroom, "STATUS_EVERY_S", 0.002)
        asyncio.run(scenario())
    assert told == [
        "natd does not answer: what you write waits here until it does",
        "natd answers again",
    ]


class Stopped:
    """The socket is there, and nobody reads from it while `is_stopped`."""

    is_stopped = True

    async def request(self, do: str, **_: Any) -> dict[str, Any]:
        if self.is_stopped:
            raise UnreachableError("natd does not answer", "look at its log")
        return {"self": {}, "networks": []} if do == "status" else {"peers": []}

    async def history(self, network: str | None = None, *, limit: int = 100) -> dict[str, Any]:
        return {"messages": []}

    async def events(self, **_: Any) -> AsyncIterator[dict[str, Any]]:
        await asyncio.Event().wait()
        yield {}

    async def send(self, *_: Any, **__: Any) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}
