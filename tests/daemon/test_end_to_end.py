"""Two real daemons and a real server on loopback."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from natd.ipc import RequestError
from tests.processes import Daemon, Server, pair, until

Trio = tuple[Server, Daemon, Daemon]


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    """A server, alice and bob, connected in `demo`; shared by the tests that leave it so."""
    with pair(tmp_path_factory.mktemp("trio")) as trio:
        yield trio


def test_a_message_sent_is_an_event_at_the_other_and_delivered_at_home(trio: Trio) -> None:
    _, alice, bob = trio
    reply = alice.request("send", network="demo", text="hello bob", wait_s=10)
    bob_id = bob.request("identity")["id"]
    assert reply["accepted"] is True
    assert reply["delivered"] == [bob_id]
    assert reply["queued"] == []
    (event,) = [e for e in bob.events("message") if e["message"] == reply["message"]]
    assert event["text"] == "hello bob"
    assert event["network"] == "demo"
    assert event["kind"] == "text"
    assert event["from"]["nick"] == "alice"
    assert event["from"]["id"] == alice.request("identity")["id"]
    assert event["from"]["trust"] == "new"
    (delivered,) = [e for e in alice.events("delivered") if e["message"] == reply["message"]]
    assert delivered["peer"]["id"] == bob_id


def test_messages_to_one_peer_by_nick_tag_or_id_arrive(trio: Trio) -> None:
    _, alice, bob = trio
    identity = bob.request("identity")
    names = ("bob", f"bob#{identity['tag']}", identity["id"][:8], identity["id"])
    for name in names:
        alice.request("send", network=None, text=f"to {name}", to=name, wait_s=10)
    assert [t for t in bob.texts() if t.startswith("to ")] == [f"to {name}" for name in names]


def test_both_directions_and_many_messages_keep_their_order(trio: Trio) -> None:
    _, alice, bob = trio
    with alice.connect() as a, bob.connect() as b:
        for number in range(50):
            a.request("send", network="demo", text=f"a{number:03}")
            b.request("send", network="demo", text=f"b{number:03}")
    until(lambda: _beginning(bob, "a0") == [f"a{number:03}" for number in range(50)])
    until(lambda: _beginning(alice, "b0") == [f"b{number:03}" for number in range(50)])


def test_a_text_of_the_largest_size_arrives_whole_and_a_larger_one_is_refused(trio: Trio) -> None:
    _, alice, bob = trio
    text = "ü" * 8192
    alice.request("send", network="demo", text=text, wait_s=10)
    assert text in bob.texts()
    with pytest.raises(RequestError) as caught:
        alice.request("send", network="demo", text=text + "x")
    assert caught.value.code == "too_long"
    assert "16384" in str(caught.value)


def test_text_comes_out_as_it_went_in(trio: Trio) -> None:
    _, alice, bob = trio
    text = 'a\x1b[31m\u202e\u200b\n"quoted" \U0001f4ac \x00 end'
    alice.request("send", network="demo", text=text, wait_s=10)
    assert text in bob.texts()


def test_ping_and_peers_tell_of_the_direct_path(trio: Trio) -> None:
    _, alice, _ = trio
    answer = alice.request("ping", network=None, peer="bob", timeout_s=10)
    assert answer["peer"]["nick"] == "bob"
    assert 0 < answer["rtt_ms"] < 5000
    (row,) = alice.request("peers", network="demo")["peers"]
    assert row["state"] == "online"
    assert row["path"]["kind"] in ("lan", "direct", "ipv6")
    assert row["path"]["address"]
    assert row["queued"] == 0


def test_status_shows_server_observed_address_and_peers(trio: Trio) -> None:
    server, alice, _ = trio
    status = alice.request("status")
    (network,) = status["networks"]
    assert network["name"] == "demo"
    assert network["peers"] == {"known": 1, "connected": 1}
    assert network["servers"][0]["address"] == server.address
    assert network["servers"][0]["state"] == "registered"
    assert network["servers"][0]["rtt_ms"] > 0
    assert status["self"]["nick"] == "alice"
    assert status["self"]["observed"]
    assert status["problems"] == []


def test_history_has_both_directions_and_can_be_searched(trio: Trio) -> None:
    _, alice, bob = trio
    alice.request("send", network="demo", text="needle 100%_", wait_s=10)
    bob.request("send", network="demo", text="straw", wait_s=10)
    (out,) = alice.request("history", network="demo", search="NEEDLE 100%_")["messages"]
    assert out["direction"] == "out"
    assert out["delivered"] == out["to"] == [bob.request("identity")["id"]]
    last = alice.request("history", network="demo", limit=2)["messages"]
    assert [(m["direction"], m["text"]) for m in last] == [("out", "needle 100%_"), ("in", "straw")]
    assert alice.request("history", network=None, search="no such thing")["messages"] == []
    assert alice.request("history", network=None, peer="bob", limit=1)["messages"] == last[1:]


def test_doctor_finds_nothing_wrong(trio: Trio) -> None:
    _, alice, _ = trio
    report = alice.request("doctor", peer="bob")
    assert [check["name"] for check in report["checks"] if not check["ok"]] == []
    assert "path" in {check["name"] for check in report["checks"]}
    assert report["verdict"] == "All is well."


def test_doctor_tells_how_the_two_met(trio: Trio) -> None:
    _, alice, bob = trio

    def mapping(whose: str) -> str:
        return str(alice.request("doctor", peer="bob")["nats"][whose]["mapping"])

    until(lambda: mapping("ours") == mapping("theirs") == "open")
    report = alice.request("doctor", peer="bob")
    assert report["peer"]["id"] == bob.request("identity")["id"]
    assert (report["state"], report["verdict_code"], report["helps"]) == ("online", None, [])
    assert report["technique"] == report["path"]["technique"]
    steps = [step["step"] for step in report["attempt"]["steps"]]
    assert steps[0] == "introduced"
    assert {"checks", "path", "session"} <= set(steps)
    (row,) = alice.request("peers")["peers"]
    assert row["nats"] == report["nats"]
    assert row["verdict_code"] is None


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("unknown_peer", {"do": "send", "text": "x", "to": "nobody"}),
        ("unknown_peer", {"do": "ping", "peer": "zzzzz"}),
        ("unknown_network", {"do": "send", "text": "x", "network": "elsewhere"}),
        ("empty", {"do": "send", "text": "  \n"}),
        ("usage", {"do": "send", "text": 7}),
        ("usage", {"do": "send", "text": "x", "wait_s": -1}),
        ("usage", {"do": "join", "network": "a/b", "servers": ["h:1"]}),
        ("usage", {"do": "join", "network": "ab", "servers": ["nowhere"]}),
        ("usage", {"do": "join", "network": "ab", "servers": [7]}),
        ("usage", {"do": "join", "network": "ab"}),
        ("usage", {"do": "join", "network": "ab", "servers": ["h:1"], "nick": "two words"}),
        ("usage", {"do": "wait", "peers": 0}),
        ("usage", {"do": "history", "limit": 0}),
        ("usage", {"do": "trust", "peer": "bob"}),
        ("unknown_command", {"do": "sned"}),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_says_what_was_expected(
    trio: Trio, code: str, request_: dict[str, object]
) -> None:
    fields = dict(request_)
    with pytest.raises(RequestError) as caught:
        trio[1].request(str(fields.pop("do")), **fields)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_a_message_given_before_the_servers_first_answer_reaches_the_members(
    tmp_path: Path,
) -> None:
    with Server(tmp_path / "server") as server, Daemon(tmp_path / "bob") as bob:
        bob.join("demo", server.address, "bob")
        with Daemon(tmp_path / "alice") as alice, alice.connect() as connection:
            connection.request("join", network="demo", servers=[server.address], nick="alice")
            reply = connection.request("send", network="demo", text="in one breath", wait_s=10)
            assert reply["delivered"] == [bob.request("identity")["id"]]
            assert bob.texts() == ["in one breath"]


def test_the_chat_goes_on_after_the_server_has_died(tmp_path: Path) -> None:
    with pair(tmp_path) as (server, alice, bob):
        server.kill()
        alice.request("send", network="demo", text="still here", wait_s=10)
        bob.request("send", network="demo", text="me too", wait_s=10)
        assert bob.texts() == ["still here"]
        assert alice.texts() == ["me too"]


def test_a_network_stays_joined_across_a_restart_and_messages_wait_for_the_peer(
    tmp_path: Path,
) -> None:
    with pair(tmp_path) as (_, alice, bob):
        assert bob.stop() == 0
        until(lambda: alice.request("status")["networks"][0]["peers"]["connected"] == 0, 30)
        alice.request("send", network="demo", text="while you were out")
        assert alice.request("status")["networks"][0]["queued"] == 1
        bob.start()
        until(lambda: bob.texts() == ["while you were out"])
        until(lambda: alice.request("status")["networks"][0]["queued"] == 0)


def test_a_retry_looks_for_peers_without_a_path_and_for_no_blocked_one(
    tmp_path: Path,
) -> None:
    with pair(tmp_path) as (server, alice, bob):
        assert alice.request("retry")["retrying"] == 0
        assert alice.request("retry", peer="bob")["retrying"] == 0
        server.kill()
        bob.stop()
        until(lambda: alice.request("networks")["networks"][0]["peers"]["connected"] == 0, 30)
        reply = alice.request("retry", peer="bob")
        assert (reply["network"], reply["peer"]["nick"], reply["retrying"]) == ("demo", "bob", 1)
        assert alice.request("retry")["retrying"] == 1
        alice.request("block", peer="bob")
        assert alice.request("retry")["retrying"] == 0
        with pytest.raises(RequestError) as caught:
            alice.request("retry", peer="bob")
        assert caught.value.code == "blocked"
        with pytest.raises(RequestError) as caught:
            alice.request("send", network="demo", text="hi", to="bob")
        assert str(caught.value.hint).startswith("natctl block --undo 'bob#")


def test_leaving_ends_membership_and_a_purge_leaves_no_trace(tmp_path: Path) -> None:
    with pair(tmp_path) as (server, alice, bob):
        alice.request("send", network="demo", text="soon forgotten", wait_s=10)
        reply = alice.request("leave", network="demo", purge=True)
        assert reply["left"] is True
        assert alice.request("networks")["networks"] == []
        until(lambda: bob.request("status")["networks"][0]["peers"]["connected"] == 0)
        alice.join("demo", server.address, "alice")
        alice.wait()
        assert alice.request("history", network="demo")["messages"] == []
        bob.request("send", network="demo", text="welcome back", wait_s=10)
        assert "welcome back" in alice.texts()


def test_who_leaves_one_network_is_told_in_which_its_peers_are_gone(tmp_path: Path) -> None:
    """They were told without a network, and a chat in another one took them for its own."""
    with pair(tmp_path) as (server, alice, bob):
        alice.join("other", server.address, "alice")
        bob.join("other", server.address, "bob")
        alice.wait(network="other")
        alice.request("leave", network="other", purge=True)
        (gone,) = alice.events("peer_offline")
        assert (gone["network"], gone["peer"]["nick"]) == ("other", "bob")
        assert alice.events("left")[-1]["id"] > gone["id"]
        counts = {each["name"]: each["peers"] for each in alice.request("networks")["networks"]}
        assert counts == {"demo": {"known": 1, "connected": 1}}


def test_joining_again_changes_nick_and_servers_and_says_so(tmp_path: Path) -> None:
    with pair(tmp_path) as (server, alice, bob):
        same = alice.request("join", network="demo", servers=[server.address], nick="alice")
        assert same["replaced"] is False
        other = alice.request("join", network="demo", servers=[server.address], nick="alicia")
        assert other["replaced"] is True
        until(lambda: bob.request("peers", network=None)["peers"][0]["nick"] == "alicia")
        alice.request("send", network="demo", text="new name", wait_s=10)
        assert bob.events("message")[0]["from"]["nick"] == "alicia"


def test_a_wrong_secret_meets_nobody(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "server") as server,
        Daemon(tmp_path / "alice") as alice,
        Daemon(tmp_path / "bob") as bob,
        Daemon(tmp_path / "eve") as eve,
    ):
        alice.join("demo", server.address, "alice", secret="correct horse battery")
        bob.join("demo", server.address, "bob", secret="correct horse battery")
        eve.join("demo", server.address, "eve", secret="correct horse batterz")
        alice.wait()
        assert [p["nick"] for p in alice.request("peers")["peers"]] == ["bob"]
        assert eve.request("peers")["peers"] == []
        with pytest.raises(RequestError) as caught:
            until(lambda: eve.request("send", network="demo", text="hello?") is None, 5)
        assert caught.value.code == "nobody_here"


def test_a_nick_under_another_key_is_shown_and_gets_nothing_until_it_is_accepted(
    tmp_path: Path,
) -> None:
    with pair(tmp_path) as (server, alice, bob):
        old_id = bob.request("identity")["id"]
        bob.stop()
        until(lambda: alice.request("status")["networks"][0]["peers"]["connected"] == 0, 30)
        with Daemon(tmp_path / "impostor") as impostor:
            impostor.join("demo", server.address, "bob")
            until(lambda: alice.events("peer_changed") != [])
            (event,) = alice.events("peer_changed")
            assert event["previous_id"] == old_id
            assert event["peer"]["trust"] == "changed"
            with pytest.raises(RequestError) as caught:
                alice.request("send", network="demo", text="for bob only", to="bob")
            assert caught.value.code == "identity_changed"
            alice.request("send", network="demo", text="for whom i know")
            codes = [problem["code"] for problem in alice.request("status")["problems"]]
            assert codes == ["identity_changed"]
            time.sleep(1.0)
            assert impostor.texts() == []
            trusted = alice.request("trust", network=None, peer="bob", accept_new_key=True)
            assert trusted["trust"] == "new"
            alice.request("send", network="demo", text="hello new bob", to="bob", wait_s=15)
            assert impostor.texts() == ["hello new bob"]


def _beginning(daemon: Daemon, start: str) -> list[str]:
    return [text for text in daemon.texts() if text.startswith(start)]


def test_a_message_accepted_before_anybody_was_there_waits_for_the_first_member(
    tmp_path: Path,
) -> None:
    """It was once closed by a server's empty list, and then nobody ever got it."""
    server = Server(tmp_path / "server")
    with Daemon(tmp_path / "a") as alice, Daemon(tmp_path / "b") as bob:
        alice.join("demo", server.address, "alice")
        reply = alice.request("send", network="demo", text="early")
        assert reply["accepted"] is True
        with server:
            until(lambda: bool(alice.events("server_up")), limit_s=40.0)
            bob.join("demo", server.address, "bob")
            until(lambda: bob.texts() == ["early"])
