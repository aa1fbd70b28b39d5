"""One expensive attempt at a time for the whole daemon, and nobody who blocks the others."""

from natd.core.checks.limits import MOST_WAVE_PACKETS
from natd.core.checks.turns import (
    ALL_BURST,
    ASK_AGAIN_S,
    FIRST_HELPER,
    MOST_HOSTS,
    MOST_SOCKETS,
    REMEMBERED_S,
    RESERVED,
    SLICE_S,
    TURN_KEPT_S,
    Claim,
    Turns,
)

START = 1000.0
TICK_S = 0.02
HOST = "198.51.100.7"


def _claims(count):
    return tuple(Claim() for _ in range(count))


def _share(turns, wanted, until, since=START):
    """Who has the turn at each tick, where each of `wanted` asks whenever it may."""
    asks_at = dict.fromkeys(wanted, since)
    had = []
    for number in range(round((until - since) / TICK_S)):
        now = since + number * TICK_S
        holder = None
        for claim in sorted(wanted, key=lambda claim: asks_at[claim]):
            if asks_at[claim] > now:
                continue
            has_it = turns.take(claim, now)
            assert not (has_it and holder is not None), "one at a time"
            holder = claim if has_it else holder
            asks_at[claim] = now + (0.0 if has_it else turns.ask_in_s())
        had.append(holder)
    return had


def test_only_one_attempt_has_the_turn():
    turns = Turns()
    first, second = _claims(2)
    assert turns.take(first, START)
    assert not turns.take(second, START + 0.5)
    assert turns.take(first, START + 0.5)


def test_a_turn_that_is_given_back_is_free_at_once():
    turns = Turns()
    first, second = _claims(2)
    turns.take(first, START)
    turns.give_back(first)
    assert turns.take(second, START)


def test_nobody_gives_back_the_turn_of_another():
    turns = Turns()
    first, second = _claims(2)
    turns.take(first, START)
    turns.give_back(second)
    assert not turns.take(second, START)


def test_a_turn_that_nobody_asks_for_any_more_ends_by_itself():
    turns = Turns()
    first, second = _claims(2)
    turns.take(first, START)
    assert not turns.take(second, START + TURN_KEPT_S - 0.1)
    assert turns.take(second, START + TURN_KEPT_S)


def test_it_is_free_when_nobody_has_it_and_nobody_waits():
    turns = Turns()
    first, second = _claims(2)
    assert turns.is_free(START)
    turns.take(first, START)
    assert not turns.is_free(START + TURN_KEPT_S - 0.1)
    assert turns.is_free(START + TURN_KEPT_S)
    turns.take(second, START)
    turns.give_back(first)
    assert not turns.is_free(START + 0.1)
    turns.end(second)
    assert turns.is_free(START + 0.1)


def test_an_attempt_that_is_alone_keeps_the_turn_for_as_long_as_it_asks():
    turns, [only] = Turns(), _claims(1)
    assert set(_share(turns, [only], START + 60.0)) == {only}


def test_a_newcomer_waits_no_longer_than_a_slice():
    turns = Turns()
    first, newcomer = _claims(2)
    _share(turns, [first], START + 10.0)
    had = _share(turns, [first, newcomer], START + 15.0, START + 10.0)
    assert had.index(newcomer) * TICK_S <= SLICE_S + ASK_AGAIN_S


def test_however_many_have_vanished_a_newcomer_is_next():
    turns = Turns()
    vanished = _claims(20)
    _share(turns, vanished, START + 40.0)
    [newcomer] = _claims(1)
    had = _share(turns, [*vanished, newcomer], START + 50.0, START + 40.0)
    assert had.index(newcomer) * TICK_S <= SLICE_S + 3 * ASK_AGAIN_S


def test_those_that_want_the_same_get_the_same():
    turns, claims = Turns(), _claims(4)
    had = _share(turns, claims, START + 80.0)
    for claim in claims:
        assert 0.2 <= had.count(claim) / len(had) <= 0.3


def test_who_there_was_a_sign_of_goes_before_who_there_was_none_of():
    turns = Turns()
    silent, alive = _claims(2)
    silent.found()
    _share(turns, [alive], START + 10.0)
    alive.sign()
    had = _share(turns, [silent, alive], START + 20.0, START + 10.0)
    assert set(had) == {alive}
    alive.signed = 0
    had = _share(turns, [silent, alive], START + 60.0, START + 20.0)
    assert 0.5 <= had.count(silent) / len(had) <= 0.7, "it had none until then"


def test_an_attempt_that_no_longer_waits_keeps_no_other_from_the_turn():
    turns = Turns()
    first, gone, second = _claims(3)
    turns.take(first, START)
    turns.take(gone, START)
    turns.give_back(first)
    later = START + 2.0 * ASK_AGAIN_S
    assert not turns.take(second, later - 0.05)
    assert turns.take(second, later)


def test_a_few_fresh_sockets_may_be_of_a_given_parity_and_none_comes_again_soon():
    turns = Turns()
    [claim] = _claims(1)
    for like in (40_001, 40_000):
        sockets = [s for _ in range(16) for s in turns.fresh_sockets(claim, 8, like)]
        assert len(set(sockets)) == 16 * 8
        assert {socket % 2 for socket in sockets} == {like % 2}
        assert min(sockets) > 64_999
        assert max(sockets) < 0x10000
    assert min(turns.fresh_sockets(claim, 256, 40_001)) > 0xFFFF


