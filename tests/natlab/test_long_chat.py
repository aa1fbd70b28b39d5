"""Real daemons over a bad network, killed again and again, with front ends attached and killed.

Everything that was accepted arrives once and in order, and a front end with a cursor is given each
event once: what it had acknowledged before it was killed does not come again, and what it had not
comes once more, at most as much as it had taken and not acknowledged.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from natd.ipc import Client
from tests.internet.fabric import Weather
from tests.internet.nat import PORT_RESTRICTED
from tests.natlab.programs import Peer, Programs
from tests.natlab.tun_internet import TunInternet
from tests.promises import scaled
from tests.requirements import requires_tun

LOSS = 0.05

BURST = 50

HEALED_S = 60.0

NAMES = ("alice", "bob")

BOT = """
import sys
from natd.ipc import Connection
with Connection({socket!r}, timeout_s=60) as connection:
    stream = connection.events(types=["message"], since={since}, cursor="bot")
    for event in stream:
        sys.stdout.write(f"{{event['id']}} {{event['text']}}\\n")
        sys.stdout.flush()
        stream.acknowledge()
"""
"""A front end that acknowledges each message as soon as it has written it down."""


@requires_tun
def test_kills_of_both_ends_and_of_a_front_end_lose_and_double_nothing(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    kills, messages = scaled(8, 200), scaled(800, 10_000)
    with TunInternet(seed=7, weather=Weather(loss=LOSS)) as lab:
        for name in NAMES:
            lab.fabric.add_host(lab.fabric.add_nat(PORT_RESTRICTED, name=f"nat-{name}"), name=name)
        lab.fabric.add_host(name="server")
        lab.start()
        slowest = asyncio.run(chat_through_kills(lab, tmp_path, kills, messages))
    measured(
        f"{kills} kills, {2 * messages} messages at {LOSS:.0%} loss: 0 lost, 0 doubled; "
        f"back within {slowest:.1f} s"
    )


async def chat_through_kills(lab: TunInternet, directory: Path, kills: int, messages: int) -> float:
    chance = random.Random(1)
    bursts = messages // BURST
    deadly = sorted(chance.choices(range(1, bursts), k=kills))
    slowest = 0.0
    async with Programs(lab, directory) as programs:
        await programs.start_server("server")
        peers = {name: await programs.start_peer(name) for name in NAMES}
        for peer in peers.values():
            await peer.join("demo", [programs.server])
        for peer in peers.values():
            await peer.client.request("wait", network="demo", peers=1, timeout_s=30)
        programs.kill("server")
        bot = Bot(lab, "bob", peers["bob"], directory / "bot")
        said: dict[str, list[str]] = {name: [] for name in NAMES}
        for burst in range(bursts):
            victims = [chance.choice(NAMES) for _ in range(deadly.count(burst))]
            for name in NAMES:
                await say(peers[name], name, burst, said[name])
            for name in victims:
                await asyncio.sleep(chance.random() * 0.05)
                programs.kill(name)
                await programs.stop_peer(name)
                if name == "bob":
                    bot.kill()
                began = time.monotonic()
                peers[name] = await programs.start_peer(name)
                if name == "bob":
                    bot.start(peers["bob"])
                await peers[name].client.request("wait", network="demo", peers=1, timeout_s=60)
                slowest = max(slowest, time.monotonic() - began)
            if burst % 7 == 3:
                bot.kill()
                bot.start(peers["bob"])
        for name, other in (NAMES, NAMES[::-1]):
            expected = said[name]
            texts = await heard(peers[other], len(expected))
            assert texts == expected, first_difference(texts, expected)
        await until(lambda: len(bot.texts()) >= len(said["alice"]), HEALED_S)
        bot.kill()
        ids = [number for number, _ in bot.lines()]
        assert ids == sorted(ids), "never back"
        again = len(ids) - len(set(ids))
        assert again <= bot.kills, "at most the one event that was under way, once a kill"
        assert list(dict.fromkeys(bot.texts())) == said["alice"]
    return slowest


async def say(peer: Peer, name: str, burst: int, said: list[str]) -> None:
    """Each line under a name of its own, so that asking again doubles nothing."""
    for number in range(BURST):
        text = f"{name} {burst} {number}"
        await peer.client.request("send", network="demo", text=text, id=text.replace(" ", "-"))
        said.append(text)


async def heard(peer: Peer, count: int) -> list[str]:
    """The texts of all messages that have come, once there are as many as these."""
    deadline = time.monotonic() + HEALED_S
    while True:
        events = await all_messages(peer)
        if len(events) >= count or time.monotonic() > deadline:
            await asyncio.sleep(1.0)
            return [event["text"] for event in await all_messages(peer)]
        await asyncio.sleep(0.3)


async def all_messages(peer: Peer) -> list[dict[str, Any]]:
    """Every message in its event log up to now."""
    async with Client(peer.socket, timeout_s=60.0) as client:
        last = (await client.request("subscribe", types=[], since=0, credit=0))["last"]
    found: list[dict[str, Any]] = []
    if last == 0:
        return found
    async with Client(peer.socket, timeout_s=60.0) as client:
        async for event in client.events(since=0):
            if event["type"] == "message":
                found.append(event)
            if event["id"] >= last:
                break
    return found


async def until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def first_difference(got: list[str], wanted: list[str]) -> str:
    pairs = zip(got, wanted, strict=False)
    at = next((number for number, (one, other) in enumerate(pairs) if one != other), len(wanted))
    return f"{len(got)} of {len(wanted)}; at {at}: {got[at : at + 3]}, not {wanted[at : at + 3]}"


class Bot:
    """A front end in a process of its own, which is killed; what it has written down stays."""

    def __init__(self, lab: TunInternet, host: str, peer: Peer, path: Path) -> None:
        self._lab, self._host, self._path = lab, host, path
        self.kills = 0
        self._is_first = True
        self.start(peer)

    def start(self, peer: Peer) -> None:
        since = 0 if self._is_first else None
        self._is_first = False
        code = BOT.format(socket=str(peer.socket), since=since)
        with self._path.open("ab") as file:
            self._process = self._lab.popen(
                self._host, [sys.executable, "-c", code], stdout=file, stderr=file
            )

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self.kills += 1

    def lines(self) -> list[tuple[int, str]]:
        whole = [line.partition(" ") for line in self._path.read_text().splitlines()]
        return [(int(number), text) for number, _, text in whole if number.isdigit()]

    def texts(self) -> list[str]:
        return [text for _, text in self.lines()]
