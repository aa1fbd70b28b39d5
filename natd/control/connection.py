"""One client's connection to the control socket: read, written, and hung up on.

    readable ─► ZmtpPeer (zmtp_peer) ─► `owner.on_request(self, body)`
    send ─► output ─► writable ─► `owner.on_room(self)` when all has left
    hung up, by either side ─► `owner.has_gone(self)`

Rules that a change must not break:

- What is sent in one turn of the loop leaves with one system call.
- A client that does not read is not read from either, and harms nobody else.
- A burst of requests is taken at one wake-up, and what came behind it in the next turn; so are
  frames that are no request, of which a client can send any number.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from typing import Protocol

from natd.control.admission import Admission, Stage
from natd.control.zmtp_peer import ZmtpPeer
from natd.core.base.types import DecodeError

RECEIVE_BYTES = 1 << 16
RECEIVE_BURST = 64
"""Requests, reads, and looks at frames of one client at one wake-up, before others have their
turn."""

RECEIVE_UNIT_BYTES = 1 << 14
"""A large request counts once more for each so many bytes: a MiB costs some milliseconds."""

EVENTS_ROOM_BYTES = 1 << 18
"""With more than this on its way to a client, events wait in the log, and requests to begin."""

READ_ROOM_BYTES = 1 << 20
"""With more than this on its way to a client, it is not read from."""

STALLED_S = 60.0
"""A client that is not read from for so long is given up; events never make so much."""

_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7))."""

_logger = logging.getLogger(__name__)


class Owner(Protocol):
    """Whom a connection tells what happens to it."""

    admission: "Admission[Connection]"

    def on_request(self, connection: "Connection", body: bytes | None, /) -> None:
        """One message has come; None when it had more than one frame."""

    def on_room(self, connection: "Connection", /) -> None:
        """All that kept `has_room` false has left."""

    def has_gone(self, connection: "Connection", /) -> None:
        """It is closed."""


class Connection:
    """One client's connection."""

    def __init__(self, owner: Owner, stream: socket.socket, now: float) -> None:
        self.stage = Stage.SILENT
        self.active_at = now
        self._owner = owner
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._peer = ZmtpPeer()
        self._output = bytearray(self._peer.take_output())
        self._is_open = True
        self._is_read = False
        self._is_written = False
        self._is_flush_due = False
        self._is_receive_due = False
        self._was_full = False
        self._read_at = now
        """When the client last took something, or had nothing to take."""

    def start(self) -> None:
        """Greet and read, from the running loop."""
        self._flush()
        self._read_on()

    @property
    def pid(self) -> int:
        try:
            told = self._stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return 0
        return int(_CREDENTIALS.unpack(told)[0])

    @property
    def has_begun(self) -> bool:
        return self._peer.waiting_bytes > 0

    @property
    def waiting_bytes(self) -> int:
        """What has been sent and not left."""
        return len(self._output)

    @property
    def has_room(self) -> bool:
        """Whether an event may be sent or a request begin; if not, `on_room` follows."""
        self._was_full = self._was_full or len(self._output) > EVENTS_ROOM_BYTES
        return not self._was_full

    def send(self, body: bytes) -> None:
        """Send one message; nothing is sent to one who has gone."""
        if self._is_open:
            if not self._output:
                self._read_at = self._loop.time()
            self._output += self._peer.header(len(body))
            self._output += body
            self._read_on()
            self._flush_soon()

    def hang_up(self) -> None:
        """Close at once; `has_gone` follows, and again is harmless."""
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._stream)
        self._loop.remove_writer(self._stream)
        self._output.clear()
        with contextlib.suppress(OSError):
            # What was not read would make the client lose what it has not read.
            self._stream.recv(RECEIVE_BYTES)
        self._stream.close()
        self._owner.has_gone(self)

    def give_up(self) -> None:
        """Hang up on a client that takes too little of what it asked for."""
        _logger.warning("disconnected a program that does not read its answers")
        self.hang_up()

    def is_stalled(self, now: float) -> bool:
        return len(self._output) > READ_ROOM_BYTES and now >= self._read_at + STALLED_S

    def flush(self) -> None:
        """Send what can be sent now."""
        self._is_flush_due = False
        self._flush()

    def _flush_soon(self) -> None:
        """Once for all that is sent in this turn of the loop."""
        if not (self._is_flush_due or self._is_written):
            self._is_flush_due = True
            self._loop.call_soon(self.flush)

    def _flush(self) -> None:
        if not (self._is_open and self._output):
            return
        try:
            del self._output[: self._stream.send(self._output)]
            self._read_at = self._loop.time()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.hang_up()
            return
        if bool(self._output) != self._is_written:
            self._is_written = bool(self._output)
            if self._is_written:
                self._loop.add_writer(self._stream, self._flush)
            else:
                self._loop.remove_writer(self._stream)
        self._read_on()
        if self._was_full and not self._output:
            self._was_full = False
            self._owner.on_room(self)

    def _read_on(self) -> None:
        """Read, or stop reading, by how much is on its way to the client."""
        wanted = len(self._output) <= READ_ROOM_BYTES
        if wanted == self._is_read or not self._is_open:
            return
        self._is_read = wanted
        if wanted:
            self._loop.add_reader(self._stream, self._receive)
            self._receive_soon()
        else:
            self._loop.remove_reader(self._stream)

    def _receive_soon(self) -> None:
        if not self._is_receive_due and self.has_begun:
            self._is_receive_due = True
            self._loop.call_soon(self._receive)

    def _receive(self) -> None:
        """Take a burst of requests."""
        self._is_receive_due = False
        try:
            left = RECEIVE_BURST
            while left > 0:
                left -= 1
                if not (self._is_open and self._is_read):
                    return
                message = self._peer.next_message()
                if message is not None:
                    left -= len(message[0] or b"") // RECEIVE_UNIT_BYTES
                    self._say()
                    self._owner.on_request(self, message[0])
                elif not (self._peer.has_more or self._read()):
                    break
            else:
                self._receive_soon()
        except DecodeError as error:
            _logger.debug("hung up on a client of the control socket: %s", error)
            self.hang_up()
            return
        self._say()

    def _read(self) -> bool:
        """False when there is nothing more to be read now."""
        try:
            data = self._stream.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self.hang_up()
            return False
        if self.stage == Stage.IDLE and not self.has_begun:
            self.active_at = self._loop.time()
        self._peer.feed(data)
        return True

    def _say(self) -> None:
        """What the protocol itself answers to what has come, before any reply."""
        if not self._is_open:
            return
        self._owner.admission.has_greeted(self, is_over=self._peer.has_shaken_hands)
        if output := self._peer.take_output():
            self._output += output
            self._read_on()
            self._flush_soon()
