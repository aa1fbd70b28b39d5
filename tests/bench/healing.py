"""Two Linux routers on one segment lose what a path needs, with the kernel's own NAT, as root.

    python -m tests.bench.healing [--runs 25] [CELL …]

Two daemons behind routers with nothing between them have met; then a router forgets its flows, or
both change what they do with packets to themselves.  At that instant each says a line, or one of
them; the figure is the time until all lines have arrived, in seconds.  Every run has daemons that
have never run before and routers that know nothing.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

from natctl.demo.witness import NotToldError
from tests.bench.record import Figure, add_record_option, record
from tests.core.world.chat import NAMES
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.nursery import Nurseries
from tests.natlab.programs import Programs

RUNS = 100
ALICE, BOB = NAMES[:1], NAMES[1:]
MEET_LIMIT_S = 20.0
HEAL_LIMIT_S = 30.0
WITHIN_S = 3.0
SETTLED_S = 1.0
LATE_S = 2.0
"""How long after the meeting it happens, at least, and how much later at most."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What happens to the two routers."""

    name: str
    forgets: tuple[str, ...] = NAMES
    """Whose router forgets every flow."""
    accepts: bool = True
    """Whether they take what comes to themselves, to begin with."""
    changes: bool = False
    """Whether they do the other thing from then on."""
    docker: bool = False
    """Containers behind a bridge on two machines, by Docker's default rules."""
    speakers: tuple[str, ...] = NAMES


CELLS = (
    Cell("accepting, hers forgets", ALICE),
    Cell("accepting, the other's forgets", BOB),
    Cell("accepting, both forget"),
    Cell("accepting, hers forgets, she speaks", ALICE, speakers=ALICE),
    Cell("accepting, hers forgets, other speaks", ALICE, speakers=BOB),
    Cell("accepting, both forget, she speaks", speakers=ALICE),
    Cell("dropping, hers forgets", ALICE, accepts=False),
    Cell("dropping, both forget", accepts=False),
    Cell("accepting, then dropping", (), changes=True),
    Cell("accepting, then dropping, both forget", changes=True),
    Cell("dropping, then accepting, both forget", accepts=False, changes=True),
    Cell("Docker's rules, one machine forgets", ALICE, docker=True),
    Cell("Docker's rules, both forget", docker=True),
)


async def play(cell: Cell, runs: int) -> list[float | None]:
    """So many runs: seconds until all lines had arrived; None: not within `HEAL_LIMIT_S`."""
    lab = _laboratory(cell)
    with tempfile.TemporaryDirectory(prefix="natd-bench-") as name, lab:
        lab.start()
        async with Programs(Nurseries(lab), Path(name)) as programs:
            await programs.start_server("server")
            return [await _one(lab, programs, cell, run) for run in range(runs)]


def _laboratory(cell: Cell) -> KernelInternet:
    lab = KernelInternet(hops=0)
    for name in NAMES:
        if cell.docker:
            lab.add_docker(_router(name))
        else:
            lab.add_nat(_router(name), accepts_input=cell.accepts)
        lab.add_host(name, behind=_router(name))
    lab.add_host("server")
    return lab


async def _one(lab: KernelInternet, programs: Programs, cell: Cell, run: int) -> float | None:
    random = Random(f"{cell.name} {run}")
    if cell.changes:
        _take_input(lab, cell.accepts)
    for name in NAMES:
        lab.flush(_router(name))
    network = f"bench-{run}"
    peers = {name: await programs.start_peer(name, f"{name}-{run}") for name in NAMES}
    for peer in peers.values():
        await peer.join(network, [programs.server])
    for peer in peers.values():
        await peer.witness.wait_for("peer_online", MEET_LIMIT_S)
    await asyncio.sleep(SETTLED_S + random.uniform(0.0, LATE_S))
    if cell.changes:
        _take_input(lab, not cell.accepts)
    for name in cell.forgets:
        lab.flush(_router(name))
    began = time.monotonic()
    told = []
    for name in cell.speakers:
        sent = await peers[name].client.send(network, "still there?")
        other = peers[NAMES[1 - NAMES.index(name)]]
        told.append(other.witness.wait_for("message", HEAL_LIMIT_S, message=sent["message"]))
    arrived = await asyncio.gather(*told, return_exceptions=True)
    for name in NAMES:
        await programs.drop_peer(name)
    at: list[float] = []
    for each in arrived:
        if isinstance(each, NotToldError):
            return None
        if isinstance(each, BaseException):
            raise each
        at.append(each[0])
    return max(at) - began


def _take_input(lab: KernelInternet, accepts: bool) -> None:
    """From now on both routers accept what comes to themselves, or drop it."""
    rule = f'iifname "wan" ct state new {"accept" if accepts else "drop"}'
    for name in NAMES:
        lab.run(_router(name), ["nft", "flush", "chain", "ip", "natd_lab", "input"])
        lab.run(_router(name), ["nft", "add", "rule", "ip", "natd_lab", "input", rule])


def _router(name: str) -> str:
    return f"nat-{name}"


def line(name: str, took_s: list[float | None]) -> str:
    """A row of the table."""
    healed = sorted(each for each in took_s if each is not None)
    middle = f"{median(healed):6.2f} {healed[-1]:6.2f}" if healed else f"{'-':>6} {'-':>6}"
    soon = sum(each <= WITHIN_S for each in healed)
    return f"{name:40} {middle} {soon:4} of {len(took_s):3}  {len(healed):4}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="of each cell")
    parser.add_argument("cells", nargs="*", help="only cells whose names contain one of these")
    add_record_option(parser)
    given = parser.parse_args()
    print(f"{'':40} {'median':>6} {'worst':>6} in {WITHIN_S:.0f} s       healed")
    figures: dict[str, Figure] = {}
    for cell in CELLS:
        if given.cells and not any(part in cell.name for part in given.cells):
            continue
        took_s = asyncio.run(play(cell, given.runs))
        print(line(cell.name, took_s), flush=True)
        soon = sum(each is not None and each <= WITHIN_S for each in took_s)
        figures[f"healing: {cell.name}"] = Figure(round(soon / len(took_s), 3), "share")
    if given.record:
        record(given.record, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
