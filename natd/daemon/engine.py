"""What a daemon does once it runs: a `Node`, the pump around it, and those who serve it.

    UDP, timer, commands, commits  ->  inputs of the node  ->  pump  ->  UDP, log, timer

Only the pump acts on what the node wants; it runs once after a burst of inputs.

Loading this module loads QUIC, which takes as long as all the rest of a start.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from natd.control.command_table import Command, Json, Later
from natd.core.base import events
from natd.core.base.types import Address, SocketId
from natd.core.keys.card import Identity
from natd.core.network.multicast import GROUP
from natd.core.node import Node
from natd.core.session.session import prepare_sessions
from natd.daemon.commands import Commands
from natd.daemon.practice import practise
from natd.doctor.report import Report
from natd.host.descriptors import Shares
from natd.host.directories import Directories
from natd.host.errors import CommandError, ConfigError
from natd.members.guesses import keep_guesses, recall_guesses
from natd.members.networks import Networks
from natd.members.parts import Parts
from natd.members.recorder import Recorder
from natd.members.upkeep import Upkeep
from natd.net.lan import Lan
from natd.net.network_interfaces import NetworkWatch, OwnNetwork, look_around
from natd.net.portmap import PortMap
from natd.net.server_names import Server, ServerNames, one_of_each_family
from natd.net.udp import UdpSockets
from natd.settings.config import Config, changed_keys, reload_config
from natd.storage.address_book import AddressBook
from natd.storage.event_log import EventLog
from natd.storage.mailbox import Mailbox
from natd.storage.store import Store

logger = logging.getLogger(__name__)

CARD_SEQUENCE_LEAP = 1_000_000
"""Above all cards of an earlier run, where the clock was set back since."""

PORT_MAP_LABEL = b"natd/1 port mapping"
"""What our router knows our mapping by, in every run."""


STUN_SERVERS = "/stun_servers"
"""Under which their names are looked up; no network's name has a slash."""


