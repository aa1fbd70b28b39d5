"""The peer daemon: one loop, one socket, one timer, one pump around a `Node`.

    UDP, timer, commands, commits  ->  inputs of the node  ->  pump  ->  UDP, log, timer

Rules that a change must not break:

- Only the pump acts on what the node wants; it runs once after a burst of inputs.
- READY is told when both sockets, the network's and the control one, exist; networks are
  joined after that.
- The watchdog is fed by this loop and by nothing else.
- A stop says goodbye to servers and peers, writes what is waiting, and takes less than 2 s.
"""

import asyncio
import contextlib
import errno
import logging
import random
import signal
import sys
import time

from natd.address_book import AddressBook
from natd.chronicle import Chronicle
from natd.commands import Commands
from natd.config import Config, changed_keys, reload_config
from natd.control import Control
from natd.core.node import Node
from natd.core.session import prepare_sessions
from natd.core.types import Address, SocketId
from natd.directories import Directories
from natd.errors import EXIT_OK, CommandError, ConfigError, NatdError, StartError
from natd.event_log import EventLog
from natd.identity import load_identity
from natd.mailbox import DAY_MS, Mailbox
from natd.network_interfaces import NetworkWatch
from natd.networks import Networks
from natd.notify import Notifier
from natd.parts import Parts
from natd.report import Report
from natd.server_names import ServerNames
from natd.store import Store, StoreError
from natd.udp import UdpSockets
from natd.version import natd_version

logger = logging.getLogger(__name__)

MAINTENANCE_S = 3600.0
"""Between prunings of history and event log."""

STATUS_S = 15.0
"""Between updates of the line that the service manager shows."""

STORE_CLOSE_S = 1.0
"""For the last group at a stop; a disk that hangs must not hang us."""

SWITCH_INTERVAL_S = 0.001
"""How long the loop may keep the interpreter from the store's thread, which comes back from
each disk operation wanting it; Python's 5 ms would be added to each commit."""

CARD_SEQUENCE_LEAP = 1_000_000
"""Above all cards of an earlier run, even with a clock that was set back."""


