"""A goodbye leaves by the socket whose path it ends, before that socket is closed."""

import asyncio

from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import Programs
from tests.requirements import requires, requires_nat

MEET_LIMIT_S = 40.0
GONE_LIMIT_S = 8.0
"""A peer that only falls silent is given up after more than ten seconds."""


@requires_nat
@requires("command:conntrack")
def test_who_leaves_by_a_helpers_path_is_known_to_have_left(tmp_path):
    """The helper was closed first, and the goodbye left by another port, which nobody knew."""
    with KernelInternet() as lab:
        lab.add_nat("nat-alice", "fully-random")
        lab.add_host("alice", behind="nat-alice")
        lab.add_nat("nat-bob")
        lab.add_host("bob", behind="nat-bob")
        lab.add_host("server")
        lab.start()
        asyncio.run(leave(lab, tmp_path))


async def leave(lab, directory):
    async with Programs(lab, directory) as programs:
        bob, alice = await programs.meet("bob", "alice", limit_s=MEET_LIMIT_S)
        (path,) = [row["path"] for row in (await alice.client.request("peers"))["peers"]]
        assert path["socket"] == "helper"
        await alice.client.request("leave", network="demo")
        _, gone = await bob.witness.wait_for("peer_offline", GONE_LIMIT_S)
        # The session's end may overtake the goodbye; either comes by that socket alone.
        assert gone["reason"] in ("said goodbye", "session ended: closed by the peer")
