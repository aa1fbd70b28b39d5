"""natctl against a daemon of straw: exit codes, error texts, JSON, and what is printed how."""

import io
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from natctl.__main__ import run
from natctl.exit_codes import OF_ERROR_CODES
from natd.host.errors import COMMAND_EXIT_CODES
from tests.ipc.fake_daemon import FakeDaemon, Refusal
from tests.natctl.answers import ANSWERS, BOB, ONE_ANSWER_COMMANDS, PATH, STATUS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("line", ONE_ANSWER_COMMANDS)
def test_every_answer_is_one_json_object_with_v_for_programs(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert run(["--json", *shlex.split(line)]) == 0
    shown = capsys.readouterr()
    (answer,) = shown.out.splitlines()
    asked = natd.requests[-1]["do"]
    assert json.loads(answer) == {"v": 1, **ANSWERS[asked]}
    assert shown.err == ""


@pytest.mark.parametrize("line", ONE_ANSWER_COMMANDS)
def test_every_answer_fits_a_terminal_of_80_columns(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert run(shlex.split(line)) == 0
    shown = capsys.readouterr()
    assert shown.out.strip()
    assert max(map(len, shown.out.splitlines())) <= 80
    assert shown.err == ""


@pytest.mark.parametrize("code", [*OF_ERROR_CODES, "unknown_peer", "storage"])
def test_a_refusal_becomes_its_exit_code_and_one_line_with_a_hint(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    natd.answers["send"] = Refusal(code, "that is not possible", "do something else")
    assert run(["send", "hi"]) == COMMAND_EXIT_CODES.get(code, 1)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "natctl: that is not possible\n  do something else\n"


def test_the_exit_codes_are_those_of_the_daemon() -> None:
    assert OF_ERROR_CODES == COMMAND_EXIT_CODES


def test_a_refusal_is_json_for_programs(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["send"] = Refusal("unknown_peer", "no peer is called bob")
    assert run(["send", "hi", "--json"]) == 1
    error = {"code": "unknown_peer", "text": "no peer is called bob", "hint": None}
    assert json.loads(capsys.readouterr().err) == {"v": 1, "error": error}


def test_without_a_daemon_the_exit_code_is_3_and_the_hint_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NATD_SOCKET", str(tmp_path / "control.sock"))
    for line in ONE_ANSWER_COMMANDS:
        assert run(shlex.split(line)) == 3, line
        shown = capsys.readouterr()
        assert "no natd is running" in shown.err + shown.out
        assert "`natd`" in shown.err + shown.out
    assert run(["events"]) == 3
    assert run(["tail"]) == 3
    assert run(["shutdown"]) == 3
    assert run(["join", "demo", "--server", "192.0.2.1:8080", "--no-start"]) == 3


def test_another_users_socket_is_exit_code_6(
    natd: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_: str) -> None:
        raise PermissionError

    monkeypatch.setattr("natd.ipc.places._connect", refused)
    assert run(["status"]) == 6
    assert "permission denied on" in capsys.readouterr().err


def test_a_daemon_that_does_not_answer_is_exit_code_3_after_the_timeout(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.silent = True
    assert run(["status", "--timeout", "0.05"]) == 3
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("statsu", "did you mean 'status'?"),
        ("frobnicate", "`natctl --help`"),
        ("status --jsn", "--json"),
        ("send", "missing argument"),
        ("send a b c", "quote the text"),
        ("send hi --wait 0", "'--wait': expected more than 0, got 0"),
        ("send hi --wait soon", "'--wait': expected a number, got 'soon'"),
        ("status --timeout -1", "'--timeout': expected more than 0, got -1"),
        ("ping bob -c 0", "'-c': expected 1 or more, got 0"),
        ("history -n 1001", "'-n': expected 1 to 1000, got 1001"),
        ("wait demo --peers none", "'--peers': expected a whole number, got 'none'"),
        ("events --types mesage", "message"),
        ("history --since yesterday-ish", "expected a duration"),
        ("tail -n few", "expected a whole number, got 'few'"),
        ("trust bob", "--accept-new-key"),
        ("completion tcsh", "bash"),
        ("config chek", "chek"),
    ],
)
def test_a_usage_error_is_exit_code_2_and_says_what_was_expected(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    assert run(shlex.split(line)) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert len(shown.err.splitlines()) == 2
    assert shown.out == ""
    assert natd.requests == []


def test_the_global_options_may_stand_before_and_behind_the_command(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("--json status", "status --json"):
        assert run(shlex.split(line)) == 0
        assert json.loads(capsys.readouterr().out)["v"] == 1
    elsewhere = str(natd.path)
    natd_socket = os.environ.pop("NATD_SOCKET")
    try:
        assert run(["identity", "--socket", elsewhere]) == 0
        assert run(["--socket", elsewhere, "identity"]) == 0
    finally:
        os.environ["NATD_SOCKET"] = natd_socket


def test_status_check_fails_while_a_network_has_no_server(natd: FakeDaemon) -> None:
    assert run(["status", "--check"]) == 0
    down = json.loads(json.dumps(STATUS))
    down["networks"][0]["servers"][0]["state"] = "lost"
    natd.answers["status"] = down
    assert run(["status", "--check"]) == 1
    assert run(["status"]) == 0
    natd.answers["status"] = {**STATUS, "problems": [{"code": "x", "text": "y", "hint": None}]}
    assert run(["status", "--check"]) == 1


def test_status_check_is_content_with_a_network_that_is_to_have_no_server(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = json.loads(json.dumps(STATUS))
    alone["networks"][0]["servers"] = []
    natd.answers["status"] = alone
    assert run(["status", "--check"]) == 0
    assert (
        "no server: only peers on this LAN, or met before, can be found" in capsys.readouterr().out
    )


def test_doctor_fails_when_a_check_fails(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    check = {"name": "server", "ok": False, "text": "no answer", "hint": "start it"}
    natd.answers["doctor"] = {"checks": [check], "verdict": "Look at: server."}
    assert run(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "FAIL  server  no answer",
        "              start it",
        "Look at: server.",
    ]


def test_doctor_of_a_peer_with_a_live_path_does_not_fail_for_what_else_fails(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    server = {"name": "server", "ok": False, "text": "no answer", "hint": "start it"}
    path = {"name": "path", "ok": True, "text": "direct", "hint": None}
    words = "bob#bbbb is connected directly; other checks failed: server."
    live = {"checks": [server, path], "peer": BOB, "path": PATH, "notes": ["server"]}
    natd.answers["doctor"] = {**live, "verdict": words}
    assert run(["doctor", "bob"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "note  server  no answer"
    assert shown[-1] == words
    natd.answers["doctor"] = {**live, "path": None, "notes": [], "verdict": "No path."}
    assert run(["doctor", "bob"]) == 1


def test_retry_says_whom_it_looks_for(natd: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    """The back-off of the attempts could be ended by programs only."""
    assert run(["retry"]) == 0
    natd.answers["retry"] = {"network": "demo", "peer": BOB, "retrying": 1}
    assert run(["retry", "bob", "--network", "demo"]) == 0
    natd.answers["retry"] = {"network": "demo", "peer": BOB, "retrying": 0}
    assert run(["retry", "bob"]) == 0
    natd.answers["retry"] = {"network": "demo", "peer": None, "retrying": 0}
    assert run(["retry"]) == 0
    asked = [(each["peer"], each["network"]) for each in natd.asked("retry")]
    assert asked == [(None, None), ("bob", "demo"), ("bob", None), (None, None)]
    assert capsys.readouterr().out.splitlines() == [
        "connecting to 2 peers  (see natctl peers)",
        "connecting to bob#bbbb  (see natctl peers)",
        "bob#bbbb is connected already; its connection is checked",
        "nothing to do: no peer waits for a connection",
    ]


def test_ping_fails_only_if_nothing_answered(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("natctl.commands.doctor.PING_EVERY_S", 0.0)
    answers = iter([Refusal("no_path", "no direct answer"), ANSWERS["ping"]])
    natd.answers["ping"] = lambda _: next(answers)
    assert run(["ping", "bob", "-c", "2"]) == 0
    assert "1 of 2 answered" in capsys.readouterr().err
    natd.answers["ping"] = Refusal("no_path", "no direct answer")
    assert run(["ping", "bob", "-c", "2"]) == 5
    natd.answers["ping"] = Refusal("unknown_peer", "no peer is called bob")
    assert run(["ping", "bob"]) == 1


def test_a_text_from_standard_input_is_sent_as_it_is(
    natd: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("zwei\nZeilen ü\n".encode())))
    assert run(["send", "demo", "-"]) == 0
    assert natd.asked("send")[0]["text"] == "zwei\nZeilen ü"


@pytest.mark.parametrize(
    ("data", "said"), [(b"ok \xff\xfe", "byte 3 is 0xff"), (b"x" * 300_000, "more than")]
)
def test_standard_input_that_can_not_be_sent_is_refused_here(
    natd: FakeDaemon,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: bytes,
    said: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert run(["send", "-"]) == 1
    assert said in capsys.readouterr().err
    assert natd.asked("send") == []


def test_an_argument_that_is_not_utf8_is_refused_here(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["send", os.fsdecode(b"\xff")]) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_what_came_from_a_peer_moves_no_cursor_in_any_command(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x07\x7f\x9b31m\u202e\u200b\r"
    forbidden = set("\x1b\x07\x7f\x9b\u202e\u200b\r")

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poisoned(below) for key, below in value.items()}
        if isinstance(value, list):
            return [poisoned(below) for below in value]
        return value + evil if isinstance(value, str) else value

    for do, answer in ANSWERS.items():
        natd.answers[do] = poisoned(answer)
    for line in ONE_ANSWER_COMMANDS:
        for mode in ([], ["--json"]):
            run([*mode, *shlex.split(line)])
            shown = capsys.readouterr()
            assert not forbidden & set(shown.out + shown.err)
    natd.answers["send"] = Refusal("unknown_peer", evil, evil)
    run(["send", "hi"])
    assert not forbidden & set(capsys.readouterr().err)


def test_config_check_tells_every_problem_and_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.yaml"
    good.write_text("nick: alice\n")
    bad = tmp_path / "bad.yaml"
    bad.write_text("nik: alice\nport: many\n")
    assert run(["config", "check", str(good)]) == 0
    capsys.readouterr()
    assert run(["config", "check", str(bad)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{bad}:1: nik:")
    assert second.startswith(f"{bad}:2: port:")
    assert run(["config", "check", str(bad), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == [first, second]
