"""What holds for every test: requirements of the machine, no skipping in CI, and who runs beside
whom.

With several workers (`--numprocesses 3`) all tests that wait for real processes, sockets and
timers are one unit of work: one worker runs them one after the other, as without workers, so that
none of them disturbs another's ports, laboratories or timing.  The others, in virtual time, go to
the workers that are free, at the lowest priority: the one that waits needs its core at once, and
not for long.  So there is a worker more than cores.

Where coverage is measured, what a test of the cores reaches is kept apart (`CORE_CONTEXT`):
see tests/coverage_floors.py.  Measured code takes two and a half times as long, so it isn't
measured in tests that go long ways which others have gone before (`UNMEASURED`).
"""

import json
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import coverage
import pytest
from hypothesis import settings

from tests.promises import MEASURED
from tests.requirements import missing

os.environ.setdefault("NATD_PATHS_PORT_MAPPING", "false")
os.environ.setdefault("NATD_PATHS_LAN_DISCOVERY", "false")
"""The tests' daemons neither ask the user's router for ports nor meet each other,
or somebody else's, on its LAN."""

IS_CI = os.environ.get("CI") == "true"

VIRTUAL_TIME = ("core", "internet", "bench", "nemesis", "fuzz")
"""Folders whose tests take no notice of a slow machine."""

NICENESS = 19
"""Of a worker in virtual time, towards the one whose tests wait."""

ONE_WORKER = (
    "tests/core/nat/test_nat_kinds.py",
    "tests/core/node/test_dropped.py",
    "tests/core/session/test_old_version.py",
)
"""Files whose tests share what one of them has simulated: two workers would do it twice."""

UNMEASURED = (
    "tests/bench/",
    "tests/core/nat/test_filtering.py",
    "tests/core/nat/test_nat_kinds.py",
    "tests/core/network/test_peer_introduction.py::test_two_that_both_changed",
    "tests/core/network/test_peer_introduction.py::test_two_whose_address_changed",
    "tests/core/network/test_peer_introduction.py::test_who_is_restarted_behind",
    "tests/core/node/test_close_routers.py",
    "tests/core/node/test_copies.py",
    "tests/core/node/test_crowd.py",
    "tests/core/node/test_flipping_server.py",
    "tests/core/node/test_found_again.py",
    "tests/core/node/test_idle.py",
    "tests/core/node/test_lying_server.py",
    "tests/core/node/test_node.py",
    "tests/core/node/test_pairs.py",
    "tests/core/node/test_private_servers.py",
    "tests/core/node/test_spared_guesses.py",
    "tests/core/node/test_strangers_fill.py::test_a_thousand_strangers",
    "tests/core/node/test_strangers_fill.py::test_who_is_connected_for_days",
    "tests/core/node/test_survival.py::test_after_a_minute_without_its_router",
    "tests/core/node/test_survival.py::test_what_strikes_a_chat",
    "tests/core/node/test_vanished.py",
    "tests/core/node/test_verdicts_are_true.py",
    "tests/core/node/test_what_would_help.py",
    "tests/core/peer/test_peer.py::test_a_hundred_restarts",
    "tests/core/peer/test_peer.py::test_prekeys_that_rotate",
    "tests/core/prediction/test_block_pairs.py",
    "tests/core/prediction/test_hard_pairs.py",
    "tests/core/registration/test_several_servers.py",
    "tests/fuzz/",
    "tests/internet/",
    "tests/nemesis/",
)
"""Beginnings of the names of tests that take long, and reach next to nothing that others don't.
A test belongs here when it takes seconds and the floors hold without it."""

CORE_CONTEXT = "core"

settings.register_profile("natd", deadline=None)
settings.load_profile("natd")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires(*names): see tests/requirements.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The largest unit is begun first: that is the one that waits."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist tells no types
        def _split_scope(self, nodeid: str) -> str:
            if folder_of(nodeid) not in VIRTUAL_TIME:
                return "real-time"
            file = nodeid.partition("::")[0]
            return file if file in ONE_WORKER else nodeid

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(UNMEASURED):
            item.add_marker("no_cover")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ and folder_of(item.nodeid) in VIRTUAL_TIME:
        os.nice(max(0, NICENESS - os.nice(0)))
    measure_for(CORE_CONTEXT if folder_of(item.nodeid) == "core" else "others")
    for mark in item.iter_markers("requires"):
        for name in mark.args:
            reason = missing(name)
            if reason is not None:
                pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true a test that was skipped for whatever reason has failed."""
    report = yield
    if IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {reason}"
    return report


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """What a test tells of its promise, in a few words with figures (see tests/promises)."""

    def tell(text: str) -> None:
        if (file := os.environ.get(MEASURED)) is not None:
            with Path(file).open("a") as told:
                told.write(json.dumps({"test": request.node.nodeid, "measured": text}) + "\n")

    return tell


_measured_for = ""


def measure_for(context: str) -> None:
    """Where coverage is measured; each change of context writes down all that was reached."""
    global _measured_for
    measuring = coverage.Coverage.current()
    if measuring is not None and context != _measured_for:
        measuring.switch_context(context)
        _measured_for = context


def folder_of(nodeid: str) -> str:
    """The first folder below tests/: of `tests/core/base/test_x.py::test_y` it is core."""
    return nodeid.partition("tests/")[2].partition("/")[0]
