"""Mutated datagrams at two members who are connected, and at their server.

    stage = Stage(seed)
    stage.meet()                        they are introduced, and chat
    stage.attack(datagrams=10_000)      changed copies of what they have heard, in between
    stage.wrong()                       what came of it; [] if nothing did

Half of the copies come from the address of the one who said the original, half from one that is
nobody's.  What leaves for nobody's addresses is an answer: to each of them no more bytes may go
than have come from there.  A few copies are not changed at all: one whose original drew no answer
is a check like any other, and opens the budget of an address where a peer may be
(`checks/budget.py`).

Meanwhile a newcomer comes and goes, so that there are REGISTERs of this moment.  Some are kept from
the server, and all are said again from nobody's addresses: `tests/fuzz/aims.py` has the bounds
of what members may then send there.
"""

import resource
from collections import Counter, deque
from random import Random

from natd.core.base import events
from natd.core.base.types import Address
from natd.core.codec import stun
from tests.core.world.village import Member, Village
from tests.fuzz.aims import Aims
from tests.fuzz.mutate import mutate
from tests.internet.fabric import Host, Packet
from tests.internet.net import Attached, Internet

REMEMBERED = 600
AT_ONCE = 25
PAUSE_S = 0.02
TALK_EVERY = 40
"""Rounds of attacks between two lines of the chat."""

GUEST_EVERY = 40
"""Rounds between two visits of the guest."""

RESTART_EVERY = 25
"""Visits of the guest between two starts of the server: members register anew, too."""

MEETING_S = 60.0
"""Within this the guest is met, whatever was said in its name."""

OVERTAKEN_BY_S = 0.05
"""As late as half of the withheld REGISTERs come; the others never do."""

REGISTERS_OF_ALL = 0.1
"""They are few on the way, and many of what is said again."""

STRANGE_HOSTS = 60_000

SERVER_STUN_LARGER = 2.1
"""As every STUN server's, an answer is larger than a bare question, headers of 28 bytes counted."""

HEADERS_BYTES = 28

UNANSWERED_BYTES = 6_000
"""In a minute, to where a check of a peer came from."""

MEMORY_MIB = 64

MOST_SHOWN = 5


