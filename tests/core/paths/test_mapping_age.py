"""Whether a NAT ends mappings of age: what makes us think so, and what ends the thought."""

import pytest

from natd.core.paths.mapping_age import AGE_SHARE, OLDEST_S, WATCH_EVERY, YOUNGEST_S, MappingAge


def test_without_a_loss_nothing_is_replaced():
    assert MappingAge().renew_after_s is None


def test_one_busy_mapping_that_ended_is_reason_enough_for_the_youngest_age_known():
    age = MappingAge()
    age.busy_mapping_ended()
    assert age.renew_after_s == pytest.approx(AGE_SHARE * YOUNGEST_S)
    assert age.is_to_be_watched


@pytest.mark.parametrize(
    ("seen_s", "learned_s"), [(55.0, 55.0), (30.0, YOUNGEST_S), (88.0, OLDEST_S)]
)
def test_the_age_is_what_was_seen_within_what_is_known_of_carriers(seen_s, learned_s):
    age = MappingAge()
    age.busy_mapping_ended()
    age.ended(seen_s)
    assert age.age_s == learned_s
    age.busy_mapping_ended()
    assert age.age_s == learned_s, "another loss teaches less than what was watched"


def test_a_mapping_that_outlives_them_all_ends_the_replacements():
    age = MappingAge()
    age.busy_mapping_ended()
    age.survived()
    assert age.renew_after_s is None


def test_a_known_age_is_looked_at_again_now_and_then():
    age = MappingAge()
    age.busy_mapping_ended()
    age.ended(60.0)
    watched = 0
    for _ in range(10 * WATCH_EVERY):
        watched += age.is_to_be_watched
        age.renewed()
    assert watched == 10
