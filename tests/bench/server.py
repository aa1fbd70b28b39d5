"""How many registrations a second the coordination server takes, and what a peer costs it.

    python -m tests.bench.server [--peers N] [--json] [--record FILE]

Three figures: the core alone with N peers in networks of ten (each comes from nowhere: two
REGISTERs and the introductions to its network), its memory per registered peer, and the real
process over loopback (refreshes of registered peers, a question and an answer each).
"""

import argparse
import contextlib
import gc
import json
import socket
import time
import tracemalloc
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from natd.core.base.types import Address, NetworkId
from natd.core.codec import rendezvous_codec
from natd.core.codec.rendezvous import REGISTER_LABEL, Challenge, Refresh, Register, Registered
from natd.core.coordinator.coordinator import Coordinator
from natd.core.keys.card import Identity
from natd.core.keys.membership_key import MembershipKey
from tests.bench.record import Figure, add_record_option, record
from tests.daemon.server_process import running

NETWORK_SIZE = 10
CARD = bytes(300)
"""As long as a usual card."""

WINDOW = 32
"""Refreshes under way at once: fewer than the smallest receive buffer holds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    add_record_option(parser)
    arguments = parser.parse_args()
    figures = {"peers": arguments.peers}
    figures |= measure_core(arguments.peers) | measure_process()
    if arguments.record:
        record(arguments.record, recorded(figures))
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"peers registered          {figures['peers']:>10,}  in networks of {NETWORK_SIZE}")
    print(f"registrations             {figures['registrations_a_second']:>10,.0f}  a second")
    print(f"introductions             {figures['introductions']:>10,}  pairs meanwhile")
    print(f"memory                    {figures['bytes_per_peer']:>10,.0f}  bytes a peer")
    print(f"refreshes, over loopback  {figures['refreshes_a_second']:>10,.0f}  a second")
    print(f"process, resident         {figures['process_mib']:>10.1f}  MiB")


def recorded(figures: dict[str, float]) -> dict[str, Figure]:
    return {
        "server: registrations": Figure(figures["registrations_a_second"], "a second", "more"),
        "server: memory a peer": Figure(figures["bytes_per_peer"], "bytes"),
        "server: refreshes": Figure(figures["refreshes_a_second"], "a second", "more"),
        "server: process": Figure(figures["process_mib"], "MiB"),
    }


def measure_core(peers: int) -> dict[str, float]:
    first = [_register(number, b"", 1000.0 + number / 1500) for number in range(peers)]
    random = Random(1)
    coordinator = Coordinator(random.randbytes(16), random)
    coordinator.set_clock(0.0, 0.0)
    tokens: list[bytes] = []
    began = time.perf_counter()
    for number, data in enumerate(first):
        coordinator.receive_datagram(data, _address(number), 1000.0 + number / 1500)
        answer = rendezvous_codec.decode(coordinator.datagrams_to_send()[-1].data)
        assert isinstance(answer, Challenge)
        tokens.append(answer.token)
    spent_s = time.perf_counter() - began
    # Signing is the peers' work, so it is not timed.
    now = 1000.0 + peers / 1500
    second = [_register(number, token, now) for number, token in enumerate(tokens)]
    began = time.perf_counter()
    for number, data in enumerate(second):
        coordinator.receive_datagram(data, _address(number), now)
        assert isinstance(
            rendezvous_codec.decode(coordinator.datagrams_to_send()[-1].data), Registered
        )
    spent_s += time.perf_counter() - began
    assert coordinator.lease_count == peers
    return {
        "registrations_a_second": peers / spent_s,
        "introductions": coordinator.counts["introduced"],
        "bytes_per_peer": _memory(second, now) / peers,
    }


def _memory(registers: list[bytes], now: float) -> int:
    """What a coordinator holds after all of these, by the interpreter's own count."""
    random = Random(1)
    gc.collect()
    tracemalloc.start()
    coordinator = Coordinator(random.randbytes(16), random)
    empty, _ = tracemalloc.get_traced_memory()
    for number, data in enumerate(registers):
        coordinator.receive_datagram(data, _address(number), now)
        coordinator.datagrams_to_send()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert coordinator.lease_count == len(registers)
    return held - empty


def measure_process() -> dict[str, float]:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory())
        server = stack.enter_context(running(Path(directory)))
        place = ("127.0.0.1", server.port)
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.connect(place)
        sock.settimeout(10.0)
        sock.send(_register(0, b"", time.time()))
        token = _answer(sock, Challenge).token
        sock.send(_register(0, token, time.time()))
        lease_id = _answer(sock, Registered).lease_id
        refresh = rendezvous_codec.encode(Refresh(bytes(12), lease_id))
        count, began = 0, time.perf_counter()
        for _ in range(WINDOW):
            sock.send(refresh)
        while time.perf_counter() - began < 3.0:
            sock.recv(2048)
            sock.send(refresh)
            count += 1
        spent_s = time.perf_counter() - began
        resident = psutil.Process(server.process.pid).memory_info().rss
    return {"refreshes_a_second": count / spent_s, "process_mib": resident / 2**20}


def _answer(sock: socket.socket, kind: type) -> Any:
    while not isinstance(message := rendezvous_codec.decode(sock.recv(2048)), kind):
        pass
    return message


def _register(number: int, token: bytes, unix_s: float) -> bytes:
    identity = Identity(number.to_bytes(32, "big"))
    member = MembershipKey((number // NETWORK_SIZE).to_bytes(16, "big"))
    register = Register(
        number.to_bytes(12, "big"),
        NetworkId(member.public),
        identity.peer,
        1,
        CARD,
        token,
        sent_at_unix_ms=int(unix_s * 1000),
    )
    return rendezvous_codec.encode_register(
        register, lambda part: identity.sign(REGISTER_LABEL, part), member.sign
    )


def _address(number: int) -> Address:
    return Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 40000)


if __name__ == "__main__":
    main()
