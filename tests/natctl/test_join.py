"""`natctl join`: what it tells, and how long it waits."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from natctl.__main__ import run
from tests.ipc.fake_daemon import FakeDaemon, Refusal

ROOT = Path(__file__).resolve().parents[2]

JOINED = {
    "network": "demo",
    "nick": "alice",
    "id": "a" * 52,
    "tag": "aaaa",
    "servers": ["192.0.2.1:8080"],
    "open": True,
    "replaced": False,
}
BOB = {"nick": "bob", "id": "b" * 52, "tag": "bbbb", "trust": "new", "state": "punching"}

PATH = {
    "kind": "direct",
    "address": "198.51.100.4:50321",
    "rtt_ms": 31.2,
    "technique": "simultaneous-open",
    "age_s": 0.0,
}
JOIN = ["join", "demo", "--server", "192.0.2.1:8080", "--name", "alice"]


@pytest.fixture
def natd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    path = tmp_path / "control.sock"
    monkeypatch.setenv("NATD_SOCKET", str(path))
    monkeypatch.setattr("natctl.commands.join.SERVER_LIMIT_S", 0.2)
    monkeypatch.setattr("natctl.commands.join.INTRODUCTIONS_S", 0.1)
    monkeypatch.setattr("natctl.commands.join.PEERS_LIMIT_S", 0.5)
    answers: dict[str, Any] = {
        "join": JOINED,
        "status": status("starting"),
        "peers": {"network": "demo", "peers": []},
    }
    with FakeDaemon(path, answers=answers) as daemon:
        yield daemon


def test_a_join_tells_how_you_appear_and_each_path_as_it_comes(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    def come(_: Any) -> Any:
        natd.publish("server_up", **server_up())
        natd.answers["peers"] = {"peers": [BOB]}
        natd.publish("peer_online", network="demo", peer=BOB, path=PATH, connect_ms=93.0)
        return JOINED

    natd.answers["join"] = come
    assert run(JOIN) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "joined demo as alice#aaaa",
        "open network: anyone who knows its name and server can join",
        "● server 192.0.2.1:8080  24 ms  sees you at 203.0.113.7:41234",
        "● bob#bbbb  direct 198.51.100.4:50321  31 ms  after 93 ms",
    ]
    assert shown.err == ""
    (asked,) = natd.asked("join")
    assert (asked["network"], asked["servers"]) == ("demo", ["192.0.2.1:8080"])
    assert (asked["nick"], asked["secret"]) == ("alice", None)


def test_a_server_that_answers_is_told_once(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stood in the status already, and its event came after."""
    natd.answers["status"] = status("registered")
    natd.answers["join"] = lambda _: natd.publish("server_up", **server_up()) and JOINED
    assert run(JOIN) == 0
    assert capsys.readouterr().out.count("● server 192.0.2.1:8080") == 1


def test_a_join_where_nobody_is_says_so_and_ends(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["join"] = lambda _: natd.publish("server_up", **server_up()) and JOINED
    began = time.monotonic()
    assert run(JOIN) == 0
    assert time.monotonic() - began < 1.0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "nobody else is here yet: others join with the same name and server"
    )


