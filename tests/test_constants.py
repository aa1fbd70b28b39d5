"""One number stands in one place: no two public constants of one name have different values."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from natd.core.base.types import MESSAGES_KEPT_DAYS

SOURCE = Path(__file__).resolve().parent.parent
PACKAGES = ("natd", "natctl", "frontends")


def test_no_two_constants_of_one_name_have_different_values() -> None:
    assert clashes(read(SOURCE)) == []


def test_a_constant_of_the_daemon_stands_in_one_file() -> None:
    """Two copies of one value part company when one of them is changed."""
    found: dict[str, list[str]] = defaultdict(list)
    for file, text in read(SOURCE).items():
        for name, _ in constants(ast.parse(text)):
            if file.startswith("natd/"):
                found[name].append(file)
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_a_second_value_of_a_name_is_reported_wherever_it_stands() -> None:
    one = {"natd/one.py": "WAIT_S = 1.0\nFIRST_S, LAST_S = 2.0, 3.0\nPORTS: int = 1 << 4"}
    for planted in ("WAIT_S = 2.0", "LAST_S = 4.0", "PORTS = 17", "A, FIRST_S = 1, 5.0"):
        assert len(clashes({**one, "natctl/two.py": planted})) == 1, planted


def test_one_value_of_a_name_may_be_written_in_two_ways() -> None:
    files = {"natd/one.py": "SIZE_BYTES = 4 * 1024", "natd/two.py": "SIZE_BYTES = 1 << 12"}
    assert clashes(files) == []


def test_private_names_and_those_in_functions_are_nobody_elses() -> None:
    files = {
        "natd/one.py": "_WAIT_S = 1.0\ndef f():\n    STEP_S = 1.0\n",
        "natd/two.py": "_WAIT_S = 2.0\ndef f():\n    STEP_S = 2.0\n",
    }
    assert clashes(files) == []


def test_an_undelivered_message_is_kept_for_seven_days() -> None:
    assert MESSAGES_KEPT_DAYS == 7


# --- helpers


def read(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }


def clashes(files: dict[str, str]) -> list[str]:
    """A line for each name that has more than one value."""
    found: dict[str, dict[object, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file, text in files.items():
        for name, value in constants(ast.parse(text)):
            found[name][value_of(value)].append(file)
    return [
        f"{name}: " + "; ".join(f"{value} in {', '.join(at)}" for value, at in values.items())
        for name, values in found.items()
        if len(values) > 1
    ]


def constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Those of the module: ALL_CAPS, with no underscore before."""
    for statement in tree.body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        for target in targets:
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=True))
            for each, its in pairs:
                if isinstance(each, ast.Name) and each.id.isupper() and each.id[0] != "_":
                    yield each.id, its


def value_of(value: ast.expr) -> object:
    """What it comes to where it is made of numbers and texts alone; else how it is written."""
    written = ast.unparse(value)
    try:
        made = eval(compile(written, "constant", "eval"), {"__builtins__": {}})
    except (NameError, AttributeError):  # it names something else
        return written
    return made if isinstance(made, int | float | str | bytes) else written
