"""The peer daemon as a process: sockets, signals, the service manager, and a clean end.

Rules that a change must not break:

- READY is told when both sockets exist, the network's and the control one.  What takes longer
  to load (`natd.daemon.engine`) is loaded after that and before the loop turns again, so that a
  request which comes early waits for its answer, and nobody waits for QUIC to be told that
  the daemon runs.
- The watchdog is fed by this loop and by nothing else.
- A stop says goodbye to servers and peers, writes what is waiting, and takes less than 2 s.
"""

import asyncio
import errno
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from natd.control.admission import CONNECTIONS_LIMIT
from natd.control.command_table import Command
from natd.control.control import Control
from natd.core.base.types import Address, SocketId, peer_id_text
from natd.host.descriptors import (
    LEAST_DESCRIPTORS,
    Shares,
    require_descriptors,
    share_descriptors,
)
from natd.host.directories import Directories
from natd.host.errors import EXIT_OK, CommandError, StartError
from natd.host.notify import Notifier
from natd.host.version import natd_version
from natd.net.udp import UdpSockets
from natd.settings.config import Config
from natd.storage.event_log import EventLog
from natd.storage.identity import load_identity
from natd.storage.store import Store, StoreError

if TYPE_CHECKING:
    from natd.daemon.engine import Engine

logger = logging.getLogger(__name__)

STATUS_S = 15.0
"""Between updates of the line that the service manager shows."""

SPARE_SOCKETS = 8
"""Single fresh sockets beside those of the attempts that open many."""

STORE_CLOSE_S = 0.8
"""For the last group at a stop; a disk that hangs must not hang us."""

SWITCH_INTERVAL_S = 0.001
"""How long the loop may keep the interpreter from the store's thread, which comes back from
each disk operation wanting it; Python's 5 ms would be added to each commit."""


def run_daemon(config: Config, directories: Directories, descriptors: int) -> int:
    """Run until SIGTERM, SIGINT or the command `shutdown`; the exit code.

    StartError when the daemon can't run here.  The directories are there and locked, and so many
    `descriptors` may be open.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    left = require_descriptors(descriptors, LEAST_DESCRIPTORS)
    shares = share_descriptors(descriptors, left, CONNECTIONS_LIMIT)
    daemon = Daemon(config, directories, shares)
    asyncio.run(daemon.run())
    return EXIT_OK


class Daemon:
    """One running daemon."""

    def __init__(self, config: Config, directories: Directories, shares: Shares) -> None:
        self._shares = shares
        self._config = config
        self._directories = directories
        self._identity = load_identity(directories.state)
        self._store = Store(directories.state, peer_id_text(self._identity.peer))
        self._log = EventLog(self._store)
        self._notifier = Notifier()
        self._stopping = asyncio.Event()
        self._is_disk_silent = False
        self._sockets = UdpSockets(
            self._receive, self._drained, most_helpers=shares.helper_sockets + SPARE_SOCKETS
        )
        self._commands: dict[str, Command] = {}
        self._control = Control(
            directories.control_socket,
            self._commands,
            self._log,
            mode=config.control_mode,
            version=natd_version(),
            connections=shares.connections,
        )
        self._log.on_page(self._control.wake)
        self._engine: Engine | None = None  # None until READY

    async def run(self) -> None:
        """Start, serve, stop."""
        try:
            self._open_socket()
            self._store.start(self._committed)
            await self._control.start()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stopping.set)
            loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
            self._notifier.ready()
            self._feed_watchdog()
            logger.info("ready: UDP port %d", self._sockets.port)
            await self._serve(self._load_engine())
        finally:
            await self._stop()
        if self._is_disk_silent:
            # The interpreter would wait for the thread that waits for the disk.
            logger.warning("the disk does not answer; stopped without waiting for it")
            logging.shutdown()
            os._exit(EXIT_OK)

    def _load_engine(self) -> "Engine":
        from natd.daemon.engine import Engine

        self._engine = Engine(
            self._config,
            self._directories,
            self._identity,
            self._log,
            self._store,
            self._sockets,
            self._stopping.set,
            self._shares,
            self._control.problem,
        )
        self._commands.update(self._engine.commands())
        return self._engine

    async def _serve(self, engine: "Engine") -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                routine = [
                    tasks.create_task(work)
                    for work in (
                        engine.start(),
                        engine.keep_up(),
                        self._tell_status(engine),
                    )
                ]
                await self._stopping.wait()
                for task in routine:
                    task.cancel()
        except* StoreError as group:
            raise StartError(str(group.exceptions[0])) from None

    async def _stop(self) -> None:
        if self._engine is not None:
            self._notifier.stopping()
            logger.info("stopping")
        await self._control.stop()
        if self._engine is not None:
            self._engine.stop()
            await asyncio.gather(self._engine.give_back(), self._close_store())
        else:
            await self._close_store()
        self._sockets.close()
        self._notifier.close()

    async def _close_store(self) -> None:
        try:
            async with asyncio.timeout(STORE_CLOSE_S):
                await self._store.close()
        except TimeoutError:
            self._is_disk_silent = True

    def _open_socket(self) -> None:
        """On the configured port; else on that of the last run, if it is free, else on any."""
        wanted, ipv6 = self._config.port, self._config.paths.ipv6
        if wanted:
            try:
                self._sockets.open(wanted, ipv6=ipv6)
            except OSError as error:
                raise StartError(
                    f"UDP port {wanted} can't be used: {error.strerror}",
                    "give another with --port, or 0 for any",
                ) from None
            return
        try:
            self._sockets.open(self._store.noted("port") or 0, ipv6=ipv6)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise StartError(f"can't open a UDP socket: {error.strerror}") from None
            self._sockets.open(0, ipv6=ipv6)
        self._store.note("port", self._sockets.port)

    # --- what the sockets and the store call; the engine is there when the loop turns

    def _receive(self, data: bytes, address: Address, socket: SocketId) -> None:
        assert self._engine is not None
        self._engine.receive(data, address, socket)

    def _drained(self) -> None:
        assert self._engine is not None
        self._engine.pump_soon()

    def _committed(self) -> None:
        self._control.wake()
        if self._engine is not None:
            self._engine.committed()

    # --- from time to time

    def _feed_watchdog(self) -> None:
        interval_s = self._notifier.watchdog_interval_s
        if interval_s is not None:
            self._notifier.watchdog()
            asyncio.get_running_loop().call_later(interval_s, self._feed_watchdog)

    async def _tell_status(self, engine: "Engine") -> None:
        while True:
            self._notifier.status(engine.summary())
            await asyncio.sleep(STATUS_S)

    def _reload_soon(self) -> None:
        self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        """SIGHUP.  A configuration that can't be used leaves the old one in force."""
        assert self._engine is not None
        self._notifier.reloading()
        try:
            changed = await self._engine.reload()
            logger.info("configuration read again; changed: %s", ", ".join(changed) or "nothing")
        except CommandError as error:
            logger.error("%s; %s", error.text, error.hint)
        self._notifier.ready()
