"""`natctl send` asks again where it got no answer, by one name."""

import re
import threading
import time
from pathlib import Path

import pytest

from natctl.__main__ import run
from tests.ipc.fake_daemon import FakeDaemon, Refusal

ACCEPTED = {"message": "m1", "network": "demo", "accepted": True, "delivered": [], "queued": ["b"]}


def test_a_daemon_that_is_restarted_under_the_request_is_asked_again_by_the_same_name(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["send"] = ACCEPTED
    natd.silent = True

    def restart() -> None:
        while not natd.asked("send"):
            time.sleep(0.01)
        natd.__exit__(None, None, None)
        natd.silent = False
        time.sleep(0.3)
        natd.__enter__()

    restarting = threading.Thread(target=restart)
    restarting.start()
    assert run(["send", "demo", "hi"]) == 0
    restarting.join()
    names = [request["id"] for request in natd.asked("send")]
    assert len(names) == 2
    assert names[0] == names[1]
    assert re.fullmatch("[0-9a-f]{32}", names[0])
    assert "the message is sent once" in capsys.readouterr().err


def test_each_message_has_a_name_of_its_own(natd: FakeDaemon) -> None:
    natd.answers["send"] = ACCEPTED
    for _ in range(3):
        assert run(["send", "demo", "hi"]) == 0
    assert len({request["id"] for request in natd.asked("send")}) == 3


def test_where_no_answer_comes_the_hint_says_how_to_ask_again_and_send_once(
    natd: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    natd.answers["send"] = ACCEPTED
    natd.silent = True
    began = time.monotonic()
    assert run(["--timeout", "0.5", "send", "demo", "hi"]) == 3
    assert time.monotonic() < began + 5.0
    shown = capsys.readouterr().err
    (option, name) = re.findall(r"(--id) (\w+)", shown)[-1]
    natd.silent = False
    assert run(["send", option, name, "demo", "hi"]) == 0
    assert {request["id"] for request in natd.asked("send")} == {name}


def test_with_no_daemon_there_nothing_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NATD_SOCKET", str(tmp_path / "none.sock"))
    began = time.monotonic()
    assert run(["send", "demo", "hi"]) == 3
    assert time.monotonic() < began + 5.0
    shown = capsys.readouterr().err
    assert "no natd is running" in shown
    assert "--id" not in shown


def test_a_refusal_is_no_reason_to_ask_again(natd: FakeDaemon) -> None:
    natd.answers["send"] = Refusal("nobody_here", "nobody else is in demo yet")
    assert run(["send", "demo", "hi"]) == 1
    assert len(natd.asked("send")) == 1
