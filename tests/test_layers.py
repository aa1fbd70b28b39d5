"""The source keeps to the rules of `layers`, and each rule would report its violation."""

import shutil
from pathlib import Path

import pytest

from tests.layers import (
    DOORS,
    all_violations,
    violations_of_catching,
    violations_of_doors,
    violations_of_doors_of_wings,
    violations_of_emptiness,
    violations_of_layers,
    violations_of_naming,
    violations_of_purity,
    violations_of_routing,
    violations_of_wings,
)
from tests.sources import PACKAGES, read_source

SOURCE = Path(__file__).resolve().parent.parent


def test_every_wing_imports_only_earlier_ones_and_no_file_leads_back_to_itself() -> None:
    assert violations_of_wings(SOURCE) == []


def test_every_library_has_one_door() -> None:
    assert violations_of_doors(SOURCE) == []


def test_every_wing_has_a_door_that_names_what_others_import() -> None:
    assert violations_of_doors_of_wings(SOURCE) == []


def test_each_layer_imports_only_what_it_stands_on() -> None:
    assert violations_of_layers(SOURCE) == []


def test_cores_know_no_loop_no_socket_no_clock_no_disk_and_no_randomness() -> None:
    assert violations_of_purity(SOURCE) == []


def test_importing_a_package_loads_nothing() -> None:
    assert violations_of_emptiness(SOURCE) == []


def test_everything_is_caught_in_two_places_only() -> None:
    assert violations_of_catching(SOURCE) == []


def test_every_file_is_named_for_what_lives_there() -> None:
    assert violations_of_naming(SOURCE) == []


def test_the_root_of_the_cores_only_routes() -> None:
    assert violations_of_routing(SOURCE) == []


@pytest.mark.parametrize(
    ("file", "planted", "reported"),
    [
        (
            "natd/core/base/types.py",
            "from natd.core.base.events import Event",
            "imports natd.core.base.events",
        ),
        (
            "natd/core/codec/stun.py",
            "import natd.core.keys.card",
            "natd.core.keys.card",
        ),
        (
            "natd/core/codec/stun.py",
            "import natd.core.punch.punch",
            "imports natd.core.punch.punch",
        ),
        ("natd/core/codec/stun.py", "from .wire import encode", "relative import"),
        (
            "natd/core/codec/stun.py",
            "def f():\n    from natd.core.paths import paths",
            "natd.core.paths.paths",
        ),
        ("natd/core/novelty.py", "", "has no place in the order"),
        (
            "natd/core/codec/stun.py",
            "from natd.host.errors import NatdError",
            "imports natd.host.errors",
        ),
        ("natd/core/codec/stun.py", "from natd.ipc import Client", "imports natd.ipc"),
        ("natd/core/__init__.py", "import natd.core.keys.card", "imports natd.core.keys.card"),
        ("natd/core/paths/paths.py", "import qh3.quic", "qh3 outside its door"),
        ("natd/core/paths/paths.py", "def f():\n    import msgspec", "msgspec outside its door"),
        ("natd/net/udp.py", "import zmq.asyncio", "zmq outside its door"),
        ("natd/net/udp.py", "import yaml", "yaml outside its door"),
        ("natd/net/udp.py", "from sqlite3 import connect", "sqlite3 outside its door"),
        ("natd/net/udp.py", "import requests", "requests has no door"),
        (
            "natd/net/udp.py",
            "from natd.core.keys.secrets import X25519PrivateKey",
            "by natd.core.keys.secrets",
        ),
        ("natd/net/udp.py", "import natctl", "imports natctl"),
        ("natd/net/udp.py", "from frontends.safe import safe", "imports frontends.safe"),
        (
            "natd/ipc/client.py",
            "from natd.host.errors import NatdError",
            "imports natd.host.errors",
        ),
        ("natd/ipc/client.py", "import natd", "imports natd"),
        (
            "frontends/safe.py",
            "from natd.core.base.types import Address",
            "imports natd.core.base.types",
        ),
        ("frontends/safe.py", "from natd.storage import store", "imports natd.storage.store"),
        ("frontends/safe.py", "from natctl import output", "imports natctl"),
        (
            "natctl/planted.py",
            "from natd.settings.config import Config",
            "imports natd.settings.config",
        ),
        ("natctl/planted.py", "from frontends import chat", "frontends.chat before it is wanted"),
        ("natctl/planted.py", "__import__('natd.storage.store')", "imports natd.storage.store"),
        ("natd/core/paths/paths.py", "import asyncio", "imports asyncio"),
        ("natd/core/paths/paths.py", "from time import monotonic", "imports time"),
        ("natd/core/paths/paths.py", "def f():\n    import socket", "imports socket"),
        ("natd/core/paths/paths.py", "import os.path", "imports os"),
        ("natd/core/paths/paths.py", "import secrets", "imports secrets"),
        ("natd/core/paths/paths.py", "import random", "imports random"),
        ("natd/core/paths/paths.py", "from random import Random, choice", "imports random"),
        ("natd/core/paths/paths.py", "from random import SystemRandom", "imports random"),
        ("natd/core/paths/paths.py", "f = open('x')", "calls open"),
        ("natd/core/paths/paths.py", "import datetime\nt = datetime.datetime.now()", "reads now"),
        ("natd/core/paths/paths.py", "from datetime import date\nt = date.today()", "reads today"),
        ("natd/__init__.py", "from natd.ipc import Client", "more than a docstring"),
        ("natd/net/__init__.py", "import socket", "more than a docstring"),
        ("natd/net/udp.py", "import natd.storage.schema", "not named by its door"),
        ("natd/server.py", "from natd.storage import schema", "not named by its door"),
        ("natd/core/node.py", "import natd.core.checks.pace", "not named by its door"),
        ("frontends/safe.py", "from natd.ipc.client import Client", "not named by its door"),
        ("natd/net/udp.py", "try:\n    f()\nexcept Exception:\n    pass", "catches everything"),
        ("natd/net/udp.py", "try:\n    f()\nexcept (OSError, Exception):\n    pass", "everything"),
        ("natd/net/udp.py", "try:\n    f()\nexcept:\n    pass", "catches everything"),
        ("natd/utils.py", "", "says nothing"),
        (
            "natd/core/node.py",
            "class Node:\n    def __init__(self):\n        "
            + "; ".join(f"self.planted_{number} = 0" for number in range(11)),
            "Node keeps 11 things",
        ),
    ],
)
def test_a_planted_violation_is_reported(
    source_copy: Path, file: str, planted: str, reported: str
) -> None:
    new = violations_after_planting(source_copy, file, planted)

    assert any(violation.startswith(file) and reported in violation for violation in new), new


