"""One member of the virtual internet: a machine, its disk, and the daemon that lives on it.

The daemon is the real one between its sockets and its disk: `Engine`, the commands, the store with
SQLite, the event log.  Its loop, its clocks and its writer are driven here, as a core of the
virtual internet.  It may die at any moment: before a commit, between the commit and what follows
from it, and between two datagrams.
"""

import asyncio
import math
from collections.abc import Callable
from random import Random
from typing import Any

from natd.control.command_table import Later
from natd.core.base.types import MAIN_SOCKET, Address, Datagram, PeerState, SocketId
from natd.host.errors import CommandError, StartError
from natd.net.network_interfaces import OwnNetwork
from natd.net.routes import INTERNET, Route
from natd.storage.identity import load_identity
from tests.internet.fabric import Gateway, Host
from tests.internet.net import START, Internet
from tests.nemesis.disk import Disk
from tests.nemesis.ledger import Asked, Ledger
from tests.nemesis.life import Life
from tests.nemesis.seams import Current, DrivenStore

NETWORK = "demo"

CLIENT = "nemesis"

UNIX_AT_START = 1_800_000_000.0

READ_AT_ONCE = 1000

HEARD_WHILE_STOPPED = 500
"""Datagrams that a stopped process finds in its socket."""

Reply = Callable[[dict[str, Any] | None, CommandError | None], None]


