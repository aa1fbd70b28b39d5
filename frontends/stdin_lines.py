"""Lines of a file descriptor, for programs that do other things meanwhile.

A thread reads, because a regular file can't be waited for and a terminal may be anything.  It
reads the bare descriptor: a thread that hangs in Python's own buffer would make the
interpreter abort when it leaves.
"""

import asyncio
import codecs
import os
import threading
from collections.abc import AsyncIterator, Iterator

CHUNK_BYTES = 65_536

LINES_AHEAD = 1_000
"""Lines read and not yet taken; more stay where they are."""

LINE_LIMIT_CHARACTERS = 1 << 20
"""A longer line is cut into several: something without line ends must not fill the memory."""


async def lines_of(descriptor: int) -> AsyncIterator[str]:
    """Each line without its end, as UTF-8; what can't be decoded becomes U+FFFD."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    room = threading.Semaphore(LINES_AHEAD)

    def read() -> None:
        for line in _lines(descriptor):
            room.acquire()
            if not _tell(line):
                return
        _tell(None)

    def _tell(line: str | None) -> bool:
        try:
            loop.call_soon_threadsafe(queue.put_nowait, line)
        except RuntimeError:  # the loop has ended, and nobody reads any more
            return False
        return True

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while (line := await queue.get()) is not None:
        room.release()
        yield line


def _lines(descriptor: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    while True:
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except OSError:
            data = b""
        rest += decoder.decode(data, final=not data)
        *complete, rest = rest.split("\n")
        while len(rest) > LINE_LIMIT_CHARACTERS:
            complete.append(rest[:LINE_LIMIT_CHARACTERS])
            rest = rest[LINE_LIMIT_CHARACTERS:]
        for line in complete:
            yield line.removesuffix("\r")
        if not data:
            break
    if rest:
        yield rest
