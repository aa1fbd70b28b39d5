"""Real processes in the hands of those they should not trust: floods, odd requests, curiosity."""

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from natd.control.request_fields import FIELDS
from natd.core.base.types import NetworkId
from natd.core.codec import rendezvous, rendezvous_codec, stun
from natd.core.keys.card import Card, Identity, seal_card
from natd.core.keys.membership_key import MembershipKey
from natd.core.keys.secrets import Prekey, network_key
from natd.core.network import greeting
from natd.ipc import RequestError
from tests.processes import Daemon, pair, until
from tests.promises import scaled
from tests.requirements import requires_root

OPEN_KEY = network_key("demo", b"")
"""Of the network that `pair` joins: everybody has it."""

FLOOD_S = float(scaled(5, 30))
FLOOD_RATE = scaled(6_000, 20_000)
"""Packets a second; fewer on a machine that does other things, too."""

MEMORY_MIB = 20.0

MOSTLY_S = scaled(3_000, 250) / 1000
"""In which 99 of 100 messages arrive meanwhile.  Generous where other tests run beside it."""

PASSPHRASE = "planted-9f3a61-correct horse"


def test_a_flood_of_every_kind_loses_no_message_and_no_memory(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    with pair(tmp_path) as (server, alice, bob):
        before = {process: process.memory_mib() for process in (server, bob)}
        with flooded(udp_port(bob), server.port) as flood:
            waits_s, said = chat_while(flood, alice)
        until(lambda: len(bob.texts()) >= len(said), 20)
        assert bob.texts() == said
        assert flood.sent > FLOOD_S * FLOOD_RATE / 4
        grown_mib = {each: each.memory_mib() - memory for each, memory in before.items()}
        for process, mib in grown_mib.items():
            assert mib < MEMORY_MIB
            assert "Traceback" not in process.log
        p99_s = sorted(waits_s)[int(0.99 * (len(waits_s) - 1))]
        measured(
            f"{flood.sent / FLOOD_S:,.0f} a second to a daemon and a server for {FLOOD_S:.0f} s: "
            f"p99 of {len(said)} messages {p99_s * 1000:.0f} ms, 0 lost, "
            f"memory + {max(grown_mib.values()):.1f} MiB"
        )
        assert p99_s < MOSTLY_S


def test_no_request_however_odd_is_a_defect(tmp_path: Path) -> None:
    chance = random.Random(20_262)
    with pair(tmp_path) as (_, alice, bob), bob.connect() as connection:
        alice.request("send", network="demo", text="100%_ \\ 'x'", wait_s=10)
        features = connection.request("hello")["features"]
        commands = [do for do in features if do not in ("shutdown", "leave", "join", "doctor")]
        for _ in range(1500):
            fields = {key: chance.choice(ODD_VALUES) for key in chance.sample(ODD_KEYS, 4)}
            for key in ("wait_s", "timeout_s"):
                fields[key] = chance.choice((-1, 0, 0.001, 1e-300, "1", True))
            fields["network"] = chance.choice(("demo", "demo", "demo", None, 5, "x"))
            code = error_code(connection, chance.choice(commands), fields)
            assert code not in ("internal", "storage", "malformed"), fields
        assert bob.texts() == ["100%_ \\ 'x'"]
        assert "Traceback" not in bob.log


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("%", 1),
        ("_", 1),
        ("\\", 1),
        ("'x'", 1),
        ("' OR 1=1 --", 0),
        ('" OR ""="', 0),
        ("*", 0),
        ("body:x NEAR(", 0),
        ("e" * 1024, 0),
    ],
)
def test_a_search_finds_what_it_says_and_nothing_else(
    search: str, found: int, chatted: Daemon
) -> None:
    assert len(chatted.request("history", network="demo", search=search)["messages"]) == found


@pytest.mark.parametrize(
    "fields",
    [
        {"search": "a\0"},
        {"search": "a" * 1025},
        {"search": "%" * 60_000},
        {"since_unix_s": 1e308},
        {"since_unix_s": -(10**40)},
        {"since_unix_s": 2**63},
    ],
    ids=["zero", "long", "very long", "an endless number", "a long number", "64 bits"],
)
def test_a_search_that_can_not_be_is_refused(fields: dict[str, Any], chatted: Daemon) -> None:
    with pytest.raises(RequestError) as caught:
        chatted.request("history", network="demo", **fields)
    assert caught.value.code == "usage"


@requires_root
def test_another_user_can_not_speak_with_it(chatted: Daemon) -> None:
    code = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
    )
    chatted.directory.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, str(chatted.socket)], capture_output=True, text=True
    )
    assert "PermissionError" in done.stderr


def test_a_secret_is_in_no_argument_environment_log_reply_or_event(tmp_path: Path) -> None:
    with pair(tmp_path) as (server, alice, bob):
        for daemon in (alice, bob):
            daemon.join("hidden", server.address, "carol", secret=PASSPHRASE)
        alice.wait(network="hidden")
        alice.request("send", network="hidden", text="between us", wait_s=10)
        with contextlib.suppress(RequestError):
            alice.request("join", network="hidden", servers=["nonsense"], secret=PASSPHRASE)
        key = network_key("hidden", PASSPHRASE.encode())
        told = [alice.log, bob.log, server.log]
        for do in ("status", "networks", "doctor", "config_show", "identity", "reload", "history"):
            of = {"network": "hidden"} if "network" in FIELDS[do] else {}
            told.append(json.dumps(alice.request(do, **of)))
        told += [json.dumps(event) for event in every_event(alice)]
        for process in (alice, bob, server):
            for name in ("cmdline", "environ"):
                told.append(Path(f"/proc/{process.pid}/{name}").read_bytes().decode("latin-1"))
        for text in told:
            assert PASSPHRASE not in text
            assert key.hex() not in text
        for file in (tmp_path / "alice").iterdir():
            if file.is_file():
                assert PASSPHRASE.encode() not in file.read_bytes()


