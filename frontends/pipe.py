"""A network as a pipe: lines of text go out, lines of JSON come in.

    stdin    every line is a message to the network, as it is: nothing is a command
    stdout   every event, one JSON object a line, as `natctl events --json` prints it

    python -m frontends.pipe [NETWORK]      the daemon is found as natctl finds it

Rules that a change must not break:

- A line is sent once, in order, also when the daemon is restarted in between.
- Following begins before the first line is sent, so the first answer to it is written, too.
- With a named cursor an event is acknowledged once its line has been written, so a bot that is
  killed is given it again, and one that comes back later misses nothing.
- Standard output carries JSON and nothing else, in ASCII, so that no terminal is told anything
  by it; what goes wrong is one line on standard error.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterable
from typing import TextIO

from frontends.entry import run_frontend
from frontends.leaving import ended, leaving_on_signals
from frontends.plainchat import LEAVE_WAIT_S
from frontends.safe import safe
from frontends.sending import Refused, Sending
from frontends.stdin_lines import lines_of
from natd.ipc import Client

PIPED_TYPES = ("message",)
"""What a bot answers to; others are asked for by name."""


class Pipe:
    def __init__(
        self,
        natd: Client,
        network: str,
        output: TextIO,
        errors: TextIO,
        *,
        types: Iterable[str] | None = PIPED_TYPES,
        cursor: str | None = None,
    ) -> None:
        """`types`: None is every type."""
        self._natd = natd
        self._network = network
        self._output = output
        self._errors = errors
        self._types = None if types is None else frozenset(types)
        self._cursor = cursor
        self._since: int | None = None
        self._sending = Sending(natd, network)
        self._refused = 0

    async def run(self, descriptor: int) -> int:
        """Until the input ends; 1 when a line of it was not accepted.

        Raises IpcError when the daemon can't be reached, BrokenPipeError when nobody reads.
        """
        await self._take_place()
        following = asyncio.create_task(self._follow())
        reporting = asyncio.create_task(self._report())
        typing = asyncio.create_task(self._type(descriptor))
        tasks = (typing, following, reporting)
        with leaving_on_signals(typing.cancel):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await ended(tasks)
        for text in self._sending.unsent():
            self._complain(text)
        return 1 if self._refused or self._sending.waiting else 0

    async def _take_place(self) -> None:
        """Where following begins; a cursor that is new is put there by the daemon."""
        place = await self._natd.request(
            "subscribe", types=[], since=None, cursor=self._cursor, credit=0
        )
        if self._cursor is None:
            self._since = int(place["last"])

    async def _type(self, descriptor: int) -> None:
        async for line in lines_of(descriptor):
            if line:
                self._sending.put(line)
                await self._sending.has_room()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WAIT_S):
                await self._sending.all_accepted()

    async def _follow(self) -> None:
        events = self._natd.events(
            types=self._types, since=self._since, cursor=self._cursor, report_restarts=True
        )
        async for event in events:
            if event["type"] in ("daemon_lost", "daemon_back"):
                self._sending.retry()
                continue
            if self._types is not None and event["type"] not in self._types:
                continue
            if (event.get("network") or self._network) == self._network:
                self._output.write(json.dumps(event, separators=(",", ":")) + "\n")
                self._output.flush()

    async def _report(self) -> None:
        async for outcome in self._sending.outcomes():
            if isinstance(outcome, Refused):
                self._refused += 1
                self._complain(f"not sent: {outcome.error.text}: {outcome.text}")

    def _complain(self, text: str) -> None:
        self._errors.write(f"natctl: {safe(text)}\n")
        self._errors.flush()


def run(
    network: str | None,
    socket_path: str | None,
    *,
    types: Iterable[str] | None = PIPED_TYPES,
    cursor: str | None = None,
    timeout_s: float | None = None,
) -> int:
    """Standard input to the network and its events to standard output; the exit code."""

    async def front_end(natd: Client, chosen: str) -> int:
        pipe = Pipe(natd, chosen, sys.stdout, sys.stderr, types=types, cursor=cursor)
        return await pipe.run(sys.stdin.fileno())

    return run_frontend(front_end, network, socket_path, timeout_s)


if __name__ == "__main__":
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        print("usage: python -m frontends.pipe [NETWORK]", file=sys.stderr)
        sys.exit(2)
    sys.exit(run(sys.argv[1] if len(sys.argv) == 2 else None, None))
