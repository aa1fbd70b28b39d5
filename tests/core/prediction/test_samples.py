"""When two sequences are worth a guess."""

from natd.core.base.types import MAIN_SOCKET, Address, SocketId
from natd.core.prediction.samples import GUESS_S, SAMPLE_FRESH_S, Endpoints, GuessHistory, NextStep

START = 1000.0
HOST = "198.51.100.7"
FIRST, SECOND = SocketId(0x10001), SocketId(0x10002)


def _seen_at(socket, *ports, at=START, ours_at=None):
    """Both sides have just been sampled."""
    seen = tuple(Address(HOST, port) for port in ports)
    sampled_at = at if ours_at is None else ours_at
    return Endpoints(seen, (), socket, seen_since=at, sampled_at=sampled_at)


def test_a_fresh_socket_is_sampled_before_anything_is_guessed():
    guesses = GuessHistory()
    assert guesses.next_step(_seen_at(MAIN_SOCKET, 30_000), START) is NextStep.SAMPLE
    assert guesses.next_step(_seen_at(FIRST, 30_000), START) is NextStep.GUESS


def test_each_sample_of_either_side_is_good_for_one_guess():
    guesses = GuessHistory()
    guesses.spent(_seen_at(FIRST, 30_000), START)
    later = START + 5.0
    assert guesses.next_step(_seen_at(SECOND, 30_000, at=later), later) is NextStep.WAIT
    assert guesses.next_step(_seen_at(FIRST, 30_010, 30_000, at=later), later) is NextStep.SAMPLE
    assert guesses.next_step(_seen_at(SECOND, 30_010, 30_000, at=later), later) is NextStep.GUESS


def test_a_sample_that_no_guess_has_used_gets_old_nevertheless():
    """Two that had missed each other guessed in turns for ever, each while the other waited."""
    later = START + SAMPLE_FRESH_S + 0.1
    ours_is_old = _seen_at(FIRST, 30_000, at=later, ours_at=START)
    assert GuessHistory().next_step(ours_is_old, later) is NextStep.SAMPLE
    theirs_is_old = _seen_at(FIRST, 30_000, at=START, ours_at=later)
    assert GuessHistory().next_step(theirs_is_old, later) is NextStep.WAIT


def test_a_socket_that_no_server_was_asked_about_is_not_guessed_from():
    """The peer could not know where our guesses come from."""
    unseen = Endpoints((Address(HOST, 30_000),), (), FIRST, seen_since=START)
    assert GuessHistory().next_step(unseen, START) is NextStep.SAMPLE


def test_an_older_port_of_the_peers_is_no_news():
    guesses = GuessHistory()
    guesses.spent(_seen_at(FIRST, 30_010, 30_000), START)
    assert (
        guesses.next_step(_seen_at(SECOND, 30_004, 30_010, at=START + 5.0), START + 5.0)
        is NextStep.WAIT
    )


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
    after = START + GUESS_S + 0.1
    assert guesses.next_step(_seen_at(SECOND, 30_700, at=after), after) is NextStep.GUESS


def test_what_comes_while_a_guess_runs_is_spent_by_it():
    """The introduction that named it has made the peer guess: its sequence has gone on.  Kept for
    the next round it was one sample behind in that one, too, and in all that followed."""
    guesses = GuessHistory()
    guesses.spent(_seen_at(FIRST, 30_000), START)
    assert guesses.next_step(_seen_at(FIRST, 30_004), START + 0.3) is NextStep.WAIT
    after = START + GUESS_S + 0.1
    assert guesses.next_step(_seen_at(SECOND, 30_004), after) is NextStep.WAIT
    assert guesses.next_step(_seen_at(SECOND, 30_300), after) is NextStep.GUESS


def test_an_old_port_is_no_news_however_far_the_sequence_has_gone_since():
    """A server that was not asked for a while names what it saw before a few hundred ports more."""
    guesses = GuessHistory()
    for number in range(6):
        guesses.spent(_seen_at(FIRST, 30_000 + 400 * number), START + number)
    later = START + 9.0
    assert guesses.next_step(_seen_at(SECOND, 30_000, at=later), later) is NextStep.WAIT


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


def test_the_main_socket_is_not_guessed_from_after_a_fresh_one_was() -> None:
    """Its mapping is older than any sample."""
    guesses = GuessHistory()
    guesses.spent(_seen_at(FIRST, 30_000), START)
    later = START + 5.0
    assert guesses.next_step(_seen_at(MAIN_SOCKET, 30_010, at=later), later) is NextStep.SAMPLE


def test_older_ports_that_were_named_with_a_newer_one_are_known_with_it() -> None:
    """The newest is what others are held against, in whatever order a server names them."""
    guesses = GuessHistory()
    guesses.are_known(_seen_at(FIRST, 32_000, 30_000))
    later = START + 5.0
    for port, step in ((30_000, NextStep.WAIT), (31_990, NextStep.WAIT), (32_010, NextStep.GUESS)):
        assert guesses.next_step(_seen_at(SECOND, port, at=later), later) is step, port
