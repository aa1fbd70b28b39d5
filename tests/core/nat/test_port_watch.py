"""When further samples of the allocation are wanted, and what a port does that fits no rule."""

import itertools
from dataclasses import replace

from natd.core.base.local_ports import SURVEYS
from natd.core.base.types import MAIN_SOCKET, Address, Allocation, Mapping, NatReport, SocketId
from natd.core.nat.allocation_survey import (
    PLACES,
    SEQUENCE_WAIT_S,
    SURVEY_S,
    Survey,
    is_survey_wanted,
    survey_places,
    survey_sockets,
)
from natd.core.nat.port_history import HISTORY_KEPT_S, MOST_PORTS, PortHistory
from natd.core.nat.port_watch import SURVEY_PAUSE_S, PortWatch

START = 1000.0
SERVER, OUTSIDE = "203.0.113.1", "198.51.100.9"
BLOCK = NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, allocation_confidence=0.875)
SEQUENCE = NatReport(
    Mapping.DEPENDENT, allocation=Allocation.SEQUENTIAL, stride=2, allocation_confidence=0.98
)


def test_the_order_of_a_burst_is_that_of_asking_whatever_the_order_of_answers():
    made = [(8081, 5000), (8082, 5001), (8083, 5002), (8080, 5003)]
    rules = []
    for order in itertools.permutations(made):
        history = PortHistory()
        for port, external in order:
            seen = Address(OUTSIDE, external)
            history.add(MAIN_SOCKET, 40000, Address(SERVER, port), seen, START)
        rules.append(history.rule(is_ipv6=False))
    assert rules[0].allocation is Allocation.SEQUENTIAL
    assert all(rule == rules[0] for rule in rules)


def test_each_socket_and_each_host_has_bursts_of_its_own():
    history = PortHistory()
    for number, (socket, host) in enumerate(itertools.product((0, 1), (SERVER, "203.0.113.2"))):
        for port in range(3):
            observed = Address(OUTSIDE, 5000 + 1000 * number + port)
            history.add(SocketId(socket), 40000, Address(host, 8080 + port), observed, START)
    assert history.rule(is_ipv6=False).allocation is Allocation.SEQUENTIAL


def test_what_a_socket_asks_after_others_have_asked_is_another_burst():
    """After a router's restart one answer makes us survey, and then ask from the main socket again:
    in one burst its ports looked like those of a block."""
    history = PortHistory()
    asked = [(0, 8080, 48893, 0.0)]
    asked += [(1, 8081 + n, port, 0.1) for n, port in enumerate((48900, 48901, 48903))]
    asked += [(2, 8081 + n, port, 0.1) for n, port in enumerate((48904, 48907, 48911))]
    asked += [(0, 8081 + n, port, 0.1) for n, port in enumerate((48912, 48913, 48914))]
    for socket, place, external, after_s in asked:
        seen, destination = Address(OUTSIDE, external), Address(SERVER, place)
        history.add(SocketId(socket), 40000 + socket, destination, seen, START + after_s)
    rule = history.rule(is_ipv6=False)
    assert rule.allocation is Allocation.SEQUENTIAL
    assert rule.confidence >= 0.99


def test_the_history_is_bounded_in_number_and_in_time():
    history = PortHistory()
    for number in range(3 * MOST_PORTS):
        history.add(MAIN_SOCKET, 40000, Address(SERVER, 1), Address(OUTSIDE, number), START)
    assert len(history.ports_since(None)) == MOST_PORTS
    later = START + HISTORY_KEPT_S + 1.0
    history.add(MAIN_SOCKET, 40000, Address(SERVER, 1), Address(OUTSIDE, 7), later)
    assert history.ports_since(None) == [7]


def test_the_ports_of_a_block_that_we_hold_are_told_and_those_of_no_block_are_not():
    watch = PortWatch()
    held = [20_511, 20_700, 20_483, 20_990, 20_600]
    for number, port in enumerate(held):
        destination = Address(SERVER, 8080 + number)
        watch.add(MAIN_SOCKET, 40000, destination, Address(OUTSIDE, port), START)
    assert sorted(watch.taken) == sorted(held)
    watch.clear()
    for number in range(5):
        destination = Address(SERVER, 8080 + number)
        watch.add(MAIN_SOCKET, 40000, destination, Address(OUTSIDE, 5000 + number), START)
    assert watch.taken == ()


