"""How a NAT picks ports, judged from a few."""

from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from natd.core.base.types import Allocation
from natd.core.nat.port_allocation import PortRule, PortSample, judge, predict


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


@pytest.mark.parametrize(("count", "half"), [(4, 1 / 8), (6, 1 / 32), (8, 1 / 128)])
def test_the_confidence_of_a_block_is_how_often_it_is_the_whole_block(count, half):
    """Wrongly half the size with probability 2^-(n-1)."""
    random = Random(3)
    sure, right = 0.0, 0
    for _ in range(1000):
        low = 512 * random.randint(2, 127)
        rule = _judge(*random.sample(range(low, low + 512), count))
        right += (rule.low, rule.high) == (low, low + 511)
        sure += rule.confidence
    assert right / 1000 == pytest.approx(1.0 - half, abs=0.04)
    assert sure / 1000 == pytest.approx(right / 1000, abs=0.04)


def test_a_block_of_no_power_of_two_is_where_its_samples_lie():
    rule = _judge(32_500, 32_700, 32_850, 32_999, 32_600, 32_777, 32_555, 32_911)
    assert rule.allocation is Allocation.BLOCK
    assert 32_400 <= rule.low <= 32_500
    assert 32_999 <= rule.high <= 33_100


def test_what_others_hold_already_does_not_hide_the_stride():
    random = Random(4)
    for stride in (1, 2):
        right = 0
        for _ in range(500):
            port = random.randint(1024, 60_000)
            ports: list[int] = []
            while len(ports) < 10:
                port += stride
                if random.random() >= 0.3:
                    ports.append(port)
            bursts = [PortSample(40000, p, number // 4) for number, p in enumerate(ports)]
            rule = judge(bursts)
            right += (rule.allocation, rule.stride) == (Allocation.SEQUENTIAL, stride)
        assert right >= 495


def test_what_others_took_between_two_bursts_is_no_step():
    ports = (5000, 5001, 5003), (9000, 9001, 9002)
    samples = [PortSample(40000, port, burst) for burst in (0, 1) for port in ports[burst]]
    rule = judge(samples)
    assert (rule.allocation, rule.stride) == (Allocation.SEQUENTIAL, 1)
    assert rule.confidence > 0.99


def test_parity_is_believed_of_eight_ports_and_of_a_sequence_from_local_ports_of_both_kinds():
    random = Random(5)
    even = [PortSample(40000, 2 * random.randint(600, 32_000)) for _ in range(8)]
    assert judge(even).keeps_parity
    assert not judge(even[:7]).keeps_parity
    assert not judge([*even, PortSample(40000, 5001)]).keeps_parity
    by_two = [PortSample(40000, 5000 + 2 * n, 0) for n in range(8)]
    assert not judge(by_two).keeps_parity, "a stride of two looks the same"
    odd = [PortSample(40001, 5017 + 2 * n, 1) for n in range(4)]
    assert judge([*by_two, *odd]).keeps_parity


def test_ports_that_no_nat_gives_out_are_left_out():
    assert _judge(1, 2, 3, 0).allocation is Allocation.UNKNOWN
    assert _judge(1, 50_000, 50_001, 65_535, 50_002, 50_003) == _judge(
        50_000, 50_001, 65_535, 50_002, 50_003
    )


@example([(1024, 0), (1025, 1), (2048, 0)])
@given(st.lists(st.tuples(st.integers(0, 65_535), st.integers(0, 3)), max_size=24))
def test_any_ports_give_a_rule_with_a_probability(ports):
    rule = judge([PortSample(None, port, burst) for port, burst in ports])
    assert 0.0 <= rule.confidence <= 1.0
    assert 1024 <= rule.low <= rule.high <= 65_535
    assert (rule.stride > 0) == (rule.allocation is Allocation.SEQUENTIAL)


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
