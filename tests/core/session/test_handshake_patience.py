"""Where the machine is slower than the network, nothing of a handshake is repeated too early."""

import pytest

from natd.core.session.handshake_retransmit import REPEAT_S, HandshakeRetransmit
from natd.core.session.session import Session
from tests.core.world.lossy_link import pair_of_secrets

START = 1000.0


def test_a_repetition_that_is_planned_is_put_off_once() -> None:
    flight = HandshakeRetransmit(is_dialler=True, now=START)
    flight.be_patient(3.0)
    flight.be_patient(3.0)
    assert flight.get_timer() == pytest.approx(START + 3.0)
    flight.be_patient(0.0)
    assert flight.get_timer() == pytest.approx(START + 3.0)
    flight.renew(START + 3.0)
    assert flight.get_timer() == pytest.approx(START + 3.0 + REPEAT_S)


@pytest.mark.parametrize(("patience_s", "repeats_within_s"), [(0.0, 1.0), (5.0, 6.0)])
def test_a_dial_repeats_its_flight_when_an_answer_may_be_expected(
    patience_s: float, repeats_within_s: float
) -> None:
    ours, _ = pair_of_secrets()
    session = Session.dial(ours, salt=b"salt", now=START, patience_s=patience_s)
    session.be_patient(patience_s)
    assert session.datagrams_to_send()
    timer = session.get_timer()
    assert timer is not None
    assert START + 0.8 * patience_s < timer <= START + repeats_within_s
