"""Each patch fits the source as it is, and its tests exist."""

import ast
from pathlib import Path

import pytest

from tests.processes import SOURCE
from tests.red.patches import Patch, applies, patches


@pytest.mark.parametrize("patch", patches(), ids=lambda patch: patch.name)
def test_a_patch_fits_the_source(patch: Patch) -> None:
    assert applies(patch, SOURCE) is None


@pytest.mark.parametrize("patch", patches(), ids=lambda patch: patch.name)
def test_the_tests_that_a_patch_names_are_there(patch: Patch) -> None:
    for test in patch.tests:
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in functions(SOURCE / file), test


def functions(file: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)}
