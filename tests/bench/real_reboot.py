"""A router restarts while every server is dead, with real daemons: truth for `reboot.py`.

The NATs are those of `tests/internet/nat.py` over TUN devices, or the kernel's own, which
masquerade, and whose flows are forgotten.  A laboratory serves all runs of a cell, one after the
other; each has two daemons that have never run before, and a server that is killed.

What the daemons tell of themselves is the measure: both have met when each has heard the other
since the restart and looks for it no more; a side has noticed when it asks for an introduction.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from natctl.demo.witness import NotToldError
from natd.core.base.verdict import VerdictCode
from natd.ipc import RequestError
from tests.bench.reboot import ALICE, BOB, NOBODY, PATIENCE_S, RANDOM_PORTS, Cell, Outcome
from tests.core.world.chat import EVERY_S, NAMES
from tests.natlab.nursery import Nurseries
from tests.natlab.programs import Peer, Programs
from tests.natlab.tun_internet import TunInternet

NETWORK = "bench"
MEET_LIMIT_S = 20.0
SETTLED_S = 3.0
LATE_S = 15.0
"""How much later than the server's death a router restarts, at most."""

POLL_S = 0.1
UNDER_WAY_S = 0.3
"""What is heard so soon after the restart was sent before it; the daemons tell tenths of it."""

REAL_CELLS = (
    Cell("random ports, she speaks", speakers=ALICE, dead_for_s=SETTLED_S),
    Cell("random ports, the other speaks", speakers=BOB, dead_for_s=SETTLED_S),
    Cell("random ports, both idle", speakers=NOBODY, dead_for_s=SETTLED_S),
    Cell("random ports, daemon restarted", speakers=BOB, restarts=True, dead_for_s=SETTLED_S),
    Cell("random ports, both routers", both_routers=True, dead_for_s=SETTLED_S),
)
"""With userspace NATs."""

FLAVOURS = {"masquerade": "", "masquerade random": "random", "fully-random": "fully-random"}

KERNEL_CELLS = tuple(
    Cell(f"{flavour}, {who}", speakers=speakers, dead_for_s=SETTLED_S)
    for flavour in FLAVOURS
    for who, speakers in (("she speaks", ALICE), ("the other speaks", BOB), ("both idle", NOBODY))
)
"""Alice's router masquerades like this, bob's plainly."""


@dataclass(frozen=True, slots=True)
class _Ground:
    lab: TunInternet
    forget: dict[str, Callable[[], object]]
    """By side: its router restarts."""


def play(lab_name: str, cell: Cell, runs: int) -> list[Outcome]:
    """So many runs of a cell in the laboratory `real` or `kernel`."""
    return asyncio.run(_play(lab_name, cell, runs))


async def _play(lab_name: str, cell: Cell, runs: int) -> list[Outcome]:
    ground = _kernel(cell) if lab_name == "kernel" else _userspace()
    with tempfile.TemporaryDirectory(prefix="natd-bench-") as name, ground.lab as lab:
        lab.start()
        async with Programs(Nurseries(lab), Path(name)) as programs:
            return [await _one(ground, programs, cell, run) for run in range(runs)]


def _userspace() -> _Ground:
    lab = TunInternet()
    forget: dict[str, Callable[[], object]] = {}
    for name in NAMES:
        router = lab.fabric.add_nat(RANDOM_PORTS, name=f"nat-{name}")
        lab.fabric.add_host(router, name=name)
        forget[name] = partial(lab.reboot, router)
    lab.fabric.add_host(name="server")
    return _Ground(lab, forget)


def _kernel(cell: Cell) -> _Ground:
    lab = TunInternet()
    flavour = FLAVOURS[cell.name.partition(",")[0]]
    forget: dict[str, Callable[[], object]] = {}
    for name, how in zip(NAMES, (flavour, ""), strict=True):
        router = f"nat-{name}"
        lab.fabric.add_host(name=router)
        lab.put_behind_kernel_nat(name, router, how)
        forget[name] = partial(lab.run, router, ["conntrack", "-F"])
    lab.fabric.add_host(name="server")
    return _Ground(lab, forget)


