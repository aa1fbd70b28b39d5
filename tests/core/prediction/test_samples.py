"""When two sequences are worth a guess."""

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.prediction.samples import GUESS_S, Guesses, Step, Way

START = 1000.0
HOST = "198.51.100.7"
FIRST, SECOND = SocketId(0x10001), SocketId(0x10002)


def _way(socket, *ports):
    return Way(tuple(Address(HOST, port) for port in ports), (), socket)


def test_a_fresh_socket_is_sampled_before_anything_is_guessed():
    guesses = Guesses()
    assert guesses.next_step(_way(MAIN_SOCKET, 30_000), START) is Step.SAMPLE
    assert guesses.next_step(_way(FIRST, 30_000), START) is Step.GUESS


def test_each_sample_of_either_side_is_good_for_one_guess():
    guesses = Guesses()
    guesses.spent(_way(FIRST, 30_000), START)
    later = START + 5.0
    assert guesses.next_step(_way(SECOND, 30_000), later) is Step.WAIT
    assert guesses.next_step(_way(FIRST, 30_010, 30_000), later) is Step.SAMPLE
    assert guesses.next_step(_way(SECOND, 30_010, 30_000), later) is Step.GUESS


def test_an_older_port_of_the_peers_is_no_news():
    guesses = Guesses()
    guesses.spent(_way(FIRST, 30_010, 30_000), START)
    assert guesses.next_step(_way(SECOND, 30_004, 30_010), START + 5.0) is Step.WAIT


def test_what_was_known_when_a_path_was_found_and_what_lies_behind_it_is_no_news():
    """A server remembers for minutes what was sampled before the NAT has lost its table."""
    guesses = Guesses()
    guesses.are_known(_way(FIRST, 53_943, 53_932))
    assert guesses.next_step(_way(SECOND, 53_930, 53_927), START) is Step.WAIT
    assert guesses.next_step(_way(SECOND, 53_930, 8_478), START) is Step.WAIT, "not a sample"
    assert guesses.next_step(_way(SECOND, 26_411, 26_409), START) is Step.GUESS


def test_a_sequence_that_wraps_around_goes_on():
    guesses = Guesses()
    guesses.are_known(_way(FIRST, 65_530, 65_533))
    assert guesses.next_step(_way(SECOND, 65_530), START) is Step.WAIT
    assert guesses.next_step(_way(SECOND, 1_030, 65_534), START) is Step.GUESS


def test_a_guess_is_left_alone_until_it_may_have_met():
    guesses = Guesses()
    guesses.spent(_way(FIRST, 30_000), START)
    assert guesses.next_step(_way(SECOND, 30_400), START + GUESS_S - 0.1) is Step.WAIT
    assert guesses.next_step(_way(SECOND, 30_400), START + GUESS_S + 0.1) is Step.GUESS


def test_nothing_is_guessed_at_a_peer_that_no_nat_is_known_of():
    private = Way((Address("192.168.1.7", 40001), Address("2001:db8::7", 40001)), (), FIRST)
    assert private.places == ()
    assert Guesses().next_step(private, START) is Step.WAIT


def test_places_are_those_of_one_host():
    way = Way((Address(HOST, 1), Address("198.51.100.8", 2), Address(HOST, 3)), (), FIRST)
    assert [place.port for place in way.places] == [1, 3]
