"""One run: real daemons chat in virtual time while whatever a seed draws strikes them.

The strikes are methods of `Strikes`; what they leave behind ends with the storm.  Then the weather
is calm, everybody is there, and within `CALM_S` all must be well: see ledger.py for what that is.
"""

import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from natd.core.base.types import peer_id_text
from tests.core.world.village import Village
from tests.internet.fabric import Gateway
from tests.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
)
from tests.nemesis.daemon import NETWORK, Daemon
from tests.nemesis.disk import Disk
from tests.nemesis.hostile import Mallory, secret_key
from tests.nemesis.ledger import Books, Ledger
from tests.nemesis.seams import Current, memory_directory, stage
from tests.nemesis.strikes import Strikes
from tests.nemesis.wire import TappedInternet

NAMES = ("alice", "bob", "carol", "dave")
MEMBERS = (2, 2, 2, 2, 3, 3, 4)

AGING = replace(PORT_RESTRICTED, absolute_age_s=60.0)
NATS = (None, None, FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED, LINUX, LINUX_ACCEPTING, AGING)
"""None: on the internet itself."""

STORM_S = (15.0, 30.0, 60.0)
STRIKES_PER_S = 0.4
WORDS_PER_S = 1.0
BURSTS = (1, 1, 1, 1, 3, 20)
CALM_S = 600.0
"""A server is found again within 30 s, an address that was spent on strangers rests a minute, a
copy of an identity is forgotten in two.  Where a server has lied about what our NAT does it takes
longest: rounds are a minute apart then, and each has to miss with what was learned wrong."""

LOOK_EVERY_S = 1.0

ROUTES_OF_ONE_PEER = 40
"""More than any peer leads to, fewer than a dozen restarts would leave behind."""


