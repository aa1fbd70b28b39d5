"""How a NAT picks ports, judged from a few."""

from random import Random

import pytest

from natd.core.allocation import PortRule, PortSample, hit_probability, judge, predict
from natd.core.types import Allocation


def _judge(*ports, local_port=40000):
    return judge([PortSample(local_port, port) for port in ports])


def test_kept_ports_are_preserving():
    assert _judge(40000, 40000, 40000).allocation is Allocation.PRESERVING


def test_two_samples_tell_nothing():
    assert _judge(5000, 5001).allocation is Allocation.UNKNOWN


def test_one_port_for_all_tells_nothing_of_the_next():
    assert _judge(5000, 5000, 5000, 5000).allocation is Allocation.UNKNOWN


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_small_forward_steps_are_sequential_with_their_common_divisor(stride):
    rule = _judge(*(50_000 + stride * step for step in (0, 1, 3, 4)))
    assert (rule.allocation, rule.stride) == (Allocation.SEQUENTIAL, stride)


def test_one_jump_among_small_steps_is_still_sequential():
    assert _judge(65_534, 65_535, 1024, 1025).allocation is Allocation.SEQUENTIAL


def test_a_range_of_a_few_hundred_ports_is_an_aligned_block():
    rule = _judge(20_700, 20_500, 20_990, 20_481)
    assert (rule.allocation, rule.low, rule.high) == (Allocation.BLOCK, 20_480, 20_991)


def test_scattered_ports_are_random():
    assert _judge(61_000, 3000, 40_111, 22_222).allocation is Allocation.RANDOM


def test_random_ports_are_hardly_ever_taken_for_anything_else():
    random = Random(1)
    verdicts = [
        _judge(*(random.randint(1024, 65_535) for _ in range(4))).allocation for _ in range(2000)
    ]
    assert verdicts.count(Allocation.RANDOM) >= 1980


def test_eight_samples_learn_a_block_of_512_in_99_of_100():
    random = Random(2)
    right = 0
    for _ in range(1000):
        low = 512 * random.randint(2, 127)
        rule = _judge(*random.sample(range(low, low + 512), 8))
        right += (rule.low, rule.high) == (low, low + 511)
    assert right >= 980


def test_a_high_range_is_believed_only_when_chance_is_unlikely():
    assert _judge(50_000, 60_000, 65_000, 55_555).low == 49152
    assert _judge(40_000, 60_000, 65_000, 35_555).low == 1024


def test_the_next_ports_of_a_sequence_come_in_its_order_and_wrap():
    rule = PortRule(Allocation.SEQUENTIAL, 2, 1024, 65_535)
    assert predict(rule, 50_000, 3) == [50_002, 50_004, 50_006]
    assert predict(rule, 65_534, 2) == [1024, 1026]


def test_the_neighbours_of_a_block_come_after_it():
    rule = PortRule(Allocation.BLOCK, 0, 2048, 2111)
    ports = predict(rule, 2050, 1000)
    assert ports[:64] == list(range(2048, 2112))
    assert ports[64:128] == list(range(2112, 2176))
    assert ports[128:] == list(range(1984, 2048))


def test_the_birthday_bound_is_the_published_one():
    assert hit_probability(256, 175, 64_512) == pytest.approx(0.50, abs=0.01)
    assert hit_probability(256, 986, 64_512) == pytest.approx(0.98, abs=0.01)
    assert hit_probability(256, 1741, 64_512) == pytest.approx(0.999, abs=0.001)