def run_daemon(config: Config, directories: Directories) -> int:
    """Run until SIGTERM, SIGINT or the command `shutdown`; the exit code.

    StartError when the daemon can't run here.  The directories are there and locked.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    daemon = Daemon(config, directories)
    asyncio.run(daemon.run())
    return EXIT_OK


class Daemon:
    """One running daemon."""

    def __init__(self, config: Config, directories: Directories) -> None:
        identity = load_identity(directories.state)
        store = Store(directories.state)
        log = EventLog(store)
        self._notifier = Notifier()
        self._stopping = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None  # None: the node wants none
        self._is_pump_due = False
        self._parts = Parts(
            config=config,
            directories=directories,
            identity=identity,
            store=store,
            log=log,
            mailbox=Mailbox(store, log),
            book=AddressBook(store),
            node=Node(identity, random.SystemRandom(), card_sequence=_card_sequence(store)),
            sockets=UdpSockets(self._receive, self._pump_soon),
            names=ServerNames(self._take_addresses, ipv6=config.paths.ipv6),
            pump=self._pump_soon,
        )
        self._chronicle = Chronicle(self._parts)
        self._networks = Networks(self._parts, self._chronicle)
        self._report = Report(self._parts, self._networks)
        commands = Commands(
            self._parts,
            self._chronicle,
            self._networks,
            self._report,
            reload=self._reload,
            shut_down=self._stopping.set,
        )
        self._control = Control(
            directories.control_socket,
            commands.table(),
            log,
            mode=config.control_mode,
            version=natd_version(),
        )
        self._watch = NetworkWatch(self._take_local_addresses)

    async def run(self) -> None:
        """Start, serve, stop."""
        loop = asyncio.get_running_loop()
        try:
            self._open_socket()
            self._parts.store.start(self._committed)
            await self._control.start()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stopping.set)
            loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
            self._notifier.ready()
            self._feed_watchdog()
            logger.info("ready: UDP port %d", self._parts.sockets.port)
            await self._serve()
        finally:
            await self._stop()

    async def _serve(self) -> None:
        prepare_sessions()
        self._watch.start()
        self._take_local_addresses(self._watch.addresses)
        await self._parts.mailbox.expire()
        await self._parts.store.flush()
        await self._networks.restore()
        async with asyncio.TaskGroup() as tasks:
            routine = [tasks.create_task(self._maintain()), tasks.create_task(self._tell_status())]
            await self._stopping.wait()
            for task in routine:
                task.cancel()

    async def _stop(self) -> None:
        self._notifier.stopping()
        logger.info("stopping")
        await self._control.stop()
        self._watch.close()
        self._parts.names.close()
        self._parts.node.stop(time.monotonic())
        self._pump()
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STORE_CLOSE_S):
                await self._parts.store.close()
        self._parts.sockets.close()
        self._notifier.close()

    # --- the pump

    def _receive(self, data: bytes, address: Address, socket: SocketId) -> None:
        self._parts.node.receive_datagram(data, address, time.monotonic(), socket)

    def _handle_timer(self) -> None:
        self._timer = None
        self._parts.node.handle_timer(time.monotonic())
        self._pump()

    def _committed(self) -> None:
        """A group of the store's is on disk."""
        self._chronicle.committed(time.monotonic())
        self._control.wake()
        self._pump()

    def _pump_soon(self) -> None:
        """Pump once when all inputs of this turn of the loop are in."""
        if not self._is_pump_due:
            self._is_pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Carry out what the node wants.  Called after every input, and nowhere else."""
        self._is_pump_due = False
        node, now = self._parts.node, time.monotonic()
        while (event := node.next_event()) is not None:
            self._chronicle.take(event, now)
        self._parts.sockets.send(node.datagrams_to_send())
        self._rearm(node.get_timer())

    def _rearm(self, at: float | None) -> None:
        """A timer that comes too early is harmless, so one that does is left as it is."""
        if at is None or (self._timer is not None and self._timer.when() <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._handle_timer)

    # --- the world outside

    def _open_socket(self) -> None:
        """On the configured port; else on that of the last run, if it is free, else on any."""
        parts = self._parts
        wanted, ipv6 = parts.config.port, parts.config.paths.ipv6
        if wanted:
            try:
                parts.sockets.open(wanted, ipv6=ipv6)
            except OSError as error:
                raise StartError(
                    f"UDP port {wanted} can't be used: {error.strerror}",
                    "give another with --port, or 0 for any",
                ) from None
            return
        saved = parts.store.query("SELECT value FROM meta WHERE name = 'port'")
        try:
            parts.sockets.open(saved[0][0] if saved else 0, ipv6=ipv6)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise StartError(f"no UDP socket can be had: {error.strerror}") from None
            parts.sockets.open(0, ipv6=ipv6)
        parts.store.post("INSERT OR REPLACE INTO meta VALUES ('port', ?)", (parts.sockets.port,))

    def _take_local_addresses(self, addresses: tuple[str, ...]) -> None:
        parts = self._parts
        if not (parts.sockets.has_ipv6 and parts.config.paths.ipv6):
            addresses = tuple(host for host in addresses if ":" not in host)
        parts.node.set_local_addresses(addresses, parts.sockets.port, time.monotonic())
        parts.names.look_again()
        self._pump_soon()

    def _take_addresses(self, network: str, addresses: tuple[Address, ...]) -> None:
        self._networks.take_addresses(network, addresses)

    # --- from time to time

    def _feed_watchdog(self) -> None:
        interval_s = self._notifier.watchdog_interval_s
        if interval_s is not None:
            self._notifier.watchdog()
            asyncio.get_running_loop().call_later(interval_s, self._feed_watchdog)

    async def _tell_status(self) -> None:
        while True:
            self._notifier.status(self._report.summary())
            await asyncio.sleep(STATUS_S)

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(MAINTENANCE_S)
            days = self._parts.config.limits.history_days
            before = time.time_ns() // 1_000_000 - days * DAY_MS
            try:
                await self._parts.mailbox.prune(before)
                await self._parts.log.prune(before)
            except StoreError as error:
                logger.warning("old history was not deleted: %s", error)

    # --- reloading

    def _reload_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload_for_signal())
        self._reloading = task

    async def _reload_for_signal(self) -> None:
        self._notifier.reloading()
        try:
            changed = await self._reload()
            logger.info("configuration read again; changed: %s", ", ".join(changed) or "nothing")
        except NatdError as error:
            logger.error("configuration not taken, the old one stays: %s", error)
        self._notifier.ready()

    async def _reload(self) -> list[str]:
        """Read the configuration again; CommandError when it can't be used."""
        before = self._parts.config
        try:
            after = reload_config(before)
        except ConfigError as error:
            text = str(error).replace("\n", "; ")
            raise CommandError(
                "config", text, "the old configuration stays; correct it and reload"
            ) from None
        self._parts.config = after
        changed = list(changed_keys(before, after))
        if "log_level" in changed:
            logging.getLogger().setLevel(after.log_level.upper())
        await self._networks.configure(after)
        return changed


def _card_sequence(store: Store) -> int:
    """Where this run's cards begin to count; remembered before any of them is told."""
    saved = store.query("SELECT value FROM meta WHERE name = 'card_sequence'")
    last = int(saved[0][0]) if saved else 0
    sequence = max(int(time.time()), last + CARD_SEQUENCE_LEAP)
    store.post("INSERT OR REPLACE INTO meta VALUES ('card_sequence', ?)", (sequence,))
    return sequence
