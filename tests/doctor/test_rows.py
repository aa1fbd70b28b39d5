"""What people are told of a peer's state."""

import pytest

from natd.core.base.types import NatReport, PeerId, PeerState
from natd.core.base.verdict import Verdict, VerdictCode
from natd.core.peer.presence import PeerView
from natd.doctor.rows import check, told_state, with_notices


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (VerdictCode.BOTH_RANDOM, PeerState.PUNCHING),
        (VerdictCode.PATH_TOO_NARROW, PeerState.PUNCHING),
        (VerdictCode.LEFT, PeerState.OFFLINE),
        (VerdictCode.NOT_REGISTERED, PeerState.OFFLINE),
        (VerdictCode.NO_SERVER, PeerState.OFFLINE),
    ],
)
def test_a_peer_that_is_there_and_not_reached_is_not_offline(
    code: VerdictCode, told: PeerState
) -> None:
    assert told_state(view(PeerState.OFFLINE), Verdict(code, "why")) is told
    assert told_state(view(PeerState.ONLINE), Verdict(code, "why")) is PeerState.ONLINE
    assert told_state(view(PeerState.BLOCKED), Verdict(code, "why")) is PeerState.BLOCKED


def test_a_peer_of_which_nothing_is_known_is_offline() -> None:
    assert told_state(None, None) is PeerState.OFFLINE
    assert told_state(view(PeerState.OFFLINE), None) is PeerState.OFFLINE


@pytest.mark.parametrize("code", ["state-restored", "network-full", "clock-jumped"])
def test_what_status_tells_beside_the_checks_is_a_note_of_doctor(code: str) -> None:
    answer = {"checks": [check("socket", True, "fine")], "verdict": "All is well."}
    told = with_notices(answer, [{"code": code, "text": "something", "hint": "do this"}])
    assert told["notes"] == [code]
    assert [row["text"] for row in told["checks"]] == ["fine", "something"]
    assert told["verdict"] == "All works; what is marked as a note is worth a look."
    assert with_notices(answer, [{"code": "server_down", "text": "t", "hint": "h"}]) == answer


def view(state: PeerState) -> PeerView:
    return PeerView(PeerId(b"b" * 32), "bob", state, None, None, None, False, None, (), NatReport())
