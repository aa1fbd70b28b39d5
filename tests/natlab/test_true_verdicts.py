"""`natctl doctor PEER --json` in every cell where no path can be: its verdict is the lab's policy.

All cells stand side by side in one laboratory, each with a network of its own: a verdict takes up
to ten seconds, and waiting takes no processor.
"""

import asyncio
import json
import os
import subprocess
from dataclasses import dataclass

import yaml

from natd.core.base.verdict import Help, VerdictCode
from tests.bench.cells import Cell
from tests.bench.grounds import lay_out, way_out
from tests.bench.rows import BLOCK, PORT, ROWS, VERDICT
from tests.natlab.interpreter import python
from tests.natlab.programs import Programs
from tests.natlab.tun_internet import TunInternet
from tests.requirements import requires_tun

SECRET = "00112233445566778899aabbccddeeff"

STEP_LIMIT_S = 20.0
"""For a server's answer, where a dozen daemons start at once."""

VERDICT_LIMIT_S = 25.0
"""Ten seconds, and what further observations may correct."""

LOOK_EVERY_S = 1.0

WHOLE_LIMIT_S = 60.0

NATS_HELP = {Help.PORT_MAPPING, Help.FORWARDED_PORT, Help.IPV6, Help.SAME_LAN}

HELPS = {
    VerdictCode.BOTH_RANDOM: NATS_HELP,
    VerdictCode.SEQUENTIAL_RANDOM: NATS_HELP,
    VerdictCode.BLOCKS_SPARED: NATS_HELP | {Help.FILL_BLOCKS},
    VerdictCode.NO_HAIRPIN: {Help.INNER_PORT_MAPPING, Help.SAME_LAN, Help.IPV6},
    VerdictCode.UDP_BLOCKED: {Help.FIREWALL, Help.SERVER},
    VerdictCode.NO_SERVER: {Help.SERVER},
}
"""By what is in the way, all that would help there."""

OF_THE_TABLE = {cell.name: cell for row in ROWS for cell in row.cells}


@dataclass(frozen=True, slots=True)
class Case:
    """Two in a cell, and what the lab's policy says that each of them has to be told."""

    name: str
    cell: Cell
    truth: VerdictCode
    asks: tuple[str, ...] = ("alice", "bob")
    """Who can be told: a peer whose UDP is blocked was never heard of."""
    has_server: bool = True


def of_the_table(name: str, cell: str, *asks: str) -> Case:
    found = OF_THE_TABLE[cell]
    return Case(name, found, found.truth, asks or ("alice", "bob"))


CASES = (
    of_the_table("random", "hopeless: random x random"),
    of_the_table("counted", "hopeless: random x sequential"),
    of_the_table("homes", "homes: home x home"),
    of_the_table("blocked", "blocked: port-restricted x UDP blocked", "bob"),
    Case(
        "spared",
        Cell("spared", BLOCK, BLOCK, VERDICT, fill_blocks="none"),
        VerdictCode.BLOCKS_SPARED,
    ),
    Case(
        "noserver", Cell("no server", PORT, PORT, VERDICT), VerdictCode.NO_SERVER, has_server=False
    ),
)


@requires_tun
def test_doctor_tells_the_truth_in_every_cell_where_no_path_can_be(tmp_path):
    with TunInternet(seed=1) as lab:
        for case in CASES:
            settle(lab.fabric, case)
        lab.fabric.add_host(name="server")
        lab.fabric.add_host(name="dead")
        lab.start()
        told = asyncio.run(ask_everywhere(lab, tmp_path))
    assert {name: codes for name, (codes, _, _) in told.items()} == {
        f"{who} in {case.name}": str(case.truth) for case in CASES for who in case.asks
    }
    for name, (code, exit_code, reply) in told.items():
        helps = {each["code"] for each in reply["helps"]}
        assert helps == {str(each) for each in HELPS[VerdictCode(code)]}, name
        assert exit_code == 1, name
        assert reply["path"] is None
        assert reply["why"] in reply["verdict"][0].lower() + reply["verdict"][1:]


def settle(fabric, case):
    """Both at their places."""
    gateways = lay_out(fabric, case.cell)
    for who, gateway in zip(("alice", "bob"), gateways, strict=True):
        host = fabric.add_host(gateway, name=f"{who}-{case.name}")
        if who == "bob" and case.cell.newcomer.blocks_udp:
            way_out(host)[0].blocks_udp = True


async def ask_everywhere(lab, directory):
    """By who was asked where: the code, natctl's exit code, and its answer."""
    async with asyncio.timeout(WHOLE_LIMIT_S), Programs(lab, directory) as programs:
        await programs.start_server("server")
        told = await asyncio.gather(
            *(ask(lab, directory / case.name, case, programs.server) for case in CASES)
        )
    return {name: answer for each in told for name, answer in each.items()}


async def ask(lab, directory, case, server):
    settings = directory / "config" / "natd" / "natd.yaml"
    settings.parent.mkdir(parents=True)
    paths = {"port_mapping": False, "fill_blocks": case.cell.fill_blocks}
    settings.write_text(yaml.safe_dump({"paths": paths}))
    async with Programs(lab, directory) as programs:
        alice, bob = await asyncio.gather(
            *(programs.start_peer(f"{who}-{case.name}") for who in ("alice", "bob"))
        )
        peers = {"alice": alice, "bob": bob}
        for who, peer in peers.items():
            peer.name = who
            asked = server
            if not case.has_server:
                # Another network's server does answer: it is not UDP that is blocked.
                await peer.join(f"living-{who}", [server], SECRET)
                asked = f"{lab.address('dead')}:8080"
            await peer.join(case.name, [asked], SECRET)
            if who == "alice" and case.has_server:
                await peer.witness.wait_for("server_up", STEP_LIMIT_S, network=case.name)
        return dict(
            zip(
                (f"{who} in {case.name}" for who in case.asks),
                await asyncio.gather(*(verdict(case, peers, who) for who in case.asks)),
                strict=True,
            )
        )


async def verdict(case, peers, who):
    """What natctl says once it says the truth twice in a row, or when it has had the time."""
    other = "bob" if who == "alice" else "alice"
    loop = asyncio.get_running_loop()
    limit = loop.time() + VERDICT_LIMIT_S
    code = None
    while True:
        before = code
        done = await asyncio.to_thread(doctor, peers[who].socket, case.name, other)
        reply = json.loads(done.stdout or done.stderr)
        code = reply.get("verdict_code")
        if before == code == str(case.truth) or loop.time() > limit:
            return code, done.returncode, reply
        await asyncio.sleep(LOOK_EVERY_S)


def doctor(socket, network, peer):
    command = python("-m", "natctl", "doctor", peer, "--network", network, "--json")
    environment = os.environ | {"NATD_SOCKET": str(socket)}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