def test_fresh_sockets_are_never_given_out_twice_and_ask_for_no_port():
    turns = Turns()
    first, second = _claims(2)
    sockets = turns.fresh_sockets(first, 256) + turns.fresh_sockets(second, 8)
    assert len(set(sockets)) == 264
    assert min(sockets) > FIRST_HELPER > 0xFFFF


def test_a_process_with_few_descriptors_has_fewer_sockets_open_at_a_time():
    turns = Turns()
    first, second, third = _claims(3)
    second.slices = 1
    turns.allow_sockets(24)
    turns.fresh_sockets(first, 12)
    turns.fresh_sockets(second, 12)
    assert not second.must_end
    turns.fresh_sockets(third, 12)
    assert second.must_end
    turns.allow_sockets(100_000)
    assert turns.most_sockets == 768
    turns.allow_sockets(None)
    assert turns.most_sockets == 768


def test_where_too_many_sockets_are_open_the_one_that_comes_last_has_to_end():
    turns = Turns()
    silent, alive, older, newcomer = _claims(4)
    silent.found()
    older.slices = 1
    for claim in (silent, alive, older):
        turns.fresh_sockets(claim, MOST_SOCKETS // 3)
    assert not any(claim.must_end for claim in (silent, alive, older))
    turns.fresh_sockets(newcomer, MOST_SOCKETS // 3)
    assert silent.must_end
    assert not any(claim.must_end for claim in (alive, older, newcomer))
    turns.end(silent)
    assert not silent.must_end
    turns.fresh_sockets(silent, 1)
    assert older.must_end


def _sent(turns, host, since, until, rate=500, *, is_signed=True):
    count = int((until - since) * rate)
    instants = (since + number / rate for number in range(count))
    return sum(turns.may_send(host, at, is_signed=is_signed) for at in instants)


def test_a_host_that_never_answers_gets_one_wave_and_then_nothing_more():
    for is_signed in (True, False):
        turns = Turns()
        assert _sent(turns, HOST, START, START + 60.0, is_signed=is_signed) == 960
        assert _sent(turns, HOST, START + 60.0, START + 7200.0, rate=1, is_signed=is_signed) == 0


def test_a_host_that_was_found_begins_anew():
    turns, [claim] = Turns(), _claims(1)
    _sent(turns, HOST, START, START + 60.0)
    turns.answered(HOST, START + 600.0, START + 60.0)
    turns.found(claim, HOST)
    assert turns.may_send(HOST, START + 60.0, is_signed=True)
    assert _sent(turns, HOST, START + 60.0, START + 62.0) == 1000


def test_a_peer_that_falls_silent_has_given_no_sign_by_that():
    turns, [claim] = Turns(), _claims(1)
    assert claim.signed == MOST_WAVE_PACKETS
    turns.found(claim, HOST)
    assert claim.signed == 0
    claim.sign()
    assert claim.signed == MOST_WAVE_PACKETS


def test_a_host_that_has_answered_may_be_guessed_at_for_longer_but_not_for_ever():
    """A router that starts again is gone for a while, and what is sent meanwhile is lost."""
    turns = Turns()
    turns.answered(HOST, START + 600.0, START)
    in_vain = _sent(turns, HOST, START, START + 20.0, is_signed=False)
    assert RESERVED <= in_vain <= RESERVED + 20 * 34 + 1
    assert _sent(turns, HOST, START + 20.0, START + 24.0) == 2000
    in_vain = _sent(turns, HOST, START + 600.0, START + 900.0, is_signed=False)
    assert in_vain == 960, "a stranger by then"


def test_a_peer_without_a_sign_leaves_half_to_the_others():
    turns = Turns()
    for number in range(20):
        host = f"198.51.100.{number}"
        turns.answered(host, START + 600.0, START)
        _sent(turns, host, START + number, START + number + 1.0, is_signed=False)
    turns.answered("203.0.113.9", START + 600.0, START)
    assert _sent(turns, "203.0.113.9", START + 20.0, START + 24.0, is_signed=True) == 2000


def test_however_many_hosts_are_named_all_of_them_get_no_more_than_an_attempt_a_minute():
    for has_answered in (False, True):
        turns = Turns()
        sent = 0
        for number in range(60):
            host, at = f"198.51.{number}.7", START + 10.0 * number
            if has_answered:
                turns.answered(host, START + 1200.0, START)
            sent += _sent(turns, host, at, at + 10.0)
        assert sent <= ALL_BURST + 600.0 * 34.0 + 60


def test_a_table_of_hosts_that_is_full_refuses_the_next_until_others_are_forgotten():
    turns = Turns()
    for number in range(1_024):
        assert turns.may_send(f"10.0.{number // 250}.{number % 250}", START, is_signed=True)
    assert not turns.may_send(HOST, START, is_signed=True)
    assert turns.may_send(HOST, START + 86_400.0, is_signed=True)


def test_no_more_hosts_than_that_are_remembered_to_have_answered():
    turns = Turns()
    for number in range(MOST_HOSTS):
        turns.answered(f"10.0.{number // 250}.{number % 250}", START + 10.0, START)
    turns.answered(HOST, START + 600.0, START)
    assert turns.has_answered(HOST, START)
    assert sum(
        turns.has_answered(f"10.0.{n // 250}.{n % 250}", START) for n in range(MOST_HOSTS)
    ) == (MOST_HOSTS - 1)


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
