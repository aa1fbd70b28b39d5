"""A program that sends as much as it can, of what is hardly a request or none, harms no other.

On a system's daemon it may be another user's: the socket belongs to the group natd.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from natd.control.zmtp_peer import ZmtpPeer
from natd.ipc.zmtp import COMMAND, MORE, ZMTP_GREETING, frame_header, ready_frame
from tests.ipc.raw_client import ask, running

SECONDS = 3.0
"""Of flood."""

HANDSHAKE = ZMTP_GREETING + ready_frame(b"DEALER")
FLOODS = {
    "parts of a message without end": frame_header(MORE, 0) * 524_288,
    "commands of nothing": frame_header(COMMAND, 0) * 524_288,
    "heartbeats": (frame_header(COMMAND, 7) + b"\x04PING\0\0") * 131_072,
    "large requests": frame_header(0, 1 << 20) + b"[" * (1 << 20),
}

SENDER = """
import socket, sys, time
stream = socket.socket(socket.AF_UNIX)
stream.connect(sys.argv[1])
stream.settimeout(5.0)
data, end = bytes.fromhex(sys.stdin.read()), time.monotonic() + float(sys.argv[2])
head, _, body = data.partition(b"|")
stream.sendall(head)
while time.monotonic() < end:
    try:
        stream.sendall(body)
    except TimeoutError:
        break
"""


@pytest.mark.parametrize("flood", FLOODS)
def test_another_program_is_answered_at_once_meanwhile(tmp_path: Path, flood: str) -> None:
    """Without the bound others waited for seconds, where the sender was fast."""

    async def scenario() -> float:
        async with running(tmp_path) as (_, dial):
            client = dial()
            await ask(client, {"id": 0, "do": "echo"})
            data = HANDSHAKE + b"|" + FLOODS[flood]
            command = [sys.executable, "-c", SENDER, f"{tmp_path}/control.sock", str(SECONDS)]
            sender = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
            assert sender.stdin is not None
            sender.stdin.write(data.hex().encode())
            sender.stdin.close()
            slowest_s = 0.0
            while sender.returncode is None:
                asked_at = time.monotonic()
                await ask(client, {"id": 1, "do": "echo"})
                slowest_s = max(slowest_s, time.monotonic() - asked_at)
                await asyncio.sleep(0.01)
            return slowest_s

    assert asyncio.run(scenario()) < 1.0


def test_what_many_frames_of_nothing_cost_at_once_is_bounded() -> None:
    peer = ZmtpPeer()
    peer.feed(HANDSHAKE + frame_header(MORE, 0) * 1000)
    assert peer.next_message() is None
    assert peer.has_more
    left = peer.waiting_bytes
    assert left > 1900
    looks = 1
    while peer.has_more:
        assert peer.next_message() is None
        looks += 1
    assert peer.waiting_bytes == 0
    assert looks >= 60
