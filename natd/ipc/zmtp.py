"""The wire of ZeroMQ as far as a one-shot command needs it: a blocking DEALER on one socket.

Loading libzmq costs more than everything else that such a command does (30 of 75 ms), and
its socket neither tells that the daemon has gone nor stops queueing for the next one.  The
daemon's end is `natd.control.zmtp_peer`.  What ZMTP 3.0 (rfc.zeromq.org/spec/23) asks of a peer
with the NULL mechanism is this much:

    greeting    FF 00*8 7F  03 00  "NULL" 00*16  00  00*31             64 bytes, both ways
    command     04 size8 body | 06 size64 body    READY: "\\x05READY" "\\x0bSocket-Type" size32 ...
    message     00 size8 body | 02 size64 body    bit 0 of the first byte: more parts follow

A message must not be sent before the other side's READY: libzmq hangs up on it.
"""

import socket
import time

ZMTP_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY"
SOCKET_TYPE = b"Socket-Type"

MORE = 0x01
LONG = 0x02
COMMAND = 0x04

SHORT_LIMIT_BYTES = 255

READ_BYTES = 65536


class Hangup(Exception):  # noqa: N818 - an event of the wire, turned into an error by the caller
    """The other side closed the connection, or does not speak ZMTP 3."""


class Dealer:
    """A connected stream socket as a DEALER of single-part messages.

    Methods raise Hangup, and TimeoutError when `limit` (on time.monotonic) has passed; after
    a TimeoutError the next call goes on where it stopped.
    """

    def __init__(self, stream: socket.socket, limit: float | None) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._write(ZMTP_GREETING + ready_frame(b"DEALER"))
        greeting = self._read(len(ZMTP_GREETING), limit)
        if greeting[0] != 0xFF or greeting[10] < 3:
            raise Hangup
        while not self._next_frame(limit)[0] & COMMAND:
            pass

    def send(self, message: bytes) -> None:
        self._write(frame_header(0, len(message)) + message)

    def receive(self, limit: float | None) -> bytes:
        """The next message; commands are passed over."""
        while True:
            flags, body = self._next_frame(limit)
            if not flags & COMMAND:
                return body

    def has_input(self) -> bool:
        """Whether something can be read without waiting, if only a part of a message."""
        if self._buffer:
            return True
        self._stream.settimeout(0.0)
        try:
            return bool(self._stream.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def close(self) -> None:
        self._stream.close()

    def _next_frame(self, limit: float | None) -> tuple[int, bytes]:
        # Nothing is taken from the buffer before the frame is whole.
        self._fill(2, limit)
        flags = self._buffer[0]
        start = 9 if flags & LONG else 2
        self._fill(start, limit)
        size = int.from_bytes(self._buffer[1:start], "big")
        self._fill(start + size, limit)
        return flags, self._read(start + size, limit)[start:]

    def _read(self, size: int, limit: float | None) -> bytes:
        self._fill(size, limit)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self, size: int, limit: float | None) -> None:
        while len(self._buffer) < size:
            wait_s = None if limit is None else limit - time.monotonic()
            if wait_s is not None and wait_s <= 0:
                raise TimeoutError
            self._stream.settimeout(wait_s)
            try:
                data = self._stream.recv(READ_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                raise Hangup
            self._buffer += data

    def _write(self, data: bytes) -> None:
        self._stream.settimeout(None)
        try:
            self._stream.sendall(data)
        except ConnectionError:
            raise Hangup from None


def frame_header(flags: int, size: int) -> bytes:
    """What stands before a body of `size` bytes."""
    if size > SHORT_LIMIT_BYTES:
        return bytes((flags | LONG,)) + size.to_bytes(8, "big")
    return bytes((flags, size))


def ready_frame(socket_type: bytes) -> bytes:
    """The command that ends our half of the handshake."""
    property_ = bytes((len(SOCKET_TYPE),)) + SOCKET_TYPE
    body = READY + property_ + len(socket_type).to_bytes(4, "big") + socket_type
    return frame_header(COMMAND, len(body)) + body
