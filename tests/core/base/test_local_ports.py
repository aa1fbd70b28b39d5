"""No local port stands for two things."""

import ast
from itertools import combinations
from pathlib import Path

import pytest

from natd.core.base import local_ports
from natd.core.base.local_ports import (
    AGREED,
    FILTER_TRIALS,
    FRESH_ALIKE,
    GUESSES_ALIKE,
    LINK_PORT,
    SURVEYS,
)
from natd.core.base.types import Allocation, Filtering, Mapping, NatReport, SocketId
from natd.core.checks import checks
from natd.core.checks.checks import AGREED_PORTS, agreed_port
from natd.core.checks.turns import Claim, Turns
from natd.core.nat.allocation_survey import survey_sockets
from natd.core.nat.filtering import FilterWatch
from natd.core.network.local_sockets import LocalSockets
from natd.core.network.multicast import GROUP, GROUP_IPV6

RANGES = {name: value for name, value in vars(local_ports).items() if isinstance(value, range)}
SOURCE = Path(local_ports.__file__).parents[2]


@pytest.mark.parametrize(("one", "other"), list(combinations(RANGES, 2)))
def test_no_two_ranges_of_local_ports_overlap(one: str, other: str) -> None:
    assert not set(RANGES[one]) & set(RANGES[other])


def test_every_range_ends_with_the_last_port_at_the_latest() -> None:
    assert all(1024 <= ports.start < ports.stop <= 65_536 for ports in RANGES.values())


def test_members_on_a_link_call_each_other_on_port_28260() -> None:
    """Every release does: two that differed would not hear one another."""
    assert GROUP.port == GROUP_IPV6.port == LINK_PORT == 28_260


def test_what_a_pair_agrees_on_is_never_the_port_that_hears_the_link() -> None:
    """It lay inside the agreed range: the pair's socket could not have it."""
    ports = {agreed_port(number) for number in range(len(AGREED))}

    assert LINK_PORT not in ports
    assert ports == set(AGREED) - {LINK_PORT}


def test_all_other_agreed_ports_are_those_of_older_releases() -> None:
    for number in (0, 1, 8_259, 8_261, 39_999, 40_000, 2**32 - 1):
        assert agreed_port(number) == 20_000 + number % 40_000


def test_both_sides_move_an_agreed_port_that_falls_on_the_link_but_not_their_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The mark is a number on the wire, and no socket of ours."""
    drawn = (8_260).to_bytes(4, "big") * 16
    monkeypatch.setattr("natd.core.checks.checks.hmac.digest", lambda *_: drawn)

    *ports, mark = checks._agreed_ports(b"key")

    assert ports == [28_261] * (2 * AGREED_PORTS)
    assert mark == 28_260


def test_every_socket_asks_for_a_port_of_its_own_range() -> None:
    hard = NatReport(Mapping.DEPENDENT, Filtering.UNKNOWN, Allocation.UNKNOWN, 1.0)
    for main_port in (1024, 40_001, 65_535):
        for turn in range(2_000):
            assert set(survey_sockets(hard, main_port, turn)) <= set(SURVEYS)
        ours = LocalSockets()
        ours.local = ((), main_port)
        for _ in range(600):
            assert ours.fresh(is_alike=True) in FRESH_ALIKE
            ours.live.clear()
        watch = FilterWatch()
        for second in range(0, 10_000, 7):
            watch.round_at = float(second)
            assert watch.take_round(main_port, float(second)) in FILTER_TRIALS
        turns, claim = Turns(), Claim()
        for _ in range(100):
            alike = turns.fresh_sockets(claim, 8, like=main_port)
            assert set(alike) <= set(GUESSES_ALIKE)
            assert {socket % 2 for socket in alike} == {main_port % 2}


def test_ranges_of_ports_are_written_down_in_one_place_only() -> None:
    """A number between 20,000 and 65,535 that makes a `SocketId` elsewhere would be another."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == SocketId.__name__:
                numbers = [n.value for n in ast.walk(call) if isinstance(n, ast.Constant)]
                ports = [n for n in numbers if isinstance(n, int) and n >= AGREED.start]
                assert not ports, path
