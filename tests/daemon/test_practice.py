"""The meeting in memory before the first real one."""

from natd.daemon.practice import _PLACES, MOST_STEPS, _Meeting, practise


def test_two_who_do_not_exist_meet_and_one_hears_the_others_word() -> None:
    assert practise()


def test_a_meeting_that_does_not_come_about_ends_by_itself() -> None:
    meeting = _Meeting()
    assert meeting.join(_PLACES[0])
    meeting._key = bytes(32)  # another network: nobody introduces them
    assert not meeting.join(_PLACES[1])
    assert meeting._steps == MOST_STEPS
