"""Each row names tests that there are."""

import ast

import pytest

from tests.processes import SOURCE
from tests.promises.rows import TABLES, Row

ROWS = [row for rows in TABLES.values() for row in rows]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.promise[:40])
def test_the_tests_of_a_promise_are_there(row: Row) -> None:
    for test in row.tests:
        file, _, name = test.partition("::")
        functions = list(ast.walk(ast.parse((SOURCE / file).read_text())))
        names = {node.name for node in functions if isinstance(node, ast.FunctionDef)}
        assert not name or name in names, test
