"""How long until the first message: a newcomer joins, speaks, and is read by the resident.

    python -m tests.bench.first_message [--runs 20] [--json] [--record FILE]

Real daemons in the TUN internet, 25 ms one way at each access, so every round trip is 100 ms
and one server allows no less than (R_A + R_B + R_AB) / 2 = 150 ms.  The clock starts when the
newcomer's first REGISTER comes to the TUN device and stops when the text is told from the
other daemon's event log.  `join` and `send` are given in one breath over IPC.  The variant in
which the resident speaks, as soon as its log tells of the newcomer, is half a round trip
longer: 200 ms.

Every run has a network, a newcomer's daemon and NAT tables that know nothing of the last.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.record import Figure, add_record_option, record
from tests.internet.nat import PORT_RESTRICTED
from tests.natlab.programs import Peer, Programs
from tests.natlab.tun_internet import TunInternet

ROUND_TRIP_MS = 100.0
NEWCOMER_LIMIT_MS = 1.5 * ROUND_TRIP_MS
RESIDENT_LIMIT_MS = 2.0 * ROUND_TRIP_MS

NEWCOMER_TARGET_MS = (180.0, 400.0)
"""Median and worst."""
RESIDENT_TARGET_MS = (230.0, 450.0)

SETTLED_S = 1.2
"""Until the resident has its answers from the sampling ports and the machine is quiet."""

STEP_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table."""

    pair: str
    speaker: str
    runs: int
    median_ms: float
    worst_ms: float
    limit_ms: float
    times_the_limit: float
    met: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A laboratory with alice and bob in it, and what makes its NATs forget."""

    lab: TunInternet
    newcomers_device: str
    forget: Callable[[], None]


def port_restricted(lab: TunInternet) -> Place:
    nats = [lab.fabric.add_nat(PORT_RESTRICTED, name=f"nat-{name}") for name in "ab"]
    for nat, name in zip(nats, ("alice", "bob"), strict=True):
        lab.fabric.add_host(nat, name=name)

    def forget() -> None:
        for nat in nats:
            lab.reboot(nat)

    return Place(lab, "bob", forget)


def kernel_masquerade(lab: TunInternet) -> Place:
    for name in ("alice", "bob"):
        lab.fabric.add_host(name=f"router-{name}")
        lab.put_behind_kernel_nat(name, f"router-{name}")

    def forget() -> None:
        for name in ("alice", "bob"):
            lab.run(f"router-{name}", ["conntrack", "-F"])

    return Place(lab, "router-bob", forget)


PAIRS = {
    "port-restricted x port-restricted": port_restricted,
    "kernel masquerade x masquerade": kernel_masquerade,
}


async def measure(pair: str, runs: int, *, resident_speaks: bool) -> list[float]:
    """Milliseconds of each run."""
    with tempfile.TemporaryDirectory(prefix="natd-bench-") as directory, TunInternet() as lab:
        place = PAIRS[pair](lab)
        lab.fabric.add_host(name="server")
        lab.start()
        async with Programs(lab, Path(directory)) as programs:
            await programs.start_server("server")
            alice = await programs.start_peer("alice")
            took = []
            for run in range(runs):
                took.append(await _one(place, programs, alice, run, resident_speaks))
            return took


async def _one(
    place: Place, programs: Programs, alice: Peer, run: int, resident_speaks: bool
) -> float:
    network = f"bench-{run}"
    place.forget()
    await alice.join(network, [programs.server])
    await alice.witness.wait_for("server_up", STEP_LIMIT_S, network=network)
    bob = await programs.start_peer("bob", state=f"bob-{run}")
    await asyncio.sleep(SETTLED_S)
    place.lab.watch(place.newcomers_device)
    if resident_speaks:
        speaking = asyncio.create_task(_speak_at_sight(alice, network))
        await bob.join(network, [programs.server])
        sent = await speaking
        listener = bob
    else:
        await bob.join(network, [programs.server])
        sent = await bob.client.send(network, "hello")
        listener = alice
    wanted = {"network": network, "message": sent["message"]}
    arrived_at, _ = await listener.witness.wait_for("message", STEP_LIMIT_S, **wanted)
    asked_at = place.lab.first_seen(place.newcomers_device)
    assert asked_at is not None
    await programs.stop_peer("bob")
    await alice.client.request("leave", network=network, purge=True)
    return (arrived_at - asked_at) * 1000.0


async def _speak_at_sight(alice: Peer, network: str) -> dict[str, Any]:
    await alice.witness.wait_for("peer_met", STEP_LIMIT_S, network=network)
    return await alice.client.send(network, "welcome")


def judge(pair: str, took_ms: list[float], *, resident_speaks: bool) -> Result:
    limit_ms = RESIDENT_LIMIT_MS if resident_speaks else NEWCOMER_LIMIT_MS
    target_ms, worst_target_ms = RESIDENT_TARGET_MS if resident_speaks else NEWCOMER_TARGET_MS
    median_ms, worst_ms = statistics.median(took_ms), max(took_ms)
    return Result(
        pair,
        "resident" if resident_speaks else "newcomer",
        len(took_ms),
        round(median_ms, 1),
        round(worst_ms, 1),
        limit_ms,
        round(median_ms / limit_ms, 2),
        median_ms <= target_ms and worst_ms <= worst_target_ms,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="time from a newcomer's REGISTER to a message")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    add_record_option(parser)
    arguments = parser.parse_args()
    results = []
    for pair in PAIRS:
        for resident_speaks in (False, True):
            took_ms = asyncio.run(measure(pair, arguments.runs, resident_speaks=resident_speaks))
            results.append(result := judge(pair, took_ms, resident_speaks=resident_speaks))
            if not arguments.json:
                print(
                    f"{result.pair:36} {result.speaker:9} speaks  "
                    f"median {result.median_ms:6.1f} ms  worst {result.worst_ms:6.1f} ms  "
                    f"{result.times_the_limit:.2f} x limit of {result.limit_ms:.0f} ms  "
                    f"{'ok' if result.met else 'MISSED'}",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps({"v": 1, "results": [asdict(result) for result in results]}))
    if arguments.record:
        record(arguments.record, figures(results))
    return 0 if all(result.met for result in results) else 1


def figures(results: Iterable[Result]) -> dict[str, Figure]:
    return {
        f"first message: {result.pair}, {result.speaker} speaks, {name}": Figure(value, "ms")
        for result in results
        for name, value in (("median", result.median_ms), ("worst", result.worst_ms))
    }


if __name__ == "__main__":
    sys.exit(main())
