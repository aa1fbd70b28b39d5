"""natctl with the real daemon: two peers and a server on loopback, by the documented JSON."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from natd.core.network.own_card import SETTLES_S
from tests.processes import end, free_ports

ROOT = Path(__file__).resolve().parents[2]

STATUS_KEYS = {"v", "version", "mode", "pid", "uptime_s", "self", "networks", "problems"}
PEER_KEYS = {
    "nick",
    "id",
    "tag",
    "trust",
    "state",
    "path",
    "verdict",
    "queued",
    "last_seen_s",
}
PATH_KEYS = {"kind", "address", "rtt_ms", "technique", "age_s"}


class Pair:
    """Alice and bob, each with a daemon that natctl started, and their server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_ports(4)
        self.server = subprocess.Popen(
            [sys.executable, "-m", "natd", "--server", str(self.port)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )

    def natctl(self, who: str, *arguments: str, code: int = 0) -> str:
        home = self._directory / who
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NATD_SOCKET": str(home / "run" / "control.sock"),
            "NATD_STATE_DIR": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
        }
        done = subprocess.run(
            [sys.executable, "-m", "natctl", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def json(self, who: str, *arguments: str) -> Any:
        return json.loads(self.natctl(who, "--json", *arguments))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    try:
        for who in ("alice", "bob"):
            join = ["join", "demo", "--server", f"127.0.0.1:{pair.port}", "--name", who, "-q"]
            pair.natctl(who, *join)
        pair.natctl("alice", "wait", "demo", "--peers", "1", "--timeout", "30")
        pair.natctl("bob", "wait", "--timeout", "30")
        yield pair
    finally:
        end(pair.server)
        for who in ("alice", "bob"):
            pair.natctl(who, "shutdown")


def test_status_and_peers_have_the_documented_shape(pair: Pair) -> None:
    status = pair.json("alice", "status")
    assert set(status) >= STATUS_KEYS
    assert status["mode"] == "peer"
    assert set(status["self"]) >= {"nick", "id", "udp", "observed", "nat"}
    (network,) = status["networks"]
    assert network["name"] == "demo"
    assert network["peers"] == {"known": 1, "connected": 1}
    assert set(network["servers"][0]) >= {"address", "state", "rtt_ms", "last_answer_s"}
    assert pair.natctl("alice", "status", "--check").startswith("natd ")

    reply = pair.json("alice", "peers", "demo")
    (bob,) = reply["peers"]
    assert (reply["v"], reply["network"]) == (1, "demo")
    assert set(bob) >= PEER_KEYS
    assert (bob["nick"], bob["state"], bob["trust"]) == ("bob", "online", "new")
    assert set(bob["path"]) >= PATH_KEYS


def test_a_message_is_sent_delivered_and_shown_once_by_a_cursor(pair: Pair) -> None:
    pair.natctl("bob", "tail", "--cursor", "bot")
    sent = pair.json("alice", "send", "demo", "hi", "--wait", "20")
    bob = pair.json("bob", "identity")
    assert (sent["v"], sent["accepted"], sent["network"]) == (1, True, "demo")
    assert (sent["delivered"], sent["queued"]) == ([bob["id"]], [])

    message = pair.json("bob", "tail", "--cursor", "bot")
    assert set(message) >= {"v", "id", "ts", "type", "network", "from", "message", "kind", "text"}
    assert (message["type"], message["text"]) == ("message", "hi")
    assert message["message"] == sent["message"]
    assert message["ts"].endswith("Z")
    assert set(message["from"]) >= {"nick", "id", "trust"}
    assert pair.natctl("bob", "tail", "--cursor", "bot") == ""


def test_a_message_to_one_peer_is_private_to_both(pair: Pair) -> None:
    pair.natctl("bob", "tail", "--cursor", "private")
    pair.natctl("alice", "send", "demo", "psst", "--to", "bob", "--wait", "20")
    pair.natctl("alice", "send", "demo", "to all", "--wait", "20")
    shown = pair.natctl("bob", "tail", "--cursor", "private").splitlines()
    assert [line.partition("  demo  ")[2] for line in shown] == [
        "alice in private  psst",
        "alice  to all",
    ]
    rows = pair.json("alice", "history", "demo", "-n", "2")["messages"]
    assert [row["kind"] for row in rows] == ["private", "text"]
    assert pair.natctl("alice", "history", "demo", "--search", "psst").endswith(
        "alice in private ✓  psst\n"
    )


def test_the_log_tells_of_the_join_and_the_path(pair: Pair) -> None:
    shown = pair.natctl("bob", "--json", "events", "--since", "0", "-n", "3")
    events = [json.loads(line) for line in shown.splitlines()]
    assert [event["id"] for event in events] == [1, 2, 3]
    (online,) = (
        json.loads(line)
        for line in pair.natctl(
            "bob", "--json", "events", "--types", "peer_online", "--since", "0", "-n", "1"
        ).splitlines()
    )
    assert set(online["path"]) >= PATH_KEYS
    assert online["connect_ms"] > 0


def test_ping_doctor_history_and_the_rest_answer(pair: Pair) -> None:
    assert pair.json("alice", "ping", "bob")["rtt_ms"] > 0
    doctor = pair.natctl("alice", "doctor", "-v", "bob")
    assert "path found: lan " in doctor
    assert doctor.splitlines()[-1] == "All is well."
    # What bob's NAT does he tells in a further card, SETTLES_S after he has learned it.
    until = time.monotonic() + 4 * SETTLES_S
    while "NAT, theirs: none: " not in (shown := pair.natctl("alice", "peers", "-v")):
        assert time.monotonic() < until, shown
    pair.natctl("bob", "send", "--to", "alice", "for you", "--wait", "20")
    (message,) = pair.json("alice", "history", "--search", "for you")["messages"]
    assert (message["direction"], message["from"]["nick"]) == ("in", "bob")
    assert pair.json("alice", "networks")["networks"][0]["open"] is True
    assert pair.json("alice", "config", "show")["config"]["limits"]["message_bytes"] == 16384
    assert pair.json("alice", "reload")["reloaded"] is True


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("send", "demo", "--to", "nobody", "hi"), 1),
        (("send", "nowhere", "hi"), 1),
        (("send", "demo", ""), 1),
        (("send", "demo", "x" * 20_000), 1),
        (("ping", "nobody"), 1),
        (("peers", "nowhere"), 1),
        (("doctor", "--network", "nowhere"), 1),
        (("leave", "nowhere"), 1),
        (("join", "demo", "--server", "no port"), 2),
        (("join", "de mo\n", "--server", "127.0.0.1:9"), 2),
        (("join", "demo", "--server", "127.0.0.1:9", "--name", "\x1b[31m"), 2),
        (("join", "fresh"), 2),
        (("join", "fresh", "--lan", "--server", "127.0.0.1:9"), 2),
        (("wait", "demo", "--peers", "5", "--timeout", "0.2"), 5),
        (("trust", "nobody", "--accept-new-key"), 1),
        (("forget", "nobody"), 1),
        (("history", "--peer", "nobody"), 1),
        (("tail", "--cursor", "x" * 100), 2),
    ],
)
def test_what_can_not_be_done_has_its_exit_code(
    pair: Pair, arguments: tuple[str, ...], code: int
) -> None:
    assert pair.natctl("alice", *arguments, code=code) == ""


def test_the_daemon_answers_while_its_server_is_dead(pair: Pair) -> None:
    pair.server.kill()
    pair.server.wait(10)
    began = time.monotonic()
    sent = pair.json("alice", "send", "demo", "still there?", "--wait", "20")
    assert len(sent["delivered"]) == 1
    assert time.monotonic() - began < 5.0


def test_doctor_of_a_connected_peer_is_content_although_every_server_is_lost(pair: Pair) -> None:
    """It failed, with the verdict of a machine that reaches nobody and with what would help."""
    pair.server.kill()
    pair.server.wait(10)
    limit = time.monotonic() + 60.0
    while pair.json("alice", "status")["networks"][0]["servers"][0]["state"] != "lost":
        assert time.monotonic() < limit
        time.sleep(0.2)
    reply = pair.json("alice", "doctor", "bob")
    assert (reply["notes"], reply["helps"], reply["verdict_code"]) == (["server"], [], None)
    shown = pair.natctl("alice", "doctor", "-v", "bob")
    tag = reply["peer"]["tag"]
    assert shown.splitlines()[-1] == (
        f"bob#{tag} is connected directly; other checks failed: server."
    )
    assert "note  server" in shown
    pair.natctl("alice", "doctor", code=1)
