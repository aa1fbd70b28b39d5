"""`doctor`: what it says of NATs, of a server that does not answer, and how it looks."""

import time
from pathlib import Path
from typing import Any

import pytest

from natctl.words.doctor_views import LABEL_CELLS, doctor_lines
from natctl.words.wording import WIDTH, cells
from natd.core.base.types import (
    MAIN_SOCKET,
    Address,
    Allocation,
    Filtering,
    Mapping,
    NatReport,
    PathKind,
    PathReport,
    SocketId,
)
from natd.doctor.advice import HELP_TEXTS, LABELS
from natd.doctor.nat_words import THEIRS, nat_words
from natd.ipc import RequestError
from natd.members.recorder import path_row
from tests.processes import Daemon, free_ports, until

VERDICT_LIMIT_S = 10.0

STEPS = [
    {"step": "introduced", "detail": "by 192.0.2.1:8080, seen at 192.0.2.7:40001", "count": 1},
    {"step": "checks", "detail": "its public address", "count": 4, "last_at_s": 0.6},
    {"step": "openers", "detail": "opened a port of our NAT", "count": 256, "sockets": 256},
    {"step": "verdict", "detail": "both-random", "count": 1, "at_s": 10.0, "last_at_s": 10.0},
]

REPLY: dict[str, Any] = {
    "checks": [
        {"name": "socket", "ok": True, "text": "UDP on [::]:40000", "hint": None},
        {"name": "nat", "ok": False, "text": "the hard kind: " * 12, "hint": "IPv6 " * 30},
    ],
    "peer": {"nick": "bob", "id": "b" * 52, "tag": "bbbb"},
    "state": "punching",
    "nats": {"ours": {"words": "a different port " * 10}, "theirs": {"words": "easy"}},
    "attempt": {
        "age_s": 12.0,
        "missing": 0,
        "missing_after": 2,
        "steps": [{"at_s": 0.0, "last_at_s": 0.0, "sockets": 0, **step} for step in STEPS],
    },
    "verdict": "Not connected to bob#bbbb: both are hard; IPv6 would help.",
    "why": "both are hard, " * 10,
    "helps": [{"code": "ipv6", "text": "get IPv6 " * 12}],
}


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (NatReport(), "not known yet"),
        (NatReport(Mapping.OPEN, confidence=0.9), "none: this machine has a public address"),
        (
            NatReport(Mapping.OPEN, Filtering.DEPENDENT, filtering_confidence=0.95),
            "none: this machine has a public address; "
            "a firewall lets in only addresses that we have sent to",
        ),
        (
            NatReport(Mapping.OPEN, Filtering.INDEPENDENT, filtering_confidence=0.95),
            "none: this machine has a public address; no firewall",
        ),
        (
            NatReport(
                Mapping.INDEPENDENT,
                Filtering.ADDRESS_DEPENDENT,
                confidence=0.94,
                filtering_confidence=0.5,
            ),
            "one port for all destinations; "
            "lets in any port of hosts that we have sent to, perhaps all senders; 94 % sure",
        ),
        (
            NatReport(Mapping.INDEPENDENT, allocation=Allocation.PRESERVING, confidence=0.94),
            "one port for all destinations; keeps our port number; 94 % sure",
        ),
        (
            NatReport(
                Mapping.DEPENDENT,
                Filtering.DEPENDENT,
                Allocation.SEQUENTIAL,
                1.0,
                stride=2,
                filtering_confidence=0.95,
            ),
            "a different port for each destination; counts up by 2; "
            "lets in only addresses that we have sent to; 99 % sure",
        ),
        (
            NatReport(
                Mapping.DEPENDENT,
                allocation=Allocation.BLOCK,
                confidence=0.9,
                low=2048,
                high=2559,
            ),
            "a different port for each destination; "
            "picked at random from a block of 512 ports, 2048-2559; 90 % sure",
        ),
    ],
)
def test_a_nat_is_told_in_words(report: NatReport, words: str) -> None:
    assert nat_words(report) == words


def test_a_peers_nat_is_told_as_its_own() -> None:
    """Of the peer's NAT it was said that it keeps our port number."""
    easy = NatReport(
        Mapping.INDEPENDENT,
        Filtering.DEPENDENT,
        Allocation.PRESERVING,
        0.94,
        filtering_confidence=0.95,
    )
    assert nat_words(easy, THEIRS) == (
        "one port for all destinations; keeps its port number; "
        "lets in only addresses that it has sent to; 94 % sure"
    )
    open_ = NatReport(Mapping.OPEN, Filtering.ADDRESS_DEPENDENT, filtering_confidence=0.95)
    assert nat_words(open_, THEIRS) == (
        "none: its machine has a public address; "
        "a firewall lets in any port of hosts that it has sent to"
    )


@pytest.mark.parametrize(("socket", "told"), [(MAIN_SOCKET, "main"), (SocketId(7), "helper")])
def test_of_a_path_programs_are_told_which_socket_it_is_from(socket: SocketId, told: str) -> None:
    path = PathReport(
        PathKind.DIRECT, Address("192.0.2.7", 1), 0.03, "birthday", 1000.0, socket=socket
    )
    assert path_row(path, 1002.0)["socket"] == told


def test_what_would_help_fits_a_line_of_the_list() -> None:
    assert all(len(text) <= WIDTH - 4 for text in HELP_TEXTS.values())


def test_the_name_of_a_check_never_runs_into_its_text() -> None:
    assert all(len(label) < LABEL_CELLS for label in LABELS.values())


def test_nothing_of_it_is_wider_than_eighty_columns() -> None:
    for line in shown(REPLY):
        assert cells(line) <= WIDTH, line


