"""One HTTP request to the gateway, and its answer, both bounded.

Rules that a change must not break:

- The request goes to the address that the caller names and nowhere else: no name is resolved, no
  redirect is followed, no proxy is asked, no connection is kept.
- No more than `HTTP_LIMIT_BYTES` are ever read, head and body together, however long the answer
  says it is; what is longer is no answer.
- All of it takes at most `EXCHANGE_S`.
"""

import asyncio
import re
import socket
from dataclasses import dataclass

from natd.core.base.types import Address

HTTP_LIMIT_BYTES = 65536
"""A description with all its icons and services has a fifth of that."""

EXCHANGE_S = 5.0
"""The gateway is a hop away, and its web server is slow."""

_READ_BYTES = 4096
_RECEIVE_BUFFER_BYTES = 32768
"""What the kernel holds of an answer that we don't want."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})( .*)?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;.*)?")
_LENGTH = re.compile(rb"[0-9]{1,12}")


class GatewayError(Exception):
    """No answer that could be used; the text says why, after `the router gives`."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A redirect is one like any other: its status is no 200."""

    status: int
    body: bytes


async def get(address: Address, path: str) -> HttpAnswer:
    """GET; GatewayError when no answer comes, none in time, or one that is too long."""
    head = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    return await _exchange(address, head.encode("ascii"))


async def post(address: Address, path: str, action: str, body: bytes) -> HttpAnswer:
    """POST of a SOAP action (`urn:…#Name`); errors as of `get`."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n"
        f'Content-Type: text/xml; charset="utf-8"\r\nContent-Length: {len(body)}\r\n'
        f'SOAPAction: "{action}"\r\n\r\n'
    )
    return await _exchange(address, head.encode("ascii") + body)


async def _exchange(address: Address, request: bytes) -> HttpAnswer:
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as link:
            link.setblocking(False)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            async with asyncio.timeout(EXCHANGE_S):
                await loop.sock_connect(link, address)
                await loop.sock_sendall(link, request)
                return await _read_answer(_Incoming(link))
    except TimeoutError:
        raise GatewayError("no answer in time") from None
    except OSError:
        raise GatewayError("no answer") from None


async def _read_answer(incoming: "_Incoming") -> HttpAnswer:
    status = _STATUS.fullmatch(await incoming.line())
    if status is None:
        raise GatewayError("no HTTP")
    length: int | None = None  # None: until the connection ends
    is_chunked = False
    while line := await incoming.line():
        name, _, value = line.partition(b":")
        name, value = name.strip().lower(), value.strip()
        if name == b"content-length" and _LENGTH.fullmatch(value):
            length = int(value)
        elif name == b"transfer-encoding":
            is_chunked = value.lower().endswith(b"chunked")
    if is_chunked:
        body = await _read_chunks(incoming)
    elif length is None:
        body = await incoming.rest()
    else:
        body = await incoming.exactly(length)
    return HttpAnswer(int(status[1]), body)


async def _read_chunks(incoming: "_Incoming") -> bytes:
    """RFC 9112, section 7.1; the trailer is left unread."""
    body = b""
    while (head := _CHUNK.fullmatch(await incoming.line())) is not None:
        size = int(head[1], 16)
        if size == 0:
            return body
        body += await incoming.exactly(size)
        await incoming.line()
    raise GatewayError("no HTTP")


class _Incoming:
    """What comes over one connection; GatewayError beyond the limit or at an early end."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._held = bytearray()
        self._left = HTTP_LIMIT_BYTES

    async def line(self) -> bytes:
        """Without the end of the line."""
        while (end := self._held.find(b"\n")) < 0:
            await self._must_read()
        return self._take(end + 1).rstrip(b"\r\n")

    async def exactly(self, size: int) -> bytes:
        if size - len(self._held) > self._left:
            raise GatewayError("an answer without end")
        while len(self._held) < size:
            await self._must_read()
        return self._take(size)

    async def rest(self) -> bytes:
        while await self._read():
            pass
        return self._take(len(self._held))

    async def _must_read(self) -> None:
        if not await self._read():
            raise GatewayError("half an answer")

    async def _read(self) -> bool:
        if self._left == 0:
            raise GatewayError("an answer without end")
        loop = asyncio.get_running_loop()
        data = await loop.sock_recv(self._link, min(_READ_BYTES, self._left))
        self._left -= len(data)
        self._held += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken
