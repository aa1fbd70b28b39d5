"""What a chat says of its servers, and of what is wrong on this machine."""

from tests.frontends.shown_chat import BOB, NOW, PATH, event, opened, shown


def test_a_lost_server_is_told_once_and_so_is_its_return() -> None:
    view = opened()
    view.receive_servers([{"address": "s:1", "state": "registered"}])
    view.receive_event(event("server_up", server="s:1"), NOW)
    view.receive_event(event("server_down", server="s:1", reason="no answer"), NOW)
    view.receive_event(event("server_down", server="s:1", reason="no answer"), NOW)
    assert view.lost_servers == ["s:1"]
    view.receive_event(event("server_up", server="s:1"), NOW)
    assert view.lost_servers == []
    assert shown(view) == [
        "22:13 * server s:1 lost: no answer",
        "22:13 * server s:1 is back",
    ]


def test_a_server_that_its_reason_names_is_not_named_twice() -> None:
    view = opened()
    view.receive_servers([{"address": "s:1", "state": "registered"}])
    view.receive_event(event("server_down", server="s:1", reason="s:1 has stopped answering"), NOW)
    assert shown(view) == ["22:13 * server s:1 has stopped answering"]


def test_a_server_that_has_never_answered_is_not_called_lost() -> None:
    view = opened()
    reason = "no answer from s:1: nothing answers"
    view.receive_event(event("server_down", server="s:1", reason=reason), NOW)
    assert shown(view) == [f"22:13 * {reason}"]


def test_a_machine_that_is_offline_is_no_fault_of_the_server() -> None:
    view = opened()
    view.receive_servers([{"address": "s:1", "state": "registered"}])
    view.receive_event(event("server_down", server="s:1", reason="offline", code="offline"), NOW)
    assert shown(view) == ["22:13 * offline"]


def test_an_address_that_the_server_has_left_is_no_lost_server() -> None:
    view = opened()
    view.receive_event(event("server_down", server="s:1", reason="no answer"), NOW)
    view.receive_servers([{"address": "s:2", "state": "registered"}])
    assert view.lost_servers == []


def test_what_is_wrong_is_told_at_the_beginning_and_not_again() -> None:
    view = opened()
    view.receive_servers([{"address": "s:1", "state": "starting"}])
    problem = {"code": "server_down", "text": "demo: this machine is offline", "hint": "h"}
    view.show_what_is_wrong(problem, NOW)
    reason = "this machine is offline; a cable or Wi-Fi would help"
    view.receive_event(event("server_down", server="s:1", reason=reason, code="offline"), NOW)
    assert shown(view) == ["22:13 * this machine is offline (h)"]
    view.receive_event(event("server_up", server="s:1"), NOW)
    view.receive_event(event("server_down", server="s:1", reason=reason, code="offline"), NOW)
    assert shown(view)[-1] == f"22:13 * {reason}"


def test_a_firewall_of_this_machine_is_told_once() -> None:
    reason = "this machine's own firewall forbids natd to send"
    problem = {"code": "socket", "text": f"natd uses UDP port 1, but {reason}", "hint": "h"}
    for early, late in ((problem, None), (None, problem)):
        view = opened()
        view.receive_problem(early, NOW)
        view.receive_event(event("server_down", server="s:1", reason=reason), NOW)
        view.receive_problem(late, NOW)
        assert len(shown(view)) == 1


def test_a_server_that_has_not_answered_yet_is_mentioned_at_the_beginning() -> None:
    view = opened()
    view.receive_servers([{"address": "s:1", "state": "starting"}])
    view.show_what_is_wrong(None, NOW)
    assert shown(view) == ["22:13 * no server has answered yet; natd goes on asking"]
    view.receive_servers([{"address": "s:1", "state": "registered"}])
    view.show_what_is_wrong(None, NOW)
    assert shown(view) == []


def test_a_name_that_is_not_found_is_told_once_since_no_event_does() -> None:
    view = opened()
    problem = {"code": "unresolvable", "text": "s can't be resolved", "hint": "h"}
    for _ in range(2):
        view.receive_problem(problem, NOW)
    view.receive_problem({"code": "server_down", "text": "told by its event"}, NOW)
    assert shown(view) == ["22:13 * s can't be resolved (h)"]


def test_a_server_that_is_not_to_be_trusted_is_a_warning() -> None:
    view = opened()
    view.receive_event(event("server_suspected", server="s:1", reason="s:1 is odd"), NOW)
    (line,) = view.lines()
    assert line.plain == "22:13 * s:1 is odd"
    assert line.body[0][0] == "warn"


def test_with_someone_here_a_lost_server_is_said_not_to_matter() -> None:
    view = opened()
    view.receive_event(event("peer_online", peer=BOB, path=PATH), NOW)
    view.receive_event(event("server_down", server="s:1", reason="no answer"), NOW)
    assert shown(view)[-1].endswith("lost: no answer (the chat goes on without it)")


def test_a_server_that_never_answered_is_not_said_to_be_back() -> None:
    view = opened()
    view.receive_servers([{"address": "s:1", "state": "starting"}])
    assert view.lost_servers == []
    view.receive_event(event("server_up", server="s:1"), NOW)
    assert shown(view) == ["22:13 * server s:1 answers"]