def test_the_attempt_is_told_step_by_step_with_its_times_and_counts() -> None:
    text = "\n".join(shown(REPLY))
    assert "   0.00  introduced by 192.0.2.1:8080, seen at 192.0.2.7:40001" in text
    assert "   0.00  4 x checked its public address, within 0.6 s" in text
    assert "   0.00  256 x opened a port of our NAT from 256 sockets" in text
    assert "  10.00  verdict: both-random" in text


def test_without_v_there_is_no_word_of_what_was_tried_or_of_nats() -> None:
    """What was tried is told in terms that only who knows NATs understands."""
    nats = {"ours": {"router": "of the easy kind", "words": "one port for all destinations"}}
    reply = {**REPLY, "nats": nats, "checks": [{**REPLY["checks"][0], "detail": "UDP on [::]:1"}]}
    short = "\n".join("".join(map(_text, line)) for line in doctor_lines(reply))
    assert "your router  of the easy kind" in short
    for detail in ("one port for all", "checked", "[::]:1", "verdict:"):
        assert detail not in short
        assert detail in "\n".join(shown(reply))


def test_steps_that_were_not_kept_are_told_where_they_are_missing() -> None:
    reply = {**REPLY, "attempt": {**REPLY["attempt"], "missing": 17}}
    lines = shown(reply)
    gap = next(number for number, line in enumerate(lines) if "17 steps are not kept" in line)
    assert "checked its public address" in lines[gap - 1]
    assert "opened a port" in lines[gap + 1]


def test_a_step_that_this_natctl_does_not_know_is_shown_as_it_is() -> None:
    steps = [{"at_s": 1.0, "last_at_s": 1.0, "step": "relayed", "detail": "by x", "count": 1}]
    assert "   1.00  relayed by x" in shown({**REPLY, "attempt": {"age_s": 2.0, "steps": steps}})


def test_a_peer_that_is_not_there_is_told_with_when_it_is_tried_next() -> None:
    assert "bob#bbbb  offline, next try in 12 s" in shown(
        {**REPLY, "state": "offline", "next_try_s": 12.0}
    )
    assert "bob#bbbb  connecting" in shown(REPLY)


def test_a_peer_with_a_path_is_not_said_to_have_none_because_a_server_is_lost() -> None:
    verdict = "No server answers, though others do."
    lines = shown({**REPLY, "state": "online", "path": {"kind": "direct"}, "verdict": verdict})
    assert verdict in lines
    assert not [line for line in lines if line.startswith("Not connected")]


def test_what_fails_beside_a_live_path_is_a_note() -> None:
    reply = {**REPLY, "state": "online", "path": {"kind": "direct"}, "notes": ["nat"], "helps": []}
    assert [line[:10] for line in shown(reply)[:2]] == ["ok    sock", "note  nat "]
    assert not [line for line in shown(reply) if line.startswith("FAIL")]


def test_a_single_help_is_not_one_of_many() -> None:
    (one, *_) = REPLY["helps"]
    assert "What would help:" in shown({**REPLY, "helps": [one]})
    assert "What would help, any one of:" in shown({**REPLY, "helps": [one, one]})


def test_an_answer_of_an_older_daemon_is_shown_too() -> None:
    older = {"checks": [{"name": "path", "ok": True, "text": "fine"}], "verdict": "All is well."}
    assert shown(older) == ["ok    path    fine", "All is well."]


def test_without_an_answer_of_any_server_the_verdict_comes_within_ten_seconds(
    tmp_path: Path,
) -> None:
    with Daemon(tmp_path) as alice:
        alice.join("demo", f"127.0.0.1:{free_ports(1)}", "alice")
        began = time.monotonic()
        with pytest.raises(RequestError) as early:
            alice.request("doctor", peer="bob")
        assert (early.value.code, "ten seconds" in str(early.value.hint)) == ("unknown_peer", True)
        until(lambda: alice.request("doctor")["verdict_code"] is not None, VERDICT_LIMIT_S)
        assert time.monotonic() - began <= VERDICT_LIMIT_S
        report = alice.request("doctor")
        assert report["verdict_code"] == "udp-blocked"
        assert report["verdict"].casefold() == f"{report['why']}.".casefold()
        failed = [check["name"] for check in report["checks"] if not check["ok"]]
        assert failed == ["server", "udp"]
        # The tests' daemons are told to look for nobody on their machine's own LAN.
        (lan,) = [check for check in report["checks"] if check["name"] == "lan"]
        assert "paths.lan_discovery is false" in lan["text"]
        assert report["lan"] == {"listening": False, "heard": []}
        assert report["nat"]["lifetime"]["idle_s"] is None
        # Known at once, and told once it is on disk.
        until(lambda: alice.events("server_down") != [], 5.0)
        (lost,) = alice.events("server_down")
        assert lost["code"] == "udp-blocked"
        (problem,) = alice.request("status")["problems"]
        assert problem["code"] == "server_down"
        assert problem["text"] == f"demo: {report['why']}"

        # Of a peer nothing could be heard: that was all that was said.
        about_bob = alice.request("doctor", peer="bob")
        assert (about_bob["verdict_code"], about_bob["peer"]) == ("udp-blocked", None)
        assert about_bob["helps"] == report["helps"] != []
        where = "natd has never met bob, so only a server could tell where it is"
        assert about_bob["verdict"] == f"{where}; {report['why']}."
        failed = [check["name"] for check in about_bob["checks"] if not check["ok"]]
        assert failed == ["server", "udp", "peer"]
        assert alice.request("peers")["problem"] == problem


def shown(reply: dict[str, Any]) -> list[str]:
    """The lines as a terminal without colours gets them, details too."""
    return ["".join(map(_text, line)).rstrip() for line in doctor_lines(reply, verbose=True)]


def _text(span: Any) -> str:
    return span if isinstance(span, str) else str(span[0])
