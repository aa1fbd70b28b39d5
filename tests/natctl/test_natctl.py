"""natctl against a daemon of straw: exit codes, error texts, JSON, and what is printed how."""

import ast
import io
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from natctl.__main__ import COMMANDS_AT, command_line, run
from natctl.exit_codes import OF_ERROR_CODES
from natd.__main__ import command as natd_command
from natd.host.errors import COMMAND_EXIT_CODES
from tests.ipc.fake_daemon import FakeDaemon, Refusal

ROOT = Path(__file__).resolve().parents[2]

BOB = {"nick": "bob", "id": "b" * 52, "tag": "bbbb"}

PATH = {
    "kind": "direct",
    "address": "198.51.100.4:50321",
    "rtt_ms": 31.2,
    "technique": "simultaneous-open",
    "age_s": 12.0,
}

STATUS: dict[str, Any] = {
    "version": "0.2.0",
    "mode": "peer",
    "pid": 4711,
    "uptime_s": 3.5,
    "self": {
        "nick": "alice",
        "id": "a" * 52,
        "tag": "aaaa",
        "udp": "[::]:41234",
        "observed": ["203.0.113.7:41234"],
        "nat": {
            "mapping": "endpoint-independent",
            "filtering": "unknown",
            "allocation": "preserving",
            "confidence": 0.9,
        },
    },
    "networks": [
        {
            "name": "demo",
            "nick": "alice",
            "servers": [
                {
                    "address": "192.0.2.1:8080",
                    "state": "registered",
                    "rtt_ms": 24.0,
                    "last_answer_s": 3.0,
                }
            ],
            "peers": {"known": 2, "connected": 1},
            "queued": 1,
            "unread": 4,
        }
    ],
    "problems": [],
}

ANSWERS: dict[str, Any] = {
    "status": STATUS,
    "peers": {
        "network": "demo",
        "peers": [
            {
                **BOB,
                "trust": "new",
                "state": "online",
                "path": PATH,
                "verdict": None,
                "queued": 0,
                "last_seen_s": 0.4,
            },
            {
                "nick": "carol",
                "id": "c" * 52,
                "tag": "cccc",
                "trust": "changed",
                "state": "offline",
                "path": None,
                "verdict": "both NATs are hard; IPv6 at one of them would help",
                "queued": 2,
                "last_seen_s": 7200.0,
            },
        ],
    },
    "networks": {
        "networks": [
            {
                "name": "demo",
                "nick": "alice",
                "open": False,
                "servers": ["192.0.2.1:8080"],
                "peers": {"known": 2, "connected": 1},
            }
        ]
    },
    "identity": {"nick": "alice", "id": "a" * 52, "tag": "aaaa", "state_dir": "/var/lib/natd"},
    "send": {
        "message": "01J",
        "network": "demo",
        "accepted": True,
        "delivered": [],
        "queued": ["b" * 52],
    },
    "history": {
        "messages": [
            {
                "id": 1,
                "ts": "2026-01-02T03:04:05.678Z",
                "network": "demo",
                "direction": "out",
                "from": {"nick": "alice", "id": "a" * 52},
                "to": ["b" * 52],
                "message": "01J",
                "text": "hi",
                "delivered": ["b" * 52],
            }
        ]
    },
    "ping": {"peer": BOB, "rtt_ms": 31.2, "path": PATH},
    "doctor": {
        "checks": [{"name": "socket", "ok": True, "text": "UDP", "hint": None}],
        "verdict": "All is well.",
    },
    "wait": {"network": "demo", "connected": 2},
    "retry": {"network": "demo", "peer": None, "retrying": 2},
    "leave": {"network": "demo", "left": True, "purged": False},
    "reload": {"reloaded": True, "changed": ["nick"]},
    "config_show": {"config": {"nick": "alice", "limits": {"history_days": 30}}, "sources": {}},
    "trust": {"peer": BOB, "trust": "new"},
    "block": {"peer": BOB, "blocked": True},
}

ONE_ANSWER_COMMANDS = (
    "status",
    "peers",
    "peers demo",
    "networks",
    "identity",
    "send hi",
    "send demo hi",
    "send demo hi --to bob --wait 2",
    "history --peer bob --search h --since 2h -n 5",
    "ping bob",
    "doctor",
    "doctor bob",
    "retry",
    "retry bob --network demo",
    "wait demo --peers 2",
    "leave demo --purge",
    "reload",
    "config show",
    "trust bob --accept-new-key",
    "block bob",
)


@pytest.fixture
def natd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    path = tmp_path / "control.sock"
    monkeypatch.setenv("NATD_SOCKET", str(path))
    with FakeDaemon(path, answers=dict(ANSWERS)) as daemon:
        yield daemon


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
        ("history --since yesterday-ish", "expected a span"),
        ("tail -n few", "expected a whole number, got 'few'"),
        ("trust bob", "--accept-new-key"),
        ("join -", "invites"),
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


def test_colours_are_for_terminals_only_and_not_with_no_color(natd: FakeDaemon) -> None:
    assert b"\x1b[" in at_a_terminal(["status"])
    assert b"\x1b[" not in at_a_terminal(["status", "--no-color"])
    assert b"\x1b[" not in at_a_terminal(["status"], NO_COLOR="1")
    assert b"\x1b[" not in at_a_terminal(["status"], TERM="dumb")


def test_an_encoding_without_our_signs_is_no_obstacle(natd: FakeDaemon) -> None:
    shown = natctl("peers", env={"PYTHONIOENCODING": "ascii"})
    assert shown.returncode == 0
    assert b"*  bob#bbbb" in shown.stdout


