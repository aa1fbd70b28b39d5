"""An earlier version of the cores, from the repository's history, on today's virtual internet.

    with earlier(COMMIT, "natd_of_0_3", village="tests/core/world/village.py", root=tmp) as old:
        old.Member(Village(seed=3), "earlier", nat, KEY, 40001)

It lives under another package name, with the shell that its own tests drove it by.
"""

import contextlib
import importlib
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[3]


@contextlib.contextmanager
def earlier(commit: str, package: str, *, village: str, root: Path) -> Iterator[Any]:
    """The module of its members; the test is skipped where the history does not reach back."""
    wanted = ("natd/__init__.py", "natd/core", village)
    try:
        archive = _git("archive", "--format=tar", commit, "--", *wanted)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if archive.returncode != 0 and _git("fetch", "--quiet", "--unshallow").returncode == 0:
        archive = _git("archive", "--format=tar", commit, "--", *wanted)
    if archive.returncode != 0:
        said = archive.stderr.decode(errors="replace").strip()
        pytest.skip(f"the repository's history does not reach back to {commit[:7]}: {said}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        for member in files.getmembers():
            if member.isfile() and (content := files.extractfile(member)) is not None:
                _write_renamed(root, package, member.name, content.read().decode())
    sys.path.insert(0, str(root))
    name = _renamed(village, package).removesuffix(".py").replace("/", ".")
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(root))
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ("git", "-C", str(_ROOT), *arguments), check=False, capture_output=True, timeout=120
    )


def _renamed(name: str, package: str) -> str:
    return re.sub(r"^(natd|tests/core)/", f"{package}/", name)


def _write_renamed(root: Path, package: str, name: str, source: str) -> None:
    """As a part of `package`, on today's virtual internet."""
    path = root / _renamed(name, package)
    path.parent.mkdir(parents=True, exist_ok=True)
    source = re.sub(r"\bnatd\.core\b", f"{package}.core", source)
    source = re.sub(r"\bfrom natd import\b", f"from {package} import", source)
    source = re.sub(r"\btests\.(fabric|nat|net)\b", r"tests.internet.\1", source)
    # Today's internet asks this of a datagram; the earliest version had no such packets.
    if "is_strict: bool" not in source:
        source = source.replace(
            "    ttl: int | None = None\n", "    ttl: int | None = None\n    is_strict = False\n", 1
        )
    path.write_text(source, encoding="utf-8")
