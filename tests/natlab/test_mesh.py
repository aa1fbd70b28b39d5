"""A dozen real daemons in one network, each on a host of its own: sessions and packets."""

import asyncio

from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Programs
from tests.requirements import requires_nat

MEMBERS = 12

PATIENCE_S = 120.0

QUIET_S = 25.0
"""Longer than a newer card takes to be told, and a keepalive lasts."""


@requires_nat
def test_a_dozen_daemons_meet_each_other_once_by_few_packets_and_are_quiet_then(tmp_path, measured):
    with KernelInternet(hops=1) as lab:
        names = [f"m{number}" for number in range(MEMBERS)]
        for name in ("server", *names):
            lab.add_host(name)
        lab.start()
        asyncio.run(meet(lab, tmp_path, names, measured))


async def meet(lab, directory, names, measured):
    pairs = MEMBERS * (MEMBERS - 1) // 2
    async with Programs(lab, directory) as programs:
        await programs.start_server("server")
        peers = [await programs.start_peer(name) for name in names]
        before = sent(lab, names)
        await asyncio.gather(*(peer.join("mesh", [programs.server]) for peer in peers))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(
                *(
                    peer.client.request(
                        "wait",
                        network="mesh",
                        peers=MEMBERS - 1,
                        timeout_s=PATIENCE_S,
                        waiting_s=PATIENCE_S,
                    )
                    for peer in peers
                )
            )
        to_meet = (sent(lab, names) - before) / pairs
        await asyncio.sleep(QUIET_S)
        after = (sent(lab, names) - before) / pairs - to_meet
        measured(f"{to_meet:.0f} packets a pair until they have met, {after:.0f} in the next 25 s")
        for peer in peers:
            came = [event["peer"]["id"] for event in peer.witness.all_of("peer_online")]
            assert len(came) == len(set(came)) == MEMBERS - 1
            assert peer.witness.all_of("peer_offline") == []
        assert to_meet <= 120, "with those to the server"
        assert after <= 40


def sent(lab, names):
    """UDP datagrams that have left these hosts."""
    total = 0
    for name in names:
        for table in ("/proc/net/snmp", "/proc/net/snmp6"):
            for line in lab.run(name, ["cat", table]).splitlines():
                words = line.split()
                if words[0] == "Udp:" and words[1].isdigit():
                    total += int(words[4])
                elif words[0] == "Udp6OutDatagrams":
                    total += int(words[1])
    return total
