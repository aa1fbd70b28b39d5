"""One expensive attempt at a time for the whole daemon."""

from natd.core.turns import FIRST_HELPER, LONGEST_S, Turns

START = 1000.0


def test_only_one_attempt_has_the_turn():
    turns = Turns()
    assert turns.take("first", START)
    assert not turns.take("second", START + 1.0)
    assert turns.take("first", START + 1.0)


def test_a_turn_that_is_given_back_is_free_at_once():
    turns = Turns()
    turns.take("first", START)
    turns.give_back("first")
    assert turns.take("second", START)


def test_nobody_gives_back_the_turn_of_another():
    turns = Turns()
    turns.take("first", START)
    turns.give_back("second")
    assert not turns.take("second", START)


def test_a_turn_that_is_never_given_back_ends_by_itself():
    turns = Turns()
    turns.take("first", START)
    assert not turns.take("second", START + LONGEST_S - 0.1)
    assert turns.take("second", START + LONGEST_S)


def test_fresh_sockets_are_never_given_out_twice_and_ask_for_no_port():
    turns = Turns()
    sockets = turns.fresh_sockets(256) + turns.fresh_sockets(8)
    assert len(set(sockets)) == 264
    assert min(sockets) > FIRST_HELPER > 0xFFFF
