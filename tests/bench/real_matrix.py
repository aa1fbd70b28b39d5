"""A cell of the matrix with real daemons: the TUN internet, userspace NATs or the kernel's.

A laboratory and its server serve all runs of a cell.  Every run has two daemons that have never
run before, NAT tables that know nothing and a network of its own; the daemons are forked from one
that has loaded its modules (`tests/natlab/nursery.py`), which is all that a run has in common with
the last.  The clock starts when the newcomer's first packet comes to the TUN device, and stops
when the text is told from the resident's event log.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import yaml

from natctl.demo.witness import NotToldError
from tests.bench.cells import Cell
from tests.bench.figures import Run
from tests.bench.real_grounds import NAMES, PORTS, Ground, ground_of
from tests.natlab.nursery import Nurseries
from tests.natlab.programs import Peer, Programs

SECRET = "a secret of the bench"
"""Of a network that has one."""

QUIET_S = 0.25
"""After the resident is listed: its samples are back by then, and nothing else is to be said."""

STEP_LIMIT_S = 10.0

MAPPED_POLL_S = 0.05

LATE_S = 2.0
"""What is waited for beyond the time that counts: the machine has other work."""


def play(lab_name: str, cell: Cell, runs: range) -> list[Run]:
    """These runs of a cell, one after the other, in the laboratory `real` or `kernel`."""
    return asyncio.run(_play(lab_name, cell, runs))


async def _play(lab_name: str, cell: Cell, runs: range) -> list[Run]:
    with tempfile.TemporaryDirectory(prefix="natd-bench-") as name:
        directory = Path(name)
        ground = ground_of(lab_name, cell, runs.start)
        with ground.lab as lab:
            ground.start(directory)
            _configure(directory, cell)
            async with Programs(Nurseries(lab), directory) as programs:
                await programs.start_server("server")
                return [await _played(ground, programs, run) for run in runs]


def _configure(directory: Path, cell: Cell) -> None:
    """The daemons' configuration, where `Programs` has them look for it."""
    maps = bool(cell.resident.mapped_by or cell.newcomer.mapped_by)
    settings = {"paths": {"port_mapping": maps, "fill_blocks": cell.fill_blocks}}
    path = directory / "config" / "natd" / "natd.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(settings))


async def _played(ground: Ground, programs: Programs, run: int) -> Run:
    """A run in which a daemon did not even do what comes before the meeting is one that failed."""
    try:
        return await _one(ground, programs, run)
    except NotToldError as error:
        print(f"{ground.cell.name}, run {run}: {error}", file=sys.stderr)
        for name in NAMES:
            await programs.drop_peer(name)
        return Run(None)


async def _one(ground: Ground, programs: Programs, run: int) -> Run:
    network = f"bench-{run}"
    cell, lab = ground.cell, ground.lab
    secret = SECRET if cell.is_secret else None
    await asyncio.to_thread(ground.forget)
    alice, bob = await asyncio.gather(
        programs.start_peer("alice", f"alice-{run}", port=PORTS[0]),
        programs.start_peer("bob", f"bob-{run}", port=PORTS[1]),
    )
    await alice.join(network, [programs.server], secret)
    await alice.witness.wait_for("server_up", STEP_LIMIT_S, network=network)
    await asyncio.sleep(QUIET_S)
    for peer, side in ((alice, cell.resident), (bob, cell.newcomer)):
        if side.mapped_by:
            await _mapped(peer, side.mapped_by)
    before = ground.entries()
    lab.forget_peaks()
    if cell.is_early:
        ground.arrange_early(run)
    lab.watch(ground.devices[1])
    asked_at = time.monotonic()
    await bob.join(network, [programs.server], secret)
    sent = await bob.client.send(network, "hello")
    limit_s = cell.target.within_s + LATE_S
    arrived_at = told_at = None
    if cell.wants_verdict:
        told_at = await _told_at(cell, alice, bob, limit_s)
        arrived = alice.witness.first("message", message=sent["message"])
        arrived_at = arrived[0] if arrived else None
    else:
        arrived_at = await _arrived_at(alice, sent["message"], limit_s)
    began = lab.first_seen(ground.devices[1])
    # Who is blocked may have said nothing that came to the device.
    began = asked_at if began is None else began
    counts = lab.counts()
    after = ground.entries()
    online = bob.witness.first("peer_online")
    told = [e for peer in (alice, bob) for e in peer.witness.all_of("verdict")[-1:]]
    await asyncio.gather(programs.drop_peer("alice"), programs.drop_peer("bob"))
    return Run(
        took_s=None if arrived_at is None else arrived_at - began,
        verdict_s=None if told_at is None else told_at - began,
        entries=max((after[nat] - before[nat] for nat in after), default=0),
        packets_a_second=max(counts["peaks"].get(name, 0) for name in ground.devices),
        technique=str(online[1]["path"]["technique"]) if online and arrived_at else "",
        codes=() if arrived_at else tuple(str(event["code"]) for event in told),
    )


async def _mapped(peer: Peer, protocol: str) -> None:
    """Until the router has mapped its port."""
    deadline = time.monotonic() + STEP_LIMIT_S
    while True:
        checks = (await peer.client.request("doctor", peer=None))["checks"]
        if any(c["name"] == "router" and f" {protocol}, " in (c["detail"] or "") for c in checks):
            return
        assert time.monotonic() < deadline, f"{peer.name}'s port was never mapped: {checks}"
        await asyncio.sleep(MAPPED_POLL_S)


async def _arrived_at(alice: Peer, message: str, limit_s: float) -> float | None:
    try:
        at, _ = await alice.witness.wait_for("message", limit_s, message=message)
    except NotToldError:
        return None
    return at


async def _told_at(cell: Cell, alice: Peer, bob: Peer, limit_s: float) -> float | None:
    """When the last of those who can be told was told the truth."""
    code = str(cell.truth)
    if cell.newcomer.blocks_udp:
        waits = [bob.witness.wait_for("server_down", limit_s, code=code)]
    else:
        waits = [peer.witness.wait_for("verdict", limit_s, code=code) for peer in (alice, bob)]
    try:
        told = await asyncio.gather(*waits)
    except NotToldError:
        return None
    return max(at for at, _ in told)
