"""The control socket's connections: real ZeroMQ clients, and those that only look like it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from natd.ipc import Client, Connection, RequestError
from natd.ipc.zmtp import ZMTP_GREETING as GREETING
from natd.ipc.zmtp import ready_frame
from tests.ipc.memory_log import MemoryLog
from tests.ipc.raw_client import ask, encode, event_id, fill, receive, running, until
from tests.processes import SOURCE, started

READY = ready_frame(b"DEALER")


def test_every_shape_of_a_request_is_answered_to_a_dealer_and_to_a_req(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            dealer = dial()
            with zmq.asyncio.Context() as context, context.socket(zmq.REQ) as req:
                req.connect(f"ipc://{tmp_path}/control.sock")
                for size in (0, 1, 200, 255, 256, 65_535, 65_536, 1_000_000):
                    request = {"id": size, "do": "echo", "text": "x" * size}
                    for client in (dealer, req):
                        assert await ask(client, request) == {
                            "v": 1,
                            "id": size,
                            "ok": {"v": 1, "text": "x" * size},
                        }
                await req.send_multipart([encode({"id": 1, "do": "echo"}), b"more"])
                refused = json.loads(await receive(req))
                assert refused["error"]["code"] == "malformed"
                assert "ok" in await ask(req, {"id": 2, "do": "echo"})

    asyncio.run(scenario())


def test_a_client_that_sends_heartbeats_stays_connected(tmp_path: Path) -> None:
    """ZMQ_HEARTBEAT_TIMEOUT hangs up when no PONG comes."""

    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            client = dial(heartbeat_ms=50)
            assert "ok" in await ask(client, {"id": 1, "do": "echo"})
            await asyncio.sleep(0.5)
            assert "ok" in await ask(client, {"id": 2, "do": "echo"})

    asyncio.run(scenario())


def test_a_request_that_comes_byte_by_byte_is_answered(tmp_path: Path) -> None:
    body = encode({"id": 7, "do": "echo", "text": "hi"})

    async def scenario() -> None:
        async with running(tmp_path):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"))
            for byte in GREETING + READY + bytes((0, len(body))) + body:
                writer.write(bytes((byte,)))
                await asyncio.sleep(0)
            await reader.readexactly(64 + len(ready_frame(b"ROUTER")))
            flags, size = await reader.readexactly(2)
            assert flags == 0
            assert json.loads(await reader.readexactly(size))["ok"]["text"] == "hi"
            writer.close()

    asyncio.run(scenario())


def test_a_half_open_handshake_is_hung_up_on_and_an_idle_client_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            idle = dial()
            assert "ok" in await ask(idle, {"id": 1, "do": "echo"})
            with (
                connected(tmp_path) as silent,
                connected(tmp_path, GREETING[:20]) as greeting,
                connected(tmp_path, GREETING) as without_ready,
                connected(tmp_path, GREETING + READY + b"\x00\xff{") as half_a_request,
                connected(tmp_path, GREETING + READY) as quiet,
            ):
                began = time.monotonic()
                for late in (silent, greeting, without_ready, half_a_request):
                    await until(lambda late=late: has_hung_up(late))  # type: ignore[misc]
                assert 4.0 < time.monotonic() - began < 9.0
                assert not has_hung_up(quiet)
            assert "ok" in await ask(idle, {"id": 2, "do": "echo"})

    asyncio.run(scenario())


def test_silent_connections_without_number_keep_nobody_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (control, dial):
            client = dial()
            assert "ok" in await ask(client, {"id": 1, "do": "echo"})
            held = []
            for number in range(1000):
                held.append(stranger(tmp_path))
                if number % 100 == 0:
                    assert "ok" in await ask(client, {"id": number, "do": "echo"})
            assert "ok" in await ask(dial(), {"id": 1, "do": "echo"})
            link = control._link
            assert link is not None
            assert len(link.connections) <= 144
            problem = control.problem()
            assert problem is not None
            assert problem["text"].startswith("more than 144 connections to natd")
            assert f"process {os.getpid()} (" in problem["text"]
            for one in held:
                one.close()
            await until(lambda: len(link.connections) == 2)

    asyncio.run(scenario())
    assert [record.getMessage()[:25] for record in caplog.records] == ["more than 144 connections"]


def test_64_subscribers_lock_nobody_out_and_the_65th_is_told_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        fill(log, 1)
        async with running(tmp_path, log) as (control, dial):
            clients = [dial() for _ in range(64)]
            for client in clients:
                answer = await ask(client, {"id": 1, "do": "subscribe", "since": 0, "credit": 1})
                assert "ok" in answer
                assert await event_id(client) == 1
            late = dial()
            assert "ok" in await ask(late, {"id": 1, "do": "hello"})
            assert "ok" in await ask(late, {"id": 2, "do": "echo"})
            refused = await ask(late, {"id": 3, "do": "subscribe", "credit": 1})
            assert refused["error"]["code"] == "too_many_clients"
            assert f"process {os.getpid()} (" in refused["error"]["text"]
            assert ") holds 6" in refused["error"]["text"]
            clients[0].close(linger=0)
            await until(lambda: len(control._clients) == 64)
            assert "ok" in await ask(late, {"id": 4, "do": "subscribe", "credit": 1})
            assert control.problem() is not None

    asyncio.run(scenario())


def test_our_own_clients_tell_the_reason_when_there_is_no_place(tmp_path: Path) -> None:
    def ask_blocking() -> str:
        with Connection(tmp_path / "control.sock") as connection:
            assert connection.request("echo", text="hi")["text"] == "hi"
            with pytest.raises(RequestError) as refused:
                connection.events()
        return refused.value.code

    async def ask_asyncio() -> str:
        async with Client(tmp_path / "control.sock") as natd:
            assert (await natd.request("echo", text="hi"))["text"] == "hi"
            with pytest.raises(RequestError) as refused:
                async for _ in natd.events():
                    pass
        return refused.value.code

    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            for _ in range(64):
                assert "ok" in await ask(dial(), {"id": 1, "do": "echo"})
            assert await asyncio.to_thread(ask_blocking) == "too_many_clients"
            assert await ask_asyncio() == "too_many_clients"

    asyncio.run(scenario())


def test_a_subscriber_that_reads_nothing_costs_little_and_then_gets_all_events(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        log = MemoryLog()
        async with running(tmp_path, log) as (control, dial):
            stalled, lively = dial(receive_limit=1), dial()
            for client in (stalled, lively):
                await ask(client, {"id": 1, "do": "subscribe", "since": 0, "credit": 4096})
            for _ in range(4000):
                log.append("message", text="x" * 2000)
            control.wake()
            for number in range(1, 4001):
                assert await event_id(lively) == number
            assert max(each.waiting_bytes for each in control._clients) < 1 << 20
            for number in range(1, 4001):
                assert await event_id(stalled) == number

    asyncio.run(scenario())


def test_a_client_that_asks_and_never_reads_is_not_read_from_and_in_the_end_given_up(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (control, dial):
            lively = dial()
            with connected(tmp_path, GREETING + READY) as deaf:
                await ask(lively, {"id": 1, "do": "echo"})
                deaf.setblocking(False)
                malformed, sent = b"\x00\x01{" * 1000, 0
                for _ in range(300):
                    with suppress(BlockingIOError):
                        sent += deaf.send(malformed)
                    await asyncio.sleep(0)
                assert "ok" in await ask(lively, {"id": 2, "do": "echo"})
                stuck, _ = sorted(control._clients, key=lambda each: -each.waiting_bytes)
                assert 1 << 20 < stuck.waiting_bytes < 2 << 20
                assert sent < 1 << 20
                now = asyncio.get_running_loop().time()
                assert not stuck.is_stalled(now + 50.0)
                assert stuck.is_stalled(now + 60.0)
                stuck.give_up()
                assert len(control._clients) == 1

    asyncio.run(scenario())


def test_a_socket_file_that_was_removed_is_made_again_within_five_seconds(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)

    async def scenario() -> None:
        async with running(directory) as (_, dial):
            before = dial()
            assert "ok" in await ask(before, {"id": 1, "do": "echo"})
            for remove in ("control.sock", "control.sock natd.lock", "control.sock natd.lock ."):
                for name in remove.split():
                    path = directory / name
                    path.rmdir() if name == "." else path.unlink()
                began = time.monotonic()
                await until((directory / "control.sock").exists)
                assert time.monotonic() - began < 5.0
                assert "ok" in await ask(before, {"id": 2, "do": "echo"})
                assert "ok" in await ask(dial(), {"id": 1, "do": "echo"})
            assert directory.stat().st_mode & 0o777 == 0o700

    asyncio.run(scenario())


def test_a_daemon_whose_directory_another_took_over_leaves_it_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with running(tmp_path):
            (tmp_path / "control.sock").unlink()
            (tmp_path / "natd.lock").unlink()
            with started([sys.executable, "-c", LISTENER, str(tmp_path)], cwd=SOURCE):
                await until((tmp_path / "control.sock").exists)
                theirs = (tmp_path / "control.sock").stat().st_ino
                await until(lambda: "another natd" in caplog.text)
                assert (tmp_path / "control.sock").stat().st_ino == theirs
        assert (tmp_path / "control.sock").exists()

    asyncio.run(scenario())


LISTENER = """
import asyncio, sys
from pathlib import Path
from natd.control.control import Control
from tests.ipc.memory_log import MemoryLog

