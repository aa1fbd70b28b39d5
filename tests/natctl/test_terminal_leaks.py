"""Every command of natctl at a terminal, when every word that the daemon tells is hostile."""

import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ipc.fake_daemon import FakeDaemon, Refusal
from tests.ipc.sequences import EVERY_SEQUENCE, assert_no_leak
from tests.natctl.answers import ANSWERS, BOB, ONE_ANSWER_COMMANDS, PATH
from tests.processes import started

ROOT = Path(__file__).resolve().parents[2]
POISON = "".join(f"<{number}:{sequence}>" for number, sequence in enumerate(EVERY_SEQUENCE))

ONE_OF_EACH = {line.split()[0]: line for line in ONE_ANSWER_COMMANDS}.values()

KEPT = frozenset(("ts", "type", "direction", "state", "kind", "mode", "trust"))
"""What chooses the words: it is not shown itself."""

TEXTS = ("text", "reason", "verdict", "summary", "words", "server", "code", "message", "hint")
EVENTS = (
    *("message", "sent", "delivered", "peer_met", "peer_online", "peer_offline", "peer_changed"),
    *("path_changed", "verdict", "server_up", "server_down", "server_suspected", "joined", "left"),
    *("identity_used_twice", "state_restored", "messages_missing", "nat_changed", "gap"),
    *("something_new", f"event {POISON}"),
)


@pytest.mark.parametrize("line", [*ONE_OF_EACH, "peers -v", "doctor -v bob"])
def test_nothing_that_the_daemon_tells_reaches_the_terminal_raw(
    natd: FakeDaemon, line: str
) -> None:
    for only_added in (True, False):
        natd.answers.update({do: poisoned(answer, only_added) for do, answer in ANSWERS.items()})
        output = at_a_terminal(*line.split())
        assert_no_leak(output)
        assert "Traceback" not in output


@pytest.mark.parametrize(
    "line", ["tail -n 50", "events", "history", "--json events", "--json peers"]
)
def test_no_event_does(natd: FakeDaemon, line: str) -> None:
    who = poisoned(BOB, False)
    words: dict[str, Any] = dict.fromkeys(TEXTS, POISON)
    for kind in EVENTS:
        fields = {"network": POISON, "from": who, "to": [POISON], "peer": who, "servers": [POISON]}
        natd.publish(kind, **fields, **words, path=poisoned(PATH, False), previous_id=POISON)
    natd.answers["history"] = poisoned({"messages": natd.log}, True)
    natd.answers["peers"] = poisoned(ANSWERS["peers"], True)
    command = line if line.startswith(("history", "--json peers")) else f"{line} --since 0"
    output = at_a_terminal(*command.split())
    assert "229:" in output or "<0:" in output, "it was shown"
    assert_no_leak(output)


@pytest.mark.parametrize("line", ["send hi", "peers", "doctor", "ping bob", "join x", "tail"])
def test_no_refusal_does(natd: FakeDaemon, line: str) -> None:
    for do in (*ANSWERS, "join", "subscribe"):
        natd.answers[do] = Refusal(f"no {POISON}", POISON, POISON)
    natd.hello = {"protocol": 1, "version": POISON, "features": [POISON]}
    assert_no_leak(at_a_terminal(*line.split()))


@pytest.mark.parametrize("flag", ["--socket", "--timeout", "--nothing"])
def test_no_argument_and_no_file_name_does(natd: FakeDaemon, flag: str, tmp_path: Path) -> None:
    """Scripts pass on names that somebody else has made."""
    name = "".join(each for each in EVERY_SEQUENCE[:150] if each.isprintable() or "\x1b" in each)
    name = name.replace("/", "").replace("\0", "")
    assert_no_leak(at_a_terminal(flag, name, "status"))
    assert_no_leak(at_a_terminal("join", "demo", "--secret-file", str(tmp_path / name[:60])))
    assert_no_leak(at_a_terminal("config", "check", "--config", str(tmp_path / name[:60])))
    assert_no_leak(at_a_terminal(name))


def poisoned(value: Any, only_added: bool) -> Any:
    """The same with every string hostile."""
    if isinstance(value, dict):
        return {k: v if k in KEPT else poisoned(v, only_added) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(each, only_added) for each in value]
    if isinstance(value, str):
        return value + POISON if only_added else POISON
    return value


def at_a_terminal(*arguments: str) -> str:
    """What natctl writes, stdout and stderr, to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "natctl", *arguments]
    terminal = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    written = b""
    try:
        with started(command, **terminal, cwd=ROOT, env=environment):
            os.close(theirs)
            while data := _read(ours):
                written += data
    finally:
        os.close(ours)
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody has it open any more
        return b""