class Tapped(Internet):
    """Remembers what came to whom, and counts what leaves for hosts that are nobody's."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.heard: deque[tuple[Host, Packet]] = deque(maxlen=REMEMBERED)
        self.to: Counter[tuple[Host, str]] = Counter()
        self.to_bytes: Counter[tuple[Host, str]] = Counter()
        self.strange: dict[tuple[Host, str], int] = {}
        self.aims = Aims(Random(f"aims {seed}"))
        self.withholds = False
        self.unanswered: set[bytes] = set()
        """Checks whose receiver could not read them yet, or was not there."""

    def _deliver(self, host: Host, packet: Packet) -> None:
        self.heard.append((host, packet))
        self.aims.note_heard(packet)
        sent = host.sent
        super()._deliver(host, packet)
        if host.sent == sent and stun.is_stun(packet.data):
            self.unanswered.add(packet.data)

    def send(self, host: Host, packet: Packet, now: float) -> None:
        key = (host, packet.destination.host)
        if packet.destination.host not in self._attachments[None]:
            self.to[key] += 1
            self.to_bytes[key] += len(packet.data)
            return
        if not self.withholds or not self.aims.is_withheld(packet):
            super().send(host, packet, now)
        elif len(self.aims.withheld) % 2:
            late = now + OVERTAKEN_BY_S
            self.at(late, lambda: super(Tapped, self).send(host, packet, late))


class Stage:
    """See the top of this file."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"fuzz {seed}")
        self.internet = Tapped(seed)
        self.village = Village(seed, internet=self.internet)
        self.alice: Member = self.village.member("alice", port=40000)
        self.bob: Member = self.village.member("bob", port=40001)
        self.guest: Member = self.village.member("guest", port=40002)
        self.captured: list[bytes] = []
        self.sent = 0
        self.raised: list[str] = []
        self._said = 0
        self._visits = 0
        self._lines: set[str] = set()
        self._memory_kib = 0
        self._connected: list[int] = []

    def meet(self) -> None:
        """All kinds of datagrams are said: also those that take a server's death."""
        internet = self.internet
        self.alice.start()
        self.bob.start()
        internet.run(5.0)
        for _ in range(3):
            self._talk("x" * self._random.choice((3, 3000)))
            internet.run(1.0)
        internet.run(60.0)
        self.village.kill_server()
        self.bob.kill()
        internet.run(1.0)
        self.bob.start()
        internet.run(40.0)
        self.captured += [packet.data for _, packet in internet.heard]
        self.village.start_server()
        internet.run(60.0)
        self.captured += [packet.data for _, packet in internet.heard]
        assert self.alice.is_online(self.bob), "they have not met"
        self._connected = [self._times_connected(each) for each in (self.alice, self.bob)]

    def attack(self, datagrams: int) -> None:
        """Between what they say to each other, and after."""
        random, internet = self._random, self.internet
        goal = self.sent + datagrams
        internet.withholds = True
        round_ = 0
        while self.sent < goal:
            round_ += 1
            if round_ % TALK_EVERY == 0:
                self._talk("and so on")
            if round_ % GUEST_EVERY == 0:
                self._visit()
            targets = [internet._attached[m.host] for m in (self.alice, self.bob)]
            targets.append(internet._attached[self.village.server_host])
            heard = list(internet.heard)
            registers = [(self.village.server_host, each) for each in internet.aims.heard]
            self._aim_withheld(targets[-1])
            for _ in range(min(AT_ONCE, goal - self.sent)):
                is_register = registers and random.random() < REGISTERS_OF_ALL
                host, packet = random.choice(registers if is_register else heard)
                target = random.choice(targets)
                if random.random() < 0.8:
                    target = next((t for t in targets if t.host is host), target)
                self._attack(target, packet, random.choice(heard)[1].data)
            internet.run(PAUSE_S)
            if self._memory_kib == 0 and self.sent > datagrams // 10:
                self._memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        internet.withholds = False

    def _visit(self) -> None:
        """The guest comes, or comes back: killed, or after a good-bye."""
        if self._visits:
            self.guest.kill() if self._random.random() < 0.5 else self.guest.stop()
        self._visits += 1
        if self._visits % RESTART_EVERY == 0:
            self.village.kill_server()
            self.village.start_server()
        self.guest.start()

    def _aim_withheld(self, server: Attached) -> None:
        while (aims := self.internet.aims).withheld:
            source = self._stranger(server)
            data = aims.take_withheld(source.host).data
            self._note_asked(server, source, len(data))
            self._say(server, data, source)

    def _attack(self, target: Attached, packet: Packet, other: bytes) -> None:
        random = self._random
        is_replay = random.random() < 0.05
        data = packet.data if is_replay else mutate(packet.data, random, [other])
        source = packet.source
        if random.random() < 0.5:
            source = self._stranger(target)
            is_question = data[:2] == b"\x00\x01" and stun.is_stun(data)
            if target.host is self.village.server_host and is_question:
                size = int((len(data) + HEADERS_BYTES) * SERVER_STUN_LARGER) - HEADERS_BYTES
            else:
                size = UNANSWERED_BYTES if data in self.internet.unanswered else len(data)
            self._note_asked(target, source, size)
        elif source.host == self.village.server_host.address and data != packet.data:
            self.internet.aims.note_forged(data)
        self._say(target, data, source)

    def _note_asked(self, target: Attached, source: Address, size: int) -> None:
        """`size`: of the largest answer that may come."""
        key = (target.host, source.host)
        self.internet.strange[key] = self.internet.strange.get(key, 0) + size

    def _say(self, target: Attached, data: bytes, source: Address) -> None:
        self.sent += 1
        try:
            target.core.receive_datagram(data, source, self.internet.now)
            self.internet._pump(target)
        except Exception as error:
            self.raised.append(f"{error!r} for {data.hex()} from {source}")

    def _stranger(self, target: Attached) -> Address:
        number = self._random.randrange(STRANGE_HOSTS)
        net = 200 + self._number(target)
        host = f"45.{net}.{number >> 8}.{number & 255}"
        return Address(host, self._random.randint(1024, 65535))

    def _number(self, target: Attached) -> int:
        """Each has strangers of its own."""
        return [self.alice.host, self.bob.host, self.village.server_host].index(target.host)

    def wrong(self) -> list[str]:
        """What should not have come of it."""
        wrong = self.raised[:MOST_SHOWN]
        internet = self.internet
        larger = [
            f"{host.name} answered {internet.to_bytes[host, place]} bytes to {asked} at {place}"
            for (host, place), asked in internet.strange.items()
            if internet.to_bytes[host, place] > asked
        ]
        wrong += larger[:MOST_SHOWN]
        wrong += internet.aims.wrong(self._spent)[:MOST_SHOWN]
        before = {m: len(m.texts()) for m in (self.alice, self.bob)}
        self._talk("still there?")
        if not internet.run_until(lambda: all(len(m.texts()) > before[m] for m in before), 5.0):
            wrong.append("nothing is heard any more")
        if not internet.run_until(lambda: self.alice.is_online(self.guest), MEETING_S):
            wrong.append("the guest is not met")
        for member, times in zip((self.alice, self.bob), self._connected, strict=True):
            if self._times_connected(member) != times:
                wrong.append(f"the session of {member.name} did not live through it")
            routes = len(member.node.shared.routes)
            if routes > 64:
                wrong.append(f"{member.name} keeps {routes} routes")
            texts = [text for text in member.texts() if text not in self._lines]
            if texts:
                wrong.append(f"{member.name} was told {texts[:MOST_SHOWN]}")
        grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._memory_kib) / 1024
        if self._memory_kib and grown_mib > MEMORY_MIB:
            wrong.append(f"memory has grown by {grown_mib:.0f} MiB")
        return wrong

    def dropped(self) -> Counter[str]:
        """By reason, at both members and the server."""
        found: Counter[str] = Counter()
        for member in (self.alice, self.bob):
            for counter in member.node.all_dropped.values():
                found += counter
        return found

    @property
    def answers(self) -> tuple[int, int]:
        """Datagrams and bytes that went to addresses that are nobody's, and had asked."""
        internet = self.internet
        asked = internet.strange
        return (
            sum(count for key, count in internet.to.items() if key in asked),
            sum(size for key, size in internet.to_bytes.items() if key in asked),
        )

    @property
    def aimed(self) -> tuple[int, int]:
        """To how many addresses members sent that had not asked them, and the most to one."""
        spent = self._spent
        return len(spent), max((packets for packets, _ in spent.values()), default=0)

    @property
    def _spent(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Packets and bytes, by who sent them and the host that had asked it nothing."""
        internet = self.internet
        return {
            (host.name, place): (packets, internet.to_bytes[host, place])
            for (host, place), packets in internet.to.items()
            if (host, place) not in internet.strange
        }

    def _talk(self, text: str) -> None:
        self._said += 1
        for one, other in ((self.alice, self.bob), (self.bob, self.alice)):
            line = f"{one.name} {self._said} {text}"
            self._lines.add(line)
            one.send(line, to=other)

    def _times_connected(self, member: Member) -> int:
        """Alice to Bob, and Bob to Alice."""
        connected = member.attached.events_of(events.PeerConnected)
        return sum(event.peer != self.guest.peer for event in connected)
