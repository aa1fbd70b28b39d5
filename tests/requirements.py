"""What some tests need of the machine, and why it may not be had.

    @requires_namespaces
    def test_two_peers_behind_the_kernels_nat(): ...

Each requirement is looked at once, when the first test asks for it.  Where it can't be met the
test is skipped with the reason; with CI=true it fails (see conftest.py): a test that CI skips
holds nothing.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache

import pytest

from natctl.demo.own_world import ADMINISTRATORS_PATH

PROBE_TIMEOUT_S = 20.0

TUN = "/dev/net/tun"
"""There on most machines, and on many of them only root may open it."""


def requires(*names: str) -> pytest.MarkDecorator:
    """A marker for one or more of the names in `PROBES`, or for commands: `command:tmux`."""
    return pytest.mark.requires(*names)


requires_root = requires("root")
requires_namespaces = requires("namespaces")
requires_nat = requires("namespaces", "command:nft", "command:ip")
requires_tun = requires("namespaces", "tun")
requires_container = requires("root", "command:systemd-nspawn", "command:nsenter")
requires_tmux = requires("command:tmux")


@cache
def missing(name: str) -> str | None:
    """Why the requirement is not met; None when it is."""
    if name.startswith("command:"):
        command = name.removeprefix("command:")
        places = f"{os.environ.get('PATH', os.defpath)}:{ADMINISTRATORS_PATH}"
        return None if shutil.which(command, path=places) else f"there is no command {command}"
    return PROBES[name]()


def _no_root() -> str | None:
    return None if os.geteuid() == 0 else "this user is not root"


def _no_namespaces() -> str | None:
    flags = "-nm" if os.geteuid() == 0 else "-Urnm"
    try:
        tried = subprocess.run(
            ["unshare", flags, "true"], capture_output=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return "there is no command unshare"
    if tried.returncode != 0:
        return f"no namespaces here: {tried.stderr.decode(errors='replace').strip()}"
    return None


def _no_tun() -> str | None:
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError as error:
        return f"{TUN} can't be opened: {error.strerror}"
    return None


PROBES: dict[str, Callable[[], str | None]] = {
    "root": _no_root,
    "namespaces": _no_namespaces,
    "tun": _no_tun,
}