class Engine:
    """Everything between the sockets and the disk."""

    def __init__(
        self,
        config: Config,
        directories: Directories,
        identity: Identity,
        log: EventLog,
        store: Store,
        sockets: UdpSockets,
        shut_down: Callable[[], None],
        shares: Shares,
        crowd: Callable[[], dict[str, str] | None],
    ) -> None:
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
            node=Node(identity, random.SystemRandom(), card_sequence=first_card_sequence(store)),
            sockets=sockets,
            lan=Lan(self.receive, self.pump_soon),
            port_map=PortMap(identity.derive_nonce(PORT_MAP_LABEL), self._take_mapped),
            names=ServerNames(self._take_servers, ipv6=config.paths.ipv6),
            pump=self.pump_soon,
            look_around=self._look_around_soon,
            shares=shares,
            crowd=crowd,
        )
        self._watch = NetworkWatch(self._take_network, self._look_around)
        self._recorder = Recorder(self._parts)
        self._upkeep = Upkeep(self._parts, self._recorder)
        self._networks = Networks(self._parts, self._recorder)
        self._report = Report(self._parts, self._networks)
        self._started = asyncio.Event()
        self._commands = Commands(
            self._parts,
            self._recorder,
            self._networks,
            self._report,
            reload=self.reload,
            shut_down=shut_down,
        ).table()

    def commands(self) -> dict[str, Command]:
        """The table for the control socket.  A request that comes early waits for the start."""
        return {name: self._when_started(command) for name, command in self._commands.items()}

    def summary(self) -> str:
        """One line on how things are."""
        return self._report.summary()

    async def start(self) -> None:
        """Become a member again of every network."""
        prepare_sessions()
        practise()
        self._watch.start()
        self._take_network(self._watch.network, has_moved=False)
        await self._upkeep.start()
        recall_guesses(self._parts)
        # The number that our cards count from is on disk before any of them is told.
        await self._parts.store.flush()
        self._follow_stun_servers()
        self._limit_escalations()
        await self._networks.restore()
        self._started.set()

    def stop(self) -> None:
        """Say goodbye to servers and peers."""
        self._upkeep.save_clock()
        self._watch.close()
        self._parts.names.close()
        self._parts.lan.close()
        self._parts.node.stop(time.monotonic())
        self._pump()
        if self._timer is not None:
            self._timer.cancel()

    async def give_back(self) -> None:
        """Take back from the router what it has mapped for us; takes `portmap.STOP_S` at most."""
        await self._parts.port_map.stop()

    async def reload(self) -> list[str]:
        """Read the configuration again; the keys that changed.  CommandError when it can't be
        used: the old one stays."""
        before = self._parts.config
        try:
            after = reload_config(before)
        except ConfigError as error:
            text = str(error).replace("\n", "; ")
            hint = "the old configuration stays; correct it and reload"
            raise CommandError("config", text, hint) from None
        self._parts.config = after
        changed = list(changed_keys(before, after))
        if "log_level" in changed:
            logging.getLogger().setLevel(after.log_level.upper())
        if "stun_servers" in changed:
            self._follow_stun_servers()
        self._follow_router()
        self._follow_link()
        self._limit_escalations()
        self._upkeep.follow_limits()
        await self._networks.configure(after)
        return changed

    async def keep_up(self) -> None:
        """What is done from time to time, until it is cancelled."""
        await self._upkeep.run()

    # --- inputs

    def receive(self, data: bytes, address: Address, socket: SocketId) -> None:
        """A datagram; `pump_soon` follows after the last one of a burst."""
        self._parts.node.receive_datagram(data, address, self._now(), socket)

    def committed(self) -> None:
        """A group of the store's is on disk."""
        self._recorder.committed(time.monotonic())
        self._pump()

    def _now(self) -> float:
        """The instant of an input; the node is told with it what the wall clock shows."""
        now = time.monotonic()
        self._parts.node.set_clock(time.time(), now)
        return now

    def _look_around(self) -> OwnNetwork:
        """This machine's network, as far as it matters to our servers and peers."""
        servers = [s for n in self._parts.book.joined() for s in self._parts.servers(n.id)]
        return look_around((s.address.host for s in servers), ipv6=self._uses_ipv6)

    def _look_around_soon(self) -> None:
        def look() -> None:
            self._watch.look_now()
            self._tell_offline()

        asyncio.get_running_loop().call_soon(look)

    def _take_network(self, network: OwnNetwork, has_moved: bool) -> None:
        """At start, and when the machine's addresses or its routes have changed; `has_moved`: our
        packets leave by another way than before."""
        parts, now = self._parts, self._now()
        place = (network.addresses, parts.sockets.port)
        if has_moved or place != parts.node.shared.sockets.local:
            self._follow_router()
            self._follow_link()
            parts.names.look_again()
        if has_moved:
            parts.node.network_changed(now)
        parts.node.set_local_addresses(*place, now)
        self._tell_offline()

    def _tell_offline(self) -> None:
        """Peers on our own links are found without a way out, if no server is wanted."""
        parts = self._parts
        is_for_lan = not any(each.servers for each in parts.book.joined())
        is_enough = is_for_lan and parts.node.shared.sockets.hears_link
        is_offline = self._watch.network.is_offline and not is_enough
        parts.node.set_offline(is_offline, time.monotonic())
        self.pump_soon()

    @property
    def _uses_ipv6(self) -> bool:
        return self._parts.sockets.has_ipv6 and self._parts.config.paths.ipv6

    def _limit_escalations(self) -> None:
        config, most = self._parts.config, self._parts.shares.helper_sockets
        self._parts.node.set_limits(
            helper_sockets=min(config.paths.helper_sockets, most // 2),
            most_sockets=most,
            fill_blocks=config.paths.fill_blocks,
            peers_per_network=config.limits.peers_per_network,
        )

    def _follow_router(self) -> None:
        parts = self._parts
        parts.port_map.follow(parts.sockets.port, wanted=parts.config.paths.port_mapping)

    def _follow_link(self) -> None:
        parts, paths = self._parts, self._parts.config.paths
        heard = parts.lan.follow(wanted=paths.lan_discovery, ipv6=self._uses_ipv6)
        parts.node.use_link(heard, time.monotonic())
        self.pump_soon()

    def _take_mapped(self, addresses: tuple[Address, ...]) -> None:
        self._parts.node.set_mapped(addresses, time.monotonic())
        self.pump_soon()

    def _take_servers(self, network: str, servers: tuple[Server, ...]) -> None:
        if network == STUN_SERVERS:
            addresses = one_of_each_family(servers)
            self._parts.node.stun.set_servers(addresses, time.monotonic())
            self.pump_soon()
        else:
            self._networks.take_servers(network, servers)

    def _follow_stun_servers(self) -> None:
        """At start, and when the configuration names others."""
        servers = self._parts.config.stun_servers
        self._take_servers(STUN_SERVERS, self._parts.names.follow(STUN_SERVERS, servers))

    def _handle_timer(self) -> None:
        self._timer = None
        self._parts.node.handle_timer(self._now())
        self._pump()

    def _when_started(self, command: Command) -> Command:
        async def run(request: Json) -> Json | Later:
            if not self._started.is_set():
                await self._started.wait()
            return await command(request)

        return run

    # --- the pump

    def pump_soon(self) -> None:
        """Pump once when all inputs of this turn of the loop are in."""
        if not self._is_pump_due:
            self._is_pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Carry out what the node wants.  Called after every input, and nowhere else."""
        self._is_pump_due = False
        node, now = self._parts.node, time.monotonic()
        dropped: list[SocketId] = []
        while (event := node.next_event()) is not None:
            self._recorder.take(event, now)
            match event:
                case events.NatObserved(_, observed):
                    self._parts.port_map.seen_at(observed)
                case events.ServerAnswered(_, server):
                    self._parts.names.answered(server)
                case events.ServerLost(_, server):
                    self._parts.names.lost(server)
                case events.PeerDisconnected():
                    self._parts.port_map.look_again()
                case events.SocketDropped(socket):
                    dropped.append(socket)
        for datagram in (datagrams := node.datagrams_to_send()):
            if datagram.address == GROUP:
                self._parts.lan.call(datagram.data, self._parts.sockets)
        self._parts.sockets.send(d for d in datagrams if d.address != GROUP)
        for socket in dropped:  # a goodbye may have left by it just now
            self._parts.sockets.drop(socket)
        keep_guesses(self._parts, now)
        self._rearm(node.get_timer())

    def _rearm(self, at: float | None) -> None:
        """A timer that comes too early is harmless, so one that does is left as it is."""
        if at is None or (self._timer is not None and self._timer.when() <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._handle_timer)


def first_card_sequence(store: Store) -> int:
    """Where this run's cards begin to count: by the clock, so that a disk that came back from an
    older copy is not behind what peers and servers know.

    Cards change far more slowly than a thousand times a second, so the clock is above all of an
    earlier run, also of one that the disk has lost.
    """
    last = int(store.noted("card_sequence") or 0)
    now_ms = time.time_ns() // 1_000_000
    sequence = now_ms if now_ms > last else last + CARD_SEQUENCE_LEAP
    store.note("card_sequence", sequence)
    return sequence
