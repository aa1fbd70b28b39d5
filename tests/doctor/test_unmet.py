"""A peer that was never met: what `doctor` says of it, whose friend waits at the other end."""

from pathlib import Path

import pytest

from natd.core.base.verdict import OFFLINE, VerdictCode
from natd.doctor.unmet import with_absent, with_unmet
from tests.processes import Daemon, Server, until

OWN = {"checks": [], "summary": "All works on this computer.", "verdict": "All is well."}


def test_a_peer_that_no_server_could_name_is_told_with_why_none_can() -> None:
    summary = "This computer is offline."
    answer = with_unmet(OWN, "bob", OFFLINE, VerdictCode.OFFLINE, summary)
    assert answer["verdict"] == (
        "natd has never met bob, so only a server could tell where it is; this machine is offline."
    )
    assert (answer["verdict_code"], answer["why"]) == ("offline", OFFLINE)


@pytest.mark.parametrize(
    ("has_server", "code", "words"),
    [
        (True, "not-registered", "name, server and secret must be the same on both sides."),
        (False, None, "it is not on this LAN, or it has joined another network"),
    ],
)
def test_a_peer_that_is_not_there_is_told_with_what_it_has_to_do(
    has_server: bool, code: str | None, words: str
) -> None:
    answer = with_absent(OWN, "bob", "demo", ["carol#cccc"], has_server=has_server)
    assert answer["verdict"].startswith("Nobody called bob has been met in demo: ")
    assert words in answer["verdict"]
    assert answer["verdict_code"] == code
    (row,) = answer["checks"]
    assert (row["ok"], row["text"]) == (False, "natd has never met bob")
    assert row["hint"] == "peers known here: carol#cccc"
    assert ":" not in str(answer["why"]).partition(": ")[2]


def test_where_the_server_is_not_found_nobody_is_said_to_be_away(tmp_path: Path) -> None:
    with Daemon(tmp_path) as alice:
        alice.join("other", "elsewhere.invalid:8080", "alice")
        alice.join("demo", "nowhere.invalid:8080", "alice")
        until(lambda: len(alice.request("status")["problems"]) == 2, 30.0)
        answer = alice.request("doctor", peer="bob", network="demo")
        assert "nowhere.invalid can't be resolved" in answer["verdict"], "not `Nowhere`"
        assert (answer["verdict_code"], answer["helps"]) == (None, [])


def test_of_a_peer_that_has_not_come_yet_all_of_doctor_is_told(tmp_path: Path) -> None:
    """It was two lines: `no peer 'bob' here (known: nobody yet)`."""
    (there, here) = (tmp_path / "server", tmp_path / "alice")
    with Server(there) as server, Daemon(here) as alice:
        alice.join("demo", server.address, "alice")
        until(lambda: alice.events("server_up") != [], 10.0)
        answer = alice.request("doctor", peer="bob")
        assert (answer["verdict_code"], answer["peer"]) == ("not-registered", None)
        assert answer["summary"].startswith("natd has never met bob")
        assert [check["name"] for check in answer["checks"] if not check["ok"]] == ["peer"]
        assert [row["code"] for row in answer["helps"]] == ["start-peer"]
