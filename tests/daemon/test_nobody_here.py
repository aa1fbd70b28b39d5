"""A message for nobody is refused once a server has told who is there, and waits before."""

from pathlib import Path
from typing import Any

import pytest

from natd.core.base.types import NetworkId, PeerId
from natd.daemon.outgoing import nobody_here
from natd.ipc import RequestError
from natd.storage.address_book import JoinedNetwork, KnownPeer
from tests.daemon.test_sent_once import natctl
from tests.processes import Daemon, Server, free_ports, pair, until

NETWORK = JoinedNetwork(NetworkId(b"n" * 16), "demo", b"", "me", (), True)


def test_once_a_server_has_listed_nobody_a_message_is_refused_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    with Server(tmp_path / "server") as server, Daemon(tmp_path / "alice") as alice:
        alice.join("demo", server.address, "alice")
        until(lambda: alice.events("server_up") != [])
        refused = natctl(alice, "send", "demo", "for whom?")
        assert refused.returncode == 1
        assert "nobody else is in demo yet" in refused.stderr
        assert "natctl wait" in refused.stderr
        assert alice.request("history")["messages"] == []
        with Daemon(tmp_path / "bob") as bob:
            bob.join("demo", server.address, "bob")
            alice.wait()
            alice.request("send", text="for bob", wait_s=15.0)
            assert bob.texts() == ["for bob"]


def test_a_message_before_the_first_answer_waits_for_the_first_who_comes_and_is_seen_to(
    tmp_path: Path,
) -> None:
    port = free_ports(4)
    with Daemon(tmp_path / "alice") as alice:
        alice.join("demo", f"127.0.0.1:{port}", "alice")
        early = alice.request("send", text="early", id="one")
        assert early["accepted"] is True
        assert early["queued"] == []
        assert waiting(alice) == 1
        with Server(tmp_path / "server", port) as server:
            until(lambda: alice.events("server_up") != [], 30.0)
            with pytest.raises(RequestError) as caught:
                until(lambda: alice.request("send", text="late") is None, 5.0)
            assert caught.value.code == "nobody_here"
            assert waiting(alice) == 1
            alice.kill()
            alice.start()
            assert waiting(alice) == 1
            assert alice.request("send", text="early", id="one") == early
            with Daemon(tmp_path / "bob") as bob:
                bob.join("demo", server.address, "bob")
                until(lambda: bob.texts() == ["early"], 30.0)
                until(lambda: waiting(alice) == 0)
                bob_id = bob.request("identity")["id"]
                again = alice.request("send", text="early", id="one")
                assert again == early | {"delivered": [bob_id]}


def test_what_a_blocked_peer_would_get_is_refused_and_said_to_be_for_nobody(
    tmp_path: Path,
) -> None:
    with pair(tmp_path) as (_, alice, _bob):
        alice.request("block", peer="bob")
        refused = natctl(alice, "send", "hello?")
        assert refused.returncode == 1
        assert "the only peer of demo you have blocked" in refused.stderr
        assert natctl(alice, "block", "--undo", "bob").returncode == 0
        assert natctl(alice, "send", "hello").returncode == 0


@pytest.mark.parametrize(
    ("peers", "says"),
    [
        ([], "nobody else is in demo yet"),
        ([("new", True)], "the only peer of demo you have blocked"),
        ([("new", True), ("changed", True)], "all 2 peers of demo you have blocked"),
        ([("new", True), ("changed", False)], "or their key is in doubt"),
        ([("new", False), ("new", True)], "no peer of demo has been seen for 7 days"),
    ],
)
def test_the_refusal_says_why_there_is_nobody(peers: list[tuple[str, bool]], says: str) -> None:
    known = [
        KnownPeer(NETWORK.id, PeerId(bytes([number]) * 32), "x", trust, is_blocked, b"")
        for number, (trust, is_blocked) in enumerate(peers)
    ]
    refused = nobody_here(NETWORK, known)
    assert refused.code == "nobody_here"
    assert says in refused.text
    assert "not saved" in str(refused.hint)


def waiting(daemon: Daemon) -> Any:
    return daemon.request("status")["networks"][0]["queued"]
