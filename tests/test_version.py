"""The version stands in several places, which say the same.

What runs tells its own from the package's metadata (`natd/host/version.py`), which is that of the
last installation, so it is not compared here.
"""

import re
import tomllib
from pathlib import Path

from natctl.invocation import NATCTL_NAME
from natd.ipc.frames import CLIENT_NAME

ROOT = Path(__file__).parent.parent

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

MINOR = VERSION.rpartition(".")[0]


def test_the_newest_release_of_the_changelog_is_the_version() -> None:
    releases = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == VERSION


def test_the_supported_version_is_the_one_that_gets_fixes() -> None:
    text = (ROOT / ".github/SECURITY.md").read_text()
    assert re.findall(r"^\| (\S+) \| yes \|", text, re.MULTILINE) == [f"{MINOR}.x"]


def test_clients_name_themselves_by_it() -> None:
    assert {NATCTL_NAME, CLIENT_NAME} == {f"natctl/{MINOR}", f"natd.ipc/{MINOR}"}
