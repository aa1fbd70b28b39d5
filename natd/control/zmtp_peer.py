"""The daemon's end of one ZeroMQ connection, as bytes: ZMTP 3 (rfc.zeromq.org/spec/23) with the
NULL mechanism, a ROUTER towards a DEALER or a REQ.

    bytes in ─► feed ─► next_message ─► requests            frames: see `natd.ipc.zmtp`
    replies  ─► encode ─► bytes out      take_output ─► greeting, READY, PONG

Rules that a change must not break:

- Whatever comes, `next_message` gives messages or raises DecodeError; then the connection is over.
- A frame's size is judged by its header, so memory is never kept for what will be refused.
- A message of several frames is one answer, None, and its bodies are not kept: a request is one
  frame.  (A REQ puts an empty frame before its one, and wants one before the reply.)
- A PING (rfc.zeromq.org/spec/37) is answered once, however many came meanwhile.
"""

from natd.core.base.types import DecodeError
from natd.ipc.zmtp import COMMAND, LONG, MORE, READY, SOCKET_TYPE, frame_header, ready_frame
from natd.ipc.zmtp import ZMTP_GREETING as GREETING

REQUEST_LIMIT_BYTES = 1 << 20
"""The largest request; who sends more is hung up on."""

COMMAND_LIMIT_BYTES = 4096
"""READY carries an identity of up to 255 bytes and what an application adds."""

PING_CONTEXT_LIMIT_BYTES = 16
"""Of a PING's body behind its time to live; comes back in the PONG."""

FRAMES_AT_ONCE = 16
"""Looked at by one call: a message has one or two, and frames of nothing cost as much."""

_RESERVED = 0xFF ^ (MORE | LONG | COMMAND)
_PING = b"\x04PING"
_PONG = b"\x04PONG"
_MECHANISM = slice(12, 32)
_PEERS = (b"DEALER", b"REQ", b"ROUTER")
"""What may talk to a ROUTER (rfc.zeromq.org/spec/28)."""


class ZmtpPeer:
    """What one client has sent and not yet been taken, and what the protocol itself answers."""

    def __init__(self) -> None:
        self.has_shaken_hands = False
        """Whether messages may come and go."""
        self._is_req = False
        self._has_greeted = False
        self._buffer = bytearray()
        self._taken = 0
        """Bytes at the buffer's head that are done with."""
        self._parts: list[bytes | None] = []
        """The frames of a message whose end has not come; two at most are told apart."""
        self._output = GREETING
        self._pong = b""
        self.has_more = False
        """Whether the last call of `next_message` has left frames that it has not looked at."""

    @property
    def waiting_bytes(self) -> int:
        """What has come and is not taken: a part of a message, or several messages."""
        return len(self._buffer) - self._taken

    def feed(self, data: bytes) -> None:
        if self._taken:
            del self._buffer[: self._taken]
            self._taken = 0
        self._buffer += data

    def next_message(self) -> tuple[bytes | None] | None:
        """The next whole message, as `(body,)`; `(None,)` for one that is no single frame, and None
        where nothing whole is there, or many frames came that are no message (`has_more`).

        Raises DecodeError at what this client must not send; the connection can't go on.
        """
        self.has_more = False
        for _ in range(FRAMES_AT_ONCE):
            if not self._has_greeted and not self._take_greeting():
                return None
            frame = self._next_frame()
            if frame is None:
                return None
            flags, body = frame
            if flags & COMMAND:
                self._take_command(body)
            elif not self.has_shaken_hands:
                raise DecodeError("a message before READY")
            elif (message := self._take_part(flags, body)) is not None:
                return message
        self.has_more = True
        return None

    def take_output(self) -> bytes:
        """What the protocol itself has to say since the last call."""
        output, self._output, self._pong = self._output + self._pong, b"", b""
        return output

    def header(self, size: int) -> bytes:
        """What goes before a reply of `size` bytes."""
        return (frame_header(MORE, 0) if self._is_req else b"") + frame_header(0, size)

    def _take_greeting(self) -> bool:
        """False until it is there as a whole; what can be judged of it is judged before that."""
        seen = self._buffer
        if seen[:1] != GREETING[:1][: len(seen)] or (len(seen) > 9 and seen[9] != GREETING[9]):
            raise DecodeError("not ZeroMQ")
        if len(seen) > 10 and seen[10] < GREETING[10]:
            raise DecodeError("a ZeroMQ older than version 3 of its protocol")
        if len(seen) < len(GREETING):
            return False
        if seen[_MECHANISM] != GREETING[_MECHANISM]:
            raise DecodeError("another security mechanism than NULL")
        self._taken = len(GREETING)
        self._has_greeted = True
        self._output += ready_frame(b"ROUTER")
        return True

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer, start = self._buffer, self._taken
        if len(buffer) - start < 2:
            return None
        flags = buffer[start]
        if flags & _RESERVED or (flags & COMMAND and flags & MORE):
            raise DecodeError("a frame with flags that mean nothing")
        if flags & LONG:
            body = start + 9
            if len(buffer) < body:
                return None
            size = int.from_bytes(buffer[start + 1 : body], "big")
        else:
            body, size = start + 2, buffer[start + 1]
        if size > (COMMAND_LIMIT_BYTES if flags & COMMAND else REQUEST_LIMIT_BYTES):
            raise DecodeError("a frame that is too large")
        end = body + size
        if len(buffer) < end:
            return None
        self._taken = end
        return flags, bytes(buffer[body:end])

    def _take_command(self, body: bytes) -> None:
        if not self.has_shaken_hands:
            if not body.startswith(READY):
                raise DecodeError("another command than READY")
            kind = _properties(body[len(READY) :]).get(SOCKET_TYPE.lower())
            if kind not in _PEERS:
                raise DecodeError("a socket of a type that can't talk to a ROUTER")
            self._is_req = kind == b"REQ"
            self.has_shaken_hands = True
        elif body.startswith(_PING):
            context = body[len(_PING) + 2 :]
            if len(context) > PING_CONTEXT_LIMIT_BYTES:
                raise DecodeError("a PING with more context than there may be")
            answer = _PONG + context
            self._pong = frame_header(COMMAND, len(answer)) + answer

    def _take_part(self, flags: int, body: bytes) -> tuple[bytes | None] | None:
        """The message that ends with this frame; None where more frames follow."""
        self._parts.append(None if body and flags & MORE else body)
        if flags & MORE:
            del self._parts[2:]
            return None
        parts, self._parts = self._parts, []
        if self._is_req:
            return (parts[1] if len(parts) == 2 and parts[0] == b"" else None,)
        return (parts[0] if len(parts) == 1 else None,)


def _properties(data: bytes) -> dict[bytes, bytes]:
    """READY's metadata: name size, name, value size in four bytes, value; names in lower case."""
    found = {}
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        value = name_end + 4
        end = value + int.from_bytes(data[name_end:value], "big")
        if end > len(data) or value > len(data):
            raise DecodeError("READY with a property that is cut off")
        found[data[at + 1 : name_end].lower()] = data[value:end]
        at = end
    return found
