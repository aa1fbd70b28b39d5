"""What a chat shows: events in, lines out, in UTC and without a terminal."""

from datetime import UTC

import pytest

from frontends.chatview import REMEMBERED_MESSAGES, ROWS_OF_A_MESSAGE, ChatView
from tests.frontends.shown_chat import (
    BOB,
    CAROL,
    NOW,
    PATH,
    delivered,
    event,
    message,
    opened,
    sent,
    shown,
)


def test_a_message_is_time_nick_and_text() -> None:
    view = opened()
    view.receive_event(message(BOB, "hi"), NOW)
    assert shown(view) == ["22:13 bob: hi"]


def test_a_day_begins_with_a_line_of_its_own() -> None:
    view = ChatView("demo", zone=UTC)
    view.receive_event(message(BOB, "hi", number=1), NOW)
    view.receive_event(message(BOB, "late", ts="2023-11-15T00:00:01.000Z", number=2), NOW)
    assert shown(view) == [
        "── Tuesday, 2023-11-14 ──",
        "22:13 bob: hi",
        "── Wednesday, 2023-11-15 ──",
        "00:00 bob: late",
    ]


def test_a_tick_grows_from_queued_over_some_to_all() -> None:
    view = opened()
    view.receive_event(sent("hi", to=[BOB, CAROL]), NOW)
    view.receive_event(delivered(BOB), NOW)
    view.receive_event(delivered(BOB), NOW)
    view.receive_event(delivered(CAROL), NOW)
    lines = view.lines()
    assert [line.plain for line in lines] == [
        "22:13 alice: hi ·",
        "22:13 alice: hi 1/2",
        "22:13 alice: hi 1/2",
        "22:13 alice: hi ✓",
    ]
    assert len({line.key for line in lines}) == 1
    assert [line.is_again for line in lines] == [False, True, True, True]


def test_a_message_accepted_before_anyone_was_known_waits_without_a_count() -> None:
    view = opened()
    view.receive_event(sent("hi", to=[]), NOW)
    view.receive_event(delivered(BOB), NOW)
    assert shown(view) == ["22:13 alice: hi ·", "22:13 alice: hi ✓"]


def test_the_reply_tells_who_was_addressed_whichever_comes_first() -> None:
    reply = {"message": "m1", "delivered": [], "queued": ["bbbb2222", "cccc3333"]}
    view = opened()
    view.receive_reply(reply, None)
    view.receive_event(sent("hi", to=[]), NOW)
    view.receive_reply(reply, None)
    view.receive_event(delivered(CAROL), NOW)
    assert shown(view)[-1] == "22:13 alice: hi 1/2"


def test_what_was_said_to_one_peer_says_so() -> None:
    view = opened()
    view.receive_event(sent("psst", to=[BOB]), NOW)
    view.receive_reply({"message": "m1", "delivered": [], "queued": ["bbbb2222"]}, "bob")
    assert shown(view)[-1] == "22:13 alice to bob: psst ·"


def test_what_is_private_says_so_on_both_sides_and_later_too() -> None:
    view = opened()
    row = {**message(BOB, "only you"), "direction": "in", "kind": "private"}
    mine = {**sent("psst", to=[BOB]), "direction": "out", "kind": "private"}
    view.receive_history([row, {**mine, "delivered": ["bbbb2222"]}])
    view.receive_event(message(BOB, "and you", number=2, kind="private"), NOW)
    assert shown(view) == [
        "22:13 bob to you: only you",
        "22:13 alice to bob: psst ✓",
        "22:13 bob to you: and you",
    ]


def test_a_message_from_the_history_is_not_shown_again_when_its_event_comes() -> None:
    view = opened()
    event = message(BOB, "hi")
    mine = {**sent("hello", to=[BOB]), "direction": "out", "delivered": ["bbbb2222"]}
    view.receive_history([{**event, "direction": "in"}, mine])
    view.receive_event(event, NOW)
    view.receive_event(sent("hello", to=[BOB]), NOW)
    view.receive_event(delivered(BOB), NOW)
    lines = view.lines()
    assert [line.plain for line in lines if not line.is_again] == [
        "22:13 bob: hi",
        "22:13 alice: hello ✓",
    ]
    assert {line.plain for line in lines if line.is_again} == {"22:13 alice: hello ✓"}


