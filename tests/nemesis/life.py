"""One run of a daemon: its engine, store and log, with a loop, a disk and sockets of ours."""

from typing import TYPE_CHECKING

from natd.core.base.types import peer_id_text
from natd.daemon.engine import Engine
from natd.host.descriptors import Shares
from natd.host.directories import Directories
from natd.settings.config import Config, Paths
from natd.storage.event_log import EventLog
from natd.storage.identity import load_identity
from tests.nemesis.seams import DrivenStore, Sockets
from tests.nemesis.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from tests.nemesis.daemon import Daemon

CONFIG = Config(paths=Paths(ipv6=False, lan_discovery=False, port_mapping=False))

SHARES = Shares(limit=1024, connections=64, helper_sockets=256, lacks_connections=False)


class Life:
    """From one start to the end of it."""

    def __init__(self, daemon: "Daemon") -> None:
        self.loop = VirtualLoop(lambda: daemon.monotonic_s)
        self.is_over = False
        with self.loop.running():
            state = daemon.disk.directory
            identity = load_identity(state)
            self.store = DrivenStore(state, peer_id_text(identity.peer), daemon.chance)
            self.log = EventLog(self.store)
            self.sockets = Sockets(daemon.port, daemon.drop_socket)
            self.engine = Engine(
                CONFIG,
                Directories(state, state, state),
                identity,
                self.log,
                self.store,
                self.sockets,  # type: ignore[arg-type]  # the part of it that is used
                lambda: None,
                SHARES,
                lambda: None,
            )
            self.commands = self.engine.commands()
            self.store.start(lambda: daemon.committed(self))
            self.log.on_page(lambda: daemon.read(self))
            self.tasks = [
                self.loop.create_task(self.engine.start()),
                self.loop.create_task(self.engine.keep_up()),
            ]