def test_a_survey_is_for_hard_nats_whose_samples_leave_a_doubt():
    assert is_survey_wanted(BLOCK)
    assert is_survey_wanted(SEQUENCE)
    assert is_survey_wanted(NatReport(Mapping.ADDRESS_DEPENDENT))
    for report in (
        NatReport(),
        NatReport(Mapping.INDEPENDENT, confidence=0.8),
        NatReport(Mapping.DEPENDENT),
        NatReport(Mapping.DEPENDENT, allocation=Allocation.RANDOM),
        NatReport(Mapping.DEPENDENT, allocation=Allocation.BLOCK, allocation_confidence=0.999),
    ):
        assert not is_survey_wanted(report)


def test_the_sockets_of_a_survey_have_both_parities_and_are_others_each_turn():
    for main_port in (1024, 40000, 40001, 65535):
        rows = [survey_sockets(BLOCK, main_port, turn) for turn in range(5)]
        assert len({socket for row in rows for socket in row}) == 5 * 3
        for row in rows:
            assert row[0] % 2 != main_port % 2
            assert {socket % 2 for socket in row} == {0, 1}
            assert set(row) <= set(SURVEYS)


def test_where_ports_of_a_server_see_the_same_one_of_them_is_asked():
    assert survey_places(BLOCK) == PLACES
    assert survey_places(NatReport(Mapping.ADDRESS_DEPENDENT)) == 1


def test_sockets_stay_open_until_the_survey_is_over():
    survey = Survey()
    survey.begin((SocketId(61000),), START)
    assert survey.get_timer() == START + SURVEY_S
    survey.handle_timer(START + SURVEY_S - 0.1)
    assert set(survey.sockets) == {SocketId(61000)}
    survey.handle_timer(START + SURVEY_S)
    assert not survey.sockets
    assert survey.get_timer() is None


def test_a_block_is_asked_at_once_and_a_sequence_when_nobody_guesses_at_it_any_more():
    perhaps = replace(SEQUENCE, allocation_confidence=0.89)
    for report, wait_s in ((BLOCK, 0.0), (perhaps, 0.0), (SEQUENCE, SEQUENCE_WAIT_S)):
        watch = PortWatch()
        watch.plan_survey(report, START)
        assert watch.survey_at == START + wait_s
        assert watch.take_survey(report, 40000, START + wait_s - 0.1) == ()
        assert watch.take_survey(report, 40000, START + wait_s)
        watch.plan_survey(report, START + 10.0)
        assert watch.survey_at is None, "once is enough"


def test_another_network_and_another_class_are_surveyed_again():
    watch = PortWatch()
    watch.plan_survey(BLOCK, START)
    watch.take_survey(BLOCK, 40000, START)
    watch.forget_before(START + 60.0)
    watch.plan_survey(BLOCK, START + 60.0)
    first = watch.take_survey(BLOCK, 40000, START + 60.0)
    watch.clear()
    watch.plan_survey(BLOCK, START + 90.0)
    second = watch.take_survey(BLOCK, 40000, START + 90.0)
    assert first
    assert second
    assert not set(first) & set(second)


def test_a_port_outside_of_the_block_has_the_nat_surveyed_and_the_new_ports_believed():
    watch = _watch((20_700, 20_500, 20_990, 20_481, 20_871, 20_602, 20_555, 20_933))
    watch.take_survey(BLOCK, 40000, START)
    assert watch.rule(is_ipv6=False).low == 20_480
    later = START + 60.0
    _add(watch, 0, 50_000, later)
    assert watch.survey_at == later
    assert watch.take_survey(BLOCK, 40000, later)
    for number, port in enumerate((49_700, 49_900, 50_100, 49_800, 50_150), 1):
        _add(watch, number, port, later + 0.1)
    rule = watch.rule(is_ipv6=False)
    assert (rule.allocation, rule.low, rule.high) == (Allocation.BLOCK, 49_664, 50_175)


def test_a_sequence_that_has_run_on_for_a_minute_fits_and_one_that_ran_backwards_does_not():
    for port, fits in ((5100 + 250 * 60, True), (4000, False)):
        watch = _watch(range(5000, 5010))
        _add(watch, 0, port, START + 60.0)
        assert (watch.survey_at is None) is fits


def test_the_ports_of_the_first_burst_are_no_misfits_of_each_other():
    watch = PortWatch()
    for number, port in enumerate((20_480, 20_500, 20_990, 61_000)):
        _add(watch, number, port, START + number * 0.1)
    assert watch.survey_at is None
    assert SURVEY_PAUSE_S > 4 * 0.1


def _watch(ports):
    watch = PortWatch()
    for number, port in enumerate(ports):
        _add(watch, number, port, START)
    return watch


def _add(watch, number, port, at):
    watch.add(MAIN_SOCKET, 40000, Address(SERVER, 8080 + number), Address(OUTSIDE, port), at)
