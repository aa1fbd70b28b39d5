"""Which network a command is about: an argument, `--network`, or the only one there is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from natctl.__main__ import run
from tests.ipc.fake_daemon import FakeDaemon

NAMED = [
    ("leave", ("leave",), {"network": "demo", "left": True}),
    ("peers", ("peers",), {"network": "demo", "peers": []}),
    ("history", ("history",), {"messages": []}),
    ("wait", ("wait",), {"network": "demo", "connected": 1}),
    ("ping", ("ping", "bob"), {"peer": {"nick": "bob", "id": "b" * 52}, "rtt_ms": 1.0}),
    ("doctor", ("doctor", "bob"), {"checks": [], "verdict": "All is well."}),
    ("send", ("send", "hi"), {"network": "demo", "message": "m", "accepted": True}),
    ("trust", ("trust", "bob", "--accept-new-key"), {"peer": {"nick": "bob", "id": "b" * 52}}),
    ("forget", ("forget", "bob"), {"peer": {"nick": "bob", "id": "b" * 52}, "forgotten": True}),
    ("block", ("block", "bob"), {"peer": {"nick": "bob", "id": "b" * 52}, "blocked": True}),
]


@pytest.fixture
def natd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    path = tmp_path / "control.sock"
    monkeypatch.setenv("NATD_SOCKET", str(path))
    answers: dict[str, Any] = {do: answer for do, _, answer in NAMED}
    with FakeDaemon(path, answers=answers) as daemon:
        yield daemon


@pytest.mark.parametrize(("do", "line", "_answer"), NAMED)
def test_every_command_about_a_network_takes_its_name_as_an_option(
    natd: FakeDaemon, do: str, line: tuple[str, ...], _answer: object
) -> None:
    """The daemon's hint, when several are joined, is `--network NAME` for all of them."""
    assert run([*line, "--network", "demo"]) == 0
    assert natd.asked(do)[0]["network"] == "demo"


def test_tail_takes_it_as_an_option_too(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["networks"] = {"networks": [{"name": "demo"}]}
    assert run(["tail", "--network", "elsewhere"]) == 1
    assert "elsewhere is not joined" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [("peers", "other", "--network", "demo"), ("peers", "--network", "demo", "other")]
)
def test_two_different_names_are_a_usage_error(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str], line: tuple[str, ...]
) -> None:
    assert run(line) == 2
    assert "'other' and --network 'demo'" in capsys.readouterr().err
    assert natd.requests == []


def test_the_same_name_twice_is_one_name(natd: FakeDaemon) -> None:
    assert run(["peers", "demo", "--network", "demo"]) == 0
    assert natd.asked("peers")[0]["network"] == "demo"


def test_where_the_option_names_the_network_two_words_are_an_unquoted_text(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["send", "--network", "demo", "hi", "there"]) == 2
    assert "expected TEXT, got 2 words: quote the text" in capsys.readouterr().err
