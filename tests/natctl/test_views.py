"""What `status` and `peers` show of a daemon's answer."""

import time
from typing import Any

import pytest

from natctl.words.doctor_views import doctor_lines
from natctl.words.views import dropped_lines, forgotten_lines, peers_lines, status_lines
from natctl.words.wording import cells, next_try_words, shortened

PEER: dict[str, Any] = {
    "nick": "bob",
    "id": "b" * 52,
    "tag": "bbbb",
    "trust": "new",
    "state": "offline",
    "path": None,
    "verdict": None,
    "queued": 0,
    "last_seen_s": 125.0,
}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"next_try_s": None}, ""),
        ({"next_try_s": 0.0}, "trying now"),
        ({"next_try_s": 12.4}, "next try in 12 s"),
        ({"next_try_s": 80.0}, "next try in 1 min"),
        ({"next_try_s": 12.4, "state": "online"}, ""),
    ],
)
def test_a_peer_that_is_not_there_is_told_with_when_it_is_tried_next(
    fields: dict[str, Any], words: str
) -> None:
    assert next_try_words({**PEER, **fields}) == words


def test_a_text_of_any_length_is_shortened_in_a_blink() -> None:
    began = time.process_time()
    assert shortened("Ü" * 100_000, 20) == "Ü" * 19 + "…"
    assert cells(shortened("e\u0301" * 100_000, 20)) == 20
    assert time.process_time() - began < 1.0


def test_peers_shows_when_each_was_heard_and_is_tried_next() -> None:
    rows = [PEER | {"next_try_s": 12.0}, PEER | {"nick": "carol", "last_seen_s": None}]
    lines = shown(peers_lines({"network": "demo", "peers": rows}))
    assert lines[1:] == [
        "○  bob#bbbb    offline  heard 2 min ago, next try in 12 s",
        "○  carol#bbbb  offline",
    ]


def test_a_path_that_a_helper_socket_has_won_is_told_as_that() -> None:
    path = {"kind": "direct", "address": "192.0.2.7:1", "rtt_ms": 31.0, "age_s": 2.0}
    rows = [
        PEER | {"state": "online", "path": {**path, "technique": "birthday", "socket": "helper"}},
        PEER | {"state": "online", "path": {**path, "technique": "last-good", "socket": "main"}},
    ]
    lines = shown(peers_lines({"network": "demo", "peers": rows}, verbose=True))
    assert lines[1].endswith("direct 192.0.2.7:1  for 2.0 s")
    assert lines[2] == "   direct path, by birthday, helper socket"
    assert lines[4] == "   direct path, by last-good"
    plain = shown(peers_lines({"network": "demo", "peers": rows}))
    assert "birthday" not in "".join(plain)


def test_a_long_address_fits_the_row_of_a_peer() -> None:
    path = {"kind": "lan", "address": "192.0.2.1:5", "rtt_ms": 1.0, "age_s": 12.0}
    short = PEER | {"state": "online", "path": {**path, "technique": "simultaneous-open"}}
    (_, row) = shown(peers_lines({"network": "demo", "peers": [short]}))
    assert row == "●  bob#bbbb  1.0 ms  lan 192.0.2.1:5  for 12 s"
    long = {**short, "path": {**short["path"], "address": "[fe80::849b:13ff:fe5c:d451]:46259"}}
    (_, *rows) = shown(peers_lines({"network": "demo", "peers": [short, long]}))
    assert all(cells(row) <= 80 for row in rows)
    assert rows[1].endswith("]:46259  for 12 s")


def test_the_words_for_the_worst_nat_fit_a_terminal() -> None:
    hard = "address-and-port-dependent"
    nat = {"mapping": hard, "filtering": hard, "allocation": "preserving"}
    nat["filtering_confidence"] = 0.5  # type: ignore[assignment]
    me = {"nick": "alice", "id": "a" * 52, "udp": "[::]:1", "observed": [], "nat": nat}
    rows = shown(status_lines({"self": me}, verbose=True))
    assert all(cells(row) <= 80 for row in rows)
    assert f"nat      mapping {hard}" in rows
    assert f"         filtering probably {hard}, allocation preserving" in rows


def test_where_nobody_has_been_heard_of_it_is_told_that_no_server_answers() -> None:
    """Behind a firewall without UDP that nobody has been here yet was all that was said."""
    problem = {"code": "server_down", "text": "demo: nothing answers", "hint": "natctl doctor"}
    lines = shown(peers_lines({"network": "demo", "peers": [], "problem": problem}))
    assert lines == [
        "demo  no peers yet",
        "! demo: nothing answers",
        "  natctl doctor",
    ]
    assert len(shown(peers_lines({"network": "demo", "peers": [], "problem": None}))) == 1