def test_the_same_message_id_of_two_peers_is_two_messages() -> None:
    view = opened()
    view.receive_event(message(BOB, "one"), NOW)
    view.receive_event(message(CAROL, "two"), NOW)
    assert shown(view) == ["22:13 bob: one", "22:13 carol: two"]


def test_a_nick_has_its_tag_only_while_another_has_the_same() -> None:
    view = opened()
    view.receive_event(message(BOB, "one", number=1), NOW)
    view.receive_event(message({**CAROL, "nick": "Bob"}, "two", number=2), NOW)
    view.receive_event(message(BOB, "three", number=3), NOW)
    view.receive_event(message({"nick": "alice", "id": "dddd"}, "four", number=4), NOW)
    assert shown(view) == [
        "22:13 bob: one",
        "22:13 Bob#cccc: two",
        "22:13 bob#bbbb: three",
        "22:13 alice#dddd: four",
    ]


def test_nobody_can_pass_for_a_note_or_for_the_beginning_of_a_line() -> None:
    view = opened()
    nick = "* server is lost:\n22:13 bob"
    view.receive_event(message({"nick": nick, "id": "dddd"}, "pay me\n22:14 bob: ok"), NOW)
    first, second = shown(view)[0].split("\n")
    assert first == "22:13 *_server_is_lost:␊22:13…: pay me"
    assert second == " " * len("22:13 *_server_is_lost:␊22:13…: ") + "22:14 bob: ok"


def test_a_nick_of_nothing_is_shown_by_its_tag() -> None:
    view = opened()
    view.receive_event(message({"nick": " \u3000", "id": "dddd9"}, "hi"), NOW)
    view.receive_event(message({"nick": "\u2800", "id": "dddd9"}, "hi", number=2), NOW)
    assert shown(view) == ["22:13 #dddd: hi", "22:13 <U+2800>: hi"]


def test_whatever_a_peer_or_a_server_says_comes_out_safe() -> None:
    bad = "\x1b[2J\u202e\x9b"
    peer = {"nick": bad, "id": bad, "tag": bad, "trust": bad, "state": "online", "verdict": bad}
    path = {"kind": bad, "address": bad, "technique": bad, "rtt_ms": 1}
    view = opened()
    view.receive_peers([{**peer, "path": path}])
    view.receive_event(message(peer, bad, number=1), NOW)
    view.receive_event(sent(bad, to=[peer]), NOW)
    view.receive_reply({"message": "m1"}, bad)
    for kind in ("peer_online", "path_changed", "verdict", "peer_offline", "peer_changed"):
        view.receive_event(event(kind, peer=peer, path=path, verdict=bad, reason=bad), NOW)
    for kind in ("server_down", "server_up", "gap"):
        view.receive_event(event(kind, server=bad, reason=bad), NOW)
    view.show_peers(NOW)
    view.show_who_is_here(NOW)
    view.note(bad, NOW)
    everything = [line.plain for line in view.lines()] + view.names() + view.lost_servers
    everything += [presence.name + presence.kind for presence in view.presence()]
    assert len(everything) >= 15
    for text in everything:
        assert not set(text) & {"\x1b", "\u202e", "\x9b"}, ascii(text)


def test_peers_says_when_one_that_is_not_there_is_tried_next() -> None:
    view = opened()
    row = {"state": "offline", "path": None}
    view.receive_peers([{**BOB, **row, "next_try_s": 12.3}, {**CAROL, **row, "next_try_s": None}])
    view.show_peers(NOW)
    assert shown(view) == [
        "22:13 * bob#bbbb: offline, next try in 12 s",
        "22:13 * carol#cccc: offline",
    ]


def test_a_message_of_very_many_lines_leaves_room_for_others() -> None:
    view = opened()
    view.receive_event(message(BOB, "\n" * 5000), NOW)
    rows = shown(view)[0].split("\n")
    assert len(rows) == ROWS_OF_A_MESSAGE + 1
    assert "4941 more lines" in rows[-1]


