"""Where the two of a cell stand, in each laboratory."""

import pickle

import pytest

from tests.bench.grounds import way_out
from tests.bench.real_grounds import flavour_of, plays
from tests.bench.rows import BLOCK, ROWS
from tests.bench.virtual_matrix import _Meeting

ALL_CELLS = [cell for row in ROWS for cell in row.all_cells]


def test_a_worker_process_lays_out_the_same_kernel_nats():
    for cell in filter(plays, ALL_CELLS):
        there = pickle.loads(pickle.dumps(cell))
        for side, same in ((cell.resident, there.resident), (cell.newcomer, there.newcomer)):
            assert flavour_of(there, same) == flavour_of(cell, side), cell.name
    assert any(side == BLOCK for cell in filter(plays, ALL_CELLS) for side in (cell.resident,))


def test_every_row_that_two_kernel_routers_play_has_cells_on_one_segment():
    with_two_routers = {
        row.name
        for row in ROWS
        for cell in row.cells
        if plays(cell)
        and cell.place != "same carrier NAT"
        and cell.resident.policy
        and cell.newcomer.policy
    }
    assert with_two_routers == {row.name for row in ROWS if row.no_hop_cells}
    for row in ROWS:
        assert all(plays(cell) for cell in row.no_hop_cells), row.name


@pytest.mark.parametrize("cell", ALL_CELLS, ids=lambda cell: cell.name)
def test_the_two_are_as_far_from_one_another_as_the_cell_says(cell):
    meeting = _Meeting(cell, 0)
    ends = [[m.host, *way_out(m.host)][-1] for m in (meeting._alice, meeting._bob)]
    if ends[0] is ends[1]:
        return
    assert sum(end.hops for end in ends) == cell.hops
    assert {end.delay_s for end in ends} == {cell.delay_s}
