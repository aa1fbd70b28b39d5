"""The coordination server's shell, around `core/coordinator.py`: sockets, one timer, one pump.

Every bound address gets a socket for the port and for each sampling port after it; the core
knows them by number (`listeners`).  Rules that a change must not break:

- A wake-up reads a bounded number of datagrams of a socket and pumps once.
- Nothing that the network does raises or is logged per datagram: registrations are logged by
  the hundred, what was dropped once a minute.
- A server on every address follows those of the machine while it runs.
- The watchdog is fed by the event loop, so a server that hangs is restarted.
"""

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import Iterable
from random import SystemRandom

from natd.core.base.types import Address
from natd.core.coordinator.coordinator import Coordinator
from natd.host.errors import StartError
from natd.host.notify import Notifier
from natd.net.listeners import Listeners
from natd.net.network_interfaces import NetworkWatch, second_addresses

REGISTRATIONS_PER_LINE = 100
REPORT_S = 60.0
SECRET_BYTES = 32

_logger = logging.getLogger("natd.server")


def run_server(*, port: int, binds: tuple[str, ...] = (), sample_ports: int = 3) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.  StartError when it cannot listen."""
    try:
        own = () if binds else second_addresses()
    except OSError as error:
        raise StartError(f"this machine's addresses can't be read: {error.strerror}") from None
    with Listeners(port, binds, sample_ports, own) as listeners:
        asyncio.run(_serve(listeners, follows=not binds))
    return 0


class Server:
    """Carries datagrams between the sockets and the coordinator."""

    def __init__(self, listeners: Listeners) -> None:
        self.coordinator = Coordinator(
            SystemRandom().randbytes(SECRET_BYTES),
            SystemRandom(),
            ports=listeners.ports,
            hosts=listeners.hosts,
        )
        self.notifier = Notifier()
        self._listeners = listeners
        self._loop = asyncio.get_running_loop()
        self.coordinator.set_clock(time.time(), self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._logged = 0
        """Registrations that the log has told."""
        self._reported: Counter[str] = Counter()
        for index, sock in enumerate(listeners.sockets):
            self._loop.add_reader(sock, self._drain, index)

    def close(self) -> None:
        for sock in self._listeners.sockets:
            self._loop.remove_reader(sock)
        if self._timer is not None:
            self._timer.cancel()

    def follow(self) -> None:
        """Use the addresses that this machine has now."""
        before = _listed(self._listeners.hosts)
        try:
            self._listeners.name(second_addresses())
        except OSError:  # nothing can be opened: those from before are used on
            return
        if (used := _listed(self._listeners.hosts)) != before:
            self.coordinator.stun_server.use(self._listeners.hosts)
            _logger.info("addresses of this machine have changed; used: %s", used)

    def feed_watchdog(self) -> None:
        if (interval_s := self.notifier.watchdog_interval_s) is not None:
            self.notifier.watchdog()
            self._loop.call_later(interval_s, self.feed_watchdog)

    def report(self) -> None:
        """Once a minute: how many there are, and what was dropped since the last time."""
        self.notifier.status(self._summary())
        seen = self.coordinator.dropped + self._listeners.undelivered
        if dropped := seen - self._reported:
            what = ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()))
            _logger.warning("dropped in the last minute: %s", what)
        self._reported = seen
        self._loop.call_later(REPORT_S, self.report)

    def _drain(self, index: int) -> None:
        now = self._loop.time()
        self.coordinator.set_clock(time.time(), now)
        for data, source, number in self._listeners.receive(index):
            self.coordinator.receive_datagram(data, source, now, number)
        self._pump()

    def _wake(self) -> None:
        self._timer = self._timer_at = None
        self.coordinator.handle_timer(self._loop.time())
        self._pump()

    def _pump(self) -> None:
        """Carry out what the coordinator wants.  Called after every input, and nowhere else."""
        self._listeners.send(self.coordinator.datagrams_to_send())
        registered = self.coordinator.counts["registered"]
        if registered // REGISTRATIONS_PER_LINE > self._logged // REGISTRATIONS_PER_LINE:
            _logger.info("%d registrations so far; %s", registered, self._summary())
            self._logged = registered
        self._rearm(self.coordinator.get_timer())

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
        done = "".join(f", {what}: {n}" for what, n in sorted(self.coordinator.counts.items()))
        return f"leases: {leases}, networks: {networks}{done}"


def _listed(hosts: Iterable[str], port: int = 0) -> str:
    return ", ".join(str(Address(host, port)) if port else host for host in hosts if host)


async def _serve(listeners: Listeners, *, follows: bool) -> None:
    server = Server(listeners)
    watch = NetworkWatch(lambda _network, _has_moved: server.follow())
    if follows:
        watch.start()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    ports = listeners.ports
    where = _listed(listeners.hosts, ports[0])
    _logger.info(
        "coordination server started on UDP %s, %s; peers that used it before come back by "
        "themselves within 30 s",
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
        watch.close()
        server.close()
        server.notifier.close()
        _logger.info("coordination server stopped")
