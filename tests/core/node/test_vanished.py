"""Members that vanish without a word keep nobody else from being met."""

from collections import Counter

import pytest

from natd.core.checks.turns import ALL_BURST, ALL_RATE, FIRST_HELPER, MOST_SOCKETS
from natd.core.keys.secrets import network_key
from tests.core.world.village import Village
from tests.internet.nat import PORT_RESTRICTED, SYMMETRIC_RANDOM

KEY = network_key("demo", b"0123456789abcdef")
SEEDS = 3

MET_S = 5.0
"""A slice of somebody else's, a wave, and the next one for those that it has missed."""

LATE_S = 12.0
"""One of fifty misses the first wave, and the next one comes with a round of checks."""


def _resident(seed, policy):
    village = Village(seed)
    resident = village.member("resident", village.internet.add_nat(policy), key=KEY)
    resident.start()
    village.internet.run(3.0)
    return village, resident


def _newcomer(village, name, policy, port):
    return village.member(name, village.internet.add_nat(policy), key=KEY, port=port)


def _meet(village, resident, newcomer, limit_s):
    """After how long the resident has what a newcomer says; None: not in time."""
    began = village.internet.now
    newcomer.start()
    newcomer.send(newcomer.name)
    is_met = village.internet.run_until(lambda: newcomer.name in resident.texts(), limit_s)
    return village.internet.now - began if is_met else None


@pytest.mark.parametrize("gone_s", [0.0, 5.0, 14.0, 30.0])
def test_a_newcomer_is_met_however_long_ago_another_has_vanished(gone_s):
    for seed in range(SEEDS):
        village, resident = _resident(seed, SYMMETRIC_RANDOM)
        first = _newcomer(village, "first", PORT_RESTRICTED, 40001)
        assert _meet(village, resident, first, LATE_S)
        first.kill()
        village.internet.run(gone_s)
        second = _newcomer(village, "second", PORT_RESTRICTED, 40002)
        assert _meet(village, resident, second, MET_S), f"seed {seed}"


@pytest.mark.parametrize(
    "policies", [(SYMMETRIC_RANDOM, PORT_RESTRICTED), (PORT_RESTRICTED, SYMMETRIC_RANDOM)]
)
def test_of_many_that_vanish_one_after_the_other_each_has_been_met(policies):
    ours, theirs = policies
    for seed in range(SEEDS):
        village, resident = _resident(seed, ours)
        trace = village.internet.trace = []
        began, took_s = village.internet.now, []
        for number in range(8):
            newcomer = _newcomer(village, f"newcomer {number}", theirs, 40010 + number)
            took_s.append(_meet(village, resident, newcomer, LATE_S))
            village.internet.run(2.0)
            newcomer.kill()
            village.internet.run(3.0)
        assert None not in took_s, f"seed {seed}"
        assert sorted(took_s)[len(took_s) // 2] <= MET_S / 2
        sent = [each for each in trace if each.host is resident.host]
        for first, later in zip(sent, sent[500:], strict=False):
            assert later.at - first.at > 1.0, "never more than 500 a second"
        lasted_s = village.internet.now - began
        assert len(sent) <= ALL_BURST + (ALL_RATE + 20.0) * lasted_s


def test_a_newcomer_meets_five_that_it_has_to_guess_one_after_the_other():
    for seed in range(SEEDS):
        village = Village(seed)
        residents = [
            _newcomer(village, f"resident {number}", SYMMETRIC_RANDOM, 40100 + number)
            for number in range(5)
        ]
        for resident in residents:
            resident.start()
        village.internet.run(60.0)
        newcomer = _newcomer(village, "newcomer", PORT_RESTRICTED, 40001)
        newcomer.start()
        newcomer.send("hi")
        met = village.internet.run_until(
            lambda: all("hi" in resident.texts() for resident in residents),  # noqa: B023
            7.0,
        )
        assert met, f"seed {seed}"


def test_those_that_have_vanished_hold_no_more_sockets_than_a_process_may_open():
    village, resident = _resident(1, SYMMETRIC_RANDOM)
    most = 0
    for number in range(6):
        newcomer = _newcomer(village, f"newcomer {number}", PORT_RESTRICTED, 40010 + number)
        newcomer.start()
        village.internet.run(2.5)
        newcomer.kill()
        for _ in range(5):
            village.internet.run(0.5)
            kinds = Counter(socket >= FIRST_HELPER for socket in resident.attached.ports)
            most = max(most, kinds[True])
    assert MOST_SOCKETS / 2 < most <= MOST_SOCKETS + 256, "one round more until they are closed"
