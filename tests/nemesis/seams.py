"""Where the daemon meets the machine: clocks, chance, interfaces, the writer's thread.

    with stage() as current:
        current.daemon = the one that runs just now

While the stage is set, modules of `natd` read the time, draw numbers and look at interfaces
through the daemon that runs.  This is the only place where anything of theirs is replaced.
"""

import asyncio
import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Protocol

import natd.daemon.engine
from natd.core.base.types import MAIN_SOCKET, Address, Datagram, SocketId
from natd.net import network_interfaces
from natd.net.network_interfaces import OwnNetwork
from natd.storage import mailbox
from natd.storage.reader import Reader, Rows
from natd.storage.store import Store, StoreError, Write

DISK_FULL = "database or disk is full"

COMMIT_S = (0.0005, 0.02)
"""What a commit takes, and half of that until the loop hears of it."""


class Running(Protocol):
    """What the machine is to one daemon."""

    @property
    def monotonic_s(self) -> float: ...

    @property
    def unix_s(self) -> float: ...

    @property
    def slept_s(self) -> float: ...

    @property
    def chance(self) -> Random: ...

    @property
    def network(self) -> OwnNetwork: ...


class Current:
    """Who runs just now."""

    def __init__(self) -> None:
        self.daemon: Running | None = None

    @property
    def now(self) -> Running:
        assert self.daemon is not None, "the daemon's code runs outside of every daemon"
        return self.daemon


@contextlib.contextmanager
def stage() -> Iterator[Current]:
    """See the top of this file."""
    current = Current()
    clocks = _clocks(current)
    replaced: list[tuple[Any, str, Any]] = [
        (module, "time", clocks)
        for name, module in list(sys.modules.items())
        if name.startswith("natd.") and getattr(module, "time", None) is time
    ]
    urandom = SimpleNamespace(urandom=lambda count: current.now.chance.randbytes(count))
    engine: Any = natd.daemon.engine
    replaced += [
        (engine, "random", SimpleNamespace(SystemRandom=lambda: current.now.chance)),
        (engine, "practise", lambda: None),
        (engine, "prepare_sessions", lambda: None),
        (engine, "look_around", lambda *_, **__: current.now.network),
        (network_interfaces, "_open_route_socket", lambda: None),
        (network_interfaces, "asleep_s", lambda: current.now.slept_s),
        (mailbox, "os", urandom),
        (mailbox, "_chance", _Chance(current)),
    ]
    before = [(place, name, getattr(place, name)) for place, name, _ in replaced]
    try:
        for place, name, value in replaced:
            setattr(place, name, value)
        yield current
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def _clocks(current: Current) -> Any:
    """The module `time`, as the daemon that runs sees it."""

    def reads(get: Callable[[Running], Any]) -> Callable[[], Any]:
        return lambda: get(current.now)

    return SimpleNamespace(
        monotonic=reads(lambda daemon: daemon.monotonic_s),
        monotonic_ns=reads(lambda daemon: int(daemon.monotonic_s * 1e9)),
        time=reads(lambda daemon: daemon.unix_s),
        time_ns=reads(lambda daemon: int(daemon.unix_s * 1e9)),
        strftime=time.strftime,
        gmtime=time.gmtime,
        CLOCK_MONOTONIC=time.CLOCK_MONOTONIC,
        CLOCK_BOOTTIME=time.CLOCK_BOOTTIME,
        clock_gettime=lambda which: (
            current.now.monotonic_s + (current.now.slept_s if which == time.CLOCK_BOOTTIME else 0.0)
        ),
    )


class _Chance:
    def __init__(self, current: Current) -> None:
        self._current = current

    def getrandbits(self, bits: int) -> int:
        return self._current.now.chance.getrandbits(bits)


class DrivenStore(Store):
    """The real store on a real file; its writer is no thread but a timer of the daemon's loop."""

    def __init__(self, directory: Path, owner: str, chance: Random) -> None:
        super().__init__(directory, owner)
        self._reader.close()
        self._reader = DrivenReader(self.path, chance)
        self._chance = chance
        self._groups: Any = self  # where the loop puts a group for the writer
        self._unwritten: list[Write] = []
        self.is_full = False
        self.trap: Callable[[bool], bool] = lambda _is_written: False
        """Asked before a group is written and after; True: the power fails at this moment."""

    def start(self, on_commit: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_commit = on_commit
        self._hand_over_soon()

    def put(self, group: list[Write]) -> None:
        """As `queue.put`: the writer takes it in a moment."""
        assert self._loop is not None
        self._unwritten = group
        self._loop.call_later(self._chance.uniform(*COMMIT_S), self._work, group)

    def write_all(self) -> None:
        """What a clean stop does: the last group, if the disk takes it."""
        group = [*self._unwritten, *self._kept, *self._gathering]
        if group and not self.is_full:
            self._write(group)

    def shut(self) -> None:
        """The file as it is."""
        self._reader.close()
        self._writer.close()

    def _work(self, group: list[Write]) -> None:
        assert self._loop is not None
        if self.trap(False):
            return
        self._unwritten = []
        errors: list[StoreError | None]
        if self.is_full:
            errors = [StoreError(f"{self.path} can't be written: {DISK_FULL}")] * len(group)
        else:
            errors = self._write(group)
        if self.trap(True):
            return
        self._loop.call_later(self._chance.uniform(*COMMIT_S) / 2, self._finished, group, errors)


class DrivenReader(Reader):
    """The real reader's connection; its thread is a timer of the daemon's loop."""

    def __init__(self, path: Path, chance: Random) -> None:
        super().__init__(path)
        self._chance = chance

    def read(self, sql: str, parameters: Sequence[Any]) -> "asyncio.Future[Rows]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Rows] = loop.create_future()

        def look() -> None:
            try:
                rows, error = self._rows(sql, parameters), None
            except (sqlite3.Error, OSError) as caught:
                rows, error = [], caught
            if not future.done():
                future.set_result(rows) if error is None else future.set_exception(error)

        loop.call_later(self._chance.uniform(*COMMIT_S) / 4, look)
        return future

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Sockets:
    """What `UdpSockets` is to the engine; what is sent is taken out by `drain`."""

    def __init__(self, port: int, drop: Callable[[SocketId], None]) -> None:
        self.port = port
        self.errors: dict[str, int] = {}
        self.is_forbidden = False
        self.has_ipv6 = False
        self.count = 1
        self.sends_left: int | None = None
        """How many more leave before the power fails; None: it does not."""
        self.on_last: Callable[[], None] = lambda: None
        self._drop = drop
        self._out: list[Datagram] = []

    def send(self, datagrams: Sequence[Datagram]) -> None:
        for datagram in datagrams:
            if self.sends_left == 0:
                return
            self._out.append(datagram)
            if self.sends_left is not None:
                self.sends_left -= 1
                if self.sends_left == 0:
                    self.on_last()

    def drain(self) -> list[Datagram]:
        out, self._out = self._out, []
        return out

    def drop(self, socket: SocketId) -> None:
        if socket != MAIN_SOCKET:
            self._drop(socket)

    def send_from_link(self, _data: bytes, _group: Address, _interface: int) -> None:
        raise AssertionError("the nemesis has no link")


def memory_directory() -> str | None:
    """Where files cost no disk; None: where the system puts temporary files."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