@pytest.mark.parametrize(
    ("file", "planted"),
    [
        ("natd/core/paths/paths.py", "from natd.core.base.types import PeerId"),
        ("natd/core/paths/paths.py", "from random import Random"),
        ("natd/core/paths/paths.py", "import datetime\nt = datetime.datetime(2020, 1, 1)"),
        ("natd/net/udp.py", "from natd.core.base.types import Address"),
        ("natd/net/udp.py", "import time"),
        ("natctl/commands/planted.py", "import click\nfrom natd.ipc import Client\nimport natctl"),
        ("natctl/commands/planted.py", "def chat():\n    from frontends.chat import run"),
        ("frontends/safe.py", "from natd.ipc import Client"),
        ("natctl/commands/planted.py", "from natctl.commands.join import join"),
        ("natd/net/udp.py", "try:\n    f()\nexcept OSError:\n    pass"),
    ],
)
def test_what_is_allowed_is_not_reported(source_copy: Path, file: str, planted: str) -> None:
    assert violations_after_planting(source_copy, file, planted) == []


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        ("Others import: nothing.", "imports natd.doctor.report, not named by its door"),
        ("Others import: report, doctor.", "names doctor, which nobody else imports"),
        ("Others may import report.", "has no last line `Others import: name, name.`"),
    ],
)
def test_a_door_that_does_not_tell_the_truth_is_reported(
    source_copy: Path, line: str, reported: str
) -> None:
    door = source_copy / "natd/doctor/__init__.py"
    truth = door.read_text(encoding="utf-8")
    door.write_text(truth.replace("Others import: report.", line), encoding="utf-8")
    try:
        found = violations_of_doors_of_wings(source_copy)
    finally:
        door.write_text(truth, encoding="utf-8")
    assert any(reported in violation for violation in found), found


def test_every_door_is_used() -> None:
    """So that a door does not stay open behind a file that was renamed or needs it no more."""
    files = {file.name: file for file in read_source(SOURCE)}
    for library, doors in DOORS.items():
        for door in doors:
            if door.endswith(".py"):
                assert any(one.top == library for one in files[door].imports), door


@pytest.fixture(scope="module")
def source_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(
            SOURCE / package, root / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return root


def violations_after_planting(root: Path, file: str, planted: str) -> list[str]:
    """What is reported with `planted` at the end of `file`, and was not without it."""
    path = root / file
    before = all_violations(root)
    text = path.read_text(encoding="utf-8") if path.exists() else None
    path.write_text(f"{text or ''}\n{planted}\n", encoding="utf-8")
    try:
        return [violation for violation in all_violations(root) if violation not in before]
    finally:
        if text is None:
            path.unlink()
        else:
            path.write_text(text, encoding="utf-8")