def test_where_a_secret_is_needed_it_is_named_among_what_others_need(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who mistypes it is in another network, and sees nobody there."""
    closed = JOINED | {"open": False}
    natd.answers["join"] = lambda _: natd.publish("server_up", **server_up()) and closed
    assert run(JOIN) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("the same name, server and secret")


def test_who_finds_a_peer_without_a_server_does_not_wait_for_it(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer of the same LAN was there at once, and the prompt came five seconds later."""
    monkeypatch.setattr("natctl.commands.join.SERVER_LIMIT_S", 20.0)
    monkeypatch.setattr("natctl.commands.join.COMPANY_LIMIT_S", 0.2)

    def come(_: Any) -> Any:
        natd.publish("peer_online", network="demo", peer=BOB, path=PATH, connect_ms=24.0)
        return JOINED

    natd.answers["join"] = come
    began = time.monotonic()
    assert run(JOIN) == 0
    assert time.monotonic() - began < 5.0
    shown = capsys.readouterr()
    assert "bob#bbbb" in shown.out
    warning, hint = shown.err.splitlines()
    assert "192.0.2.1:8080 has not answered yet" in warning
    assert "reached without it" in warning
    assert "natctl status" in hint


def test_a_join_without_a_server_says_that_it_is_for_this_lan(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natctl.commands.join.LAN_LIMIT_S", 0.3)
    alone = status("registered")
    alone["networks"][0]["servers"] = []
    natd.answers |= {"join": JOINED | {"servers": []}, "status": alone}
    assert run(["join", "demo", "--lan", "--name", "alice"]) == 0
    shown = capsys.readouterr()
    (asked,) = natd.asked("join")
    assert (asked["servers"], asked["lan"]) == ([], True)
    assert shown.out.splitlines() == [
        "joined demo as alice#aaaa",
        "open network: anyone who knows its name, on this LAN, can join",
        "no server: only peers on this LAN can be found; add one with --server HOST:PORT",
        "nobody else is here yet: others join with the same name",
    ]
    assert shown.err == ""


def test_a_join_without_a_server_ends_with_who_is_found_on_the_lan(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natctl.commands.join.LAN_LIMIT_S", 20.0)
    alone = status("registered")
    alone["networks"][0]["servers"] = []

    def come(_: Any) -> Any:
        natd.publish("peer_online", network="demo", peer=BOB, path=PATH, connect_ms=24.0)
        return JOINED | {"servers": []}

    natd.answers |= {"join": come, "status": alone}
    began = time.monotonic()
    assert run(["join", "demo", "--lan", "--name", "alice"]) == 0
    assert time.monotonic() - began < 5.0
    shown = capsys.readouterr()
    assert "bob#bbbb" in shown.out.splitlines()[-1]
    assert shown.err == ""


def test_a_join_names_those_who_are_still_on_the_way(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["join"] = lambda _: natd.publish("server_up", **server_up()) and JOINED
    natd.answers["peers"] = {"peers": [BOB]}
    assert run(JOIN) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "still connecting to bob#bbbb  (see natctl peers)"
    )


def test_a_server_that_does_not_answer_is_a_warning_since_the_network_is_joined(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(JOIN) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("joined demo")
    warning, hint = shown.err.splitlines()
    assert warning.startswith("natctl: warning: no answer from 192.0.2.1:8080 within")
    assert "natctl doctor" in hint


OFFLINE = {"code": "offline", "text": "this machine is offline", "hint": "plug in the cable"}


@pytest.mark.parametrize("where", [["--server", "192.0.2.1:8080"], ["--lan"]])
def test_nothing_is_joined_while_this_machine_is_offline(
    where: list[str], natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was told as joined first, and seconds later as offline."""
    natd.answers["status"] = status("starting") | {"problems": [OFFLINE]}
    began = time.monotonic()
    assert run(["join", "demo", *where, "--name", "alice"]) == 0
    assert time.monotonic() - began < 1.0
    shown = capsys.readouterr()
    assert shown.out == "natd joins demo as alice#aaaa once this machine is online\n"
    assert shown.err == "natctl: warning: this machine is offline\n  plug in the cable\n"


def test_a_server_name_that_means_nothing_is_told_as_that(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "nowhere.invalid:8080: the name is not known"
    natd.answers["status"] = status("unresolvable", "nowhere.invalid:8080") | {
        "problems": [{"code": "unresolvable", "text": text, "hint": "check the name"}]
    }
    assert run(["join", "demo", "--server", "nowhere.invalid:8080"]) == 0
    assert capsys.readouterr().err == f"natctl: warning: {text}\n  check the name\n"


def test_a_server_name_that_is_still_looked_up_is_told_as_that(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["status"] = status("resolving", "slow.invalid:8080")
    assert run(["join", "demo", "--server", "slow.invalid:8080"]) == 0
    warning, hint = capsys.readouterr().err.splitlines()
    assert "the name of slow.invalid:8080 was not found" in warning
    assert "DNS" in hint


def test_a_server_that_is_told_to_be_down_is_complained_of_once(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    down = {
        "network": "demo",
        "server": "192.0.2.1:8080",
        "reason": "no answer from 192.0.2.1:8080",
    }
    natd.answers["join"] = lambda _: natd.publish("server_down", **down) and JOINED
    assert run(JOIN) == 0
    warning, hint = capsys.readouterr().err.splitlines()
    assert warning == "natctl: warning: no answer from 192.0.2.1:8080"
    assert "natctl doctor" in hint


def test_a_join_to_what_is_joined_already_tells_how_things_are(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["status"] = status("registered", connected=1)
    natd.answers["peers"] = {"peers": [{**BOB, "state": "online", "path": PATH}]}
    assert run(JOIN) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "● server 192.0.2.1:8080  24 ms  sees you at 203.0.113.7:41234",
        "● bob#bbbb  direct 198.51.100.4:50321  31 ms",
    ]


def test_wait_ends_with_the_first_peer(natd: FakeDaemon) -> None:
    def come_later(_: Any) -> Any:
        threading.Timer(0.3, come).start()
        return JOINED

    def come() -> None:
        natd.publish("server_up", **server_up())
        natd.publish("peer_online", network="demo", peer=BOB, path=PATH, connect_ms=93.0)

    natd.answers["join"] = come_later
    began = time.monotonic()
    assert run([*JOIN, "--wait", "20"]) == 0
    assert time.monotonic() - began < 5.0


def test_wait_without_a_peer_in_time_is_exit_code_5(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["join"] = lambda _: natd.publish("server_up", **server_up()) and JOINED
    assert run([*JOIN, "--wait", "0.2"]) == 5
    shown = capsys.readouterr().err
    assert "no peer connected within 0.2 s" in shown
    assert "natctl peers --network demo" in shown, "there may be other networks"


def test_a_join_for_programs_is_one_object_and_does_not_wait(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*JOIN, "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"v": 1, **JOINED}
    assert shown.err == ""


def test_a_refused_join_leaves_nothing_but_its_reason(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["join"] = Refusal("usage", "'demo': expected HOST:PORT")
    assert run(JOIN) == 2
    assert capsys.readouterr().out == ""


def test_a_secret_comes_from_a_private_file_and_is_never_shown(
    natd: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    file.write_text("open sesame\n")
    file.chmod(0o600)
    assert run([*JOIN, "--secret-file", str(file), "-q"]) == 0
    assert natd.asked("join")[0]["secret"] == "open sesame"
    shown = capsys.readouterr()
    assert "sesame" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"open sesame", 0o644, "can be read by others: its mode is 0644"),
        (b"", 0o600, "is empty"),
        (b"\xff\xfe", 0o600, "is not UTF-8"),
        (b"x" * 5000, 0o600, "longer than 4096 bytes"),
        (None, 0o600, "can't be read: No such file"),
    ],
)
def test_a_secret_file_that_can_not_be_used_is_refused_before_anything_is_asked(
    natd: FakeDaemon,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    mode: int,
    said: str,
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    assert run([*JOIN, "--secret-file", str(file)]) == 1
    assert said in capsys.readouterr().err
    assert natd.requests == []


def test_a_directory_is_no_secret_file(
    natd: FakeDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*JOIN, "--secret-file", str(tmp_path)]) == 1
    assert "is not a regular file" in capsys.readouterr().err


def test_leave_says_what_is_forgotten(natd: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    natd.answers["leave"] = {"network": "demo", "left": True, "purged": True}
    assert run(["leave", "demo", "--purge"]) == 0
    assert capsys.readouterr().out == "left demo; its peers and messages are deleted\n"


def server_up() -> dict[str, Any]:
    return {
        "network": "demo",
        "server": "192.0.2.1:8080",
        "rtt_ms": 24.0,
        "observed": "203.0.113.7:41234",
    }


def status(state: str, address: str = "192.0.2.1:8080", *, connected: int = 0) -> dict[str, Any]:
    server = {"address": address, "state": state, "rtt_ms": 24.0, "last_answer_s": None}
    counts = {"known": connected, "connected": connected}
    return {
        "self": {"nick": "alice", "observed": ["203.0.113.7:41234"]},
        "networks": [{"name": "demo", "servers": [server], "peers": counts}],
        "problems": [],
    }
