"""A server that speaks an older protocol, and what a real daemon says of it."""

import asyncio
import subprocess

from natd.core.base.verdict import VerdictCode
from tests.natlab.interpreter import python
from tests.natlab.kernel_internet import KernelInternet
from tests.natlab.programs import SERVER_PORT, Programs
from tests.requirements import requires_nat

TOLD_S = 10.0

OLD_SERVER = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
while True:
    data, source = sock.recvfrom(2048)
    sock.sendto(bytes((5, 1, 11)) + data[3:15] + bytes(4), source)
"""
"""Answers each question in version 1: magic, version, type, transaction."""


@requires_nat
def test_an_older_server_is_named_by_status_and_doctor_with_what_to_update(tmp_path):
    """It was told in the reason of `server_down` alone, and `doctor` said that UDP is blocked."""
    with KernelInternet(hops=1) as lab:
        for name in ("server", "alice"):
            lab.add_host(name)
        lab.start()
        command = python("-c", OLD_SERVER, str(SERVER_PORT))
        old = lab.popen("server", command, stdout=subprocess.PIPE)
        assert old.stdout.readline()

        async def test():
            async with Programs(lab, tmp_path) as programs:
                alice = await programs.start_peer("alice")
                await alice.join("demo", [f"{lab.address('server')}:{SERVER_PORT}"])
                _, down = await alice.witness.wait_for("server_down", TOLD_S)
                assert down["code"] == VerdictCode.OTHER_VERSION
                [problem] = (await alice.client.request("status"))["problems"]
                assert problem["verdict_code"] == VerdictCode.OTHER_VERSION
                doctor = await alice.client.request("doctor")
                assert doctor["verdict_code"] == VerdictCode.OTHER_VERSION
                [failed] = [check for check in doctor["checks"] if not check["ok"]]
                for text in (down["reason"], problem["text"]):
                    assert "speaks an older version of natd" in text
                    assert "update the server" in text
                assert "speaks an older version of natd" in failed["text"]
                assert failed["hint"] == "update the server"

        asyncio.run(test())
