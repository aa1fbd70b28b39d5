"""A real server whose machine gets addresses, and loses them, while it runs."""

import asyncio

from tests.natlab.interpreter import python
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import SERVER_PORT, Programs
from tests.requirements import requires_nat

FOLLOWED_S = 10.0
"""A change is looked at within a second; a busy machine is slower."""

ASK_OTHER = """
import socket, sys
from natd.core.codec import stun
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(2.0)
sock.sendto(stun.encode_binding_request(bytes(12)), (sys.argv[1], int(sys.argv[2])))
other = stun.decode(sock.recv(2048)).get(stun.OTHER_ADDRESS)
print("none" if other is None else socket.inet_ntoa(other[4:8]))
"""
"""Which other address the server names to those who ask at this one (RFC 5780)."""


@requires_nat
def test_a_server_follows_the_addresses_of_its_machine(tmp_path):
    """What it had at its start was all that it ever named: a second address that came with the
    network, a moment later, was of no use, and one that had gone was named for ever."""
    with KernelInternet(hops=1) as lab:
        for name in ("server", "client"):
            lab.add_host(name)
        lab.start()
        first = lab.address("server")
        second = first.replace(".10", ".11")

        async def test():
            async with Programs(lab, tmp_path) as programs:
                await programs.start_server("server")
                assert other_of(lab, first) == "none"
                for change, named in (("add", second), ("del", "none"), ("add", second)):
                    lab.run("server", f"ip address {change} {second}/24 dev wan".split())
                    await until_named(lab, first, named)
                assert other_of(lab, second) == first

        asyncio.run(test())


async def until_named(lab: KernelInternet, asked: str, named: str) -> None:
    async with asyncio.timeout(FOLLOWED_S):
        while other_of(lab, asked) != named:
            await asyncio.sleep(0.2)


def other_of(lab: KernelInternet, asked: str) -> str:
    return lab.run("client", python("-c", ASK_OTHER, asked, str(SERVER_PORT))).strip()