def test_a_reader_that_goes_away_early_gets_no_complaint(natd: FakeDaemon) -> None:
    for number in range(2000):
        natd.publish("message", network="demo", text=str(number), **{"from": BOB})
    shown = subprocess.run(
        f"{shlex.join(COMMAND)} events --since 0 | head -n 1",
        shell=True,
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert shown.returncode == 0
    assert shown.stdout.endswith(b" 0\n")
    assert shown.stderr == b""


def test_an_interruption_is_exit_code_130_and_no_traceback(natd: FakeDaemon) -> None:
    process = subprocess.Popen(
        [*COMMAND, "events"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_until(lambda: bool(natd.asked("subscribe")))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_status_watch_shows_it_again_until_interrupted(natd: FakeDaemon) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--json", "status", "--watch"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_until(lambda: len(natd.asked("status")) >= 3)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert [json.loads(line)["pid"] for line in out.splitlines()[:2]] == [4711, 4711]


def test_shutdown_returns_when_the_daemon_is_gone(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: dict[str, Any]) -> dict[str, Any]:
        natd._stop.set()
        return {"stopping": True}

    natd.answers["shutdown"] = stop
    assert run(["shutdown"]) == 0
    assert capsys.readouterr().out == "stopped\n"


def test_shutdown_waits_until_the_process_has_ended(natd: FakeDaemon, tmp_path: Path) -> None:
    """It said that it had stopped while its process was still there, with the state locked."""
    path = tmp_path / "slow" / "control.sock"
    path.parent.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_END, str(path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert run(["--socket", str(path), "shutdown"]) == 0
    assert process.poll() == 0
    process.stdout.close()


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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(
    capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    assert run(["completion", shell]) == 0
    assert "_NATCTL_COMPLETE" in capsys.readouterr().out


def test_completion_offers_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_NATCTL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "natctl st")
    monkeypatch.setenv("COMP_CWORD", "1")
    run([])
    assert capsys.readouterr().out.splitlines() == ["plain,status"]


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS_AT:
        assert run([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert len(shown.splitlines()) > 3
        assert max(map(len, shown.splitlines())) <= 80


def test_every_command_in_a_hint_can_be_typed() -> None:
    checked = 0
    for place, text in texts_of_ours():
        for quoted in re.findall(r"`(natctl [^`]*|natd[^`]*)`", text):
            parse(place, quoted)
            checked += 1
        if (
            text.startswith("natctl ")
            and "FILLED" not in text.split()[1]
            and not re.search(r" (says|lists|waits) ", text)
        ):
            parse(place, text)
        for name in re.findall(r"\bnatctl ([a-z]+)\b", text):
            assert name in COMMANDS_AT, f"{place}: natctl {name}"
            checked += 1
    assert checked > 20


def test_status_loads_nothing_that_it_does_not_need(natd: FakeDaemon) -> None:
    script = (
        "import sys\nfrom natctl.__main__ import run\nrun(['-q', 'status'])\n"
        "heavy = {'asyncio', 'zmq', 'pathlib', 'msgspec', 'subprocess', 'natd.core', 'yaml'}\n"
        "print(sorted(heavy.intersection(sys.modules)), file=sys.stderr)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert shown.stderr.strip() == b"[]"


COMMAND = (sys.executable, "-m", "natctl")

SLOW_TO_END = """
import sys, threading, time
from pathlib import Path
from tests.ipc.fake_daemon import FakeDaemon
asked = threading.Event()
answers = {"shutdown": lambda _: asked.set() or {"stopping": True}}
with FakeDaemon(Path(sys.argv[1]), answers=answers):
    print("ready", flush=True)
    asked.wait()
    time.sleep(0.1)
time.sleep(0.5)
"""
"""A daemon whose process goes on for a while after its socket is closed."""


def natctl(*arguments: str, env: dict[str, str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        check=False,
    )


def at_a_terminal(arguments: list[str], **env: str) -> bytes:
    """What a command writes to a terminal."""
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT), **env}
    if "NO_COLOR" not in env:
        environment.pop("NO_COLOR", None)
    ours, its = pty.openpty()
    with subprocess.Popen([*COMMAND, *arguments], stdout=its, env=environment) as process:
        os.close(its)
        shown = b""
        while select.select([ours], [], [], 20.0)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the terminal has been left
                break
    os.close(ours)
    assert process.returncode == 0
    return shown


def wait_until(condition: Any, limit_s: float = 10.0) -> None:
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def texts_of_ours() -> Iterator[tuple[str, str]]:
    """Every string of the programs that is no comment, with FILLED where something is put in."""
    for package in ("natctl", "natd", "frontends"):
        for file in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(file.read_text())
            passed_over = {
                id(below)
                for node in ast.walk(tree)
                if isinstance(node, ast.JoinedStr)
                or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
                for below in ast.iter_child_nodes(node)
            }
            for node in ast.walk(tree):
                place = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.JoinedStr):
                    parts = [
                        str(part.value) if isinstance(part, ast.Constant) else "FILLED"
                        for part in node.values
                    ]
                    yield place, "".join(parts)
                elif (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and id(node) not in passed_over
                ):
                    yield place, node.value


def parse(place: str, quoted: str) -> None:
    program, *arguments = shlex.split(quoted)
    command: click.Command = command_line if program == "natctl" else natd_command
    try:
        context = command.make_context(program, arguments)
        # A group keeps the command's name apart from what stands behind it.
        while isinstance(command, click.Group) and context._protected_args:
            words = [*context._protected_args, *context.args]
            _, below, rest = command.resolve_command(context, words)
            assert below is not None
            command = below
            context = command.make_context(command.name, rest, parent=context)
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        pass  # it was a question for help
    except click.UsageError as error:
        pytest.fail(f"{place}: `{quoted}`: {error.format_message()}")
