"""One sentence for people that says why there is no path and what would help."""

import pytest

from natd.core.types import Mapping, NatReport
from natd.core.verdict import verdict

EASY, HARD = NatReport(Mapping.INDEPENDENT), NatReport(Mapping.DEPENDENT)


@pytest.mark.parametrize(
    ("ours", "theirs", "heard", "says"),
    [
        (HARD, HARD, False, "both NATs use another port for every destination"),
        (HARD, EASY, False, "our NAT uses another port"),
        (EASY, HARD, True, "the peer's NAT uses another port"),
        (EASY, EASY, True, "arrive here but ours do not get through"),
        (NatReport(), NatReport(), False, "no packet of the peer's arrives here"),
    ],
)
def test_a_verdict_says_what_is_wrong_and_what_would_help(ours, theirs, heard, says):
    sentence = verdict(ours, theirs, heard=heard)
    assert says in sentence
    assert "would help" in sentence
    assert "\n" not in sentence
