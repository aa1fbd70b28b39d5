"""What was dropped, and why, is in `status --json` and in `doctor`."""

import socket
from pathlib import Path
from typing import Any

from tests.processes import Daemon, free_ports, until


def test_a_datagram_that_nobody_can_read_is_told_by_status_and_doctor(tmp_path: Path) -> None:
    with Daemon(tmp_path) as alice:
        before = alice.request("status")["dropped"]
        parts = ("node", "sockets", "link", "router", "networks")
        assert before == {part: {} for part in parts}
        alice.join("demo", f"127.0.0.1:{free_ports(1)}", "alice")
        port = int(alice.request("status")["self"]["udp"].rpartition(":")[2])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(3):
                stranger.sendto(b"\x20what is this", ("127.0.0.1", port))
            stranger.sendto(b"\x01\x01too short", ("127.0.0.1", port))

        def node() -> Any:
            return alice.request("status")["dropped"]["node"]

        until(lambda: sum(node().values()) == 4)
        assert list(node().items()) == [("first-byte-unknown", 3), ("stun-malformed", 1)]
        dropped = alice.request("doctor")["dropped"]
        assert dropped["node"] == node()
        assert dropped["networks"] == {"demo": {}}