@dataclass
class Outcome:
    """What came of one run."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    said: int = 0
    arrived: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    calm_s: float = 0.0
    """From the end of the storm until all was well."""
    digest: int = 0
    """Of all datagrams, as far as the same seed makes the same ones."""


def run(seed: int, *, tells: bool = False, only: frozenset[str] | None = None) -> Outcome:
    """Play a seed; `only` these kinds of strikes, if given."""
    with (
        tempfile.TemporaryDirectory(prefix="nemesis-", dir=memory_directory()) as place,
        stage() as current,
    ):
        return Nemesis(seed, Path(place), current, tells=tells, only=only).run()


class Nemesis:
    """See the top of this file."""

    def __init__(
        self,
        seed: int,
        place: Path,
        current: Current,
        *,
        tells: bool,
        only: frozenset[str] | None,
    ) -> None:
        self.random = Random(f"nemesis {seed}")
        self.seed = seed
        self.place = place
        self.current = current
        self.tells = tells
        self.internet = TappedInternet(seed)
        self.village = Village(seed, internet=self.internet)
        self.books = Books()
        self.faults: Counter[str] = Counter()
        self.secret = self.random.randbytes(16).hex() if self.random.random() < 0.5 else ""
        self._nets = 0
        self.members = [
            self._member(name, number)
            for number, name in enumerate(NAMES[: self.random.choice(MEMBERS)])
        ]
        self.copies: list[Daemon] = []
        self.mallory = Mallory(
            self.village, secret_key(NETWORK, self.secret), Random(f"mallory {seed}"), self._known
        )
        self._strikes = Strikes(self, only)
        self._calm_s = 0.0

    def run(self) -> Outcome:
        began = self.internet.now
        raised: list[str] = []
        try:
            self._play()
        except Exception as error:
            raised.append(f"raised: {error!r} at {traceback.extract_tb(error.__traceback__)[-1]}")
            if self.tells:
                traceback.print_exc()
        internet = self.internet
        outcome = Outcome(
            self.seed,
            raised or self._wrong(),
            said=sum(len(ledger.asked) for ledger in self.books.all),
            arrived=sum(len(ledger.ever_arrived) for ledger in self.books.all),
            faults=self.faults,
            virtual_s=internet.now - began,
            calm_s=self._calm_s,
            digest=hash(tuple(sorted(internet.dropped.items())))
            ^ hash(tuple(host.sent for host in internet.hosts())),
        )
        for daemon in (*self.members, *self.copies):
            daemon.kill()
        return outcome

    def _play(self) -> None:
        random, internet = self.random, self.internet
        for member in self.members:
            member.start()
            internet.run(random.choice((0.0, 0.5, 2.0)))
        storm_until = internet.now + random.choice(STORM_S)
        next_strike = internet.now + random.expovariate(STRIKES_PER_S)
        next_word = internet.now
        while internet.now < storm_until:
            internet.run(max(0.0, min(next_strike, next_word) - internet.now))
            if internet.now >= next_word:
                self._speak()
                next_word = internet.now + random.expovariate(WORDS_PER_S)
            if internet.now >= next_strike:
                self._strikes.strike()
                next_strike = internet.now + random.expovariate(STRIKES_PER_S)
        self._strikes.end()
        self._look_at = calm_at = internet.now
        internet.run_until(self._is_well, CALM_S)
        self._calm_s = internet.now - calm_at
        internet.run(2.0)

    # --- what strikes use

    def note(self, kind: str, detail: str = "") -> None:
        self.faults[kind] += 1
        if self.tells:
            print(f"{self.internet.now:9.3f} {kind} {detail}", flush=True)

    def network(self) -> Gateway | None:
        policy = self.random.choice(NATS)
        if policy is None:
            return None
        self._nets += 1
        return self.internet.add_nat(policy, lan=f"192.168.{self._nets}")

    def daemon(self, name: str, disk: Disk, ledger: Ledger, port: int) -> Daemon:
        """One more machine with a daemon, which is not started."""
        servers = [str(server) for server in self.village.servers]
        chance = Random(f"{self.seed} {name}")
        self.books.all.append(ledger)
        return Daemon(
            name,
            self.internet,
            self.current,
            self.network(),
            disk,
            ledger,
            servers=servers,
            secret=self.secret,
            port=port,
            chance=chance,
        )

    def later(self, after_s: float, action: Callable[[], None]) -> None:
        self.internet.at(self.internet.now + after_s, action)

    # --- private

    def _member(self, name: str, number: int) -> Daemon:
        seed = Random(f"{self.seed} {name} identity").randbytes(32)
        disk = Disk(self.place / name, seed)
        ledger = Ledger(name, "")
        member = self.daemon(name, disk, ledger, 40000 + number)
        ledger.peer = peer_id_text(member.peer)
        member.on_started = lambda: self._ask_again(member)
        member.on_restored = lambda events: self.note("went back", f"{name} {events} events")
        return member

    def _speak(self) -> None:
        random = self.random
        up = [daemon for daemon in (*self.members, *self.copies) if daemon.is_up]
        if not up:
            return
        daemon = random.choice(up)
        others = [m.ledger.peer for m in self.members if m.ledger.peer != daemon.ledger.peer]
        for _ in range(random.choice(BURSTS)):
            to = random.choice([*others, None])
            daemon.say(f"{daemon.name} {len(daemon.ledger.asked)}", to)

    def _ask_again(self, daemon: Daemon) -> None:
        """A front end that has got no answer does, and sometimes one that has."""
        if again := daemon.ask_again():
            self.note("asked again", f"{daemon.name} {again}")
        accepted = [text for text in daemon.ledger.accepted if text not in daemon.ledger.undone]
        if accepted and self.random.random() < 0.5:
            text = self.random.choice(accepted)
            daemon.say(text, daemon.ledger.asked[text].to)

    def _known(self) -> list[str]:
        return [message for ledger in self.books.all for message in ledger.ever_sent]

    def _is_well(self) -> bool:
        if self.internet.now < self._look_at:
            return False
        self._look_at = self.internet.now + LOOK_EVERY_S
        return self.books.is_settled() and not self._apart()

    def _apart(self) -> list[str]:
        return [
            f"{one.name} does not see {other.name}"
            for one in self.members
            for other in self.members
            if one is not other and not one.sees(other.peer)
        ]

    def _wrong(self) -> list[str]:
        wrong = self.books.wrong() + self._apart()
        for member in self.members:
            life = member.life
            if life is None:
                wrong.append(f"{member.name} is not there")
                continue
            wrong += [f"{member.name}: {failure}" for failure in life.loop.failures]
            routes = len(life.engine._parts.node.shared.routes)
            if routes > ROUTES_OF_ONE_PEER * len(self.members):
                wrong.append(f"{member.name} keeps {routes} routes")
        return wrong
