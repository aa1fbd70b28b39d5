"""What the outcomes of trials tell of a filter, and which of them are enough."""

import pytest

from natd.core.base.local_ports import SURVEYS
from natd.core.base.types import SURE, Filtering
from natd.core.nat.filtering import (
    AGAIN_WAIT_S,
    FIRST_WAIT_S,
    FilterWatch,
    Known,
    Trial,
    are_enough,
    confirms,
    judge,
)

INDEPENDENT, BY_ADDRESS, BY_PORT = (
    Filtering.INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT,
    Filtering.DEPENDENT,
)


def test_what_comes_proves_a_class_at_once_and_silence_only_in_a_row() -> None:
    assert judge([Trial(True, True)])[0] is INDEPENDENT
    assert judge([Trial(True, True)])[1] >= 0.99
    for trial, filtering in ((Trial(True, False), BY_ADDRESS), (Trial(False, False), BY_PORT)):
        confidences = [judge([trial] * count)[1] for count in range(1, 7)]
        assert confidences == sorted(confidences)
        assert confidences[2] < SURE <= confidences[4]
        assert judge([trial] * 4)[0] is filtering


def test_one_answer_outweighs_any_silence() -> None:
    silent = [Trial(False, False)] * 6
    assert judge([*silent, Trial(True, False)])[0] is BY_ADDRESS
    assert judge([*silent, Trial(False, True)])[0] is INDEPENDENT


def test_one_address_alone_leaves_two_classes_equally_likely() -> None:
    filtering, confidence = judge([Trial(True)] * 8)
    assert filtering is BY_ADDRESS
    assert confidence == pytest.approx(0.5, abs=0.01)
    assert judge([]) == (Filtering.UNKNOWN, 0.0)


@pytest.mark.parametrize(
    ("known", "trial", "is_confirmed"),
    [
        (Known(BY_PORT, 0.95), Trial(False, False), True),
        (Known(BY_PORT, 0.95), Trial(False), True),
        (Known(BY_PORT, 0.95), Trial(True), False),
        (Known(INDEPENDENT, 0.99), Trial(True, True), True),
        (Known(INDEPENDENT, 0.99), Trial(True, False), False),
        (Known(BY_ADDRESS, 0.5), Trial(True), True),
        (Known(BY_ADDRESS, 0.5), Trial(True, False), False),
        (Known(BY_PORT, 0.8), Trial(False), False),
        (Known(), Trial(True), False),
        (Known(BY_PORT, 0.95), Trial(), False),
    ],
)
def test_only_what_says_the_same_and_no_more_confirms(
    known: Known, trial: Trial, is_confirmed: bool
) -> None:
    assert confirms(known, trial) is is_confirmed


def test_one_trial_is_enough_that_says_what_is_known_and_none_after_one_that_does_not() -> None:
    silent, heard = Trial(False, False), Trial(True, True)
    closed, wide = Known(BY_PORT, 0.95), Known(INDEPENDENT, 0.99)
    assert not are_enough(closed, [], asks_hosts=True)
    assert are_enough(closed, [silent], asks_hosts=True)
    assert not are_enough(closed, [heard, silent], asks_hosts=True)
    assert are_enough(wide, [heard], asks_hosts=True)
    assert not are_enough(wide, [silent, heard], asks_hosts=True)


def test_what_the_other_host_has_not_said_yet_is_waited_for_where_it_makes_a_difference() -> None:
    by_port_only = Trial(True)
    for known in (Known(INDEPENDENT, 0.99), Known(BY_ADDRESS, 0.95)):
        assert not are_enough(known, [by_port_only] * 3, asks_hosts=True)
        assert are_enough(known, [by_port_only], asks_hosts=False)
    assert are_enough(Known(BY_PORT, 0.95), [Trial(False)], asks_hosts=True)


def test_two_rounds_use_two_sockets_and_none_of_a_surveys() -> None:
    watch = FilterWatch()
    watch.plan(1000.0)
    assert watch.take_round(40000, 1000.0 + FIRST_WAIT_S - 0.1) is None
    first = watch.take_round(40000, 1000.0 + FIRST_WAIT_S)
    assert watch.take_round(40000, 1000.0 + FIRST_WAIT_S) is None
    assert watch.round_at == 1000.0 + FIRST_WAIT_S + AGAIN_WAIT_S
    second = watch.take_round(40000, watch.round_at)
    assert first != second
    assert not {first, second} & set(SURVEYS)
