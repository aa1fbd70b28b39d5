"""Hard cells of the matrix with real daemons, once each: the figures have a hundred runs.

Which cells meet how often is held in virtual time (`tests/bench/test_matrix.py`); this holds that
the daemon's sockets, TTLs and helper ports do what the nodes of the virtual internet do.
"""

import pytest

from tests.bench.real_grounds import plays
from tests.bench.real_matrix import play
from tests.bench.rows import ROWS
from tests.requirements import requires, requires_nat, requires_tun

requires_conntrack = requires("command:conntrack")

CELLS = {cell.name: cell for row in ROWS for cell in (*row.cells, *row.early_cells)}

LUCK = 2
"""Runs in which to meet once: one in a hundred may miss."""


@requires_tun
@pytest.mark.parametrize(
    "name",
    [
        "birthday: random x port-restricted",
        "birthday by address: port-restricted x address-dependent",
        "sequence: port-restricted x every second",
        "block: block x port-restricted",
        "two sequences: sequential x sequential",
    ],
)
def test_real_daemons_meet_where_ports_have_to_be_guessed(name):
    assert meets("real", CELLS[name])


@requires_nat
@requires_tun
@requires_conntrack
@pytest.mark.parametrize(
    "name",
    ["birthday: linux x random", "easy: linux x linux, early packet"],
)
def test_real_daemons_meet_behind_kernels_that_make_it_hard(name):
    assert plays(CELLS[name])
    assert meets("kernel", CELLS[name])


@requires_tun
def test_real_daemons_tell_the_truth_where_nobody_can_meet():
    cell = CELLS["hopeless: random x sequential"]
    (run,) = play("real", cell, range(1))
    assert run.took_s is None
    assert run.verdict_s is not None, run.codes


def meets(lab, cell):
    return any(play(lab, cell, range(run, run + 1))[0].took_s is not None for run in range(LUCK))
