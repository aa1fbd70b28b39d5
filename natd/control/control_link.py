"""The control socket as a ROUTER of our own: a Unix socket, its connections, and its file.

    accept ─► Connection (connection) ─► `on_request`, `on_room`, `on_gone`
       └────► too many: somebody gives way (admission)

Rules that a change must not break:

- Connections are bounded where they are accepted, and one more can always come in.  A descriptor is
  kept in reserve, so that this holds as well where the process can open no other.
- Where nobody can be accepted, the loop rests: a listening socket stays readable.
- The socket file's mode is right from the moment of bind.  A file that was removed is made again.
- No library listens for us: one that can't open a descriptor ends the process (libzmq 4.3.5).
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from natd.control.admission import Admission
from natd.control.connection import Connection
from natd.host.descriptors import is_shortage
from natd.host.errors import StartError

ACCEPT_BURST = 16
"""Connections at one wake-up."""

ACCEPT_PAUSE_S = 0.2
"""How long nobody is accepted where there is no descriptor and nobody gives way."""

BACKLOG = 4096
"""Connections that wait to be accepted, if the system allows so many.  Beyond them a connect() that
would not wait fails, as if nobody were there."""

INSPECT_EVERY_S = 2.0
"""Between looks at the socket's file, and for those who don't end what they have begun."""

REPLIES_LINGER_S = 0.3
"""A stop gives the last replies this long."""

_logger = logging.getLogger(__name__)


class ControlLink:
    """The listening socket and its connections, in the order in which they came."""

    def __init__(
        self,
        path: Path,
        mode: int,
        admission: Admission[Connection],
        *,
        keep_place: Callable[[], None],
        on_request: Callable[[Connection, bytes | None], None],
        on_gone: Callable[[Connection], None],
        on_room: Callable[[Connection], None],
    ) -> None:
        """Listen from the running loop; OSError where `path` can't be bound.

        A request's body is None when the message had more than one frame.  `keep_place` is called
        from time to time, to have the directory and hold its lock; StartError where that can't be.
        """
        self.admission = admission
        self.on_request = on_request
        self.on_room = on_room
        self._on_gone = on_gone
        self._path = path
        self._mode = mode
        self._loop = asyncio.get_running_loop()
        self._connections: dict[Connection, None] = {}
        self._has_complained = False
        self._keep_place = keep_place
        self._is_file_lost = False
        # None while it is lent to a connection.
        self._reserve: int | None = None
        self._listener = self._listen()
        self._keep_reserve()
        self._timer = self._loop.call_later(INSPECT_EVERY_S, self._inspect)
        # None while connections are accepted.
        self._pause: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> tuple[Connection, ...]:
        return tuple(self._connections)

    def has_gone(self, connection: Connection) -> None:
        """Called by the connection when it has closed."""
        if connection in self._connections:
            del self._connections[connection]
            self.admission.left(connection)
            self._keep_reserve()
            self._on_gone(connection)

    def problem(self) -> dict[str, str] | None:
        return self.admission.problem(self._connections, self._loop.time())

    async def close(self) -> None:
        """Give the last replies REPLIES_LINGER_S to leave, then hang up on everybody."""
        self._timer.cancel()
        if self._pause is not None:
            self._pause.cancel()
        self._stop_listening()
        end = self._loop.time() + REPLIES_LINGER_S
        for connection in self.connections:
            connection.flush()
        while any(each.waiting_bytes for each in self._connections) and self._loop.time() < end:
            await asyncio.sleep(REPLIES_LINGER_S / 30)
        for connection in self.connections:
            connection.hang_up()
        self._lend_reserve()
        if self._is_our_file():
            self._path.unlink(missing_ok=True)

    # --- accepting

    def _accept(self) -> None:
        """Somebody waits to be accepted, and perhaps others."""
        for number in range(ACCEPT_BURST):
            try:
                stream = self._accept_one(is_there=number == 0)
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError:
                self._pause_accepting()
                return
            stream.setblocking(False)
            if self.admission.is_full:
                self._make_room()
            connection = Connection(self, stream, self._loop.time())
            self._connections[connection] = None
            self.admission.entered(connection)
            connection.start()

    def _accept_one(self, *, is_there: bool) -> socket.socket:
        """`is_there`: somebody surely waits.  A system without a descriptor says so before it looks
        whether anybody does."""
        for find_descriptor in (self._make_room, self._lend_reserve):
            try:
                return self._listener.accept()[0]
            except OSError as error:
                if not is_shortage(error):
                    raise
                if not is_there:
                    raise BlockingIOError from None
            find_descriptor()
        return self._listener.accept()[0]

    def _make_room(self) -> None:
        """Hang up on somebody without a place, if there is anybody."""
        found = self.admission.first_to_go(self._connections, self._loop.time())
        self._complain()
        if found is not None:
            found.hang_up()

    def _lend_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _keep_reserve(self) -> None:
        if self._reserve is None:
            with contextlib.suppress(OSError):
                self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _pause_accepting(self) -> None:
        """The listening socket stays readable: without a pause the loop would do nothing else."""
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._accept_again)

    def _accept_again(self) -> None:
        self._pause = None
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _complain(self) -> None:
        """Once, until there has been room for a while."""
        if not self._has_complained and (problem := self.problem()) is not None:
            self._has_complained = True
            _logger.warning("%s; %s", problem["text"], problem["hint"])

    # --- the file

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o777 & ~self._mode)
        try:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(self._path.lstat().st_mode):
                    self._path.unlink()
            listener.setblocking(False)
            listener.bind(os.fspath(self._path))
            listener.listen(BACKLOG)
            found = self._path.lstat()
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(umask)
        self._file = (found.st_dev, found.st_ino)
        self._loop.add_reader(listener, self._accept)
        return listener

    def _stop_listening(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    def _inspect(self) -> None:
        self._timer = self._loop.call_later(INSPECT_EVERY_S, self._inspect)
        now = self._loop.time()
        for connection in self.admission.overdue(self._connections, now):
            connection.hang_up()
        for connection in [each for each in self._connections if each.is_stalled(now)]:
            connection.give_up()
        if self._has_complained and self.problem() is None:
            self._has_complained = False
            _logger.info("there is room for all connections to natd again")
        self._follow_file()

    def _follow_file(self) -> None:
        """Listen anew where the file was removed, or is another's."""
        try:
            self._keep_place()
            if not self._is_our_file():
                self._stop_listening()
                self._listener = self._listen()
                _logger.warning("%s had been removed; it was made again", self._path)
        except (OSError, StartError) as error:
            if not self._is_file_lost:
                _logger.warning("%s is gone, and can't be made again yet: %s", self._path, error)
            self._is_file_lost = True
        else:
            self._is_file_lost = False

    def _is_our_file(self) -> bool:
        try:
            found = self._path.lstat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._file