# --- means


class Flood:
    """Packets of every kind to a daemon and to a server, from many sources."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self.sent = 0
        self._ports = ports
        self._pool = junk(random.Random(20_263))
        self._thread = threading.Thread(target=self._run)
        self._stopping = False

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            sources = []
            for number in range(8):
                source = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                source.bind((f"127.0.0.{number + 10}", 0))
                sources.append(source)
            began = time.monotonic()
            while (passed_s := time.monotonic() - began) < FLOOD_S and not self._stopping:
                for _ in range(min(500, int(passed_s * FLOOD_RATE) - self.sent)):
                    data = self._pool[self.sent % len(self._pool)]
                    port = self._ports[self.sent % len(self._ports)]
                    with contextlib.suppress(OSError):
                        sources[self.sent % len(sources)].sendto(data, ("127.0.0.1", port))
                    self.sent += 1
                time.sleep(0.002)


@contextlib.contextmanager
def flooded(*ports: int) -> Iterator[Flood]:
    flood = Flood(ports)
    flood.start()
    try:
        yield flood
    finally:
        flood.stop()


def chat_while(flood: Flood, alice: Daemon) -> tuple[list[float], list[str]]:
    """Say something, and wait until it has arrived, as long as the flood lasts; the waits and
    what was said."""
    waits_s: list[float] = []
    said: list[str] = []
    with alice.connect() as connection:
        while flood.is_running:
            text = f"line {len(said)}"
            began = time.monotonic()
            connection.request("send", network="demo", to="bob", text=text, wait_s=20)
            waits_s.append(time.monotonic() - began)
            said.append(text)
    return waits_s, said


def junk(chance: random.Random) -> list[bytes]:
    """What anybody can send who knows how we speak, and the name of an open network."""
    pool = [bytes([n % 256]) + chance.randbytes(n % 400) for n in range(1024)]
    tag, member = greeting.network_tag(OPEN_KEY), MembershipKey(OPEN_KEY)
    for _ in range(128):
        identity = Identity(chance.randbytes(32))
        prekey = Prekey(chance.randbytes(32)).public
        card = Card(identity.peer, identity.static_public, prekey, 5, f"n{chance.random()}")
        sealed = seal_card(card, identity, OPEN_KEY)
        register = rendezvous.Register(
            chance.randbytes(12), NetworkId(member.public), card.peer, 5, sealed, b"", (), ()
        )
        pool += [
            greeting.encode_greeting(greeting.Greeting(tag, sealed, wants_answer=True)),
            greeting.encode_greeting(greeting.Greeting(tag, chance.randbytes(300), False)),
            rendezvous_codec.encode_register(
                register, partial(identity.sign, rendezvous.REGISTER_LABEL), member.sign
            ),
            rendezvous_codec.encode(rendezvous.Sample(chance.randbytes(12))),
            stun.encode_binding_request(chance.randbytes(12), username=chance.randbytes(16)),
            stun.encode_binding_request(chance.randbytes(12), key=b"guessed"),
            b"\xc0\x00\x00\x00\x01\x14" + chance.randbytes(1190),
            b"\x40" + chance.randbytes(60),
        ]
    chance.shuffle(pool)
    return pool


ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**40, 1e308, -1e308, 0.5),
    *("", "x", "\0", "a" * 70, "a" * 60_000, "%_\\'\";--", "\x1b[2J", "\u202e", "#", "alice#"),
    *([], {}, [1], ["x"], [["x"]], {"a": 1}),
)
ODD_KEYS = (
    *("text", "to", "peer", "search", "since_unix_s", "limit", "purge", "servers", "nick"),
    *("peers", "accept_new_key", "types", "since", "cursor", "credit", "n", "ack", "client"),
)


def error_code(connection: Any, do: str, fields: dict[str, Any]) -> str | None:
    if do == "send" and fields.get("text") != "x":
        fields.pop("text", None)  # nothing is to be sent by chance
    if do == "block":
        fields["blocked"] = False
    try:
        connection.request(do, **fields)
    except RequestError as error:
        return error.code
    return None


def every_event(daemon: Daemon) -> list[dict[str, Any]]:
    with daemon.connect() as connection:
        last = connection.request("subscribe", types=[], since=0, credit=0)["last"]
    found = []
    with daemon.connect() as connection:
        for event in connection.events(since=0):
            found.append(event)
            if event["id"] >= last:
                return found
    return found


@pytest.fixture(scope="module")
def chatted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that has heard one message."""
    with pair(tmp_path_factory.mktemp("abuse")) as (_, alice, bob):
        alice.request("send", network="demo", text="100%_ \\ 'x'", wait_s=10)
        until(lambda: bob.texts() != [])
        yield bob


def udp_port(daemon: Daemon) -> int:
    return int(daemon.request("status")["self"]["udp"].rpartition(":")[2])
