"""What the documents say of the source is true: files, names, journeys, requests and codes."""

import ast
import re
from functools import cache
from pathlib import Path

import click
import pytest

from natctl.__main__ import command_line
from natctl.commands.events import EVENT_TYPES
from natd.core.base.verdict import VerdictCode
from tests.bench import pictures
from tests.bench.journeys import journeys
from tests.layers import CORE_WINGS

SOURCE = Path(__file__).resolve().parent.parent

DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "natd/README.md",
    "natd/ipc/README.md",
    "tests/README.md",
    "tests/bench/README.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
)

INSIDE = "natd/README.md"

LEAST_RULES = 45

NO_BRACKETS = str.maketrans("", "", "[]")

WINGS = sorted(path.parent.name for path in SOURCE.glob("natd/core/*/__init__.py"))

SHELLS = sorted(
    path.parent.relative_to(SOURCE).as_posix()
    for pattern in ("frontends", "natctl", "natctl/*", "natd/*")
    for path in SOURCE.glob(f"{pattern}/__init__.py")
    if path.parent.name != "core"
)
"""`natd/core` itself tells of wings; that `natd` has a docstring of one line keeps natctl quick."""


def test_the_index_has_enough_rules() -> None:
    assert len({question for question, _, _ in rules() if question}) >= LEAST_RULES


def test_each_rule_of_the_index_is_defined_where_it_says() -> None:
    missing = [
        f"{name} in {file}"
        for _, file, names in rules()
        for name in names
        if name not in defined_in(file)
    ]
    assert missing == []


@pytest.mark.parametrize("journey", pictures.HEADINGS)
def test_a_journey_passes_the_rooms_of_its_picture_in_that_order(journey: str) -> None:
    """`python -m tests.bench.pictures` draws them anew."""
    shown = pictures.rooms(pictures.find(read(INSIDE), journey))

    assert [f"core/{room}" for room in shown] == list(traced()[journey])
    assert "?" not in shown.values()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_file_that_a_document_names_is_there(document: str) -> None:
    text = read(document)
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", text)
    missing = [link for link in linked if not (SOURCE / document).parent.joinpath(link).exists()]
    named = re.findall(r"`((?:natd|natctl|frontends|tests|config|systemd|\.ci)/[\w./-]+)`", text)
    missing += [name for name in named if not (SOURCE / name).exists()]
    assert missing == []


def test_the_readme_for_users_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 200


def test_the_readme_names_every_command_and_only_options_that_there_are() -> None:
    group = command_line
    context = click.Context(group)
    named: set[str] = set()
    for call in calls_of(section("README.md", "## Commands")):
        command = group.get_command(context, call.split()[0])
        assert command is not None, call
        named.add(call.split()[0])
        known = {option for parameter in command.params for option in parameter.opts}
        assert known.issuperset(re.findall(r"(?<![\w-])--?\w[\w-]*", call)), call
    assert named == set(group.list_commands(context))


def test_the_requests_the_events_and_the_verdicts_for_programs_are_all_told() -> None:
    text = read("natd/ipc/README.md")

    asked = words_of_first_column(text, "| `do` | fields |")
    assert asked == {*requests(), "hello", "subscribe", "credit"}
    events = set(re.findall(r"`(\w+)`", text.partition("Event types:")[2].partition(". A")[0]))
    assert events == {*EVENT_TYPES, "gap"}
    assert words_of_first_column(text, "| code | says |") == {code.value for code in VerdictCode}


def test_the_door_of_the_core_tells_the_order_of_its_wings() -> None:
    order = read("natd/core/__init__.py").partition("those before it:\n")[2].partition('"""')[0]
    assert re.findall(r"\w+", order) == [wing for wing in CORE_WINGS if wing]


@pytest.mark.parametrize("wing", WINGS)
def test_the_door_of_a_wing_shows_all_its_rooms(wing: str) -> None:
    assert rooms_not_shown(f"natd/core/{wing}") == set()
    assert 10 <= len(read(f"natd/core/{wing}/__init__.py").splitlines()) <= 30


@pytest.mark.parametrize("folder", SHELLS)
def test_the_door_of_a_shell_shows_all_its_rooms(folder: str) -> None:
    assert rooms_not_shown(folder) == set()


# --- reading ---------------------------------------------------------------------------


def rooms_not_shown(folder: str) -> set[str]:
    """Those that the door only names among what others import are not shown either."""
    shown = read(f"{folder}/__init__.py").partition("Others import:")[0]
    rooms = {path.stem for path in (SOURCE / folder).glob("*.py")} - {"__init__", "__main__"}
    return {room for room in rooms if not re.search(rf"\b{room}\b", shown)}


def rules() -> list[tuple[str, str, list[str]]]:
    """Question, file and names of each row of the index."""
    table = section(INSIDE, "## Where is the rule?")
    rows = (
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in table.splitlines()
        if row.startswith("|")
    )
    return [
        (question, file.strip("`"), re.findall(r"`([\w.]+)`", names))
        for question, file, names in rows
        if file.startswith("`")
    ]


def section(document: str, heading: str) -> str:
    """From a heading to the next one of its rank, or above."""
    rank = heading.partition(" ")[0]
    after = read(document).partition(f"{heading}\n")[2]
    assert after, f"{document} has no section {heading}"
    return re.split(rf"^#{{1,{len(rank)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def calls_of(text: str) -> list[str]:
    """The calls in the first column of a table, without brackets."""
    cells = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    return [call.translate(NO_BRACKETS) for cell in cells for call in re.findall("`(.+?)`", cell)]


def requests() -> set[str]:
    """The names in the table of commands."""
    (table,) = (
        node.value
        for node in ast.walk(ast.parse(read("natd/daemon/commands.py")))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Dict)
        and ast.unparse(node.targets[0]) == "commands"
    )
    return {ast.literal_eval(key) for key in table.keys if key is not None}


def words_of_first_column(text: str, head: str) -> set[str]:
    rows = text.partition(head)[2].partition("\n\n")[0].splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("|")]
    return {word for cell in cells for word in re.findall(r"`([\w-]+)`", cell)}


@cache
def traced() -> dict[str, dict[str, int]]:
    return journeys(SOURCE, asks_timer=False)


@cache
def defined_in(file: str) -> set[str]:
    """Names at the top of a file, and `Class.name` for what a class defines."""
    path = SOURCE / file
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set(names_of(tree.body))
    for kind in tree.body:
        if isinstance(kind, ast.ClassDef):
            found.update(f"{kind.name}.{name}" for name in names_of(kind.body))
    return found


def names_of(body: list[ast.stmt]) -> list[str]:
    found = []
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                found.append(node.name)
            case ast.Assign():
                found += [target.id for target in node.targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.append(name)
    return found


def read(document: str) -> str:
    return (SOURCE / document).read_text(encoding="utf-8")
