"""Names in the chat: what is offered to be typed reaches the peer that is meant."""

from datetime import UTC

from hypothesis import given, settings

from frontends.chatview import ChatView
from frontends.roster import Roster
from natd.ipc.peer_names import may_mean
from tests.ipc.test_peer_names import ANNA, BERT, adversarial_peers


@settings(max_examples=500, deadline=None)
@given(adversarial_peers())
def test_a_name_offered_for_a_command_means_one_peer_whatever_nicks_the_others_have(
    peers: list[tuple[str, str]],
) -> None:
    roster = Roster()
    roster.receive({"nick": nick, "id": peer_id, "state": "online"} for nick, peer_id in peers)
    for _, peer_id in peers:
        typed = roster.typed_name(peer_id)
        assert [id_ for nick, id_ in peers if may_mean(typed, nick, id_)] == [peer_id]
        assert " " not in typed


def test_a_plain_nick_is_offered_as_it_is_and_a_long_or_hidden_one_by_the_id() -> None:
    roster = Roster()
    roster.receive([{"nick": "anna", "id": ANNA}, {"nick": "b\u00a0t", "id": BERT}])
    assert roster.typed_name(ANNA) == "anna"
    assert roster.typed_name(BERT) == BERT[:12]
    roster.receive([{"nick": "b" * 60, "id": BERT}])
    assert roster.typed_name(BERT) == f"{'b' * 60}#{BERT[:4]}"


def test_a_nick_like_the_beginning_of_an_id_is_shown_with_its_tag() -> None:
    roster = Roster()
    roster.receive([{"nick": "anna", "id": ANNA}, {"nick": ANNA[:6], "id": BERT}])
    assert roster.name_of(BERT) == f"{ANNA[:6]}#{BERT[:4]}"
    assert roster.name_of(ANNA) == "anna"


def test_a_nick_never_becomes_code_in_a_command_that_the_chat_proposes() -> None:
    view = ChatView("demo", zone=UTC)
    impostor = {"nick": "$(reboot)", "id": BERT, "tag": BERT[:4], "trust": "changed"}
    event = {"type": "peer_changed", "peer": impostor, "previous_id": ANNA}
    view.receive_event(event, 1_000_000_000.0)
    assert f"natctl trust {BERT[:12]} --accept-new-key" in view.lines()[-1].plain
