"""A text is accepted once and in order, whatever becomes of the daemon meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from frontends import sending
from frontends.sending import Accepted, Refused, Sending
from natd.ipc import RequestError, UnreachableError
from natd.ipc.frames import gone, silent

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RESEND_FIRST_S", 0.0)
    monkeypatch.setattr(sending, "RESEND_LIMIT_S", 0.001)


def test_texts_are_accepted_in_the_order_in_which_they_were_put() -> None:
    async def scenario() -> None:
        natd = Daemon()
        queue = Sending(natd, "demo")
        for number in range(20):
            queue.put(f"text {number}")
        outcomes = [outcome async for outcome in taken(queue, 20)]
        assert [outcome.text for outcome in outcomes] == [f"text {n}" for n in range(20)]
        assert natd.texts == [f"text {n}" for n in range(20)]
        assert queue.waiting == []

    run(scenario)


def test_a_daemon_that_is_away_is_asked_until_it_is_back() -> None:
    async def scenario() -> None:
        natd = Daemon()
        natd.fails = ["before"] * 7
        queue = Sending(natd, "demo")
        queue.put("one")
        queue.put("two")
        assert [outcome.text async for outcome in taken(queue, 2)] == ["one", "two"]
        assert natd.texts == ["one", "two"]

    run(scenario)


def test_a_request_that_was_accepted_without_an_answer_is_not_sent_again() -> None:
    async def scenario() -> None:
        natd = Daemon()
        natd.fails = ["after", "before", "after"]
        queue = Sending(natd, "demo")
        queue.put("same")
        queue.put("same")
        outcomes = [outcome async for outcome in taken(queue, 2)]
        assert natd.texts == ["same", "same"]
        assert [outcome.reply["message"] for outcome in outcomes if accepted(outcome)] == [
            "m0",
            "m1",
        ]

    run(scenario)


def test_a_text_is_asked_for_by_one_name_and_the_next_one_by_another() -> None:
    async def scenario() -> None:
        natd = Daemon()
        natd.fails = ["after", "after", "before"]
        queue = Sending(natd, "demo")
        queue.put("yes")
        queue.put("yes")
        assert [outcome.text async for outcome in taken(queue, 2)] == ["yes", "yes"]
        assert len(natd.names) == 5
        assert len(set(natd.names)) == 2
        assert natd.names == sorted(natd.names, key=natd.names.index)

    run(scenario)


def test_a_daemon_that_answers_late_has_each_text_once() -> None:
    """Stopped, it has our requests in its socket, and takes them all when it goes on."""

    async def scenario() -> None:
        natd = Daemon()
        natd.fails = ["late"] * 5
        queue = Sending(natd, "demo")
        queue.put("one")
        queue.put("two")
        assert [outcome.text async for outcome in taken(queue, 2)] == ["one", "two"]
        await asyncio.sleep(0.05)
        assert natd.texts == ["one", "two"]

    run(scenario)


def test_on_leaving_a_text_that_was_asked_for_is_not_said_to_be_unsent() -> None:
    async def scenario() -> None:
        natd = Daemon()
        natd.fails = ["late"] * 1_000_000
        queue = Sending(natd, "demo")
        queue.put("one")
        queue.put("two")
        assert queue.unsent() == ["not sent: one", "not sent: two"]
        task = asyncio.ensure_future(anext(taken(queue, 1)))
        await asyncio.sleep(0.01)
        task.cancel()
        doubt, certain = queue.unsent()
        assert doubt == "perhaps not sent, natd did not answer: one"
        assert certain == "not sent: two"

    run(scenario)


def test_a_refused_text_gives_its_error_and_does_not_hold_up_the_next() -> None:
    async def scenario() -> None:
        natd = Daemon()
        natd.fails = ["refused"]
        queue = Sending(natd, "demo")
        queue.put("bad")
        queue.put("good")
        outcomes = [outcome async for outcome in taken(queue, 2)]
        assert isinstance(outcomes[0], Refused)
        assert outcomes[0].error.code == "too_long"
        assert natd.texts == ["good"]

    run(scenario)


def test_what_has_no_outcome_yet_is_still_held() -> None:
    async def scenario() -> None:
        natd = Daemon()
        natd.fails = ["before"] * 1_000_000
        queue = Sending(natd, "demo")
        queue.put("one")
        task = asyncio.ensure_future(anext(taken(queue, 1)))
        await asyncio.sleep(0.01)
        task.cancel()
        assert queue.waiting == ["one"]

    run(scenario)


def test_there_is_room_again_once_the_first_is_accepted() -> None:
    async def scenario() -> None:
        queue = Sending(Daemon(), "demo")
        for number in range(sending.WAITING_LIMIT):
            queue.put(str(number))
        room = asyncio.create_task(queue.has_room())
        await asyncio.sleep(0)
        assert not room.done()
        taking = asyncio.create_task(drained(queue))
        await asyncio.wait_for(room, 1.0)
        await asyncio.wait_for(queue.all_accepted(), 1.0)
        assert queue.waiting == []
        taking.cancel()

    run(scenario)


def accepted(outcome: Accepted | Refused) -> bool:
    return isinstance(outcome, Accepted)


async def drained(queue: Sending) -> None:
    async for _ in queue.outcomes():
        pass


async def taken(queue: Sending, count: int) -> AsyncIterator[Any]:
    outcomes = queue.outcomes()
    for _ in range(count):
        yield await asyncio.wait_for(anext(outcomes), 5.0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 10.0)

    asyncio.run(bounded())


class Daemon:
    """A daemon that dies before or after it has accepted, as `fails` says, once each, or accepts
    only when its caller has given up."""

    def __init__(self) -> None:
        self.accepted: dict[str, Json] = {}
        self.names: list[str] = []
        self.fails: list[str] = []

    @property
    def texts(self) -> list[str]:
        return [row["text"] for row in self.accepted.values()]

    async def send(
        self, network: str | None, text: str, *, to: str | None = None, id: str | None = None
    ) -> Json:
        assert id is not None
        self.names.append(id)
        fails = self.fails.pop(0) if self.fails else ""
        if fails == "late":
            asyncio.get_running_loop().call_later(0.02, self._accept, id, text)
        if fails == "late":
            raise silent()
        if fails == "before":
            raise UnreachableError("no natd is running")
        if fails == "refused":
            raise RequestError("too_long", "the text is too long")
        message = self._accept(id, text)
        if fails == "after":
            raise gone()
        return {"message": message, "delivered": [], "queued": []}

    def _accept(self, name: str, text: str) -> str:
        row = {"text": text, "message": f"m{len(self.accepted)}"}
        message: str = self.accepted.setdefault(name, row)["message"]
        return message
