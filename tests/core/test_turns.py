"""One expensive attempt at a time for the whole daemon."""

from natd.core.turns import (
    ALL_BURST,
    FIRST_HELPER,
    HOST_BURST,
    LONGEST_S,
    MOST_HOSTS,
    REMEMBERED_S,
    Turns,
)

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


def _sent(turns, host, since, until, rate=500):
    count = int((until - since) * rate)
    return sum(turns.may_send(host, since + number / rate) for number in range(count))


def test_a_host_that_never_answers_gets_two_attempts_and_then_a_packet_a_second():
    turns = Turns()
    assert _sent(turns, "198.51.100.7", START, START + 60.0) <= HOST_BURST + 60
    assert _sent(turns, "198.51.100.7", START + 60.0, START + 120.0) <= 61


def test_a_host_that_was_found_begins_anew():
    turns = Turns()
    _sent(turns, "198.51.100.7", START, START + 60.0)
    turns.found("198.51.100.7")
    assert turns.may_send("198.51.100.7", START + 60.0)
    assert _sent(turns, "198.51.100.7", START + 60.0, START + 62.0) == 1000


def test_however_many_hosts_are_named_all_of_them_get_no_more_than_an_attempt_a_minute():
    turns = Turns()
    sent = sum(
        _sent(turns, f"198.51.{n}.7", START + 10.0 * n, START + 10.0 * (n + 1)) for n in range(60)
    )
    assert sent <= ALL_BURST + 600.0 * 34.0 + 60


def test_a_table_of_hosts_that_is_full_refuses_the_next_until_others_are_forgotten():
    turns = Turns()
    for number in range(MOST_HOSTS):
        assert turns.may_send(f"10.0.{number // 250}.{number % 250}", START)
    assert not turns.may_send("198.51.100.7", START)
    assert turns.may_send("198.51.100.7", START + 10.0)


def test_a_block_that_may_be_filled_takes_twice_as_many_sockets():
    turns = Turns()
    turns.helper_sockets = 64
    assert turns.block_sockets == 64
    turns.fills_whole_blocks = True
    assert turns.block_sockets == 128


def test_the_ports_that_several_attempts_hold_of_our_block_add_up_until_they_are_forgotten():
    turns = Turns()
    turns.take_ports("first", 100, START)
    turns.take_ports("second", 50, START + 10.0)
    turns.take_ports("first", 120, START + 20.0)
    assert turns.ports_taken(START + 30.0) == 170
    assert turns.ports_taken(START + 10.0 + REMEMBERED_S) == 120
    assert turns.ports_taken(START + 20.0 + REMEMBERED_S) == 0