def test_peers_come_and_go_with_their_path_and_reason() -> None:
    view = opened()
    view.receive_event(event("peer_met", peer=BOB), NOW)
    assert [presence.state for presence in view.presence()] == ["punching"]
    view.receive_event(event("peer_online", peer=BOB, path=PATH, connect_ms=80), NOW)
    (presence,) = view.presence()
    assert (presence.state, presence.kind, presence.rtt) == ("online", "direct", "12 ms")
    view.receive_event(event("path_changed", peer=BOB, path={**PATH, "rtt_ms": 9}), NOW)
    view.receive_event(event("path_changed", peer=BOB, path={**PATH, "kind": "lan"}), NOW)
    view.receive_event(event("peer_offline", peer=BOB, reason="it fell silent"), NOW)
    assert [presence.state for presence in view.presence()] == ["offline"]
    assert shown(view) == [
        "22:13 * bob is here: direct, 12 ms",
        "22:13 * bob is now connected another way: lan, 12 ms",
        "22:13 * bob is gone: it fell silent",
    ]


def test_a_verdict_is_told_once() -> None:
    view = opened()
    for _ in range(3):
        view.receive_event(event("verdict", peer=BOB, verdict="UDP is blocked there"), NOW)
    assert shown(view) == ["22:13 * not connected to bob: UDP is blocked there"]


def test_a_changed_key_is_a_warning_that_names_the_command() -> None:
    view = opened()
    view.receive_event(event("peer_changed", peer=BOB, previous_id="eeee"), NOW)
    (line,) = view.lines()
    assert line.body[0][0] == "warn"
    assert "natctl trust bob#bbbb --accept-new-key" in line.plain


@pytest.mark.parametrize("kind", ["message", "sent", "server_down", "left", "peer_online"])
def test_events_of_other_networks_show_nothing(kind: str) -> None:
    view = opened()
    view.receive_event({**event(kind, peer=BOB, **{"from": BOB}), "network": "other"}, NOW)
    assert shown(view) == []
    assert view.presence() == []


def test_a_gap_is_shown_although_it_belongs_to_no_network() -> None:
    view = opened()
    view.receive_event(
        {**event("gap", to=9, reason="older events are gone", **{"from": 3}), "network": None}, NOW
    )
    assert shown(view) == ["22:13 * events 3 to 9 are missing: older events are gone"]


def test_events_that_do_not_exist_yet_are_passed_over() -> None:
    view = opened()
    view.receive_event(event("file_offered", peer=BOB), NOW)
    assert shown(view) == []


def test_memory_stays_bounded_however_much_is_said() -> None:
    view = opened()
    for number in range(REMEMBERED_MESSAGES + 500):
        view.receive_event(message(BOB, "x", number=number), NOW)
        view.receive_event(sent("y", to=[BOB], number=number), NOW)
        view.receive_reply({"message": f"m{number}"}, "bob")
        view.lines()
    held = [getattr(view, name) for name in ("_seen", "_own", "_only_to")]
    assert max(len(remembered) for remembered in held) <= REMEMBERED_MESSAGES


def test_the_first_line_says_who_one_is_and_who_is_here() -> None:
    view = opened()
    view.show_who_is_here(NOW)
    view.receive_event(event("peer_online", peer=CAROL, path=PATH), NOW)
    view.receive_event(event("peer_met", peer=BOB), NOW)
    view.show_who_is_here(NOW)
    lines = shown(view)
    assert lines[0] == "22:13 * you are alice#aaaa in demo; here: nobody else yet"
    assert lines[-1] == "22:13 * you are alice#aaaa in demo; here: carol (direct, 12 ms)"


def test_peers_are_listed_with_all_that_is_known() -> None:
    view = opened()
    view.show_peers(NOW)
    view.receive_peers(
        [
            {**BOB, "state": "offline", "path": None, "verdict": "UDP is blocked", "queued": 2},
            {**CAROL, "state": "online", "path": PATH},
        ]
    )
    view.show_peers(NOW)
    assert shown(view) == [
        "22:13 * no peers yet",
        "22:13 * carol#cccc: online, direct, 12 ms, 198.51.100.7:4242",
        "22:13 * bob#bbbb: offline, 2 waiting, UDP is blocked",
    ]
