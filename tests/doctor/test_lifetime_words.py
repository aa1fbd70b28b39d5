"""How long our NAT keeps a flow, in words."""

import pytest

from natd.core.nat.lifetime import Lifetime
from natd.doctor.lifetime_words import lifetime_row, lifetime_words


@pytest.mark.parametrize(
    ("lifetime", "words"),
    [
        (Lifetime(), ""),
        (Lifetime(safe_idle_s=4.0), ""),
        (Lifetime(safe_idle_s=55.2), "keeps a flow through 55 s of silence"),
        (Lifetime(idle_s=30.0), "forgets a flow after 30 s of silence"),
        (Lifetime(32.4, 25.1), "forgets a flow after 25 to 32 s of silence"),
        (Lifetime(32.4, 32.3), "forgets a flow after 32 s of silence"),
        (
            Lifetime(32.0, 25.0, 60.0),
            "forgets a flow after 25 to 32 s of silence, ends every flow after 60 s",
        ),
        (Lifetime(age_s=60.0), "ends every flow after 60 s"),
    ],
)
def test_what_is_known_is_told_and_nothing_else(lifetime: Lifetime, words: str) -> None:
    assert lifetime_words(lifetime) == words


def test_programs_get_seconds_and_none_for_what_is_not_known() -> None:
    assert lifetime_row(Lifetime(32.44, 25.0)) == {
        "idle_s": 32.4,
        "safe_idle_s": 25.0,
        "age_s": None,
        "words": "forgets a flow after 25 to 32 s of silence",
    }
