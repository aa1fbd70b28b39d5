"""Real daemons chat while the network between them changes, and nothing that they say is lost.

All pairs chat at once, side by side in one laboratory; each is struck by one thing after another,
the next when the last is mended.  Half of them have lost their server before.  "Late" is from a
line's being said to its being in the other's event log; `pytest -s` prints how late lines were.

How late they are at worst, in many more cells, is held in virtual time by
`tests/core/node/test_survival.py`; the limits here are for a machine that does other things.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from natctl.demo.witness import NotToldError
from tests.internet.fabric import Gateway
from tests.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    LINUX,
    LINUX_ACCEPTING,
    PORT_RESTRICTED,
    SYMMETRIC_RANDOM,
    NatPolicy,
    Ports,
)
from tests.natlab.programs import Peer, Programs
from tests.natlab.tun_internet import TunInternet
from tests.promises import scaled
from tests.requirements import requires_tun

SECRET = "00112233445566778899aabbccddeeff"
"""Only in a secret network may an attempt cost what a random NAT demands."""

NAMES = ("alice", "bob")

EVERY_S = 0.4
"""Between two lines of one speaker: gaps are known so exactly."""

STARTS_AT_ONCE = 4
"""More would only wait for one another's processor."""

MEET_LIMIT_S = 40.0

SETTLE_S = 3.0
"""Before the first strike, and after each one is mended."""

MENDED_S = 10.0
GUESSED_S = 20.0
"""Where a port has to be guessed, after two rounds of checks."""

OUTAGE_S = 5.0
"""How long a router takes to come back."""

AFTER_OUTAGE_S = 15.0

AGE_S = 33.0
"""Of a mapping at its end.  Mobile carriers have 48 to 75 s; after a first loss a daemon expects
the earliest of these and replaces each mapping at 29 s, which 33 shows as well as 60, sooner."""

AGED_S = 2.0
"""Past that age."""

IDLE_S = 30.0
SILENCE_S = 36.0

ON_ITS_WAY_S = 1.0

PATIENCE_S = 10.0
"""Beyond the limit, to see how late it is."""

HEARD_LIMIT_S = 60.0
"""For what was said last."""

FLUSHES = scaled(6, 30)
"""One after the other, some five seconds apart."""

WHOLE_LIMIT_S = 240.0


# --- what happens ------------------------------------------------------------------------------


async def rebinding(chat: "Chat") -> None:
    """Alice's NAT forgets its mappings."""
    chat.lab.reboot(chat.router)


async def renumbering(chat: "Chat") -> None:
    """Alice's provider gives her another address."""
    chat.lab.renumber(chat.router)


async def reboot(chat: "Chat") -> None:
    """Alice's router is gone for a while, and comes back with an empty table."""
    chat.lab.connect(chat.router.name, False)
    chat.lab.reboot(chat.router)
    await asyncio.sleep(OUTAGE_S)
    chat.lab.connect(chat.router.name)


async def mapping_becomes_random(chat: "Chat") -> None:
    """Alice's provider puts a NAT of another class, which knows nothing, in the old one's place."""
    chat.lab.change_policy(chat.router, SYMMETRIC_RANDOM)
    chat.lab.reboot(chat.router)


async def mapping_becomes_independent(chat: "Chat") -> None:
    chat.lab.change_policy(chat.router, PORT_RESTRICTED)
    chat.lab.reboot(chat.router)


async def first_age(chat: "Chat") -> None:
    """Alice's NAT ends mappings at an age, and those of now have it."""
    policy = chat.case.nats[0]
    chat.lab.change_policy(chat.router, replace(policy, absolute_age_s=AGE_S))
    chat.lab.reboot(chat.router)


async def second_age(chat: "Chat") -> None:
    """What was mended is of that age, too."""
    await asyncio.sleep(AGE_S + AGED_S)


async def silence(chat: "Chat") -> None:
    """For longer than the NATs keep what is not used."""
    chat.speaks.clear()
    await asyncio.sleep(SILENCE_S)
    chat.speaks.set()


