"""What is told of the mapping behind a flow."""

from natd.core.base.types import Address
from natd.core.nat.flow_watch import FlowWatch, MappingEnded, MappingLived

HERE, THERE = Address("198.51.100.9", 5000), Address("198.51.100.9", 6000)


def test_the_first_answer_begins_the_watch():
    assert FlowWatch().heard(HERE, 1000.0) is None


def test_a_flow_that_is_seen_where_it_was_has_lived():
    flow = FlowWatch()
    flow.heard(HERE, 1000.0)
    assert flow.heard(HERE, 1020.0) == MappingLived(age_s=20.0, idle_s=20.0)
    assert flow.heard(HERE, 1045.0) == MappingLived(age_s=45.0, idle_s=25.0)


def test_a_flow_that_is_seen_elsewhere_has_ended_and_begun_anew():
    flow = FlowWatch()
    flow.heard(HERE, 1000.0)
    flow.heard(HERE, 1040.0)
    assert flow.heard(THERE, 1060.0) == MappingEnded(age_s=60.0, idle_s=20.0)
    assert flow.heard(THERE, 1080.0) == MappingLived(age_s=20.0, idle_s=20.0)


def test_what_was_not_watched_tells_nothing():
    flow = FlowWatch()
    flow.heard(HERE, 1000.0)
    flow.forget()
    assert flow.heard(THERE, 1600.0) is None
