"""Telling the service manager how we are (sd_notify(3)).

Outside systemd every call does nothing.  Two rules:

- Text is made ASCII: the library below drops a STATUS that it can't encode without a word.
- `watchdog` is called by the event loop itself and by nothing else, so that a loop that
  hangs is a daemon that gets restarted.
"""

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sdnotify

WATCHDOG_SHARE = 0.4
"""Feed at this share of the manager's limit: sd_watchdog_enabled(3) recommends a half, and
this leaves room for one late wake-up."""

STATUS_CHARACTERS = 200
"""`systemctl status` shows one line."""


class Notifier:
    """One process' channel to its service manager."""

    def __init__(self) -> None:
        self._systemd: sdnotify.SystemdNotifier | None = None
        if os.environ.get("NOTIFY_SOCKET"):
            from sdnotify import SystemdNotifier

            self._systemd = SystemdNotifier()
        self._status = ""

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often `watchdog` must be called; None when nobody watches this process."""
        pid = os.environ.get("WATCHDOG_PID", "")
        limit = os.environ.get("WATCHDOG_USEC", "")
        if self._systemd is None or not limit.isascii() or not limit.isdigit() or int(limit) == 0:
            return None
        if pid and pid != str(os.getpid()):
            return None
        return int(limit) / 1e6 * WATCHDOG_SHARE

    def ready(self) -> None:
        """Started, or done with reloading."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for people; the same line twice is sent once."""
        line = " ".join(text.encode("ascii", "replace").decode("ascii").split())
        if line[:STATUS_CHARACTERS] != self._status:
            self._status = line[:STATUS_CHARACTERS]
            self._send(f"STATUS={self._status}")

    def reloading(self) -> None:
        """Reading the configuration again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Say nothing more."""
        if self._systemd is not None and self._systemd.socket is not None:
            self._systemd.socket.close()
        self._systemd = None

    def _send(self, state: str) -> None:
        if self._systemd is not None:
            self._systemd.notify(state)