async def main():
    await Control(Path(sys.argv[1]) / "control.sock", {}, MemoryLog()).start()
    await asyncio.Event().wait()

asyncio.run(main())
"""

SHORT = """
import asyncio, contextlib, os, resource, sys, time
from pathlib import Path
from natd.control.control import Control
from tests.ipc.memory_log import MemoryLog

async def main():
    async def status(request):
        return {"cpu_s": time.process_time()}
    control = Control(Path(sys.argv[1]) / "control.sock", {"status": status}, MemoryLog())
    await control.start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with contextlib.suppress(OSError):
        while True:
            os.dup(0)
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_without_a_descriptor_left_one_program_at_a_time_is_served_and_the_loop_rests(
    tmp_path: Path,
) -> None:
    """Connections that can't be accepted keep the listening socket readable."""
    argv = [sys.executable, "-c", SHORT, str(tmp_path)]
    with started(argv, cwd=SOURCE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        held = [stranger(tmp_path) for _ in range(50)]
        with Connection(tmp_path / "control.sock") as first:
            before_s = first.request("status")["cpu_s"]
            held += [stranger(tmp_path) for _ in range(50)]
            time.sleep(1.0)
            assert first.request("status")["cpu_s"] - before_s < 0.2
        with Connection(tmp_path / "control.sock") as second:
            second.request("status")
        for one in held:
            one.close()


# --- helpers


@contextmanager
def connected(directory: Path, said: bytes = b"") -> Iterator[socket.socket]:
    with stranger(directory) as plain:
        plain.sendall(said)
        yield plain


def stranger(directory: Path) -> socket.socket:
    """A connection that nobody has said anything over."""
    plain = socket.socket(socket.AF_UNIX)
    plain.connect(str(directory / "control.sock"))
    return plain


def has_hung_up(plain: socket.socket) -> bool:
    plain.setblocking(False)
    try:
        while plain.recv(4096):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True
