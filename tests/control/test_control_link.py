"""The ZeroMQ side of the control socket."""

import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from natd.control.control_link import ControlLink


def test_a_failed_handshake_cuts_no_living_client_off(tmp_path: Path) -> None:
    """Its event carries an errno, which was once taken for a descriptor: the client whose
    connection had that number got no event any more."""
    path = tmp_path / "control.sock"
    link = ControlLink(path, 0o600)
    fillers = [os.dup(0)]
    while fillers[-1] < errno.ECONNRESET - 1:
        fillers.append(os.dup(0))
    assert fillers[-1] == errno.ECONNRESET - 1
    os.close(fillers.pop())
    try:
        with connected(path) as client:
            assert client.fileno() == errno.ECONNRESET - 1
            until(lambda: link.hang_ups() == set() and link.is_connected(errno.ECONNRESET))
            with connected(path):
                time.sleep(0.05)  # the daemon's greeting is on its way to nobody: ECONNRESET
            gone: set[int] = set()

            def has_hung_up() -> bool:
                gone.update(link.hang_ups())
                return bool(gone)

            until(has_hung_up)
            time.sleep(0.05)
            assert errno.ECONNRESET not in gone | link.hang_ups()
            assert link.is_connected(errno.ECONNRESET)
    finally:
        for filler in fillers:
            os.close(filler)
        link.close()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