class Daemon:
    """See the top of this file."""

    def __init__(
        self,
        name: str,
        internet: Internet,
        current: Current,
        behind: Gateway | None,
        disk: Disk,
        ledger: Ledger,
        *,
        servers: list[str],
        secret: str,
        port: int,
        chance: Random,
    ) -> None:
        self.name = name
        self.internet = internet
        self.host: Host = internet.add_host(behind=behind, name=name)
        self.disk = disk
        self.ledger = ledger
        self.port = port
        self.chance = chance
        self.peer = load_identity(disk.directory).peer
        self.clock_off_s = 0.0
        """By how much the wall clock is wrong."""
        self.slept_s = 0.0
        self.is_stopped = False
        """As by SIGSTOP: what comes waits in the socket, and all clocks go on."""
        self.is_asleep = False
        """The machine is suspended: what comes is lost, and its monotonic clock stands still."""
        self.starts = 0
        self.life: Life | None = None
        self._slept_since = 0.0
        self._is_restored = False
        self._current = current
        self._servers = servers
        self._secret = secret
        self._heard: list[tuple[bytes, Address, SocketId]] = []
        self.on_restored: Callable[[int], None] = lambda _events: None
        self.on_started: Callable[[], None] = lambda: None

    # --- what the daemon sees of its machine

    @property
    def monotonic_s(self) -> float:
        since = self._slept_since if self.is_asleep else self.internet.now
        return since - self.slept_s

    @property
    def unix_s(self) -> float:
        return UNIX_AT_START + self.internet.now - START + self.clock_off_s

    @property
    def network(self) -> OwnNetwork:
        way = Route(2, "192.0.2.1", self.host.address) if self.host.connected else None
        return OwnNetwork(self.host.addresses, dict.fromkeys(INTERNET, way))

    # --- its life

    @property
    def is_up(self) -> bool:
        return self.life is not None and not self.life.is_over

    @property
    def runs(self) -> bool:
        """Whether it does anything just now."""
        return self.is_up and not self.is_stopped and not self.is_asleep

    def start(self) -> None:
        """Open the disk, and be a member of the network."""
        assert not self.is_up
        self.starts += 1
        before, self._current.daemon = self._current.daemon, self
        try:
            life = self.life = Life(self)
        finally:
            self._current.daemon = before
        last = life.log.last_event_id()
        if self._is_restored or self.ledger.cursor > last:
            self._is_restored = False
            self.on_restored(self.ledger.rewind(last))
        self.internet.attach(self.host, self, ports=[self.port])
        self._within(life, lambda: self.read(life))
        request = {"network": NETWORK, "servers": self._servers, "nick": self._nick}
        self.ask("join", {**request, "secret": self._secret}, self._joined)

    def _joined(self, _ok: object, _error: object) -> None:
        """Front ends go on when the code that runs has come back."""
        self.internet.at(self.internet.now, lambda: self.on_started() if self.runs else None)

    @property
    def _nick(self) -> str:
        return self.name.rstrip("'")

    @property
    def could_start(self) -> bool:
        """Whether a daemon would start on this disk, rather than refuse it."""
        copy = self.disk.copy()
        before, self._current.daemon = self._current.daemon, self
        try:
            DrivenStore(self.disk.directory, self.ledger.peer, Random(0)).shut()
        except StartError:
            return False
        finally:
            self._current.daemon = before
            self.disk.put_back(copy)
        return True

    def restore(self, copy: tuple[bytes, bytes]) -> None:
        """The disk is another one; the daemon is dead."""
        self.disk.put_back(copy)
        self._is_restored = True

    def stop(self) -> None:
        """As by SIGTERM, with time for a goodbye and the last group."""
        life = self.life
        if life is None or not self.runs:
            return
        self._within(life, life.engine.stop)
        self.internet._pump(self.internet._attached[self.host])
        self._within(life, life.store.write_all)
        self.kill()

    def kill(self) -> None:
        """As by kill -9, or when the power fails: what is not committed is gone."""
        life = self.life
        if life is None:
            return
        life.is_over = True
        self.is_stopped = self.is_asleep = False
        self._heard.clear()
        if self.host in self.internet._attached:
            self.internet.detach(self.host)
        copy = self.disk.copy()
        life.store.shut()
        self.disk.put_back(copy)
        self._end(life)
        self.life = None

    def _end(self, life: Life) -> None:
        """Nothing of its code runs any more."""
        for task in asyncio.all_tasks(life.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        life.loop.close()
        self.ledger.faults += life.loop.failures

    def die_in_commit(self, *, is_written: bool) -> None:
        """At the next group of the store's: before it is on disk, or after."""
        life = self.life
        assert life is not None

        def trap(now_written: bool) -> bool:
            if now_written is is_written:
                self._die(life)
            return life.is_over

        life.store.trap = trap

    def die_after_sending(self, datagrams: int) -> None:
        life = self.life
        assert life is not None
        life.sockets.sends_left = datagrams
        life.sockets.on_last = lambda: self._die(life)

    def _die(self, life: Life) -> None:
        """At once; it is buried when the code that runs has come back."""
        life.is_over = True
        life.sockets.sends_left = 0
        self.internet.at(self.internet.now, lambda: self.kill() if self.life is life else None)

    # --- its machine

    def pause(self, *, is_asleep: bool) -> None:
        if is_asleep:
            self._slept_since = self.internet.now
            self.is_asleep = True
        else:
            self.is_stopped = True

    def go_on(self) -> None:
        """From a pause."""
        if self.is_asleep:
            self.slept_s += self.internet.now - self._slept_since
        self.is_asleep = self.is_stopped = False
        heard, self._heard = self._heard, []
        if self.life is not None:
            for data, address, socket in heard:
                self.receive_datagram(data, address, self.internet.now, socket)
            self.turn()
            self.on_started()

    def look(self) -> None:
        """The kernel says that addresses or routes have changed."""
        if (life := self.life) is not None and self.runs:
            self._within(life, life.engine._watch.look_now)

    def drop_socket(self, socket: SocketId) -> None:
        if self.host in self.internet._attached:
            self.internet.close_socket(self.host, socket)

    def prune(self) -> None:
        """The hourly deletion of what is old."""
        if (life := self.life) is not None:
            self._within(life, lambda: life.loop.create_task(life.engine._upkeep.prune()))

    # --- front ends

    def ask(self, command: str, request: dict[str, Any], reply: Reply) -> None:
        """A request over IPC; no answer comes from a daemon that dies."""
        life = self.life
        assert life is not None

        async def run() -> None:
            try:
                ok = await life.commands[command](request)
                assert not isinstance(ok, Later), "nothing is asked here that waits"
            except CommandError as error:
                if not life.is_over:
                    reply(None, error)
            except Exception as error:
                self.ledger.faults.append(f"{command} raised {error!r}")
            else:
                if not life.is_over:
                    reply(ok, None)

        self._within(life, lambda: life.loop.create_task(run()))

    def say(self, text: str, to: str | None) -> None:
        """Give a message, whose name is its text; or ask again whether it was taken."""
        ledger, online = self.ledger, self.ledger.were_online()
        before = ledger.asked.get(text)
        ledger.asked[text] = Asked(to, online if before is None else before.online & online)

        def reply(ok: dict[str, Any] | None, error: CommandError | None) -> None:
            if ok is not None:
                ledger.answer(text, ok["message"])
            elif error is not None and before is None:
                ledger.refused[text] = error.code
            elif error is not None:
                ledger.given_up.add(text)

        request = {"network": NETWORK, "text": text, "to": to, "client": CLIENT, "id": text}
        self.ask("send", request, reply)

    def ask_again(self) -> int:
        """All that has got no answer; gives how much that was."""
        unanswered = self.ledger.unanswered()
        for text in unanswered:
            self.say(text, self.ledger.asked[text].to)
        return len(unanswered)

    def sees(self, peer: Any) -> bool:
        """Whether that peer is online for us."""
        if (life := self.life) is None or life.is_over:
            return False
        before, self._current.daemon = self._current.daemon, self
        try:
            parts = life.engine._parts
            return any(
                view.peer == peer and view.state is PeerState.ONLINE
                for network in parts.book.joined()
                for view in parts.views(network.id)
            )
        finally:
            self._current.daemon = before

    # --- as a core of the virtual internet

    def receive_datagram(
        self, data: bytes, address: Address, now: float, socket: SocketId = MAIN_SOCKET
    ) -> None:
        life = self.life
        if life is None or self.is_asleep:
            return
        if self.is_stopped:
            if len(self._heard) < HEARD_WHILE_STOPPED:
                self._heard.append((data, address, socket))
            return

        def hear() -> None:
            life.engine.receive(data, address, socket)
            life.engine.pump_soon()

        self._within(life, hear)

    def handle_timer(self, now: float) -> None:
        self.turn()

    def datagrams_to_send(self) -> list[Datagram]:
        return [] if self.life is None else self.life.sockets.drain()

    def next_event(self) -> None:
        return None

    def get_timer(self) -> float | None:
        if self.life is None or not self.runs:
            return None
        due = self.life.loop.due_at()
        if due is None:
            return None
        at = due + self.slept_s
        while at - self.slept_s < due:
            at = math.nextafter(at, math.inf)
        return at

    def turn(self) -> None:
        if self.life is not None:
            self._within(self.life, lambda: None)

    def committed(self, life: Life) -> None:
        """A group is on disk: front ends are told, and the engine."""
        if not life.is_over:
            self.read(life)
            life.engine.committed()

    def read(self, life: Life) -> None:
        """Follow the log, as far as it can be read just now."""
        while not life.is_over and self.ledger.cursor < life.log.last_event_id():
            page = life.log.next_page(self.ledger.cursor, READ_AT_ONCE)
            if page is None:
                return
            self.ledger.take(page.events)

    def _within(self, life: Life, work: Callable[[], object]) -> None:
        """Run code of the daemon's, and what follows from it, by its own clocks."""
        if life.is_over or self.is_stopped or self.is_asleep:
            return
        before, self._current.daemon = self._current.daemon, self
        try:
            with life.loop.running():
                work()
            life.loop.turn()
        finally:
            self._current.daemon = before
