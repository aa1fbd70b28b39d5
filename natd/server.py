"""The coordination server's shell, around `core/coordinator.py`: sockets, one timer, one pump.

Every bound address gets a socket for the port and for each sampling port after it; the core
knows them by number.  Rules that a change must not break:

- A wake-up reads at most `DRAIN_LIMIT` datagrams of a socket and pumps once.
- Nothing that the network does raises or is logged per datagram: registrations are logged by
  the hundred, what was dropped once a minute.
- The watchdog is fed by the event loop, so a server that hangs is restarted.

A host with several addresses of one family answers from the one that its routes choose, which
a peer may not have asked: such a host names its addresses with `--bind`.
"""

import asyncio
import errno
import logging
import signal
import socket
from collections import Counter
from contextlib import ExitStack
from random import SystemRandom
from typing import Any

from natd.core.coordinator import Coordinator
from natd.core.types import Address, Datagram
from natd.errors import StartError
from natd.notify import Notifier

RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
"""Half a second of junk at 20,000 packets a second, while the loop is busy elsewhere."""

DRAIN_LIMIT = 64
DATAGRAM_BYTES = 2048
"""No datagram of ours is longer than 1,200; what is longer is cut off and refused."""

REGISTRATIONS_PER_LINE = 100
REPORT_S = 60.0
SECRET_BYTES = 32

_MAPPED_PREFIX = "::ffff:"
_logger = logging.getLogger("natd.server")


def run_server(*, port: int, binds: tuple[str, ...] = (), sample_ports: int = 3) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.  StartError when it cannot listen."""
    with ExitStack() as stack:
        sockets = open_sockets(port, binds, sample_ports)
        for sock in sockets:
            stack.enter_context(sock)
        asyncio.run(_serve(sockets, tuple(range(port, port + 1 + sample_ports))))
    return 0


def open_sockets(port: int, binds: tuple[str, ...], sample_ports: int) -> list[socket.socket]:
    """A socket for each port of each address, in the coordinator's order; all or none."""
    opened: list[socket.socket] = []
    try:
        for host in binds or (_any_host(),):
            dual_stack = host == "::" and len(binds) <= 1
            for offset in range(1 + sample_ports):
                opened.append(_open_socket(host, port, offset, dual_stack=dual_stack))
    except StartError:
        for sock in opened:
            sock.close()
        raise
    return opened


class Server:
    """Carries datagrams between the sockets and the coordinator."""

    def __init__(self, sockets: list[socket.socket], ports: tuple[int, ...]) -> None:
        self.coordinator = Coordinator(
            SystemRandom().randbytes(SECRET_BYTES), SystemRandom(), ports=ports
        )
        self.notifier = Notifier()
        self._sockets = sockets
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._logged = 0
        """Registrations that the log has told."""
        self._reported: Counter[str] = Counter()
        self._undelivered: Counter[str] = Counter()
        for index, sock in enumerate(sockets):
            self._loop.add_reader(sock, self._drain, index, sock)

    def close(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock)
        if self._timer is not None:
            self._timer.cancel()

    def feed_watchdog(self) -> None:
        if (interval_s := self.notifier.watchdog_interval_s) is not None:
            self.notifier.watchdog()
            self._loop.call_later(interval_s, self.feed_watchdog)

    def report(self) -> None:
        """Once a minute: how many there are, and what was dropped since the last time."""
        self.notifier.status(self._summary())
        seen = self.coordinator.dropped + self._undelivered
        if dropped := seen - self._reported:
            what = ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()))
            _logger.warning("dropped in the last minute: %s", what)
        self._reported = seen
        self._loop.call_later(REPORT_S, self.report)

    def _drain(self, index: int, sock: socket.socket) -> None:
        now = self._loop.time()
        for _ in range(DRAIN_LIMIT):
            try:
                data, source = sock.recvfrom(DATAGRAM_BYTES)
            except OSError:
                break
            self.coordinator.receive_datagram(data, _address(source), now, index)
        self._pump()

    def _wake(self) -> None:
        self._timer = self._timer_at = None
        self.coordinator.handle_timer(self._loop.time())
        self._pump()

    def _pump(self) -> None:
        """Carry out what the coordinator wants.  Called after every input, and nowhere else."""
        for datagram in self.coordinator.datagrams_to_send():
            self._send(datagram)
        registered = self.coordinator.counts["registered"]
        if registered // REGISTRATIONS_PER_LINE > self._logged // REGISTRATIONS_PER_LINE:
            _logger.info("%d registrations so far; %s", registered, self._summary())
            self._logged = registered
        self._rearm(self.coordinator.get_timer())

    def _send(self, datagram: Datagram) -> None:
        sock = self._sockets[datagram.socket]
        try:
            sock.sendto(datagram.data, _destination(sock, datagram.address))
        except OSError as error:
            self._undelivered[errno.errorcode.get(error.errno or 0, "unknown error")] += 1

    def _rearm(self, timer: float | None) -> None:
        """A timer that is only put off fires early, which a core does not mind."""
        if timer is None or (self._timer_at is not None and self._timer_at <= timer):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = timer
        self._timer = self._loop.call_at(timer, self._wake)

    def _summary(self) -> str:
        leases, networks = self.coordinator.lease_count, self.coordinator.network_count
        return f"leases: {leases}, networks: {networks}"