def test_a_server_is_shown_by_the_name_that_it_was_given_and_where_it_is() -> None:
    server = {"address": "192.0.2.1:8080", "state": "registered", "rtt_ms": 2.0}
    for name, words in (
        ("chat.test:8080", "●  server chat.test:8080 at 192.0.2.1:8080  2.0 ms"),
        ("192.0.2.1:8080", "●  server 192.0.2.1:8080  2.0 ms"),
    ):
        networks = [{"name": "demo", "servers": [server | {"name": name}], "peers": {}}]
        assert words in shown(status_lines({"networks": networks}))


def test_while_this_machine_is_offline_no_server_is_said_to_be_silent() -> None:
    servers = [{"address": "192.0.2.1:8080", "state": "lost", "last_answer_s": 70.0}]
    status: dict[str, Any] = {"networks": [{"name": "demo", "servers": servers, "peers": {}}]}
    assert "✗  server 192.0.2.1:8080  does not answer, last answer 1 min ago" in shown(
        status_lines(status)
    )
    offline = [{"code": "offline", "text": "this machine is offline", "hint": "plug it in"}]
    lines = shown(status_lines(status | {"problems": offline}))
    assert "○  server 192.0.2.1:8080  not asked" in lines


def test_status_tells_how_long_the_nat_keeps_a_flow_where_that_is_known() -> None:
    nat = {"mapping": "endpoint-independent", "filtering": "unknown", "allocation": "random"}
    me = {"nick": "alice", "id": "a" * 52, "udp": "[::]:1", "observed": [], "nat": nat}
    without = shown(status_lines({"self": me}, verbose=True))
    assert "nat      mapping endpoint-independent, allocation random" in without
    words = "forgets a flow after 25 to 32 s of silence"
    nat["lifetime"] = {"words": words}  # type: ignore[assignment]
    assert [
        line for line in shown(status_lines({"self": me}, verbose=True)) if line not in without
    ] == [" " * 9 + words]


def test_status_speaks_of_a_router_and_leaves_the_terms_to_v() -> None:
    nat = {"mapping": "endpoint-independent", "filtering": "unknown", "allocation": "random"}
    nat["router"] = "of the easy kind: it uses one port for all destinations"
    me = {"nick": "alice", "id": "a" * 52, "udp": "[::]:1", "observed": [], "nat": nat}
    lines = shown(status_lines({"self": me}))
    assert "router   of the easy kind: it uses one port for all destinations" in lines
    assert "mapping" not in "".join(lines)


def test_forgetting_tells_what_is_not_sent_and_that_it_may_come_back() -> None:
    reply = {"peer": {"nick": "bob", "tag": "d27t"}, "queued": 2, "was_connected": True}
    assert shown(forgotten_lines(reply)) == [
        "bob#d27t is forgotten; what was said stays in the history",
        "not sent any more: 2 messages that waited for it",
        "it was connected, and is new if it comes back; to keep it out, block it",
    ]
    assert len(forgotten_lines({**reply, "queued": 0, "was_connected": False})) == 1


def test_what_was_dropped_is_told_with_v_by_part_the_parts_without_any_left_out() -> None:
    dropped = {
        "node": {"quic-of-nobody": 12, "empty": 1},
        "sockets": {},
        "networks": {"demo": {"check-replayed": 3}, "quiet": {}},
    }
    lines = shown(dropped_lines(dropped))
    assert lines == [
        "dropped since the start",
        "  node        12 x quic-of-nobody, 1 x empty",
        "  demo        3 x check-replayed",
    ]
    me = {"nick": "alice", "id": "a" * 52, "udp": "[::]:1", "observed": []}
    status = {"self": me, "dropped": dropped}
    assert lines[1] in shown(status_lines(status, verbose=True))
    assert lines[1] not in shown(status_lines(status))
    assert lines[1] in shown(doctor_lines({"verdict": "Well.", "dropped": dropped}, verbose=True))
    assert shown(doctor_lines({"verdict": "Well.", "dropped": dropped})) == ["Well."]
    assert shown(dropped_lines({"node": {}, "networks": {}})) == [
        "nothing was dropped since the start"
    ]


def shown(lines: Any) -> list[str]:
    """As a terminal without colours gets them."""
    return [
        "".join(span if isinstance(span, str) else span[0] for span in line).rstrip()
        for line in lines
    ]
