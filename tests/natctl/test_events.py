"""`tail` and `events`: which of the log is shown, and what is acknowledged when."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from natctl.__main__ import run
from natctl.commands.events import EVENT_TYPES
from tests.ipc.fake_daemon import FakeDaemon
from tests.processes import started

ROOT = Path(__file__).resolve().parents[2]

BOB = {"nick": "bob", "id": "b" * 52, "tag": "bbbb", "trust": "new"}


@pytest.fixture
def natd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    path = tmp_path / "control.sock"
    monkeypatch.setenv("NATD_SOCKET", str(path))
    with FakeDaemon(path, answers={"networks": {"networks": [{"name": "demo"}]}}) as daemon:
        yield daemon


def test_tail_shows_the_last_ten_messages_and_ends(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    say(natd, *map(str, range(15)))
    for _ in range(100):
        natd.publish("peer_met", network="demo", peer=BOB)
    assert texts(capsys, "tail") == [str(number) for number in range(5, 15)]
    assert texts(capsys, "tail", "-n", "2") == ["13", "14"]
    assert texts(capsys, "tail", "-n", "0") == []


def test_tail_of_an_empty_log_ends_at_once(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert texts(capsys, "tail") == []
    assert time.monotonic() - began < 2.0


def test_tail_can_begin_after_any_event(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    say(natd, *map(str, range(15)))
    assert texts(capsys, "tail", "--since", "12") == ["12", "13", "14"]
    assert texts(capsys, "tail", "--since", "3", "-n", "2") == ["3", "4"]
    assert texts(capsys, "tail", "--since", "15") == []


def test_tail_with_a_cursor_gives_each_message_once(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.cursors["bot"] = 0
    say(natd, "a", "b")
    assert texts(capsys, "tail", "--cursor", "bot") == ["a", "b"]
    began = time.monotonic()
    assert texts(capsys, "tail", "--cursor", "bot") == []
    assert time.monotonic() - began < 2.0, "it waited for more, though nothing is behind its cursor"
    say(natd, "c", "d", "e")
    natd.publish("peer_met", network="demo", peer=BOB)
    assert texts(capsys, "tail", "--cursor", "bot", "-n", "2") == ["c", "d"]
    assert texts(capsys, "tail", "--cursor", "bot") == ["e"]
    assert natd.cursors == {"bot": len(natd.log)}


def test_tail_of_one_network_leaves_the_others_out(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    say(natd, "here")
    natd.publish("message", network="other", text="there", **{"from": BOB})
    assert texts(capsys, "tail", "demo") == ["here"]
    assert texts(capsys, "tail") == ["here", "there"]
    assert run(["tail", "nowhere"]) == 1
    assert "nowhere is not joined (joined: demo)" in capsys.readouterr().err


def test_a_gap_in_the_log_is_shown(natd: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    natd.publish("gap", network=None, reason="older events are no longer kept", to=1, **{"from": 1})
    assert run(["tail", "--since", "0"]) == 0
    assert "events 1 to 1 are missing: older events" in capsys.readouterr().out
    assert run(["events", "--types", "message", "--since", "0", "-n", "1"]) == 0
    assert "are missing" in capsys.readouterr().out


def test_a_follower_sees_messages_as_they_come_and_acknowledges_what_it_showed(
    natd: FakeDaemon,
) -> None:
    say(natd, "old")
    natd.cursors["bot"] = 1
    with started(
        [sys.executable, "-m", "natctl", "--json", "tail", "--follow", "--cursor", "bot"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as follower:
        assert follower.stdout is not None
        for text in ("one", "two", "three"):
            event = say(natd, text)
            assert json.loads(follower.stdout.readline()) == event
            wait_until(lambda event=event: natd.cursors["bot"] == event["id"])
        follower.send_signal(signal.SIGINT)
        assert follower.wait(30) == 130


def test_a_follower_without_a_start_shows_the_last_ten_first(
    natd: FakeDaemon,
) -> None:
    say(natd, *map(str, range(12)))
    with started(
        [sys.executable, "-m", "natctl", "--json", "tail", "-f"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as follower:
        assert follower.stdout is not None
        seen = [json.loads(follower.stdout.readline())["text"] for _ in range(10)]
        assert seen == [str(number) for number in range(2, 12)]
        say(natd, "new")
        assert json.loads(follower.stdout.readline())["text"] == "new"
        natd.__exit__(None, None, None)
        assert follower.wait(30) == 3


def test_events_shows_every_type_in_words(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    path = {"kind": "direct", "address": "198.51.100.4:5", "rtt_ms": 31.0, "technique": "x"}
    own = {"network": "demo", "peer": BOB}
    published: list[tuple[str, dict[str, Any], str]] = [
        ("message", {"text": "hi", "from": BOB}, "bob  hi"),
        ("sent", {"text": "a\nb"}, "sent  a b"),
        ("delivered", own, "✓ delivered to bob#bbbb"),
        ("peer_met", own, "bob#bbbb  met for the first time"),
        (
            "peer_online",
            {**own, "path": path, "connect_ms": 93.4},
            "● bob#bbbb  direct 198.51.100.4:5  31 ms  after 93 ms",
        ),
        ("peer_offline", {**own, "reason": "said goodbye"}, "○ bob#bbbb  offline: said goodbye"),
        ("path_changed", {**own, "path": path}, "bob#bbbb  now direct 198.51.100.4:5  31 ms"),
        ("verdict", {**own, "verdict": "both are hard"}, "✗ bob#bbbb  both are hard"),
        ("peer_changed", own, "! bob#bbbb  has a different key than before; nothing is sent to it"),
        (
            "server_up",
            {"server": "192.0.2.1:8080", "rtt_ms": 24.0, "observed": "203.0.113.7:1"},
            "● server 192.0.2.1:8080  24 ms  sees you at 203.0.113.7:1",
        ),
        (
            "server_down",
            {"server": "192.0.2.1:8080", "reason": "silent"},
            "✗ server 192.0.2.1:8080  silent",
        ),
        ("server_suspected", {"reason": "192.0.2.1:8080 is odd"}, "! 192.0.2.1:8080 is odd"),
        ("network_full", {**own, "reason": "no place"}, "! bob#bbbb  was not let in: no place"),
        ("peer_forgotten", {**own, "reason": "too many"}, "bob#bbbb  forgotten: too many"),
        ("joined", {}, "you joined the network"),
        ("left", {}, "you left the network"),
        (
            "nat_changed",
            {"nat": {"mapping": "open", "allocation": "random"}, "observed": ["203.0.113.7:1"]},
            "natd has learnt more about your router; you are seen at 203.0.113.7:1",
        ),
        ("something_new", {}, "something_new"),
    ]
    for type_, fields, _ in published:
        natd.publish(type_, network="demo", **{k: v for k, v in fields.items() if k != "network"})
    assert run(["events", "--since", "0", "-n", str(len(published))]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split("  demo  ", 1)[1] for line in shown] == [words for *_, words in published]


def test_every_type_that_the_daemon_logs_can_be_asked_for() -> None:
    source = "".join(path.read_text() for path in (ROOT / "natd").rglob("*.py"))
    logged = set(re.findall(r'(?:log\.append|_log|_log_server)\(\s*"([a-z_]+)"', source))
    assert {"verdict", "server_suspected", "nat_changed"} <= logged
    assert logged <= set(EVENT_TYPES)


def test_events_follows_unless_it_is_told_not_to(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is ended by Ctrl-C, which its help says; a script may want what there is by now."""
    say(natd, "a", "b")
    natd.publish("peer_met", network="demo", peer=BOB)
    assert run(["events", "--since", "0", "--types", "message", "--no-follow"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["a", "b"]
    assert run(["events", "--since", "3", "--no-follow"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["events", "--no-follow"]) == 2
    assert "--since ID" in capsys.readouterr().err
    assert run(["events", "--help"]) == 0
    assert "until Ctrl-C" in capsys.readouterr().out


def test_events_can_be_limited_to_types(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    for type_ in ("joined", "sent", "left", "delivered", "joined"):
        natd.publish(type_, network="demo")
    assert run(["events", "--json", "--types", "joined,left", "--since", "0", "-n", "3"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["type"] for event in shown] == ["joined", "left", "joined"]
    assert natd.asked("subscribe")[0]["types"] == ["joined", "left"]


def test_a_message_of_several_lines_can_not_pass_for_several_messages(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    say(natd, "one\n12:00:00  demo  alice  send me the key")
    assert run(["tail"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("demo  bob  one")
    assert second == "            12:00:00  demo  alice  send me the key"


def say(natd: FakeDaemon, *said: str) -> dict[str, Any]:
    for text in said:
        event = natd.publish("message", network="demo", text=text, **{"from": BOB})
    return event


def texts(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert run(["--json", *arguments]) == 0
    return [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]


def wait_until(condition: Any, limit_s: float = 10.0) -> None:
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)
