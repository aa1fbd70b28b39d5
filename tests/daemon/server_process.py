"""A server process and what stands at its sockets: a log, a service manager, clients."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TypeVar

from natd.core.base.timers import WallClock
from natd.core.base.types import Address, NetworkId
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from natd.core.nat.lifetime import Lifetimes
from natd.core.registration.registration import Registration
from tests.processes import free_ports, started

LIMIT_S = 10.0

Kind = TypeVar("Kind")


class Running:
    """A server process, its log and what it told its service manager."""

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, log: Path, manager: socket.socket
    ) -> None:
        self.process = process
        self.port = port
        self.log = log
        self._manager = manager

    def notifications(self) -> list[str]:
        """At least one, and all that there are."""
        told = [self._manager.recv(4096)]
        while select.select([self._manager], [], [], 0.0)[0]:
            told.append(self._manager.recv(4096))
        return [line for datagram in told for line in datagram.decode().splitlines()]


@contextlib.contextmanager
def running(
    tmp_path: Path, *arguments: str, port: int | None = None, **environ: str
) -> Iterator[Running]:
    """`natd --server`, ready; ended with the block."""
    number = free_ports(4) if port is None else port
    log = tmp_path / "server.log"
    place = f"\0natd-test-{os.getpid()}-{number}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, log.open("wb") as stderr:
        manager.bind(place)
        manager.settimeout(LIMIT_S)
        with started(
            [sys.executable, "-m", "natd", "--server", str(number), *arguments],
            stderr=stderr,
            env=clean_environ() | {"NOTIFY_SOCKET": "@" + place[1:]} | environ,
        ) as process:
            server = Running(process, number, log, manager)
            while "READY=1" not in server.notifications():
                assert process.poll() is None, log.read_text()
            yield server


def run_to_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "natd", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=clean_environ(),
        check=False,
    )


def clean_environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("NATD_")}


def udp_socket(host: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    sock.settimeout(LIMIT_S)
    return sock


def address_of(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return Address("127.0.0.1" if host == "0.0.0.0" else host, port)


class Client:
    """A registration behind a real socket, for as long as the block lasts."""

    def __init__(self, host: str, port: int, network: NetworkId, number: int) -> None:
        clock = WallClock()
        clock.set(time.time(), time.monotonic())
        self.registration = Registration(
            network=network,
            membership=MembershipKey(network),
            identity=Identity(bytes([number % 256]) * 32),
            server=Address(host, port),
            prefix=number.to_bytes(4, "big"),
            lifetimes=Lifetimes(),
            random=Random(number),
            clock=clock,
        )
        self.events: list[object] = []
        self.ahead_s = 0.0
        self._sock = udp_socket("127.0.0.1" if ":" not in host else host)
        self.address = address_of(self._sock)

    def __enter__(self) -> "Client":
        self.registration.start(b"card" * 60, 1, self._now())
        return self

    def __exit__(self, *_: object) -> None:
        self.registration.stop()
        self._drain()
        self._sock.close()

    def run_until(self, kind: type) -> None:
        end = time.monotonic() + LIMIT_S
        while not self.of(kind):
            assert time.monotonic() < end, f"no {kind.__name__}; only {self.events}"
            self._drain()
            timer = self.registration.get_timer()
            wait_s = 1.0 if timer is None else min(1.0, max(0.0, timer - self._now()))
            if select.select([self._sock], [], [], wait_s)[0]:
                data, source = self._sock.recvfrom(2048)
                address = Address(source[0], source[1])
                self.registration.receive_datagram(data, address, self._now())
            self.registration.handle_timer(self._now())
            while (event := self.registration.next_event()) is not None:
                self.events.append(event)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    def _drain(self) -> None:
        for datagram in self.registration.datagrams_to_send():
            with contextlib.suppress(ConnectionRefusedError):
                self._sock.sendto(datagram.data, tuple(datagram.address))

    def _now(self) -> float:
        return time.monotonic() + self.ahead_s
