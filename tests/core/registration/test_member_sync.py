"""When a registration asks for further members, while others are being met."""

from natd.core.checks.meetings import MOST_AT_ONCE, Meetings
from natd.core.registration.member_sync import HELD_S, MemberSync

START = 1000.0


def test_those_missing_are_asked_for_when_a_meeting_ends_and_not_looked_for_meanwhile() -> None:
    meetings = Meetings()
    for number in range(MOST_AT_ONCE):
        meetings.begin(number, START)
    members = MemberSync(meetings)
    assert not members.count(5, frozenset(), START, asked=False)
    assert members.due_at is not None
    assert not members.take_ask(members.due_at)
    assert members.due_at >= START + HELD_S
    held_until = members.due_at
    meetings.end(0)
    assert members.due_at < held_until
    assert members.take_ask(held_until)


def test_where_this_machine_does_not_keep_up_it_is_looked_less_often() -> None:
    meetings = Meetings()
    members = MemberSync(meetings)
    assert not members.wants_few
    for number in range(2):
        meetings.timer_came(0.5, START)
        meetings.begin(number, START)
    members.count(5, frozenset(), START, asked=False)
    assert members.due_at is not None
    assert not members.take_ask(members.due_at)
    assert members.due_at >= START + meetings.patience_s
    assert members.wants_few