async def _serve(sockets: list[socket.socket], ports: tuple[int, ...]) -> None:
    server = Server(sockets, ports)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    where = ", ".join(str(_address(sock.getsockname())) for sock in sockets[:: len(ports)])
    _logger.info(
        "coordination server started on UDP %s, %s; it knows nobody yet: peers of an earlier "
        "run come back by themselves within 30 s",
        where,
        f"sampling ports {ports[1]} to {ports[-1]}" if len(ports) > 1 else "no sampling ports",
    )
    server.feed_watchdog()
    server.report()
    server.notifier.ready()
    try:
        await stopped.wait()
    finally:
        server.notifier.stopping()
        server.close()
        server.notifier.close()
        _logger.info("coordination server stopped")


def _any_host() -> str:
    """Every address of this machine, IPv6 and IPv4 where there is IPv6."""
    if socket.has_ipv6:
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.bind(("::", 0))
        except OSError:
            return "0.0.0.0"
        return "::"
    return "0.0.0.0"


def _open_socket(host: str, port: int, offset: int, *, dual_stack: bool) -> socket.socket:
    number = port + offset
    try:
        ((family, kind, _, _, place),) = socket.getaddrinfo(
            host, number, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        raise StartError(f"can't bind to {host!r}: expected an IP address") from error
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.bind(place)
    except OSError as error:
        sock.close()
        raise _bind_error(error, host, number, port, offset) from error
    return sock


def _bind_error(error: OSError, host: str, number: int, port: int, offset: int) -> StartError:
    if error.errno == errno.EADDRINUSE and offset:
        return StartError(
            f"UDP port {number} on {host} is in use, and a server on port {port} samples from it",
            "choose another port, or fewer with --sample-ports",
        )
    if error.errno == errno.EADDRINUSE:
        return StartError(
            f"UDP port {number} on {host} is in use",
            f"`ss -ulpn sport = {number}` shows by whom; or choose another port",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return StartError(
            f"{host} is not an address of this machine", "`ip address` lists those that are"
        )
    if error.errno == errno.EACCES:
        return StartError(f"not allowed to use UDP port {number}", "choose a port of 1024 or above")
    return StartError(f"can't listen on UDP port {number} of {host}: {error.strerror}")


def _address(source: Any) -> Address:
    """The canonical form of what the socket calls a source."""
    host: str = source[0]
    if host.startswith(_MAPPED_PREFIX) and "." in host:
        return Address(host[len(_MAPPED_PREFIX) :], source[1])
    if len(source) == 4 and source[3] and "%" not in host:
        host = f"{host}%{source[3]}"
    return Address(host, source[1])


def _destination(sock: socket.socket, address: Address) -> tuple[Any, ...]:
    if not address.is_ipv6:
        mapped = sock.family == socket.AF_INET6
        return (_MAPPED_PREFIX + address.host if mapped else address.host, address.port)
    host, _, scope = address.host.partition("%")
    return (host, address.port, 0, int(scope or 0))