async def _one(ground: _Ground, programs: Programs, cell: Cell, run: int) -> Outcome:
    random = Random(f"{cell.name} {run}")
    for forget in ground.forget.values():
        forget()
    await programs.start_server("server")
    peers = {name: await programs.start_peer(name, f"{name}-{run}") for name in NAMES}
    for peer in peers.values():
        await peer.join(NETWORK, [programs.server])
    for peer in peers.values():
        await peer.witness.wait_for("peer_online", MEET_LIMIT_S)
    said: dict[str, list[str]] = {name: [] for name in NAMES}
    async with _speaking(peers, cell.speakers, said, random):
        await asyncio.sleep(SETTLED_S)
        programs.kill("server")
        await asyncio.sleep(cell.dead_for_s + random.uniform(0.0, LATE_S))
        if cell.restarts:
            await programs.drop_peer("alice")
        for name in NAMES if cell.both_routers else ALICE:
            ground.forget[name]()
        back_at = time.monotonic()
        if cell.restarts:
            peers["alice"] = await programs.start_peer("alice", f"alice-{run}")
        met_at = await _met_at(peers, cell, back_at)
        noticed = [await _steps_at(peers[name], "asked-introduction") for name in NAMES]
    wrong = 0
    if met_at is not None:
        for name, peer in peers.items():
            await _say(peer, said[name])
        wrong = sum([await _is_wrong(peers, name, said) for name in NAMES])
    told = [peer.witness.first("verdict", code=str(VerdictCode.MOVED)) for peer in peers.values()]
    for name in NAMES:
        await programs.drop_peer(name)
    from_reboot_s = PATIENCE_S if met_at is None else met_at - back_at
    since = [min((at for at in each if at > back_at), default=back_at) for each in noticed]
    from_noticed_s = max(0.0, back_at + from_reboot_s - max(since))
    verdict_s = None if None in told else max(at for at, _ in filter(None, told)) - back_at
    codes = frozenset([VerdictCode.MOVED] if verdict_s is not None else [])
    return Outcome(from_reboot_s, from_noticed_s, wrong, verdict_s, codes)


@contextlib.asynccontextmanager
async def _speaking(
    peers: dict[str, Peer], speakers: Sequence[str], said: dict[str, list[str]], random: Random
) -> AsyncIterator[None]:
    """These say a line every few seconds."""

    async def speak(name: str) -> None:
        while True:
            await _say(peers[name], said[name])
            await asyncio.sleep(random.uniform(*EVERY_S))

    tasks = [asyncio.create_task(speak(name)) for name in speakers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _say(peer: Peer, said: list[str]) -> None:
    other = NAMES[1 - NAMES.index(peer.name)]
    sent = await peer.client.send(NETWORK, f"{peer.name} {len(said)}", to=other)
    said.append(sent["message"])


async def _met_at(peers: dict[str, Peer], cell: Cell, back_at: float) -> float | None:
    """When both had a path that answers; None: they don't meet, or both know that they can't."""
    while time.monotonic() < back_at + PATIENCE_S:
        await asyncio.sleep(POLL_S)
        if all([await _is_reached(peers[name], back_at) for name in NAMES]):
            return time.monotonic()
        code = str(VerdictCode.MOVED)
        if cell.both_routers and all(p.witness.first("verdict", code=code) for p in peers.values()):
            return None
    return None


async def _is_reached(peer: Peer, back_at: float) -> bool:
    reply = await peer.client.request("peers", network=NETWORK)
    heard_s = next((row["last_seen_s"] for row in reply["peers"]), None)
    if heard_s is None or time.monotonic() - heard_s < back_at + UNDER_WAY_S:
        return False
    asked = await _steps_at(peer, "asked-introduction")
    found = await _steps_at(peer, "path")
    return max(asked, default=0.0) < max(found, default=0.0)


async def _steps_at(peer: Peer, step: str) -> list[float]:
    """The instants at which it did this to reach the other (time.monotonic())."""
    other = NAMES[1 - NAMES.index(peer.name)]
    try:
        reply = await peer.client.request("doctor", peer=other, network=NETWORK)
    except RequestError:  # a daemon that was restarted has not met it yet
        return []
    attempt: dict[str, Any] = reply["attempt"] or {"age_s": 0.0, "steps": []}
    began = time.monotonic() - (attempt["age_s"] or 0.0)
    return [began + each["at_s"] for each in attempt["steps"] if each["step"] == step]


async def _is_wrong(peers: dict[str, Peer], name: str, said: dict[str, list[str]]) -> bool:
    """Whether a line of this one is lost, doubled or out of order."""
    other = peers[NAMES[1 - NAMES.index(name)]]
    with contextlib.suppress(NotToldError):
        await other.witness.wait_for("message", PATIENCE_S, message=said[name][-1])
    heard = [e["message"] for e in other.witness.all_of("message") if e["message"] in said[name]]
    return heard != said[name]
