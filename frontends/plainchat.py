"""The chat as a stream of lines, for pipes, screen readers and terminals that can do no more.

Every line of standard input is said (or is a command); everything that happens is one line of
standard output, written once: no ticks, no status bar, nothing is drawn again.  The end of the
input is the wish to leave, once all that was typed is accepted.
"""

import asyncio
import contextlib
from typing import TextIO

from frontends.chatroom import ChatRoom, Natd
from frontends.chatview import Line
from frontends.leaving import leaving_on_signals
from frontends.stdin_lines import lines_of

LEAVE_WAIT_S = 10.0
"""How long what was typed may wait for a daemon that is away, when the input has ended."""


class PlainChat:
    def __init__(self, natd: Natd, network: str, output: TextIO) -> None:
        self.room = ChatRoom(natd, network, changed=self._write, returned=self._keep)
        self._output = output
        self._refused: list[str] = []

    async def run(self, descriptor: int) -> int:
        """Until the input ends or says /quit; 1 when something typed was not accepted.

        Raises IpcError when the chat can't be opened, BrokenPipeError when nobody reads.
        """
        await self.room.open()
        following = asyncio.create_task(self.room.run())
        typing = asyncio.create_task(self._type(descriptor))
        with leaving_on_signals(typing.cancel):
            await asyncio.wait({following, typing}, return_when=asyncio.FIRST_COMPLETED)
        typing.cancel()
        following.cancel()
        for task in (typing, following):
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.room.warn_of_unsent()
        self._write()
        return 1 if self._refused or self.room.sending.waiting else 0

    async def _type(self, descriptor: int) -> None:
        async for line in lines_of(descriptor):
            if not self.room.enter(line):
                break
            await self.room.sending.has_room()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WAIT_S):
                await self.room.sending.all_accepted()

    def _write(self) -> None:
        for line in self.room.view.lines():
            if not line.is_again:
                self._output.write(_without_tick(line) + "\n")
        self._output.flush()

    def _keep(self, text: str) -> None:
        self._refused.append(text)


def _without_tick(line: Line) -> str:
    body = tuple(span for span in line.body if not span[0].startswith("tick"))
    return Line(line.key, line.lead, body).plain
