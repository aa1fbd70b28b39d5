"""Hearing a program say that it is ready, as a service manager does (sd_notify)."""

import contextlib
import socket
from pathlib import Path

NOTIFY_BYTES = 4096


class ReadyCall:
    """A socket for one program: `environment` goes to it, `heard` tells whether it is ready."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path)}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._is_ready = False

    def heard(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            while not self._is_ready:
                lines = self._socket.recv(NOTIFY_BYTES).splitlines()
                self._is_ready = b"READY=1" in lines
        return self._is_ready

    def close(self) -> None:
        self._socket.close()
