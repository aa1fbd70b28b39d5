"""The control socket itself: its file, its lock, and how it ends."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from natd.control.control import PATH_LIMIT_BYTES, Control
from natd.host.errors import StartError
from tests.ipc.memory_log import MemoryLog
from tests.ipc.raw_client import Json, ask, dealer, encode, running, until
from tests.processes import started


def test_a_stop_lets_replies_leave_and_takes_the_socket_file_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        stopped = asyncio.Event()

        async def shutdown(request: Json) -> Json:
            stopped.set()
            return {"stopping": True}

        control = Control(tmp_path / "control.sock", {"shutdown": shutdown}, MemoryLog())
        await control.start()
        context = zmq.asyncio.Context()
        client = dealer(context, tmp_path)
        asked = asyncio.create_task(ask(client, {"id": 1, "do": "shutdown"}))
        await stopped.wait()
        await control.stop()
        await control.stop()
        assert (await asked)["ok"]["stopping"] is True
        assert not (tmp_path / "control.sock").exists()
        context.destroy(linger=0)

    asyncio.run(scenario())


def test_a_command_that_never_ends_holds_a_stop_up_for_less_than_a_second(tmp_path: Path) -> None:
    async def hang(request: Json) -> Json:
        await asyncio.Event().wait()
        return {}

    async def scenario() -> None:
        async with running(tmp_path, hang=hang) as (control, dial):
            await dial().send(encode({"id": 1, "do": "hang"}))
            await until(lambda: len(control._clients) == 1)
            began = time.monotonic()
            await control.stop()
            assert time.monotonic() - began < 1.0

    asyncio.run(scenario())


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_the_socket_has_its_mode_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    async def scenario() -> None:
        control = Control(tmp_path / "control.sock", {}, MemoryLog(), mode=mode)
        await control.start()
        found = (tmp_path / "control.sock").stat()
        assert stat.S_IMODE(found.st_mode) == mode
        await control.stop()

    before = os.umask(0)
    try:
        asyncio.run(scenario())
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_path_that_is_too_long_is_told_with_both_lengths(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    control = Control(directory / "control.sock", {}, MemoryLog())
    with pytest.raises(StartError) as told:
        asyncio.run(control.start())
    assert f"at most {PATH_LIMIT_BYTES}" in told.value.text
    assert str(len(str(directory / "control.sock"))) in told.value.text
    assert "--runtime-dir" in str(told.value.hint)


def test_a_path_of_the_longest_possible_length_works(tmp_path: Path) -> None:
    rest = PATH_LIMIT_BYTES - len(str(tmp_path)) - len("//control.sock")
    directory = tmp_path / ("d" * rest)
    directory.mkdir()

    async def scenario() -> None:
        async with running(directory) as (_, dial):
            assert "ok" in await ask(dial(), {"id": 1, "do": "echo"})

    assert len(str(directory / "control.sock")) == PATH_LIMIT_BYTES
    asyncio.run(scenario())


def test_a_second_daemon_on_the_directory_is_told_the_first_ones_pid(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            client = dial()
            second = Control(tmp_path / "control.sock", {}, MemoryLog())
            with pytest.raises(StartError) as told:
                await second.start()
            assert f"pid {os.getpid()}" in told.value.text
            assert "natctl shutdown" in str(told.value.hint)
            assert "ok" in await ask(client, {"id": 1, "do": "echo"})

    asyncio.run(scenario())


def test_a_directory_in_the_sockets_place_is_told_and_the_lock_is_given_back(
    tmp_path: Path,
) -> None:
    (tmp_path / "control.sock").mkdir()

    async def scenario() -> None:
        with pytest.raises(StartError):
            await Control(tmp_path / "control.sock", {}, MemoryLog()).start()
        (tmp_path / "control.sock").rmdir()
        async with running(tmp_path):
            pass

    asyncio.run(scenario())


DAEMON = """
import asyncio, sys
from pathlib import Path
from natd.control.control import Control
from tests.ipc.memory_log import MemoryLog

async def main():
    await Control(Path(sys.argv[1]) / "control.sock", {}, MemoryLog()).start()
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_socket_left_by_a_killed_daemon_is_no_obstacle(tmp_path: Path) -> None:
    with started([sys.executable, "-c", DAEMON, str(tmp_path)], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"up\n"
        killed.send_signal(signal.SIGKILL)
    assert (tmp_path / "control.sock").exists()

    async def scenario() -> None:
        async with running(tmp_path) as (_, dial):
            assert "ok" in await ask(dial(), {"id": 1, "do": "echo"})

    asyncio.run(scenario())
