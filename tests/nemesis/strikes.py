"""What strikes, and how it ends.  Each method that has a name without `_` is one kind."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from natd.core.base.types import Address
from tests.internet.fabric import Weather
from tests.nemesis.daemon import Daemon
from tests.nemesis.disk import copy_directory
from tests.nemesis.hostile import Liar
from tests.nemesis.wire import at_the_edge

if TYPE_CHECKING:
    from tests.nemesis.nemesis import Nemesis

OUTAGES_S = (1.0, 5.0, 20.0)
DAY_S = 86_400.0
JUMPS_S = (-10 * DAY_S, -DAY_S, -3600.0, -5.0, 5.0, 3600.0, DAY_S, 10 * DAY_S, 40 * DAY_S)
FEW_REPLAYS, MANY_REPLAYS = 20, 200
MOST_COPIES = 1

MOST_SENT = 6
MOST_TORN_BYTES = 40 * 4120
"""Some dozen commits, each of a few pages."""


class Strikes:
    """See the top of this file."""

    def __init__(self, nemesis: "Nemesis", only: frozenset[str] | None) -> None:
        self._nemesis = nemesis
        self._random = nemesis.random
        self._internet = nemesis.internet
        self._backups: dict[Daemon, list[tuple[bytes, bytes]]] = {}
        self._kinds: list[Callable[[], None]] = [
            self.weather,
            self.weather,
            self.weather,
            self.router_reboots,
            self.router_renumbered,
            self.moves,
            self.cable,
            self.partition,
            self.server_dies,
            self.server_forgets,
            self.server_lies,
            self.stops,
            self.killed,
            self.killed,
            self.dies_before_commit,
            self.dies_after_commit,
            self.dies_sending,
            self.disk_full,
            self.backup,
            self.backup,
            self.restored,
            self.restored,
            self.torn_log,
            self.clock_jumps,
            self.clock_jumps,
            self.pruned,
            self.asleep,
            self.stopped,
            self.copied,
            self.replays,
            self.tampers,
            self.mallory_speaks,
            self.mallory_poses,
            self.junk,
        ]
        if only is not None:
            self._kinds = [kind for kind in self._kinds if kind.__name__ in only]

    def strike(self) -> None:
        if self._kinds:
            self._random.choice(self._kinds)()

    def end(self) -> None:
        """The storm is over: everything is as it should be, and everybody there."""
        nemesis, internet = self._nemesis, self._internet
        internet.weather = Weather()
        internet.cuts.clear()
        for copy in nemesis.copies:
            if copy.is_up:
                copy.kill()
        if nemesis.mallory.member.host in internet._attached:
            nemesis.mallory.member.kill()
        if nemesis.village.server_host in internet._attached:
            seat = internet._attached[nemesis.village.server_host]
            if isinstance(seat.core, Liar):
                seat.core = seat.core.honest
        else:
            nemesis.village.start_server()
        for member in nemesis.members:
            member.host.connected = True
            if member.is_up:
                assert member.life is not None
                member.life.store.is_full = False
                member.life.store.trap = lambda _is_written: False
                member.life.sockets.sends_left = None
                member.go_on()
                member.look()
            else:
                member.kill()
                member.start()

    # --- the network

    def weather(self) -> None:
        choose = self._random.choice
        weather = self._internet.weather = Weather(
            loss=choose((0.0, 0.05, 0.3)),
            jitter_s=choose((0.0, 0.02, 0.1)),
            reordering=choose((0.0, 0.1)),
            duplication=choose((0.0, 0.1)),
            bit_flips=choose((0.0, 0.02)),
        )
        for kind, how_much in (
            ("loss", weather.loss),
            ("reordering", weather.reordering),
            ("duplication", weather.duplication),
            ("bit flips", weather.bit_flips),
        ):
            if how_much:
                self._note(kind, f"{how_much}")

    def router_reboots(self) -> None:
        if (gateway := self._anybody().host.behind) is not None:
            self._note("router reboots", gateway.name)
            gateway.reboot()

    def router_renumbered(self) -> None:
        if (gateway := self._anybody().host.behind) is not None:
            self._note("router renumbered", gateway.name)
            self._internet.renumber(gateway)

    def moves(self) -> None:
        member = self._anybody()
        self._note("moves", member.name)
        self._internet.move(member.host, self._nemesis.network())
        member.look()

    def cable(self) -> None:
        member, for_s = self._anybody(), self._random.choice(OUTAGES_S)
        self._note("cable", f"{member.name} {for_s} s")
        member.host.connected = False
        member.look()

        def plug() -> None:
            member.host.connected = True
            member.look()

        self._nemesis.later(for_s, plug)

    def partition(self) -> None:
        one = at_the_edge(self._anybody().host)
        others = [at_the_edge(member.host) for member in self._nemesis.members]
        other = self._random.choice([*others, self._nemesis.village.server_host])
        if one is not other:
            cut, for_s = frozenset((one, other)), self._random.choice(OUTAGES_S)
            self._note("partition", f"{one.name} {other.name} {for_s} s")
            self._internet.cuts.add(cut)
            self._nemesis.later(for_s, lambda: self._internet.cuts.discard(cut))

    # --- the server

    def server_dies(self) -> None:
        village = self._nemesis.village
        if village.server_host in self._internet._attached:
            self._note("server dies")
            village.kill_server()

    def server_forgets(self) -> None:
        self._note("server forgets")
        if self._nemesis.village.server_host in self._internet._attached:
            self._nemesis.village.kill_server()
        self._nemesis.village.start_server()

    def server_lies(self) -> None:
        seat = self._internet._attached.get(self._nemesis.village.server_host)
        if seat is not None and not isinstance(seat.core, Liar):
            self._note("server lies")
            share = self._random.choice((0.2, 0.6, 1.0))
            victim = self._nemesis.mallory.member.host.address
            seat.core = Liar(seat.core, self._random, share, victim)

    # --- the daemon and its disk

    def stops(self) -> None:
        if (member := self._somebody()) is not None:
            self._note("stops", member.name)
            member.stop()
            self._back_later(member)

    def killed(self) -> None:
        if (member := self._somebody()) is not None:
            self._note("killed", member.name)
            member.kill()
            self._back_later(member)

    def dies_before_commit(self) -> None:
        if (member := self._somebody()) is not None:
            self._note("dies before commit", member.name)
            member.die_in_commit(is_written=False)
            self._back_later(member)

    def dies_after_commit(self) -> None:
        if (member := self._somebody()) is not None:
            self._note("dies after commit", member.name)
            member.die_in_commit(is_written=True)
            self._back_later(member)

    def dies_sending(self) -> None:
        if (member := self._somebody()) is not None:
            self._note("dies sending", member.name)
            member.die_after_sending(self._random.randint(1, MOST_SENT))
            self._back_later(member)

    def disk_full(self) -> None:
        if (member := self._somebody()) is not None:
            assert member.life is not None
            store, for_s = member.life.store, self._random.choice(OUTAGES_S)
            self._note("disk full", f"{member.name} {for_s} s")
            store.is_full = True

            def free() -> None:
                store.is_full = False

            self._nemesis.later(for_s, free)

    def backup(self) -> None:
        if (member := self._somebody()) is not None:
            self._note("backup", member.name)
            self._backups.setdefault(member, []).append(member.disk.copy())

    def restored(self) -> None:
        chosen = [member for member in self._nemesis.members if member in self._backups]
        member = self._random.choice(chosen) if chosen else None
        if member is not None:
            self._note("restored", member.name)
            member.kill()
            member.restore(self._random.choice(self._backups[member]))
            self._back_later(member)

    def torn_log(self) -> None:
        """What the file system had not written when the power failed, though it said so."""
        if (member := self._somebody()) is not None:
            file, log = member.disk.copy()
            self._note("torn log", f"{member.name} {len(log)}")
            member.kill()
            lost = self._random.randint(0, min(len(log), MOST_TORN_BYTES))
            member.restore((file, log[: len(log) - lost]))
            if not member.could_start:
                member.restore((file, log))
            self._back_later(member)

    def copied(self) -> None:
        """The state directory runs on a second machine for a while, and is lost with it."""
        nemesis = self._nemesis
        member = self._somebody()
        if member is None or len(nemesis.copies) >= MOST_COPIES:
            return
        for_s = self._random.choice(OUTAGES_S)
        self._note("copied", f"{member.name} {for_s} s")
        name = f"{member.name}'"
        disk = copy_directory(member.disk, nemesis.place / f"copy{len(nemesis.copies)}")
        copy = nemesis.daemon(name, disk, member.ledger.copied(name), 41000)
        copy.clock_off_s = member.clock_off_s
        nemesis.copies.append(copy)
        copy.start()
        nemesis.later(for_s, copy.kill)

    def pruned(self) -> None:
        """The hourly work."""
        if (member := self._somebody()) is not None:
            self._note("pruned", member.name)
            member.prune()

    # --- clocks

    def clock_jumps(self) -> None:
        member, by_s = self._anybody(), self._random.choice(JUMPS_S)
        self._note("clock back" if by_s < 0 else "clock forth", f"{member.name} {by_s} s")
        member.clock_off_s += by_s

    def asleep(self) -> None:
        self._pause("asleep", is_asleep=True)

    def stopped(self) -> None:
        self._pause("stopped", is_asleep=False)

    def _pause(self, kind: str, *, is_asleep: bool) -> None:
        member = self._somebody()
        if member is not None:
            for_s = self._random.choice(OUTAGES_S)
            self._note(kind, f"{member.name} {for_s} s")
            life = member.life
            member.pause(is_asleep=is_asleep)
            self._nemesis.later(for_s, lambda: member.go_on() if member.life is life else None)

    # --- people

    def replays(self) -> None:
        count = self._random.choice((FEW_REPLAYS, MANY_REPLAYS))
        self._note("replays", f"{count}")
        self._internet.replay(self._random, count)

    def tampers(self) -> None:
        count = self._random.choice((FEW_REPLAYS, MANY_REPLAYS))
        self._note("tampers", f"{count}")
        self._internet.replay(self._random, count, changes=1.0)

    def mallory_speaks(self) -> None:
        mallory = self._nemesis.mallory
        mallory.start()

        def speak() -> None:
            if mallory.member.host in self._internet._attached and mallory.speak():
                self._note("mallory speaks")

        for after_s in (1.0, 3.0, 6.0):
            self._nemesis.later(after_s, speak)

    def mallory_poses(self) -> None:
        mallory = self._nemesis.mallory
        mallory.start()
        cards = list(mallory.member.disk.cards.values())
        if cards:
            self._note("mallory poses")
            mallory.pose(self._places(), cards)

    def junk(self) -> None:
        self._note("junk")
        self._nemesis.mallory.shout(self._places())

    def _places(self) -> list[Address]:
        """Where members are reached from the internet."""
        seen = {packet.source: None for _, packet in self._internet.tap}
        return list(seen)[-4:]

    # --- helpers

    def _anybody(self) -> Daemon:
        return self._random.choice(self._nemesis.members)

    def _somebody(self) -> Daemon | None:
        """Whose daemon runs."""
        running = [member for member in self._nemesis.members if member.runs]
        return self._random.choice(running) if running else None

    def _back_later(self, member: Daemon) -> None:
        """Somebody starts it again, if it is dead by then."""

        def start() -> None:
            if member.life is None:
                member.start()

        self._nemesis.later(self._random.choice((0.0, 1.0, 5.0, 20.0)) + 0.001, start)

    def _note(self, kind: str, detail: str = "") -> None:
        self._nemesis.note(kind, detail)


def names(_strikes: Any = None) -> list[str]:
    """Every kind, as `only` takes them."""
    return [
        name
        for name, value in vars(Strikes).items()
        if callable(value) and not name.startswith("_") and name not in ("strike", "end")
    ]