Strike = Callable[["Chat"], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Case:
    """Two behind their NATs, in a network of this name: what strikes them, and how late a line may
    be then."""

    name: str
    nats: tuple[NatPolicy, NatPolicy]
    strikes: tuple[tuple[Strike, float], ...]
    has_server: bool = True


OTHER_PORTS = replace(PORT_RESTRICTED, ports=Ports.RANDOM)
"""Endpoint-independent, but a mapping that is made again has another port."""

BRIEF = replace(PORT_RESTRICTED, timeout_s=IDLE_S)
BRIEF_RANDOM = replace(SYMMETRIC_RANDOM, timeout_s=IDLE_S)

AGES = ((first_age, MENDED_S), (second_age, MENDED_S))

CASES = (
    Case(
        "port",
        (OTHER_PORTS, PORT_RESTRICTED),
        (
            (rebinding, MENDED_S),
            (renumbering, MENDED_S),
            (reboot, OUTAGE_S + AFTER_OUTAGE_S),
            (mapping_becomes_random, GUESSED_S),
        ),
    ),
    Case(
        "port-alone",
        (OTHER_PORTS, PORT_RESTRICTED),
        (
            (rebinding, GUESSED_S),
            (reboot, OUTAGE_S + GUESSED_S),
            (mapping_becomes_random, GUESSED_S),
        ),
        has_server=False,
    ),
    Case(
        "linux",
        (LINUX_ACCEPTING, LINUX),
        (
            (rebinding, MENDED_S),
            (renumbering, MENDED_S),
            (reboot, OUTAGE_S + AFTER_OUTAGE_S),
        ),
    ),
    Case(
        "linux-alone",
        (LINUX_ACCEPTING, LINUX),
        ((rebinding, MENDED_S), (reboot, OUTAGE_S + AFTER_OUTAGE_S)),
        has_server=False,
    ),
    Case(
        "random",
        (SYMMETRIC_RANDOM, PORT_RESTRICTED),
        (
            (rebinding, GUESSED_S),
            (renumbering, GUESSED_S),
            (reboot, OUTAGE_S + GUESSED_S),
            (mapping_becomes_independent, MENDED_S),
        ),
    ),
    Case(
        "random-alone",
        (SYMMETRIC_RANDOM, PORT_RESTRICTED),
        ((rebinding, GUESSED_S), (reboot, OUTAGE_S + GUESSED_S)),
        has_server=False,
    ),
    Case("flushed", (OTHER_PORTS, LINUX), ((rebinding, MENDED_S),) * FLUSHES),
    Case("cone-alone", (PORT_RESTRICTED, FULL_CONE), ((renumbering, MENDED_S),), has_server=False),
    Case("age", (OTHER_PORTS, PORT_RESTRICTED), AGES),
    Case("age-alone", (OTHER_PORTS, ADDRESS_RESTRICTED), AGES, has_server=False),
    Case("idle", (BRIEF_RANDOM, BRIEF), ((silence, MENDED_S),)),
    Case("idle-alone", (BRIEF_RANDOM, BRIEF), ((silence, MENDED_S),), has_server=False),
)


@requires_tun
def test_what_strikes_a_chat_of_real_daemons_is_mended_and_nothing_is_lost(tmp_path, measured):
    with TunInternet(seed=1) as lab:
        chats = [Chat(lab, case) for case in CASES]
        lab.fabric.add_host(name="living")
        lab.fabric.add_host(name="dying")
        lab.start()
        asyncio.run(live_through_it(lab, tmp_path, chats))
    strikes = sum(len(case.strikes) for case in CASES)
    measured(f"{strikes} strikes at {len(CASES)} pairs of real daemons: nothing lost")
    print("\nsaid  late at worst  what happened")
    for chat in chats:
        for told in chat.told():
            print(told)
    assert {chat.case.name: chat.wrong() for chat in chats} == {case.name: [] for case in CASES}


async def live_through_it(lab, directory, chats):
    async with asyncio.timeout(WHOLE_LIMIT_S), Programs(lab, directory) as programs:
        servers = {}
        for host in ("living", "dying"):
            await programs.start_server(host)
            servers[host] = programs.server
        starting = asyncio.Semaphore(STARTS_AT_ONCE)
        await asyncio.gather(*(chat.begin(programs, servers, starting) for chat in chats))
        programs.kill("dying")
        await asyncio.gather(*(chat.live_through() for chat in chats))


# --- helpers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """What somebody has said, and when (time.time)."""

    speaker: str
    said_at: float
    message: str
    text: str


@dataclass(frozen=True)
class Struck:
    """When (time.time) and by what, and how late a line may be from then on."""

    at: float
    by: str
    limit_s: float


class Chat:
    """Two daemons, each line with its number, and when each was heard."""

    def __init__(self, lab: TunInternet, case: Case) -> None:
        self.lab = lab
        self.case = case
        self.speaks = asyncio.Event()
        """Cleared while nobody says anything."""
        self.router: Gateway
        self._peers: dict[str, Peer] = {}
        self._said: dict[str, list[Line]] = {name: [] for name in NAMES}
        self._strikes: list[Struck] = []
        self._is_over = False
        self._ended_at = 0.0
        for name, policy in zip(NAMES, case.nats, strict=True):
            nat = lab.fabric.add_nat(policy, name=f"nat-{self._host(name)}")
            lab.fabric.add_host(nat, name=self._host(name))
            if name == NAMES[0]:
                self.router = nat

    # --- what happens ---

    async def begin(
        self, programs: Programs, servers: dict[str, str], starting: asyncio.Semaphore
    ) -> None:
        """Both come and meet."""
        for name in NAMES:
            async with starting:
                peer = await programs.start_peer(self._host(name))
            peer.name = name
            self._peers[name] = peer
            server = servers["living" if self.case.has_server else "dying"]
            await peer.join(self.case.name, [server], SECRET)
        for peer in self._peers.values():
            await peer.witness.wait_for("peer_online", MEET_LIMIT_S)

    async def live_through(self) -> None:
        """Both chat while it strikes, and afterwards until all that was said was heard."""
        self.speaks.set()
        async with asyncio.TaskGroup() as speakers:
            for name in NAMES:
                speakers.create_task(self._speak(name))
            await asyncio.sleep(SETTLE_S)
            for strike, limit_s in self.case.strikes:
                self._strikes.append(Struck(time.time(), strike.__name__, limit_s))
                await strike(self)
                await self._is_mended(limit_s + PATIENCE_S)
                await asyncio.sleep(SETTLE_S)
            self._is_over = True
        self._ended_at = time.time()
        await asyncio.gather(
            *(self._is_heard(self._said[name][-1], HEARD_LIMIT_S) for name in NAMES)
        )

    # --- what came of it ---

    def told(self) -> list[str]:
        """A line for each strike."""
        return [
            f"{len(lines):4}  {self._late_s(lines):11.2f} s  {self.case.name}: {struck.by}"
            for struck, lines in self._since_each_strike()
        ]

    def wrong(self) -> list[str]:
        """What is lost, doubled, out of order or too late."""
        wrong = []
        for name in NAMES:
            said = [line.text for line in self._said[name]]
            heard = [event["text"] for event in self._heard(name)]
            if heard != said:
                wrong.append(f"{len(heard)} heard of {len(said)} that {name} said, or not in order")
        for struck, lines in self._since_each_strike():
            if (late_s := self._late_s(lines)) > struck.limit_s:
                wrong.append(f"{struck.by}: {late_s:.1f} s late, load {os.getloadavg()[0]:.1f}")
        return wrong

    # --- private ---

    def _host(self, name: str) -> str:
        return f"{name}-{self.case.name}"

    async def _speak(self, name: str) -> None:
        while not self._is_over:
            await self.speaks.wait()
            text, said_at = f"{name} {len(self._said[name])}", time.time()
            sent = await self._peers[name].client.send(self.case.name, text, to=other(name))
            self._said[name].append(Line(name, said_at, sent["message"], text))
            await asyncio.sleep(EVERY_S)

    async def _is_mended(self, limit_s: float) -> None:
        """Until what each says next was heard, or until it is clear that it is late."""
        counts = {name: len(self._said[name]) for name in NAMES}
        while any(len(self._said[name]) == count for name, count in counts.items()):
            await asyncio.sleep(0.05)
        await asyncio.gather(
            *(self._is_heard(self._said[name][count], limit_s) for name, count in counts.items())
        )

    async def _is_heard(self, line: "Line", limit_s: float) -> None:
        witness = self._peers[other(line.speaker)].witness
        with contextlib.suppress(NotToldError):
            await witness.wait_for("message", limit_s, message=line.message)

    def _heard(self, speaker: str) -> list[dict[str, Any]]:
        """What the other's event log has of this one, in its order."""
        return self._peers[other(speaker)].witness.all_of("message")

    def _since_each_strike(self) -> "list[tuple[Struck, list[Line]]]":
        """And before the next; what was on its way when it struck is late by it, too."""
        lines = [line for name in NAMES for line in self._said[name]]
        starts = [struck.at - ON_ITS_WAY_S for struck in self._strikes]
        ends = [*starts[1:], self._ended_at]
        return [
            (struck, [line for line in lines if start <= line.said_at < end])
            for struck, start, end in zip(self._strikes, starts, ends, strict=True)
        ]

    def _late_s(self, lines: "list[Line]") -> float:
        """Of the latest one; of one that was never heard, until all were given up."""
        heard_at = {
            event["message"]: datetime.fromisoformat(event["ts"]).timestamp()
            for name in NAMES
            for event in self._heard(name)
        }
        given_up_at = self._ended_at + HEARD_LIMIT_S
        return max((heard_at.get(x.message, given_up_at) - x.said_at for x in lines), default=0.0)


def other(name: str) -> str:
    return NAMES[1 - NAMES.index(name)]
