"""When two sequences are worth a guess."""

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.prediction.samples import GUESS_S, Endpoints, GuessHistory, NextStep

START = 1000.0
HOST = "198.51.100.7"
FIRST, SECOND = SocketId(0x10001), SocketId(0x10002)


def _seen_at(socket, *ports):
    return Endpoints(tuple(Address(HOST, port) for port in ports), (), socket)


def test_a_fresh_socket_is_sampled_before_anything_is_guessed():
    guesses = GuessHistory()
    assert guesses.next_step(_seen_at(MAIN_SOCKET, 30_000), START) is NextStep.SAMPLE
    assert guesses.next_step(_seen_at(FIRST, 30_000), START) is NextStep.GUESS


def test_each_sample_of_either_side_is_good_for_one_guess():
    guesses = GuessHistory()
    guesses.spent(_seen_at(FIRST, 30_000), START)
    later = START + 5.0
    assert guesses.next_step(_seen_at(SECOND, 30_000), later) is NextStep.WAIT
    assert guesses.next_step(_seen_at(FIRST, 30_010, 30_000), later) is NextStep.SAMPLE
    assert guesses.next_step(_seen_at(SECOND, 30_010, 30_000), later) is NextStep.GUESS


def test_an_older_port_of_the_peers_is_no_news():
    guesses = GuessHistory()
    guesses.spent(_seen_at(FIRST, 30_010, 30_000), START)
    assert guesses.next_step(_seen_at(SECOND, 30_004, 30_010), START + 5.0) is NextStep.WAIT


def test_what_was_known_when_a_path_was_found_and_what_lies_behind_it_is_no_news():
    """A server remembers for minutes what was sampled before the NAT has lost its table."""
    guesses = GuessHistory()
    guesses.are_known(_seen_at(FIRST, 53_943, 53_932))
    assert guesses.next_step(_seen_at(SECOND, 53_930, 53_927), START) is NextStep.WAIT
    assert guesses.next_step(_seen_at(SECOND, 53_930, 8_478), START) is NextStep.WAIT, (
        "not a sample"
    )
    assert guesses.next_step(_seen_at(SECOND, 26_411, 26_409), START) is NextStep.GUESS


def test_a_sequence_that_wraps_around_goes_on():
    guesses = GuessHistory()
    guesses.are_known(_seen_at(FIRST, 65_530, 65_533))
    assert guesses.next_step(_seen_at(SECOND, 65_530), START) is NextStep.WAIT
    assert guesses.next_step(_seen_at(SECOND, 1_030, 65_534), START) is NextStep.GUESS


def test_a_guess_is_left_alone_until_it_may_have_met():
    guesses = GuessHistory()
    guesses.spent(_seen_at(FIRST, 30_000), START)
    assert guesses.next_step(_seen_at(SECOND, 30_400), START + GUESS_S - 0.1) is NextStep.WAIT
    assert guesses.next_step(_seen_at(SECOND, 30_400), START + GUESS_S + 0.1) is NextStep.GUESS


def test_nothing_is_guessed_at_a_peer_that_no_nat_is_known_of():
    private = Endpoints((Address("192.168.1.7", 40001), Address("2001:db8::7", 40001)), (), FIRST)
    assert private.places == ()
    assert GuessHistory().next_step(private, START) is NextStep.WAIT


def test_places_are_those_of_one_host():
    ends = Endpoints((Address(HOST, 1), Address("198.51.100.8", 2), Address(HOST, 3)), (), FIRST)
    assert [place.port for place in ends.places] == [1, 3]


def test_openers_to_a_neighbour_are_strict_at_first_and_others_reach_through_two_layers():
    """A single opener that arrived at a Linux router spoilt every probe that it sent after it."""
    there = (Address("45.1.2.10", 40001),)
    for ours, expected in (("45.1.9.9", (2, True)), ("45.2.2.9", (3, False))):
        ends = Endpoints(there, (), MAIN_SOCKET, our_hosts=("198.51.100.9", ours))
        assert ends.opener(0.5).value == expected
        assert ends.opener(12.0).value == (3, False)
