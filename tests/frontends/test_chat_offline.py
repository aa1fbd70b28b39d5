"""The chat of a machine that is offline: it is told as that, and no server is blamed."""

from datetime import UTC
from typing import Any

from frontends.chatview import ChatView
from tests.frontends.chat_terminal import Chat, with_chat

NOW = 1_700_000_000.0


def test_a_machine_that_is_offline_is_known_to_be_until_a_server_answers() -> None:
    view = opened()
    view.receive_event(event("server_down", server="s:1", reason="offline", code="offline"), NOW)
    assert view.is_offline
    view.receive_event(event("server_up", server="s:1"), NOW)
    assert not view.is_offline


def test_being_offline_and_online_again_is_told_once_each_without_any_server() -> None:
    view = opened()
    problem = {"code": "offline", "text": "this machine is offline", "hint": "h"}
    for _ in range(2):
        for told in (problem, problem, None, None):
            view.receive_problem(told, NOW)
        assert shown(view) == [
            "22:13 * this machine is offline (h)",
            "22:13 * this machine is online again",
        ]


def test_what_is_wrong_here_is_not_told_again_of_each_peer() -> None:
    bob, carol = ({"nick": nick, "id": nick[0] * 52, "tag": nick} for nick in ("bob", "carol"))
    view = opened()
    view.receive_servers([{"address": "s:1", "state": "registered"}])
    silence = "nothing answers by UDP; a server that runs would help"
    reason = f"s:1 has stopped answering: {silence}"
    view.receive_event(event("server_down", server="s:1", reason=reason, code="udp-blocked"), NOW)
    for peer in (bob, carol):
        told = event("verdict", peer=peer, verdict=silence, code="udp-blocked")
        view.receive_event(told, NOW)
    assert shown(view) == [f"22:13 * server {reason}"]
    text = "this machine is offline; a cable or Wi-Fi would help"
    for peer in (bob, carol):
        view.receive_event(event("verdict", peer=peer, verdict=text, code="offline"), NOW)
    view.receive_problem({"code": "offline", "text": "this machine is offline", "hint": "h"}, NOW)
    assert shown(view) == [f"22:13 * {text}"]


def test_the_bar_of_a_machine_that_is_offline_blames_no_server() -> None:
    async def scenario(chat: Chat) -> None:
        chat.natd.publish("server_up", server="s:1")
        chat.natd.publish("server_down", server="s:1", reason="s:1 is silent")
        await chat.shows("   server lost")
        chat.natd.publish("server_up", server="s:1")
        chat.natd.publish("server_down", server="s:1", reason="no cable", code="offline")
        await chat.shows("* no cable")
        await chat.shows("   offline")
        assert "server lost" not in chat.row(-2)

    with_chat(scenario)


def test_a_log_that_began_anew_names_no_missing_events() -> None:
    view = opened()
    row = event("gap", to=0, reason="this is a new event log", **{"from": 58})
    view.receive_event({**row, "network": None}, NOW)
    assert shown(view) == ["22:13 * natd began anew: this is a new event log"]


def opened() -> ChatView:
    """A view on its first day, whose separator has been drained."""
    view = ChatView("demo", zone=UTC)
    view.note("begin", NOW)
    view.lines()
    return view


def shown(view: ChatView) -> list[str]:
    return [line.plain for line in view.lines()]


def event(type_: str, **fields: Any) -> dict[str, Any]:
    at = "2023-11-14T22:13:20Z"
    return {"v": 1, "id": 1, "ts": at, "type": type_, "network": "demo"} | fields
